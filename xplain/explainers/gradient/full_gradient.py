"""FullGrad: the gradient's share of the score at the input, and the biases' at every layer, on one map."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import numpy as np

from xplain.core.arrays import collapse, enlarge_to, enlarging
from xplain.core.caveat import Caveat, each
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.positions.axes import Axes
from xplain.core.positions.grid import grid_of
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.core.rules import Rules
from xplain.explainers.cam.layers import MapLayer

__all__ = ["full_gradient"]

_RULES = Rules("full-gradient", fold_norms=True, biases=True)
_ELEMENTS = 2**18
"""Elements of the items that are swept together: every layer's values are held at once."""
_ACCEPTED = 0.01
"""Share of the score that may be missing without a word."""


@method(
    "full-gradient",
    needs=(Score, Sweep),
    paper=Paper("Srinivas & Fleuret 2019", "arXiv:1905.00780"),
    unit="share of the {score}",
    aliases=("fullgrad", "full-grad"),
    signed=False,
    traceable=False,
)
def full_gradient(view: View, *, signed: bool = False, scaled: bool = False) -> Flow:
    """The score is what the input's gradient and every layer's biases make of it; all of it, position by position.

    ``f(x) = sum of x * df/dx + sum over layers of b * df/db``, exactly, where ``b`` of an operator that is not
    piecewise linear is its tangent's, ``y - J x``. The map is ``|x * df/dx|`` and each layer's enlarged
    ``|b * df/db|``, summed over channels and layers.

    Args:
        signed: Add with sign. Values, and what has no place, then add up to the score.
        scaled: Bring each layer's sizes to 0 to 1 first, over all its channels, so that each counts alike: the
            paper's pictures. Not with ``signed``.

    Returns:
        ``[N, H, W]``, at least 0 unless ``signed``. A layer's cells are spread over the positions that they cover, so
        that their sum stays. ``each`` holds the parts of the score: ``input``, ``biases`` of layers with positions,
        ``without a place`` (of dense layers), and ``completeness gap``, what these miss of f(x). ``notes["layers"]``
        counts the layers with positions.

    Cost:
        1 sweep and 1 evaluation per item; each layer with a bias is computed once more without it.

    Differs from the paper:
        Layers count by what they contribute, unless ``scaled``. Batch norms are folded, so that their shift and mean
        are biases. Biases of dense layers are told and not drawn.

    Raises:
        UsageError: ``scaled`` with ``signed``.

    Source:
        Srinivas and Fleuret, Full-Gradient Representation for Neural Network Visualization, NeurIPS 2019.
    """
    if signed and scaled:
        raise UsageError(
            "Layers that are scaled are sizes, which have no sign. Give ", option("signed", False), ", or do not scale."
        )
    step = max(1, _ELEMENTS // max(1, int(np.prod(view.x.shape[1:]))))
    parts = []
    for left in range(0, len(view.x), step):
        parts.append((yield from _decomposed(view, np.arange(left, min(left + step, len(view.x))), signed, scaled)))
    values, own, biases, elsewhere = (np.concatenate([one[k] for one in parts]) for k in range(4))
    score = np.asarray((yield Score(view.x, Untouched(), view.target)), dtype=np.float64)[:, 0]
    gap = score - own - biases - elsewhere
    told = {"input": own, "biases": biases, "without a place": elsewhere, "completeness gap": gap}
    unit = "share of the {score}, each layer from 0 to 1" if scaled else None
    return Reading(
        values, notes={"layers": parts[0][4]}, each=told, unit=unit, signed=signed, warnings=_missing(gap, score)
    )


def _decomposed(
    view: View, items: Array, signed: bool, scaled: bool
) -> Generator[Sweep, Any, tuple[Array, Array, Array, Array, int]]:
    """The maps of some items, the three parts of their scores, and how many layers have positions."""
    answer = yield Sweep(view.x[items][:, None], view.target.take(items), _RULES)
    x, gradient = answer["input"]
    product = np.asarray(x, np.float64) * gradient
    maps = collapse(_sizes(product, signed, scaled), view.layout)
    own, biases, elsewhere = _total(product), np.zeros(len(items)), np.zeros(len(items))
    axes: Mapping[str, Axes | None] = getattr(answer, "biases", {})
    placed = 0
    for key, found in axes.items():
        part = np.asarray(answer[key][1], dtype=np.float64)
        grid = "it is not followed" if found is None else grid_of(found, view.layout)
        if isinstance(grid, str) or part.shape[1:] != grid.shape:
            elsewhere += _total(part)
            continue
        layer = MapLayer(key, grid).maps(_sizes(part, signed, scaled)).sum(axis=1)
        biases += MapLayer(key, grid).maps(part).reshape(len(part), -1).sum(axis=1)
        elsewhere += _total(part) - MapLayer(key, grid).maps(part).reshape(len(part), -1).sum(axis=1)  # class tokens
        maps = maps + _spread(layer, view.layout.map_shape, keeps=not scaled)
        placed += 1
    return maps, own, biases, elsewhere, placed


def _sizes(part: Array, signed: bool, scaled: bool) -> Array:
    if signed:
        return part
    sizes = np.abs(part)
    if not scaled:
        return sizes
    axes = tuple(range(1, sizes.ndim))
    sizes = sizes - sizes.min(axis=axes, keepdims=True)
    return np.asarray(sizes / (sizes.max(axis=axes, keepdims=True) + 1e-5))


def _spread(layer: Array, size: tuple[int, ...], keeps: bool) -> Array:
    """A layer's maps enlarged to the item's; ``keeps``: so that their sum stays the same."""
    if not keeps:
        return np.asarray(enlarge_to(layer, size), dtype=np.float64)
    axes, share = tuple(range(1, layer.ndim)), layer
    for axis, (small, large) in enumerate(zip(layer.shape[1:], size, strict=True), 1):
        counted = enlarging(small, large).sum(axis=0, dtype=np.float64)  # how much of a cell all positions read
        weights = np.where(counted > 0, 1.0 / np.maximum(counted, 1e-9), 0.0)
        share = share * weights.reshape([-1 if k == axis else 1 for k in range(layer.ndim)])
    wide = np.asarray(enlarge_to(share, size), dtype=np.float64)
    rest = layer.sum(axis=axes, keepdims=True) - wide.sum(
        axis=axes, keepdims=True
    )  # rounding, and cells that none read
    return np.asarray(wide + rest / np.prod(size))


def _total(part: Array) -> Array:
    return np.asarray(part.reshape(len(part), -1).sum(axis=1))


def _missing(gap: Array, score: Array) -> tuple[Caveat, ...]:
    """Says so, item by item, where the parts miss the score."""
    share = np.abs(gap) / np.maximum(np.abs(score), np.finfo(np.float32).tiny)
    text = (
        "The parts miss {:.1%} of the score: operators of this model, such as branches or integers, add what could not "
        "be followed, and the map is without it."
    )
    return each((Sentence(text.format(one)) if one > _ACCEPTED else "" for one in share), "incomplete")
