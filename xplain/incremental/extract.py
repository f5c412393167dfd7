"""Part of a graph as a model of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import ModelProto, NodeProto, TensorProto, helper

from xplain.graph.operators import facts_of

__all__ = ["ancestors", "part_of", "refuses"]


def refuses(model: ModelProto) -> str | None:
    """Why no part of this model can be reused between masks; None where it can."""
    for node in model.graph.node:
        if facts_of(node).random:
            return f"operator {node.op_type} ({node.name or node.output[0]}) is random"
        if facts_of(node).control:
            return f"operator {node.op_type} ({node.name or node.output[0]}) holds a graph of its own"
        if node.op_type == "Dropout" and any(a.name == "training_mode" and a.i for a in node.attribute):
            return f"Dropout ({node.name or node.output[0]}) is in training mode"
    return None


def ancestors(model: ModelProto, outputs: Iterable[str], stops: Iterable[str] = ()) -> list[NodeProto]:
    """The nodes that ``outputs`` need, in order, not looking behind the tensors ``stops``."""
    makers = {name: k for k, node in enumerate(model.graph.node) for name in node.output if name}
    stops = set(stops)
    wanted: set[int] = set()
    open_ = [name for name in outputs if name not in stops]
    while open_:
        name = open_.pop()
        k = makers.get(name)
        if k is None or k in wanted:
            continue
        wanted.add(k)
        open_.extend(source for source in model.graph.node[k].input if source and source not in stops)
    return [model.graph.node[k] for k in sorted(wanted)]


def part_of(
    model: ModelProto, inputs: Mapping[str, tuple[int | str, ...]], outputs: Iterable[str], name: str
) -> ModelProto:
    """The model that computes ``outputs`` from ``inputs`` (float32, by extent), with the weights it needs."""
    outputs = list(outputs)
    nodes = ancestors(model, outputs, inputs)
    used = {source for node in nodes for source in node.input}
    made = {o for node in nodes for o in node.output} | set(inputs)
    part = ModelProto(ir_version=model.ir_version)
    part.opset_import.extend(model.opset_import)
    part.functions.extend(model.functions)
    part.graph.name = name
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(t for t in model.graph.initializer if t.name in used)
    weights = {t.name for t in part.graph.initializer}
    part.graph.input.extend(
        helper.make_tensor_value_info(source, TensorProto.FLOAT, list(extent)) for source, extent in inputs.items()
    )
    part.graph.input.extend(
        info for info in model.graph.input if info.name in used and info.name not in weights and info.name not in made
    )
    kinds = {info.name: info for info in model.graph.output}
    part.graph.output.extend(
        kinds[o] if o in kinds else helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs
    )
    return part
