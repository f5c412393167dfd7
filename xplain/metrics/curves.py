"""Deletion and insertion: does the score follow when positions go, or come, in the order of the explanation?"""

from __future__ import annotations

import numpy as np

from xplain import native
from xplain.core.edits import Array, Ranked
from xplain.core.errors import UsageError
from xplain.core.options import Positive
from xplain.core.query import Flow, Reading, Score, View
from xplain.core.registry import metric

__all__ = ["deletion", "insertion"]


@metric("deletion", better="small", asks=True)
def deletion(view: View, values: Array, fill: Array, *, steps: Positive = 32) -> Flow:
    """Hide the positions with the largest values first; a good explanation makes the score fall early.

    With ``D(q)`` the score while the share q of positions with the largest values is hidden:
    ``area = integral over q in [0, 1] of D(q) dq`` by the trapezoid rule, ``steps + 1`` points. Smaller is better.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``; ties go by position.
        fill: What a hidden position becomes, broadcastable against the items.
        steps: Intervals between nothing and everything hidden.

    Returns:
        ``[N]``: the area, in units of the score. ``shares [steps + 1]`` are in ``notes``, ``scores [N, steps + 1]`` in
        ``each``.

    Cost:
        ``steps`` + 1 evaluations per item, fewer where there are fewer positions.

    Raises:
        UsageError: the values are not one per position of the items, or fewer than one step.

    Source:
        Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.1. The score is the target's (a logit), not a probability.
    """
    return _curve(view, values, fill, steps, insert=False)


@metric("insertion", better="large", asks=True)
def insertion(view: View, values: Array, fill: Array, *, steps: Positive = 32) -> Flow:
    """Show the positions with the largest values first; a good explanation makes the score rise early.

    ``area = integral over q in [0, 1] of I(q) dq`` with ``I(q)`` the score while only the share q of positions with the
    largest values is shown. Larger is better. Returns, cost, errors and source as ``deletion``.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``; ties go by position.
        fill: What a position that is not shown becomes, broadcastable against the items.
        steps: Intervals between nothing and everything shown.
    """
    return _curve(view, values, fill, steps, insert=True)


def _curve(view: View, values: Array, fill: Array, steps: int, insert: bool) -> Flow:
    shape = (len(view.x), *view.layout.map_shape)
    if values.shape != shape:
        raise UsageError(
            f"The explanation is {list(values.shape)}; needed: one value per position of each item, {list(shape)}. Sum "
            "over channels first where there are any."
        )
    positions = int(np.prod(shape[1:]))
    counts = np.unique(np.rint(np.linspace(0, positions, steps + 1)).astype(np.int64))
    edits = Ranked(native.rank(values), counts, fill, insert)
    scores = np.asarray((yield Score(view.x, edits, view.target)))
    shares = counts / positions
    areas = (scores[:, 1:] + scores[:, :-1]) / 2 @ np.diff(shares)
    return Reading(areas, notes={"shares": shares}, each={"scores": scores})
