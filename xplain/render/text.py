"""Attributions of texts and tables as text: coloured words and aligned columns for a terminal, HTML for a notebook.

In a terminal colours are used where there is one and ``NO_COLOR`` is not set; without them every word carries its
value in brackets. Values whose 95 % interval holds zero are grey. Everything is escaped, because texts and column names
come from outside.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from html import escape

import numpy as np

from xplain.core.declaring.registry import renderer
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.items import Passage
from xplain.core.keeping.plain import plain
from xplain.render.colormap import find
from xplain.render.figure import target_of
from xplain.render.shown import Shown

__all__ = ["item_html", "shades_css", "to_text", "words_html"]

_MOST_ITEMS = 8
_TWO_SIDED = 1.96  # 95 % of a normal distribution
_GREY = (225, 225, 225)
_RESET = "\x1b[0m"
_LEVELS = 10
"""Shades of each sign in a page, whose content policy allows classes and no styles of single words."""


@renderer("text")
def to_text(attribution: Shown, colour: bool | None = None) -> str:
    """The first items as text for a terminal.

    Args:
        attribution: Of texts or rows of a table.
        colour: Use colours; None uses them on a terminal.

    Raises:
        UsageError: its items are neither.
    """
    if colour is None:
        colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    shown = min(len(attribution), _MOST_ITEMS)
    parts = [_item_text(attribution, item, bool(colour)) for item in range(shown)]
    if len(attribution) > shown:
        parts.append(f"... and {len(attribution) - shown} more")
    if attribution.warnings:
        parts.append("\n".join(f"warning: {plain(text)}" for text in attribution.said))
    return "\n\n".join(parts)


def item_html(attribution: Shown, item: int) -> str:
    """One item as an HTML fragment without script: coloured words, or a table.

    Raises:
        UsageError: the items are neither texts nor rows of a table.
    """
    head = f"<p>{escape(_heading(attribution, item))}</p>"
    if attribution.texts:
        return head + _words_html(attribution, item)
    return head + _columns_html(attribution, item)


def words_html(attribution: Shown, item: int) -> str:
    """The words of one text as an HTML fragment without styles: a word's class names its shade in ``shades_css``."""
    passage, values, sure = _features(attribution, item)
    limit = float(np.abs(values).max(initial=0.0)) or 1.0
    sign = "s" if attribution.signed else "u"
    out = []
    for kind, piece in _pieces(passage):
        if kind < 0:
            out.append(escape(plain(piece)))
            continue
        shade = f"{sign}{round(_LEVELS * float(np.clip(values[kind] / limit, -1, 1)))}" if sure[kind] else "unsure"
        title = _number(values, kind, 4) + ("" if sure[kind] else ", not told from zero")
        out.append(f'<span class="word {shade}" title="{title}">{escape(plain(piece))}</span>')
    return f'<p class="words">{"".join(out)}</p>'


def shades_css() -> str:
    """The rules for the classes that ``words_html`` names."""
    rules = [
        ".words { white-space: pre-wrap; line-height: 1.8; }",
        ".word { padding: 0 .15rem; border-radius: .15rem; }",
    ]
    for sign, least in (("s", -_LEVELS), ("u", 0)):
        levels = np.arange(least, _LEVELS + 1)
        for level, rgb in zip(levels, find(None, sign == "s").paint(levels / _LEVELS, 1.0), strict=True):
            rules.append(_rule(f"{sign}{level}", [int(c) for c in rgb]))
    return "\n".join([*rules, _rule("unsure", _GREY)]) + "\n"


def _rule(name: str, rgb: Sequence[int]) -> str:
    ink = _ink(rgb).replace(";", ",")
    return f".{name} {{ background: rgb({','.join(map(str, rgb))}); color: rgb({ink}); }}"


def _item_text(attribution: Shown, item: int, colour: bool) -> str:
    body = _words_text(attribution, item, colour) if attribution.texts else _columns_text(attribution, item, colour)
    return f"{plain(_heading(attribution, item))}\n{body}"


def _heading(attribution: Shown, item: int) -> str:
    name = attribution.names[item] if attribution.names else str(item)
    return f"{attribution.method} of {target_of(attribution, item)!r}, item {name}: {attribution.unit}"


def _words_text(attribution: Shown, item: int, colour: bool) -> str:
    passage, values, sure = _features(attribution, item)
    colours = _colours(attribution, values, sure)
    out = []
    for kind, piece in _pieces(passage):
        if kind < 0:
            out.append(plain(piece))
        elif colour:
            red, green, blue = colours[kind]
            out.append(f"\x1b[48;2;{red};{green};{blue}m\x1b[38;2;{_ink(colours[kind])}m{plain(piece)}{_RESET}")
        else:
            out.append(f"{plain(piece)}[{_number(values, kind, 3)}]" if sure[kind] else f"{plain(piece)}[0?]")
    return "".join(out)


