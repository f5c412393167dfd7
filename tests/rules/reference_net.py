"""One small net, in numpy: strided, padded and grouped convolutions, max and average pooling, two dense layers."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPES = {
    "c1.weight": (6, 3, 3, 3),
    "c1.bias": (6,),
    "c2.weight": (8, 6, 3, 3),
    "c2.bias": (8,),
    "c3.weight": (8, 4, 3, 3),
    "c3.bias": (8,),
    "d1.weight": (7, 8),
    "d1.bias": (7,),
    "d2.weight": (5, 7),
    "d2.bias": (5,),
}
CLASSES = np.array([0, 2])


def weights() -> dict[str, np.ndarray]:
    """The same numbers everywhere: no framework's initialisation."""
    rng = np.random.default_rng(2024)
    scale = {name: np.sqrt(2 / np.prod(dims[1:])) if len(dims) > 1 else 0.1 for name, dims in SHAPES.items()}
    return {name: (rng.normal(size=dims) * scale[name]).astype(np.float32) for name, dims in SHAPES.items()}


def items(count: int = 2) -> np.ndarray:
    """Inputs, all within [-4, 4]."""
    return np.clip(np.random.default_rng(7).normal(size=(count, 3, 14, 14)), -4, 4).astype(np.float32)


def model(biases: bool = True, pool: int = 2) -> onnx.ModelProto:
    """The net in ONNX: input x [N, 3, 14, 14], output y [N, 5]."""
    values = {k: v if biases or k.endswith("weight") else np.zeros_like(v) for k, v in weights().items()}
    windows = {"kernel_shape": [pool, pool], "strides": [2, 2]}
    nodes = [
        helper.make_node("Conv", ["x", "c1.weight", "c1.bias"], ["c1"], name="c1", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="r1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], name="p1", **windows),
        helper.make_node("Conv", ["p1", "c2.weight", "c2.bias"], ["c2"], name="c2", pads=[1] * 4, strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], name="r2"),
        helper.make_node("Conv", ["r2", "c3.weight", "c3.bias"], ["c3"], name="c3", group=2),
        helper.make_node("Relu", ["c3"], ["r3"], name="r3"),
        helper.make_node("GlobalAveragePool", ["r3"], ["p3"], name="p3"),
        helper.make_node("Flatten", ["p3"], ["f"], name="f"),
        helper.make_node("Gemm", ["f", "d1.weight", "d1.bias"], ["d1"], name="d1", transB=1),
        helper.make_node("Relu", ["d1"], ["r4"], name="r4"),
        helper.make_node("Gemm", ["r4", "d2.weight", "d2.bias"], ["y"], name="d2", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "reference",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 14, 14])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
        [numpy_helper.from_array(v, k) for k, v in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
