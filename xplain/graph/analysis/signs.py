"""Which tensors are never negative, whatever the item: what a ReLU makes, and what only moves, picks or adds such."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, helper

from xplain.core.edits import Array
from xplain.graph.operators import facts_of

__all__ = ["never_negative"]

_DEEPEST = 32
"""Operators that are followed back; what lies further is not known."""


def never_negative(
    name: str, maker: Callable[[str], NodeProto | None], content: Callable[[str], Array | None], depth: int = 0
) -> bool:
    """Whether no element of a tensor can be below zero.

    Args:
        name: The tensor.
        maker: The node that makes a tensor; None for an input of the model or a constant.
        content: What a small constant holds; None for anything else.
        depth: Operators that were followed already.
    """
    node = maker(name)
    if node is None:
        number = content(name)
        return number is not None and number.dtype.kind in "fiu" and bool((number >= 0).all())
    facts = facts_of(node)
    if facts.low >= 0.0:
        return True
    if depth >= _DEEPEST:
        return False

    def of(inputs: list[str]) -> bool:
        return all(never_negative(one, maker, content, depth + 1) for one in inputs)

    if node.op_type == "Clip":
        return _clips_negatives(node, content)
    if node.op_type == "Pad" and not _pads_zeros(node):
        return False
    if facts.steps is not None:
        first, last = facts.steps
        return of([one for one in list(node.input)[first:last] if one])
    if facts.adds:
        return of([one for one in node.input if one] if facts.elementwise else [node.input[0]])
    return False


def _stated(node: NodeProto) -> dict[str, Array]:
    return {one.name: np.asarray(helper.get_attribute_value(one)) for one in node.attribute}


def _pads_zeros(node: NodeProto) -> bool:
    """Whether a Pad fills with its default."""
    return not (len(node.input) > 2 and node.input[2]) and not _stated(node).get("value", np.zeros(1)).any()


def _clips_negatives(node: NodeProto, content: Callable[[str], Array | None]) -> bool:
    """Whether a Clip has a lower bound of at least 0, and no upper one below it."""
    stated, bounds = _stated(node), []
    for index, word in ((1, "min"), (2, "max")):
        if index < len(node.input) and node.input[index]:
            bounds.append(content(node.input[index]))
        else:
            bounds.append(stated.get(word, np.asarray(-np.inf if index == 1 else np.inf)))
    return all(bound is not None and bool((bound >= 0).all()) for bound in bounds)
