"""One self-contained HTML page for a list of attributions: maps, scores, and everything needed to repeat them.

File names, labels and notes come from files that are not trusted. They are escaped by the template engine, control
characters and invisible direction marks are replaced, and a content policy in the page forbids scripts, frames and
every address but the pictures inside.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.errors import UsageError
from xplain.core.files import whole_file
from xplain.render.canvas import image
from xplain.render.figure import draw, montage, target_of
from xplain.render.notebook import data_url
from xplain.render.overlay import limit_of, map_of
from xplain.render.text import shades_css, words_html
from xplain.report.template import plain_fact, template, text_of
from xplain.results.attribution import Attribution

__all__ = ["page", "write"]

_MOST_ROWS = 20  # items side by side; all are shown one by one further down
_THUMBNAIL = 64  # pixels of a picture's longer side in the front table


@dataclass(frozen=True, slots=True)
class _Shown:
    """One item of one attribution, as the template sees it."""

    name: str
    target: str
    score: str
    base: str
    limit: str
    figure: str
    words: str
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of the front table: an item, a target, and every method that explains the two."""

    name: str
    target: str
    score: str
    thumbnail: str
    methods: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Section:
    """One attribution, as the template sees it: facts as (name, text) pairs."""

    anchor: str
    heading: str
    attribution: Attribution
    items: Sequence[_Shown]
    options: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    notes: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    card: str
    call: str


def page(
    attributions: Attribution | Sequence[Attribution],
    *,
    title: str = "Explanations",
    command: str = "",
    **drawing: Any,
) -> str:
    """The page as text.

    Attributions of the same items are also shown side by side: on one scale where their units agree, each on its own
    otherwise.

    Args:
        attributions: What to show, in this order.
        title: Heading of the page.
        command: The command line that made it; printed under "To repeat this".
        drawing: Options of ``xplain.render.draw`` for the figures; ``beside`` is true unless given.

    Raises:
        UsageError: nothing to show.
        NonFinite: an attribution holds NaN or infinity.
    """
    listed = [attributions] if isinstance(attributions, Attribution) else list(attributions)
    if not listed:
        raise UsageError("A report needs at least one attribution; the list is empty.")
    drawing = {"beside": True, **drawing}
    sections = [_section(a, n, drawing, _repeated(a, listed)) for n, a in enumerate(listed, 1)]
    shared, card = _shared(sections)
    style = text_of("page.css") + (shades_css() if any(a.texts for a in listed) else "")
    return template("page.html").render(
        title=title,
        command=command,
        style=style,
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        front=_front(sections),
        sections=[_without(section, shared, card) for section in sections],
        shared=shared,
        shared_card=card,
        together=_together(listed, drawing),
    )


def write(
    attributions: Attribution | Sequence[Attribution],
    path: str | os.PathLike[str],
    **options: Any,
) -> Path:
    """Write the page whole or not at all; ``options`` are those of ``page``.

    Raises:
        UsageError: the name does not end in ``.html``, or there is nothing to show.
        OutputError: the place cannot be written.
    """
    target = Path(path)
    if target.suffix != ".html":
        raise UsageError(f"A report is written as .html; got {target.name!r}. Use a name that ends in .html.")
    content = page(attributions, **options).encode()
    with whole_file(target) as file:
        file.write(content)
    return target


def _repeated(a: Attribution, listed: Sequence[Attribution]) -> bool:
    """Whether another section is by the same method, so that its name alone does not tell them apart."""
    return sum(one.method == a.method for one in listed) > 1


def _section(a: Attribution, number: int, drawing: Mapping[str, Any], several: bool) -> _Section:
    cost = a.cost
    facts = [
        ("Target", a.target),
        ("Unit of the values", a.unit),
        ("Sign", "positive speaks for the target, negative against it" if a.signed else "none: sizes only"),
        ("Cost", f"{cost.queries:,} queries, {cost.sweeps:,} sweeps, {cost.reused:,} reused, {cost.seconds:.2f} s"),
        ("Layout of the items", a.layout or "not needed"),
        ("Seed", str(a.seed)),
        ("True resolution", "every pixel" if a.resolution is None else f"{' x '.join(map(str, a.resolution))} cells"),
        (
            "Standard error",
            "estimated, see the hatching" if a.error is not None else "none: the method does not sample",
        ),
        ("Model", a.provenance.source or "not known"),
        ("Model, sha256", a.model or "not known"),
        ("Rows per model call", _calls(a) or "not recorded"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(a.versions.items())) or "not recorded"),
    ]
    return _Section(
        anchor=f"method-{number}",
        heading=f"{a.method} of {a.target}" if several else a.method,
        attribution=a,
        items=[_shown(a, item, drawing) for item in range(len(a))],
        options=[(name, plain_fact(value)) for name, value in a.options.items()],
        facts=facts,
        notes=[(str(name), plain_fact(fact)) for name, fact in a.facts.items()],
        warnings=a.said,
        card=a.card or "",
        call=_call(a),
    )


