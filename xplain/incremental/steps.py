"""The steps that a change of the input is followed through: what each reads, where it spreads and what it costs.

Names are those of the ONNX graph's tensors. ``source`` names a tensor whose deltas are read, ``base`` one whose
unmasked values are. Biases and other added constants do not appear: they change no delta.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.incremental import boxes as box
from xplain.native.delta import LINEAR, Activation, Kernel

__all__ = ["Boxes", "Concat", "Conv", "Crop", "Load", "Pair", "Part", "Plane", "Pool", "Resize", "Scale", "Single"]
__all__ += ["Step", "Work"]

Boxes: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Plane:
    """Channels, height and width of a tensor ``[N, C, H, W]``."""

    channels: int
    height: int
    width: int

    @property
    def extent(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.height, self.width

    @property
    def size(self) -> int:
        """Elements."""
        return self.channels * self.height * self.width


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds of one step over masks, int64 ``[M]``; ``kind`` names the rate at which they run."""

    products: Array
    kind: str = "dense"


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """What a 1x1 convolution does to its input while reading it: ``act(factor * v + shift)``."""

    factor: Array
    shift: Array
    act: Activation
    base: str


@dataclass(frozen=True, slots=True, eq=False)
class Conv:
    """``act(base + conv(source) + residual) - act(base)``; ``weight`` is ``[O, I / groups, kh, kw]``."""

    out: str
    source: str
    weight: Array
    groups: int
    kernel: Kernel
    plane: Plane
    inputs: int
    base: str | None = None
    act: Activation = LINEAR
    residual: str | None = None
    load: Load | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Tensors whose deltas are read."""
        return (self.source, self.residual) if self.residual else (self.source,)

    @property
    def bases(self) -> tuple[str, ...]:
        """Tensors whose unmasked values are read."""
        names = (self.base if self.act.kind != "none" else None, self.load.base if self.load else None)
        return tuple(name for name in names if name)

    @property
    def depthwise(self) -> bool:
        """One kernel per channel."""
        return self.groups > 1 and self.weight.shape[1] == 1 and self.groups == len(self.weight) == self.inputs

    @property
    def square(self) -> bool:
        """Whether Winograd's F(4x4, 3x3) applies."""
        return self.kernel.size == (3, 3) and self.kernel.stride == self.kernel.dilation == (1, 1) and self.groups == 1

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        reach = box.reached(at[self.source], self.kernel, self.plane.extent)
        return box.union(reach, at[self.residual]) if self.residual else reach

    def work(self, at: Boxes) -> Work:
        """Direct multiply-adds, taps outside the window skipped."""
        taps = box.live_taps(at[self.source], at[self.out], self.kernel)
        per_tap = self.weight.shape[0] * self.weight.shape[1]
        return Work(taps * per_tap, "depthwise" if self.depthwise else "dense")

    def dense(self) -> int:
        """Multiply-adds of the whole plane."""
        return int(self.plane.height * self.plane.width * self.weight.size)


