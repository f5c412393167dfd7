"""Recurrent layers are walked one step at a time, in a graph that does not grow with their length."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from finite import Case, check, session
from nets import FLOAT, model
from onnx import helper

import xplain
from xplain.core.errors import UnsupportedOperator
from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules import lrp_tables as lrp
from xplain.rules.deeplift import RESCALE
from xplain.rules.excitation import EXCITATION
from xplain.rules.guided import DECONVNET, GUIDED
from xplain.rules.reveal_cancel import REVEAL_CANCEL

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def r(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape) * 7 + len(shape)).normal(size=shape) * 0.5


def net(kind: str, steps: Any, direction: str = "forward", **attributes: Any) -> onnx.ModelProto:
    """Items ``[N, T, 4]``, two layers, a dense layer on the last step of all states and the last state."""
    ways, size = (2 if direction == "bidirectional" else 1), 5
    stored: dict[str, np.ndarray] = {"merge": np.array([0, 0, -1]), "d": r(2 * ways * size, 3), "last": np.array(-1)}
    nodes = [helper.make_node("Transpose", ["x"], ["t0"], perm=[1, 0, 2])]
    for k, width in ((0, 4), (1, size * ways)):
        for name, shape in (("w", (ways, GATES[kind] * size, width)), ("r", (ways, GATES[kind] * size, size))):
            stored[f"{name}{k}"] = r(*shape)
        stored[f"b{k}"] = r(ways, 2 * GATES[kind] * size)
        names = [f"t{k}", f"w{k}", f"r{k}", f"b{k}"]
        nodes += [
            helper.make_node(
                kind, names, [f"y{k}", f"h{k}"], f"layer{k}", hidden_size=size, direction=direction, **attributes
            ),
            helper.make_node("Transpose", [f"y{k}"], [f"p{k}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"p{k}", "merge"], [f"t{k + 1}"]),
        ]  # fmt: skip
    nodes += [
        helper.make_node("Gather", ["t2", "last"], ["e"], axis=0),
        helper.make_node("Transpose", ["h1"], ["q"], perm=[1, 0, 2]),
        helper.make_node("Flatten", ["q"], ["f"]),
        helper.make_node("Concat", ["e", "f"], ["g"], axis=1),
        helper.make_node("MatMul", ["g", "d"], ["y"]),
    ]
    stored = {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in stored.items()}
    return model(nodes, {"x": (FLOAT, ["N", steps, 4])}, {"y": (FLOAT, ["N", 3])}, stored, opset=18)


X = np.random.default_rng(1).normal(size=(3, 6, 4)).astype(np.float32)
X0 = np.random.default_rng(2).normal(size=(3, 6, 4)).astype(np.float32)
CLASSES = np.array([2, 0, 1])
TABLES = [
    Rules(), GUIDED, DECONVNET, EXCITATION, RESCALE, lrp.epsilon(epsilon=0.1), lrp.z_plus(),
    lrp.gamma(), lrp.alpha_beta(), lrp.epsilon_plus_flat(epsilon=0.1),
    lrp.epsilon_gamma_box(low=-2.0, high=2.0, epsilon=0.1),
]  # fmt: skip


def swept(made: onnx.ModelProto, rules: Rules, x: np.ndarray = X, x0: np.ndarray = X0) -> np.ndarray:
    built = build(made, ["input"], [Seed("y")], rules)
    feeds = {"x": x, "target": CLASSES} | ({"baseline": x0} if rules.reference else {})
    return session(built.model).run(["cotangent/input"], feeds)[0]


@pytest.mark.parametrize("rules", TABLES, ids=lambda table: table.name)
@pytest.mark.parametrize(("kind", "direction"), [("LSTM", "forward"), ("GRU", "reverse"), ("RNN", "bidirectional")])
def test_every_table_gives_what_it_gives_step_by_step(kind: str, direction: str, rules: Rules) -> None:
    made, x, x0 = net(kind, 3, direction), X[:, :3].copy(), X0[:, :3].copy()
    found, wanted = swept(made, rules, x, x0), swept(made, replace(rules, unrolled=True), x, x0)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_the_graph_does_not_grow_with_the_length(kind: str) -> None:
    for rules in (Rules(), RESCALE, lrp.epsilon()):
        sizes = [len(build(net(kind, T), ["input"], [Seed("y")], rules).model.SerializeToString()) for T in (4, 400)]
        assert sizes[1] < 1.02 * sizes[0]
    x = np.random.default_rng(3).normal(size=(1, 400, 4)).astype(np.float32)
    built = build(net(kind, 400), ["input"], [Seed("y")])
    g = session(built.model).run(["cotangent/input"], {"x": x, "target": CLASSES[:1]})[0]
    assert np.isfinite(g).all()


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_a_free_length_needs_no_writing_out(kind: str) -> None:
    free = net(kind, "T")
    for rules in (Rules(), RESCALE, *([lrp.epsilon(epsilon=0.1)] if kind == "LSTM" else [])):
        for steps in (6, 1):
            x, x0 = X[:, :steps].copy(), X0[:, :steps].copy()
            found, wanted = (swept(m, rules, x, x0) for m in (free, net(kind, steps)))
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5 * np.abs(wanted).max())
    with pytest.raises(UnsupportedOperator, match="length of its sequences is not known.*fixed length"):
        build(free, ["input"], [Seed("y")], REVEAL_CANCEL)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_torch_agrees(kind: str, bidirectional: bool) -> None:
    torch = pytest.importorskip("torch")
    direction = "bidirectional" if bidirectional else "forward"
    made = net(kind, 6, direction, **({"linear_before_reset": 1} if kind == "GRU" else {}))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in made.graph.initializer}
    layers = []
    for k, width in ((0, 4), (1, 5 * (1 + bidirectional))):
        layer = getattr(torch.nn, kind)(width, 5, batch_first=True, bidirectional=bidirectional)
        order = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}[kind]  # torch's gates among ONNX's

        def moved(a: np.ndarray, order: list[int] = order) -> Any:
            return torch.tensor(np.concatenate([np.split(a, len(order))[g] for g in order]))

        for d in range(1 + bidirectional):
            end = "_reverse" if d else ""
            bias = np.split(stored[f"b{k}"][d], 2)
            parts = (stored[f"w{k}"][d], stored[f"r{k}"][d], *bias)
            for name, part in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), parts, strict=True):
                getattr(layer, f"{name}_l0{end}").data = moved(part)
        layers.append(layer)
    x = torch.tensor(X, requires_grad=True)
    a, _ = layers[0](x)
    b, last = layers[1](a)
    h = last[0] if kind == "LSTM" else last
    g = torch.cat([b[:, -1], h.transpose(0, 1).flatten(1)], 1) @ torch.tensor(stored["d"])
    np.testing.assert_allclose(session(made).run(["y"], {"x": X})[0], g.detach().numpy(), atol=1e-5)
    g[torch.arange(3), torch.tensor(CLASSES)].sum().backward()
    np.testing.assert_allclose(swept(made, Rules()), x.grad.numpy(), atol=1e-5)


# ---------------------------------------------------------------------- other forms of the operators

T, N, D, H = 5, 3, 2, 4
LENGTHS = np.array([5, 2, 3], np.int32)


def forms() -> list[Case]:
    found = []
    for kind, gates in GATES.items():
        for direction in ("forward", "reverse", "bidirectional"):
            ways = 2 if direction == "bidirectional" else 1
            weights = [r(ways, gates * H, D), r(ways, gates * H, H), r(ways, 2 * gates * H)]
            how = {"attributes": {"hidden_size": H, "direction": direction}, "outputs": 3 if kind == "LSTM" else 2}
            found.append(Case(kind, [r(T, N, D), *weights, LENGTHS], label=f"lengths {direction}", **how))
            started = [r(T, N, D), *weights, LENGTHS, r(ways, N, H), *([r(ways, N, H)] if kind == "LSTM" else [])]
            wrt = (0, 5, 6) if kind == "LSTM" else (0, 5)
            found.append(Case(kind, started, wrt, label=f"lengths and states {direction}", **how))
    weights = [r(1, 4 * H, D), r(1, 4 * H, H), r(1, 8 * H)]
    how = {"attributes": {"hidden_size": H, "clip": 0.4}, "outputs": 3}
    found.append(Case("LSTM", [r(T, N, D), *weights], label="clip", **how))
    how = {"attributes": {"hidden_size": H}, "outputs": 3}
    found.append(Case("LSTM", [r(T, N, D), *weights, None, None, None, r(1, 3 * H)], label="peepholes", **how))
    how = {"attributes": {"hidden_size": H, "input_forget": 1}, "outputs": 3}
    found.append(Case("LSTM", [r(T, N, D), *weights], label="input and forget", **how))
    return found


@pytest.mark.parametrize("case", forms(), ids=str)
def test_every_form_has_the_derivative_of_what_the_runtime_computes(case: Case) -> None:
    check(case)
    made = case.model(np.float32)
    built = build(made, ["i0"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    y = session(made).run(["y"], case.feeds(np.float32))[0]
    again = session(built.model).run(["y"], {**case.feeds(np.float32), "cot": np.zeros_like(y)})[0]
    np.testing.assert_allclose(again, y, atol=1e-5)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_sequences_of_their_own_length_add_up(kind: str) -> None:
    case = next(c for c in forms() if c.op == kind and c.label == "lengths bidirectional")
    made, (x, *_) = case.model(np.float32), case.arrays(np.float32)
    built = build(made, ["i0"], [Seed("y", "inner", "cot")], RESCALE)
    y, y0 = (session(made).run(["y"], {"i0": v})[0].astype(float) for v in (x, x * 0))
    cot = np.random.default_rng(4).normal(size=y.shape).astype(np.float32)
    m = session(built.model).run(["cotangent/i0"], {"i0": x, "baseline": x * 0, "cot": cot})[0]
    assert abs((m * x).sum() - ((y - y0) * cot).sum()) < 1e-4 * np.abs(m * x).sum()
    assert np.abs(m[2:, 1]).max() == 0  # steps behind the end of an item's sequence


# ---------------------------------------------------------------------- from the door


@pytest.mark.parametrize("method", ["saliency", "deeplift", "lrp", "integrated-gradients", "guided-backprop"])
def test_methods_and_their_compiled_files(method: str) -> None:
    loaded = xplain.load(net("LSTM", 6), threads=1)
    more = {"steps": 4} if method == "integrated-gradients" else {}
    fixed = {"tolerance": None} if method == "integrated-gradients" else {}
    found = xplain.explain(loaded, X, method, target=1, **more, **fixed)
    compiled = xplain.compile(loaded, method=method, **more)
    onnx.checker.check_model(compiled)
    value = session(compiled).run(["attribution"], {"x": X, "target": np.array([1])})[0]
    np.testing.assert_allclose(value, found.values.reshape(value.shape), rtol=1e-3, atol=1e-5)


def test_a_scan_of_the_model_itself_is_followed() -> None:
    """A running maximum and a running product, written as a Scan, from the end to the start."""
    body = helper.make_graph(
        [
            helper.make_node("Mul", ["state", "row"], ["m"]),
            helper.make_node("Tanh", ["m"], ["t"]),
            helper.make_node("MatMul", ["t", "w"], ["v"]),
            helper.make_node("Add", ["v", "outer"], ["next"]),
            helper.make_node("Max", ["next", "row"], ["given"]),
        ],
        "body",
        [helper.make_tensor_value_info(n, FLOAT, ["N", 3]) for n in ("state", "row")],
        [helper.make_tensor_value_info(n, FLOAT, ["N", 3]) for n in ("next", "given")],
    )
    nodes = [
        helper.make_node("Transpose", ["x"], ["rows"], perm=[1, 0, 2]),
        helper.make_node("ReduceMean", ["x", "one"], ["outer"], keepdims=0),
        helper.make_node("Sigmoid", ["outer"], ["first"]),
        helper.make_node(
            "Scan", ["first", "rows"], ["last", "all"], body=body, num_scan_inputs=1, scan_input_directions=[1]
        ),
        helper.make_node("ReduceSum", ["all", "zero"], ["s"], keepdims=0),
        helper.make_node("Add", ["last", "s"], ["y"]),
    ]  # fmt: skip
    stored = {"w": r(3, 3).astype(np.float32), "one": np.array([1]), "zero": np.array([0])}
    made = model(nodes, {"x": (FLOAT, ["N", 4, 3])}, {"y": (FLOAT, ["N", 3])}, stored, opset=18)
    x = np.random.default_rng(5).normal(size=(2, 4, 3)).astype(np.float32)
    torch = pytest.importorskip("torch")
    given = torch.tensor(x, requires_grad=True)
    outer = given.mean(1)
    state, total = outer.sigmoid(), 0.0
    for k in (3, 2, 1, 0):
        state = torch.tanh(state * given[:, k]) @ torch.tensor(r(3, 3).astype(np.float32)) + outer
        total = total + torch.maximum(state, given[:, k])
    y = state + total
    np.testing.assert_allclose(session(made).run(["y"], {"x": x})[0], y.detach().numpy(), atol=1e-5)
    y[:, 1].sum().backward()
    built = build(made, ["input"], [Seed("y")])
    found = session(built.model).run(["cotangent/input"], {"x": x, "target": np.array([1, 1])})[0]
    np.testing.assert_allclose(found, given.grad.numpy(), atol=1e-5)
    x0 = np.zeros_like(x)
    m = swept_at(made, x, x0)
    delta = [session(made).run(["y"], {"x": v})[0][:, 1] for v in (x, x0)]
    np.testing.assert_allclose((m * x).sum((1, 2)), delta[0] - delta[1], rtol=1e-4, atol=1e-5)


def swept_at(made: onnx.ModelProto, x: np.ndarray, x0: np.ndarray) -> np.ndarray:
    built = build(made, ["input"], [Seed("y")], RESCALE)
    feeds = {"x": x, "baseline": x0, "target": np.array([1, 1])}
    return session(built.model).run(["cotangent/input"], feeds)[0]
