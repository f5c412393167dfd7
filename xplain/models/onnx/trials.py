"""Items that are made up to try a model: of the extents that its file declares, and never more than is harmless.

First contact is held to limits in a process of its own; what is tried afterwards is not, and a file of a kilobyte can
declare an input of gigabytes.
"""

from __future__ import annotations

from math import prod

from xplain.core.outline import TensorSpec

__all__ = ["item_of", "small"]

_MOST = 2**28
"""Bytes of the items of one trial, as float32."""

_FREE = 32
"""Extent that stands for one that is free."""


def item_of(spec: TensorSpec) -> tuple[int, ...]:
    """The extents of one item, without the batch axis."""
    return tuple(extent or _FREE for extent in spec.shape[1:])


def small(rows: int, spec: TensorSpec) -> bool:
    """Whether ``rows`` items of an input may be made up."""
    return 4 * rows * prod(item_of(spec)) <= _MOST
