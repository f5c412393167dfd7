"""What is known to be in one item, whoever states it: boxes, a mask, or that there is nothing.

Boxes are (y0, x0, y1, x1) in pixels of the picture as it is looked at (EXIF's orientation applied), half open, whatever
the file that states them counts in. A mask is as large as the picture, or, for items that are tensors, as their map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Known", "boxed", "rolled", "unrolled"]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known to be in one item.

    Args:
        boxes: float64 ``[B, 4]``.
        labels: What is in each box; empty texts where that is not said.
        shape: Of the mask; empty where there is none.
        runs: The mask as lengths of runs along its rows, outside and inside in turn, beginning outside.
        size: Height and width that the source states of the picture; None where it does not.
    """

    boxes: Array
    labels: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    runs: Array | None = None
    size: tuple[int, int] | None = None

    @property
    def empty(self) -> bool:
        """Whether it says that nothing is there."""
        return not len(self.boxes) and (self.runs is None or len(self.runs) < 2)


def boxed(rows: Sequence[Sequence[float]], labels: Sequence[str] = (), size: tuple[int, int] | None = None) -> Known:
    """Boxes (y0, x0, y1, x1) as what is known of an item.

    Raises:
        UsageError: one is no four finite numbers, or ends before it begins.
    """
    for row in rows:
        try:
            edges = [float(edge) for edge in row]
        except (TypeError, ValueError, OverflowError):
            edges = []
        if len(edges) != 4 or not np.isfinite(edges).all() or edges[0] >= edges[2] or edges[1] >= edges[3]:
            got = list(row) if isinstance(row, (list, tuple, np.ndarray)) else row
            raise UsageError(
                option="truth", got=got, accepted="a box is four numbers (y0, x0, y1, x1), each end behind its start"
            )
    found = np.array([[float(edge) for edge in row] for row in rows], np.float64).reshape(-1, 4)
    if len(found) and (np.abs(found) <= 1).all() and (found != np.floor(found)).any():
        raise UsageError(
            f"The boxes lie between 0 and 1, such as {found[0].tolist()}, which reads as shares of the picture; a box "
            "is in pixels. Multiply y by the height and x by the width.",
            option="truth",
        )
    return Known(found, tuple(labels) or ("",) * len(found), size=size)


def rolled(mask: Array) -> Known:
    """A mask of truth values as what is known of an item."""
    line = mask.reshape(-1)
    ends = np.flatnonzero(line[1:] != line[:-1]) + 1
    runs = np.diff(np.concatenate([[0], ends, [len(line)]])).astype(np.int64)
    runs = np.concatenate([[0], runs]) if line.size and line[0] else runs
    return Known(np.zeros((0, 4)), (), mask.shape, runs)


def unrolled(shape: Sequence[int], runs: Sequence[int] | Array) -> Array:
    """The mask of runs, bool of its shape."""
    inside = np.arange(len(runs)) % 2 == 1
    found: Array = np.repeat(inside, np.asarray(runs, np.int64)).reshape(tuple(shape))
    return found
