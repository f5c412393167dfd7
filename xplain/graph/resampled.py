"""A resampling along one axis as a matrix: the operator's own answer to the identity, whatever its mode and rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.graph.nodes import attribute, opset_of
from xplain.graph.runtime import evaluate

__all__ = ["resamplings", "scales_at", "scales_of"]

_OF_ALL_AXES = ("axes", "scales")
_NO_EMPTY_NAME = (11, 12)
"""The opsets whose Resize must be given a region and scales, empty arrays where it uses none."""
_MOST_ELEMENTS = 1 << 27
"""Of a plane for each position of an axis, resampled at once."""


def scales_at(node: NodeProto) -> int:
    """Which input of a Resize or an Upsample states its scales: of opset 10 the second, of later ones the third."""
    return 1 if node.op_type == "Upsample" or len(node.input) == 2 else 2


def scales_of(node: NodeProto) -> tuple[Any, str]:
    """The scales that a Resize or an Upsample states: as an attribute (opset 7 and 8), or the name of its input."""
    at = scales_at(node)
    return attribute(node, "scales"), node.input[at] if at < len(node.input) else ""


def resamplings(
    op: str,
    attributes: Mapping[str, Any],
    stated: tuple[Sequence[float] | None, Sequence[int] | None],
    shapes: tuple[Sequence[Any], Sequence[Any]],
    like: ModelProto,
) -> dict[int, np.ndarray[Any, Any]] | None:
    """The matrix ``[target, source]`` of every axis that a ``Resize`` or ``Upsample`` resamples, the batch aside.

    An axis may be resampled and keep its extent: 5 positions times 1.15 are 5 others. Where no extent changes, ONNX
    Runtime copies its input, whatever the scales say.

    Args:
        op: The operator.
        attributes: Of the node.
        stated: The scales and the sizes of the node, one of each axis that it names; None or empty where not stated.
        shapes: Before and after; extents behind the batch are known.
        like: Whose operator sets are used.

    Returns:
        Matrices by axis; None where it is not known where positions come from.
    """
    before, after = shapes
    if list(before[1:]) == list(after[1:]):
        return {}
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        return None
    named = attributes.get("axes")
    order = list(range(len(before))) if named is None else [a % len(before) for a in named]
    scales, sizes = (dict(zip(order, some if some is not None else (), strict=False)) for some in stated)
    policy = attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and not scales:
        return _keeping_the_aspect(policy, attributes, sizes, before, like)
    return {
        axis: _resampling(op, attributes, scales.get(axis), (before[axis], after[axis]), like)
        for axis in range(1, len(before))
        if before[axis] != after[axis] or scales.get(axis, 1.0) != 1.0
    }


def _keeping_the_aspect(
    policy: str, attributes: Mapping[str, Any], sizes: Mapping[int, float], before: Sequence[Any], like: ModelProto
) -> dict[int, np.ndarray[Any, Any]] | None:
    """All axes grow by the factor of one of them, which stands beside each in the plane that is resampled."""
    if not sizes or any(not isinstance(before[axis], int) for axis in sizes):
        return None
    leads = (min if policy == "not_larger" else max)(sizes, key=lambda axis: sizes[axis] / before[axis])
    kept = {key: value for key, value in attributes.items() if key not in _OF_ALL_AXES} | {"axes": [2, 3]}
    found = {}
    for axis in (axis for axis in sizes if axis):
        extents = before[axis], before[leads]
        if extents[0] * max(extents[0], sizes[axis]) * max(extents[1], sizes[leads]) > _MOST_ELEMENTS:
            return None
        identity = np.eye(extents[0], dtype=np.float32)[:, None, :, None].repeat(extents[1], 3)
        given = {"sizes": np.array([sizes[axis], sizes[leads]], dtype=np.int64)}
        found[axis] = _answered("Resize", ["x", "", "", "sizes"], kept, given, identity, like)
    return found


def _resampling(
    op: str,
    attributes: Mapping[str, Any],
    scale: float | None,
    extents: tuple[int, int],
    like: ModelProto,
) -> np.ndarray[Any, Any]:
    """The matrix of one axis; ``scale`` is None where the node states sizes.

    The identity has a second axis that is enlarged too, so that it is never copied as it is.
    """
    source, target = extents
    opset = opset_of(like)
    kept = {key: value for key, value in attributes.items() if key not in _OF_ALL_AXES}
    empty = ["none"] if opset in _NO_EMPTY_NAME else [""]
    stored = {"none": np.zeros(0, np.float32)} if opset in _NO_EMPTY_NAME else {}
    if scale is not None:
        stored["scales"] = np.array([1, 1, scale, 2], dtype=np.float32)
        inputs: Sequence[str] = ["x", "scales"] if op == "Upsample" or opset == 10 else ["x", *empty, "scales"]
        if opset < 9:
            inputs, kept["scales"] = ["x"], stored.pop("scales").tolist()
    else:
        stored["sizes"] = np.array([source, 1, target, 2], dtype=np.int64)
        inputs = ["x", *empty, *empty, "sizes"]
    identity = np.eye(source, dtype=np.float32).reshape(source, 1, source, 1)
    return _answered(op, inputs, kept, stored, identity, like)


def _answered(
    op: str,
    inputs: Sequence[str],
    attributes: Mapping[str, Any],
    stored: Mapping[str, np.ndarray[Any, Any]],
    identity: np.ndarray[Any, Any],
    like: ModelProto,
) -> np.ndarray[Any, Any]:
    """The operator's answer to ``identity`` ``[source, 1, source, any]``: the matrix of its second last axis."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["y"], **attributes)],
        "probe",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, identity.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=list(like.opset_import), ir_version=like.ir_version)
    return np.asarray(evaluate(model, {"x": identity})[0])[:, 0, :, 0].T
