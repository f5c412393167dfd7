"""What a node states in numbers, read in one place: newer operator sets take them as inputs, older ones as attributes.

    stated(node, 1, "min", content)                     # 0.0
    numbers_of(node, 1, "axes", content)                # [0, -1]
    cuts_of(node, (1, 8, 32, 32), content)              # a Slice: {2: range(31, -1, -2)}
    pads_of(node, 4, content)                           # a Pad: {2: (1, 1), 3: (1, 0)}
    reduced_axes(node, 4, content)                      # a Reduce...: {2, 3}
    axes_across(node, 4, content)                       # the same, or a Softmax: {3}

The walks that follow axes, receptive fields and hidden windows through a graph ask here, and so do the backward rules:
what a slice takes must not depend on who asks. ``content`` gives the content of a constant by its name, None where it
is known only at run time; an axis is counted from 0, whatever the node writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.graph.nodes import Node, attribute
from xplain.graph.operators import facts_of

__all__ = ["Content", "axes_across", "cuts_of", "numbers_of", "pads_of", "reduced_axes", "stated"]

Content: TypeAlias = "Callable[[str], Array | None]"

_END = 2**31 - 1
"""An end from which on exporters mean "as far as it goes"."""


def _fed(node: Node, k: int) -> str:
    """The input that may hold a setting, by name; of an operator on integers, what stands there is a scale."""
    return str(node.input[k]) if k < len(node.input) and facts_of(node).scale is None else ""


def stated(node: Node, k: int, name: str, content: Content) -> Any:
    """A setting: the content of input ``k``, or the attribute ``name``; None where there is neither, or not yet."""
    fed = _fed(node, k)
    return content(fed) if fed else attribute(node, name)


def numbers_of(node: Node, k: int, name: str, content: Content) -> list[int] | None:
    """A setting of whole numbers."""
    found = stated(node, k, name, content)
    return None if found is None else [int(n) for n in np.asarray(found).ravel()]


def _waits(node: Node, k: int, content: Content) -> bool:
    """Whether a setting is made at run time."""
    fed = _fed(node, k)
    return bool(fed) and content(fed) is None


def _fit(axes: Sequence[int], rank: int) -> bool:
    """Whether a tensor has these axes."""
    return all(-rank <= axis < rank for axis in axes)


def cuts_of(node: Node, shape: Sequence[int | str | None], content: Content) -> dict[int, range] | None:
    """Which elements a ``Slice`` takes along each axis that it names, in their order.

    Returns:
        None where that is known only at run time, or with an extent that is not known; or where the node is damaged.
    """
    starts, ends = numbers_of(node, 1, "starts", content), numbers_of(node, 2, "ends", content)
    if starts is None or ends is None or _waits(node, 3, content) or _waits(node, 4, content):
        return None
    axes = numbers_of(node, 3, "axes", content) or list(range(len(starts)))
    steps = numbers_of(node, 4, "steps", content) or [1] * len(starts)
    if {len(axes), len(ends), len(steps)} != {len(starts)} or 0 in steps or not _fit(axes, len(shape)):
        return None
    found = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        extent = shape[axis]
        if isinstance(extent, int):
            found[axis % len(shape)] = range(*slice(start, end, step).indices(extent))
        elif (start, step) != (0, 1) or end < _END:
            return None
    return found


def pads_of(node: Node, rank: int, content: Content) -> dict[int, tuple[int, int]] | None:
    """How many elements a ``Pad`` puts before and behind each axis that it names; fewer than none are cut off.

    Returns:
        None where that is known only at run time, or the node is damaged.
    """
    amounts = numbers_of(node, 1, "pads", content)
    if amounts is None or _waits(node, 3, content):
        return None
    axes = numbers_of(node, 3, "axes", content) or list(range(rank))
    if len(amounts) != 2 * len(axes) or not _fit(axes, rank):
        return None
    ends = zip(amounts[: len(axes)], amounts[len(axes) :], strict=True)
    return {axis % rank: pair for axis, pair in zip(axes, ends, strict=True)}


def reduced_axes(node: Node, rank: int, content: Content) -> set[int] | None:
    """The axes that a reduction, or ``ArgMax`` and ``ArgMin``, go over.

    Returns:
        None where they are known only at run time, or the node is damaged.
    """
    if node.op_type in ("ArgMax", "ArgMin"):
        return {int(attribute(node, "axis", 0)) % rank}
    if _waits(node, 1, content):
        return None
    axes = numbers_of(node, 1, "axes", content)
    if axes:
        return {axis % rank for axis in axes} if _fit(axes, rank) else None
    return set() if attribute(node, "noop_with_empty_axes", 0) else set(range(rank))


def axes_across(node: Node, rank: int, content: Content) -> set[int]:
    """The axes along which a node puts elements together; none where that is not known, or it does not.

    Of a softmax before opset 13, which goes over its axis and all behind it, the first one.
    """
    across = facts_of(node).across
    if across == "axes":
        return reduced_axes(node, rank, content) or set()
    given = [attribute(node, "axis", -1)] if across == "axis" else numbers_of(node, 1, "", content) if across else None
    return {axis % rank for axis in given} if given and _fit(given, rank) else set()
