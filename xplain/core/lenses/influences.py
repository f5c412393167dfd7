"""What a lens on training items returns: what each adds to what is asked about, and how much each stands alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xplain.core.caveat import Caveat
from xplain.core.edits import Array

__all__ = ["Influences"]


@dataclass(frozen=True, slots=True, eq=False)
class Influences:
    """N training items; see ``xplain.results.Influence`` for the fields."""

    names: tuple[str, ...]
    given: tuple[str, ...]
    predicted: tuple[str, ...]
    worth: Array
    influence: Array
    asked: tuple[str, ...]
    classes: tuple[str, ...]
    inspected: Array
    discovered: Array
    shown: Array
    thumbnails: Array | None
    asked_thumbnails: Array | None
    unit: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
