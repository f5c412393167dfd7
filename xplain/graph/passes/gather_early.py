"""Pick a row before it is computed with all the others.

A vision transformer's scores read one token of its last block: ``head(norm(x)[:, 0])``. Layer norm, residuals and the
products with weights treat every token by itself, so the token may be picked before them, up to where the block's
attention mixes tokens. The rows that nobody reads are then computed neither forwards nor, as zeros, backwards: of a
ViT-B/16's multiply-adds one in seventeen. What is computed is the same to the bit but for how a product is cut up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.graph.build.tracer import Shape, Tracer
from xplain.graph.naming import reads
from xplain.graph.nodes import attributes_of
from xplain.graph.operators import facts_of, key_of

__all__ = ["pick_early"]

Axes: TypeAlias = "list[int | None] | None"
"""For each input the axis along which it is picked, None for one that stays whole; None where it cannot be said."""


def pick_early(
    model: ModelProto, weights: Mapping[str, TensorProto], folder: str = "", wanted: Set[str] = frozenset()
) -> None:
    """Move every Gather of one row before what treats rows by themselves, in place.

    Args:
        model: A model with shapes.
        weights: Content of its weights.
        folder: Where external data lie.
        wanted: Tensors that must stay as they are.
    """
    mover = None
    for name in [node.output[0] for node in model.graph.node if node.op_type == "Gather"]:
        mover = mover or _Mover(model, weights, folder, wanted)
        if mover.move(name):
            mover = None  # it knows the graph as it was


class _Mover:
    """Moves one Gather."""

    def __init__(self, model: ModelProto, weights: Mapping[str, TensorProto], folder: str, wanted: Set[str]) -> None:
        self.model, self.tracer = model, Tracer(model, folder, weights)
        self._nodes = list(model.graph.node)  # held, so that each is one object
        self._fixed = {*wanted, *(v.name for v in model.graph.output)}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self._nodes:
            for name in reads(node):
                self._readers.setdefault(name, []).append(node)

    def move(self, name: str) -> bool:
        """Move the Gather that makes ``name`` where it pays: at least one product with weights must become smaller.

        Returns:
            Whether it was moved.
        """
        root = next(node for node in self._nodes if name in node.output)
        source, index = root.input[0], self.tracer.constants.get(root.input[1])
        shape = self.tracer.shapes.get(source)
        if shape is None or index is None or index.size != 1 or index.ndim > 1 or len(shape) < 3:
            return False
        axis = int(attributes_of(root).get("axis", 0)) % len(shape)
        extent = shape[axis]
        if not isinstance(extent, int) or extent < 2:
            return False
        picked: dict[str, int] = {source: axis}
        region: list[NodeProto] = []
        inside = {id(root)}
        for node in reversed(self._nodes):
            demanded = [name for name in node.output if name in picked]
            if not demanded or len([n for n in node.output if self._readers.get(n)]) != 1:
                continue
            out = demanded[0]
            if out in self._fixed or not all(id(reader) in inside for reader in self._readers[out]):
                continue
            axes = self._axes(node, picked[out], extent)
            if axes is None or self._clash(node, axes, picked):
                continue
            picked.update((name, at) for name, at in zip(node.input, axes, strict=True) if at is not None)
            inside.add(id(node))
            region.append(node)
        pays = any(node.op_type == "MatMul" and node.input[1] in self.tracer.constants for node in region)
        if pays:
            self._rewrite(root, region[::-1], picked, int(index.ravel()[0]), index.ndim)
        return pays

    def _clash(self, node: NodeProto, axes: list[int | None], picked: Mapping[str, int]) -> bool:
        """Whether an input is picked along another axis elsewhere."""
        return any(a is not None and picked.get(n, a) != a for n, a in zip(node.input, axes, strict=True))

    def _rewrite(self, root: NodeProto, region: list[NodeProto], picked: dict[str, int], index: int, rank: int) -> None:
        graph, name = self.model.graph, root.output[0]
        number = f"{name}/index"
        graph.initializer.append(numpy_helper.from_array(np.array([index], np.int64), number))
        made = {out for node in region for out in node.output}
        names = {tensor: f"{tensor}/picked" for tensor in picked}
        replaced = {id(node): self._again(node, names, picked) for node in region}
        nodes: list[NodeProto] = []
        leaves = {tensor for tensor in picked if tensor not in made}
        ready = {v.name for v in graph.input} | {t.name for t in graph.initializer}
        for tensor in sorted(leaves & ready):
            nodes.append(self._leaf(tensor, names[tensor], number, picked[tensor]))
        for node in self._nodes:
            if id(node) in replaced:
                nodes.extend(replaced[id(node)])
            elif node is root:
                axis = picked[root.input[0]]
                last = names[root.input[0]]
                if rank:
                    nodes.append(helper.make_node("Identity", [last], [name], name=root.name))
                else:
                    where = f"{name}/axis"
                    graph.initializer.append(numpy_helper.from_array(np.array([axis], np.int64), where))
                    nodes.append(helper.make_node("Squeeze", [last, where], [name], name=root.name))
            else:
                nodes.append(node)
                for out in node.output:
                    if out in leaves:
                        nodes.append(self._leaf(out, names[out], number, picked[out]))
        for tensor, fresh in names.items():
            shape = self._one(tensor, picked[tensor])
            graph.value_info.append(helper.make_tensor_value_info(fresh, self.tracer.dtypes[tensor], shape))
        del graph.node[:]
        graph.node.extend(nodes)

    def _one(self, tensor: str, axis: int) -> Shape:
        """A tensor's shape once picked."""
        shape = self.tracer.shapes[tensor]
        return (*shape[:axis], 1, *shape[axis + 1 :])

    def _leaf(self, tensor: str, fresh: str, index: str, axis: int) -> NodeProto:
        return helper.make_node("Gather", [tensor, index], [fresh], name=fresh, axis=axis)

    def _again(self, node: NodeProto, names: Mapping[str, str], picked: Mapping[str, int]) -> list[NodeProto]:
        """The node on picked inputs."""
        copy = NodeProto()
        copy.CopyFrom(node)
        out = next(name for name in node.output if name in picked)
        axes = self._axes(node, picked[out], int(self.tracer.shapes[out][picked[out]] or 0)) or []
        for k, (name, axis) in enumerate(zip(node.input, axes, strict=True)):
            if axis is not None:
                copy.input[k] = names[name]
        del copy.output[:]
        copy.output.append(names[out])
        if node.op_type == "Reshape":
            axis = picked[out]
            target = f"{out}/picked/shape"
            rest = [d if isinstance(d, int) else -1 for d in self.tracer.shapes[out][axis + 1 :]]
            dims = np.array([0] * axis + [1, *rest], np.int64)
            self.model.graph.initializer.append(numpy_helper.from_array(dims, target))
            copy.input[1] = target
            del copy.attribute[:]  # allowzero: 0 means "as before" here
        return [copy]

    # ---- which input is picked where ----------------------------------------------------------------------------

    def _axes(self, node: NodeProto, axis: int, extent: int) -> Axes:
        """Along which axes the inputs are picked where the output is along ``axis``."""
        rule = _each if facts_of(node).elementwise else _RULES.get(key_of(node))
        shapes = [self.tracer.shapes.get(name) if name else () for name in node.input]
        out = next((self.tracer.shapes.get(name) for name in node.output if name), None)
        if rule is None or out is None or not shapes or shapes[0] is None:
            return None
        return rule(node, shapes, out, axis, extent)


