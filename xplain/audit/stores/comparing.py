"""Two makings of one shard, compared: which bits differ, by how much at most, and where."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from xplain.audit.canonical import needed, sha256_of
from xplain.audit.plans.plan import Shard
from xplain.audit.stores.schema import read_parquet
from xplain.core.edits import Array

__all__ = ["Difference", "differences"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two makings of a shard differ.

    Args:
        shard: Its number.
        kind: ``records``, ``metrics``, ``maps/<lane>`` ...
        what: A column, or ``values`` of an array.
        count: Values that differ.
        largest: By how much at most; None where they are no numbers.
        item: Number of the item with the largest difference; None where the two are of different form.
        was: What was sealed there.
        now: What was made there.
    """

    shard: int
    kind: str
    what: str
    count: int
    largest: float | None
    item: int | None
    was: Any
    now: Any

    def __str__(self) -> str:
        most = "" if self.largest is None else f", at most by {self.largest:.3g}"
        where = "" if self.item is None else f"item {self.item} "
        return (
            f"shard {self.shard}, {self.kind}, {self.what}: {self.count:,} values differ{most}; {where}was "
            f"{_short(self.was)} and is {_short(self.now)}"
        )


def differences(shard: Shard, kind: str, was: bytes, now: bytes) -> Iterator[Difference]:
    """How two parts of one kind differ; nothing where their bits are the same."""
    if sha256_of(was) == sha256_of(now):
        return
    found = list(
        _of_arrays(shard.first, was, now) if kind.startswith(("maps/", "relevance/")) else _of_tables(was, now)
    )
    for one in found or [("the file's form", 1, None, None, len(was), len(now))]:
        yield Difference(shard.number, kind, *one)


Apart: TypeAlias = tuple[str, int, float | None, int | None, Any, Any]
"""What differs, how many values, by how much at most, at which item, and both values there."""


def _of_arrays(first: int, was: bytes, now: bytes) -> Iterator[Apart]:
    a, b = (np.load(io.BytesIO(one), allow_pickle=False) for one in (was, now))
    if a.shape != b.shape or a.dtype != b.dtype:
        yield "shape", 1, None, None, f"{a.dtype} {list(a.shape)}", f"{b.dtype} {list(b.shape)}"
        return
    items = np.arange(first, first + len(a))
    yield from _of_numbers("values", a.reshape(len(a), -1), b.reshape(len(b), -1), items)


def _of_tables(was: bytes, now: bytes) -> Iterator[Apart]:
    types = needed("pyarrow.types")
    a, b = read_parquet(was), read_parquet(now)
    if a.num_rows != b.num_rows or a.schema != b.schema:
        yield "rows and columns", 1, None, None, [a.num_rows, a.num_columns], [b.num_rows, b.num_columns]
        return
    items = a["item"].to_numpy()
    for name in a.column_names:
        one, other = a[name], b[name]
        if types.is_floating(one.type):
            was_there, is_there = (np.asarray(c.to_numpy(), np.float64)[:, None] for c in (one, other))
            yield from _of_numbers(name, was_there, is_there, items)
            continue
        both = list(zip(one.to_pylist(), other.to_pylist(), strict=True))
        apart = [k for k, (x, y) in enumerate(both) if x != y]
        if apart:
            yield name, len(apart), None, int(items[apart[0]]), *both[apart[0]]


def _of_numbers(what: str, a: Array, b: Array, items: Array) -> Iterator[Apart]:
    """Arrays ``[rows, values]`` as they differ; two NaN are alike, a NaN and a number differ without end."""
    wide = a.astype(np.float64), b.astype(np.float64)
    apart = ~((wide[0] == wide[1]) | (np.isnan(wide[0]) & np.isnan(wide[1])))
    if not apart.any():
        return
    by = np.where(apart, np.abs(wide[0] - wide[1]), 0.0)
    by = np.where(np.isnan(by), np.inf, by)
    row, column = (int(n) for n in np.unravel_index(int(by.argmax()), by.shape))
    yield (
        what,
        int(apart.sum()),
        float(by.max()),
        int(items[row]),
        float(wide[0][row, column]),
        float(wide[1][row, column]),
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."
