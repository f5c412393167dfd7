"""What a lens that finds concepts returns: directions of a layer, what shows each best, and how much each matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xplain.core.caveat import Caveat
from xplain.core.edits import Array

__all__ = ["Concepts"]


@dataclass(frozen=True, slots=True, eq=False)
class Concepts:
    """K concepts; see ``xplain.results.Concepts`` for the fields."""

    names: tuple[str, ...]
    layers: tuple[str, ...]
    importance: Array
    error: Array
    effect: Array
    effect_error: Array
    bank: Array
    crops: Array
    crop_values: Array
    crop_boxes: Array
    crop_items: Array
    maps: Array
    map_sizes: Array
    shown: Array
    shown_items: Array
    items: tuple[str, ...]
    unit: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
