"""Replace operators by their definition: a model's own functions, and standard operators that have no rule."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, NodeProto, helper, inliner

from xplain.graph.analysis.inference import infer_model
from xplain.graph.naming import branches_of
from xplain.graph.nodes import opset_of
from xplain.graph.operators import facts_of, operators

__all__ = ["inline_local", "open_functions"]


def inline_local(model: ModelProto) -> ModelProto:
    """The model without functions of its own."""
    return inliner.inline_local_functions(model) if model.functions else model


def open_functions(model: ModelProto, composite: bool = False) -> ModelProto:
    """Replace standard operators that have a definition and no rule; with ``composite`` also those of that kind."""
    opset = opset_of(model)
    for _ in range(4):  # a definition may use an operator that has to be opened in turn
        used = {node.op_type for node in _nodes(model.graph) if node.domain in ("", "ai.onnx")}
        without = {name for name in used if name not in operators() and not facts_of(name).flat}
        todo = without | {name for name in used if composite and facts_of(name).composite}
        todo = {name for name in todo if _defined(name, opset)}
        if not todo:
            break
        _state_defaults(model, todo, opset)
        known = {info.name for info in model.graph.value_info}
        model.graph.value_info.extend(  # definitions that depend on types look them up here alone
            helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
            for t in model.graph.initializer
            if t.name not in known
        )
        model = inliner.inline_selected_functions(model, [("", name) for name in todo], inline_schema_functions=True)
        model = infer_model(model)
    return model


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of a graph and of the branches inside it, which the inliner opens too."""
    for node in graph.node:
        yield node
        for branch in branches_of(node):
            yield from _nodes(branch)


def _defined(name: str, opset: int) -> bool:
    """Whether a standard operator is defined by simpler ones."""
    try:
        schema = onnx.defs.get_schema(name, opset, "")
    except onnx.defs.SchemaError:
        return False
    return any(getattr(schema, kind) for kind in ("has_function", "has_context_dependent_function"))


def _state_defaults(model: ModelProto, names: set[str], opset: int) -> None:
    """Write down attributes that were left at their default: the inliner does not fill them in."""
    for node in _nodes(model.graph):
        if node.op_type in names and node.domain in ("", "ai.onnx"):
            schema = onnx.defs.get_schema(node.op_type, opset, "")
            stated = {attribute.name for attribute in node.attribute}
            node.attribute.extend(
                declared.default_value
                for name, declared in schema.attributes.items()
                if name not in stated and declared.default_value.type
            )
