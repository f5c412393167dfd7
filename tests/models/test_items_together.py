"""Models that put the items of a batch together are asked item by item: each would answer for the others beside it."""

from __future__ import annotations

import nets
import numpy as np
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper

import xplain
from xplain.core.edits import Untouched
from xplain.core.query import Score
from xplain.core.target import every_score

FLOAT = TensorProto.FLOAT

N = helper.make_node
TOGETHER = {
    "mean": [N("ReduceMean", ["x", "first"], ["m"]), N("Sub", ["x", "m"], ["y"])],
    "mean of all": [N("ReduceMean", ["x"], ["m"]), N("Sub", ["x", "m"], ["y"])],
    "cumulated": [N("CumSum", ["x", "zero"], ["y"])],
    "softmax": [N("Softmax", ["x"], ["y"], axis=0)],
    "counted from the end": [N("Softmax", ["x"], ["y"], axis=-4)],
    "norm": [N("MeanVarianceNormalization", ["x"], ["y"])],
    "largest": [N("ReduceMax", ["x", "first"], ["m"]), N("Div", ["x", "m"], ["y"])],
}
APART = {
    "of each item": [N("ReduceMean", ["x", "second"], ["m"]), N("Sub", ["x", "m"], ["y"])],
    "beside the scores": [N("ReduceMean", ["x"], ["side"]), N("Identity", ["x"], ["y"])],
    "the same for all": [N("ReduceMax", ["x"], ["m"]), N("Mul", ["m", "none"], ["o"]), N("Sub", ["x", "o"], ["y"])],
    "softmax": [N("Softmax", ["x"], ["y"], axis=1)],
}


def _over_items(nodes):
    stored = {
        "first": np.array([0]), "second": np.array([1]), "zero": np.array(0), "none": np.zeros((), "f"),
        "w": np.random.default_rng(3).standard_normal((48, 3)).astype(np.float32),
    }  # fmt: skip
    outputs = {"scores": (FLOAT, ["N", 3]), **({"side": (FLOAT, None)} if nodes[0].output[0] == "side" else {})}
    ends = [N("Flatten", ["y"], ["flat"]), N("MatMul", ["flat", "w"], ["scores"])]
    return nets.model([*nodes, *ends], {"x": (FLOAT, ["N", 3, 4, 4])}, outputs, stored, opset=18)


@pytest.mark.parametrize("nodes", TOGETHER.values(), ids=TOGETHER)
def test_items_that_a_model_puts_together_are_asked_one_at_a_time(nodes):
    """Rows of one call are hidden pictures of one item: put together, each would answer for the others."""
    proto = _over_items(nodes)
    model = xplain.load(proto)
    assert (model.outline.batch, model.outline.rows) == ("fixed", 1)
    assert f"{nodes[0].op_type} (node " in " ".join(model.outline.quirks)
    x = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = xplain.explain(model, x, "occlusion", target=1, patch=2, stride=2, baseline=0.5).values
    for item, values in zip(x, found, strict=True):
        for window in np.ndindex(2, 2):
            place = tuple(slice(2 * k, 2 * k + 2) for k in window)
            hidden = item.copy()
            hidden[:, *place] = 0.5
            clean, without = (session.run(["scores"], {"x": row[None]})[0][0, 1] for row in (item, hidden))
            assert np.allclose(values[place], clean - without, atol=1e-5)


@pytest.mark.parametrize("kind", [TensorProto.BOOL, TensorProto.INT64])
def test_of_tokens_and_truth_values_the_graph_is_believed(kind):
    """Made-up numbers would all be the same there, and tell nothing."""
    nodes = [
        N("Cast", ["x"], ["r"], to=FLOAT),
        N("ReduceMean", ["r", "first"], ["m"]),
        N("Sub", ["r", "m"], ["scores"]),
    ]
    proto = nets.model(
        nodes, {"x": (kind, ["N", 4])}, {"scores": (FLOAT, ["N", 4])}, {"first": np.array([0])}, opset=18
    )
    model = xplain.load(proto)
    assert (model.outline.batch, model.outline.rows) == ("fixed", 1)


@pytest.mark.parametrize("nodes", APART.values(), ids=APART)
def test_items_that_a_model_keeps_apart_share_calls(nodes):
    assert xplain.load(_over_items(nodes)).outline.batch == "free"


def test_a_sum_over_all_is_that_of_each_item():
    total = helper.make_node("ReduceSum", ["x"], ["scores"], keepdims=1)
    model = xplain.load(nets.model([total], {"x": (FLOAT, ["N", 3])}, {"scores": (FLOAT, [1, 1])}, {}))
    x = np.array([[1, 2, 3], [0, 0, 1]], np.float32)
    assert model.answer(Score(x, Untouched(), every_score)).tolist() == [[6], [1]]


