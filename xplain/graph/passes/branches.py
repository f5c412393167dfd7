"""If nodes whose condition is known: keep the branch that is taken."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import ModelProto, TensorProto

from xplain.graph.build.tracer import Tracer
from xplain.graph.naming import inlined
from xplain.graph.passes.shapes import infer

__all__ = ["open_constant_branches"]


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
