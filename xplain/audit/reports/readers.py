"""What the report reads of an audit, as a protocol, and the figures of SQL that its tables share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from xplain.audit.plans.plan import Plan
from xplain.audit.shards.truth_table import TruthTable
from xplain.core.edits import Array
from xplain.core.items import Passage

__all__ = ["MEANS", "Reads", "literal", "quoted", "rows_of", "wilson"]


class Reads(Protocol):
    """The part of ``Audit`` that a report needs."""

    @property
    def plan(self) -> Plan:
        """The plan."""

    @property
    def root(self) -> str:
        """Hash of plan, items and seals."""

    @property
    def truth(self) -> TruthTable | None:
        """What is known to be in the items; None where nothing is stated."""

    def sql(self, query: str) -> Any:
        """A query over the views ``records``, ``metrics`` and ``items``, as a ``pyarrow.Table``."""

    def batches(self, lane: str) -> Iterator[tuple[Array, Array]]:
        """Numbers of items and their maps, float32 ``[N, *shape]``, a shard at a time."""

    def maps(self, lane: str, items: Iterable[int] | None = None) -> Array:
        """Maps of items, float32 ``[N, *shape]``."""

    def x(self, items: Iterable[int], model: str | None = None) -> Array:
        """What a model sees of items, read from the source again: ``[N, *item]``."""

    def given(self, items: Iterable[int], model: str | None = None) -> list[Any]:
        """Rows of a table as mappings, or texts, read from the source again."""

    def passage(self, item: int, model: str | None = None) -> Passage:
        """A text and where its features lie."""

    def picture(self, item: int) -> Array:
        """The picture that the model saw, uint8 ``[H, W, 3]``, read from the source again."""


MEANS = ("score", "margin", "gini", "border", "positive")
"""Columns of records whose means tables show, and what is asked of each."""


def mean_sql(names: Sequence[str] = MEANS) -> str:
    """Their means, over rows that have the number."""
    return ", ".join(f"avg({name}) filter (isfinite({name})) as {name}" for name in names)


def rows_of(table: Any) -> list[dict[str, Any]]:
    """The rows of a small table."""
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def quoted(name: str) -> str:
    """A column's name in SQL, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text in SQL, whatever is in it."""
    return "'" + text.replace("'", "''") + "'"


def wilson(right: int | None, count: int | None) -> tuple[float, float, float] | None:
    """A share and its 95 % bounds (Wilson 1927), which hold for few items and shares near 0 and 1 too."""
    if not count or right is None:
        return None
    z, p = 1.959964, right / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    reach = z / (1 + z * z / count) * float(np.sqrt(p * (1 - p) / count + z * z / (4 * count * count)))
    return p, max(0.0, middle - reach), min(1.0, middle + reach)
