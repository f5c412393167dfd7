"""The plain gradient: an empty table, so every operator uses its own vector-Jacobian product."""

from __future__ import annotations

from xplain.core.declaring.registry import table
from xplain.core.rules import Rules

__all__ = ["gradient"]


@table("gradient", method="saliency")
def gradient() -> Rules:
    """Every operator passes on its own vector-Jacobian product."""
    return Rules()