class _FromOne:
    """A step that reads the deltas of ``source`` alone."""

    __slots__ = ()
    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Tensors whose deltas are read."""
        return (self.source,)


@dataclass(frozen=True, slots=True, eq=False)
class Pool(_FromOne):
    """MaxPool and AveragePool; ``kind`` as in ``xplain.native.delta.pool``."""

    out: str
    source: str
    kind: str
    kernel: Kernel
    plane: Plane
    before: Plane
    value: str

    @property
    def bases(self) -> tuple[str, ...]:
        """Tensors whose unmasked values are read."""
        return (self.value, self.out) if self.kind == "max" else ()

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return box.reached(at[self.source], self.kernel, self.plane.extent)

    def work(self, at: Boxes) -> Work:
        """Rows first, then columns, for a maximum; all taps for a mean."""
        taps = sum(self.kernel.size) if self.kind == "max" else self.kernel.size[0] * self.kernel.size[1]
        return Work(_area(at[self.out]) * taps * self.plane.channels, "memory")

    def dense(self) -> int:
        """Comparisons or additions of the whole plane."""
        return self.plane.size * self.kernel.size[0] * self.kernel.size[1]


@dataclass(frozen=True, slots=True, eq=False)
class Single(_FromOne):
    """An element-wise function, ``act(factor * v + shift)``, of the values of ``base``; a leaky unit has slopes."""

    out: str
    source: str
    act: Activation
    plane: Plane
    base: str
    affine: tuple[Array, Array] | None = None
    slope: Array | None = None

    @property
    def bases(self) -> tuple[str, ...]:
        """Tensors whose unmasked values are read."""
        return (self.base,)

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return at[self.source]

    def work(self, at: Boxes) -> Work:
        """One operation per element."""
        return Work(_area(at[self.out]) * self.plane.channels, "memory")

    def dense(self) -> int:
        """One operation per element."""
        return self.plane.size


@dataclass(frozen=True, slots=True, eq=False)
class Scale(_FromOne):
    """``factors[c] * v``: what an affine map of the values of ``value`` does to deltas; ``shift`` where it is known."""

    out: str
    source: str
    factors: Array
    plane: Plane
    value: str = ""
    shift: Array | None = None

    bases = ()

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return at[self.source]

    def work(self, at: Boxes) -> Work:
        """One product per element."""
        return Work(_area(at[self.out]) * self.plane.channels, "memory")

    def dense(self) -> int:
        """One product per element."""
        return self.plane.size


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """``add``, ``subtract`` (then ``act`` around ``base``) or ``multiply`` (around both operands' ``values``).

    A constant operand of a product has no ``second`` and its values in ``constant``.
    """

    out: str
    function: str
    first: str
    second: str | None
    plane: Plane
    values: tuple[str, str] = ("", "")
    constant: Array | None = None
    base: str | None = None
    act: Activation = LINEAR

    @property
    def sources(self) -> tuple[str, ...]:
        """Tensors whose deltas are read."""
        return (self.first, self.second) if self.second else (self.first,)

    @property
    def bases(self) -> tuple[str, ...]:
        """Tensors whose unmasked values are read."""
        if self.function == "multiply":
            return tuple(name for name in self.values if name)
        return (self.base,) if self.act.kind != "none" and self.base else ()

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return box.union(*(at[name] for name in self.sources))

    def work(self, at: Boxes) -> Work:
        """One operation per element."""
        return Work(_area(at[self.out]) * self.plane.channels, "memory")

    def dense(self) -> int:
        """One operation per element."""
        return self.plane.size


@dataclass(frozen=True, slots=True, eq=False)
class Concat:
    """Tensors side by side in their channels."""

    out: str
    parts: tuple[str, ...]
    channels: tuple[int, ...]
    plane: Plane

    bases = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Tensors whose deltas are read."""
        return self.parts

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return box.union(*(at[name] for name in self.parts))

    def work(self, at: Boxes) -> Work:
        """Nothing: parts are written in place where they can be, and copied at the speed of memory elsewhere."""
        return Work(np.zeros(len(at[self.out]), np.int64), "memory")

    def dense(self) -> int:
        """The runtime copies every part."""
        return self.plane.size


@dataclass(frozen=True, slots=True, eq=False)
class Part(_FromOne):
    """Channels ``first .. first + plane.channels`` of a tensor: one output of a Split, or a Slice."""

    out: str
    source: str
    first: int
    plane: Plane

    bases = ()

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return at[self.source]

    def work(self, at: Boxes) -> Work:
        """Nothing: a view where channels are aligned."""
        return Work(np.zeros(len(at[self.out]), np.int64), "memory")

    def dense(self) -> int:
        """The runtime copies the part."""
        return self.plane.size


@dataclass(frozen=True, slots=True, eq=False)
class Crop(_FromOne):
    """Padding with a constant, or cropping: the plane's origin moves by ``by``. A view."""

    out: str
    source: str
    by: tuple[int, int]
    plane: Plane

    bases = ()

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return box.moved(at[self.source], self.by, self.plane.extent)

    def work(self, at: Boxes) -> Work:
        """Nothing."""
        return Work(np.zeros(len(at[self.out]), np.int64), "memory")

    def dense(self) -> int:
        """The runtime copies the plane."""
        return self.plane.size


@dataclass(frozen=True, slots=True, eq=False)
class Resize(_FromOne):
    """Every output row and column picks one of the input: nearest-neighbour enlargement."""

    out: str
    source: str
    rows: Array
    columns: Array
    plane: Plane

    bases = ()

    def reach(self, at: Boxes) -> Array:
        """Boxes of the output."""
        return box.picked(at[self.source], self.rows, self.columns)

    def work(self, at: Boxes) -> Work:
        """One copy per element."""
        return Work(_area(at[self.out]) * self.plane.channels, "memory")

    def dense(self) -> int:
        """One copy per element."""
        return self.plane.size


Step: TypeAlias = Conv | Pool | Single | Scale | Pair | Concat | Part | Crop | Resize


def _area(boxes: Array) -> Array:
    area: Array = boxes[:, 2] * boxes[:, 3]
    return area
