"""The backward rule (VJP) and the facts of every operator, one file per family; importing fills the table."""

from __future__ import annotations

from xplain.graph.operators import Operator, facts_of, find_operator, key_of, operators
from xplain.graph.ops import (
    arithmetic,
    control,
    convolution,
    dense,
    elementwise,
    indexing,
    loops,
    movement,
    normalisation,
    plain,
    pooling,
    quantised,
    reduction,
    resampling,
    sampling,
    selection,
)

__all__ = [
    "Operator",
    "arithmetic",
    "control",
    "convolution",
    "dense",
    "elementwise",
    "facts_of",
    "find_operator",
    "indexing",
    "key_of",
    "loops",
    "movement",
    "normalisation",
    "operators",
    "plain",
    "pooling",
    "quantised",
    "reduction",
    "resampling",
    "sampling",
    "selection",
]
