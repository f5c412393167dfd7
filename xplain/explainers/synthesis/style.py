"""One picture's content in the manner of others: features where they are, their statistics as in the style."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.declaring.options import NonNegative, Positive, PositiveReal
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.query import Answer, Query
from xplain.core.synthesis.canvas import Cosines
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.terms import Distance, Gram
from xplain.core.synthesis.views import Transforms
from xplain.explainers.synthesis.climb import Climb, How, gone, painted
from xplain.explainers.synthesis.features import as_pixels, features_of
from xplain.explainers.synthesis.optimisers import Adam
from xplain.explainers.synthesis.texture import colours_of, layers_of, side_by_side, statistics

__all__ = ["scaled", "style"]

_FAINT = 0.4
"""Contrast that the content starts with: at its full one the colours sit where they no longer move."""

_LUMA = np.array([0.299, 0.587, 0.114])


@recipe(
    "style",
    paper=Paper("Gatys 2016", "doi:10.1109/CVPR.2016.265"),
    target="none",
    sources=(
        Source("x", "pictures whose content is kept", needed=True, fitted=True),
        Source("style", "pictures in whose manner it is painted; several are mixed", needed=True),
    ),
    trial={"steps": 3},
)
def style(
    commission: Commission,
    *,
    content: NonNegative = 0.5,
    content_layer: str = "auto",
    style_layers: str = "auto",
    scale: PositiveReal = 1.0,
    keep_colour: bool = False,
    steps: Positive = 160,
    rate: PositiveReal = 0.1,
    jitter: NonNegative = 2.0,
    optimiser: How = "adam",
) -> Painting:
    """The content's features where they are, and the style's statistics everywhere.

    ``min over z of sum over layers of Gram distance to the style + content |f - f_c|^2 / |f_c|^2``; each is relative to
    its own size, so one weight means the same for other models and sizes.

    Args:
        content: Weight of the content; 0.3 paints freely, 1 keeps close.
        content_layer: Its layer, or ``auto`` for the deepest of the style's.
        style_layers: Names with commas between, or ``auto`` for five from the first on.
        scale: Size of the style's picture before its statistics are read: 2 paints with a broader brush, 0.5 with a
            finer one.
        keep_colour: Whether the content's colours are laid over the painting's light at the end.
        steps: Steps.
        rate: Most that a coefficient moves in a step.
        jitter: Shift of the canvas, at most, in pixels.
        optimiser: ``lbfgs`` for scipy's L-BFGS, which takes no ``rate`` and shifts nothing; ``steps`` are then its
            evaluations.

    Returns:
        One picture per content; statistics of several styles are averaged. ``distance`` is what was made small, at the
        last step; ``style`` is what is left of the statistics over all layers, ``content`` of the content's features.

    Cost:
        ``steps`` sweeps per content, 8 evaluations per style and content, and one at the end.

    Differs from the paper:
        Centred statistics relative to their size, coefficients of cosines moved by Adam, and a start from the content
        at 0.4 of its contrast.

    Source:
        Gatys, Ecker and Bethge, Image Style Transfer Using Convolutional Neural Networks, CVPR 2016.
    """
    first = commission.pictures["x"][0]
    names = yield from layers_of(commission, style_layers, first)
    (deep,) = (names if content_layer == "auto" else (yield from layers_of(commission, content_layer, first)))[-1:]
    styles = [scaled(one, scale) for one in commission.pictures["style"]]
    made: list[Painted] = []
    apart: list[dict[str, float]] = []
    for n, picture in enumerate(commission.pictures["x"]):
        own = replace(commission, keys=commission.keys[n : n + 1])
        each = []
        for one in styles:
            each.append((yield from statistics(own, one, names)))
        terms = [_mean([some[k] for some in each]) for k in range(len(names))]
        seen = yield from features_of(own, picture[None].astype(np.float32), (deep,))
        kept = Distance(tensor=deep, reference=np.asarray(seen[deep], np.float32), weight=-content)
        canvas = Cosines(own.size, own.channels, decay=1.0, colours=colours_of(*styles))
        way = Climb(
            canvas,
            Objective((*terms, kept)),
            lambda factor: Adam(rate * factor),
            steps,
            transforms=lambda _: Transforms(jitter=0.0 if optimiser == "lbfgs" else jitter),
            rate=lambda done: 1.0 if done < 0.6 else 0.3,
            stage=f"style {own.keys[0]}",
        )
        mean = picture.mean(axis=(1, 2), keepdims=True)
        found = yield from gone(optimiser, own, way, canvas.start((mean + _FAINT * (picture - mean))[None]))
        apart.append((yield from _apart(own, canvas, way.objective, found.state)))
        done = painted(canvas, found)
        made.append(replace(done, picture=_coloured(done.picture, picture)) if keep_colour else done)
    whole = side_by_side(made, names)
    first = as_pixels(np.stack(commission.pictures["x"]))
    notes = {**whole.notes, "content layer": deep}
    told = {**whole.each, **{name: [one[name] for one in apart] for name in apart[0]}}
    return replace(whole, names=tuple(commission.names["x"]), notes=notes, each=told, original=first)


def _apart(
    commission: Commission, canvas: Cosines, objective: Objective, state: Array
) -> Generator[Query, Answer, dict[str, float]]:
    """What is left of the style, summed over layers, and of the content, each without its weight; NaN unpaid."""
    found: Sloped | None = None
    with suppress(BudgetError):  # the way has said that it is spent
        found = yield Slope(state, canvas, objective, ink=commission.ink, gradient=False)
    left = [np.nan] * len(objective.terms) if found is None else [float(one[0]) for one in found.terms.values()]
    return {"style": float(sum(left[:-1])), "content": float(left[-1])}


def _mean(terms: list[Gram]) -> Gram:
    """Statistics of several styles as their mean."""
    gram = np.mean([one.gram for one in terms], axis=0)
    means = np.mean([one.means for one in terms], axis=0)
    return Gram(tensor=terms[0].tensor, gram=gram, means=means, weight=terms[0].weight)


def scaled(picture: Array, scale: float) -> Array:
    """A picture of another size, bilinear, averaged first where it gets smaller."""
    high, wide = (max(16, round(n * scale)) for n in picture.shape[1:])
    step = max(1, int(1 / scale))
    if step > 1:
        rows, columns = (n // step * step for n in picture.shape[1:])
        parts = picture[:, :rows, :columns].reshape(len(picture), rows // step, step, columns // step, step)
        picture = parts.mean(axis=(2, 4))
    return np.asarray(enlarge(picture, (high, wide)))


def _coloured(painting: Array, content: Array) -> Array:
    """The content's colours under the painting's light (luma of BT.601)."""
    if len(content) != 3:
        return painting
    light = np.tensordot(_LUMA, painting[0] - content, axes=1)
    return np.asarray(np.clip(content + light, 0, 1)[None], np.float32)
