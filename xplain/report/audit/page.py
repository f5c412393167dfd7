"""An audit's report as one HTML page: no network, below 5 MB whatever the number of items, all of it escaped.

Names, labels and error texts come from files that are not trusted. The page's content policy allows its own style and
its own script by their digests and pictures inside it, and nothing else. The script filters and sorts tables; without
it the page says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from xplain.core.finding import Finding
from xplain.report.audit.drawing import bar, curve, histogram, mean_map, thumbnail
from xplain.report.audit.told import Column, Example, Found, Table, Told
from xplain.report.audit.words import ALWAYS, ASKED_FOR, GLOSSARY, STANDINGS
from xplain.report.template import plain_fact, policy_hash, template, text_of

__all__ = ["audit_page", "framed", "pictured", "printed"]

_FULL = 40
"""Findings that are told with their pictures; others are rows of a table."""
_OPEN = 10
"""Of these, the ones that lie open; the others are folded, with their pictures."""
_DRAWN = {"mean map": "mean of its maps", "region": "the place that is meant", "t": "where it differs from others (t)"}
"""Evidence that is drawn, in words."""
_FOLDED = ("measured", "too few")
_SMALL_MAP, _FEW, _CURVE = 64, 8, 256
"""Cells of a side up to which evidence is drawn as a map; numbers that are printed, and that are drawn as a line."""
_MANY_ROWS = 12
"""Rows from which on a table scrolls inside its own frame."""


class _Cell(NamedTuple):
    """A cell as the template prints it."""

    kind: str
    text: Any


class _Picture(NamedTuple):
    image: Markup
    alt: str
    lines: Sequence[str]
    bars: Sequence[tuple[str, str, str, Markup]] = ()
    words: Sequence[tuple[str, str]] = ()
    wide: bool = False


@dataclass(frozen=True, slots=True)
class _Shown:
    """A table as the template prints it."""

    table: Table
    rows: Sequence[Sequence[_Cell]]
    scrolls: bool
    abouts: Sequence[Column]


@dataclass(frozen=True, slots=True)
class _Card:
    """A finding as the template prints it."""

    finding: Finding
    number: int
    standing: str
    facts: Sequence[tuple[str, str]]
    figures: Sequence[tuple[str, str]]
    drawn: Sequence[tuple[str, Markup, bool]]
    pictures: Sequence[_Picture] = field(default=())


def audit_page(told: Told, files: Sequence[str] = ()) -> str:
    """The page as text.

    Args:
        told: What is told.
        files: Names of the files that lie beside it, for the reader who wants the numbers.
    """
    return framed(
        "audit.html",
        told,
        files,
        more=max(0, len(told.findings) - _FULL),
        counts=_counts(told.findings),
        lanes=printed(told.lanes),
        features=[printed(one) for one in told.features],
        agreement=None if told.agreement is None else printed(told.agreement),
        known=None if told.truth is None else printed(told.truth),
        grades=[printed(one) for one in told.grades],
        classes=[printed(one) for one in told.classes],
        deciles=[printed(one) for one in told.deciles],
        twins=None if told.twins is None else printed(told.twins),
        subgroups=[printed(one) for one in told.subgroups],
        over_time=[printed(one) for one in told.over_time],
        failures=None if told.failures is None else printed(told.failures),
        worst=[(title, [pictured(one) for one in examples]) for title, examples in told.worst],
        histograms=[(one, histogram(one)) for one in told.histograms],
        number=_number,
        alike=_alike,
        always=ALWAYS,
        glossary=GLOSSARY.items(),
        asked_for=ASKED_FOR,
    )


def framed(name: str, told: Any, files: Sequence[str], **parts: Any) -> str:
    """A page of findings in the frame that all share: style, script, the policy that allows just these, and cards.

    Args:
        name: The template.
        told: What is told; its ``findings`` become cards, those that go furthest first.
        files: Names of the files that lie beside the page.
        parts: What else the template prints.
    """
    style, script = text_of("audit.css"), text_of("audit.js")
    cards = [_card(number, one) for number, one in enumerate(_ordered(told.findings)[:_FULL], 1)]
    pressing = [one for one in cards if one.finding.standing not in _FOLDED]
    return template(name).render(
        told=told,
        style=style,
        style_hash=policy_hash(style),
        script=script,
        script_hash=policy_hash(script),
        files=files,
        cards=pressing[:_OPEN],
        rest=pressing[_OPEN:],
        folded=[one for one in cards if one.finding.standing in _FOLDED],
        standings=STANDINGS,
        **parts,
    )


def _ordered(findings: Sequence[Found]) -> list[Found]:
    """Findings by how far they go, the smaller p first; what an analysis put first stays first among equals."""
    rank = {name: k for k, name in enumerate(STANDINGS)}

    def place(one: Found) -> tuple[int, float]:
        return rank[one.finding.standing], 1.0 if one.finding.p is None else one.finding.p

    return sorted(findings, key=place)


def _counts(findings: Sequence[Found]) -> list[tuple[str, int]]:
    """How many findings there are of each standing that occurs."""
    found = [(name, sum(one.finding.standing == name for one in findings)) for name in STANDINGS]
    return [(name, count) for name, count in found if count]


def _card(number: int, found: Found) -> _Card:
    one = found.finding
    facts = [("analysis", one.kind), ("about", one.group or "all items"), ("items looked at", f"{one.count:,}")]
    if one.effect is not None:
        bounds = "" if one.interval is None else f" (95 %: {_number(one.interval[0])} to {_number(one.interval[1])})"
        facts.append(("effect", f"{_number(one.effect)} {one.unit}{bounds}"))
    if one.p is not None:
        facts.append(("p, corrected", _p(one.p)))
    if len(one.members):
        facts.append(("items that show it", f"{len(one.members):,}"))
    drawn: list[tuple[str, Markup, bool]] = []
    figures: list[tuple[str, str]] = []
    for name, value in one.evidence.items():
        array = np.asarray(value) if isinstance(value, (np.ndarray, list, tuple)) else None
        if value is None:
            continue
        if array is None or array.dtype.kind not in "fiub":
            figures.append((str(name), plain_fact(value)))
        elif not array.size:
            figures.append((str(name), "none"))
        elif array.ndim == 2 and array.dtype.kind in "fb" and max(array.shape) <= _SMALL_MAP:
            drawn.append((_DRAWN.get(str(name), str(name)), mean_map(array), True))
        elif array.ndim == 1 and array.size <= _FEW:
            figures.append((str(name), ", ".join(_number(float(one)) for one in array)))
        elif array.ndim == 1 and array.size <= _CURVE:
            drawn.append((str(name), curve(array), False))
        else:
            figures.append((str(name), plain_fact(array)))
    shown = [pictured(e) for e in found.examples]
    return _Card(one, number, STANDINGS[one.standing], facts, figures, drawn, shown)


def pictured(one: Example) -> _Picture:
    """An example as the template prints it."""
    image = thumbnail(one)
    what = "Picture and its map" if one.picture is not None and one.values is not None else "Picture"
    what = "Item and its map over its own axes" if one.drawn is not None else "Map" if one.picture is None else what
    bars = [(name, held, f"{share:+.2f}" if abs(share) >= 0.005 else "0", bar(share)) for name, held, share in one.bars]
    words = [(text, "" if share is None else _shade(share)) for text, share in one.words]
    alt = f"{what}: {one.name}" if image else ""
    return _Picture(image, alt, (one.name, *one.captions), bars, words, one.drawn is not None)


def _shade(share: float) -> str:
    """The class of a word's mark: for or against, in four strengths; empty for next to nothing."""
    level = min(4, int(np.ceil(abs(share) * 4 - 0.2)))
    return "" if level <= 0 else f"{'for' if share > 0 else 'against'} s{level}"


