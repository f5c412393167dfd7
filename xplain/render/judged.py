"""Metrics as bars: the explanation beside what maps score that know nothing, and a line that says what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xplain.core.caveat import Caveat, sentences
from xplain.core.declaring.registry import renderer
from xplain.core.intervals import Interval
from xplain.core.keeping.plain import counted
from xplain.render import canvas
from xplain.render.palette import RIGHT, WRONG

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ShownJudgement", "judgement"]

_WIDE, _NAMES, _NUMBERS, _BAR, _MARGIN = 800, 120, 190, 18, 14
_COLOURS = {
    "better": RIGHT,
    "worse": WRONG,
    "not told apart": (110, 110, 110),
    "not compared": RIGHT,
}
_BLIND = (200, 200, 200)
_CALLED = {"random": "random map", "centre": "centre", "edge": "edges", "gradient": "own gradient"}


class Summarised(Protocol):
    """One metric over all items; ``xplain.results.judgement.Summary`` is one."""

    @property
    def metric(self) -> str: ...
    @property
    def better(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def own(self) -> Interval: ...
    @property
    def blind(self) -> Mapping[str, Interval]: ...
    @property
    def ahead(self) -> Interval | None: ...
    @property
    def wins(self) -> float: ...
    @property
    def verdict(self) -> str: ...


class ShownJudgement(Protocol):
    """What metrics say; ``xplain.results.Judgement`` is one."""

    names: tuple[str, ...]
    metrics: tuple[str, ...]
    facts: Mapping[str, Any]
    warnings: tuple[Caveat, ...]

    @property
    def method(self) -> str:
        """Who judged."""

    def summary(self, metric: str) -> Summarised:
        """One metric over all items."""

    def __len__(self) -> int: ...


@renderer("judgement", draws="judgement")
def judgement(shown: ShownJudgement) -> Image:
    """Each metric as bars with their 95 % intervals: blue is better than chance, orange worse, grey not told apart."""
    explained = shown.facts.get("explanation", shown.method)
    items = counted(len(shown), "item")
    parts = [canvas.heading(f"How far {explained} can be trusted, on {items}", _WIDE)]
    told = (
        "Coloured: the explanation; blue is better than a random map, orange worse, dark grey not told apart from it."
    )
    parts.append(
        canvas.words([f"{told} Light grey: maps that know nothing of the model. Lines: 95 % intervals."], _WIDE)
    )
    parts += [_metric(shown.summary(name)) for name in shown.metrics]
    warned = sentences(shown.warnings, list(shown.names))
    parts += [canvas.words(warned, _WIDE, canvas.ALERT)] if warned else []
    return _framed(canvas.column(parts, 12))


def _metric(one: Summarised) -> Image:
    rows: list[tuple[str, Interval, tuple[int, int, int]]] = [("explanation", one.own, _COLOURS[one.verdict])]
    rows += [(_CALLED.get(name, name), found, _BLIND) for name, found in one.blind.items()]
    said = f"{one.metric}: {one.unit}; {one.better} is good"
    if one.ahead is not None and one.ahead.count:
        said += f"; better than a random map on {one.wins:g} of {one.ahead.count}"
    return canvas.column([canvas.words([said], _WIDE), _bars(rows)], 4)


def _bars(rows: Sequence[tuple[str, Interval, tuple[int, int, int]]]) -> Image:
    from PIL import Image, ImageDraw

    ends = [v for _, one, _ in rows for v in (one.mean, one.low, one.high) if np.isfinite(v)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    room, left = _WIDE - _NAMES - _NUMBERS, _NAMES
    scale = room / (high - low) if high > low else 0.0
    paper = Image.new("RGB", (_WIDE, len(rows) * (_BAR + 4)), canvas.PAPER)
    pen = ImageDraw.Draw(paper)

    def at(value: float) -> float:
        return left + (value - low) * scale

    for k, (name, one, colour) in enumerate(rows):
        top = k * (_BAR + 4)
        paper.paste(canvas.words([canvas.fitted(name, _NAMES - 8)], _NAMES - 8), (0, top))
        if not one.count:
            text = "not known"
        else:
            pen.rectangle((min(at(0), at(one.mean)), top + 2, max(at(0), at(one.mean)), top + _BAR - 2), fill=colour)
            text = f"{one.mean:.3g}"
        if np.isfinite(one.low) and np.isfinite(one.high):
            middle = top + _BAR / 2
            pen.line((at(one.low), middle, at(one.high), middle), canvas.INK, 1)
            for end in (one.low, one.high):
                pen.line((at(end), middle - 4, at(end), middle + 4), canvas.INK, 1)
            text += f" ({one.low:.3g} to {one.high:.3g})"
        paper.paste(
            canvas.words([canvas.fitted(text, _NUMBERS - 8)], _NUMBERS - 8, canvas.PALE), (_WIDE - _NUMBERS + 8, top)
        )
    pen.line((at(0), 0, at(0), paper.height), canvas.PALE, 1)
    return paper


def _framed(body: Image) -> Image:
    from PIL import Image

    paper = Image.new("RGB", (body.width + 2 * _MARGIN, body.height + 2 * _MARGIN), canvas.PAPER)
    paper.paste(body, (_MARGIN, _MARGIN))
    return paper
