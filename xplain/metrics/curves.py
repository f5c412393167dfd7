"""Deletion and insertion: does the score follow when positions go, or come, in the order of the explanation?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xplain import native
from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array, Ranked
from xplain.core.query import Flow, Reading, Score, View
from xplain.metrics.asking import blank, clean
from xplain.metrics.maps import of_view

__all__ = ["deletion", "insertion", "monotonicity"]


@metric(
    "deletion",
    better="small",
    needs="curve",
    unit="score",
    paper=Paper("Petsiuk 2018", "arXiv:1806.07421"),
    aliases=("pixel-flipping",),
)
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
        ``steps`` + 1 evaluations per item, fewer where there are fewer positions; the untouched item and the hidden one
        are asked once for all metrics and explanations that are judged together.

    Raises:
        UsageError: the values are not one per position of the items, or fewer than one step.

    Source:
        Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.1. The score is the target's (a logit), not a probability.
    """
    return _curve(view, values, fill, steps, insert=False)


@metric("insertion", better="large", needs="curve", unit="score", paper=Paper("Petsiuk 2018", "arXiv:1806.07421"))
def insertion(view: View, values: Array, fill: Array, *, steps: Positive = 32) -> Flow:
    """Show the positions with the largest values first; a good explanation makes the score rise early.

    ``area = integral over q in [0, 1] of I(q) dq`` with ``I(q)`` the score while only the share q of positions with the
    largest values is shown. Larger is better. Returns and errors as ``deletion``.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``; ties go by position.
        fill: What a position that is not shown becomes, broadcastable against the items.
        steps: Intervals between nothing and everything shown.

    Cost:
        As ``deletion``.

    Source:
        Petsiuk, Das and Saenko, RISE, BMVC 2018, section 4.1.
    """
    return _curve(view, values, fill, steps, insert=True)


@metric(
    "monotonicity",
    better="large",
    needs="curve",
    unit="share of steps",
    range=(0.0, 1.0),
    paper=Paper("Arya 2019", "arXiv:1909.03012"),
)
def monotonicity(view: View, values: Array, fill: Array, *, steps: Positive = 32) -> Flow:
    """The share of steps in which the score does not fall while positions are shown, those with small values first.

    It is read from the curve of ``deletion``, backwards, and costs nothing where that was asked with as many steps.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``; ties go by position.
        fill: What a position that is not shown becomes, broadcastable against the items.
        steps: Groups in which positions are shown.

    Returns:
        ``[N]``, 0..1; ``shares`` and ``scores`` as ``deletion``.

    Differs from the paper:
        A share instead of yes or no, and groups of positions instead of single ones.

    Cost:
        As ``deletion``.

    Source:
        Arya et al., One Explanation Does Not Fit All, 2019, section 5 (Monotonicity), after Luss et al. 2019.
    """
    reading = yield from _curve(view, values, fill, steps, insert=False)
    falls = np.diff(reading.each["scores"], axis=1) <= 0
    return replace(reading, values=falls.mean(axis=1))


def _curve(view: View, values: Array, fill: Array, steps: int, insert: bool) -> Flow:
    of_view(view, values)
    count = int(np.prod(values.shape[1:]))
    counts = np.unique(np.rint(np.linspace(0, count, steps + 1)).astype(np.int64))
    ends = [(yield from clean(view)), (yield from blank(view, fill))]
    between = np.zeros((len(values), 0))
    if len(counts) > 2:  # the ends are the same for every explanation, and are asked once
        between = np.asarray(
            (yield Score(view.x, Ranked(native.rank(values), counts[1:-1], fill, insert), view.target))
        )
    first, last = ends[::-1] if insert else ends
    scores = np.concatenate([first[:, None], between, last[:, None]], axis=1)
    shares = counts / count
    areas = (scores[:, 1:] + scores[:, :-1]) / 2 @ np.diff(shares)
    return Reading(areas, notes={"shares": shares}, each={"scores": scores})
