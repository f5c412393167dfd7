"""A curve: how the target's score falls, or rises, while an item is changed in the order of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.results.archive import Fault
from xplain.results.checks import Check, text
from xplain.results.result import ARRAY, ARRAY_PER_ITEM, Result

__all__ = ["Curve"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve(Result):
    """Scores of N items while positions go, or come, in the order of an explanation.

    Args:
        kind: ``deletion`` (a small area is good) or ``insertion`` (a large area is good).
        shares: Share of positions that were changed, ``[P]`` from 0 to 1.
        scores: The target's score at each, ``[N, P]``.
        area: Area under each item's curve, ``[N]``, in units of the score.
    """

    what: ClassVar[str] = "curve"
    checks: ClassVar[Mapping[str, Check]] = {"kind": ("a text", text)}

    kind: str
    shares: Array = field(metadata=ARRAY)
    scores: Array = field(metadata=ARRAY_PER_ITEM)
    area: Array = field(metadata=ARRAY_PER_ITEM)

    def __repr__(self) -> str:
        queries = counted(self.cost.queries, "query", "queries")
        return f"<Curve {self.kind} of {self.target!r}: scores {list(self.scores.shape)}, {queries}>"

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays against one another.

        Raises:
            Fault: one is missing, of another type or shape than it must have, or not finite.
        """
        for name in cls.arrays():
            if name not in arrays:
                raise Fault(f"it holds no {name}")
            if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
                raise Fault(f"its {name} are {arrays[name].dtype}, or not finite; finite real numbers are needed")
        shares, scores, area = (arrays[name] for name in ("shares", "scores", "area"))
        if shares.ndim != 1 or scores.ndim != 2 or area.shape != scores.shape[:1] or scores.shape[1:] != shares.shape:
            got = f"shares {list(shares.shape)}, scores {list(scores.shape)} and area {list(area.shape)}"
            raise Fault(f"its arrays do not fit together: {got}; [P], [N, P] and [N] are needed")
        return len(area)
