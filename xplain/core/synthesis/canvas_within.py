"""Canvases that stand in something else: a patch in pictures, and the code of a generator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from xplain.core.arrays import constant, namespace
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError
from xplain.core.synthesis.canvas import Canvas, both
from xplain.core.synthesis.views import tents, turned

__all__ = ["Code", "Patch"]


@dataclass(frozen=True, eq=False)
class Patch(Canvas):
    """A patch laid into pictures: each view is a picture of its own, and says where in it the patch lies.

    ``picture = within (1 - m) + m patch``, with m the patch's own shape, moved, scaled and faded over one pixel at its
    edges, and 0 elsewhere. Offsets of a view are in pixels of the picture, and its step is the size of one pixel of the
    patch. Brown 2017, arXiv:1712.09665.

    Args:
        within: The pictures, ``[N, V, C, H, W]`` in 0..1.
        board: Height and width of the patch.
        shape: ``[h, w]``, 1 where the patch is and 0 where it is not; None for all of it.
    """

    within: Array = field(default_factory=lambda: np.zeros((1, 1, 3, 1, 1), np.float32))
    board: tuple[int, int] = (1, 1)
    shape: Array | None = None

    PER_ITEM: ClassVar[tuple[str, ...]] = ("within",)

    @property
    def extent(self) -> tuple[int, int]:
        """Of the patch."""
        return self.board

    turns_pictures: ClassVar[bool] = False

    @property
    def state(self) -> tuple[int, ...]:
        """``(C, *board)``."""
        return (self.channels, *self.board)

    @property
    def pictures(self) -> int:
        """As many as it is laid into."""
        return int(self.within.shape[1])

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """The pictures with the patch."""
        xp = namespace(state)
        high, wide = self.size
        items, views = given["within"].shape[:2]
        shape = np.ones(self.board) if self.shape is None else self.shape
        mask = xp.broadcast_to(constant(shape[None, None], state), (items, 1, *self.board))
        if where is None:
            where = constant(np.broadcast_to([0.0, 0.0, 1.0], (items, views, 3)), state)
        laid, count = xp.concat([state * mask, mask], axis=1), views  # the patch, and how much of it there is
        if where.shape[2] > 3:  # each view has its own turn, so each is an item of one view
            spread = (items, views, *laid.shape[1:])
            laid = xp.reshape(xp.broadcast_to(xp.expand_dims(laid, axis=1), spread), (items * views, *laid.shape[1:]))
            laid = turned(laid, xp.reshape(where[:, :, 3:4], (items * views,)), inside=False)
            where, count = xp.reshape(where, (items * views, 1, where.shape[2])), 1

        def side(axis: int) -> Any:
            pixels, extent = self.size[axis], self.board[axis]
            steps = constant(np.arange(pixels)[None, None] - (pixels - 1) / 2, state)
            at = (steps - where[:, :, axis : axis + 1]) / where[:, :, 2:3] + (extent - 1) / 2
            return tents(at, extent, inside=False)

        moved = both(laid, side(0), side(1), (items * views // count, self.channels + 1, high, wide))
        under = xp.reshape(given["within"], (items * views, self.channels, high, wide))
        return under * (1.0 - moved[:, self.channels :]) + moved[:, : self.channels]


@dataclass(frozen=True, eq=False)
class Code(Canvas):
    """The code of a generator: the picture is what another network makes of it. Nguyen 2016, arXiv:1605.09304.

    Only the door that has the generator can paint it (``xplain.models.through``), so what it paints comes with the
    answer, as ``Sloped.made``.

    Args:
        code: Shape of a code, without the batch.
        board: Height and width of what the generator makes.
        gain: Its pictures times this ...
        shift: ... plus this are in 0..1.
    """

    code: tuple[int, ...] = ()
    board: tuple[int, int] = (1, 1)
    gain: float = 1.0
    shift: float = 0.0

    @property
    def extent(self) -> tuple[int, int]:
        """Of what the generator makes."""
        return self.board

    @property
    def state(self) -> tuple[int, ...]:
        """Of a code."""
        return self.code

    @cached_property
    def structure(self) -> Hashable:
        """Its fields."""
        return ("Code", self.size, self.channels, self.code, self.board, self.gain, self.shift)

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """Never: a door without the generator was asked."""
        raise CapabilityError("A code is painted by its generator, which this model does not have in front of it.")
