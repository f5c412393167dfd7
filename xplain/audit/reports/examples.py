"""Items that a report shows: the worst by several rules, and the members of findings, with picture and map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xplain.audit.reports.features import bars_of, pieces_of
from xplain.audit.reports.own_axes import drawn, has_own_axes
from xplain.audit.reports.readers import Reads, literal, rows_of
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.lane import Lane
from xplain.render.tiles import tile_of
from xplain.report.audit.told import Example

__all__ = ["Album"]

_LONGEST = 224
"""Pixels of the longer side that an example keeps of its picture."""


class Album:
    """Examples of one lane; an item is read from the source once, and at most ``most`` are read at all.

    Args:
        audit: The audit.
        lane: Whose maps are shown.
        most: Pictures that may be read, so that a page stays small.
    """

    def __init__(self, audit: Reads, lane: Lane, most: int = 240) -> None:
        self._audit, self._lane, self._left = audit, lane, most
        self._facts = audit.plan.model(lane.model)
        self._own_axes = has_own_axes(lane, self._facts)
        self._pictures: dict[int, Array | None] = {}

    def of(self, items: Iterable[int], captions: Sequence[str] = ()) -> tuple[Example, ...]:
        """Examples of items; ``captions`` are a line for each beside what the records say of it."""
        numbers = [int(item) for item in items]
        if not numbers:
            return ()
        listed = ", ".join(map(str, numbers))
        found = rows_of(
            self._audit.sql(f"""select item, name, status, error, label, predicted_name, correct, margin
from records where lane = {literal(self._lane.name)} and item in ({listed})""")
        )
        rows = {row["item"]: row for row in found}
        there = [item for item in numbers if item in rows]
        maps = self._maps(there)
        made = []
        for k, item in enumerate(numbers):
            row = rows.get(item)
            if row is None:
                continue
            own = captions[k] if k < len(captions) else ""
            said = [_said(row), *([own] if own else [])]
            if self._facts.door:
                made.append(Example(item, row["name"], tuple(said), **self._features(item, maps.get(item))))
                continue
            if self._own_axes:
                made.append(Example(item, row["name"], tuple(said), drawn=self._drawn(item, maps.get(item))))
                continue
            made.append(Example(item, row["name"], tuple(said), self._picture(item), maps.get(item)))
        return tuple(made)

    def worst(self, where: str, order: str, count: int = 12) -> tuple[Example, ...]:
        """Examples of the lane's explained items for which ``where`` holds, in the order of ``order``."""
        query = f"""select r.item from records r where r.lane = {literal(self._lane.name)} and r.status = 'ok'
and {where} order by {order}, r.item limit {count}"""
        return self.of(row["item"] for row in rows_of(self._audit.sql(query)))

    def _maps(self, items: Sequence[int]) -> dict[int, Array]:
        shown = len(self._lane.native_shape) == 2 or self._facts.door or self._own_axes
        if not shown or not items:
            return {}
        maps = self._audit.maps(self._lane.name, items)
        return {item: one for item, one in zip(items, maps, strict=True) if np.isfinite(one).all()}

    def _drawn(self, item: int, values: Array | None) -> Array | None:
        """Item and map in their own axes; None where the item cannot be read any more, or is not drawn."""
        if item not in self._pictures:
            if self._left <= 0 or values is None:
                return None
            self._left -= 1
            try:
                self._pictures[item] = drawn(
                    self._lane, self._facts, self._audit.x([item], self._lane.model)[0], values
                )
            except XplainError:
                self._pictures[item] = None
        return self._pictures[item]

    def _features(self, item: int, values: Array | None) -> dict[str, Any]:
        """A row's columns that count most, or a text's pieces; nothing where they cannot be read any more."""
        if values is None or self._left <= 0:
            return {}
        self._left -= 1
        try:
            if self._facts.items == "rows":
                (row,) = self._audit.given([item], self._lane.model)
                return {"bars": bars_of(row, self._facts.columns, values)}
            return {"words": pieces_of(self._audit.passage(item, self._lane.model), values)}
        except XplainError:
            return {}

    def _picture(self, item: int) -> Array | None:
        if item not in self._pictures:
            if self._left <= 0:
                return None
            self._left -= 1
            self._pictures[item] = self._read(item)
        return self._pictures[item]

    def _read(self, item: int) -> Array | None:
        """The picture, small; None where the source is no longer there, or holds no pictures."""
        try:
            picture = np.asarray(self._audit.picture(item))
        except XplainError:
            return None
        if picture.ndim != 3 or picture.shape[2] != 3:
            return None
        small: Array = picture.astype(np.uint8)
        return small if max(small.shape[:2]) <= _LONGEST else np.asarray(tile_of(small, None, 0.0, "", _LONGEST))


def _said(row: dict[str, object]) -> str:
    """What the records say of an item, in a line."""
    if row["status"] != "ok":
        return f"not explained: {row['error'] or 'no reason given'}"[:200]
    said = f"answered {row['predicted_name']}"
    if row["correct"] is not None:
        said += ", right" if row["correct"] else f", labelled {row['label']}"
    margin = row["margin"]
    return said + (f", margin {margin + 0.0:.3g}" if isinstance(margin, float) else "")
