"""Receptive fields, read from the graph: for every position of every tensor, which positions of the item reach it.

Nodes are taken in order; what an operator does stands in ``xplain.graph.outline.sees_rules``. What is not known there
is bounded by "everything", and the field says so. Values never count: a weight that is zero, or a rectifier that is
closed, takes nothing away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from onnx import ModelProto, NodeProto

from xplain.core.lenses.fields import Field, Group
from xplain.core.positions.layout import Layout
from xplain.graph.intake.bounds import Known
from xplain.graph.intake.load import Loaded
from xplain.graph.naming import reads
from xplain.graph.outline.follow import known_with
from xplain.graph.outline.sees import Seen
from xplain.graph.outline.sees_rules import Step, seen_after
from xplain.graph.passes.lowering import opened

__all__ = ["fields"]


def fields(
    loaded: Loaded, layout: Layout, fixed: Mapping[str, Sequence[int]] | None = None
) -> Callable[[str], Field | None]:
    """What each tensor's units see of an item; None for a tensor that does not descend from it.

    Args:
        loaded: The graph; its first input is the one that is explained.
        layout: Of the item.
        fixed: Shapes of the other inputs.
    """
    walk = _Walk(loaded.model, known_with(loaded, layout.item, fixed))
    walk.begin(loaded.model.graph.input[0].name, layout)
    for node in loaded.model.graph.node:
        walk.visit(node)

    @lru_cache(maxsize=64)
    def found(name: str) -> Field | None:
        seen = walk.seen.get(name)
        if seen is None or not seen.shape:
            return None
        places = tuple(None if axis is None else axis - 1 for axis in seen.places)
        channel = None if seen.channel is None else seen.channel - 1
        return Field(seen.shape[1:], channel, places, seen.groups, seen.why)

    return found


class _Walk:
    """One walk along the nodes, in order."""

    def __init__(self, model: ModelProto, known: Known) -> None:
        self.model, self.known = model, known
        self.seen: dict[str, Seen] = {}

    def begin(self, entry: str, layout: Layout) -> None:
        """The item itself: each position sees itself."""
        eyes = tuple(np.eye(layout.item[axis - 1], dtype=bool) for axis in layout.plane_axes)
        extent = 1 if layout.channel_axis is None else layout.item[layout.channel_axis - 1]
        group = Group(0, extent, (eyes,))
        self.seen[entry] = Seen((1, *layout.item), layout.channel_axis, tuple(layout.plane_axes), (group,))

    def visit(self, node: NodeProto) -> None:
        """Say what the outputs of a node see."""
        if node.op_type in ("Shape", "Size") or not any(name in self.seen for name in reads(node)):
            return
        inside, constants = opened(node, self.model.opset_import, self.known.shapes, self.known.dtypes)
        for tensor in constants:
            self.known.shapes.setdefault(tensor.name, tuple(int(d) for d in tensor.dims))
        if inside:
            for part in inside:
                self.visit(part)
            return
        step = Step(node, self.model, self.known, self.seen)
        try:
            found = seen_after(step)
        except (ArithmeticError, AttributeError, LookupError, StopIteration, TypeError, ValueError):
            found = []  # a node that is not well formed, or not as a rule expects it
        for k, name in enumerate(node.output):
            shape = self.known.shapes.get(name)
            one = found[k] if k < len(found) else None
            if one is not None and shape is not None and tuple(one.shape) == tuple(shape):
                self.seen[name] = one
            elif shape is not None:
                self.seen[name] = step.everything(shape)
