"""Relevance rules: recorded results of zennit, conservation, and what each operator does with relevance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper
from reference_net import CLASSES, items, model

from xplain.core.rules import Rules, Where
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Built, Returns, build
from xplain.rules.excitation import CONTRASTIVE, EXCITATION
from xplain.rules.lrp import AlphaBeta, Flat, WSquare, ZBox
from xplain.rules.lrp_tables import (
    alpha_beta,
    epsilon,
    epsilon_alpha2_beta1_flat,
    epsilon_gamma_box,
    epsilon_plus_flat,
    gamma,
    z_plus,
)

GOLDEN = np.load(Path(__file__).parent / "golden" / "zennit.npz")
FIRST = Where(kinds=("linear",), place="first")
TABLES = {
    "epsilon": epsilon(),
    "epsilon-0.25": epsilon(epsilon=0.25),
    "zplus": z_plus(),
    "alpha2-beta1": alpha_beta(),
    "gamma": gamma(),
    "first-flat": epsilon().on(FIRST, Flat()),
    "first-wsquare": epsilon().on(FIRST, WSquare(bias=True)),
    "first-zbox": epsilon().on(FIRST, ZBox(-4.0, (4.0, 4.0, 4.0))),
    "epsilon-plus-flat": epsilon_plus_flat(),
    "epsilon-alpha2-beta1-flat": epsilon_alpha2_beta1_flat(),
    "epsilon-gamma-box": epsilon_gamma_box(low=-4.0, high=4.0),
}


def run(built: Built, tap: str = "input", **feeds: np.ndarray) -> np.ndarray:
    runner = session(built.model)
    given = {v.name: feeds[v.name] for v in runner.get_inputs()}
    return runner.run([built.taps[tap][1]], given)[0]


def relevance(net: onnx.ModelProto, rules: Rules, x: np.ndarray, target: np.ndarray, tap: str = "input") -> np.ndarray:
    return run(build(net, [tap], [Seed("y")], rules), tap, x=x, target=target)


@pytest.mark.parametrize("name", TABLES)
def test_every_rule_agrees_with_zennit(name: str) -> None:
    got = relevance(model(), TABLES[name], items(), CLASSES)
    assert np.abs(got - GOLDEN[name]).max() < 5e-6 * np.abs(GOLDEN[name]).max()


@pytest.mark.parametrize("name", ["epsilon", "zplus", "gamma", "first-flat", "epsilon-plus-flat"])
def test_without_biases_relevance_sums_to_the_score(name: str) -> None:
    net, x = model(biases=False), items(4)
    y = session(net).run(None, {"x": x})[0]
    best = y.argmax(1)
    got = relevance(net, TABLES[name], x, best)
    np.testing.assert_allclose(got.sum((1, 2, 3)), y[np.arange(4), best], rtol=2e-3)


def test_the_report_names_where_relevance_is_lost() -> None:
    built = build(model(), ["input"], [Seed("y")], epsilon(), returns=Returns(report=True))
    runner = session(built.model)
    x = items(1)
    received, passed = runner.run(["received", "passed"], {"x": x, "target": CLASSES[:1]})
    lost = dict(zip(built.report, received - passed, strict=True))
    np.testing.assert_allclose(passed[:-1], received[1:], rtol=1e-5)  # a chain: what one passes the next receives
    weighted = {name for name in lost if "Conv" in name or "Gemm" in name}
    assert all(abs(lost[name]) < 1e-5 for name in set(lost) - weighted)
    biasless = build(model(biases=False), ["input"], [Seed("y")], epsilon(), returns=Returns(report=True))
    received, passed = session(biasless.model).run(["received", "passed"], {"x": x, "target": CLASSES[:1]})
    np.testing.assert_allclose(received, passed, rtol=1e-3)


def test_relevance_at_a_layer_inside() -> None:
    got = relevance(model(biases=False), z_plus(), items(), CLASSES, "r2")
    y = session(model(biases=False)).run(None, {"x": items()})[0]
    assert got.shape == (2, 8, 4, 4)
    np.testing.assert_allclose(got.sum((1, 2, 3)), y[np.arange(2), CLASSES], rtol=2e-3)


# ---------------------------------------------------------------------- single operators

RNG = np.random.default_rng(1)


def single(nodes: list, weights: dict, dims: tuple = ("N", 4)) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def inner(net: onnx.ModelProto, rules: Rules, x: np.ndarray, cot: np.ndarray) -> np.ndarray:
    return run(build(net, ["input"], [Seed("y", "inner", "cot")], rules), x=x, cot=cot)


def f(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def test_alpha_beta_by_hand() -> None:
    x, w, b = f(3, 12), f(12, 5), f(5)
    net = single([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": w, "b": b}, ("N", 12))
    got = inner(
        net,
        Rules(meaning="probability").on(Where(kinds=("linear",)), AlphaBeta(3.0, 2.0)),
        x,
        np.ones((3, 5), np.float32),
    )
    z = x[:, :, None] * w[None]
    up, down = np.maximum(z, 0), np.minimum(z, 0)
    up_sum, down_sum = up.sum(1) + np.maximum(b, 0), down.sum(1) + np.minimum(b, 0)
    expected = 3 * (up / up_sum[:, None]).sum(2) - 2 * (down / down_sum[:, None]).sum(2)
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


NOT_NEGATIVE = {
    "Relu": [helper.make_node("Relu", ["x"], ["p"])],
    "Clip": [helper.make_node("Clip", ["x", "zero", "six"], ["p"])],
    "pooled": [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("AveragePool", ["a"], ["mean"], kernel_shape=[3, 3], pads=[1] * 4),
        helper.make_node("Add", ["mean", "a"], ["p"]),
    ],
}
NEGATIVE = {
    "none": [helper.make_node("Identity", ["x"], ["p"])],
    "Clip": [helper.make_node("Clip", ["x", "minus", "six"], ["p"])],
    "Sub": [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sub", ["a", "six"], ["p"])],
    "Pad": [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Pad", ["a", "edge", "minus"], ["p"])],
}


@pytest.mark.parametrize("rules", [alpha_beta(), gamma(), z_plus(bias=False)], ids=["alpha-beta", "gamma", "z-plus"])
@pytest.mark.parametrize("name", [*(f"+{name}" for name in NOT_NEGATIVE), *NEGATIVE])
def test_inputs_that_are_never_negative_need_half_of_the_evaluations(name: str, rules: Rules) -> None:
    head = NOT_NEGATIVE[name[1:]] if name[0] == "+" else NEGATIVE[name]
    once = name[0] == "+"
    x, w, b = f(2, 3, 6, 6), f(4, 3, 3, 3), f(4)
    weights = {"w": w, "b": b, "zero": np.float32(0), "six": np.float32(6), "minus": np.float32(-1)}
    weights["edge"] = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    conv = helper.make_node("Conv", ["p", "w", "b"], ["y"], pads=[1] * 4)
    made = build(single([*head, conv], weights, ("N", 3, 6, 6)), ["p"], [Seed("y", "inner", "cot")], rules)
    alone = build(
        single([NEGATIVE["none"][0], conv], weights, ("N", 3, 6, 6)), ["p"], [Seed("y", "inner", "cot")], rules
    )
    runner, wide = session(made.model), 8 if name == "Pad" else 6
    cot = f(2, 4, wide, wide)
    p = runner.run([made.taps["p"][0]], {"x": x, "cot": cot})[0]
    convolutions = [sum(node.op_type == "Conv" for node in one.model.graph.node) for one in (made, alone)]
    assert (convolutions[0] < convolutions[1]) == once
    if wide == 6:
        expected = run(alone, "p", x=p, cot=cot)
        np.testing.assert_allclose(run(made, "p", x=x, cot=cot), expected, rtol=1e-4, atol=1e-4)


def test_a_gate_takes_nothing_and_two_signals_share() -> None:
    x = np.abs(f(2, 4)) + 0.5
    gated = single([helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])], {})
    squared = single([helper.make_node("Sin", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])], {})
    cot = f(2, 4)
    y = x / (1 + np.exp(-x))
    np.testing.assert_allclose(inner(gated, epsilon(), x, cot), y * cot, rtol=1e-4)
    np.testing.assert_allclose(inner(squared, epsilon(), x, cot), np.sin(x) * x * cot, rtol=1e-4)


def test_a_layer_and_its_bias_in_two_nodes_are_one_layer() -> None:
    x, w, b, cot = f(3, 4), f(4, 5), f(5), f(3, 5)
    one = single([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], {"w": w, "b": b})
    two = single(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Add", ["m", "b"], ["y"])], {"w": w, "b": b}
    )
    np.testing.assert_allclose(
        inner(one, epsilon(epsilon=1e-9), x, cot), inner(two, epsilon(epsilon=1e-9), x, cot), rtol=1e-3, atol=1e-4
    )


# ---------------------------------------------------------------------- excitation


def excited(x: np.ndarray, weights: list[np.ndarray], p: np.ndarray) -> np.ndarray:
    """Equations 1 to 3 for dense layers with ReLU, written out."""
    active = [x]
    for w in weights[:-1]:
        active.append(np.maximum(active[-1] @ w, 0))
    for a, w in zip(active[::-1], weights[::-1], strict=True):
        up, wp = np.maximum(a, 0), np.maximum(w, 0)
        p = up * ((p / (up @ wp + 1e-10)) @ wp.T)
    return p


def dense(weights: list[np.ndarray]) -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h0"]),
        helper.make_node("Relu", ["h0"], ["r0"]),
        helper.make_node("MatMul", ["r0", "w1"], ["y"]),
    ]
    return single(nodes, {f"w{k}": w for k, w in enumerate(weights)})


def test_excitation_is_the_papers() -> None:
    weights, x = [f(4, 9), f(9, 3)], f(2, 4)
    p = np.eye(3, dtype=np.float32)[[0, 2]]
    got = relevance(dense(weights), EXCITATION, x, np.array([0, 2]))
    np.testing.assert_allclose(got, excited(x, weights, p), rtol=1e-4, atol=1e-6)


def test_contrastive_excitation_negates_the_last_layer_alone() -> None:
    weights, x = [f(4, 9), f(9, 3)], f(2, 4)
    p = np.eye(3, dtype=np.float32)[[1, 2]]
    got = relevance(dense(weights), CONTRASTIVE, x, np.array([1, 2]))
    np.testing.assert_allclose(got, excited(x, [weights[0], -weights[1]], p), rtol=1e-4, atol=1e-6)


def test_excitation_of_the_reference_net_is_a_distribution() -> None:
    x = np.abs(items())
    got = relevance(model(), EXCITATION, x, CLASSES)
    assert (got >= 0).all()
    np.testing.assert_allclose(got.sum((1, 2, 3)), 1.0, rtol=1e-4)


def test_half_precision_stays_finite() -> None:
    net = model()
    for tensor in net.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for info in (*net.graph.input, *net.graph.output):
        info.type.tensor_type.elem_type = TensorProto.FLOAT16
    for rules in (EXCITATION, epsilon_plus_flat(), epsilon()):
        got = relevance(net, rules, items().astype(np.float16), CLASSES)
        assert got.dtype == np.float16
        wide = relevance(model(), rules, items(), CLASSES)
        assert np.corrcoef(got.astype(np.float64).ravel(), wide.ravel())[0, 1] > 0.99


def test_large_biases_can_be_kept_from_taking_relevance() -> None:
    got = relevance(model(), epsilon_plus_flat(bias=False), items(), CLASSES)
    y = session(model()).run(None, {"x": items()})[0][np.arange(2), CLASSES]
    np.testing.assert_allclose(got.sum((1, 2, 3)), y, rtol=1e-3)


# a transformer's residual sums of both signs are too close to zero for epsilon to hold the score; z+ holds it
CONVOLUTIONAL = ["resnet", "mobilenet-v3", "densenet", "convnext"]
WHOLE = [(name, rules) for name in CONVOLUTIONAL for rules in (epsilon_plus_flat(bias=False), gamma(bias=False))]


@pytest.mark.parametrize(("name", "rules"), [*WHOLE, ("vit", z_plus(bias=False)), ("swin", z_plus(bias=False))])
def test_whole_nets_get_finite_relevance_near_the_score(name: str, rules: Rules) -> None:
    torch = pytest.importorskip("torch")
    nets = pytest.importorskip("torch_nets")
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)
    net = nets.export(nets.net(name), torch.tensor(x))
    y = session(net).run(None, {"x": x})[0]
    best = y.argmax(1)
    built = build(net, ["input"], [Seed("y")], rules, returns=Returns(report=True))
    r = session(built.model).run(["cotangent/input"], {"x": x, "target": best})[0]
    assert np.isfinite(r).all()
    share = r.sum((1, 2, 3)) / y[np.arange(2), best]
    assert (np.abs(share) < 3).all()
    assert (share > 0.2).all()
