"""Inputs that are not explained: prompts with an axis of their own, states whose batch is not in front, switches."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.graph.runtime import evaluate

R = np.random.default_rng(0)
PICTURES = R.random((2, 3, 8, 8)).astype(np.float32)
PROMPTS = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
SERIES = R.normal(size=(3, 6)).astype(np.float32)
ROWS = R.normal(size=(2, 4)).astype(np.float32)


def value(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, **stored):
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()]
    graph = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def clip(pictures, prompts):
    """Pictures against prompts: ``[pictures, prompts]``."""
    r = np.random.default_rng(1)
    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["image"]),
        helper.make_node("Gather", ["words", "ids"], ["each"]),
        helper.make_node("ReduceMean", ["each"], ["text"], axes=[1], keepdims=0),
        helper.make_node("Transpose", ["text"], ["across"], perm=[1, 0]),
        helper.make_node("MatMul", ["image", "across"], ["logits_per_image"]),
    ]
    inputs = [
        value("ids", TensorProto.INT64, [prompts, "length"]),
        value("pixels", TensorProto.FLOAT, [pictures, 3, 8, 8]),
    ]
    outputs = [value("logits_per_image", TensorProto.FLOAT, [pictures, prompts])]
    weights = {"w": r.normal(size=(192, 6)).astype("f"), "words": r.normal(size=(10, 6)).astype("f")}
    return model(nodes, inputs, outputs, **weights)


@pytest.mark.parametrize("names", [("image_batch", "text_batch"), ("batch", "batch")])
@pytest.mark.parametrize("count", [1, 3])
def test_prompts_are_classes_not_rows(names, count):
    net, prompts = clip(*names), PROMPTS[:count]
    loaded = xplain.load(net, input="pixels", fixed={"ids": prompts})
    truth = evaluate(clip("a", "b"), {"ids": prompts, "pixels": PICTURES})[0]
    np.testing.assert_allclose(xplain.predict(loaded, PICTURES), truth, rtol=1e-5)
    a = xplain.explain(loaded, PICTURES[:1], "input-x-gradient", target=count - 1)
    np.testing.assert_allclose(a.values.sum(), truth[0, -1], rtol=1e-4)
    assert len(xplain.explain(loaded, PICTURES, "occlusion", patch=4, stride=4).values) == 2


def speech(batch, state):
    """A recurrent net whose state has its batch on the second axis, with the state beside the score."""
    r = np.random.default_rng(2)
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["turned", "two"], ["steps"]),
        helper.make_node("LSTM", ["steps", "W", "R", "", "", "h", "c"], ["", "hn", "cn"], hidden_size=5),
        helper.make_node("Squeeze", ["hn", "zero"], ["last"]),
        helper.make_node("MatMul", ["last", "w"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["speech_probs"]),
    ]
    inputs = [value("x", TensorProto.FLOAT, [batch, 6])]
    inputs += [value(name, TensorProto.FLOAT, [1, state, 5]) for name in "hc"]
    outputs = [value("hn", TensorProto.FLOAT, [1, batch, 5]), value("speech_probs", TensorProto.FLOAT, [batch, 1])]
    weights = {"W": r.normal(size=(1, 20, 1)), "R": r.normal(size=(1, 20, 5)), "w": r.normal(size=(5, 1))}
    stored = {k: v.astype(np.float32) for k, v in weights.items()}
    return model(nodes, inputs, outputs, zero=np.array([0]), two=np.array([2]), **stored)


@pytest.mark.parametrize("state", ["N", 1, None])
def test_a_state_goes_with_the_rows_along_its_own_axis(state):
    net = speech("N" if state else None, state)
    fixed = {"h": np.full((1, 1, 5), 0.3, np.float32), "c": np.zeros((1, 1, 5), np.float32)}
    loaded = xplain.load(net, input="x", fixed=fixed)
    assert loaded.outline.scores.tensor == "z"
    one = [evaluate(net, {"x": row[None], **fixed}, ["speech_probs"])[0] for row in SERIES]
    found = xplain.predict(loaded, SERIES)
    np.testing.assert_allclose(1 / (1 + np.exp(-found)), np.concatenate(one), rtol=1e-5)
    assert xplain.explain(loaded, SERIES, "saliency", target=0).values.shape[0] == 3


def switched():
    r = np.random.default_rng(3)

    def branch(k):
        node = helper.make_node("MatMul", ["x", f"w{k}"], [f"out{k}"])
        return helper.make_graph([node], f"branch{k}", [], [value(f"out{k}", TensorProto.FLOAT, ["N", 3])])

    nodes = [
        helper.make_node("Equal", ["rate", "sixteen"], ["fast"]),
        helper.make_node("If", ["fast"], ["y"], then_branch=branch(0), else_branch=branch(1)),
    ]
    inputs = [value("x", TensorProto.FLOAT, ["N", 4]), value("rate", TensorProto.INT64, [])]
    weights = {f"w{k}": r.normal(size=(4, 3)).astype(np.float32) for k in (0, 1)}
    return model(nodes, inputs, [value("y", TensorProto.FLOAT, ["N", 3])], sixteen=np.array(16), **weights), weights


@pytest.mark.parametrize(("rate", "k"), [(16, 0), (8, 1)])
@pytest.mark.parametrize("method", ["input-x-gradient", "deeplift", "occlusion"])
def test_a_branch_that_a_fixed_input_decides_is_the_one_explained(rate, k, method):
    net, weights = switched()
    loaded = xplain.load(net, input="x", fixed={"rate": np.array(rate)})
    options = {"patch": 1, "stride": 1} if method == "occlusion" else {}
    a = xplain.explain(loaded, ROWS, method, target=1, **options)
    np.testing.assert_allclose(a.values, ROWS * weights[f"w{k}"][:, 1], rtol=1e-4, atol=1e-6)


def test_answers_with_one_fixed_value_are_not_taken_for_those_with_another(tmp_path):
    net, weights = switched()
    for rate, k in ((16, 0), (8, 1)):
        loaded = xplain.load(net, input="x", fixed={"rate": np.array(rate)})
        np.testing.assert_allclose(xplain.predict(loaded, ROWS, cache=tmp_path), ROWS @ weights[f"w{k}"], rtol=1e-5)
