"""The backward rule (VJP) of every operator, one file per family; importing the package fills the table."""

from __future__ import annotations

from xplain.graph.ops import (
    arithmetic,
    control,
    convolution,
    dense,
    elementwise,
    indexing,
    movement,
    normalisation,
    pooling,
    quantised,
    reduction,
    resampling,
    sampling,
    selection,
)
from xplain.graph.table import NO_GRADIENT, Operator, find_operator, key_of, operators

__all__ = [
    "NO_GRADIENT",
    "Operator",
    "arithmetic",
    "control",
    "convolution",
    "dense",
    "elementwise",
    "find_operator",
    "indexing",
    "key_of",
    "movement",
    "normalisation",
    "operators",
    "pooling",
    "quantised",
    "reduction",
    "resampling",
    "sampling",
    "selection",
]
