"""What a model masks with infinity and drops has no derivative: values are torch's, or the formula's without a mask."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules.deeplift import RESCALE

torch = pytest.importorskip("torch")
F = torch.nn.functional
INF = float("inf")


def model(nodes, shape, stored, free=False) -> onnx.ModelProto:
    """Float input x, output y of a rank that inference finds."""
    dims = ["N", shape[1], *(["h", "w"][: len(shape) - 2] if free else shape[2:])]
    graph = helper.make_graph(
        [helper.make_node(op, i, [o], **a) for op, i, o, a in nodes],
        "masked",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def swept(
    net: onnx.ModelProto, x: np.ndarray, cotangent: np.ndarray, rules: Rules | None = None, x0=None
) -> np.ndarray:
    built = build(net, ["input"], [Seed("y", "inner", "cot")], rules)
    more = {} if x0 is None else {"baseline": x0}
    return session(built.model).run(["cotangent/input"], {"x": x, "cot": cotangent, **more})[0]


def compare(net: onnx.ModelProto, function, x: np.ndarray) -> None:
    """The gradient is torch's, and DeepLIFT adds up."""
    given = torch.from_numpy(x).requires_grad_(True)
    y = function(given)
    made = session(net).run(["y"], {"x": x})[0]
    np.testing.assert_allclose(made, y.detach().numpy(), rtol=1e-5, atol=1e-6)
    cotangent = np.random.default_rng(1).normal(size=made.shape).astype(np.float32)
    cotangent[~np.isfinite(made)] = 0
    torch.nan_to_num(y, neginf=0.0).backward(torch.from_numpy(cotangent))
    np.testing.assert_allclose(swept(net, x, cotangent), given.grad.numpy(), rtol=1e-4, atol=1e-5)
    x0 = np.random.default_rng(2).normal(size=x.shape).astype(np.float32)
    below = session(net).run(["y"], {"x": x0})[0]
    found = swept(net, x, cotangent, RESCALE, x0) * (x - x0)
    there = np.isfinite(made) & np.isfinite(below)
    delta = (np.where(there, made, 0) - np.where(there, below, 0)) * cotangent
    np.testing.assert_allclose(found.sum(), delta.sum(), rtol=1e-3, atol=1e-4)


POOLS = [
    (3, 2, (0, 0, 1, 1), 1, False), (3, 2, (1, 1, 1, 1), 1, False), (3, 1, (1, 1, 1, 1), 1, False),
    (2, 2, (0, 0, 0, 0), 1, False), (2, 2, (1, 1, 1, 1), 1, False), (3, 2, (2, 2, 2, 2), 2, False),
    (3, 2, (0, 1, 1, 0), 1, True), (2, 2, (2, 2, 2, 2), 1, False), (5, 3, (4, 4, 4, 4), 1, False),
]  # fmt: skip


@pytest.mark.parametrize("free", [False, True], ids=["fixed", "free"])
@pytest.mark.parametrize("value", [-INF, -1e9, -3.4e38])
@pytest.mark.parametrize(("kernel", "stride", "pads", "dilation", "ceil"), POOLS)
def test_padding_before_max_pooling(kernel, stride, pads, dilation, ceil, value: float, free: bool) -> None:
    if free and value != -INF:
        pytest.skip("one value is enough")
    top, left, bottom, right = pads
    nodes = [
        ("Pad", ["x", "pads", "v"], "q", {}),
        ("MaxPool", ["q"], "y", {
            "kernel_shape": [kernel] * 2, "strides": [stride] * 2, "dilations": [dilation] * 2, "ceil_mode": int(ceil)
        }),
    ]  # fmt: skip
    stored = {"pads": np.array([0, 0, top, left, 0, 0, bottom, right]), "v": np.float32(value)}
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8)).astype(np.float32)

    def function(v):
        padded = F.pad(v, (left, right, top, bottom), value=value)
        return F.max_pool2d(padded, kernel, stride, 0, dilation, ceil)

    net = model(nodes, x.shape, stored, free)
    if (top, kernel) == (2, 2):  # whole windows lie in the padding: what they hold differs, and nothing comes of it
        made = session(net).run(["y"], {"x": x})[0]
        cotangent = np.random.default_rng(1).normal(size=made.shape).astype(np.float32)
        given = torch.from_numpy(x).requires_grad_(True)
        function(given).backward(torch.from_numpy(cotangent))
        np.testing.assert_allclose(swept(net, x, cotangent), given.grad.numpy(), rtol=1e-4, atol=1e-6)
    else:
        compare(net, function, x)


