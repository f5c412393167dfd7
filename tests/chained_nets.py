"""Small graphs whose element-wise nodes can be put together, and sessions that run them as they are."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from xplain import native


def opened(model, threads=1):
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.register_custom_ops_library(native.library())
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def model_of(nodes, inputs, outputs, weights=()):
    entries = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    initial = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights]
    graph = helper.make_graph(nodes, "g", entries, made, initial)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def copied(model):
    return type(model).FromString(model.SerializeToString())


def f32(x):
    return np.asarray(x, np.float32)


def convolved(channels, between="HardSigmoid"):
    """Two convolutions whose outputs are divided and masked before a third, as a relevance sweep does it."""
    rng = np.random.default_rng(3)
    weights = [(f"w{k}", rng.standard_normal((channels, c, 3, 3)) / 10) for k, c in enumerate((32, 32, channels))]
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["x", "w1"], ["b"], pads=[1] * 4),
        helper.make_node("Div", ["a", "b"], ["d"]),
        helper.make_node(between, ["d"], ["h"], **({"alpha": 0.5, "beta": 0.25} if between == "HardSigmoid" else {})),
        helper.make_node("Mul", ["d", "h"], ["m"]),
        helper.make_node("Conv", ["m", "w2"], ["out"], pads=[1] * 4),
    ]
    shape = [1, channels, 12, 12]
    model = model_of(nodes, {"x": [1, 32, 12, 12]}, {"out": shape, "d": shape}, weights)
    model.graph.value_info.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "abhm")
    return model


def left_by_the_optimiser(model, path):
    options = ort.SessionOptions()
    options.log_severity_level, options.optimized_model_filepath = 4, str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return type(model).FromString(path.read_bytes())
