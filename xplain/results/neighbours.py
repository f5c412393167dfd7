"""Neighbours: the items nearest to each in a layer's space, beside those nearest pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lenses.embedding import Near
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import fit
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Neighbours"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours(Result):
    """The k nearest of N items, the nearest first, as places among all of them.

    Args:
        near: int64 ``[N, k]``: in the layer's space. Of a part of the items these are still places among all.
        distance: float64 ``[N, k]``.
        near_pixels: int64 ``[N, k]``: pixel by pixel; ``[N, 0]`` where they were not compared.
        pixel_distance: float64 of the same shape.
        predicted: The class of each that the model predicts; empty where it predicts none.
        truth: The folder that each lies in, where folders are labels; else empty.
        thumbnails: uint8 ``[N, s, s, 3]``, or None.
    """

    what: ClassVar[str] = "neighbours"
    made_of: ClassVar[type[Any] | None] = Near
    checks: ClassVar[Mapping[str, Check]] = dict.fromkeys(("predicted", "truth"), ("a list of texts", list_of(text)))

    near: Array = field(metadata=ARRAY_PER_ITEM)
    distance: Array = field(metadata=ARRAY_PER_ITEM)
    near_pixels: Array = field(metadata=ARRAY_PER_ITEM)
    pixel_distance: Array = field(metadata=ARRAY_PER_ITEM)
    predicted: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    truth: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    thumbnails: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)

    def strips(self, **drawing: Any) -> Image:
        """Items with their neighbours beside them; see ``xplain.render.strips`` for ``drawing``."""
        drawn: Image = self.render("strips", **drawing)
        return drawn

    def __repr__(self) -> str:
        near, items = self.near.shape[1], counted(len(self), "item")
        return f"<Neighbours at {self.facts.get('layer', '')}: {near} of each of {items}>"

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        needs = {"near": ("i", ("N", "k")), "distance": ("f", ("N", "k"))}
        needs |= {"near_pixels": ("i", ("N", "p")), "pixel_distance": ("f", ("N", "p"))}
        found = fit(arrays, needs, {"thumbnails": ("u", ("N", "s", "s", 3))})
        if found["p"] not in (0, found["k"]):
            raise Fault(f"it holds {found['k']} neighbours of each item, and {found['p']} pixel by pixel")
        for name in ("near", "near_pixels"):
            if arrays[name].size and (arrays[name].min() < 0 or arrays[name].max() >= 2**40):
                raise Fault(f"its {name} are no places of items")
        return found["N"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """Neighbours with these fields; tuples are still lists."""
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in ("predicted", "truth")}})