def _front(sections: Sequence[_Section]) -> list[_Row]:
    """A line per item, target and score, in the order of the first method that has it."""
    rows: dict[tuple[str, str, str], _Row] = {}
    for section in sections:
        for number, item in enumerate(section.items):
            key = item.name, item.target, item.score
            if key not in rows:
                rows[key] = _Row(*key, _thumbnail(section.attribution, number), [])
            if (link := (section.anchor, section.attribution.method)) not in rows[key].methods:
                rows[key].methods.append(link)
    return list(rows.values())


def _thumbnail(a: Attribution, item: int) -> str:
    """The picture of one item, small; empty for what is no picture."""
    if a.pictures is None or np.ndim(a.pictures[item]) != 3:
        return ""
    small = image(np.asarray(a.pictures[item]))
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return data_url(small)


def _shared(sections: Sequence[_Section]) -> tuple[list[tuple[str, str]], str]:
    """Facts, and the card, that are the same in all sections, where there are several."""
    first, *others = sections
    if not others:
        return [], ""
    facts = [fact for fact in first.facts if all(fact in section.facts for section in others)]
    return facts, first.card if all(section.card == first.card for section in others) else ""


def _without(section: _Section, facts: Sequence[tuple[str, str]], card: str) -> _Section:
    """A section without what the page says once for all."""
    rest = [fact for fact in section.facts if fact not in facts]
    return replace(section, facts=rest, card="" if card else section.card)


def _shown(a: Attribution, item: int, drawing: Mapping[str, Any]) -> _Shown:
    one = a[item]
    native = bool(drawing.get("native_resolution"))
    limit = drawing.get("limit")
    if a.texts:
        limit = float(np.abs(one.values[0, : len(one.texts[0].spans)]).max(initial=0.0))
    elif limit is None and one.values.ndim > 2:
        limit = limit_of(map_of(a, item, native).values)
    return _Shown(
        name=one.names[0] if one.names else f"item {item}",
        target=target_of(a, item),
        score=f"{float(one.scores[0]):.6g}",
        base="" if one.base is None else f"{float(np.asarray(one.base)[0]):.6g}",
        limit="" if limit is None else f"{'±' if a.signed else ''}{limit:.4g}",
        figure="" if a.texts else data_url(draw(a, item, **drawing)),
        words=words_html(a, item) if a.texts else "",
        facts=[(str(name), plain_fact(entries[item])) for name, entries in a.each.items()],
    )


def _calls(a: Attribution) -> str:
    sizes = a.provenance.rows_per_call.items()
    return ", ".join(f"{kind} {' and '.join(map(str, rows))}" for kind, rows in sizes)


def _together(listed: Sequence[Attribution], drawing: Mapping[str, Any]) -> str:
    """The maps of the first items side by side, where all attributions speak of the same items."""
    pictures = all(a.values.ndim > 2 for a in listed)
    if len(listed) < 2 or not pictures or len({a.names for a in listed}) > 1 or len({len(a) for a in listed}) > 1:
        return ""
    shared = len({(a.unit, a.signed) for a in listed}) == 1
    kept = {name: value for name, value in drawing.items() if name not in ("beside", "size")}
    return data_url(montage(listed, items=range(min(len(listed[0]), _MOST_ROWS)), share=shared, **kept))


def _call(a: Attribution) -> str:
    """The call that gives the same numbers for the same model and pictures."""
    options = "".join(f", {name}={_literal(value)}" for name, value in a.options.items())
    target = f"[{', '.join(map(str, a.labels))}]" if a.labels else "..."
    return f"xplain.explain(model, pictures, method={a.method!r}, target={target}, seed={a.seed}{options})"


def _literal(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, bool, tuple, list, type(None))) else "..."
