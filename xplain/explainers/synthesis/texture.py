"""Texture and style from the statistics of features: which channels occur together, wherever they do."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from xplain.core.declaring.options import NonNegative, Positive, PositiveReal
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Answer, Peek, Query
from xplain.core.synthesis.canvas import Cosines, as_logits
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.terms import Gram, gram_of
from xplain.core.synthesis.views import Transforms
from xplain.explainers.synthesis.climb import Climb, How, gone, painted
from xplain.explainers.synthesis.features import as_pixels, features_of
from xplain.explainers.synthesis.optimisers import Adam

__all__ = ["LAYERS", "colours_of", "layers_of", "samples_shown", "side_by_side", "statistics", "texture"]

LAYERS = 5
"""Layers whose statistics are matched where none are named."""

_DEEP = 0.6
"""Share of the layers with positions, from the first one on, among which these lie: later ones see whole things."""

_PHASES = 8
"""Crops of the sample, at random places and so at all phases of a stride, whose statistics are averaged."""

_VIEWS = 4
"""Views of an objective that stays as it is, so that it too sees several phases of a stride."""

_LEAST = 8
"""Pixels of a sample's edge, at least."""

_QUIET = 0.15


@recipe(
    "texture",
    paper=Paper("Gatys 2015", "arXiv:1505.07376"),
    target="none",
    sources=(Source("x", "samples of textures", needed=True),),
    trial={"steps": 3},
)
def texture(
    commission: Commission,
    *,
    layers: str = "auto",
    steps: Positive = 160,
    rate: PositiveReal = 0.06,
    jitter: NonNegative = 4.0,
    decay: NonNegative = 1.0,
    optimiser: How = "adam",
) -> Painting:
    """A picture whose features occur together as often as in a sample, at no place in particular.

    ``min over z of sum over layers |C - C*|^2 / |C*|^2 + |m - m*|^2 / |m*|^2``, C the covariances and m the means of a
    layer's channels over positions; those of the sample are means over crops at random places. The canvas is shifted at
    random in each step, by parts of a pixel too: without both, a first layer with a stride leaves blocks of its own
    period. Colours vary along the principal axes of the sample's, so a grey sample stays grey.

    Args:
        layers: Names of layers with commas between, or ``auto`` for five from the first on.
        steps: Steps.
        rate: Most that a coefficient moves in a step; half of it after a half of the steps, a fifth at the end.
        jitter: Shift of the canvas, at most, in pixels.
        decay: How fast the canvas' weights fall with frequency.
        optimiser: ``lbfgs`` for scipy's L-BFGS, which takes no ``rate``; ``steps`` are then its evaluations, of four
            views whose shifts stay as they were drawn.

    Returns:
        One picture per sample, of the size that the model takes; ``each["distance"]`` is what is left of the sum.

    Cost:
        ``steps`` sweeps and 8 evaluations per sample; four times the sweeps with ``lbfgs``.

    Differs from the paper:
        Covariances and means for Gram matrices; each relative to its own size, so that layers need no weights;
        coefficients of cosines moved by Adam, for pixels by L-BFGS.

    Raises:
        UsageError: a sample smaller than 8 pixels, or a model without layers that have positions.

    Source:
        Gatys, Ecker and Bethge, Texture Synthesis Using Convolutional Neural Networks, NIPS 2015.
    """
    names = yield from layers_of(commission, layers, commission.pictures["x"][0])
    made = []
    for n, sample in enumerate(commission.pictures["x"]):
        own = replace(commission, keys=commission.keys[n : n + 1])
        terms = yield from statistics(own, sample, names)
        canvas = Cosines(own.size, own.channels, decay=decay, colours=colours_of(sample))
        way = Climb(
            canvas,
            Objective(tuple(terms)),
            lambda factor: Adam(rate * factor),
            steps,
            transforms=lambda _: Transforms(_VIEWS if optimiser == "lbfgs" else 1, jitter=jitter),
            rate=lambda done: 1.0 if done < 0.5 else 0.5 if done < 0.8 else 0.2,
            stage=f"texture {own.keys[0]}",
        )
        found = yield from gone(optimiser, own, way, _start(own, canvas, sample))
        made.append(painted(canvas, found))
    shown = samples_shown(commission.pictures["x"])
    return replace(side_by_side(made, names), names=tuple(commission.names["x"]), original=shown)


def samples_shown(samples: Sequence[Array]) -> Array:
    """Samples of any sizes in frames of one, uint8 ``[N, h, w, 3]``: each in the middle of white."""
    high, wide = (max(one.shape[axis] for one in samples) for axis in (1, 2))
    framed = np.ones((len(samples), len(samples[0]), high, wide), np.float32)
    for n, one in enumerate(samples):
        top, left = (high - one.shape[1]) // 2, (wide - one.shape[2]) // 2
        framed[n, :, top : top + one.shape[1], left : left + one.shape[2]] = one
    return as_pixels(framed)


