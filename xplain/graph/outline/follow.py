"""Follow the axes of the explained input through a graph: which axis of each tensor is batch, position, feature, token.

Nodes are taken in order, with the extents that they have for the item at hand. What an operator does to axes
stands in ``xplain.graph.outline.axis_rules``. What is not known is not guessed: the axes behind it are unknown, and
say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto

from xplain.core.positions import axes as ax
from xplain.core.positions.lineage import Lineage
from xplain.graph.intake.bounds import Known, known_for
from xplain.graph.intake.load import Loaded
from xplain.graph.naming import reads
from xplain.graph.outline.axis_call import Call, Trail
from xplain.graph.outline.axis_rules import axes_after
from xplain.graph.passes.lowering import opened

__all__ = ["follow", "known_with"]


def follow(loaded: Loaded, item: Sequence[int], fixed: Mapping[str, Sequence[int]] | None = None) -> Lineage:
    """What each tensor descends from, and the axes of those that descend from the explained input.

    Args:
        loaded: The graph; its first input is the one that is explained.
        item: Shape of the item, without the batch axis.
        fixed: Shapes of the other inputs.
    """
    known = known_with(loaded, item, fixed)
    return _Walk(loaded.model, known, loaded.free).run(loaded.model.graph.input[0].name, item)


def known_with(loaded: Loaded, item: Sequence[int], fixed: Mapping[str, Sequence[int]] | None = None) -> Known:
    """Shapes of all tensors for one item of this shape, with inputs of ``fixed`` shapes beside it."""
    entry = loaded.model.graph.input[0].name
    shapes = {entry: (1, *item), **{name: tuple(shape) for name, shape in (fixed or {}).items()}}
    if any(loaded.known.shapes.get(name) != shape for name, shape in shapes.items()):
        return known_for(loaded.model, shapes)
    return loaded.known


class _Walk:
    """One walk along the nodes of a model, in order."""

    def __init__(self, model: ModelProto, known: Known, free: Mapping[str, frozenset[int]]) -> None:
        self._model, self._free, self._trail = model, free, Trail(known)

    def run(self, entry: str, item: Sequence[int]) -> Lineage:
        trail = self._trail
        trail.parents[entry] = ()
        trail.axes[entry] = ax.start("N" + "X" * len(item), item)
        for node in self._model.graph.node:
            self._visit(node)
        found = {name: axes for name, axes in trail.axes.items() if axes is not None}
        return Lineage(entry, trail.parents, found, tuple(trail.picks), mixing=frozenset(trail.mixing))

    def _visit(self, node: NodeProto) -> None:
        trail = self._trail
        if node.op_type in ("Shape", "Size"):  # how large something is does not tell what it is
            return
        live = tuple(name for name in sorted(set(reads(node))) if name in trail.parents)
        if not live:
            return
        inside, constants = opened(node, self._model.opset_import, trail.known.shapes, trail.known.dtypes)
        for tensor in constants:
            trail.known.shapes.setdefault(tensor.name, tuple(int(d) for d in tensor.dims))
        if inside:
            before = set(trail.mixing)
            for part in inside:
                self._visit(part)
            if trail.mixing > before and Call(node, trail).op == "Softmax":  # of integers: it is a layer as a whole
                trail.mixing = before | {node.output[0]}
            return
        for name in node.output:
            trail.parents[name] = live
        try:
            found = axes_after(Call(node, trail))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):  # a node that is not well formed
            found = []
        for k, name in enumerate(node.output):
            trail.axes[name] = None
            shape = trail.known.shapes.get(name)
            axes = found[k] if k < len(found) else None
            if axes is not None and shape is not None and ax.shape_of(axes) != shape:
                axes = None
            if shape is not None:
                trail.axes[name] = ax.with_items(axes or ax.unknown(shape), self._free.get(name, frozenset()))