class Net(torch.nn.Module):
    """Scores of pictures that were put together, or not, in a way of their own."""

    def __init__(self, put):
        super().__init__()
        torch.manual_seed(0)
        self.put, self.conv, self.head = put, torch.nn.Conv2d(3, 3, 1), torch.nn.Linear(48, 3)
        self.norm = torch.nn.InstanceNorm2d(3)

    def forward(self, x):
        return self.head(self.put(self, self.conv(x)).flatten(1))


MIXED = {
    "mean": ("mean", lambda net, x: x - x.mean(0)),
    "mean of all": ("mean", lambda net, x: x - x.mean()),
    "cumulated": ("cumsum", lambda net, x: x.cumsum(0)),
    "softmax": ("_softmax", lambda net, x: x.softmax(0)),
    "counted from the end": ("_softmax", lambda net, x: x.softmax(-4)),
    "largest": ("amax", lambda net, x: x / x.abs().amax(0, keepdim=True)),
    "sorted": ("sort", lambda net, x: x.sort(0).values),
    "the other way round": ("flip", lambda net, x: x.flip(0)),
    "attention among items": (
        "_softmax",
        lambda net, x: ((x.flatten(1) @ x.flatten(1).T).softmax(1) @ x.flatten(1)).reshape(x.shape),
    ),
    "batch norm as in training": ("native_batch_norm", lambda net, x: torch.nn.functional.batch_norm(
        x, None, None, training=True)),
}  # fmt: skip
KEPT_APART = {
    "of each item": lambda net, x: x - x.mean((1, 2, 3), keepdim=True),
    "softmax": lambda net, x: x.softmax(1),
    "beside the scores": lambda net, x: (x.mean(0), x)[1],
    "times nothing": lambda net, x: x + 0 * x.mean(),
    "instance norm": lambda net, x: net.norm(x),  # items are folded into channels, and each is normed alone
    "attention among positions": lambda net, x: torch.nn.functional.scaled_dot_product_attention(x, x, x),
}


@pytest.mark.parametrize("name", MIXED)
def test_items_that_a_module_puts_together_are_asked_one_at_a_time(name):
    operator, put = MIXED[name]
    net = Net(put).eval()
    model = xplain.load(net)
    x = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)
    found = xplain.explain(model, x, "occlusion", target=1, patch=2, stride=2, baseline=0.5).values
    assert any(f"aten.{operator} looks at the whole batch" in str(one) for one in model.outline.quirks)
    with torch.no_grad():
        for item, values in zip(x, found, strict=True):
            whole = net(torch.from_numpy(item[None]))[0, 1]
            for window in np.ndindex(2, 2):
                place = tuple(slice(2 * k, 2 * k + 2) for k in window)
                hidden = item.copy()
                hidden[:, *place] = 0.5
                drop = float(whole - net(torch.from_numpy(hidden[None]))[0, 1])
                np.testing.assert_allclose(values[place], drop, rtol=1e-4, atol=1e-5)
    alone = xplain.explain(xplain.load(net), x[1:], "saliency", target=1).values
    assert np.array_equal(xplain.explain(model, x, "saliency", target=1).values[1:], alone)


@pytest.mark.parametrize("name", KEPT_APART)
def test_items_that_a_module_keeps_apart_share_calls(name):
    model = xplain.load(Net(KEPT_APART[name]).eval())
    xplain.predict(model, np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32))
    assert model.outline.rows is None
    assert not any("looks at the whole batch" in str(one) for one in model.outline.quirks)


class Drawn(torch.nn.Module):
    """A linear score behind whatever may draw."""

    def __init__(self, draw):
        super().__init__()
        self.draw, self.head, self.lstm = draw, torch.nn.Linear(48, 3), torch.nn.LSTM(48, 48, batch_first=True)
        self.drop = torch.nn.Dropout(0.5)

    def forward(self, x):
        return self.head(self.draw(self, x.flatten(1)))


DRAWS = {
    "dropout that is left on": lambda net, x: torch.nn.functional.dropout(x, training=True),
    "noise": lambda net, x: x + torch.randn_like(x),
    "attention that drops": lambda net, x: torch.nn.functional.scaled_dot_product_attention(
        *[x.reshape(-1, 1, 8, 6)] * 3, dropout_p=0.5
    ).flatten(1),
}
DRAWS_NOT = {
    "dropout of a module": lambda net, x: net.drop(x),
    "an lstm": lambda net, x: net.lstm(x[:, None])[0][:, 0],
    "attention": lambda net, x: torch.nn.functional.scaled_dot_product_attention(*[x.reshape(-1, 1, 8, 6)] * 3).flatten(
        1
    ),
    "noise beside": lambda net, x: (torch.randn_like(x), x)[1],
}


@pytest.mark.parametrize("name", [*DRAWS, *DRAWS_NOT])
def test_a_module_whose_scores_are_drawn_says_so(name):
    net = Drawn({**DRAWS, **DRAWS_NOT}[name]).train()
    x = np.random.default_rng(0).random((2, 3, 4, 4)).astype(np.float32)
    a = xplain.explain(net, x, "occlusion", target=1, patch=2, stride=2)
    assert sum("draws anew at every run" in one.text for one in a.warnings) == (name in DRAWS)
