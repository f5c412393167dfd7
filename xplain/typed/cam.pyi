"""Made from the registry by tests/docs/methods_table.py; do not edit."""

from typing import Any, Literal

from .asked import Asked

class AblationCam(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int
    signed: bool

class Cam(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int

class EigenCam(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int

class GradCam(Asked, total=False):
    layer: Any
    grid: Any
    tokens: Any
    signed: Any

class GradCamPlusPlus(Asked, total=False):
    layer: Any
    grid: Any
    tokens: Any
    signed: Any

class GuidedGradCam(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int
    channels: bool

class HiresCam(Asked, total=False):
    layer: Any
    grid: Any
    tokens: Any
    signed: Any

class LayerCam(Asked, total=False):
    layer: Any
    grid: Any
    tokens: Any
    signed: Any

class ReciproCam(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int
    smooth: bool
    signed: bool

class ScoreCam(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int
    baseline: Any

class Sidu(Asked, total=False):
    layer: str
    grid: tuple[int, ...] | None
    tokens: int
    threshold: float
    width: float
    baseline: Any