def layers_of(commission: Commission, wanted: str, picture: Array) -> Generator[Query, Answer, tuple[str, ...]]:
    """The layers that are meant: those named, or some from the first on.

    A model that does not say the shapes of its layers, as a torch module before it has run, is looked at with a crop of
    the picture first.

    Raises:
        UsageError: the model has no layer with channels in front and positions behind them.
    """
    outline = commission.outline
    if wanted != "auto":
        return tuple(outline.layer_meant(name.strip()) for name in wanted.split(",") if name.strip())
    # channels are the first axis behind the batch wherever statistics are taken
    known = [(one, tuple(one.shape)) for one in outline.layers if not one.channels_last]
    if known and not any(shape for _, shape in known):
        (rng,) = commission.rngs("layers")[:1]
        crop = _crop(picture, commission.size, rng)[None].astype(np.float32)
        seen = yield Peek(commission.ink.apply(crop), tuple(one.name for one, _ in known))
        known = [(one, np.asarray(seen[one.name]).shape) for one, _ in known]
    fit = [(one, shape) for one, shape in known if len(shape) == 4 and shape[1] and shape[2:] != (1, 1)]
    # no product with weights, and the plane of the layer before it: features that are rectified, or joined
    rich = [two for one, two in pairwise(fit) if not two[0].weighted and two[1][2:] == one[1][2:]] or fit
    if not rich:
        raise UsageError(
            f"{outline.source} shows no layer [N, C, H, W], whose statistics a texture could have. Textures need a "
            "convolutional model with its channels in front."
        )
    some = rich[: max(LAYERS, round(_DEEP * len(rich)))]
    edges = np.linspace(0, len(some), min(LAYERS, len(some)) + 1).round().astype(int)
    bins = [some[:1], *(some[start:stop] for start, stop in pairwise(edges[1:]))]
    return tuple(dict.fromkeys(max(reversed(one), key=lambda pair: pair[1][1] or 0)[0].name for one in bins if one))


def statistics(
    commission: Commission, sample: Array, names: Sequence[str], weight: float = -1.0
) -> Generator[Query, Answer, list[Gram]]:
    """The terms that hold covariances and means of layers to those of a sample, averaged over random crops.

    Raises:
        UsageError: a sample that is too small, or of one colour.
    """
    if not np.ptp(sample, axis=(1, 2)).any():
        raise UsageError(
            "A sample is of one colour throughout, which has no statistics; accepted: pictures whose colours differ."
        )
    (rng,) = commission.rngs("crops")
    crops = np.stack([_crop(sample, commission.size, rng) for _ in range(_PHASES)]).astype(np.float32)
    seen = yield from features_of(commission, crops, tuple(names))
    terms = []
    for name in names:
        gram, means = (np.asarray(one, np.float64).mean(axis=0) for one in gram_of(np.asarray(seen[name])))
        terms.append(
            Gram(tensor=name, gram=gram[None].astype(np.float32), means=means[None].astype(np.float32), weight=weight)
        )
    return terms


def colours_of(*samples: Array) -> tuple[tuple[float, ...], ...]:
    """The principal axes of samples' colours, as logits of RGB, each as long as colours vary along it, ``[3, 3]``.

    The largest row has length 1, as the canvas wants it; an axis along which nothing varies keeps a thousandth, so that
    the way back exists.
    """
    if len(samples[0]) == 1:
        return ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    logits = np.concatenate([as_logits(one[None], np.eye(3))[0].reshape(3, -1) for one in samples], axis=1)
    values, axes = np.linalg.eigh(np.cov(logits))
    spread = np.sqrt(np.maximum(values, 0))
    found = (axes * np.maximum(spread, 1e-3 * spread.max() + 1e-6))[:, ::-1]
    found = found / np.sqrt((found**2).sum(axis=1)).max()
    return tuple(tuple(float(v) for v in row) for row in found)


def _crop(sample: Array, size: tuple[int, int], rng: np.random.Generator) -> Array:
    """A crop of the model's size at a random place; a sample that is smaller is mirrored at its edges."""
    if min(sample.shape[1:]) < _LEAST:
        raise UsageError(
            f"A sample of a texture is {sample.shape[1]} x {sample.shape[2]} pixels; accepted: {_LEAST} or more."
        )
    lack = [max(0, want + 1 - have) for want, have in zip(size, sample.shape[1:], strict=True)]
    while any(lack):
        step = [(0, 0), *((0, min(one, have - 1)) for one, have in zip(lack, sample.shape[1:], strict=True))]
        sample = np.pad(sample, step, mode="reflect")
        lack = [max(0, want + 1 - have) for want, have in zip(size, sample.shape[1:], strict=True)]
    top, left = (int(rng.integers(0, have - want + 1)) for want, have in zip(size, sample.shape[1:], strict=True))
    return sample[:, top : top + size[0], left : left + size[1]]


def _start(commission: Commission, canvas: Cosines, sample: Array) -> Array:
    """The sample's mean colour with a little noise."""
    mean = np.broadcast_to(sample.mean(axis=(1, 2))[None, :, None, None], (1, len(sample), *canvas.extent))
    (rng,) = commission.rngs("start")
    return canvas.start(mean) + rng.normal(0, _QUIET, (1, *canvas.state)).astype(np.float32)


def side_by_side(made: Sequence[Painted], names: Sequence[str]) -> Painted:
    """Pictures that were made one after another, as one result."""
    length = min(len(one.trace) for one in made)
    distance = [-float(one.trace[-1][0]) if len(one.trace) else float("nan") for one in made]
    return Painted(
        np.concatenate([one.picture for one in made]),
        np.concatenate([one.state for one in made]),
        np.concatenate([one.trace[:length] for one in made], axis=1),
        notes={"layers": ", ".join(names)},
        each={"distance": distance},
        warnings=tuple(replace(caveat, item=n) for n, one in enumerate(made) for caveat in one.warnings),
    )
