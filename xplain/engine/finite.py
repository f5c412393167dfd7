"""Scores must be numbers: which item, edit and target has one that is none, and what it means."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite
from xplain.core.outline import Outline
from xplain.core.query import Score, Sweep
from xplain.core.swept import Swept, not_a_number
from xplain.core.target import EveryScore, Stack

__all__ = ["check_rows", "check_seen", "check_sweep"]


def check_rows(rows: Array, query: Score, outline: Outline) -> None:
    """Check the answer ``[R, T]`` to a part of a question; whole score vectors may hold what is unknown.

    Raises:
        NonFinite: a score is NaN or infinite; the message names the target, the item and the edit.
    """
    if np.isfinite(rows).all() or isinstance(query.target, EveryScore):
        return
    row, column = (int(i) for i in np.argwhere(~np.isfinite(rows))[0])
    item, edit = divmod(row + query.rows[0], query.edits.count)
    targets = query.target.targets if isinstance(query.target, Stack) else (query.target,)
    target, value, partial = targets[column].name, rows[row, column], outline.scores.partial
    if partial and np.isnan(value):
        raise NonFinite(
            f"The score of {target!r} is unknown for item {item} under edit {edit}: {partial}. A class that "
            "is left out is not 0. Ask for more classes, name a target that stays among them, or hide less at once."
        )
    raise NonFinite(
        f"The score of {target!r} for item {item} under edit {edit} is {value}. Explanations need finite scores: "
        "look at this input, or choose another baseline."
    )


def check_seen(part: Swept, start: int) -> None:
    """Scores that a sweep has read must be numbers.

    Raises:
        NonFinite: one is NaN.
    """
    if part.scores is not None and np.isnan(part.scores).any():
        row, column = (int(i) for i in np.argwhere(np.isnan(part.scores))[0])
        raise not_a_number(column, start + row)


def check_sweep(
    part: dict[str, tuple[Array, Array]], asked: Sweep, owners: Array, why: Callable[[Sweep], str] | None
) -> None:
    """Cotangents must be finite; if not, the model is asked once more, to name the node.

    Raises:
        NonFinite: one is not.
    """
    for tap, (_, cotangent) in part.items():
        if np.isfinite(cotangent).all():
            continue
        row = int(np.argwhere(~np.isfinite(cotangent))[0][0])
        told = "" if why is None else why(asked.rows(np.array([row])))
        raise NonFinite(
            f"What arrives at {tap!r} for item {owners[row]} is not finite. {told} Look at this input, or explain "
            "another target or layer.".replace("  ", " ")
        )
