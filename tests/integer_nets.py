"""Small classifiers, and what onnxruntime's own quantiser makes of them: QDQ and QOperator form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

SIZE, CLASSES = 32, 3
N = helper.make_node


def trunk(form: str) -> onnx.ModelProto:
    """A small classifier [N, 3, 32, 32] -> [N, 3] with one kind of joint, head and activation."""
    rng = np.random.default_rng(7)

    def normal(*shape: int) -> np.ndarray[Any, Any]:
        return (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)

    weights = {"a": normal(8, 3, 3, 3), "ab": normal(8) / 4, "b": normal(8, 8, 3, 3), "bb": normal(8) / 4}
    act = "LeakyRelu" if form == "leaky" else "Relu"
    slope = {"alpha": 0.1} if form == "leaky" else {}
    nodes = [
        N("Conv", ["x", "a", "ab"], ["c1"], pads=[1] * 4),
        N(act, ["c1"], ["r1"], **slope),
        N("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        N("Conv", ["p1", "b", "bb"], ["c2"], pads=[1] * 4),
        N(act, ["c2"], ["r2"], **slope),
    ]
    wide = 16 if form == "concat" else 8
    nodes.append(N("Concat", ["r2", "p1"], ["s"], axis=1) if form == "concat" else N("Add", ["r2", "p1"], ["s"]))
    nodes.append(N("AveragePool", ["s"], ["s2"], kernel_shape=[2, 2], strides=[2, 2]))
    weights |= {"c": normal(8, wide, 3, 3), "cb": normal(8) / 4, "d": normal(8, CLASSES), "db": normal(CLASSES)}
    nodes += [N("Conv", ["s2", "c", "cb"], ["c3"], pads=[1] * 4), N("Relu", ["c3"], ["r3"])]
    nodes += [N("GlobalAveragePool", ["r3"], ["g"]), N("Flatten", ["g"], ["f"])]
    if form == "matmul":
        nodes.append(N("MatMul", ["f", "d"], ["l"]))
    else:
        nodes.append(N("Gemm", ["f", "d", "db"], ["l"]))
    if form != "residual":
        nodes.append(N("Softmax", ["l"], ["y"], axis=1))
    end = "l" if form == "residual" else "y"
    ends = {"x": (nets.FLOAT, ["N", 3, SIZE, SIZE])}, {end: (nets.FLOAT, ["N", CLASSES])}
    return nets.model(nodes, *ends, weights)


def planted() -> onnx.ModelProto:
    """A net [N, 1, 32, 32] -> [N, 2]: class 0 sees bright squares of 8 x 8, class 1 their absence."""
    weights = {
        "k": np.full((1, 1, 8, 8), 1 / 64, np.float32), "kb": np.float32([-0.5]),
        "m": np.float32([1, 0.5]).reshape(2, 1, 1, 1), "mb": np.zeros(2, np.float32),
        "h": np.float32([[4, -4], [2, -2]]), "hb": np.float32([0, 1]),
    }  # fmt: skip
    nodes = [
        N("Conv", ["x", "k", "kb"], ["c"], strides=[8, 8], kernel_shape=[8, 8]),
        N("Relu", ["c"], ["r"]),
        N("Conv", ["r", "m", "mb"], ["two"]),
        N("Relu", ["two"], ["seen"]),
        N("GlobalAveragePool", ["seen"], ["g"]),
        N("Flatten", ["g"], ["f"]),
        N("Gemm", ["f", "h", "hb"], ["y"]),
    ]
    return nets.model(nodes, {"x": (nets.FLOAT, ["N", 1, 32, 32])}, {"y": (nets.FLOAT, ["N", 2])}, weights)


def integers(
    model: onnx.ModelProto, form: str, folder: Path, seen: np.ndarray[Any, Any], **options: Any
) -> onnx.ModelProto:
    """The model after static quantisation: uint8 activations and int8 weights by channel, unless told otherwise."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    name = model.graph.input[0].name

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{name: one[None]} for one in seen])

        def get_next(self) -> Any:
            return next(self.left, None)

    onnx.save(model, folder / "float.onnx")
    usual = {"activation_type": "QUInt8", "weight_type": "QInt8", "per_channel": True} | options
    kinds = {k: quantization.QuantType[v] if k.endswith("_type") else v for k, v in usual.items()}
    paths = folder / "float.onnx", folder / f"{form}.onnx"
    quantization.quantize_static(*paths, Reader(), quant_format=quantization.QuantFormat[form], **kinds)
    return onnx.load(paths[1])


def items(count: int = 3) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(1)
    smooth = np.kron(rng.normal(size=(count, 3, 8, 8)), np.ones((1, 1, 4, 4)))
    return (smooth + 0.3 * rng.normal(size=smooth.shape)).astype(np.float32)


def correlation(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def raw(model: onnx.ModelProto, x: np.ndarray[Any, Any], names: list[str]) -> list[np.ndarray[Any, Any]]:
    """Tensors of a model as the runtime has them."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(names, {"x": x})
