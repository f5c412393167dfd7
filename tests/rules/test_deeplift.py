"""DeepLIFT is complete on every family of nets, agrees with captum and shap where they are complete, and by hand."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper
from reference_net import CLASSES, items, model, weights

from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules.deeplift import RESCALE
from xplain.rules.reveal_cancel import REVEAL_CANCEL, REVEAL_CANCEL_EVERYWHERE

RNG = np.random.default_rng(2)


def contributions(
    net: onnx.ModelProto, x: np.ndarray, x0: np.ndarray, target: np.ndarray, rules: Rules = RESCALE
) -> tuple[np.ndarray, np.ndarray]:
    """Contributions, and f(x) - f(x0) of the target."""
    name, y = net.graph.input[0].name, net.graph.output[0].name
    built = build(net, ["input"], [Seed(y)], rules)
    m = session(built.model).run(["cotangent/input"], {name: x, "target": target, "baseline": x0})[0]
    runner, rows = session(net), np.arange(len(x))
    delta = [runner.run([y], {name: v})[0][rows, target].astype(np.float64) for v in (x, x0)]
    return m * (x - x0), delta[0] - delta[1]


def assert_complete(found: np.ndarray, delta: np.ndarray, tolerance: float = 1e-4) -> None:
    assert np.abs(found.reshape(len(found), -1).sum(1) - delta).max() < tolerance * np.abs(delta).max()


@pytest.mark.parametrize("pool", [2, 3])
def test_contributions_sum_to_the_difference(pool: int) -> None:
    x, x0 = items(4), RNG.normal(size=(4, 3, 14, 14)).astype(np.float32)
    assert_complete(*contributions(model(pool=pool), x, x0, np.array([0, 1, 2, 3])))


def test_an_item_that_equals_its_baseline_has_the_gradient_as_multiplier() -> None:
    x = items()
    built = build(model(), ["input"], [Seed("y")], RESCALE)
    m = session(built.model).run(["cotangent/input"], {"x": x, "target": CLASSES, "baseline": x})[0]
    plain = build(model(), ["input"], [Seed("y")])
    g = session(plain.model).run(["cotangent/input"], {"x": x, "target": CLASSES})[0]
    # pooling has no slope where nothing differs: without it both are the same
    assert np.isfinite(m).all()
    assert np.isfinite(g).all()


def test_the_multiplier_of_a_relu_is_the_chord() -> None:
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "relu",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 5])],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = np.array([[2.0, -1.0, 3.0, -2.0, 1.0]], np.float32)
    x0 = np.array([[-1.0, 1.0, 1.0, -3.0, 1.0]], np.float32)
    built = build(net, ["input"], [Seed("y", "inner", "cot")], RESCALE)
    m = session(built.model).run(["cotangent/input"], {"x": x, "cot": np.ones_like(x), "baseline": x0})[0]
    np.testing.assert_allclose(m, [[2 / 3, 0.5, 1.0, 0.0, 1.0]], rtol=1e-6)


@pytest.mark.parametrize(
    "op", ["Mul", "Div", "MatMul", "Max", "Softmax", "Pow", "ReduceMax", "LRN", "InstanceNormalization"]
)
def test_each_kind_of_operator_is_complete(op: str) -> None:
    two = op in ("Mul", "Div", "MatMul", "Max")
    nodes = [helper.make_node("Exp", ["x"], ["a"]), helper.make_node("Sigmoid", ["x"], ["b"])]
    extra: dict[str, np.ndarray] = {}
    attributes: dict = {}
    if op == "Pow":
        extra["c"] = np.array(2.5, np.float32)
    if op == "LRN":
        attributes = {"size": 3, "alpha": 0.5, "beta": 0.75, "bias": 1.2}
    if op == "InstanceNormalization":
        extra = {"c": np.ones(4, np.float32), "d": np.ones(4, np.float32) * 0.3}
    if op == "ReduceMax":
        extra, attributes = {"c": np.array([3])}, {"keepdims": 0}
    nodes += [helper.make_node(op, ["a", "b"] if two else ["a", *extra], ["z"], **attributes)]
    nodes += [helper.make_node("Flatten", ["z"], ["y"])]
    graph = helper.make_graph(
        nodes,
        op,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in extra.items()],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, x0 = (RNG.normal(size=(3, 4, 6, 6)).astype(np.float32) for _ in range(2))
    assert_complete(*contributions(net, x, x0, np.array([0, 5, 9])), 1e-3)


# ---------------------------------------------------------------------- whole nets and other implementations


@pytest.fixture(scope="module")
def nets():
    pytest.importorskip("torch")
    return pytest.importorskip("torch_nets")


@pytest.mark.parametrize(
    "name", ["vgg", "resnet", "mobilenet-v3", "efficientnet", "densenet", "inception", "convnext", "vit"]
)
def test_whole_nets_are_complete(name: str, nets) -> None:
    import torch

    x, x0 = items(2), (RNG.normal(size=(2, 3, 14, 14)) * 0.3).astype(np.float32)
    x, x0 = (np.pad(v, ((0, 0), (0, 0), (9, 9), (9, 9)), mode="wrap") for v in (x, x0))
    net = nets.export(nets.net(name), torch.tensor(x))
    assert_complete(*contributions(net, x, x0, np.array([1, 7])))


def torch_net(pool: str):
    import torch
    from torch import nn

    values = [torch.tensor(v) for v in weights().values()]
    pools = {"max": nn.MaxPool2d(2), "max3": nn.MaxPool2d(3, 2), "average": nn.AvgPool2d(2)}
    made = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), pools[pool], nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 7), nn.ReLU(),
        nn.Linear(7, 5),
    )  # fmt: skip
    for slot, value in zip(made.parameters(), values, strict=True):
        slot.data = value
    return made.eval()


@pytest.mark.filterwarnings("ignore")
def test_captum_agrees_without_max_pooling(nets) -> None:
    captum = pytest.importorskip("captum.attr")
    import torch

    made, x0 = torch_net("average"), RNG.normal(size=(2, 3, 14, 14)).astype(np.float32)
    net = nets.export(torch_net("average"), torch.tensor(items()))
    found, delta = contributions(net, items(), x0, CLASSES)
    theirs = captum.DeepLift(made).attribute(torch.tensor(items()), torch.tensor(x0), torch.tensor(CLASSES))
    np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=1e-3, atol=1e-5)
    assert_complete(found, delta)


@pytest.mark.filterwarnings("ignore")
def test_where_captum_differs_it_is_not_complete(nets) -> None:
    captum = pytest.importorskip("captum.attr")
    import torch

    made, x0 = torch_net("max3"), RNG.normal(size=(2, 3, 14, 14)).astype(np.float32)
    found, delta = contributions(model(pool=3), items(), x0, CLASSES)
    theirs = captum.DeepLift(made).attribute(torch.tensor(items()), torch.tensor(x0), torch.tensor(CLASSES))
    ours = np.abs(found.sum((1, 2, 3)) - delta).max()
    gap = np.abs(theirs.detach().numpy().sum((1, 2, 3)) - delta).max()
    assert ours < 1e-4
    assert gap > 100 * ours


@pytest.mark.filterwarnings("ignore")
def test_shap_agrees_on_two_by_two_pooling(nets) -> None:
    shap = pytest.importorskip("shap")
    import torch

    background = RNG.normal(size=(4, 3, 14, 14)).astype(np.float32)
    explainer = shap.DeepExplainer(torch_net("max"), torch.tensor(background))
    theirs = np.asarray(explainer.shap_values(torch.tensor(items(1)), check_additivity=False))[..., 0]
    x = np.repeat(items(1), 4, axis=0)
    found, _ = contributions(model(), x, background, np.zeros(4, dtype=np.int64))
    np.testing.assert_allclose(found.mean(0), theirs[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_integer_models_are_complete_but_for_rounding(form: str, tmp_path) -> None:
    quantization = pytest.importorskip("onnxruntime.quantization")
    onnx.save(model(), tmp_path / "float.onnx")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"x": items(8)}])

        def get_next(self):
            return next(self.left, None)

    kinds = {"weight_type": quantization.QuantType.QInt8, "activation_type": quantization.QuantType.QUInt8}
    paths = (tmp_path / "float.onnx", tmp_path / "int8.onnx")
    quantization.quantize_static(*paths, Reader(), quant_format=quantization.QuantFormat[form], **kinds)
    x = items(4)
    found, delta = contributions(onnx.load(paths[1]), x, np.zeros_like(x), np.array([0, 0, 2, 2]))
    assert_complete(found, delta, 0.05)
    exact, _ = contributions(model(), x, np.zeros_like(x), np.array([0, 0, 2, 2]))
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.9


# ---------------------------------------------------------------------- RevealCancel


@pytest.mark.parametrize(("a", "b"), [(3.0, 1.0), (1.0, 3.0), (2.0, 2.5)])
def test_the_papers_minimum_credits_both_inputs(a: float, b: float) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "difference"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["x", "first"], ["f"]),
        helper.make_node("Sub", ["f", "r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "minimum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [
            numpy_helper.from_array(np.array([[1], [-1]], np.float32), "difference"),
            numpy_helper.from_array(np.array([[1], [0]], np.float32), "first"),
        ],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = np.array([[a, b]], np.float32)
    found, _ = contributions(net, x, np.zeros_like(x), np.array([0]), REVEAL_CANCEL)
    np.testing.assert_allclose(found, [[min(a, b) / 2] * 2], rtol=1e-5)


def test_two_layers_of_reveal_cancel_by_hand() -> None:
    rng = np.random.default_rng(8)
    w0, w1, x, x0 = (rng.normal(size=s) for s in ((4, 6), (6, 3), (2, 4), (2, 4)))
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w1"], ["p"]),
        helper.make_node("Tanh", ["p"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(w.astype(np.float32), name) for name, w in (("w0", w0), ("w1", w1))],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    found, delta = contributions(net, np.float32(x), np.float32(x0), np.array([0, 2]), REVEAL_CANCEL)
    assert_complete(found, delta)

    def through(f, z0, up, down):
        above, below, both = f(z0 + up), f(z0 + down), f(z0 + up + down)
        return (above - f(z0) + both - below) / 2, (below - f(z0) + both - above) / 2

    def weigh(up, down, w):
        return up @ np.maximum(w, 0) + down @ np.minimum(w, 0), up @ np.minimum(w, 0) + down @ np.maximum(w, 0)

    d = x - x0
    h_up, h_down = weigh(np.maximum(d, 0), np.minimum(d, 0), w0)
    r_up, r_down = through(lambda v: np.maximum(v, 0), x0 @ w0, h_up, h_down)
    p_up, p_down = weigh(r_up, r_down, w1)
    y_up, y_down = through(np.tanh, np.maximum(x0 @ w0, 0) @ w1, p_up, p_down)
    chosen = np.eye(3)[[0, 2]]
    g_up, g_down = chosen * y_up / p_up, chosen * y_down / p_down
    positive, negative = np.maximum(w1, 0).T, np.minimum(w1, 0).T
    g_up, g_down = g_up @ positive + g_down @ negative, g_down @ positive + g_up @ negative
    with np.errstate(all="ignore"):
        g_up = g_up * np.where(np.abs(h_up) < 1e-6, 0, r_up / h_up)
        g_down = g_down * np.where(np.abs(h_down) < 1e-6, 0, r_down / h_down)
    positive, negative = np.maximum(w0, 0).T, np.minimum(w0, 0).T
    m_up, m_down = g_up @ positive + g_down @ negative, g_down @ positive + g_up @ negative
    np.testing.assert_allclose(found, np.maximum(d, 0) * m_up + np.minimum(d, 0) * m_down, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["vgg", "resnet", "mobilenet-v2", "densenet", "vit"])
def test_reveal_cancel_is_complete_on_whole_nets(name: str, nets) -> None:
    import torch

    x, x0 = (RNG.normal(size=(2, 3, 32, 32)).astype(np.float32) for _ in range(2))
    net = nets.export(nets.net(name), torch.tensor(x))
    for rules in (REVEAL_CANCEL, REVEAL_CANCEL_EVERYWHERE):
        assert_complete(*contributions(net, x, x0, np.array([1, 7]), rules), 1e-3)


def test_reveal_cancel_stays_behind_dense_layers_unless_told() -> None:
    x, x0 = items(), np.zeros_like(items())
    rescale, dense, everywhere = (
        contributions(model(), x, x0, CLASSES, rules)[0] for rules in (RESCALE, REVEAL_CANCEL, REVEAL_CANCEL_EVERYWHERE)
    )
    assert np.corrcoef(rescale.ravel(), dense.ravel())[0, 1] > np.corrcoef(rescale.ravel(), everywhere.ravel())[0, 1]
    assert np.abs(dense - rescale).max() > 1e-4


def switch(kind: str) -> onnx.ModelProto:
    """A net of one switch that the data throws, between two dense layers."""
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"]),
        helper.make_node("Greater", ["h", "zero"], ["on"]),
        helper.make_node("Cast", ["on"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Sin", ["h"], ["a"]),
        helper.make_node("ReduceMean", ["h"], ["b"], axes=[1], keepdims=1),
        *{
            "mask times": [helper.make_node("Mul", ["h", "mask"], ["r"])],
            "divided": [helper.make_node("Add", ["mask", "one"], ["m"]), helper.make_node("Div", ["h", "m"], ["r"])],
            "mask added": [helper.make_node("Add", ["mask", "h"], ["r"])],
            "mask taken off": [helper.make_node("Sub", ["h", "mask"], ["r"])],
            "two branches": [helper.make_node("Where", ["on", "a", "h"], ["r"])],
            "one branch": [helper.make_node("Where", ["on", "h", "zero"], ["r"])],
            "other branch": [helper.make_node("Where", ["on", "one", "h"], ["r"])],
            "branch that is spread": [helper.make_node("Where", ["on", "b", "h"], ["r"])],
        }[kind],
        helper.make_node("Gemm", ["r", "w2"], ["y"]),
    ]
    arrays = {"w1": RNG.normal(size=(6, 8)), "w2": RNG.normal(size=(8, 3)), "zero": np.zeros(()), "one": np.ones(())}
    graph = helper.make_graph(
        nodes,
        "switch",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("rules", [RESCALE, REVEAL_CANCEL, REVEAL_CANCEL_EVERYWHERE], ids=lambda r: r.name)
@pytest.mark.parametrize(
    "kind",
    [
        "mask times",
        "divided",
        "mask added",
        "mask taken off",
        "two branches",
        "one branch",
        "other branch",
        "branch that is spread",
    ],
)
def test_a_switch_that_the_data_throws_is_complete(kind: str, rules: Rules) -> None:
    x, x0 = RNG.normal(size=(2, 16, 6)).astype(np.float32)
    assert_complete(*contributions(switch(kind), x, x0, np.arange(16) % 3, rules))


def test_a_masked_signal_has_the_multipliers_of_the_relu_that_it_is() -> None:
    """A mask, a Where and a Relu are one function, so they are explained alike."""
    x, x0 = RNG.normal(size=(2, 16, 6)).astype(np.float32)
    weights = {}
    found = []
    for kind in ("mask times", "one branch", "relu"):
        net = switch("mask times" if kind == "relu" else kind)
        if kind == "relu":
            del net.graph.node[1:-1]
            net.graph.node.insert(1, helper.make_node("Relu", ["h"], ["r"]))
        weights = weights or {one.name: one for one in net.graph.initializer}
        for one in net.graph.initializer:
            one.CopyFrom(weights[one.name])
        found.append(contributions(net, x, x0, np.arange(16) % 3)[0])
    np.testing.assert_allclose(found[0], found[2], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[1, 2], [-1, 1], [1, 2, 3]])
def test_a_logsumexp_over_several_axes_is_complete(axes: list[int], keepdims: int) -> None:
    kept = int(np.prod([n for k, n in zip((1, 2, 3), (4, 3, 5), strict=True) if k not in [a % 4 for a in axes]]))
    stored = {"axes": np.array(axes), "flat": np.array([0, -1]), "w": np.ones((kept, 3), np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("ReduceLogSumExp", ["x", "axes"], ["l"], keepdims=keepdims),
            helper.make_node("Reshape", ["l", "flat"], ["f"]) if keepdims or len(axes) < 3
            else helper.make_node("Unsqueeze", ["l", "one"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["y"]),
        ],
        "several axes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 3, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(one, name) for name, one in {**stored, "one": np.array([1])}.items()],
    )  # fmt: skip
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x, x0 = np.random.default_rng(2).normal(size=(2, 2, 4, 3, 5)).astype(np.float32)
    found, delta = contributions(net, x, x0, np.array([0, 2]))
    assert_complete(found, delta)


@pytest.mark.parametrize("size", [1, 20, 100])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_a_log_softmax_written_with_logsumexp_is_complete_whatever_the_logits_are(size: int, keepdims: int) -> None:
    nodes = [helper.make_node("ReduceLogSumExp", ["x", "axis"], ["l"], keepdims=keepdims)]
    nodes += [] if keepdims else [helper.make_node("Unsqueeze", ["l", "axis"], ["m"])]
    nodes.append(helper.make_node("Sub", ["x", "l" if keepdims else "m"], ["z"]))
    nodes.append(helper.make_node("MatMul", ["z", "w"], ["y"]))
    w = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = helper.make_graph(
        nodes,
        "by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array([1]), "axis"), numpy_helper.from_array(w, "w")],
    )
    net = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    x = size * np.array([[1, 0.3, -0.5, 0.1], [-1, 0.9, 0.2, 0.4]], np.float32)
    found, delta = contributions(net, x, np.zeros_like(x), np.array([0, 2]))
    assert_complete(found, delta)
    assert np.abs(found).sum() < 10 * np.abs(delta).sum()  # nothing cancels on the way
