"""The logits behind probabilities, however these were written; what cannot be undone is called what it is."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.graph.runtime import evaluate

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
WEIGHTS = {name: np.random.default_rng(k).normal(size=(4, 5)).astype(np.float32) for k, name in enumerate("ab", 1)}
NUMBERS = {"one": 1.0, "two": 2.0, "half": 0.5, "hundred": 100.0, "eps": 1e-7, "zero": 0.0, "minus": -1.0}
INTEGERS = {"axis": [1], "picked": [3, 1, 0], "start": [1], "end": [9], "three": [3], "flip": [4, 3, 2, 1, 0]}
PLACES = {"i0": 0, "i1": 1}
A, B = X @ WEIGHTS["a"], X @ WEIGHTS["b"]

ONE_BY_ONE = "; ".join(f"Gather za i{k} c{k}; Sigmoid c{k} p{k}; Unsqueeze p{k} axis q{k}" for k in (0, 1))
ONE_BY_ONE += "; Concat q0 q1 y"
BY_HAND = "Gather za i0 c; Neg c n; Exp n e; Add e one s; Div one s p; Unsqueeze p axis q; "
BY_HAND += "Sigmoid za r; Gather r i1 t; Unsqueeze t axis u; Concat q u y"

# how probabilities ``y`` are made of logits ``za`` and ``zb``: operator, inputs, output (and attributes)
HEADS = {
    "softmax": ("Softmax za y", A, "softmax"),
    "by hand": ("Exp za e; ReduceSum e axis s; Div e s y", A, "softmax"),
    "by hand, twice": ("Exp za e; Exp za f; ReduceSum f axis s; Div e s y", A, "softmax"),
    "by hand, reciprocal": ("Exp za e; ReduceSum e axis s; Reciprocal s r; Mul r e y", A, "softmax"),
    "shifted": ("ReduceMax za m; Sub za m d; Exp d e; ReduceSum e axis s; Div e s y", A, "softmax"),
    "exp of log": ("LogSoftmax za l; Exp l y", A, "softmax"),
    "log of softmax": ("Softmax za p; Log p y", A, "softmax"),
    "log by hand": ("Exp za e; ReduceSum e axis s; Log s l; Sub za l y", A, "softmax"),
    "clipped": ("Softmax za p; Clip p eps one y", A, "softmax"),
    "with max": ("Softmax za p; Max p eps y", A, "softmax"),
    "plus eps": ("Softmax za p; Add p eps y", A, "softmax"),
    "per cent": ("Softmax za p; Mul hundred p y", A, "softmax"),
    "times one": ("Softmax za p; Mul p one q; Identity q y", A, "softmax"),
    "sigmoid": ("Sigmoid za y", A, "sigmoid"),
    "sigmoid by hand": ("Neg za n; Exp n e; Add e one s; Div one s y", A, "sigmoid"),
    "sigmoid by product": ("Mul za minus n; Exp n e; Add one e s; Reciprocal s y", A, "sigmoid"),
    "sigmoid by tanh": ("Tanh za t; Div t two h; Add h half y", 2 * A, "sigmoid"),
    "tanh plus one": ("Tanh za t; Add t one h; Mul h half y", 2 * A, "sigmoid"),
    "the other class": ("Sigmoid za p; Sub one p y", -A, "sigmoid"),
    "both classes": ("Sigmoid za p; Sub one p q; Concat q p y", np.concatenate([-A, A], 1), "sigmoid"),
    "joined": ("Sigmoid za p; Sigmoid zb q; Concat p q y", np.concatenate([A, B], 1), "sigmoid"),
    "one by one": (ONE_BY_ONE, A[:, :2], "sigmoid"),
    "one by one by hand": (BY_HAND, A[:, :2], "sigmoid"),
    "the same twice": ("Sigmoid za p; Sub one p q; Concat q q y", np.concatenate([-A, -A], 1), "sigmoid"),
    "far away": (
        "Softmax za t0; " + "".join(f"Identity t{k} t{k + 1}; " for k in range(99)) + "Cast t99 y",
        A,
        "softmax",
    ),
    "gathered": ("Softmax za p; Gather p picked y", A[:, [3, 1, 0]], "none"),
    "sliced": ("Softmax za p; Slice p start end axis y", A[:, 1:], "none"),
    "reordered": ("Softmax za p; Gather p flip y", A[:, ::-1], "softmax"),
    "best three": ("Softmax za p; TopK p three y", A, "softmax"),
}
KEPT = {
    "mean of two": ("Softmax za p; Softmax zb q; Add p q s; Mul s half y", "probabilities"),
    "by Mean": ("Softmax za p; Sigmoid zb q; Mean p q y", "probabilities"),
    "hard sigmoid": ("HardSigmoid za y", "probabilities"),
    "product": ("Sigmoid za p; Sigmoid zb q; Mul p q y", "probabilities"),
    "log of a mean": ("Softmax za p; Softmax zb q; Mean p q s; Log s y", "log-probabilities"),
    "no link": ("Identity za y", "logits"),
    "tanh": ("Tanh za y", "logits"),
    "relu": ("Relu za y", "logits"),
    "clipped scores": ("Clip za minus two y", "logits"),
    "scores times softmax": ("Softmax za p; Mul p zb y", "logits"),
    "exp of softmax": ("Softmax za p; Exp p y", "logits"),
}
ATTRIBUTES = {
    "Concat": {"axis": 1}, "Gather": {"axis": 1}, "ReduceMax": {"axes": [1]}, "Softmax": {"axis": 1},
    "LogSoftmax": {"axis": 1}, "TopK": {"axis": 1}, "Cast": {"to": 1},
}  # fmt: skip


def net(head: str) -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", k], [f"z{k}"]) for k in WEIGHTS]
    for step in head.split("; "):
        op, *inputs, out = step.split()
        outputs = [out, "ranks"] if op == "TopK" else [out]
        nodes.append(helper.make_node(op, inputs, outputs, **ATTRIBUTES.get(op, {})))
    stored = [numpy_helper.from_array(v, k) for k, v in WEIGHTS.items()]
    stored += [numpy_helper.from_array(np.float32(v), k) for k, v in NUMBERS.items()]
    stored += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in INTEGERS.items()]
    stored += [numpy_helper.from_array(np.array(v), k) for k, v in PLACES.items() if f" {k} " in head]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(nodes, "g", [x], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_read_behind_probabilities(name):
    head, logits, link = HEADS[name]
    model = xplain.load(net(head))
    assert (model.outline.scores.kind, model.outline.scores.link) == ("logits", link)
    np.testing.assert_allclose(xplain.predict(model, X), logits, rtol=1e-4, atol=1e-5)
    assert "what goes into" in model.outline.scores.found
    a = xplain.explain(model, X, "input-x-gradient", target=1)
    assert a.unit == "delta logit, first order"
    np.testing.assert_allclose(a.values.sum(axis=1), logits[:, 1], rtol=1e-3, atol=1e-4)  # logits are linear here


@pytest.mark.parametrize("name", KEPT)
def test_what_cannot_be_undone_is_read_as_it_is(name):
    head, kind = KEPT[name]
    model = xplain.load(net(head))
    assert (model.outline.scores.kind, model.outline.scores.link) == (kind, "none")
    np.testing.assert_allclose(xplain.predict(model, X), evaluate(net(head), {"x": X})[0], rtol=1e-5)
    noun = {"logits": "logit", "probabilities": "probability", "log-probabilities": "log-probability"}[kind]
    assert xplain.explain(model, X, "occlusion", target=1, patch=1, stride=1).unit == f"delta {noun} when hidden"


def two(outputs: list[str], head: str) -> onnx.ModelProto:
    model = net(head)
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs)
    return model


@pytest.mark.parametrize(
    ("outputs", "head", "read"),
    [
        (["za", "p"], "Softmax zb p", "zb"),
        (["za", "p"], "Sigmoid zb p", "zb"),
        (["za", "speech_probs"], "Sigmoid zb speech_probs", "zb"),
        (["za", "h"], "MatMul za w h", "h"),
        (["za", "class_scores"], "Identity zb class_scores", "class_scores"),
        (["za", "outputProbability"], "Identity zb outputProbability", "outputProbability"),
        (["s", "zb"], "ReduceMax zb s", "zb"),  # a summary of scores is none
    ],
)
def test_of_several_outputs_scores_are_read_and_every_result_says_so(outputs, head, read):
    model = two(outputs, head)
    model.graph.initializer.append(numpy_helper.from_array(np.ones((5, 3), np.float32), "w"))
    loaded = xplain.load(model)
    assert loaded.outline.scores.tensor == read
    a = xplain.explain(loaded, X, "saliency")
    (said,) = a.warnings
    assert said.kind == "output"
    left = outputs[0]
    assert f"is read; the others: {left!r} (output=)" in said.text
    other = xplain.load(model, output=left)  # as it says
    np.testing.assert_allclose(xplain.predict(other, X), A if left == "za" else B.max(axis=1, keepdims=True), rtol=1e-5)
    assert not xplain.explain(other, X, "saliency").warnings


def test_an_output_whose_items_lie_on_another_axis_is_not_read():
    model = two(["za", "turned"], "Transpose za turned")  # as CLIP's logits per image and per text
    for entry, names in zip(model.graph.output, (["N", "K"], ["K", "N"]), strict=True):
        entry.CopyFrom(helper.make_tensor_value_info(entry.name, TensorProto.FLOAT, names))
    np.testing.assert_allclose(xplain.predict(xplain.load(model), X), A, rtol=1e-5)


def test_two_names_of_one_thing_are_no_choice():
    assert not xplain.load(two(["za", "p"], "Softmax za p")).outline.warnings


def test_an_output_that_is_asked_for_is_looked_through_too():
    model = two(["p", "q"], "Softmax za p; Softmax zb q")
    for wanted in ("q", 1):
        loaded = xplain.load(model, output=wanted)
        assert (loaded.outline.scores.tensor, loaded.outline.scores.link) == ("zb", "softmax")


def test_a_tensor_inside_that_is_asked_for_is_read_as_it_is():
    loaded = xplain.load(net("Softmax za p; Mul p hundred y"), output="p")
    assert (loaded.outline.scores.tensor, loaded.outline.scores.kind) == ("p", "probabilities")
