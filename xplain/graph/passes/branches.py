"""If nodes whose condition is known: keep the branch that is taken."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from xplain.graph.build.tracer import Tracer
from xplain.graph.naming import rename_reads
from xplain.graph.passes.shapes import infer

__all__ = ["branches_of", "inlined", "open_constant_branches"]


def branches_of(node: NodeProto) -> list[GraphProto]:
    """The branches of an If."""
    return [a.g for a in node.attribute if a.HasField("g")] if node.op_type == "If" else []


def open_constant_branches(model: ModelProto, weights: Mapping[str, TensorProto], folder: str) -> None:
    """Replace every If whose condition is a constant by the nodes of its branch; exporters leave many of them."""
    for _ in range(8):  # branches may be nested
        if not any(node.op_type == "If" for node in model.graph.node):
            return
        constants = Tracer(model, folder, weights).constants
        nodes, changed = [], False
        for node in model.graph.node:
            condition = constants.get(node.input[0]) if node.op_type == "If" else None
            if condition is None:
                nodes.append(node)
                continue
            changed = True
            wanted = "then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"
            branch = next(a.g for a in node.attribute if a.name == wanted)
            nodes.extend(inlined(model.graph, branch, node, f"{node.name or node.output[0]}/{wanted}"))
        if not changed:
            return
        del model.graph.node[:]
        model.graph.node.extend(nodes)
        infer(model)


def inlined(graph: GraphProto, branch: GraphProto, node: NodeProto, prefix: str) -> list[NodeProto]:
    """The nodes of a branch under new names, with the If node's outputs; its initializers go into ``graph``."""
    inside = {name: f"{prefix}/{name}" for inner in branch.node for name in inner.output if name}
    inside.update((tensor.name, f"{prefix}/{tensor.name}") for tensor in branch.initializer)
    for tensor in branch.initializer:
        moved = graph.initializer.add()
        moved.CopyFrom(tensor)
        moved.name = inside[tensor.name]
    found = []
    for inner in branch.node:
        copy = NodeProto()
        copy.CopyFrom(inner)
        copy.name = f"{prefix}/{inner.name or inner.output[0]}"
        rename_reads(copy, inside)
        for k, name in enumerate(copy.output):
            copy.output[k] = inside.get(name, name)
        found.append(copy)
    for outer, result in zip(node.output, branch.output, strict=False):
        if outer:
            found.append(helper.make_node("Identity", [inside.get(result.name, result.name)], [outer], name=outer))
    return found
