"""Raise a model to an opset for which every rule is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper, version_converter

from xplain.graph.analysis.inference import InferenceError, infer_model
from xplain.graph.dtypes import FLOATS
from xplain.graph.nodes import attributes_of, opset_of

__all__ = ["TARGET", "raise_opset"]

TARGET = 18
"""Reductions take their axes as an input from here on, and scatters can add; widely read by runtimes and browsers."""

_IR = 8

_FIRST_RESIZE = 10
"""The opset whose Resize takes its scales as the second input and has one rule for coordinates."""

_ONE_AXIS = 13
"""The opset from which on a softmax and a hardmax run over one axis."""

_APART = "xplain.apart"
"""The domain of operators that are not converted, while the others are."""


def raise_opset(model: ModelProto, notes: list[str]) -> ModelProto:
    """The model at opset 18 or its own newer one; where the converter fails, the model as it is, and a note says so."""
    # first, because IR 3 wants initializers among the inputs, which breaks the converter
    model.ir_version = max(model.ir_version, _IR)
    have = opset_of(model)
    if have >= TARGET:
        return model
    if _both_ways(model.graph, have):
        notes.append(f"The model stays at opset {have}: a Resize enlarges one axis and makes another smaller.")
        return model
    early = ModelProto()
    early.CopyFrom(model)
    kinds = _kinds(model)
    _open(early, kinds, have)
    strange = _reformed(early.graph, have) + _strange(early, have)
    for node in strange:
        node.domain = _APART
    if strange:
        early.opset_import.append(helper.make_opsetid(_APART, 1))
    try:
        raised = version_converter.convert_version(early, TARGET)
    except Exception as error:  # the converter raises RuntimeError and bare C++ errors alike
        reason = str(error).strip().splitlines()
        notes.append(
            f"The model stays at opset {have}: it could not be converted to {TARGET} "
            f"({(reason or [type(error).__name__])[-1][:200]})."
        )
        return model
    raised.ir_version = max(raised.ir_version, _IR)
    _match_numbers(raised, kinds)
    _taken_back(raised.graph)
    kept = [entry for entry in raised.opset_import if entry.domain != _APART]
    del raised.opset_import[:]
    raised.opset_import.extend(kept)
    names = {tensor.name for tensor in raised.graph.initializer}
    keep = [v for v in raised.graph.input if v.name not in names]
    del raised.graph.input[:]
    raised.graph.input.extend(keep)
    return raised


def _taken_back(graph: GraphProto) -> None:
    """Put what was set aside back into the standard domain."""
    for node in graph.node:
        node.domain = "" if node.domain == _APART else node.domain
        for inner in [one.g for one in node.attribute if one.HasField("g")]:
            _taken_back(inner)


def _kinds(model: ModelProto) -> dict[str, int]:
    """Element types of the tensors, as far as inference sees them."""
    try:
        graph = infer_model(model).graph
    except (InferenceError, RuntimeError):
        graph = model.graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


def _match_numbers(model: ModelProto, kinds: Mapping[str, int]) -> None:
    """Give numbers that were attributes the type of what they belong to: the converter makes them float32, always.

    So bounds of a Clip and what a Pad fills with; ONNX Runtime refuses both in a model of half precision.
    """
    graph = model.graph
    made = {node.output[0]: node for node in graph.node if node.op_type == "Constant"}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    fresh: dict[tuple[str, int], str] = {}
    for node in graph.node:
        kind = kinds.get(node.input[0], kinds.get(node.output[0])) if node.input else None
        if kind not in FLOATS or kind == TensorProto.FLOAT:
            continue
        for k in _alike(node):
            name = node.input[k]
            held = next((a.t for a in made[name].attribute if a.name == "value"), None) if name in made else None
            held = stored.get(name, held)
            if held is None or held.data_type != TensorProto.FLOAT:
                continue
            if (name, kind) not in fresh:
                fresh[name, kind] = f"{name}/as_{TensorProto.DataType.Name(kind).lower()}"
                content = numpy_helper.to_array(held).astype(helper.tensor_dtype_to_np_dtype(kind))
                graph.initializer.append(numpy_helper.from_array(content, fresh[name, kind]))
            node.input[k] = fresh[name, kind]


def _alike(node: NodeProto) -> list[int]:
    """The inputs behind the first that must have its type."""
    if node.domain not in ("", "ai.onnx") or not defs.has(node.op_type, TARGET, ""):
        return []
    kinds = [one.type_str for one in defs.get_schema(node.op_type, TARGET, "").inputs]
    return [k for k in range(1, min(len(node.input), len(kinds))) if node.input[k] and kinds[k] == kinds[0]]


def _open(model: ModelProto, kinds: Mapping[str, int], opset: int) -> None:
    """Write nodes that no converter knows as others: ImageScaler, and Hardmax as it was before opset 13.

    ``ImageScaler``, ``scale x + bias[c]``, was an experiment of the first opsets. ``Hardmax`` looked for the largest
    number of all axes from its own on.
    """
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type == "ImageScaler" and node.domain in ("", "ai.onnx"):
            nodes += _scaled(model.graph, node, kinds)
        elif node.op_type == "Hardmax" and node.domain in ("", "ai.onnx") and opset < _ONE_AXIS:
            flat, shape, out = (f"{node.output[0]}/opened/{part}" for part in ("flat", "shape", "largest"))
            nodes.append(helper.make_node("Shape", [node.input[0]], [shape]))
            nodes.append(helper.make_node("Flatten", [node.input[0]], [flat], axis=attributes_of(node).get("axis", 1)))
            nodes.append(helper.make_node("Hardmax", [flat], [out], axis=1))
            nodes.append(helper.make_node("Reshape", [out, shape], [node.output[0]], node.name))
        else:
            nodes.append(node)
    if len(nodes) != len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(nodes)


def _scaled(graph: GraphProto, node: NodeProto, kinds: Mapping[str, int]) -> list[NodeProto]:
    stated = attributes_of(node)
    dtype = helper.tensor_dtype_to_np_dtype(kinds.get(node.input[0]) or TensorProto.FLOAT)
    out = node.output[0]
    numbers = {"scale": np.array(stated.get("scale", 1.0)), "bias": np.reshape(stated["bias"], (-1, 1, 1))}
    for name, value in numbers.items():
        graph.initializer.append(numpy_helper.from_array(value.astype(dtype), f"{out}/opened/{name}"))
    scaled = helper.make_node("Mul", [node.input[0], f"{out}/opened/scale"], [f"{out}/opened/scaled"])
    return [scaled, helper.make_node("Add", [f"{out}/opened/scaled", f"{out}/opened/bias"], [out], node.name)]


def _reformed(graph: GraphProto, opset: int) -> list[NodeProto]:
    """Nodes that the converter would get wrong, written as the target opset has them; it is to leave them alone.

    - Upsample, and Resize of opset 10, count from the corner of a pixel. The converter lets a linear one count from the
      middle, which newer files mean where they say nothing: another net, whose scores are not the file's.
    - What Upsample and Scatter make would have another name behind the converter.
    - Pad by reflected or repeated values may state a number that it does not use, which is refused today.
    """
    found = []
    for node in graph.node:
        for inner in [one.g for one in node.attribute if one.HasField("g")]:
            found += _reformed(inner, opset)
        if node.domain not in ("", "ai.onnx"):
            continue
        if node.op_type == "Upsample" or (node.op_type == "Resize" and opset == _FIRST_RESIZE):
            _resize(graph, node)
            found.append(node)
        elif node.op_type == "Scatter":
            node.op_type = "ScatterElements"
            found.append(node)
        elif node.op_type == "Pad" and attributes_of(node).get("mode", "constant") != "constant":
            kept = [one for one in node.attribute if one.name != "value"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return found


def _scales(graph: GraphProto, name: str) -> np.ndarray[Any, Any]:
    """The scales that a tensor holds; 2 where they are known only at run time."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    made = [node for node in graph.node if node.op_type == "Constant"]
    stored |= {node.output[0]: one.t for node in made for one in node.attribute if one.name == "value"}
    return numpy_helper.to_array(stored[name]).ravel() if name in stored else np.full(4, 2.0)


