"""Influence: which training items speak for a score and which against it, and whose labels to look at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lenses.influences import Influences
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import Need, fit
from xplain.results.result import ARRAY, ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Influence"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Influence(Result):
    """N training items, whose names are ``names``.

    Args:
        given: The label of each.
        predicted: The class that the last layer says of each.
        worth: float64 ``[N]``: influence of each on itself, in the order of which labels are to be looked at.
        influence: float64 ``[N, A]``: what each adds to what is asked about, above 0 for it, below 0 against it.
        asked: Names of the A items that are asked about.
        classes: The class that is asked about of each of them.
        inspected: float64 ``[P]``: share of the training items that are looked at, from 0 to 1.
        discovered: float64 ``[P]``: share of planted wrong labels among them; empty where none were planted.
        shown: int64 ``[S]``: places of items whose pictures are kept. Of a part of the items these are still places
            among all.
        thumbnails: uint8 ``[S, s, s, 3]``, or None.
        asked_thumbnails: uint8 ``[A, s, s, 3]``, or None.
        unit: The unit of ``influence``.
    """

    what: ClassVar[str] = "influence"
    made_of: ClassVar[type[Any] | None] = Influences
    checks: ClassVar[Mapping[str, Check]] = {
        **dict.fromkeys(("given", "predicted", "asked", "classes"), ("a list of texts", list_of(text))),
        "unit": ("a text", text),
    }

    given: tuple[str, ...] = field(metadata=PER_ITEM)
    predicted: tuple[str, ...] = field(metadata=PER_ITEM)
    worth: Array = field(metadata=ARRAY_PER_ITEM)
    influence: Array = field(metadata=ARRAY_PER_ITEM)
    asked: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    inspected: Array = field(metadata=ARRAY)
    discovered: Array = field(metadata=ARRAY)
    shown: Array = field(metadata=ARRAY)
    thumbnails: Array | None = field(default=None, metadata=ARRAY)
    asked_thumbnails: Array | None = field(default=None, metadata=ARRAY)
    unit: str = ""

    def speak(self, asked: int = 0, count: int = 5) -> tuple[list[int], list[int]]:
        """The places of the items that speak most for an item asked about, and of those that speak most against it."""
        column = self.influence[:, asked]
        order = [int(n) for n in np.argsort(-column, kind="stable")]
        most = [n for n in order[:count] if column[n] > 0]
        least = [n for n in order[::-1][:count] if column[n] < 0]
        return most, least

    def doubtful(self, count: int = 10) -> list[int]:
        """The places of the items whose labels are to be looked at first."""
        return [int(n) for n in np.argsort(-self.worth, kind="stable")[:count]]

    def strips(self, **drawing: Any) -> Image:
        """What speaks for and against, and doubtful labels; see ``xplain.render.influence`` for ``drawing``."""
        drawn: Image = self.render("influence", **drawing)
        return drawn

    def __repr__(self) -> str:
        asked = counted(self.cost.queries, "query", "queries")
        of = f" on {counted(len(self.asked), 'item')}" if self.asked else ""
        lines = [f"influence of {counted(len(self), 'training item')}{of}, {asked}"]
        for n, (name, called) in enumerate(zip(self.asked, self.classes, strict=True)):
            speak = (", ".join(self.name_of(item) for item in some) or "none" for some in self.speak(n, 3))
            lines.append("{}, {}: for it {}; against it {}".format(name, called, *speak))
        some = (f"{self.name_of(n)} ({self.given[n]}; said {self.predicted[n]})" for n in self.doubtful(5))
        return "\n".join([*lines, f"labels to look at first: {', '.join(some)}"])

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"warning: {one}" for one in self.said)])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of training items; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        needs: dict[str, Need] = {
            "worth": ("f", ("N",)),
            "influence": ("f", ("N", "A")),
            "inspected": ("f", ("P",)),
            "discovered": ("f", ("P",)),
            "shown": ("i", ("S",)),
        }
        maybe: dict[str, Need] = {
            "thumbnails": ("u", ("S", "s", "s", 3)),
            "asked_thumbnails": ("u", ("A", "s", "s", 3)),
        }
        found = fit(arrays, needs, maybe)
        for name in ("asked", "classes"):
            if len(meta.get(name, ())) != found["A"]:
                raise Fault(f"its field {name!r} does not name {found['A']} items")
        if arrays["shown"].size and (arrays["shown"].min() < 0 or arrays["shown"].max() >= 2**40):
            raise Fault("its shown are no places of items")
        return found["N"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """Influence with these fields; tuples are still lists."""
        lists = ("given", "predicted", "asked", "classes")
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in lists}})
