"""Convolution weights in the order in which the kernels read them."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array
from xplain.incremental.steps import Conv
from xplain.native.delta import PANEL, Packed, aligned, stored

__all__ = ["bfloat16", "direct", "per_channel", "product", "square"]

_ALONE = 1 << 18  # products up to which OpenBLAS takes one thread

_POINTS = (0.0, 5 / 8, -5 / 8, 3 / 2, -3 / 2)
"""Where Winograd's F(4x4, 3x3) evaluates, with infinity. 0, 1, -1, 2, -2 (Lavin and Gray 2015) need fewer products but
err 2.2 times as much: the powers that enter lie further apart. Of points ``0, a, -a, b, -b`` whose powers float32 holds
exactly these err least."""


def _transform(points: tuple[float, ...]) -> Array:
    """Winograd's weight transform G ``[6, 3]``: row i is ``(1, p, p^2) / prod (p - q)`` over the other points q."""
    rows = [np.array([1, p, p * p]) / np.prod([p - q for q in points if q != p]) for p in points]
    return np.array([*rows, [0, 0, 1]])


_G = _transform(_POINTS)


def bfloat16(values: Array) -> Array:
    """Round float32 to bfloat16, half to even, as uint16 bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def product(a: Array, b: Array) -> Array:
    """``a @ b`` in pieces so small that BLAS does each alone: its idle threads would spin while ours are at work."""
    columns = 16
    rows = max(2, _ALONE // (columns * len(b)))
    out = np.empty((len(a), b.shape[1]), a.dtype)
    for i in range(0, len(a), rows):
        for j in range(0, b.shape[1], columns):
            out[i : i + rows, j : j + columns] = a[i : i + rows] @ b[:, j : j + columns]
    return out


def direct(conv: Conv, pairs: bool = False) -> Packed:
    """Weights ``[panel][tap][channel][32]`` as a vector, and panels ``[P, 3]``.

    A panel computes 32 output channels and reads the input channels of the groups they belong to; weights between
    groups are zero. With ``pairs`` the result is bfloat16, two channels side by side.
    """
    weight, groups = conv.weight, conv.groups
    outputs, per_group = weight.shape[:2]
    out_per_group = outputs // groups
    taps = weight.shape[2] * weight.shape[3]
    count = -(-stored(outputs) // PANEL)
    panels = np.zeros((count, 3), np.int64)
    if groups == 1 and not pairs:
        packed = aligned((count, taps, per_group, PANEL))
        for p in range(count):
            some = weight[p * PANEL : (p + 1) * PANEL].reshape(-1, per_group, taps)
            packed[p, :, :, len(some) :] = 0
            packed[p, :, :, : len(some)] = some.transpose(2, 1, 0)
            panels[p] = 0, per_group, p * packed[p].size
        return _packed("direct", packed.reshape(-1), panels, conv)
    blocks, at = [], 0
    for p in range(count):
        low, high = p * PANEL, min((p + 1) * PANEL, outputs)
        first = low // out_per_group * per_group if low < outputs else 0
        last = ((high - 1) // out_per_group + 1) * per_group if low < outputs else 0
        if pairs:
            first, last = first // 2 * 2, -(-last // 2) * 2
        block = np.zeros((taps, last - first, PANEL), np.float32)
        for o in range(low, high):
            begin = o // out_per_group * per_group - first
            block[:, begin : begin + per_group, o - low] = weight[o].reshape(per_group, taps).T
        if pairs:
            block = bfloat16(block.reshape(taps, -1, 2, PANEL).transpose(0, 1, 3, 2))
        panels[p] = first, last - first, at
        at += block.size
        blocks.append(block.ravel())
    packed = aligned(at, blocks[0].dtype)
    np.concatenate(blocks, out=packed)
    return _packed("direct", packed, panels, conv)


def per_channel(conv: Conv) -> Packed:
    """Depthwise weights ``[tap][stored channel]`` as a vector; the panel is a placeholder."""
    out = aligned((conv.weight.shape[2] * conv.weight.shape[3], stored(len(conv.weight))))
    out[:, len(conv.weight) :] = 0
    out[:, : len(conv.weight)] = conv.weight.reshape(len(conv.weight), -1).T
    return _packed("depthwise", out.ravel(), np.zeros((1, 3), np.int64), conv)


def square(conv: Conv) -> Packed:
    """Winograd weights ``[36][panel][stored channel][32]`` as a vector, ``G g Gᵀ`` in float64, and panels."""
    outputs, inputs = conv.weight.shape[:2]
    count, rows = -(-stored(outputs) // PANEL), stored(inputs)
    out = aligned((36, count, rows, PANEL))
    out.fill(0)
    both = np.kron(_G, _G)  # G g Gᵀ as one product over the nine weights
    for p in range(count):
        g = conv.weight[p * PANEL : (p + 1) * PANEL].astype(np.float64)
        u = product(g.reshape(-1, 9), both.T)  # [outputs * inputs, 36]
        out[:, p, :inputs, : len(g)] = u.reshape(len(g), inputs, 36).transpose(2, 1, 0)
    return _packed("winograd", out.ravel(), np.tile(np.array([0, rows, 0], np.int64), (count, 1)), conv)


def _packed(way: str, values: Array, panels: Array, conv: Conv) -> Packed:
    return Packed(way, values, panels, (stored(conv.inputs), stored(len(conv.weight))), conv.kernel)