def printed(table: Table) -> _Shown:
    """A table as the template prints it."""
    shown = table.rows[: table.shown]
    places = [_places(_numbers(c, [row[k] for row in shown])) for k, c in enumerate(table.columns)]
    kinds = list(zip(table.columns, places, strict=True))
    rows = [[_cell(c, value, digits) for (c, digits), value in zip(kinds, row, strict=True)] for row in shown]
    return _Shown(table, rows, len(rows) > _MANY_ROWS, [one for one in table.columns if one.about])


def _numbers(column: Column, values: Sequence[Any]) -> Sequence[Any]:
    """What of a column is printed with as many digits in every row: numbers, and what is estimated, not its bounds."""
    if column.form == "estimate":
        return [one[0] for one in values if one is not None]
    return values if column.form == "number" else ()


def _places(values: Sequence[Any]) -> int:
    """Digits behind the point of a column's numbers: the largest of them has four digits that count."""
    sizes = [abs(float(one)) for one in values if one is not None and np.isfinite(one)]
    top = max(sizes, default=0.0)
    return 3 if top == 0 else int(np.clip(3 - np.floor(np.log10(top)), 0, 8))


def _cell(column: Column, value: Any, digits: int) -> _Cell:
    """A raw value as it is printed; numbers of a column with ``digits`` behind the point."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return _Cell("", "–")
    match column.form:
        case "map":
            return _Cell("map", mean_map(value))
        case "text" | "digest":
            return _Cell(column.form, str(value))
        case "count":
            return _Cell("", f"{int(value):,}")
        case "share":
            return _Cell("", _share(float(value)))
        case "signed":
            return _Cell("", f"{float(value):+.3g}")
        case "estimate":
            middle, low, high = (float(one) for one in value)
            bounds = "" if not np.isfinite(low + high) else f"{_fixed(low, digits)} to {_fixed(high, digits)}"
            return _Cell("span", (_fixed(middle, digits), bounds))
        case "interval":
            middle, low, high = (float(one) for one in value)
            return _Cell("span", (_share(middle), f"{100 * low:.1f}–{100 * high:.1f}"))
        case _:
            return _Cell("", _fixed(float(value), digits))


def _fixed(value: float, digits: int) -> str:
    """A number with so many digits behind the point; none is less than nothing."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if float(text.replace(",", "")) == 0 else text


def _alike(*values: float) -> list[str]:
    """A number and its bounds, with as many digits behind the point as four that count of the first have."""
    return [_fixed(float(one), _places(values[:1])) for one in values]


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _number(value: float) -> str:
    """A number with four digits that count, never in powers of ten unless it must be."""
    if not np.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "0" if text == "-0" else text


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "below 0.0001"
