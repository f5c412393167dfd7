"""Whether like items have like maps: the item is changed a little, and explained again.

All of them change the item in the same ways (``neighbours``), so the maps are made once for all that are asked
together. A method that samples draws what it drew for the item itself, so that what is measured is the change.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Positive, PositiveReal
from xplain.core.declaring.registry import metric
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Answer, Flow, Peek, Query, Reading, Score, View
from xplain.core.target import every_score
from xplain.metrics.maps import flat, of_view, ratio

__all__ = [
    "local_lipschitz",
    "relative_input_stability",
    "relative_output_stability",
    "relative_representation_stability",
    "sensitivity_max",
]

Again: TypeAlias = Callable[[View], Generator[Query, Answer, Array]]
"""Explains the items of another view as the explanation that is judged was made."""

_LEAST = 1e-6
"""A change relative to numbers smaller than this share of the largest is taken relative to that share."""


@metric(
    "sensitivity-max",
    better="small",
    needs="maps",
    unit="share of the map's norm",
    range=(0.0, np.inf),
    paper=Paper("Yeh 2019", "arXiv:1901.09392"),
    aliases=("max-sensitivity",),
    trial={"samples": 2},
)
def sensitivity_max(
    view: View,
    values: Array,
    again: Again,
    *,
    samples: Positive = 10,
    radius: PositiveReal = 0.02,
    relative: bool = True,
) -> Flow:
    """The largest change of the map while the item is changed a little: ``max_r |a(x + r) - a(x)| / |a(x)|``.

    Each r is uniform in a cube: every element within ``radius`` of the item's own range. The target stays.

    Args:
        view: The items and the target.
        values: Their explanation, ``[N, *map]``.
        again: Explains other items likewise.
        samples: Changes that are tried; a largest of more is larger.
        radius: Half the side of the cube, as a share of the item's range (largest less smallest element).
        relative: Divide by the map's own norm, so that maps in other units compare.

    Returns:
        ``[N]``; NaN for a map of zeros, where it is relative.

    Differs from the paper:
        Relative, unless told otherwise; the paper's is not.

    Cost:
        ``samples`` explanations per item, which the other metrics of stability share.

    Source:
        Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, definition 3.1.
    """
    rows = flat(of_view(view, values))
    most = np.zeros(len(rows))
    for maps, _ in (yield from _neighbours(view, again, samples, radius)):
        most = np.maximum(most, np.linalg.norm(flat(maps) - rows, axis=1))
    return Reading(ratio(most, np.linalg.norm(rows, axis=1)) if relative else most)


@metric(
    "local-lipschitz",
    better="small",
    needs="maps",
    unit="change of the map per change of the item",
    range=(0.0, np.inf),
    paper=Paper("Alvarez-Melis 2018", "arXiv:1806.08049"),
    trial={"samples": 2},
)
def local_lipschitz(
    view: View, values: Array, again: Again, *, samples: Positive = 10, radius: PositiveReal = 0.02
) -> Flow:
    """The steepest change of the map near the item: ``max_x' |a(x') - a(x)| / |x' - x|``, both Euclidean.

    Args:
        view: The items and the target.
        values: Their explanation, ``[N, *map]``.
        again: Explains other items likewise.
        samples: Neighbours that are tried.
        radius: How far they are, as in ``sensitivity-max``.

    Returns:
        ``[N]``, in units of the map per unit of the item, so that only maps in one unit compare.

    Cost:
        As ``sensitivity-max``, with which it shares the maps.

    Source:
        Alvarez-Melis and Jaakkola, On the Robustness of Interpretability Methods, 2018, equation 2.
    """
    rows = flat(of_view(view, values))
    steepest = np.zeros(len(rows))
    for maps, x in (yield from _neighbours(view, again, samples, radius)):
        moved = np.linalg.norm(flat(x) - flat(view.x), axis=1)
        steepest = np.maximum(steepest, ratio(np.linalg.norm(flat(maps) - rows, axis=1), moved))
    return Reading(steepest)


_RELATIVE: dict[str, Any] = {
    "better": "small",
    "needs": "maps",
    "unit": "relative change of the map per relative change",
    "range": (0.0, np.inf),
    "paper": Paper("Agarwal 2022", "arXiv:2203.06877"),
    "trial": {"samples": 2},
}


@metric("relative-input-stability", aliases=("ris",), **_RELATIVE)
def relative_input_stability(
    view: View, values: Array, again: Again, *, samples: Positive = 10, radius: PositiveReal = 0.02
) -> Flow:
    """The largest relative change of the map per relative change of the item.

    ``max_x' |(a(x') - a(x)) / a(x)| / |(x' - x) / x|``, elementwise quotients, then Euclidean norms. Where an element
    is smaller than a millionth of the largest, the quotient is by that millionth with its sign.

    Args:
        view: The items and the target.
        values: Their explanation, ``[N, *map]``.
        again: Explains other items likewise.
        samples: Neighbours that are tried.
        radius: How far they are, as in ``sensitivity-max``.

    Returns:
        ``[N]``; NaN for a map or an item of zeros.

    Differs from the paper:
        Neighbours are not sorted out where another class is predicted: the target is held. The floor of a quotient
        goes by the largest element, since a map has no unit of its own.

    Cost:
        As ``sensitivity-max``, with which it shares the maps.

    Source:
        Agarwal et al., Rethinking Stability for Attribution-based Explanations, 2022, definition 1.
    """
    rows = flat(of_view(view, values))
    found = yield from _neighbours(view, again, samples, radius)
    return _stability(rows, [(maps, _relative(flat(view.x), flat(x))) for maps, x in found])


@metric("relative-output-stability", aliases=("ros",), **_RELATIVE)
def relative_output_stability(
    view: View, values: Array, again: Again, *, samples: Positive = 10, radius: PositiveReal = 0.02
) -> Flow:
    """The largest relative change of the map per change of the scores: a map may move where the model's answer does.

    ``max_x' |(a(x') - a(x)) / a(x)| / |f(x') - f(x)|``, f all scores.

    Args:
        view: The items and the target.
        values: Their explanation, ``[N, *map]``.
        again: Explains other items likewise.
        samples: Neighbours that are tried.
        radius: How far they are, as in ``sensitivity-max``.

    Returns:
        ``[N]``; NaN for a map of zeros, or where no neighbour moves a score.

    Cost:
        As ``sensitivity-max``, and ``samples`` + 1 evaluations per item.

    Source:
        Agarwal et al. 2022, definition 3; the change of logits is not relative there either.
    """
    rows = flat(of_view(view, values))
    before = np.asarray((yield Score(view.x, Untouched(), every_score)), np.float64)[:, 0]
    steps = []
    for maps, x in (yield from _neighbours(view, again, samples, radius)):
        after = np.asarray((yield Score(x, Untouched(), every_score)), np.float64)[:, 0]
        steps.append((maps, np.linalg.norm(after - before, axis=1)))
    return _stability(rows, steps)


@metric(
    "relative-representation-stability", aliases=("rrs",), **{**_RELATIVE, "trial": {"samples": 2, "layer": "auto"}}
)
def relative_representation_stability(
    view: View,
    values: Array,
    again: Again,
    *,
    samples: Positive = 10,
    radius: PositiveReal = 0.02,
    layer: str = "auto",
) -> Flow:
    """The largest relative change of the map per relative change of a layer.

    ``max_x' |(a(x') - a(x)) / a(x)| / |(l(x') - l(x)) / l(x)|``, l the values of the layer; quotients as in
    ``relative-input-stability``.

    Args:
        view: The items and the target.
        values: Their explanation, ``[N, *map]``.
        again: Explains other items likewise.
        samples: Neighbours that are tried.
        radius: How far they are, as in ``sensitivity-max``.
        layer: The layer; ``auto``: the last one that is not the scores.

    Returns:
        ``[N]``; NaN for a map of zeros, or where no neighbour moves the layer.

    Cost:
        As ``sensitivity-max``, and ``samples`` + 1 evaluations per item. The model must show its inside.

    Raises:
        UsageError: the model has no layer to look at.

    Source:
        Agarwal et al. 2022, definition 2.
    """
    rows = flat(of_view(view, values))
    tap = _layer(view, layer)
    before = flat((yield Peek(view.x, (tap,)))[tap])
    steps = []
    for maps, x in (yield from _neighbours(view, again, samples, radius)):
        after = flat((yield Peek(x, (tap,)))[tap])
        steps.append((maps, _relative(before, after)))
    return _stability(rows, steps)


def _neighbours(
    view: View, again: Again, samples: int, radius: float
) -> Generator[Query, Answer, list[tuple[Array, Array]]]:
    """Maps ``[N, *map]`` of changed items, and these items; the same for every metric with these options."""
    x = np.asarray(view.x)
    if x.dtype.kind != "f":
        raise UsageError(
            f"The items are of type {x.dtype.name}, which cannot be changed a little. Metrics of stability are for "
            "pictures and other numbers."
        )
    axes = tuple(range(1, x.ndim))
    reach = radius * (x.max(axis=axes, keepdims=True) - x.min(axis=axes, keepdims=True)).astype(np.float64)
    drawers = view.rngs("neighbours of metrics")
    keys = view.own_keys
    found = []
    for _ in range(samples):
        noise = np.stack([rng.uniform(-1, 1, x.shape[1:]) for rng in drawers])
        changed = (x + reach * noise).astype(x.dtype)
        maps = yield from again(replace(view, x=changed, keys=keys))
        found.append((maps, changed))
    return found


def _relative(before: Array, after: Array) -> Array:
    """``|(after - before) / before|`` of each row, quotients by element."""
    floor = _LEAST * np.abs(before).max(axis=1, keepdims=True)
    by = np.where(np.abs(before) < floor, np.where(before < 0, -floor, floor), before)
    return np.asarray(np.linalg.norm(ratio(after - before, by), axis=1))


def _stability(rows: Array, steps: list[tuple[Array, Array]]) -> Reading:
    each = [ratio(_relative(rows, flat(maps)), moved) for maps, moved in steps]
    known = np.where(np.isnan(each), -np.inf, each).max(axis=0)
    return Reading(np.where(np.isfinite(known), known, np.nan))


def _layer(view: View, layer: str) -> str:
    outline = view.outline
    names = [one.name for one in outline.layers if one.name != outline.scores.tensor]
    if not names:
        raise UsageError(
            f"{outline.source} shows no layer to look at. Use relative-output-stability, which needs scores alone, or ",
            option("layer", "NAME"),
            ".",
        )
    return names[-1] if layer == "auto" else outline.layer_meant(layer)
