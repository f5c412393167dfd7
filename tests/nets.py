"""Tiny ONNX nets for tests, each with a cause that is known or a form that is awkward. All weights are seeded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

FLOAT, FLOAT16, UINT8, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.UINT8, TensorProto.INT64

Shape = Sequence[int | str]


def model(
    nodes: Sequence[NodeProto],
    inputs: Mapping[str, tuple[int, Shape]],
    outputs: Mapping[str, tuple[int, Shape]],
    weights: Mapping[str, np.ndarray[Any, Any]],
    opset: int = 17,
    ir: int = 8,
    **domains: int,
) -> ModelProto:
    """A ModelProto from nodes, ``{name: (dtype, shape)}`` of inputs and outputs, and weights."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    imports += [helper.make_opsetid(name.replace("_", "."), version) for name, version in domains.items()]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, producer_name="xplain-tests")


def planted(size: int = 32, cell: tuple[int, int] = (2, 1), channels: int = 3, batch: Any = "N") -> ModelProto:
    """A linear net that reads only the 8x8 cell ``cell`` (row, column) of a picture: [N, C, size, size] -> [N, 2].

    Class 0 is the sum over the cell of all channels, class 1 its negative.
    """
    weight = np.zeros((channels, size, size), np.float32)
    row, column = cell
    weight[:, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 1
    matrix = np.stack([weight.ravel(), -weight.ravel()], axis=1)
    return model(
        [
            helper.make_node("Flatten", ["picture"], ["flat"], axis=1),
            helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        ],
        {"picture": (FLOAT, [batch, channels, size, size])},
        {"scores": (FLOAT, [batch, 2])},
        {"w": matrix},
    )


def cnn_weights(channels: int, classes: int) -> dict[str, np.ndarray[Any, Any]]:
    """Weights of the small classifier: two convolutions of 3x3 and a linear head."""
    rng = np.random.default_rng(7)
    return {
        "w1": (rng.standard_normal((8, channels, 3, 3)) / 5).astype(np.float32),
        "b1": np.full(8, 0.1, np.float32),
        "w2": (rng.standard_normal((12, 8, 3, 3)) / 8).astype(np.float32),
        "b2": np.zeros(12, np.float32),
        "w3": rng.standard_normal((12, classes)).astype(np.float32),
        "b3": np.linspace(-1, 1, classes).astype(np.float32),
    }


def _cnn_nodes(head: str = "Softmax") -> list[NodeProto]:
    nodes = [
        helper.make_node("Conv", ["picture", "w1", "b1"], ["conv1"], name="conv1", pads=[1] * 4),
        helper.make_node("Relu", ["conv1"], ["relu1"]),
        helper.make_node("MaxPool", ["relu1"], ["pool1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["pool1", "w2", "b2"], ["conv2"], name="conv2", pads=[1] * 4),
        helper.make_node("Relu", ["conv2"], ["relu2"]),
        helper.make_node("GlobalAveragePool", ["relu2"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "w3", "b3"], ["logits"]),
    ]
    if head:
        nodes.append(helper.make_node(head, ["logits"], ["scores"], **({} if head == "Sigmoid" else {"axis": 1})))
    else:
        nodes[-1].output[0] = "scores"
    return nodes


def cnn(
    size: Any = 16,
    channels: int = 3,
    classes: int = 5,
    batch: Any = "N",
    head: str = "Softmax",
    opset: int = 17,
) -> ModelProto:
    """A small convolutional classifier, [N, C, size, size] -> [N, classes]; ``head`` "" ends at the logits."""
    return model(
        _cnn_nodes(head),
        {"picture": (FLOAT, [batch, channels, size, size])},
        {"scores": (FLOAT, [batch, classes])},
        cnn_weights(channels, classes),
        opset=opset,
    )


def half() -> ModelProto:
    """The small classifier in fp16, input and output included."""
    return model(
        _cnn_nodes(),
        {"picture": (FLOAT16, ["N", 3, 16, 16])},
        {"scores": (FLOAT16, ["N", 5])},
        {name: w.astype(np.float16) for name, w in cnn_weights(3, 5).items()},
    )


def channels_last(dtype: int = FLOAT) -> ModelProto:
    """The small classifier with input [N, 16, 16, 3], float or uint8 (0..255, scaled inside)."""
    nodes = _cnn_nodes()
    first = [helper.make_node("Transpose", ["image"], ["picture"], perm=[0, 3, 1, 2])]
    if dtype != FLOAT:
        first = [
            helper.make_node("Cast", ["image"], ["float"], to=FLOAT),
            helper.make_node("Mul", ["float", "scale"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["picture"], perm=[0, 3, 1, 2]),
        ]
    return model(
        first + nodes,
        {"image": (dtype, ["N", 16, 16, 3])},
        {"scores": (FLOAT, ["N", 5])},
        {**cnn_weights(3, 5), **({} if dtype == FLOAT else {"scale": np.float32(1 / 255)})},
    )


def fixed_batch(batch: int = 1, frozen: bool = False) -> ModelProto:
    """The small classifier exported for one batch size, with it baked into a Reshape.

    ``frozen`` adds a Reshape that mixes batch and channels, which no edit of the batch size can free.
    """
    nodes = _cnn_nodes()
    flatten = nodes[6]
    nodes[6] = helper.make_node("Reshape", [flatten.input[0], "shape"], [flatten.output[0]])
    weights = {**cnn_weights(3, 5), "shape": np.array([batch, 12], np.int64)}
    if frozen:
        nodes[6:7] = [
            helper.make_node("Reshape", ["pooled", "all"], ["line"]),
            helper.make_node("Reshape", ["line", "shape"], [flatten.output[0]]),
        ]
        weights["all"] = np.array([12 * batch], np.int64)
    return model(
        nodes,
        {"picture": (FLOAT, [batch, 3, 16, 16])},
        {"scores": (FLOAT, [batch, 5])},
        weights,
    )


def four_dimensional() -> ModelProto:
    """A fully convolutional classifier with scores [N, 5, 1, 1] behind a Softmax over axis 1."""
    weights = cnn_weights(3, 5)
    weights["w3"] = np.ascontiguousarray(weights["w3"].T).reshape(5, 12, 1, 1)
    nodes = [
        *_cnn_nodes()[:6],
        helper.make_node("Conv", ["pooled", "w3", "b3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]
    return model(nodes, {"picture": (FLOAT, ["N", 3, 16, 16])}, {"scores": (FLOAT, ["N", 5, 1, 1])}, weights)


def two_inputs() -> ModelProto:
    """scores[n, k] = sum(picture[n] * w_k) + 10 * extra[n, k]: [N, 1, 4, 4] and [N, 2] -> [N, 2]."""
    weight = np.stack([np.arange(16), np.arange(16)[::-1]], axis=1).astype(np.float32)
    return model(
        [
            helper.make_node("Flatten", ["picture"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["seen"]),
            helper.make_node("Mul", ["extra", "ten"], ["told"]),
            helper.make_node("Add", ["seen", "told"], ["scores"]),
        ],
        {"picture": (FLOAT, ["N", 1, 4, 4]), "extra": (FLOAT, ["N", 2])},
        {"scores": (FLOAT, ["N", 2])},
        {"w": weight, "ten": np.float32(10)},
    )


def quantised(output: bool = True) -> ModelProto:
    """A QDQ classifier [N, 1, 8, 8] -> [N, 4] whose probabilities are rounded to 1/256 when ``output``."""
    rng = np.random.default_rng(3)
    weights: dict[str, np.ndarray[Any, Any]] = {
        "xs": np.float32(1 / 64), "xz": np.uint8(128),
        "w": rng.integers(-90, 90, (64, 4)).astype(np.int8), "ws": np.float32(0.01), "wz": np.int8(0),
        "ls": np.float32(0.1), "lz": np.uint8(128),
        "ps": np.float32(1 / 256), "pz": np.uint8(0),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["picture", "xs", "xz"], ["x_q"]),
        helper.make_node("DequantizeLinear", ["x_q", "xs", "xz"], ["x_dq"]),
        helper.make_node("Flatten", ["x_dq"], ["flat"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["w_dq"]),
        helper.make_node("MatMul", ["flat", "w_dq"], ["real_logits"]),
        helper.make_node("QuantizeLinear", ["real_logits", "ls", "lz"], ["l_q"]),
        helper.make_node("DequantizeLinear", ["l_q", "ls", "lz"], ["l_dq"]),
        helper.make_node("Softmax", ["l_dq"], ["probabilities"], axis=1),
    ]
    if output:
        nodes += [
            helper.make_node("QuantizeLinear", ["probabilities", "ps", "pz"], ["p_q"]),
            helper.make_node("DequantizeLinear", ["p_q", "ps", "pz"], ["p_dq"]),
        ]
    return model(
        nodes,
        {"picture": (FLOAT, ["N", 1, 8, 8])},
        {"p_dq" if output else "probabilities": (FLOAT, ["N", 4])},
        weights,
    )


def forest() -> ModelProto:
    """A scikit-learn-like export: label output, ZipMap to ``seq(map(string, float))``, labels red, green, blue.

    [N, 4] -> label and probabilities; the logits are ``x @ w``.
    """
    weight = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0.5]], np.float32)
    names = ["red", "green", "blue"]
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["columns"],
            ["label", "raw"],
            domain="ai.onnx.ml",
            coefficients=weight.T.ravel().tolist(),
            intercepts=[0.0, 0.0, 0.0],
            classlabels_strings=names,
            multi_class=1,
            post_transform="SOFTMAX",
        ),
        helper.make_node("Normalizer", ["raw"], ["probabilities"], domain="ai.onnx.ml", norm="L1"),
        helper.make_node("ZipMap", ["probabilities"], ["by_name"], domain="ai.onnx.ml", classlabels_strings=names),
    ]
    net = model(nodes, {"columns": (FLOAT, ["N", 4])}, {"label": (TensorProto.STRING, ["N"])}, {}, ai_onnx_ml=1)
    entry = net.graph.output.add()
    entry.name = "by_name"
    mapping = TypeProto.Map(key_type=TensorProto.STRING, value_type=helper.make_tensor_type_proto(FLOAT, []))
    entry.type.CopyFrom(helper.make_sequence_type_proto(TypeProto(map_type=mapping)))
    return net


def doubling_bomb(doublings: int = 30) -> ModelProto:
    """A constant that is concatenated with itself ``doublings`` times: about 1 KB that unfolds to gigabytes."""
    nodes = [helper.make_node("Concat", [f"t{k}", f"t{k}"], [f"t{k + 1}"], axis=0) for k in range(doublings)]
    nodes += [
        helper.make_node("ReduceSum", [f"t{doublings}"], ["total"], keepdims=1),
        helper.make_node("Add", ["x", "total"], ["scores"]),
    ]
    return model(nodes, {"x": (FLOAT, ["N", 2])}, {"scores": (FLOAT, ["N", 2])}, {"t0": np.ones(1, np.float32)})


def constant_bomb(gibibytes: int = 12) -> ModelProto:
    """A ConstantOfShape of many gigabytes in under a hundred bytes."""
    nodes = [
        helper.make_node("ConstantOfShape", ["extent"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["total"], keepdims=1),
        helper.make_node("Add", ["x", "total"], ["scores"]),
    ]
    return model(
        nodes,
        {"x": (FLOAT, ["N", 2])},
        {"scores": (FLOAT, ["N", 2])},
        {"extent": np.array([gibibytes * 2**28], np.int64)},
    )
