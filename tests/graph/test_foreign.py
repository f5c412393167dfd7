"""Operators that need foreign code: left out beside the scores, named on the way to them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import Unsafe
from xplain.graph.safety import Limits

W = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
X = np.array([[1, 2, 0, -1], [0, 1, 1, 3]], np.float32)


def made(*nodes, outputs, functions=()) -> ModelProto:
    """A model of ``x`` and ``w`` whose outputs are ``[n, 3]``."""
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in outputs]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(list(nodes), "g", [x], kinds, [numpy_helper.from_array(W, "w")])
    imports = [helper.make_opsetid(domain, version) for domain, version in (("", 17), ("acme", 1), ("own", 1))]
    return helper.make_model(graph, opset_imports=imports, ir_version=9, functions=list(functions))


def foreign(source: str, name: str):
    return helper.make_node("Decode", [source], [name], name="decoder", domain="acme")


def deep(source: str, name: str):
    """The foreign operator in a branch."""
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, ["n", 3])
    one = helper.make_graph([foreign(source, "inner")], "one", [], [value])
    other = helper.make_graph([helper.make_node("Identity", [source], ["inner"])], "other", [], [value])
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    return yes, helper.make_node("If", ["yes"], [name], then_branch=one, else_branch=other)


def called(domain: str = "acme"):
    """The foreign operator in a function of the model's own, which another calls."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("acme", 1), helper.make_opsetid("own", 1)]
    inner = helper.make_node("Decode", ["a"], ["b"], name="decoder", domain=domain)
    outer = helper.make_node("inner", ["a"], ["b"], domain="own")
    return (
        helper.make_function("own", "outer", ["a"], ["b"], [outer], imports),
        helper.make_function("own", "inner", ["a"], ["b"], [inner], imports),
    )


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])
CALL = helper.make_node("outer", ["y"], ["z"], domain="own")
AFTER = helper.make_node("Relu", ["z"], ["after"])
BESIDE = {
    "an output of its own": made(PRODUCT, foreign("y", "z"), outputs=["y", "z"]),
    "the first output": made(PRODUCT, foreign("y", "z"), outputs=["z", "y"]),
    "nothing": made(PRODUCT, foreign("y", "z"), outputs=["y"]),
    "a branch": made(PRODUCT, *deep("y", "z"), outputs=["y", "z"]),
    "a function": made(PRODUCT, CALL, outputs=["y", "z"], functions=called()),
    "standard ones after it": made(PRODUCT, foreign("y", "z"), AFTER, outputs=["after", "y"]),
}


@pytest.mark.parametrize("where", BESIDE)
def test_beside_the_scores_it_is_left_out(where):
    model = xplain.load(BESIDE[where])
    np.testing.assert_allclose(xplain.explain(model, X, "saliency", target=1).values, np.abs(W[:, 1])[None] + 0 * X)
    np.testing.assert_allclose(
        xplain.explain(model, X, "occlusion", patch=1, stride=1, target=1).values, X * W[:, 1], atol=1e-6
    )
    assert "acme:Decode (node 'decoder')" in str(model.outline.facts["checked: left out"])
    assert any("left out" in quirk for quirk in model.outline.quirks)


def test_every_result_says_that_an_output_was_left_out():
    found = xplain.explain(xplain.load(BESIDE["the first output"]), X, "saliency", target=1)
    assert any("Left out: output 'z'" in one.text for one in found.warnings)
    asked = xplain.explain(xplain.load(BESIDE["the first output"], output="y"), X, "saliency", target=1)
    assert not any("Left out" in one.text for one in asked.warnings)


def test_outputs_are_counted_as_the_file_counts_them():
    model = xplain.load(BESIDE["the first output"], output=1)
    assert model.outline.scores.tensor == "y"
    with pytest.raises(Unsafe, match=r"Output 'z' needs foreign code.*load\(\.\.\., output='y'\)"):
        xplain.load(BESIDE["the first output"], output=0)


def test_on_the_way_to_the_scores_it_is_named_and_the_advice_works():
    relu = helper.make_node("Relu", ["y"], ["before"])
    model = made(PRODUCT, relu, foreign("before", "z"), AFTER, outputs=["after"])
    with pytest.raises(Unsafe, match=r"acme:Decode \(node 'decoder'\).*Output 'after' needs.*output='before'"):
        xplain.load(model)
    found = xplain.explain(xplain.load(model, output="before"), X, "saliency", target=1)
    np.testing.assert_allclose(found.values, np.abs(W[:, 1]) * (X @ W[:, 1:2] > 0), rtol=1e-5)
    first = made(foreign("x", "a"), helper.make_node("MatMul", ["a", "w"], ["y"]), outputs=["y"])
    with pytest.raises(Unsafe, match=r"Output 'y' needs.*give xplain\.load a function\.$"):
        xplain.load(first)


@pytest.mark.parametrize("output", [None, "y"])
def test_what_is_left_out_was_checked_like_the_rest(output):
    air = TensorProto(name="air", data_type=TensorProto.FLOAT, dims=[2**20, 2**20])
    node = foreign("y", "z")
    node.attribute.add(name="t", type=4, t=air)
    with pytest.raises(Unsafe, match="declares"):
        xplain.load(made(PRODUCT, node, outputs=["y", "z"]), output=output)
    many = [foreign("y", f"z{k}") for k in range(9)]
    with pytest.raises(Unsafe, match="more than 5 nodes"):
        xplain.load(made(PRODUCT, *many, outputs=["y"]), output=output, limits=Limits(nodes=5))
