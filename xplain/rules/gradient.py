"""The plain gradient: an empty table, so every operator uses its own vector-Jacobian product."""

from __future__ import annotations

from xplain.core.rules import Rules

__all__ = ["GRADIENT"]

GRADIENT = Rules("gradient")
