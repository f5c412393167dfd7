"""How windows lie on the positions that they slide over: the one place that turns attributes into numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Geometry", "windows_of"]


@dataclass(frozen=True)
class Geometry:
    """How windows lie on the spatial axes of ``[N, C, *spatial]``; ``before`` and ``after`` are the padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def axes(self) -> range:
        """Spatial axes, counted from 0."""
        return range(len(self.kernel))

    @property
    def extent(self) -> tuple[int, ...]:
        """How far one window reaches: d (k - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def padded(self) -> bool:
        """Whether there is any padding."""
        return any((*self.before, *self.after))


def windows_of(given: Mapping[str, Any], kernel: Sequence[int], extents: Sequence[int] | None) -> Geometry | None:
    """The geometry of a convolution or a pool; ``auto_pad`` becomes numbers.

    Args:
        given: The node's attributes, text as str.
        kernel: Extents of the kernel.
        extents: Positions along each axis; None where they are not known.

    Returns:
        None where padding follows from extents that are not known.
    """
    n = len(kernel)
    strides = tuple(int(v) for v in given.get("strides") or [1] * n)
    dilations = tuple(int(v) for v in given.get("dilations") or [1] * n)
    kernel = tuple(int(v) for v in kernel)
    auto = given.get("auto_pad") or "NOTSET"
    if auto == "NOTSET":
        pads = [int(v) for v in given.get("pads") or [0] * 2 * n]
        return Geometry(kernel, strides, dilations, tuple(pads[:n]), tuple(pads[n:]))
    if auto == "VALID":
        return Geometry(kernel, strides, dilations, (0,) * n, (0,) * n)
    before, after = [], []
    for i in range(n):
        reach = dilations[i] * (kernel[i] - 1) + 1
        if strides[i] == 1:
            whole = reach - 1
        elif extents is None:
            return None
        else:
            whole = max(0, (-(-extents[i] // strides[i]) - 1) * strides[i] + reach - extents[i])
        low = whole // 2 if auto == "SAME_UPPER" else whole - whole // 2
        before.append(low)
        after.append(whole - low)
    return Geometry(kernel, strides, dilations, tuple(before), tuple(after))
