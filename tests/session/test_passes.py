"""Nothing is evaluated twice: a sweep is the look at its items, and a baseline's pass is kept.

What the runtime runs is counted, not what the engine says it asked.
"""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import NonFinite
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.core.target import channel, label, neuron, predicted
from xplain.models.onnx.session import Session
from xplain.rules.deeplift import RESCALE
from xplain.session import Request
from xplain.session import Session as Run

ITEMS = 3
ROWS = np.random.default_rng(0).random((ITEMS, 3, 16, 16)).astype(np.float32)
SWEEPING = ("saliency", "input-x-gradient", "guided-backprop", "grad-cam", "layer-cam", "hires-cam", "lrp", "deeplift")
TARGETS = {
    "predicted": None,
    "stated": 2,
    "one per item": [0, 3, 1],
    "a difference": label(1) - 2.0 * label(4),
    "a channel": channel("conv2", 3),
    "a unit": neuron("conv2", 2, 3, 3),
}


@pytest.fixture
def runs(monkeypatch):
    """Rows of every run of the runtime, in order."""
    rows: list[int] = []
    plain = Session.run

    def counted(self, feeds):
        rows.append(len(feeds["picture"]))
        return plain(self, feeds)

    monkeypatch.setattr(Session, "run", counted)
    return rows


def loaded():
    return xplain.load(nets.cnn())


def explain(model, method, **options):
    """A row per call, so that the rows that are run are the rows that are asked."""
    return xplain.explain(model, ROWS, method, batch_size=1, **options)


def alone(model, method, target, **options):
    """The same by way of a look at the items first, as a model is asked whose sweeps do not say what they read."""

    class Silent:
        answers, outline = model.answers, model.outline

        def answer(self, query):
            found = model.answer(query)
            return dict(found) if isinstance(query, Sweep) else found

    return explain(Silent(), method, target=target, **options)


@pytest.mark.parametrize("method", SWEEPING)
def test_a_sweep_per_item_is_all_that_is_run(runs, method):
    model = loaded()
    explain(model, method)
    runs.clear()
    a = explain(model, method)
    assert runs == [1] * ITEMS
    assert (a.cost.queries, a.cost.sweeps) == (0, ITEMS)
    plan = xplain.plan(model, ROWS, method, batch_size=1)
    assert (plan.queries, plan.sweeps) == (0, ITEMS)


def test_the_baseline_is_run_once_for_all_items_and_again_for_another(runs):
    model = loaded()
    runs.clear()
    explain(model, "deeplift", baseline=0.25)
    first = len(runs)
    assert first == ITEMS + 1
    explain(model, "deeplift", baseline=0.25)
    assert len(runs) == first + ITEMS
    explain(model, "deeplift", baseline=0.5)
    assert len(runs) == first + ITEMS + ITEMS + 1
    runs.clear()
    explain(model, "deep-shap", baseline=np.stack([ROWS[0] * 0, ROWS[0] * 0 + 1]))
    assert len(runs) == 2 * ITEMS + 2 + ITEMS  # pairs, baselines, and f(x)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
@pytest.mark.parametrize("method", ["saliency", "grad-cam", "lrp", "deeplift"])
def test_it_is_what_a_look_at_the_items_first_would_give(method, target):
    if method == "grad-cam" and target is not None and not isinstance(target, (int, list)):
        pytest.skip("the layer lies behind the target")
    model = loaded()
    got, expected = explain(model, method, target=target), alone(model, method, target)
    assert got.labels == expected.labels
    assert got.target == expected.target
    np.testing.assert_allclose(got.scores, expected.scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.values, expected.values, rtol=1e-4, atol=1e-6 + 1e-5 * np.abs(expected.values).max())


