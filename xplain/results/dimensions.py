"""Intrinsic dimensions, layer by layer, by several estimators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import brief_layer
from xplain.core.lenses.embedding import Dimensions as Found
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import fit
from xplain.results.result import ARRAY_PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Dimensions"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Dimensions(Result):
    """Dimensions of N layers, whose names are ``names``.

    Args:
        values: float64 ``[N, E, 3]``: by each estimator the estimate and both ends of its 95 % interval; NaN where one
            could not be made.
        estimators: Their names.
        points: int64 ``[N]``: distinct items that were used.
        duplicates: int64 ``[N]``: items left out because they nearly repeat another.
        widths: int64 ``[N]``: numbers of a vector.
    """

    what: ClassVar[str] = "dimensions"
    made_of: ClassVar[type[Any] | None] = Found
    checks: ClassVar[Mapping[str, Check]] = {"estimators": ("a list of texts", list_of(text))}

    values: Array = field(metadata=ARRAY_PER_ITEM)
    estimators: tuple[str, ...] = ()
    points: Array = field(metadata=ARRAY_PER_ITEM)
    duplicates: Array = field(metadata=ARRAY_PER_ITEM)
    widths: Array = field(metadata=ARRAY_PER_ITEM)

    def curve(self, **drawing: Any) -> Image:
        """Estimates over layers with their intervals; see ``xplain.render.curves`` for ``drawing``."""
        drawn: Image = self.render("dimensions", **drawing)
        return drawn

    def __repr__(self) -> str:
        told = []
        for n, name in enumerate(self.names):
            each = [
                f"{one} {value:.1f} ({low:.1f} to {high:.1f})" if np.isfinite(value) else f"{one} none"
                for one, (value, low, high) in zip(self.estimators, self.values[n], strict=True)
            ]
            told.append(f"{brief_layer(name)} [{self.widths[n]}]: {', '.join(each)}")
        mapped = self.facts.get("map")
        return "\n".join([*told, *([_of_map(mapped)] if mapped else [])])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of layers; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        whole = ("i", ("N",))
        needs = {"values": ("f", ("N", "E", 3)), "points": whole, "duplicates": whole, "widths": whole}
        found = fit(arrays, needs, gaps=("values",))
        if len(meta.get("estimators", ())) != found["E"]:
            raise Fault(f"its field 'estimators' does not name {found['E']} of them")
        return found["N"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """Dimensions with these fields; tuples are still lists."""
        return cls(**{**given, "estimators": tuple(given.get("estimators", ()))})


def _of_map(facts: Mapping[str, Any]) -> str:
    """How well fewer numbers do, in a line."""
    told = [f"distances kept {', '.join(f'{k} {v:.3f}' for k, v in facts['distance correlation'].items())}"]
    if "accepted at 1 % false" in facts:
        each = ", ".join(f"{name} {share:.1%}" for name, share in facts["accepted at 1 % false"].items())
        told.append(f"pairs of one class accepted at 1 % false ({facts['verification by']}): {each}")
    return f"at {facts['numbers']} numbers: {'; '.join(told)}"
