"""SmoothGrad and VarGrad: any method, averaged over noisy copies of the item."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import PositiveReal, Samples
from xplain.core.declaring.registry import METHODS, Method, Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Sweep, View
from xplain.explainers.estimation.sampling import Estimate, cells_of, map_notes

__all__ = ["smoothgrad", "vargrad"]

_ROWS = 32
"""Noisy copies that are held at once."""

_SIGNS = 8
"""Random signs whose sum stands for one normal number."""


@dataclass(frozen=True)
class _Inner:
    """A method and its options, in one word."""

    accepts: str = (
        "a method that does not average over noise itself, with options of its own as in 'saliency:signed=true' or "
        "'lrp:rule=gamma,gamma=0.5'"
    )
    invalid: tuple[Any, ...] = ("", "soup", "smoothgrad", "vargrad", "saliency:soup=1", "lrp:rule=soup", "lrp:soup", 3)

    def read(self, value: Any) -> str:
        if not isinstance(value, str) or METHODS.read(value)[0].function in (smoothgrad, vargrad):
            raise ValueError
        return value

    def needs(self, value: str) -> frozenset[type[Any]]:
        return METHODS.read(value)[0].needs


Inner: TypeAlias = Annotated[str, _Inner()]


@method(
    "smoothgrad",
    needs=Sweep,
    paper=Paper("Smilkov 2017", "arXiv:1706.03825"),
    unit="mean of the method's unit",
    sampled=True,
    traceable=False,
)
def smoothgrad(
    view: View,
    *,
    of: Inner = "saliency",
    samples: Samples = 32,
    sigma: PositiveReal = 0.15,
    squared: bool = False,
    layer: str | None = None,
) -> Flow:
    """What the method says on average around the item, so that what flickers with tiny changes cancels.

    ``a = 1/M * sum over k of method(x + sigma * range(x) * e_k)``, e_k standard normal; squared: of ``method ** 2``.

    Args:
        of: The method that is averaged; options of its own follow its name: ``grad-cam:layer=conv5``.
        samples: M, at least 2.
        sigma: Standard deviation of the noise as a share of each item's range max x - min x.
        squared: Average squares (SmoothGrad-Squared).
        layer: Tensor that the method attributes to, or reads, as its own option says; None for what ``of`` says.

    Returns:
        Shape and sign of the method. ``error`` is the standard error of the mean over the copies;
        ``notes["stability"]`` is the probability that the ``top`` of 7 x 7 cells are really the largest.

    Cost:
        ``samples`` times the method; a method that asks for scores alone needs no gradient.

    Raises:
        UsageError: fewer than 2 samples, or a layer for a method that takes none, or another one.

    Source:
        Smilkov et al., SmoothGrad: Removing Noise by Adding Noise, 2017; Hooker et al., arXiv:1806.10758 (squared).
    """
    mean, variance, cells, reading = yield from _moments(view, _at(of, layer), samples, sigma, 2 if squared else 1)
    trust = map_notes([Estimate.mean(own) for own in cells], lambda: view.rng("smoothgrad stability"))
    inner = METHODS.read(of)[0]
    signed = False if squared else (inner.signed if reading.signed is None else reading.signed)
    unit = f"squared {reading.unit}" if squared else reading.unit
    notes = {"of": of, **reading.notes}
    error = np.sqrt(variance / samples)
    return replace(reading, values=mean, error=error, signed=signed, unit=unit, each=trust, notes=notes)


@method(
    "vargrad",
    needs=Sweep,
    paper=Paper("Adebayo 2018", "arXiv:1810.03292, appendix"),
    unit="variance of the method's unit",
    signed=False,
    sampled=True,
    traceable=False,
)
def vargrad(
    view: View,
    *,
    of: Inner = "saliency",
    samples: Samples = 32,
    sigma: PositiveReal = 0.15,
    layer: str | None = None,
) -> Flow:
    """How much the method's answer varies around the item.

    ``a = 1/(M-1) * sum over k of (method(x + noise_k) - mean)**2``, noise as in SmoothGrad.

    Args:
        of: The method whose variance is taken; options of its own follow its name: ``lrp:rule=gamma``.
        samples: M, at least 2.
        sigma: Standard deviation of the noise as a share of each item's range.
        layer: Tensor that the method attributes to, or reads, as its own option says; None for what ``of`` says.

    Returns:
        Shape of the method, at least 0. ``error`` is the standard error of a normal sample's variance,
        ``a * sqrt(2 / (M - 1))``; ``notes["stability"]`` is the probability that the ``top`` of 7 x 7 cells are really
        the largest, were each cell's variance one normal sample's.

    Cost:
        ``samples`` times the method; a method that asks for scores alone needs no gradient.

    Raises:
        UsageError: fewer than 2 samples, or a layer for a method that takes none, or another one.

    Source:
        Adebayo et al., Local Explanation Methods for Deep Neural Networks Lack Sensitivity to Parameter Values, 2018.
    """
    _, variance, _, reading = yield from _moments(view, _at(of, layer), samples, sigma, 1)
    share = float(np.sqrt(2 / (samples - 1)))
    estimates = [_normal(cells, share, samples) for cells in cells_of(view, variance)]
    trust = map_notes(estimates, lambda: view.rng("vargrad stability"))
    unit = f"variance of {reading.unit}"
    notes = {"of": of, **reading.notes}
    return replace(reading, values=variance, error=variance * share, signed=False, unit=unit, each=trust, notes=notes)


def _at(of: str, layer: str | None) -> tuple[Method, dict[str, Any]]:
    """The method and its options, with the layer that is given beside it."""
    inner, options = METHODS.read(of)
    if layer is None:
        return inner, options
    if "layer" not in inner.options:
        able = [one.name for one in METHODS if "layer" in one.options and one.function not in (smoothgrad, vargrad)]
        raise UsageError(
            f"Method {inner.name!r} reads no layer, so it takes no ",
            option("layer"),
            f"; methods that do: {', '.join(able)}.",
        )
    if options["layer"] not in (inner.options["layer"].default, layer):
        raise UsageError(
            option("of", of), " names the layer ", f"{options['layer']!r}, and ", option("layer", layer),
            " another. Give one of them.",
        )  # fmt: skip
    return inner, {**options, "layer": layer}


def _of_rows(view: View) -> tuple[Caveat, ...]:
    """Says that the columns of a row, which have units of their own, share one size of noise."""
    if getattr(view.found, "axes", "") != "NS" or view.x.shape[1] < 2:
        return ()
    text = (
        "The noise is as large for every column: sigma times the range of the whole row. Scale the columns alike, or "
        "the small ones drown."
    )
    return (Caveat(text, "baseline"),)


def _normal(values: Array, share: float, samples: int) -> Estimate:
    """Values ``[S]`` whose errors are normal, independent and a share of each value."""
    error = values * share

    def resample(signs: Array) -> Array:
        return np.asarray(signs.reshape(len(signs), -1, _SIGNS).sum(axis=2) * error / np.sqrt(_SIGNS))

    return Estimate(values, error, float(samples), _SIGNS * len(values), resample)


def _moments(
    view: View, of: tuple[Method, dict[str, Any]], samples: int, sigma: float, power: int
) -> Generator[Any, Any, tuple[Array, Array, Array, Reading]]:
    """Mean and variance over noisy copies, and each copy's cells ``[N, M, cells]``.

    Copies travel as further items of one view, so batches stay full.
    """
    inner, options = of
    if samples < 2:
        raise UsageError(
            option="samples", got=samples, accepted="at least 2: so many noisy copies are needed to see a spread"
        )
    items, item = len(view.x), view.x.shape[1:]
    flat = view.x.reshape(items, -1)
    scale = (sigma * (flat.max(axis=1) - flat.min(axis=1))).reshape(items, *[1] * len(item))
    draws = view.rngs("smoothgrad")
    first: Array = np.zeros(())
    second: Array = np.zeros(())
    cells: list[Array] = []
    rows = max(1, _ROWS // items)
    for left in range(0, samples, rows):
        count = min(rows, samples - left)
        noise = np.stack([own.standard_normal((count, *item), dtype=np.float32) for own in draws])
        copies = (view.x[:, None] + scale[:, None] * noise).astype(np.float32).reshape(items * count, *item)
        target = view.target.take(np.repeat(np.arange(items), count))
        reading = yield from inner.function(replace(view, x=copies, target=target, keys=None), **options)
        values = np.asarray(reading.values, dtype=np.float64) ** power
        cells.append(cells_of(view, values).reshape(items, count, -1))
        values = values.reshape(items, count, *values.shape[1:])
        for k in range(count):  # one by one: how many go at a time depends on the items beside this one
            first, second = first + values[:, k], second + values[:, k] ** 2
    mean = first / samples
    variance = np.maximum(second - samples * mean**2, 0) / (samples - 1)
    kept = {k: v for k, v in reading.notes.items() if k == "layer"}
    notes = {**kept, "samples": samples, "sigma": sigma}
    unit = reading.unit or inner.unit
    return (
        mean,
        variance,
        np.concatenate(cells, axis=1),
        Reading(
            mean,
            resolution=reading.resolution,
            notes=notes,
            signed=reading.signed,
            unit=unit,
            warnings=(*(one for one in reading.warnings if one.item is None), *_of_rows(view)),
        ),
    )
