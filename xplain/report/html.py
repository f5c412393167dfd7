"""One self-contained HTML page for a list of attributions: maps, scores, and everything needed to repeat them.

File names, labels and notes come from files that are not trusted. They are escaped by the template engine, control
characters and invisible direction marks are replaced, and a content policy in the page forbids scripts, frames and
every address but the pictures inside.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.errors import UsageError
from xplain.core.keeping.files import whole_file
from xplain.render.bodies import scale_of
from xplain.render.figure import target_of
from xplain.render.notebook import data_url
from xplain.render.scroll import Slice, slices_of
from xplain.render.sentence import sentence
from xplain.render.shown import kind_of
from xplain.render.text import shades_css, words_html
from xplain.report.front import cards, rules
from xplain.report.template import plain_fact, policy_hash, template, text_of
from xplain.results.attribution import Attribution
from xplain.results.inputs import given_of

__all__ = ["page", "write"]


@dataclass(frozen=True, slots=True)
class _Shown:
    """One item of one attribution, as the template sees it."""

    name: str
    target: str
    score: str
    base: str
    limit: str
    said: str
    figure: str
    narrow: str
    words: str
    slices: Sequence[Slice]
    facts: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Section:
    """One attribution, as the template sees it: facts as (name, text) pairs."""

    number: int
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
    predicted: Mapping[str, str] | None = None,
    **drawing: Any,
) -> str:
    """The page as text.

    In front every item has a card with its methods side by side, which can be filtered and sorted: by score, and by how
    far the methods disagree. Each small map leads to its figure.

    Args:
        attributions: What to show, in this order.
        title: Heading of the page.
        command: The command line that made it; printed under "To repeat this".
        predicted: What the model said of an item in words, such as its best classes, by the item's name.
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
    front = cards(listed, predicted or {}, lambda k, item: f"figure-{k + 1}-{item + 1}")
    methods = list(dict.fromkeys(a.method for a in listed))
    style = text_of("base.css") + text_of("page.css") + rules(front, len(methods))
    style += shades_css() if any(a.texts for a in listed) else ""
    return template("page.html").render(
        title=title,
        lead=_LEAD,
        warnings=(),
        command=command,
        style=style,
        style_hash=policy_hash(style),
        cards=front,
        methods=methods,
        disputed=any(card.agrees is not None for card in front),
        sections=[_without(section, shared, card) for section in sections],
        shared=shared,
        shared_card=card,
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


_PARTS = {
    "picture": "pixel",
    "volume": "voxel",
    "series": "moment",
    "row": "column",
    "text": "word",
    "spectrogram": "frequency at every moment",
}
"""What of an item has a value of its own, by the item's kind."""

_LEAD = (
    "Every explanation shows how one score depends on the parts of one item, as one method measures it. It does not "
    "say whether the answer is right, nor that another item is judged alike."
)
"""What a page says first."""

_SCROLLED = 12
"""Volumes of a section that can be scrolled through; a page with more is too large to be opened."""

_NARROW = 160  # pixels of a map on a phone, at least: with its colour bar it is as wide as the page

_MARKED = {**dict.fromkeys(("picture", "volume", "spectrogram"), ", see the hatching"), "series": ", see the grey band"}
"""Where a drawing shows the error, by the item's kind."""


def _section(a: Attribution, number: int, drawing: Mapping[str, Any], several: bool) -> _Section:
    cost, kind = a.cost, kind_of(a)
    facts = [
        ("Target", a.target),
        ("Unit of the values", a.unit),
        ("Sign", "positive speaks for the target, negative against it" if a.signed else "none: sizes only"),
        ("Cost", f"{cost.asked}, {cost.reused:,} reused, {cost.seconds:.2f} s"),
        ("Layout of the items", a.layout or "not needed"),
        ("Seed", str(a.seed)),
        (
            "True resolution",
            f"every {_PARTS[kind]}" if a.resolution is None else f"{' x '.join(map(str, a.resolution))} cells",
        ),
        (
            "Standard error",
            "none: the method does not sample" if a.error is None else f"estimated{_MARKED.get(kind, '')}",
        ),
        ("Model", a.provenance.source or "not known"),
        ("Model, sha256", a.model or "not known"),
        ("Rows per model call", _calls(a) or "not recorded"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(a.versions.items())) or "not recorded"),
    ]
    return _Section(
        number=number,
        anchor=f"method-{number}",
        heading=f"{a.method} of {a.target}" if several else a.method,
        attribution=a,
        items=[_shown(a, item, drawing) for item in range(len(a))],
        options=[(name, plain_fact(value)) for name, value in a.options.items()],
        facts=facts,
        notes=[(str(name), plain_fact(fact)) for name, fact in a.facts.items() if name not in given_of(a)],
        warnings=a.said,
        card=a.card or "",
        call=_call(a),
    )


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
    elif limit is None:
        limit = scale_of(one, native)
    return _Shown(
        name=one.names[0] if one.names else f"item {item}",
        target=target_of(a, item),
        score=f"{float(one.scores[0]):.6g}",
        base="" if one.base is None else f"{float(np.asarray(one.base)[0]):.6g}",
        limit="" if limit is None else f"{'±' if a.signed else ''}{limit:.4g}",
        said=sentence(a, item),
        figure="" if a.texts else data_url(a.overlay(item, **drawing), "WEBP"),
        narrow=_narrow(a, item, drawing),
        words=words_html(a, item) if a.texts else "",
        slices=slices_of(one) if item < _SCROLLED else [],
        facts=[(str(name), plain_fact(entries[item])) for name, entries in a.each.items() if name not in given_of(a)],
    )


def _narrow(a: Attribution, item: int, drawing: Mapping[str, Any]) -> str:
    """The figure of a picture as wide as a phone: the map alone, so that nothing of it, nor its words, is made small.

    What is drawn over time, bars and volumes has no narrower drawing: the page scrolls it at its own size.
    """
    if kind_of(a) != "picture" or a.by_input():
        return ""
    small = {"beside": False, "size": min(_NARROW, drawing.get("size", _NARROW))}
    return data_url(a.overlay(item, **{**drawing, **small}), "WEBP")


def _calls(a: Attribution) -> str:
    sizes = a.provenance.rows_per_call.items()
    return ", ".join(f"{kind} {' and '.join(map(str, rows))}" for kind, rows in sizes)


def _call(a: Attribution) -> str:
    """The call that gives the same numbers for the same model and pictures."""
    options = "".join(f", {name}={_literal(value)}" for name, value in a.options.items())
    target = f"[{', '.join(map(str, a.labels))}]" if a.labels else "..."
    return f"xplain.explain(model, pictures, method={a.method!r}, target={target}, seed={a.seed}{options})"


def _literal(value: Any) -> str:
    return repr(value) if isinstance(value, (str, int, float, bool, tuple, list, type(None))) else "..."
