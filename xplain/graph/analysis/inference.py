"""Element types and shapes by ONNX's own inference: the only place that asks it, of one node or of a whole model.

    infer_node(node, kinds, content, imports)   # {"y": (FLOAT, ("N", 64, 56, 56))}
    infer_model(model)                          # what can be known of every tensor, in value_info

Networks repeat themselves, and so do the sweeps through them: most nodes have the operator, the attributes and the
input shapes of another one. So what was found is remembered by these, not by the node, and is shared by loading, passes
and sweeps of every model; and what an operator says at a glance (``plain_kinds``) is not asked. Of a net of 102 nodes
like MobileNetV2's ONNX is asked about 6 on loading, about 6 in the first sweep, beside the whole model twice, and about
14 for LRP behind it: ``tests/graph/test_inference.py`` counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, TypeProto, defs, helper, numpy_helper
from onnx import shape_inference as onnx_inference

from xplain.core.edits import Array
from xplain.graph.analysis.plain_kinds import plain_kind
from xplain.graph.naming import subgraphs_of

InferenceError = onnx_inference.InferenceError
"""What ``infer_model`` raises where a model contradicts itself."""

__all__ = ["InferenceError", "Kind", "infer_model", "infer_node", "kind_of"]

Kind: TypeAlias = "tuple[int, tuple[int | str | None, ...] | None]"
"""Element type (0: not known, or no tensor) and shape: numbers, names of free extents, None where one is not known."""

_FEW = 16  # elements of a constant of real numbers that may say how large something becomes: scales, a range's bounds
_SHORT = 4096  # bytes of attributes and constants up to which a node is remembered

_Content: TypeAlias = "tuple[str, tuple[int, ...], bytes]"


def kind_of(kind: TypeProto) -> Kind:
    """The element type and the shape that a type states."""
    tensor = kind.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    dims = (int(d.dim_value) if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim)
    return tensor.elem_type, tuple(dims)


def infer_model(model: ModelProto) -> ModelProto:
    """A copy of a model with what ONNX can tell of its tensors, shape arithmetic included, in ``value_info``."""
    try:
        return onnx_inference.infer_shapes(model, data_prop=True)
    except InferenceError:
        return onnx_inference.infer_shapes(model)


def infer_node(
    node: NodeProto,
    kinds: Mapping[str, Kind],
    content: Mapping[str, Array],
    imports: Sequence[OperatorSetIdProto],
    ir: int | None = None,
) -> dict[str, Kind] | None:
    """Element type and shape of each output; None where ONNX does not know the operator, or finds the node damaged.

    Args:
        node: The node.
        kinds: Of its inputs.
        content: What its constant inputs hold, as far as that is known; only what may decide a shape is looked at.
        imports: The versions of the operators.
        ir: The version of the format; None for the newest.
    """
    if node.op_type == "Constant" and not node.domain and [a.name for a in node.attribute] == ["value"]:
        tensor = node.attribute[0].t
        return {node.output[0]: (tensor.data_type, tuple(int(d) for d in tensor.dims))}
    versions = tuple((entry.domain, int(entry.version)) for entry in imports)
    if node.domain in ("", "ai.onnx"):
        kind = plain_kind(node, kinds, next((v for name, v in versions if name in ("", "ai.onnx")), 0))
        if kind is not None:
            return {node.output[0]: kind}
    attributes = tuple(attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
    shown = tuple(_shown(content.get(name)) for name in node.input)
    signature = (
        (node.domain, node.op_type, len(node.output)),
        attributes,
        tuple(kinds[name] if name else None for name in node.input),
        shown,
        versions,
        ir,
    )
    size = sum(map(len, attributes)) + sum(len(one[2]) for one in shown if one is not None)
    short = size <= _SHORT and not subgraphs_of(node)
    found = (_inferred if short else _inferred.__wrapped__)(*signature)
    if found is None:
        return None
    return {name: kind for name, kind in zip(node.output, found, strict=True) if name and kind is not None}


def _shown(content: Array | None) -> _Content | None:
    """A constant as inference is shown it: whole numbers, and few real ones."""
    if content is None or not (content.dtype.kind in "iu" or (content.dtype.kind == "f" and content.size <= _FEW)):
        return None
    return content.dtype.str, content.shape, content.tobytes()


@lru_cache(maxsize=1 << 12)
def _inferred(
    operator: tuple[str, str, int],
    attributes: tuple[bytes, ...],
    kinds: tuple[Kind | None, ...],
    content: tuple[_Content | None, ...],
    versions: tuple[tuple[str, int], ...],
    ir: int | None,
) -> tuple[Kind | None, ...] | None:
    """What ONNX says of a node of this operator; tensors are called by their places."""
    domain, op, outputs = operator
    node = NodeProto(op_type=op, domain=domain)
    node.input.extend("" if kind is None else f"i{k}" for k, kind in enumerate(kinds))
    node.output.extend(f"o{k}" for k in range(outputs))
    node.attribute.extend(AttributeProto.FromString(one) for one in attributes)
    types, data = {}, {}
    for k, kind in enumerate(kinds):
        if kind is not None:
            types[f"i{k}"] = helper.make_tensor_type_proto(*kind)
            held = content[k]
            if held is not None:
                array = np.frombuffer(held[2], np.dtype(held[0])).reshape(held[1])
                data[f"i{k}"] = numpy_helper.from_array(array, f"i{k}")
    imports = [helper.make_opsetid(*one) for one in versions]
    known: dict[str, Any] = {} if ir is None else {"ir_version": ir}
    try:
        version = next((v for name, v in versions if (name or "ai.onnx") == (domain or "ai.onnx")), 1)
        schema = defs.get_schema(op, version, "" if domain == "ai.onnx" else domain)
        found = onnx_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports, **known)
    except Exception:  # a node that is unknown, newer or damaged; onnx raises many classes for these
        return None
    return tuple(kind_of(found[name]) if name in found else None for name in node.output)
