"""An atlas: every item at its place in a plane, with what of the map is true."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lenses.embedding import COLOURINGS, Colouring, Plane
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, one_of, text
from xplain.results.fitting import fit
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Atlas"]

_LISTS = ("predicted", "truth", "cluster_names")


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas(Result):
    """N items in a plane.

    Args:
        places: float64 ``[N, 2]``: x to the right, y upwards.
        cells: int64 ``[N, 2]``: row from the top and column of a grid on which no two items overlap.
        cluster: int64 ``[N]``: each item's group in the layer's own space.
        cluster_names: The commonest label of each group.
        predicted: The class of each that the model predicts; empty where it predicts none.
        truth: The folder that each lies in, where folders are labels; else empty.
        confidence: The largest score of each, in the model's own unit; NaN where there is none.
        thumbnails: uint8 ``[N, s, s, 3]``, or None.
        colour: What the map is meant to be coloured by.
        says: How much of the layer's space the map keeps, in a sentence.
    """

    what: ClassVar[str] = "atlas"
    made_of: ClassVar[type[Any] | None] = Plane
    checks: ClassVar[Mapping[str, Check]] = {
        **dict.fromkeys(_LISTS, ("a list of texts", list_of(text))),
        "colour": (f"one of {', '.join(COLOURINGS)}", one_of(*COLOURINGS)),
        "says": ("a text", text),
    }

    places: Array = field(metadata=ARRAY_PER_ITEM)
    cells: Array = field(metadata=ARRAY_PER_ITEM)
    cluster: Array = field(metadata=ARRAY_PER_ITEM)
    cluster_names: tuple[str, ...] = ()
    predicted: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    truth: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    confidence: Array = field(metadata=ARRAY_PER_ITEM)
    thumbnails: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    colour: Colouring = "none"
    says: str = ""

    def picture(self, **drawing: Any) -> Image:
        """The items at their places; see ``xplain.render.mosaic`` for ``drawing``."""
        drawn: Image = self.render("map", **drawing)
        return drawn

    def grid(self, **drawing: Any) -> Image:
        """The items on a grid without overlap."""
        drawn: Image = self.render("grid", **drawing)
        return drawn

    def __repr__(self) -> str:
        where, by = self.facts.get("layer", ""), self.facts.get("by", "")
        return f"<Atlas of {where} by {by}: {counted(len(self), 'item')}; {self.says}>"

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays against one another.

        Raises:
            Fault: one is missing, of another type or shape than it must have, or two items have one cell.
        """
        needs = {"places": ("f", ("N", 2)), "cells": ("i", ("N", 2)), "cluster": ("i", ("N",))}
        needs["confidence"] = ("f", ("N",))
        found = fit(arrays, needs, {"thumbnails": ("u", ("N", "s", "s", 3))}, gaps=("confidence",))
        count, cells, cluster = found["N"], arrays["cells"], arrays["cluster"]
        if count and (cells.min() < 0 or cells.max() > 4 * count or len(np.unique(cells, axis=0)) < count):
            raise Fault("its cells are not one of a grid for each item")
        if count and (cluster.min() < 0 or cluster.max() >= len(meta.get("cluster_names", ()))):
            raise Fault("its cluster has numbers of groups that have no name")
        return count

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """An atlas with these fields; tuples are still lists."""
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in _LISTS}})
