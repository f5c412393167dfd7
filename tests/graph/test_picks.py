"""A token that is picked after a block is picked before what treats tokens by themselves; nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.rules import Rules
from xplain.graph import passes
from xplain.graph.passes import prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules.lrp_tables import epsilon_plus_flat

T, C, HEADS = 5, 12, 3
X = np.random.default_rng(7).standard_normal((4, T, C)).astype(np.float32)
CLASSES = np.array([0, 3, 1, 2])


def block(index=0, extra=(), squeeze=True, places=True):
    """Attention and a feed-forward part, each with its residual, then a norm, one token and a head of four classes."""
    rng = np.random.default_rng(3)
    nodes, weights = [], {}

    def weight(name, *shape):
        weights[name] = (rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32)
        return name

    def add(op, *inputs, out, **attributes):
        nodes.append(helper.make_node(op, list(inputs), [out], name=out, **attributes))
        return out

    def norm(source, out):
        weights[f"{out}.s"], weights[f"{out}.b"] = np.ones(C, np.float32), np.zeros(C, np.float32)
        return add("LayerNormalization", source, f"{out}.s", f"{out}.b", out=out, axis=-1)

    def heads(source, out):
        weights["split"] = np.array([0, T, HEADS, C // HEADS])
        return add("Transpose", add("Reshape", source, "split", out=f"{out}5"), out=out, perm=[0, 2, 1, 3])

    x = add("Add", "x", weight("places", 1, T, C), out="x0") if places else "x"
    first = norm(x, "n1")
    q, k, v = (heads(add("MatMul", first, weight(f"w{name}", C, C), out=f"{name}0"), name) for name in "qkv")
    scores = add("MatMul", q, add("Transpose", k, out="kt", perm=[0, 1, 3, 2]), out="scores")
    mixed = add("MatMul", add("Softmax", scores, out="attention", axis=-1), v, out="mixed")
    turned = add("Transpose", mixed, out="mixed_t", perm=[0, 2, 1, 3])
    weights["joined"] = np.array([-1, T, C])  # a free batch, as exporters write it where 0 means 0
    back = add("Reshape", turned, "joined", out="back", allowzero=1)
    h = add("Add", x, add("MatMul", back, weight("wo", C, C), out="o"), out="h")
    inner = add("MatMul", norm(h, "n2"), weight("w1", C, 2 * C), out="inner")
    wide = add("Tanh", add("Add", inner, weight("b1", 2 * C), out="shifted"), out="wide")
    h2 = add("Add", add("MatMul", wide, weight("w2", 2 * C, C), out="narrow"), h, out="h2")
    weights["index"] = np.array(index if squeeze else [index])
    token = add("Gather", norm(h2, "n3"), "index", out="token", axis=1)
    if not squeeze:
        weights["one"] = np.array([1])
        token = add("Squeeze", token, "one", out="flat")
    add("MatMul", token, weight("head", C, 4), out="y")
    entry = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", T, C])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", *extra)]
    graph = helper.make_graph(nodes, "g", [entry], outputs, [numpy_helper.from_array(v, k) for k, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def gradients(model, taps=("input",)):
    built = build(model, taps, [Seed("y")], returns=Returns(own=True))
    names = [built.taps[tap][1] for tap in taps]
    return session(built.model).run(["y", *names], {"x": X, "target": CLASSES})


def whole(model, monkeypatch, taps=("input",)):
    """The same without the pass."""
    with monkeypatch.context() as patched:
        patched.setattr(passes, "pick_early", lambda *_: None)
        return gradients(model, taps)


def rows_of(model, name):
    """How many tokens of a tensor are computed: all of it, or its picked twin alone."""
    prepared = prepare(model, Rules())
    known = (*prepared.model.graph.value_info, *prepared.model.graph.output)
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in known}
    made = {out for node in prepared.model.graph.node for out in node.output}
    return shapes[name if name in made else f"{name}/picked"][-2]


@pytest.mark.parametrize("places", [True, False])
@pytest.mark.parametrize("squeeze", [True, False])
@pytest.mark.parametrize("index", [0, 3, -1])
def test_the_gradient_is_the_same(index, squeeze, places, monkeypatch):
    model = block(index, squeeze=squeeze, places=places)
    for got, wanted in zip(gradients(model), whole(model, monkeypatch), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gradients(model)[0], session(model).run(["y"], {"x": X})[0], rtol=1e-4, atol=1e-6)


def test_all_is_picked_that_treats_tokens_by_themselves():
    model = block()
    picked = ("n3", "h2", "narrow", "wide", "inner", "n2", "h", "o", "back", "mixed", "attention", "scores")
    assert [rows_of(model, name) for name in picked] == [1] * len(picked)
    # keys and values are of all tokens, and what they are made from
    assert [rows_of(model, name) for name in ("k", "v", "n1")] == [T] * 3
    assert rows_of(model, "q") == 1


def test_a_layer_that_is_asked_for_is_whole(monkeypatch):
    model = block()
    got, wanted = gradients(model, ("h", "input")), whole(model, monkeypatch, ("h", "input"))
    assert got[1].shape == (len(X), T, C)
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_an_output_and_another_reader_are_whole(monkeypatch):
    model = block(extra=("wide",))
    assert rows_of(model, "wide") == T
    assert rows_of(model, "narrow") == 1
    for one, other in zip(gradients(model), whole(model, monkeypatch), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_tables_of_rules_see_every_token():
    prepared = prepare(block(), epsilon_plus_flat())
    assert not any(name.endswith("/picked") for node in prepared.model.graph.node for name in node.output)
