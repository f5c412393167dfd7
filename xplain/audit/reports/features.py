"""What a report shows of rows and texts: the columns and words that count, over all items and of single ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.audit.findings.kinds import columns
from xplain.audit.findings.leaning import worded
from xplain.audit.reports.readers import Reads
from xplain.core.edits import Array
from xplain.core.items import Passage
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane
from xplain.report.audit.told import Column, Table

__all__ = ["bars_of", "feature_table", "pieces_of"]

_BARS, _PIECES, _WORDS = 8, 400, 60
"""Columns of an example, characters of a text that are shown, and words of a table."""


def bars_of(row: Mapping[str, Any], names: Sequence[str], values: Array) -> tuple[tuple[str, str, float], ...]:
    """The columns of a row that count most: name, what it holds, and its value by the largest, -1..1."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    order = np.argsort(-np.abs(values[: len(names)]), kind="stable")[:_BARS]
    return tuple((names[k], _said(row.get(names[k])), float(values[k]) / largest) for k in order)


def _said(value: Any) -> str:
    return "missing" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)[:80]


def pieces_of(passage: Passage, values: Array) -> tuple[tuple[str, float | None], ...]:
    """A text in pieces: features with their values by the largest, and what lies between them; cut after a while."""
    largest = float(np.abs(values).max(initial=0.0)) or 1.0
    made: list[tuple[str, float | None]] = []
    at = 0
    for (start, stop), value in zip(passage.spans, values, strict=False):
        if start > _PIECES:
            break
        if start > at:
            made.append((passage.text[at:start], None))
        made.append((passage.text[start:stop], float(value) / largest))
        at = stop
    rest = passage.text[at:]
    cut = f"{rest[:20]} … ({len(passage.text):,} characters)" if len(rest) > 20 else rest
    return (*made, (cut, None)) if cut else tuple(made)


def feature_table(audit: Reads, lane: Lane, number: int) -> Table | None:
    """A row per column of rows, or per word of texts, the one with most mass first; None for pictures and tensors.

    Args:
        audit: The audit.
        lane: Its lane.
        number: Which of the plan's lanes it is, from 1.
    """
    facts = audit.plan.model(lane.model)
    if not facts.door or len(lane.native_shape) != 1:
        return None
    if facts.items == "rows":
        return _of_columns(audit, lane, number, facts.columns)
    items, words, held = worded(audit, lane, columns(audit, "item", lane)["item"], signed=True)
    if not len(items):
        return None
    there = held != 0
    mean = np.abs(held).sum(axis=0) / len(items)
    rows = []
    for k in np.argsort(-mean, kind="stable")[:_WORDS]:
        own = held[there[:, k], k]
        if len(own):
            rows.append((words[k], len(own), float(np.abs(own).mean()), float(own.mean()), float(mean[k])))
    heads = (
        Column("word", "text", "in small letters"),
        Column("texts", "count", "texts, of those read, in which it counts"),
        Column("share where it is", "share", "mean share of a text's magnitude that lies on it, in texts that have it"),
        Column("for the answer", "signed", "the same with its sign: above 0 it spoke for what was explained"),
        Column("share of all", "share", "mean share over all texts that were read"),
    )
    caption = (
        f"The words that hold most of the explanations, of {len(items):,} texts that the plan's seed draws; "
        f"{len(words):,} words in all."
    )
    return Table(f"words-{number}", f"{lane.name}: words", caption, heads, tuple(rows), max(0, len(words) - len(rows)))


def _of_columns(audit: Reads, lane: Lane, number: int, names: Sequence[str]) -> Table | None:
    sums = np.zeros((4, len(names)))
    count = 0
    for _, maps in audit.batches(lane.name):
        rows = maps[np.isfinite(maps).all(axis=1)].astype(np.float64)
        size = np.abs(rows).sum(axis=1)
        rows, size = rows[size > 0], size[size > 0]
        if len(rows):
            held = np.abs(rows) / size[:, None]
            firsts = np.bincount(np.abs(rows).argmax(axis=1), minlength=len(names))
            sums += [held.sum(axis=0), rows.sum(axis=0), (rows > 0).sum(axis=0), firsts]
            count += len(rows)
    if not count:
        return None
    share, value, positive, first = sums / count
    order = np.argsort(-share, kind="stable")
    rows_told = tuple((names[k], *(float(one[k]) for one in (share, first, value, positive))) for k in order)
    heads = (
        Column("column", "text"),
        Column("share", "share", "mean share of a row's magnitude that lies on it"),
        Column("first", "share", "share of rows in which it counts most"),
        Column("mean value", "signed", f"mean of its value, in {lane.unit or 'the unit of the map'}"),
        Column("speaks for it", "share", "share of rows in which its value is above 0, for what was explained"),
    )
    caption = f"How much each column counts, over {counted(count, 'row')}; the one with most of the magnitude first."
    return Table(f"columns-{number}", f"{lane.name}: columns", caption, heads, rows_told)
