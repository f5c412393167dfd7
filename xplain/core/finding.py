"""A finding: what an analysis of many explanations says, of whom, how sure it is, and what it cannot say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from xplain.core.edits import Array

__all__ = ["Finding", "Standing"]

Standing = Literal["candidate", "confirmed", "refuted", "measured", "too few"]
"""How far a finding goes: a lead that statistics alone gave; one that an intervention at the model confirmed or
refuted; a figure that needs no confirmation; or an analysis that had too few items to say anything."""


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """What an analysis says of some items.

    Args:
        kind: The analysis, such as ``scan``, ``clusters``, ``drift``, ``twins``.
        group: Whom it is about: a class's name, a lane, a value of a column; ``""`` for all items.
        statement: One plain sentence for a person who is no engineer.
        standing: How far it goes.
        effect: The size of what was found, in the unit that ``unit`` names; None where there is none.
        unit: The effect's unit, such as ``share of positive mass``.
        interval: 95 % bounds of the effect; None where they are not known.
        p: Its p-value, corrected for the number of tests of the analysis; None where nothing was tested.
        count: Items that were looked at.
        members: Numbers of the items that show it best, int64, best first.
        evidence: Numbers and small arrays by name: a mean map, a curve, the power that a planted control had.
        limits: Sentences: what cannot be concluded from it, and why.
    """

    kind: str
    group: str
    statement: str
    standing: Standing
    effect: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    p: float | None = None
    count: int = 0
    members: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    evidence: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    limits: tuple[str, ...] = ()
