"""Raise a model to an opset for which every rule is written."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, numpy_helper, version_converter

from xplain.graph.analysis.inference import InferenceError, infer_model
from xplain.graph.dtypes import FLOATS
from xplain.graph.nodes import attributes_of, opset_of

__all__ = ["TARGET", "raise_opset"]

TARGET = 18
"""Reductions take their axes as an input from here on, and scatters can add; widely read by runtimes and browsers."""

_IR = 8

_APART = "xplain.apart"
"""The domain of operators that are not converted, while the others are."""


def raise_opset(model: ModelProto, notes: list[str]) -> ModelProto:
    """The model at opset 18 or its own newer one; where the converter fails, the model as it is, and a note says so."""
    # first, because IR 3 wants initializers among the inputs, which breaks the converter
    model.ir_version = max(model.ir_version, _IR)
    have = opset_of(model)
    if have >= TARGET:
        return model
    early = ModelProto()
    early.CopyFrom(model)
    kinds = _kinds(model)
    _open_scalers(early, kinds)
    strange = _strange(early, have)
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
    for node in raised.graph.node:
        node.domain = "" if node.domain == _APART else node.domain
    kept = [entry for entry in raised.opset_import if entry.domain != _APART]
    del raised.opset_import[:]
    raised.opset_import.extend(kept)
    names = {tensor.name for tensor in raised.graph.initializer}
    keep = [v for v in raised.graph.input if v.name not in names]
    del raised.graph.input[:]
    raised.graph.input.extend(keep)
    return raised


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


def _open_scalers(model: ModelProto, kinds: Mapping[str, int]) -> None:
    """ImageScaler, ``scale x + bias[c]``, was an experiment of the first opsets, and no converter knows it."""
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.op_type != "ImageScaler" or node.domain not in ("", "ai.onnx"):
            nodes.append(node)
            continue
        stated = attributes_of(node)
        dtype = helper.tensor_dtype_to_np_dtype(kinds.get(node.input[0]) or TensorProto.FLOAT)
        out = node.output[0]
        numbers = {"scale": np.array(stated.get("scale", 1.0)), "bias": np.reshape(stated["bias"], (-1, 1, 1))}
        for name, value in numbers.items():
            model.graph.initializer.append(numpy_helper.from_array(value.astype(dtype), f"{out}/opened/{name}"))
        nodes.append(helper.make_node("Mul", [node.input[0], f"{out}/opened/scale"], [f"{out}/opened/scaled"]))
        nodes.append(helper.make_node("Add", [f"{out}/opened/scaled", f"{out}/opened/bias"], [out], node.name))
    if len(nodes) != len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(nodes)


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
