"""Weights of matrix products: read by both directions as they lie, lent by the model where a copy does not pay."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.graph.build.shared_weights import lend
from xplain.graph.intake.load import read
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build

FLOAT = TensorProto.FLOAT
DRAWS = np.random.default_rng(0)


def weight(*shape):
    return DRAWS.normal(size=shape).astype(np.float32) / 16


def tokens_then_classes(tokens=20):
    """[N, T, 260] -> MatMul -> Relu -> mean over tokens -> Gemm -> scores [N, 300]: many rows, then one per item."""
    nodes = [
        helper.make_node("MatMul", ["x", "many"], ["inner"]),
        helper.make_node("Relu", ["inner"], ["kept"]),
        helper.make_node("ReduceMean", ["kept"], ["pooled"], axes=[1], keepdims=0),
        helper.make_node("Gemm", ["pooled", "few"], ["scores"], transB=1),
    ]
    arrays = {"many": weight(260, 300), "few": weight(300, 300)}
    return nets.model(nodes, {"x": (FLOAT, ["N", tokens, 260])}, {"scores": (FLOAT, ["N", 300])}, arrays), arrays


def gradient(x, classes, arrays):
    """By hand, float64."""
    inner = x.astype(np.float64) @ arrays["many"]
    upstream = arrays["few"][classes].astype(np.float64)[:, None] * (inner > 0) / x.shape[1]
    return upstream @ arrays["many"].astype(np.float64).T


def built_of(model):
    loaded = read(model)
    built = build(loaded.analysed(loaded.model), ("input",), (Seed("scores"),), Rules())
    return loaded, built


def test_one_row_per_item_reads_the_models_own_memory_in_both_directions():
    loaded, built = built_of(tokens_then_classes()[0])
    lent = lend(built.model, loaded.model, loaded.outside, loaded.known.shapes)
    assert set(lent) == {"few/lent", "many/lent"}
    assert lent["few/lent"] is loaded.outside["few"]
    stored = {tensor.name for tensor in built.model.graph.initializer}
    assert "few" not in stored, "nobody reads the stored copy any more"
    reads = [(node.op_type, list(node.input[:2])) for node in built.model.graph.node]
    forward = [names for op, names in reads if op == "MatMul"]
    assert forward == [["x", "many"]], "many rows: the runtime's rearranged copy pays"
    assert "many" in stored
    assert [names[0] for op, names in reads if op == "Gemm" and "many/lent" in names] == ["many/lent"]
    assert not any(op == "Transpose" and names[0] == "many" for op, names in reads)


@pytest.mark.parametrize("tokens", [1, 20])
def test_the_gradient_through_lent_weights_is_the_gradient(tokens):
    model, arrays = tokens_then_classes(tokens)
    x = DRAWS.normal(size=(3, tokens, 260)).astype(np.float32)
    classes = [7, 0, 299]
    loaded = xplain.load(model, threads=1)
    found = loaded.answer(Sweep(x[:, None], xplain.label(classes), Rules()))["input"][1]
    expected = gradient(x, classes, arrays)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_emitted_graph_runs_without_lending():
    model, arrays = tokens_then_classes()
    built = build(model, ("input",), (Seed("scores"),), Rules())
    session = onnxruntime.InferenceSession(built.model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = DRAWS.normal(size=(2, 20, 260)).astype(np.float32)
    classes = np.array([5, 6])
    found = session.run([built.taps["input"][1]], {"x": x, "target": classes})[0]
    expected = gradient(x, classes, arrays)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_weights_that_something_else_reads_stay():
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["scores"]),
        helper.make_node("ReduceSum", ["w"], ["total"], keepdims=0),
    ]
    outputs = {"scores": (FLOAT, ["N", 300]), "total": (FLOAT, [])}
    loaded = read(nets.model(nodes, {"x": (FLOAT, ["N", 260])}, outputs, {"w": weight(260, 300)}))
    lent = lend(loaded.model, loaded.model, loaded.outside, loaded.known.shapes)
    assert list(lent) == ["w/lent"]
    assert [tensor.name for tensor in loaded.model.graph.initializer] == ["w"]


@pytest.mark.parametrize("dtype", [np.float16, np.int32])
def test_dtypes_that_a_runtime_casts_stay(dtype):
    nodes = [
        helper.make_node("Cast", ["x"], ["y"], to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype))),
        helper.make_node("MatMul", ["y", "w"], ["z"]),
        helper.make_node("Cast", ["z"], ["scores"], to=FLOAT),
    ]
    arrays = {"w": np.ones((260, 300), dtype)}
    loaded = read(nets.model(nodes, {"x": (FLOAT, ["N", 260])}, {"scores": (FLOAT, ["N", 300])}, arrays))
    assert loaded.outside
    assert lend(loaded.model, loaded.model, loaded.outside, loaded.known.shapes) == {}
    assert len(loaded.model.graph.input) == 1


@pytest.mark.parametrize(("a", "b"), [((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((2, 3, 4), (4,)), ((2, 2, 3, 4), (4, 5))])
def test_a_shared_matrix_has_the_gradient_of_any_other(a, b):
    """Against the transposed product, with every rank that MatMul takes."""
    x, w = DRAWS.normal(size=a).astype(np.float32), DRAWS.normal(size=b).astype(np.float32)
    y = x @ w
    model = nets.model(
        [helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": (FLOAT, a)}, {"y": (FLOAT, y.shape)}, {"w": w}
    )
    built = build(model, ("x",), (Seed("y", "inner", "cotangent"),), Rules())
    onnx.checker.check_model(built.model)
    session = onnxruntime.InferenceSession(built.model.SerializeToString(), providers=["CPUExecutionProvider"])
    g = DRAWS.normal(size=y.shape).astype(np.float32)
    found = session.run([built.taps["x"][1]], {"x": x, "cotangent": g})[0]
    wide = g[..., None] @ w[None] if w.ndim == 1 else g @ w.T
    np.testing.assert_allclose(found, wide.reshape(a), rtol=1e-5, atol=1e-5)