def _aligned(shape: Shape | None, out: Shape, axis: int, extent: int) -> int | bool | None:
    """The axis of an operand that is broadcast to ``out``; None where it has one entry there; False: not known."""
    if shape is None:
        return False
    at = axis - (len(out) - len(shape))
    if at < 0 or shape[at] == 1:
        return None
    return at if shape[at] == extent else False


def _each(node: NodeProto, shapes: list[Shape | None], out: Shape, axis: int, extent: int) -> Axes:
    found = [_aligned(shape, out, axis, extent) for shape in shapes]
    return None if any(at is False for at in found) else [None if at is None else int(at) for at in found]


def _matmul(node: NodeProto, shapes: list[Shape | None], out: Shape, axis: int, extent: int) -> Axes:
    a, b = shapes
    if a is None or b is None or len(a) < 2 or len(b) < 2 or axis == len(out) - 1:
        return None
    if axis == len(out) - 2:
        return [len(a) - 2, None]
    return _each(node, shapes, out, axis, extent)


def _norm(node: NodeProto, shapes: list[Shape | None], out: Shape, axis: int, extent: int) -> Axes:
    over = int(attributes_of(node).get("axis", -1)) % len(out)
    return [axis, *[None] * (len(shapes) - 1)] if axis < over else None


def _softmax(node: NodeProto, shapes: list[Shape | None], out: Shape, axis: int, extent: int) -> Axes:
    return [axis] if int(attributes_of(node).get("axis", -1)) % len(out) != axis else None


def _transpose(node: NodeProto, shapes: list[Shape | None], out: Shape, axis: int, extent: int) -> Axes:
    perm = attributes_of(node).get("perm", list(range(len(out)))[::-1])
    return [int(perm[axis])]


def _reshape(node: NodeProto, shapes: list[Shape | None], out: Shape, axis: int, extent: int) -> Axes:
    source = shapes[0]
    assert source is not None
    kept = len(source) > axis and None not in out[: axis + 1] and source[: axis + 1] == out[: axis + 1]
    open_ = sum(not isinstance(d, int) for d in out[axis + 1 :])
    return [axis, None] if kept and not open_ and 0 not in out else None


_RULES: dict[str, Callable[[NodeProto, list[Shape | None], Shape, int, int], Axes]] = {
    "MatMul": _matmul,
    "LayerNormalization": _norm,
    "Softmax": _softmax,
    "Transpose": _transpose,
    "Reshape": _reshape,
}
