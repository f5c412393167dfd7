"""Made from the registry by tests/docs/methods_table.py; do not edit."""

from typing import Any, Literal

from .asked import Asked

class BlurIntegratedGradients(Asked, total=False):
    sigma: float
    steps: int
    channels: bool

class Conductance(Asked, total=False):
    layer: str
    baseline: Any
    steps: int
    channels: bool

class Deconvnet(Asked, total=False):
    layer: str
    channels: bool

class ExpectedGradients(Asked, total=False):
    baseline: Any
    samples: int
    noise: float
    layer: str
    channels: bool

class ExtremalPerturbation(Asked, total=False):
    area: float
    steps: int
    cells: int | tuple[int, ...]
    sigma: float

class Feedback(Asked, total=False):
    rounds: int
    penalty: float
    channels: bool
    signed: bool

class FullGradient(Asked, total=False):
    signed: bool
    scaled: bool

class GuidedBackprop(Asked, total=False):
    layer: str
    channels: bool

class GuidedIntegratedGradients(Asked, total=False):
    baseline: Any
    steps: int
    fraction: float
    corridor: float
    channels: bool

class Idgi(Asked, total=False):
    baseline: Any
    steps: int
    layer: str
    channels: bool

class InputXGradient(Asked, total=False):
    layer: str
    channels: bool

class IntegratedGradients(Asked, total=False):
    baseline: Any
    steps: int
    tolerance: float | None
    max_steps: int
    layer: str
    channels: bool

class InternalInfluence(Asked, total=False):
    layer: str
    baseline: Any
    steps: int
    channels: bool

class Saliency(Asked, total=False):
    layer: str
    channels: bool
    signed: bool

class Smoothgrad(Asked, total=False):
    of: str
    samples: int
    sigma: float
    squared: bool
    layer: str | None

class Vargrad(Asked, total=False):
    of: str
    samples: int
    sigma: float
    layer: str | None

class Xrai(Asked, total=False):
    steps: int
    least: int
