"""A resampling along one axis as a matrix: the operator's own answer to the identity, whatever its mode and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.graph.nodes import attribute, opset_of
from xplain.graph.runtime import evaluate

__all__ = ["resampling", "scales_at", "scales_of"]

_OF_ALL_AXES = ("axes", "keep_aspect_ratio_policy", "scales")


def scales_at(node: NodeProto) -> int:
    """Which input of a Resize or an Upsample states its scales: of opset 10 the second, of later ones the third."""
    return 1 if node.op_type == "Upsample" or len(node.input) == 2 else 2


def scales_of(node: NodeProto) -> tuple[Any, str]:
    """The scales that a Resize or an Upsample states: as an attribute (opset 7 and 8), or the name of its input."""
    at = scales_at(node)
    return attribute(node, "scales"), node.input[at] if at < len(node.input) else ""


def resampling(
    op: str,
    attributes: Mapping[str, Any],
    scale: float | None,
    extents: tuple[int, int],
    like: ModelProto,
) -> np.ndarray[Any, Any]:
    """The matrix ``[target, source]`` of a ``Resize`` or ``Upsample`` along one axis.

    Args:
        op: The operator.
        attributes: Of the node.
        scale: Along the axis; None where the node states sizes.
        extents: Source and target.
        like: Whose operator sets are used.
    """
    source, target = extents
    opset = opset_of(like)
    kept = {key: value for key, value in attributes.items() if key not in _OF_ALL_AXES}
    if scale is not None:
        extra, name = np.array([1, 1, scale, 1], dtype=np.float32), "scales"
        inputs: Sequence[str] = ["x", "scales"] if op == "Upsample" or opset == 10 else ["x", "", "scales"]
        if opset < 9:
            inputs, kept["scales"] = ["x"], extra.tolist()
    else:
        extra, name, inputs = np.array([source, 1, target, 1], dtype=np.int64), "sizes", ["x", "", "", "sizes"]
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], **kept)],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [source, 1, source, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(extra, name)],
    )
    model = helper.make_model(graph, opset_imports=list(like.opset_import), ir_version=like.ir_version)
    identity = np.eye(source, dtype=np.float32).reshape(source, 1, source, 1)
    return np.asarray(evaluate(model, {"x": identity})[0]).reshape(source, target).T
