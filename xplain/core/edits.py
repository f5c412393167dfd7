"""What is changed in an item before the model is asked: described, never materialised.

An ``Edits`` value stands for M edited versions of each of N items. Nothing of picture size is stored per edit; the
native fill (``xplain.native.fill``) writes the edited rows straight into the model's input buffer, and
``xplain.native.accumulate`` adds up scores over the same description.

An item is seen as ``C`` channels over a *plane* of positions (see ``xplain.core.positions.layout``): a picture's plane
is ``(H, W)``, a time series' is ``(1, T)``, a table's is ``(1, S)``. An edit acts on all channels of a position alike,
except ``Coalitions`` whose labels have the shape of the whole item ``[C, H, W]``.

What a hidden position becomes is ``fill``: a float32 array that broadcasts against ``[N, *item]`` in the model's own
layout and units, so its dimensions are each 1 or full: ``[1, 1, 1, 1]`` a number, ``[N, C, 1, 1]`` a colour per
picture, ``[N, C, H, W]`` a blurred picture.

Rows are numbered ``r = n * M + m``: item by item, edits innermost. Edit m does not depend on n unless an array with a
leading item axis says so, and never on how rows are cut into chunks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from xplain.core.errors import UsageError

__all__ = ["Array", "Coalitions", "Edits", "Full", "Ranked", "SoftGrid", "Untouched", "Windows"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Untouched:
    """The item as it is; one row per item."""

    @property
    def count(self) -> int:
        """M, the number of edits per item."""
        return 1


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Rectangles of the plane, or cuboids of a volume, that are hidden: ``out = fill`` inside, ``x`` outside.

    Args:
        boxes: int32 ``[M, 4]`` or ``[N, M, 4]`` of (y0, x0, y1, x1), for volumes ``[.., 6]`` of (z0, y0, x0, z1, y1,
            x1), half open; parts outside are ignored and an empty box hides nothing.
        fill: What a hidden position becomes (see the module).
    """

    boxes: Array
    fill: Array

    def __post_init__(self) -> None:
        _expect("Windows.boxes", self.boxes, np.int32, (2, 3))
        if self.boxes.shape[-1] not in (4, 6):
            raise UsageError(
                f"Windows.boxes is {self.boxes.shape}; accepted: [M, 4] or [N, M, 4] of y0, x0, y1, x1, or [.., 6] of "
                "z0, y0, x0, z1, y1, x1."
            )

    @property
    def count(self) -> int:
        """M, the number of edits per item."""
        return int(self.boxes.shape[-2])


@dataclass(frozen=True, slots=True, eq=False)
class Coalitions:
    """Features switched on and off together: ``out = x`` where ``keep[m, labels]`` is 1, else ``fill``.

    Args:
        labels: int32 feature number of every position, ``[*plane]`` or ``[N, *plane]``, or of every element, in the
            item's own shape ``[*item]`` or ``[N, *item]``; values in ``0..S-1``; -1 means "never hidden".
        keep: uint8 ``[M, S]`` or ``[N, M, S]``; 1 keeps the feature, 0 hides it.
        fill: What a hidden position becomes (see the module).
        whole: True when ``labels`` has the item's shape rather than the plane's.
    """

    labels: Array
    keep: Array
    fill: Array
    whole: bool = False

    def __post_init__(self) -> None:
        _expect("Coalitions.labels", self.labels, np.int32, None)
        _expect("Coalitions.keep", self.keep, np.uint8, (2, 3))

    @property
    def count(self) -> int:
        """M, the number of edits per item."""
        return int(self.keep.shape[-2])

    @property
    def features(self) -> int:
        """S, the number of features."""
        return int(self.keep.shape[-1])


@dataclass(frozen=True, slots=True, eq=False)
class SoftGrid:
    """RISE's masks from a counter: a random 0/1 grid, enlarged bilinearly, shifted at random; never stored.

    ``out = fill + mask * (x - fill)``. Mask ``m`` is a function of ``(seed, first + m)`` alone, so items that share a
    seed share their masks, and the errors of what is found with them. Its grid has
    ``cells + 1`` cells per axis of ``ceil(H / cells) x ceil(W / cells)`` pixels, each kept with probability ``keep``,
    and a shift uniform over one cell, so that every pixel's expected mask value is exactly ``keep``.

    Args:
        seed: Key of the counter-based generator, 0..2**64-1; or one of each item's own, uint64 ``[N]``.
        samples: M.
        cells: Cells per axis, (rows, columns), for volumes (slices, rows, columns).
        keep: Probability that a cell is kept, in (0, 1).
        fill: What a hidden position becomes (see the module).
        first: Number of the first mask, so that a run can be continued.
    """

    seed: int | Array
    samples: int
    cells: tuple[int, ...]
    keep: float
    fill: Array
    first: int = 0

    @property
    def count(self) -> int:
        """M, the number of edits per item."""
        return self.samples

    @property
    def per_item(self) -> bool:
        """Whether each item has masks of its own."""
        return not isinstance(self.seed, int)

    def of(self, items: slice, total: int, rank: int) -> SoftGrid:
        """The masks of some of ``total`` items, whose batch has ``rank`` axes."""
        own = self.fill.ndim == rank and self.fill.shape[0] == total > 1
        seed = self.seed if isinstance(self.seed, int) else self.seed[items]
        return replace(self, seed=seed, fill=self.fill[items] if own else self.fill)

    def alone(self, item: int, total: int, rank: int) -> SoftGrid:
        """The masks of one item."""
        one = self.of(slice(item, item + 1), total, rank)
        return one if isinstance(one.seed, int) else replace(one, seed=int(one.seed[0]))


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Positions hidden (deletion) or shown (insertion) in order of rank, for deletion and insertion curves.

    Deletion: ``out = fill`` where ``rank < counts[m]``, else ``x``. Insertion: the two are exchanged.

    Args:
        rank: int32 ``[*plane]`` or ``[N, *plane]``; 0 is the most important position.
        counts: int64 ``[M]`` numbers of positions.
        fill: What a hidden position becomes (see the module).
        insert: Start from the fill and show positions, instead of starting from the item and hiding them.
    """

    rank: Array
    counts: Array
    fill: Array
    insert: bool = False

    def __post_init__(self) -> None:
        _expect("Ranked.rank", self.rank, np.int32, None)
        _expect("Ranked.counts", self.counts, np.int64, (1,))

    @property
    def count(self) -> int:
        """M, the number of edits per item."""
        return int(self.counts.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Full:
    """A caller's own masks: ``out = fill + mask * (x - fill)``.

    Args:
        masks: float32 ``[M, *plane]`` or ``[N, M, *plane]``, the share of each position that is kept, in [0, 1].
        fill: What a hidden position becomes (see the module).
        per_item: True when ``masks`` has the leading item axis.
    """

    masks: Array
    fill: Array
    per_item: bool = False

    def __post_init__(self) -> None:
        _expect("Full.masks", self.masks, np.float32, None)

    @property
    def count(self) -> int:
        """M, the number of edits per item."""
        return int(self.masks.shape[1 if self.per_item else 0])


Edits: TypeAlias = Untouched | Windows | Coalitions | SoftGrid | Ranked | Full


def _expect(what: str, array: Array, dtype: Any, ranks: tuple[int, ...] | None) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype or (ranks is not None and array.ndim not in ranks):
        got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        wanted = f" with {' or '.join(map(str, ranks))} axes" if ranks else ""
        raise UsageError(f"{what} is {got}; accepted: a numpy array of {np.dtype(dtype).name}{wanted}.")
