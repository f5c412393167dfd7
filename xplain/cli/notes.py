"""What a result says besides its map: the layer that was picked, how far completeness was met, warnings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xplain.results.attribution import Attribution

__all__ = ["layer_of", "notes_of", "told_warnings", "warnings_of"]


def notes_of(one: Attribution) -> dict[str, Any]:
    """The notes of an attribution of one item as plain values; what has one entry per item is that entry."""
    found: dict[str, Any] = one.meta()["notes"]
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 and one.per_item(one.notes[name]) else value
        for name, value in found.items()
    }


def told_warnings(one: Attribution) -> list[dict[str, str]]:
    """The warnings of an attribution of one item as plain values."""
    return [{"kind": caveat.kind, "text": caveat.text} for caveat in one.warnings]


def layer_of(told: Mapping[str, Any]) -> str:
    """Where an explanation looked, for a line of text: `` at layer 'x'``, or nothing."""
    layer = told["notes"].get("layer")
    return f" at layer {layer!r}" if isinstance(layer, str) else ""


def warnings_of(told: Mapping[str, Any]) -> Iterator[str]:
    """The warnings of an explanation as lines of text."""
    for one in told["warnings"]:
        yield f"    warning: {one['text']}"
