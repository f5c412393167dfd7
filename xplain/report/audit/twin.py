"""The numbers of an audit's page as JSON and CSV, for programs: the same values, unrounded, without pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.report.audit.told import Example, Found, Table, Told
from xplain.report.audit.words import ALWAYS

__all__ = [
    *("FORMAT", "csv_of", "findings_csv", "json_bytes", "json_of"),
    *("tables_csv", "told_example", "told_finding", "told_table"),
]

FORMAT = "xplain audit report 1"
_LONGEST_ARRAY = 4096
"""Numbers of an array of evidence that JSON holds; of a longer one its shape alone."""
_TRIPLES = ("interval", "estimate")
"""Forms of columns that are three in CSV."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


def json_of(told: Told) -> bytes:
    """All that the page says, UTF-8 with sorted keys, so that the same audit gives the same bytes."""
    document = {
        "format": FORMAT,
        "title": told.title,
        "root": told.root,
        "partial": told.partial,
        "asked": {one.name: one.text for one in told.asked},
        "numbers": [{"value": one.value, "text": one.text} for one in told.leads],
        "analysed": told.analysed,
        "findings": [told_finding(one) for one in told.findings],
        "cannot": [*told.cannot, *ALWAYS],
        "tests": [_test(one) for one in told.tests],
        "histograms": [
            {
                **{name: getattr(one, name) for name in ("lane", "name", "about", "low", "high", "median", "count")},
                "counts": list(one.counts),
            }
            for one in told.histograms
        ],
        "worst": [{"title": title, "items": [told_example(one) for one in some]} for title, some in told.worst],
        "tables": {one.key: told_table(one) for one in told.tables},
        "provenance": {one.name: one.text for one in told.provenance},
        "reviewer": told.reviewer,
        "sql": dict(told.sql),
    }
    return json_bytes(document)


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """A document as UTF-8 with sorted keys; what is no number is null."""
    text = json.dumps(_plain(document), sort_keys=True, ensure_ascii=False, allow_nan=False, indent=1)
    return f"{text}\n".encode(errors="replace")  # halves of pairs, as undecodable names have, are no UTF-8


def csv_of(told: Told) -> dict[str, bytes]:
    """File name to content: a file per table, and one each of findings and tests."""
    found = tables_csv(told.tables) | findings_csv(told.findings)
    if told.tests:
        heads = ["lane", "metric", "value", "low", "high", "count", "passed", "condition", "why"]
        found["tests.csv"] = _csv(heads, [[_test(one)[name] for name in heads] for one in told.tests])
    return found


def tables_csv(tables: Sequence[Table]) -> dict[str, bytes]:
    """A CSV file per table that has rows."""
    return {f"{one.key}.csv": _csv([c.name for c in _flat(one)], _flat_rows(one)) for one in tables if one.rows}


def findings_csv(found: Sequence[Found]) -> dict[str, bytes]:
    """``findings.csv``; nothing where there are none."""
    findings = [told_finding(one) for one in found]
    if not findings:
        return {}
    heads = ["kind", "group", "standing", "statement", "effect", "unit", "low", "high", "p", "count"]
    rows = [[*(one.get(name) for name in heads), " ".join(map(str, one["members"]))] for one in findings]
    return {"findings.csv": _csv([*heads, "members"], rows)}


def told_finding(one: Found) -> dict[str, Any]:
    """A finding as plain values."""
    found = one.finding
    low, high = found.interval if found.interval is not None else (None, None)
    names = ("kind", "group", "standing", "statement", "effect", "unit", "p", "count")
    told = {name: getattr(found, name) for name in names} | {"low": low, "high": high}
    return told | {
        "members": [int(item) for item in found.members],
        "evidence": dict(found.evidence),
        "limits": list(found.limits),
        "shown": [told_example(example) for example in one.examples],
    }


def _test(one: Any) -> dict[str, Any]:
    baselines = {name: {"value": mean, "low": low, "high": high} for name, mean, low, high in one.baselines}
    names = ("lane", "metric", "question", "condition", "value", "count", "passed", "why")
    told = {name: getattr(one, name) for name in names}
    return told | {"low": one.interval[0], "high": one.interval[1], "baselines": baselines}


def told_example(one: Example) -> dict[str, Any]:
    """An example without its picture."""
    return {"item": one.item, "name": one.name, "captions": list(one.captions)}


def told_table(one: Table) -> dict[str, Any]:
    """A table's columns and rows without its maps."""
    columns = [{"name": c.name, "form": c.form, "about": c.about} for c in one.columns if c.form != "map"]
    kept = [k for k, c in enumerate(one.columns) if c.form != "map"]
    rows = [[row[k] for k in kept] for row in one.rows]
    return {"title": one.title, "caption": one.caption, "columns": columns, "rows": rows, "left_out": one.left_out}


def _flat(one: Table) -> list[Any]:
    """A table's columns for CSV: a number with its bounds is three, a map none."""
    flat = []
    for column in one.columns:
        if column.form in _TRIPLES:
            flat += [type(column)(f"{column.name}{end}") for end in ("", " low", " high")]
        elif column.form != "map":
            flat.append(column)
    return flat


def _flat_rows(one: Table) -> list[list[Any]]:
    rows = []
    for row in one.rows:
        cells: list[Any] = []
        for column, value in zip(one.columns, row, strict=True):
            if column.form in _TRIPLES:
                cells += (None, None, None) if value is None else value
            elif column.form != "map":
                cells.append(value)
        rows.append(cells)
    return rows


def _csv(heads: list[str], rows: list[list[Any]]) -> bytes:
    """RFC 4180; a text that a spreadsheet would run as a formula begins with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(heads)
    writer.writerows([[_harmless(value) for value in row] for row in rows])
    return buffer.getvalue().encode(errors="replace")


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        return "'" + value if value.startswith(_FORMULA) else value
    if isinstance(value, np.generic):
        value = value.item()
    return "" if isinstance(value, float) and not np.isfinite(value) else value


def _plain(value: Any) -> Any:
    """Values that strict JSON has; what is no number becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist()) if value.size <= _LONGEST_ARRAY else {"shape": list(value.shape)}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)
