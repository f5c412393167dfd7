"""How a run asks for slopes: some canvases at a time, in calls of one shape, whatever canvases are asked beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import gcd

import numpy as np

from xplain.core.edits import Array
from xplain.core.query import Model
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.engine.schedule import batch_rows

__all__ = ["canvases_at_once", "joined", "like_items"]


def like_items(query: Slope) -> Array:
    """An array that has the shape of the pictures of a question, and takes no memory."""
    shape = (1, query.canvas.channels, *query.canvas.size)
    return np.broadcast_to(np.zeros((), np.float32), shape)


def canvases_at_once(query: Slope, model: Model, chosen: int | None) -> int:
    """How many canvases one call takes: one, unless a person or the model's fixed batch says otherwise.

    Sines and hyperbolic tangents are vectorised with a scalar tail, so an element's last bit may depend on its place in
    a batch, and steps uphill make much of a last bit. A canvas' views always go together, since what an objective says
    of them need not be a sum.

    Args:
        query: The question.
        model: Who is asked.
        chosen: Rows per call that a person asked for.
    """
    if query.objective.joint:
        return len(query.state)
    views, rows = query.rows, model.outline.rows
    if rows is not None:
        return rows // gcd(rows, views)
    return 1 if chosen is None else max(1, batch_rows(like_items(query), chosen) // views)


def joined(query: Slope, at_once: int, ask: Callable[[Slope], Sloped]) -> Sloped:
    """The answer to a question, put together of those to its parts."""
    count = len(query.state)
    found = []
    for start in range(0, count, at_once):
        items = np.arange(start, min(start + at_once, count))
        part = query if len(items) == count else query.take(items)
        found.append(ask(replace(part, batch=at_once, kept={})))
    if len(found) == 1:
        return found[0]
    made = [one.made for one in found if one.made is not None]
    terms = zip(*(one.terms.values() for one in found), strict=True)  # a target is called by its own canvases
    return Sloped(
        np.concatenate([one.value for one in found]),
        np.concatenate([one.gradient for one in found]),
        {name: np.concatenate(parts) for name, parts in zip(query.objective.names, terms, strict=True)},
        {tap: np.concatenate([one.taps[tap] for one in found]) for tap in found[0].taps},
        np.concatenate(made) if len(made) == len(found) else None,
    )
