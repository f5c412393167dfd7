"""An effect: how the score of the rows of a table depends on one column."""

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

__all__ = ["Effect"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Effect(Result):
    """How the score of N rows depends on one column.

    Args:
        kind: ``pdp`` (partial dependence) or ``ale`` (accumulated local effects).
        column: The column's name.
        grid: Values of the column, ``[G]``; of local effects the edges of its bins.
        mean: The effect at each, ``[G]``, in units of the score; of local effects 0 on average over the rows.
        error: Its standard error over the rows, ``[G]``.
        curves: ``[N, G]`` the curve of each row (ICE); of local effects ``[N, 1]``, each row's across its bin.
    """

    what: ClassVar[str] = "effect"
    checks: ClassVar[Mapping[str, Check]] = {"kind": ("a text", text), "column": ("a text", text)}

    kind: str
    column: str
    grid: Array = field(metadata=ARRAY)
    mean: Array = field(metadata=ARRAY)
    error: Array = field(metadata=ARRAY)
    curves: Array = field(metadata=ARRAY_PER_ITEM)

    def __str__(self) -> str:
        lines = [f"{self.kind} of {self.column} on {self.target!r}, {counted(len(self.names), 'row')}"]
        triples = zip(self.grid, self.mean, self.error, strict=True)
        return "\n".join([*lines, *(f"  {at:10.4g}  {mean:+.4g} ± {error:.2g}" for at, mean, error in triples)])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of rows; holds the arrays against one another.

        Raises:
            Fault: one is missing, of another type or shape than it must have, or not finite.
        """
        for name in cls.arrays():
            if name not in arrays or arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
                raise Fault(f"its {name} are missing, or no finite real numbers")
        grid, curves = arrays["grid"], arrays["curves"]
        shapes = {arrays[name].shape for name in ("grid", "mean", "error")}
        if len(shapes) > 1 or grid.ndim != 1 or curves.ndim != 2 or curves.shape[1] not in (1, len(grid)):
            raise Fault(f"its grid {list(grid.shape)} and curves {list(curves.shape)} do not fit together")
        return len(curves)
