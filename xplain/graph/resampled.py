"""A resampling along one axis as a matrix: the operator's own answer to the identity, whatever its mode and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from xplain.graph.runtime import evaluate

__all__ = ["resampling"]

_OF_ALL_AXES = ("axes", "keep_aspect_ratio_policy", "scales")


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
    if scale is not None:
        extra, name = np.array([1, 1, scale, 1], dtype=np.float32), "scales"
        inputs: Sequence[str] = ["x", "scales"] if op == "Upsample" else ["x", "", "scales"]
    else:
        extra, name, inputs = np.array([source, 1, target, 1], dtype=np.int64), "sizes", ["x", "", "", "sizes"]
    kept = {key: value for key, value in attributes.items() if key not in _OF_ALL_AXES}
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
