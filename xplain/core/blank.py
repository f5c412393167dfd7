"""Zeros in the shape of an answer about tensors, so that methods can be driven without a model: planned, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.lenses.fold import folded
from xplain.core.outline import Outline
from xplain.core.query import Answer, Peek, Slope, Sweep
from xplain.core.swept import Swept
from xplain.core.synthesis.slope import PICTURE, Sloped

__all__ = ["zero_answer"]


def zero_answer(query: Peek | Sweep | Slope, outline: Outline) -> Answer:
    """Zeros, as a model of this outline would answer a sweep of one point, or a question about values.

    Slopes are 1 everywhere, for a synthesis stops where there is none.

    Raises:
        UnknownName: a tap that is no layer.
    """
    if isinstance(query, Slope):
        return _level(query, outline)
    fed = query.fed if isinstance(query, Sweep) else query.x
    found: dict[str, Any] = {}
    for tap in query.taps:
        shape = fed.shape[1:] if tap == "input" else outline.extents(tap, fed.shape[1:])
        if isinstance(query, Sweep) and tap == query.at:
            shape = query.x.shape[2:]
        zero = np.zeros((len(fed), *shape), dtype=np.float32)
        if isinstance(query, Sweep):
            found[tap] = (zero, zero)
        else:
            found[tap] = zero if query.fold is None else folded(zero, query.fold)
    if not isinstance(query, Sweep):
        return found
    none = np.zeros(len(fed))
    return Swept(found, none, none, np.zeros((len(fed), outline.scores.classes or 1)))


def _level(query: Slope, outline: Outline) -> Sloped:
    count, rows = len(query.state), len(query.state) * query.rows
    size = (query.canvas.channels, *query.canvas.size)
    item = (*size[1:], size[0]) if query.ink.last else size
    shapes = {tap: size if tap == PICTURE else outline.extents(tap, item) for tap in query.taps}
    taps = {tap: np.zeros((rows, *shape), np.float32) for tap, shape in shapes.items()}
    none = np.zeros(count)
    return Sloped(none, np.ones(query.state.shape, np.float32), dict.fromkeys(query.objective.names, none), taps)
