"""Kernels over windows of deltas: what a small change of the input does to a network, and nothing else.

A delta tensor is ``masked - base``, zero outside one rectangle per mask. ``Deltas`` says where the rectangles lie in
the plane and in their buffer: pixel after pixel, channels last, stored channels a multiple of ``LANE`` and zero past
the true ones. Base values are float32 ``[H, W, stored channels]``. Deltas are float32, or bfloat16 as uint16 bits.

Every kernel writes all pixels of its output's windows and no others. The bits of a mask depend neither on the masks
beside it nor on ``threads``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xplain import _native
from xplain.core.edits import Array

__all__ = [
    "ACTIVATIONS",
    "BARE",
    "FUNCTIONS",
    "LANE",
    "LINEAR",
    "PANEL",
    "Activation",
    "Around",
    "Deltas",
    "Kernel",
    "Load",
    "Packed",
    "aligned",
    "binary",
    "channels_last",
    "clear_rim",
    "conv",
    "enter",
    "gather",
    "leave",
    "plane_mean",
    "pool",
    "scale",
    "stored",
    "unary",
]

LANE = 16
"""Channels are stored in groups of this many."""
PANEL = 32
"""Output channels of one panel of convolution weights."""

_LINE = 64  # bytes of a cache line

ACTIVATIONS = {"none": 0, "clip": 1, "leaky": 2}
FUNCTIONS = {
    name: number
    for number, name in enumerate(
        (
            "clip",
            "leaky",
            "sigmoid",
            "tanh",
            "hard_sigmoid",
            "hard_swish",
            "elu",
            "selu",
            "softplus",
            "gelu",
            "exp",
            "erf",
            "abs",
        )
    )
}
_BINARY = {"add": 0, "subtract": 1, "multiply": 2}
_POOLS = {"max": 0, "mean_inside": 1, "mean_all": 2}


class Deltas(NamedTuple):
    """N windows of one tensor.

    Args:
        windows: int64 ``[N, 6]`` of (y, x, height, width, offset of the first pixel, elements from row to row).
        data: The buffer, a float32 or uint16 (bfloat16 bits) vector.
        step: Elements from one pixel to the next, at least the channels.
    """

    windows: Array
    data: Array
    step: int


class Kernel(NamedTuple):
    """Geometry of a sliding kernel, as (rows, columns) pairs.

    Args:
        size: Extent.
        stride: From one place to the next.
        pads: At the top and the left.
        dilation: From one tap to the next.
        far_pads: At the bottom and the right. Where a plane's extent is known, they say nothing new but to a mean that
            counts them.
    """

    size: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    far_pads: tuple[int, int] = (0, 0)

    @property
    def flat(self) -> tuple[int, ...]:
        """All but the far pads, in the order the compiled kernels take them."""
        return (*self.size, *self.stride, *self.pads, *self.dilation)


class Activation(NamedTuple):
    """An element-wise function, one of ``FUNCTIONS`` or ``none``, with the numbers it takes.

    Other kernels fuse ``none``, ``clip`` to [low, high] and ``leaky`` (slope ``low`` below zero).
    """

    kind: str = "none"
    low: float = 0.0
    high: float = 0.0

    @property
    def flat(self) -> tuple[int, float, float]:
        """As the compiled kernels take it."""
        return ACTIVATIONS[self.kind], self.low, self.high


LINEAR = Activation()


class Around(NamedTuple):
    """What becomes of a delta ``d`` under an activation around base values: ``act(base + d) - act(base)``.

    Args:
        base: Values of the tensor that the activation acts on, ``[H, W, stored channels]``; None for none.
        act: The activation.
    """

    base: Array | None = None
    act: Activation = LINEAR


BARE = Around()
"""Deltas stay as they are."""


class Load(NamedTuple):
    """A 1x1 convolution of stride 1 reads ``act(factor * v + shift)`` of its input's values ``v`` instead of them.

    Args:
        factor: ``[stored channels]``.
        shift: ``[stored channels]``.
        base: Base values of the input.
        act: The activation.
    """

    factor: Array | None = None
    shift: Array | None = None
    base: Array | None = None
    act: Activation = LINEAR


_AS_IT_IS = Load()


class Packed(NamedTuple):
    """The weights of a convolution as one of its ways reads them; ``xplain.incremental.weights`` packs them.

    Args:
        way: ``"direct"``, ``"winograd"`` (3x3, stride 1, float32) or ``"depthwise"``.
        values: All weights, a vector of float32 or uint16 (bfloat16 bits).
        panels: int64 ``[P, 3]`` of (first input channel, channels, where the panel's weights begin).
        channels: Stored channels (in, out).
        kernel: The geometry.
    """

    way: str
    values: Array
    panels: Array
    channels: tuple[int, int]
    kernel: Kernel


def stored(channels: int) -> int:
    """Channels as they are stored: rounded up to a multiple of ``LANE``."""
    return -(-channels // LANE) * LANE


def aligned(shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
    """An array to be filled, whose first element begins a cache line, as every ``LANE`` channels after it then do.

    numpy begins large arrays 16 bytes into a page, so that each vector of 64 bytes would be read from two lines.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    raw = np.empty(size + _LINE, np.uint8)
    first = -raw.ctypes.data % _LINE
    found: Array = raw[first : first + size].view(kind).reshape(shape)
    return found


def pairs_pay() -> bool:
    """Whether this processor multiplies pairs of bfloat16 faster than floats, as AMD's do and Intel's do not."""
    return bool(_native.delta_pairs_pay())


def conv(
    x: Deltas,
    out: Deltas,
    packed: Packed,
    *,
    residual: Deltas | None = None,
    around: Around = BARE,
    load: Load | None = None,
    threads: int = 0,
    processor: int = 3,
) -> None:
    """A convolution of deltas with what follows it.

    ``out = act(base + conv(x) + residual) - act(base)``.

    Args:
        x: Input.
        out: Output; pixels that the kernel does not reach get the residual alone.
        packed: The weights and the geometry.
        residual: Added before the activation; zero outside its windows.
        around: The activation, and the values it acts on.
        load: What is read of the input, where that is not its values.
        threads: At most so many; 0 means all.
        processor: Use at most this variant: 0 portable, 1 AVX2, 2 AVX-512, 3 AVX-512 with bfloat16 products.
    """
    factor, shift, load_base, load_act = load or _AS_IT_IS
    _native.delta_conv(
        packed.way,
        x,
        out,
        residual,
        packed.values,
        packed.panels,
        *packed.channels,
        packed.kernel.flat,
        around.base,
        around.act.flat,
        factor,
        shift,
        load_base,
        load_act.flat,
        threads,
        processor,
    )


def pool(
    kind: str,
    x: Deltas,
    out: Deltas,
    channels: int,
    kernel: Kernel,
    plane: tuple[int, int],
    *,
    bases: tuple[Array | None, Array | None] = (None, None),
    threads: int = 0,
) -> None:
    """Pools a plane of height and width ``plane``.

    Args:
        kind: ``"max"`` (needs ``bases``), ``"mean_inside"`` (padding does not count) or ``"mean_all"``.
        x: Input.
        out: Output.
        channels: Stored channels.
        kernel: Its geometry.
        plane: Height and width of the input.
        bases: Base values of the input and of the output.
        threads: At most so many; 0 means all.
    """
    _native.delta_pool(_POOLS[kind], x, out, channels, kernel.flat, kernel.far_pads, plane, *bases, threads)


def unary(
    function: Activation,
    x: Deltas,
    out: Deltas,
    channels: int,
    base: Array,
    *,
    affine: tuple[Array, Array] | None = None,
    slope: Array | None = None,
    threads: int = 0,
) -> None:
    """``f(base + x) - f(base)``.

    Args:
        function: Of any kind in ``FUNCTIONS``.
        x: Input.
        out: Output.
        channels: Stored channels.
        base: Base values of the input.
        affine: (factor, shift): the function's argument is ``factor * v + shift``.
        slope: Slopes of a leaky unit, one per channel.
        threads: At most so many; 0 means all.
    """
    kind, low, high = function
    factor, shift = affine if affine is not None else (None, None)
    _native.delta_unary(FUNCTIONS[kind], x, out, channels, low, high, factor, shift, slope, base, threads)


def binary(
    function: str,
    first: Deltas | None,
    second: Deltas | None,
    out: Deltas,
    channels: int,
    *,
    bases: tuple[Array | None, Array | None] = (None, None),
    around: Around = BARE,
    threads: int = 0,
) -> None:
    """``add`` or ``subtract`` (then an activation, ``around``), or ``multiply`` tensors of the given ``bases``."""
    _native.delta_binary(_BINARY[function], first, second, out, channels, *bases, around.base, around.act.flat, threads)


def scale(x: Deltas, out: Deltas, channels: int, factors: Array, *, threads: int = 0) -> None:
    """``out = factors[c] * x``."""
    _native.delta_scale(x, out, channels, factors, threads)


def gather(
    x: Deltas, out: Deltas, channels: int, rows: Array | None = None, columns: Array | None = None, *, threads: int = 0
) -> None:
    """Copies pixel ``(rows[y], columns[x])`` to (y, x), exactly ``channels`` elements; zero where there is none."""
    _native.delta_gather(x, out, channels, rows, columns, threads)


def clear_rim(inner: Array, outer: Deltas, channels: int, *, threads: int = 0) -> None:
    """Zeroes the pixels of ``outer`` that lie outside the windows ``inner``."""
    _native.delta_clear_rim(inner, outer, channels, threads)


def enter(x: Array, fill: Array, out: Deltas, channels: int, *, threads: int = 0) -> None:
    """The edit: ``fill - x`` inside the windows; both ``[H, W, stored channels]``."""
    _native.delta_enter(x, fill, out, channels, threads)


def leave(base: Array, x: Deltas, channels: int, *, threads: int = 0) -> Array:
    """``base + x`` as a dense float32 ``[N, C, H, W]``."""
    out = np.empty((len(x.windows), channels, *base.shape[:2]), np.float32)
    _native.delta_leave(base, x, out, channels, threads)
    return out


def plane_mean(base: Array, x: Deltas, channels: int, factor: float, *, threads: int = 0) -> Array:
    """``base[c] + factor * sum of x over the plane``, float32 ``[N, C]``."""
    out = np.empty((len(x.windows), channels), np.float32)
    _native.delta_plane_mean(base, x, out, channels, factor, threads)
    return out


def channels_last(values: Any) -> Array:
    """float32 ``[C, H, W]`` as base values ``[H, W, stored channels]``."""
    values = np.ascontiguousarray(values, np.float32)
    if not values.flags.writeable:
        values = values.copy()
    out = aligned((*values.shape[1:], stored(len(values))))
    _native.delta_channels_last(values, out)
    return out
