"""An importance: what each column of a table is worth to the model's loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from xplain.core.edits import Array
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.result import ARRAY, ARRAY_PER_ITEM, Result

__all__ = ["Importance"]

_TWO_SIDED = 1.96


@dataclass(frozen=True, kw_only=True, eq=False)
class Importance(Result):
    """What each of S columns is worth over N rows.

    Args:
        kind: ``permutation`` or ``sage``.
        measure: The loss: ``log loss``, or ``squared error``.
        columns: Names of the columns.
        values: How much the loss is larger without each, ``[S]``.
        error: Standard error of each, ``[S]``.
        loss: The loss of each row as it is, ``[N]``.
    """

    what: ClassVar[str] = "importance"
    checks: ClassVar[Mapping[str, Check]] = {
        "kind": ("a text", text),
        "measure": ("a text", text),
        "columns": ("a list of names", list_of(text)),
    }

    kind: str
    measure: str
    columns: tuple[str, ...]
    values: Array = field(metadata=ARRAY)
    error: Array = field(metadata=ARRAY)
    loss: Array = field(metadata=ARRAY_PER_ITEM)

    def __str__(self) -> str:
        order = np.argsort(-self.values, kind="stable")
        wide = max(len(name) for name in self.columns)
        half = _TWO_SIDED * self.error
        rows = (f"  {self.columns[k]:{wide}}  {self.values[k]:+.4g} ± {half[k]:.2g}" for k in order)
        return "\n".join([f"{self.kind}: what the {self.measure} rises by without a column (95 % interval)", *rows])

    @classmethod
    def made(cls, given: dict[str, Any]) -> Importance:
        """An importance with these fields; names are still a list."""
        return cls(**{**given, "columns": tuple(given.get("columns", ()))})

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of rows; holds the arrays and names against one another.

        Raises:
            Fault: one is missing, of another type or shape than it must have, or not finite.
        """
        for name in cls.arrays():
            if name not in arrays or arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
                raise Fault(f"its {name} are missing, or no finite real numbers")
        count = (len(meta.get("columns", ())),)
        if arrays["values"].shape != count or arrays["error"].shape != count or arrays["loss"].ndim != 1:
            raise Fault(f"its values {list(arrays['values'].shape)} do not fit {count[0]} columns")
        return len(arrays["loss"])