def test_the_best_three_are_swept_each_and_looked_at_by_nobody(runs):
    model = loaded()
    scores = xplain.predict(model, ROWS)
    xplain.explain_many(model, ROWS, "saliency", target="top3", batch_size=1)
    runs.clear()
    found = xplain.explain_many(model, ROWS, "saliency", target="top3", batch_size=1)
    assert len(runs) == 3 * ITEMS
    best = np.argsort(-scores, axis=1, kind="stable")
    for rank, a in enumerate(found):
        assert a.labels == tuple(best[:, rank])
        np.testing.assert_allclose(a.scores, np.take_along_axis(scores, best, 1)[:, rank], rtol=1e-5)
        expected = explain(model, "saliency", target=list(map(int, a.labels)))
        np.testing.assert_allclose(a.values, expected.values, rtol=1e-5, atol=1e-7)


def test_what_needs_the_class_before_it_asks_is_told_by_a_look(runs):
    model = loaded()
    explain(model, "integrated-gradients", steps=4)
    looks, runs[:] = explain(model, "integrated-gradients", steps=4), []
    assert looks.labels == tuple(xplain.predict(model, ROWS).argmax(1))
    assert looks.cost.queries == 2 * ITEMS  # f(x), which is the look, and f(baseline)


def test_methods_that_sweep_share_what_the_first_has_seen(runs):
    model = loaded()
    with Run(model, Request({"saliency": {}, "lrp": {}}, batch_size=1)) as run:
        part = run.read(ROWS)
        for name in ("saliency", "lrp"):
            run.explain(part, name)
        runs.clear()
        part = run.read(ROWS)
        a, b = (run.explain(part, name)[0] for name in ("saliency", "lrp"))
    assert len(runs) == 2 * ITEMS
    assert a.labels == b.labels
    np.testing.assert_array_equal(a.scores, b.scores)


# ---------------------------------------------------------------------- the class is found in the graph


def net(w: np.ndarray, dtype: int = TensorProto.FLOAT, dims: tuple = ("N", 4)) -> onnx.ModelProto:
    """``scores = x w``, as ``[N, K]`` or with two axes of extent 1 behind."""
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Reshape", ["y", "shape"], ["scores"])],
        "linear",
        [helper.make_tensor_value_info("x", dtype, dims)],
        [helper.make_tensor_value_info("scores", dtype, None)],
        [numpy_helper.from_array(w.astype(kind), "w"), numpy_helper.from_array(np.array([0, -1, 1, 1]), "shape")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_of_equal_scores_the_first_is_predicted(dtype):
    w = np.array([[0, 1, 1, 2], [0, 1, 1, 2], [0, 1, 1, 0], [3, 1, 1, 0]], np.float32)
    x = np.array([[1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]], np.float32)
    model = xplain.load(net(w, dtype))
    a = xplain.explain(model, x, "saliency", channels=True)
    assert a.labels == tuple((x @ w).argmax(1)) == (1, 1, 0, 3)
    np.testing.assert_allclose(a.values, w[:, list(a.labels)].T)
    swept = model.answer(Sweep(x[:, None], predicted(4), Rules()))
    np.testing.assert_allclose(swept.scores, x @ w)
    np.testing.assert_allclose(swept.target, (x @ w).max(1))


def test_the_baseline_is_read_by_the_class_of_its_item():
    w = np.array([[0, 1], [2, 0], [0, 0], [0, 0]], np.float32)
    x, start = np.array([[1, 0, 0, 0]], np.float32), np.array([[0, 1, 0, 0]], np.float32)
    swept = xplain.load(net(w)).answer(Sweep(x[:, None], predicted(1), RESCALE, baseline=start))
    assert (swept.target[0], swept.below[0]) == (1, 0)  # the baseline's own class would be the other one, with 2


def test_scores_that_are_no_number_name_their_item():
    roots = net(np.eye(4, dtype=np.float32))
    roots.graph.node.insert(0, helper.make_node("Sqrt", ["x"], ["root"]))
    roots.graph.node[1].input[0] = "root"
    x = np.array([[1, 2, 3, 1], [1, 2, 0.5, 1], [1, -1, 0.5, 1]], np.float32)
    for rows in (1, 2, 8):
        with pytest.raises(NonFinite, match="class 0 for item 2"):
            xplain.explain(xplain.load(roots), x, "saliency", batch_size=rows)