def _both_ways(graph: GraphProto, opset: int) -> bool:
    """Whether a nearest Resize of opset 10 enlarges one axis and makes another smaller, which no later one can."""
    for node in graph.node:
        if node.op_type == "Resize" and opset == _FIRST_RESIZE and attributes_of(node).get("mode") != "linear":
            scales = _scales(graph, node.input[1])
            if scales.min() < 1.0 < scales.max():
                return True
    return False


def _resize(graph: GraphProto, node: NodeProto) -> None:
    """Write an old resampling as the Resize of today."""
    stated = attributes_of(node)
    if len(node.input) < 2:
        name = f"{node.output[0]}/scales"
        graph.initializer.append(numpy_helper.from_array(np.array(stated["scales"], np.float32), name))
        node.input.append(name)
    mode = stated.get("mode", "nearest")
    del node.attribute[:]
    # the runtime takes the element before when it enlarges, and the one behind when it makes smaller
    smaller = _scales(graph, node.input[1]).max() <= 1.0
    rule = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil" if smaller else "floor"}
    rule["mode"] = "linear" if mode == "bilinear" else mode
    node.attribute.extend(helper.make_attribute(key, value) for key, value in rule.items())
    node.op_type = "Resize"
    data, scales = node.input[:2]
    node.input[:] = [data, "", scales]


def _strange(model: ModelProto, opset: int) -> list[NodeProto]:
    """Nodes of the standard domain that its opset does not have yet, or that onnxruntime puts there at any opset.

    The converter gives up at them: files that the runtime saved have LayerNormalization at opset 14. They mean the same
    at the newer one.
    """
    return [
        node
        for node in model.graph.node
        if node.domain in ("", "ai.onnx")
        and not defs.has(node.op_type, opset, "")
        and (defs.has(node.op_type, TARGET, "") or node.op_type == "SimplifiedLayerNormalization")
    ]
