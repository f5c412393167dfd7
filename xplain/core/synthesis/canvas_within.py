"""Canvases that stand in something else: a region of a picture, a patch in pictures, the code of a generator."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from xplain.core.arrays import constant, namespace
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError
from xplain.core.synthesis.canvas import Canvas, Pixels, both
from xplain.core.synthesis.views import tents, turned

__all__ = ["Code", "Inlaid", "Patch"]


@dataclass(frozen=True, eq=False)
class Inlaid(Canvas):
    """A canvas that is seen in a region of a picture alone; elsewhere the picture stays as it was given, to the bit.

    ``picture = under (1 - mask) + mask canvas``, each read where a view lies: the canvas as it is read by itself, the
    picture and the mask bilinearly.

    Args:
        canvas: What is moved, of the picture's extent.
        under: The picture, ``[N, C, *extent]`` in 0..1.
        mask: 1 where the canvas is seen, 0 where the picture is, ``[N, 1, *extent]``.
    """

    canvas: Canvas = field(default_factory=lambda: Canvas((1, 1)))
    under: Array = field(default_factory=lambda: np.zeros((1, 3, 1, 1), np.float32))
    mask: Array = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.float32))

    PER_ITEM: ClassVar[tuple[str, ...]] = ("under", "mask")

    @classmethod
    def of(cls, canvas: Canvas, under: Array, mask: Array, count: int) -> Inlaid:
        """A canvas whose ``count`` states are all laid into one picture ``[C, H, W]`` by a mask ``[1, H, W]``."""
        each = (np.repeat(one[None].astype(np.float32), count, axis=0) for one in (under, mask))
        return cls(canvas.size, canvas.channels, canvas, *each)

    @cached_property
    def structure(self) -> Hashable:
        """That of the canvas, and the shapes of what it is laid into."""
        return ("Inlaid", self.canvas.structure, self.under.shape[1:], self.mask.shape[1:])

    @property
    def extent(self) -> tuple[int, int]:
        """Of the canvas."""
        return self.canvas.extent

    @property
    def state(self) -> tuple[int, ...]:
        """Of the canvas."""
        return self.canvas.state

    def resized(self, size: tuple[int, int]) -> Inlaid:
        """The same painted in another size."""
        return replace(self, size=size, canvas=self.canvas.resized(size))

    def seen(self, state: Any, where: Any, given: Mapping[str, Any]) -> Any:
        """The picture with the canvas in its region."""
        xp = namespace(state)
        ground = xp.concat([given["under"], given["mask"]], axis=1)
        ground = Pixels(self.size, self.channels + 1, self.extent).seen(ground, where, {})
        under, mask = ground[:, : self.channels], ground[:, self.channels :]
        return under * (1.0 - mask) + self.canvas.seen(state, where, {}) * mask

    def start(self, pictures: Array) -> Array:
        """Those of the canvas."""
        return self.canvas.start(pictures)


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
