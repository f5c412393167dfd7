"""Made from the registry by tests/docs/methods_table.py; do not edit."""

from typing import Any, Literal

from .asked import Asked

class AttentionRelevance(Asked, total=False):
    grid: tuple[int, ...] | None
    tokens: int

class AttentionRollout(Asked, total=False):
    heads: Literal["mean", "max", "min"]
    discard: float
    grid: tuple[int, ...] | None
    tokens: int

class Crp(Asked, total=False):
    layer: str
    concepts: Any
    most: int
    rule: str
    channels: bool

class DeepShap(Asked, total=False):
    baseline: Any
    layer: str
    channels: bool

class Deeplift(Asked, total=False):
    baseline: Any
    rule: str
    check: bool
    layer: str
    channels: bool

class ExcitationBackprop(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int
    contrastive: bool

class Lrp(Asked, total=False):
    rule: str
    epsilon: float
    gamma: float
    alpha: float
    low: float | tuple[float, ...] | None
    high: float | tuple[float, ...] | None
    bias: bool
    layer: str
    channels: bool