def _words_html(attribution: Shown, item: int) -> str:
    passage, values, sure = _features(attribution, item)
    colours = _colours(attribution, values, sure)
    out = []
    for kind, piece in _pieces(passage):
        if kind < 0:
            out.append(escape(piece))
            continue
        ink = _ink(colours[kind]).replace(";", ",")
        title = _number(values, kind, 4) + ("" if sure[kind] else ", not told from zero")
        style = f"background:rgb({','.join(map(str, colours[kind]))});color:rgb({ink})"
        out.append(f'<span title="{title}" style="{style};padding:0 2px">{escape(piece)}</span>')
    return f'<p style="white-space:pre-wrap;line-height:1.7">{"".join(out)}</p>'


def _columns_text(attribution: Shown, item: int, colour: bool) -> str:
    rows, values, sure = _rows(attribution, item)
    colours = _colours(attribution, values, sure)
    widths = [max(len(plain(row[k])) for row in rows) for k in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        cells = [plain(cell) for cell in row]
        line = "  ".join(
            [cells[0].ljust(widths[0]), cells[1].ljust(widths[1])]
            + [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        )
        if colour and number:
            rgb = colours[number - 1]
            line = f"\x1b[48;2;{rgb[0]};{rgb[1]};{rgb[2]}m\x1b[38;2;{_ink(rgb)}m{line}{_RESET}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _columns_html(attribution: Shown, item: int) -> str:
    rows, values, sure = _rows(attribution, item)
    colours = _colours(attribution, values, sure)
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = []
    for row, rgb in zip(rows[1:], colours, strict=True):
        style = f"background:rgb({','.join(map(str, rgb))});color:rgb({_ink(rgb).replace(';', ',')})"
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[:2])
        cells += "".join(f'<td style="{style};text-align:right">{escape(cell)}</td>' for cell in row[2:])
        body.append(f"<tr>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"


def _rows(attribution: Shown, item: int) -> tuple[list[list[str]], Array, Array]:
    """A heading and one row per column, the largest |value| first; the values and whether they differ from zero."""
    columns = attribution.columns
    if columns is None:
        raise UsageError("This attribution is neither of texts nor of the rows of a table; draw it with overlay().")
    values = np.asarray(attribution.values[item], np.float64).reshape(-1)
    errors = None if attribution.error is None else np.asarray(attribution.error[item], np.float64).reshape(-1)
    order = np.argsort(-np.abs(values), kind="stable")
    rows = [["column", "value", "attribution", *(["± 95 %"] if errors is not None else [])]]
    for k in order:
        row = [columns.names[k], columns.values[item][k], _number(values, k, 4)]
        rows.append(row if errors is None else [*row, f"{_TWO_SIDED * errors[k]:.2g}"])
    return rows, values[order], _sure(values, errors)[order]


def _features(attribution: Shown, item: int) -> tuple[Passage, Array, Array]:
    passage = attribution.texts[item]
    count = len(passage.spans)
    values = np.asarray(attribution.values[item], np.float64)[:count]
    errors = None if attribution.error is None else np.asarray(attribution.error[item], np.float64)[:count]
    return passage, values, _sure(values, errors)


def _sure(values: Array, errors: Array | None) -> Array:
    """Whether the 95 % interval leaves zero out; always so for a value that was not sampled."""
    return np.ones(len(values), bool) if errors is None else (np.abs(values) > _TWO_SIDED * errors) | (errors == 0)


def _colours(attribution: Shown, values: Array, sure: Array) -> list[tuple[int, ...]]:
    limit = float(np.abs(values).max(initial=0.0))
    painted = find(None, attribution.signed).paint(values, limit)
    return [tuple(int(c) for c in rgb) if known else _GREY for rgb, known in zip(painted, sure, strict=True)]


def _pieces(passage: Passage) -> list[tuple[int, str]]:
    """The text in pieces: (number of the feature, or -1 between features, text)."""
    out, at = [], 0
    for number, (start, stop) in enumerate(passage.spans):
        out += [(-1, passage.text[at:start]), (number, passage.text[start:stop])]
        at = stop
    return [piece for piece in [*out, (-1, passage.text[at:])] if piece[1]]


def _number(values: Array, k: int, digits: int) -> str:
    """A value with its sign; what is only rounding beside the largest is 0."""
    value = float(values[k])
    return f"{value:+.{digits}g}" if abs(value) > 1e-7 * float(np.abs(values).max(initial=0.0)) else "0"


def _ink(rgb: Sequence[int]) -> str:
    """Black or white, whichever is easier to read on a colour (relative luminance of WCAG 2)."""
    share = np.asarray(rgb) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return "0;0;0" if float(linear @ [0.2126, 0.7152, 0.0722]) > 0.179 else "255;255;255"
