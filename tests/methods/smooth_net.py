"""A smooth net whose gradient is written down: tanh units over all pixels, in ONNX and in numpy."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import xplain

ITEM = (2, 6, 5)
UNITS = 7


def weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    size = int(np.prod(ITEM))
    return rng.normal(size=(size, UNITS)) / np.sqrt(size), rng.normal(size=UNITS)


def value(x: np.ndarray) -> np.ndarray:
    """``[N, *item]`` to ``[N]``."""
    first, last = weights()
    return np.asarray(np.tanh(2 * x.reshape(len(x), -1) @ first) @ last)


def slope(x: np.ndarray) -> np.ndarray:
    """The gradient, of the shape of ``x``."""
    first, last = weights()
    unit = np.tanh(2 * x.reshape(len(x), -1) @ first)
    return np.asarray((2 * ((1 - unit**2) * last) @ first.T).reshape(x.shape))


def model() -> xplain.Model:
    """The same as a file of two classes, the second of which is the first with its sign turned."""
    first, last = weights()
    stored = {"first": 2 * first, "last": np.stack([last, -last], axis=1)}
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["into"]),
        helper.make_node("Tanh", ["into"], ["units"]),
        helper.make_node("MatMul", ["units", "last"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "smooth",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *ITEM])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in stored.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return xplain.load(made, layout="NCHW")


def items() -> np.ndarray:
    return np.random.default_rng(4).normal(size=(2, *ITEM)).astype(np.float32)
