"""What is known of a graph before it runs: extents of tensors for one item, and the content of constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.core.edits import Array
from xplain.graph.analysis.constants import LARGEST
from xplain.graph.analysis.small import compute

__all__ = ["Weights", "inferred_shapes"]

_SMALL = 4096
"""Constants up to so many elements may decide a shape; the data of larger ones are not shown to shape inference."""


def inferred_shapes(
    model: ModelProto, source: str, shape: tuple[int, ...]
) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Extents (where all are known) and element types of the graph's tensors when input ``source`` has ``shape``."""
    light = ModelProto(ir_version=max(model.ir_version, 4))  # before 4, weights had to be inputs too
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    light.graph.name = "shapes"
    light.graph.node.extend(model.graph.node)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        else:
            kept = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(kept)
    named = {t.name for t in model.graph.initializer}
    for info in model.graph.input:
        if info.name == source:
            kind = info.type.tensor_type.elem_type
            light.graph.input.append(helper.make_tensor_value_info(source, kind, list(shape)))
        elif info.name not in named:
            light.graph.input.append(info)
    # declared extents of outputs may be of another batch
    light.graph.output.extend(helper.make_empty_tensor_value_info(info.name) for info in model.graph.output)
    try:
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception:  # inference raises what its C++ core throws; unknown extents only end the walk early
        graph = light.graph
    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, int] = {}
    for info in (*graph.input, *graph.value_info, *graph.output):
        tensor_type = info.type.tensor_type
        if tensor_type.elem_type:
            dtypes[info.name] = tensor_type.elem_type
        if tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in tensor_type.shape.dim):
            shapes[info.name] = tuple(d.dim_value for d in tensor_type.shape.dim)
    return shapes, dtypes


class Weights:
    """Constants of any size, read when asked for.

    Args:
        model: The model that holds them.
        outside: Content of tensors that is not in the model.
    """

    def __init__(self, model: ModelProto, outside: Mapping[str, Array]) -> None:
        self._tensors: dict[str, TensorProto] = {t.name: t for t in model.graph.initializer}
        self._nodes: dict[str, NodeProto] = {o: n for n in model.graph.node for o in n.output if o}
        self._opsets, self._ir, self._outside = list(model.opset_import), model.ir_version, outside

    def get(self, name: str) -> Array | None:
        """The content of a constant; None where it cannot be computed from constants alone."""
        if name in self._outside:
            return self._outside[name]
        if name in self._tensors:
            return numpy_helper.to_array(self._tensors[name])
        node = self._nodes.get(name)
        if node is None or node.domain not in ("", "ai.onnx") or any(a.HasField("g") for a in node.attribute):
            return None
        feeds: dict[str, Any] = {}
        for source in node.input:
            value = self.get(source) if source else None
            if source and value is None:
                return None
            if source:
                feeds[source] = value
        read = sum(array.size for array in feeds.values())
        return compute(node, feeds, self._opsets, max(LARGEST, 4 * read), self._ir).get(name)
