"""Take the weights out of a model while it is worked on, so that a model of any size is never copied."""

from __future__ import annotations

import math

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

__all__ = ["put_back", "take_out"]

_SMALL = 256
"""Tensors of up to this many elements stay: shapes, axes and scales are read by the passes."""


def take_out(model: ModelProto) -> tuple[ModelProto, dict[str, TensorProto]]:
    """A copy of a model in which large initializers and constants have no content, and the originals by name.

    Initializers that are listed among the inputs, as old exporters do, are no longer inputs.
    """
    weights: dict[str, TensorProto] = {}
    light = ModelProto()
    for name in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        setattr(light, name, getattr(model, name))
    for name in ("opset_import", "metadata_props", "functions"):
        getattr(light, name).extend(getattr(model, name))
    graph, source = light.graph, model.graph
    graph.name = source.name
    for node in source.node:
        graph.node.add().CopyFrom(_without_content(node, weights, graph))
    for tensor in source.initializer:
        if _large(tensor):
            weights[tensor.name] = tensor
            graph.initializer.add(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
        else:
            graph.initializer.add().CopyFrom(tensor)
    names = {tensor.name for tensor in graph.initializer}
    graph.input.extend(v for v in source.input if v.name not in names)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    return light, weights


def put_back(light: ModelProto, weights: dict[str, TensorProto]) -> ModelProto:
    """A copy of a model with the content of its weights."""
    whole = ModelProto()
    whole.CopyFrom(light)
    del whole.graph.initializer[:]
    for tensor in light.graph.initializer:
        whole.graph.initializer.add().CopyFrom(weights.get(tensor.name, tensor))
    return whole


def _large(tensor: TensorProto) -> bool:
    return bool(math.prod(tensor.dims) > _SMALL)


def _without_content(node: NodeProto, weights: dict[str, TensorProto], graph: GraphProto) -> NodeProto:
    """The node itself, or, for a large constant, an identity of an initializer."""
    if node.op_type != "Constant" or not node.attribute or node.attribute[0].type != AttributeProto.TENSOR:
        return node
    tensor = node.attribute[0].t
    if not _large(tensor):
        return node
    name = f"{node.output[0]}/content"
    weights[name] = TensorProto()
    weights[name].CopyFrom(tensor)
    weights[name].name = name
    graph.initializer.add(name=name, data_type=tensor.data_type, dims=tensor.dims)
    return NodeProto(op_type="Identity", name=node.name, input=[name], output=[node.output[0]])