@pytest.mark.parametrize("way", ["where", "concat", "relu-behind", "add", "twice"])
def test_other_ways_for_infinity_to_reach_a_pooling(way: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    mask = np.random.default_rng(3).random((1, 1, 6, 6)) > 0.4
    wall = np.where(mask, 0, -INF).astype(np.float32)
    pool = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    edge, end = np.full((2, 2, 6, 1), -INF, np.float32), torch.full((2, 2, 6, 1), -INF)
    pooled = lambda v: F.max_pool2d(v, 3, 2, 1)  # noqa: E731
    ways = {
        "where": ([("Where", ["m", "x", "v"], "q", {}), ("MaxPool", ["q"], "y", pool)],
                  lambda v: pooled(torch.where(torch.from_numpy(mask), v, -INF))),
        "concat": ([("Concat", ["x", "edge"], "q", {"axis": 3}), ("MaxPool", ["q"], "y", pool)],
                   lambda v: pooled(torch.cat([v, end], 3))),
        "relu-behind": ([("Where", ["m", "x", "v"], "q", {}), ("MaxPool", ["q"], "p", pool), ("Relu", ["p"], "y", {})],
                        lambda v: pooled(torch.where(torch.from_numpy(mask), v, -INF)).relu()),
        "add": ([("Add", ["x", "wall"], "q", {}), ("MaxPool", ["q"], "y", pool)],
                lambda v: pooled(v + torch.from_numpy(wall))),
        "twice": ([("Where", ["m", "x", "v"], "q", {}), ("MaxPool", ["q"], "p", pool), ("MaxPool", ["p"], "y", pool)],
                  lambda v: pooled(pooled(torch.where(torch.from_numpy(mask), v, -INF)))),
    }  # fmt: skip
    nodes, function = ways[way]
    used = {name for _, inputs, _, _ in nodes for name in inputs}
    stored = {"m": mask, "v": np.float32(-INF), "edge": edge, "wall": wall}
    compare(model(nodes, x.shape, {k: v for k, v in stored.items() if k in used}), function, x)


def test_the_largest_of_what_is_left() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    mask = np.array([[True, False, True, True, False]])
    nodes = [("Where", ["m", "x", "v"], "q", {}), ("ReduceMax", ["q", "axes"], "y", {})]
    net = model(nodes, x.shape, {"m": mask, "v": np.float32(-INF), "axes": np.array([1])})
    compare(net, lambda v: torch.where(torch.from_numpy(mask), v, -INF).amax(1, keepdim=True), x)


@pytest.mark.parametrize("how", ["where", "add"])
def test_a_row_of_attention_that_is_masked_as_a_whole(how: str) -> None:
    """Softmax of nothing but -inf is NaN, which the model drops; torch's own backward pass of this is NaN."""
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    mask = np.array([[True, True, False, True], [False] * 4, [True, False, False, False]])
    wall = np.where(mask, 0, -INF).astype(np.float32)
    first = ("Where", ["m", "x", "v"], "q", {}) if how == "where" else ("Add", ["x", "v"], "q", {})
    nodes = [
        first, ("Softmax", ["q"], "s", {"axis": -1}), ("IsNaN", ["s"], "n", {}), ("Where", ["n", "zero", "s"], "y", {})
    ]  # fmt: skip
    value = np.float32(-INF) if how == "where" else wall
    stored = {"v": value, "zero": np.float32(0)} | ({"m": mask} if how == "where" else {})

    def function(v):
        kept = torch.from_numpy(mask)
        e = torch.where(kept, torch.exp(v), 0.0)
        return e / torch.where(kept.any(-1, keepdim=True), e.sum(-1, keepdim=True), 1.0)

    compare(model(nodes, x.shape, stored), function, x)


BRANCHES = {
    "log": ([("Log", ["x"], "a", {})], lambda v, ok: torch.log(torch.where(ok, v, 1.0))),
    "reciprocal": ([("Reciprocal", ["x"], "a", {})], lambda v, ok: 1 / torch.where(ok, v, 1.0)),
    "sqrt": ([("Sqrt", ["x"], "a", {})], lambda v, ok: torch.sqrt(torch.where(ok, v, 1.0))),
    "quotient": ([("Mul", ["x", "x"], "b", {}), ("Div", ["x", "b"], "a", {})],
                 lambda v, ok: 1 / torch.where(ok, v, 1.0)),
    "power": ([("Pow", ["x", "p"], "a", {})], lambda v, ok: torch.where(ok, v, 1.0) ** -1.5),
    "entropy": ([("Log", ["x"], "b", {}), ("Mul", ["x", "b"], "a", {})],
                lambda v, ok: v * torch.log(torch.where(ok, v, 1.0))),
}  # fmt: skip


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_branch_that_is_dropped_because_it_is_not_finite(branch: str) -> None:
    """Torch's own gradient of Where(x > 0, log(x), 0) is NaN at 0; the reference hides the zero before the log."""
    x = np.array([[0.0, 0.7, 2.0, 0.0, -1.0, 0.3]], np.float32)
    inner, formula = BRANCHES[branch]
    nodes = [*inner, ("Greater", ["x", "zero"], "c", {}), ("Where", ["c", "a", "zero"], "y", {})]
    stored = {"zero": np.float32(0)} | ({"p": np.float32(-1.5)} if branch == "power" else {})
    given = torch.from_numpy(x).requires_grad_(True)
    y = torch.where(given > 0, formula(given, given > 0), 0.0)
    cotangent = np.arange(1, 7, dtype=np.float32)[None]
    y.backward(torch.from_numpy(cotangent))
    found = swept(model(nodes, x.shape, stored), x, cotangent)
    np.testing.assert_allclose(found, given.grad.numpy(), rtol=1e-5)


@pytest.mark.parametrize("rule", ["epsilon", "z-plus", "epsilon-plus-flat"])
def test_a_class_that_an_added_infinity_masks_takes_no_relevance(rule):
    nodes = [("MatMul", ["x", "w"], "z", {}), ("Add", ["z", "mask"], "y", {})]
    w, x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32), np.ones((1, 6), np.float32)
    masked, plain = (np.array([0, last, 0], np.float32) for last in (-np.inf, 0))
    found = [
        xplain.explain(model(nodes, x.shape, {"w": w, "mask": mask}), x, "lrp", rule=rule, target=0).values
        for mask in (masked, plain)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert np.abs(found[0]).max() > 0
