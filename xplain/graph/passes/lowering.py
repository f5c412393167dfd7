"""Write operators that stand for several as the standard ones they stand for: one walk forwards over a graph.

Shapes behind such an operator are not known before it is opened, so each node is inferred as its turn comes. Recurrent,
integer and fused operators (``recurrent``, ``dequantise``, ``fused``) are opened, also inside the branches of an If
that is decided at run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, helper, numpy_helper

from xplain.graph.build.tracer import Tracer
from xplain.graph.build.value import Shape
from xplain.graph.naming import branches_of
from xplain.graph.nodes import attributes_of
from xplain.graph.passes.chain import Chain
from xplain.graph.passes.dequantise import is_integer, open_integer
from xplain.graph.passes.fused import opener_of, outline_of
from xplain.graph.passes.opset import TARGET
from xplain.graph.passes.recurrent import is_recurrent, open_recurrent

__all__ = ["open_operators", "opened"]


def open_operators(
    model: ModelProto, weights: Mapping[str, TensorProto], folder: str = "", unrolled: bool = False
) -> None:
    """Replace operators that stand for several, in place; those in a form that is not known stay, and have no rule.

    Args:
        model: The model.
        weights: Content of its weights.
        folder: Where external data lie.
        unrolled: Recurrent nodes step by step.

    Raises:
        UnsupportedOperator: a recurrent node cannot be written out.
    """
    if _any(model.graph):
        tracer = Tracer(model, folder, weights)
        _open(model, tracer, unrolled)
        _write_down(model, tracer)


def opened(
    node: NodeProto, imports: Sequence[OperatorSetIdProto], shapes: Mapping[str, Shape], dtypes: Mapping[str, int]
) -> tuple[list[NodeProto], list[TensorProto]]:
    """The standard nodes that a fused or integer operator stands for, and their constants; none where it is neither.

    For whoever must know the shapes behind it, which ONNX does not describe; what they compute may be left out. A node
    that is damaged stands for nothing, which makes coarser what is known of it.
    """
    scratch = ModelProto(opset_import=imports)
    nodes: list[NodeProto] = []
    try:
        opener = outline_of(node)
        if is_integer(node):
            nodes = open_integer(scratch, node, shapes)
        elif opener is not None:
            chain = _chain(scratch, node, dtypes)
            nodes = chain.nodes if opener(chain, node, attributes_of(node), shapes) else []
    except Exception:  # whatever reading its attributes and inputs raises
        return [], []
    return nodes, list(scratch.graph.initializer)


def _any(graph: GraphProto) -> bool:
    """Whether there is something to open."""
    for node in graph.node:
        if is_recurrent(node) or is_integer(node) or opener_of(node) is not None:
            return True
        if any(_any(branch) for branch in branches_of(node)):
            return True
    return False


def _chain(model: ModelProto, node: NodeProto, dtypes: Mapping[str, int]) -> Chain:
    return Chain(model, f"{next((name for name in node.output if name), node.name)}/opened", dtypes)


def _open(model: ModelProto, tracer: Tracer, unrolled: bool) -> None:
    """Open the nodes of a graph; the tracer knows what lies around it."""
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        for branch in branches_of(node):
            if _any(branch):
                _open_branch(branch, tracer, unrolled)
        before = len(model.graph.initializer)
        parts = _parts(model, node, tracer, unrolled)
        for tensor in model.graph.initializer[before:]:
            tracer.shapes[tensor.name], tracer.dtypes[tensor.name] = tuple(tensor.dims), tensor.data_type
            tracer.constants.put(tensor.name, numpy_helper.to_array(tensor))
        for part in parts:
            if any(name not in tracer.shapes for name in part.output):
                tracer.infer(part)
        nodes.extend(parts)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _parts(model: ModelProto, node: NodeProto, tracer: Tracer, unrolled: bool) -> list[NodeProto]:
    """The decomposition of a recurrent, integer or fused node; the node alone where it has none."""
    if is_recurrent(node):
        nodes, known = open_recurrent(model, node, tracer.shapes, tracer.dtypes, unrolled)
        for name, (dtype, shape) in known.items():
            tracer.dtypes[name], tracer.shapes[name] = dtype, shape
        return nodes
    if is_integer(node):
        return open_integer(model, node, tracer.shapes)
    opener, chain = opener_of(node, tracer.opset < TARGET), _chain(model, node, tracer.dtypes)
    if opener is None:
        return [node]
    before = len(model.graph.initializer)
    if opener(chain, node, attributes_of(node), tracer.shapes):
        return chain.nodes
    del model.graph.initializer[before:]
    return [node]


def _open_branch(branch: GraphProto, outer: Tracer, unrolled: bool) -> None:
    """Open the nodes of a branch; it reads tensors of the graph around it."""
    inside = ModelProto(ir_version=outer.model.ir_version, opset_import=outer.model.opset_import)
    inside.graph.CopyFrom(branch)
    tracer = Tracer(inside, outer.folder)
    for name, shape in outer.shapes.items():
        tracer.shapes.setdefault(name, shape)
    for name, dtype in outer.dtypes.items():
        tracer.dtypes.setdefault(name, dtype)
    for name in {n for node in inside.graph.node for n in node.input if n and n not in tracer.constants}:
        content = outer.constants.get(name)
        if content is not None:
            tracer.constants.put(name, content)
    _open(inside, tracer, unrolled)
    branch.CopyFrom(inside.graph)


def _write_down(model: ModelProto, tracer: Tracer) -> None:
    """Keep what was inferred: later inference cannot see through operators that stayed."""
    made = {name for node in model.graph.node for name in node.output}
    known = [v for v in model.graph.value_info if v.name in made]
    del model.graph.value_info[:]
    model.graph.value_info.extend(known)
    stated = {v.name for v in (*known, *model.graph.output, *model.graph.input)}
    for name in sorted(made - stated):
        if name and name in tracer.shapes:
            model.graph.value_info.append(helper.make_tensor_value_info(name, tracer.dtypes[name], tracer.shapes[name]))
