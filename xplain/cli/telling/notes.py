"""The notes and warnings of a result, as the record, the console and the page tell them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xplain.cli.telling.console import note
from xplain.core.keeping.plain import brief_layer
from xplain.core.outline import Outline
from xplain.core.targets.heads import head_of
from xplain.results.attribution import Attribution
from xplain.results.result import plain_values

__all__ = ["about", "hint_at_labels", "layer_of", "notes_of", "told_warnings", "warnings_of"]


def hint_at_labels(outline: Outline) -> None:
    """Say how classes get names, where a model has some and nobody knows what they are called."""
    if outline.labels or (outline.scores.classes or 0) < 2 or head_of(outline).kind != "classes":
        return
    note(
        f"xplain: classes are told by number, for {outline.called} has no labels. Name them: --labels with a file of "
        "one per line, or labels in its card."
    )


def about(one: Attribution) -> dict[str, Any]:
    """What is told of every explanation of one item, as plain values."""
    return {
        "method": one.method,
        "options": one.meta()["options"],
        "target": one.target_of(0),
        "class": one.labels[0] if one.labels else None,
        "score": float(one.scores[0]),
        "base": None if one.base is None else float(one.base[0]),
        "unit": one.unit,
        "warnings": told_warnings(one),
        "notes": notes_of(one),
    }


def notes_of(one: Attribution) -> dict[str, Any]:
    """The notes of an attribution of one item as plain values; what has one entry per item is that entry."""
    found: dict[str, Any] = plain_values(one.notes_of(0))
    return found


def told_warnings(one: Attribution) -> list[dict[str, str]]:
    """The warnings of an attribution of one item as plain values."""
    return [{"kind": caveat.kind, "text": caveat.text} for caveat in one.warnings]


def layer_of(told: Mapping[str, Any]) -> str:
    """Where an explanation looked, for a line of text: `` at layer 'x'``, or nothing; run.json has it whole."""
    layer = told["notes"].get("layer")
    return f" at layer {brief_layer(layer)!r}" if isinstance(layer, str) else ""


def warnings_of(told: Mapping[str, Any]) -> Iterator[str]:
    """The warnings of an explanation as lines of text."""
    for one in told["warnings"]:
        yield f"    warning: {one['text']}"
