"""The report names the node that breaks completeness."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain import measure
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.rules import Rules

WIDTH = 6


def net(bias: float):
    """Two dense layers; the second has a bias that LRP-epsilon lets absorb its share."""
    rng = np.random.default_rng(0)
    weights = [("w1", (WIDTH, WIDTH)), ("w2", (WIDTH, 2))]
    initializers = [
        numpy_helper.from_array(rng.uniform(0.1, 1, shape).astype(np.float32), name) for name, shape in weights
    ]
    initializers.append(numpy_helper.from_array(np.full(2, bias, np.float32), "b2"))
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "w2", "b2"], ["y"], name="second"),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTH])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])]
    graph = helper.make_graph(nodes, "net", inputs, outputs, initializers)
    return xplain.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


@pytest.fixture
def x():
    return np.random.default_rng(1).uniform(0.5, 1, (1, WIDTH)).astype(np.float32)


def test_nothing_is_lost_without_a_bias(x):
    (report,) = measure.conservation(net(0.0), x, "lrp", target=1, rule="epsilon", epsilon=1e-9)
    score = xplain.predict(net(0.0), x)[0, 1]
    np.testing.assert_allclose(report.received[0], score, rtol=1e-5)
    np.testing.assert_allclose(report.kept, 0, atol=1e-4 * score)


def test_the_node_whose_bias_absorbs_relevance_is_named(x):
    (report,) = measure.conservation(net(5.0), x, "lrp", target=1, rule="epsilon", epsilon=1e-9)
    assert report.worst.startswith("second")
    at = report.nodes.index(report.worst)
    assert report.kept[at] == pytest.approx(5.0, rel=1e-4)  # exactly the bias
    assert "second" in str(report).splitlines()[1]


def test_a_batch_that_is_fixed_is_counted_once():
    """Such a model is asked with copies of the item, which are no further relevance."""
    model = xplain.load(nets.fixed_batch(3, frozen=True))
    assert model.outline.rows == 3
    item = np.random.default_rng(0).random((1, *model.outline.layout.item)).astype(np.float32)
    (report,) = measure.conservation(model, item, "lrp", target=1, rule="epsilon")
    assert report.received[0] == pytest.approx(xplain.predict(model, item)[0, 1], rel=1e-4)


def test_deeplift_conserves_the_difference_through_the_bias(x):
    (report,) = measure.conservation(net(5.0), x, "deeplift", target=1)
    np.testing.assert_allclose(report.kept, 0, atol=1e-4)


def test_what_has_no_report(x):
    with pytest.raises(CapabilityError, match="asks for no sweep"):
        measure.conservation(net(0.0), x, "occlusion", patch=1, stride=1)
    with pytest.raises(CapabilityError, match="has no ONNX graph"):
        measure.conservation(lambda batch: batch[:, :2], x, "lrp")
    with pytest.raises(UsageError, match="of one item; 2 were given"):
        net(0.0).balance(
            xplain.core.query.Sweep(np.repeat(x[:, None], 2, axis=0), xplain.label(0), xplain.core.rules.Rules())
        )


def curved():
    """Dense layers with a sigmoid between them, called "bend": the one node where slopes and chords differ."""
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in (("w1", (WIDTH, 9)), ("w2", (9, 2)))}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"], name="first"),
        helper.make_node("Sigmoid", ["h"], ["r"], name="bend"),
        helper.make_node("MatMul", ["r", "w2"], ["y"], name="second"),
    ]
    content = nets.model(nodes, {"x": (nets.FLOAT, ["N", WIDTH])}, {"y": (nets.FLOAT, ["N", 2])}, weights)
    return xplain.load(content)


def said(found):
    return [str(one) for one in found.warnings if one.kind == "incomplete"]


@pytest.mark.parametrize("method", ["deeplift", "deep-shap"])
def test_a_gap_of_more_than_the_difference_names_its_nodes(method, monkeypatch):
    model, x = curved(), 8 * np.random.default_rng(0).normal(size=(4, WIDTH)).astype(np.float32)
    told: list[int] = []
    balance = model.balance
    monkeypatch.setattr(model, "balance", lambda query: told.append(len(query.x)) or balance(query), raising=False)
    assert not said(xplain.explain(model, x, method, target=1, baseline=0.0))
    assert not told  # what adds up costs nothing more
    slopes = Rules("slopes", meaning="multiplier", reference=True)
    for place in ("explainers.relevance", "rules"):
        monkeypatch.setattr(f"xplain.{place}.deeplift.RESCALE", slopes)
    found = xplain.explain(model, x, method, target=1, baseline=0.0)
    assert told == [1]  # once, for one item
    gap, goal = (np.asarray(note) for name, note in found.notes.items() if name.startswith(("completeness", "f(x)")))
    wrong = np.flatnonzero(np.abs(gap) > np.abs(goal))
    item = wrong[np.abs(gap[wrong]).argmax()]
    does = "keeps" if gap[item] < 0 else "adds"
    (text,) = said(found)
    assert f"Most of the miss in item {item} is at: bend (Sigmoid) {does} {abs(gap[item]):.3g}." in text
    assert "first" not in text
    assert "integrated-gradients" in text
    path = xplain.explain(model, x, "integrated-gradients", target=1, baseline=0.0, steps=500)  # the advice works
    np.testing.assert_allclose(path.values.sum(axis=1), goal, atol=0.02 * np.abs(goal).max())
    (text,) = said(xplain.explain(model, x, method, target=1, baseline=0.0, max_queries=1000))
    assert "Most of" not in text  # not beyond a budget
    assert told == [1]


def test_relevance_that_was_made_on_the_way_names_its_nodes():
    """Two shares of 100 cancel to 1 in the layer without its bias, so each is many times the score."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], name="cancels"),
        helper.make_node("Gemm", ["h", "v"], ["y"], name="last"),
    ]
    weights = {"w": [[1.0], [-1.0]], "b": [100.0], "v": [[1.0, 2.0]]}
    arrays = {name: np.array(values, np.float32) for name, values in weights.items()}
    model = xplain.load(nets.model(nodes, {"x": (nets.FLOAT, ["N", 2])}, {"y": (nets.FLOAT, ["N", 2])}, arrays))
    x = np.array([[1.0, 95.0], [1.0, 0.5]], np.float32)
    found = xplain.explain(model, x, "lrp", target=1, rule="epsilon")
    (text,) = said(found)[:1]
    arrived, score = found.values.sum(axis=1), found.scores
    assert arrived[0] / score[0] <= -1
    assert f"Most of the miss is at: cancels (Gemm) keeps {score[0] - arrived[0]:.3g}." in text
