"""Points on a path apart: the gradient, the score and a layer's values at each, not their sum."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat, each
from xplain.core.edits import Array, Untouched
from xplain.core.query import Peek, Score, Sweep, View
from xplain.explainers.gradient.starts import INPUT, Path

__all__ = ["blocks", "heights", "inside", "missed", "slopes"]

_ROWS = 64
"""Points that are held at once: 40 MB at 3 x 224 x 224."""


_ACCEPTED = 0.05
"""Share of the difference of the scores that values may miss without a word."""


def missed(gap: Array, goal: Array, besides: str = "") -> tuple[Caveat, ...]:
    """Says so, item by item, where values do not add up to the difference of the scores that they share out.

    Args:
        gap: What they are off by, ``[N]``.
        goal: The difference of the scores.
        besides: What else than too few steps may be the reason.
    """
    shares = np.abs(gap) / np.maximum(np.abs(goal), np.finfo(np.float32).tiny)
    text = f"The values miss the difference of the scores by {{:.1%}}. Take more steps{besides}."
    return each((text.format(share) if share > _ACCEPTED else "" for share in shares), "incomplete")


def blocks(items: int, points: int) -> list[slice]:
    """The points of a path in blocks, so that memory grows neither with them nor with the items."""
    step = max(1, _ROWS // items)
    return [slice(left, min(points, left + step)) for left in range(0, points, step)]


def slopes(path: Path, points: Array) -> Generator[Sweep, Any, Array]:
    """The gradient at each of ``points`` ``[N, S, *shape]``, of that shape."""
    rows, flat = _rows(points)
    answer = yield path.of(rows).sweep(flat[:, None])
    return np.asarray(answer[path.at][1]).reshape(points.shape)


def heights(path: Path, points: Array) -> Generator[Score, Any, Array]:
    """The score at each of ``points`` ``[N, S, *shape]``: float64 ``[N, S]``."""
    rows, flat = _rows(points)
    own = path.view.target.take(rows)
    if path.at == INPUT:
        answer = yield Score(flat, Untouched(), own)
    else:
        answer = yield Score(flat, Untouched(), own, at=path.at, items=path.view.x[rows])
    return np.asarray(answer, dtype=np.float64).reshape(points.shape[:2])


def inside(view: View, layer: str, points: Array) -> Generator[Peek, Any, Array]:
    """A layer's values ``[N, S, *shape]`` for each of the items ``[N, S, *item]``."""
    _, flat = _rows(points)
    if layer == INPUT:
        return points
    values = np.asarray((yield Peek(flat, (layer,)))[layer])
    return values.reshape(*points.shape[:2], *values.shape[1:])


def _rows(points: Array) -> tuple[Array, Array]:
    flat = np.ascontiguousarray(points.reshape(-1, *points.shape[2:]), dtype=np.float32)
    return np.repeat(np.arange(len(points)), points.shape[1]), flat
