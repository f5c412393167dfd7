"""DeepLIFT adds up at every scale of logits and inputs, near the baseline and far from it, and stays near the truth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_deeplift import contributions

from xplain.core.rules import Rules
from xplain.rules.deeplift import RESCALE
from xplain.rules.reveal_cancel import REVEAL_CANCEL


class Net:
    """A graph ``[N, F]`` to ``[N, K]`` that is written node by node."""

    def __init__(self, features: int, opset: int = 18) -> None:
        self.nodes, self.stored, self.features, self.opset = [], [], features, opset

    def __call__(self, op: str, *inputs, **attributes) -> str:
        names = [v if isinstance(v, str) else self.const(v) for v in inputs]
        self.nodes.append(helper.make_node(op, names, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def const(self, value) -> str:
        array = np.asarray(value)
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        self.stored.append(numpy_helper.from_array(array, f"c{len(self.stored)}"))
        return self.stored[-1].name

    def model(self, y: str) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [y], ["y"]))
        shapes = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", self.features]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", None]),
        ]
        graph = helper.make_graph(self.nodes, "net", shapes[:1], shapes[1:], self.stored)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        onnx.checker.check_model(made)
        return made


def plain(net: Net, z: str) -> str:
    return net("Softmax", z, axis=-1)


def written(net: Net, z: str) -> str:
    e = net("Exp", z)
    return net("Div", e, net("ReduceSum", e, np.array([-1])))


def shifted(net: Net, z: str) -> str:
    e = net("Exp", net("Sub", z, net("ReduceMax", z, np.array([-1]))))
    return net("Div", e, net("ReduceSum", e, np.array([1])))


def reciprocal(net: Net, z: str) -> str:
    return net("Mul", net("Reciprocal", net("ReduceSum", net("Exp", z), np.array([-1]))), net("Exp", z))


def masked(net: Net, z: str) -> str:
    return net("Softmax", net("Where", np.array([[True, True, False]]), z, np.array(-np.inf, np.float32)), axis=1)


def added(net: Net, z: str) -> str:
    return net("Softmax", net("Add", z, np.array([[0.0, -np.inf, 0.0]], np.float32)), axis=1)


def logarithm(net: Net, z: str) -> str:
    return net("Exp", net("LogSoftmax", z, axis=-1))


def moved(net: Net, z: str) -> str:
    """The axis in front."""
    return net("Transpose", net("Softmax", net("Transpose", z, perm=[1, 0]), axis=0), perm=[1, 0])


SOFTMAXES = [plain, written, shifted, reciprocal, masked, added, logarithm, moved]


@pytest.mark.parametrize("rules", [RESCALE, REVEAL_CANCEL], ids=["rescale", "reveal-cancel"])
@pytest.mark.parametrize("way", SOFTMAXES, ids=lambda f: f.__name__)
@pytest.mark.parametrize("logit", [1.0, 10.0, 20.0, 60.0, 110.0, -110.0, 1000.0])
def test_a_softmax_adds_up_at_any_logit(way, logit: float, rules: Rules) -> None:
    if abs(logit) > 60 and way in (written, reciprocal):
        pytest.skip("exp overflows in the model itself")
    net = Net(3)
    y = net("MatMul", way(net, "x"), np.array([[1.0, 0.0], [2.0, 1.0], [4.0, 0.0]]))
    x = np.array([[logit, 0.3, logit / 2], [logit + 1, logit, logit - 1], [0.1, 0.2, 0.1]], np.float32)
    for x0 in (np.zeros_like(x), np.full_like(x, logit), x[::-1].copy()):
        found, delta = contributions(net.model(y), x, x0, np.array([0, 1, 0]), rules)
        size = np.abs(found).sum(1)
        assert (np.abs(found.sum(1) - delta) <= 1e-4 * np.abs(delta) + 1e-4 * size + 1e-6).all()
        if not x0.any():
            assert size[0] < 5.0  # of scores between 0 and 4; the parts of exp and 1 / sum were of 1e12
        net.nodes.pop()


@pytest.mark.parametrize("offset", [0.0, 20.0, 100.0, -100.0])
def test_logits_that_move_together_say_what_moves_apart(offset: float) -> None:
    """A softmax does not care for what all logits have in common, and neither do the contributions of its logits."""
    net = Net(3)
    y = net("MatMul", net("Softmax", "x", axis=-1), np.array([[1.0], [2.0], [4.0]]))
    made, x = net.model(y), np.array([[0.0, 1.0, -1.0]], np.float32)
    x0 = np.array([[0.5, 0.0, 0.0]], np.float32)
    apart, _ = contributions(made, x, x0, np.array([0]))
    together, delta = contributions(made, x + np.float32(offset), x0, np.array([0]))
    s, s0 = (np.exp(v - v.max()) / np.exp(v - v.max()).sum() for v in (x[0].astype(float), x0[0].astype(float)))
    mean = (s - s0) / (np.log(s) - np.log(s0))  # by the definition
    g = np.array([1.0, 2.0, 4.0])
    expected = mean * (g - (g * mean).sum() / mean.sum())
    np.testing.assert_allclose(apart[0], expected * (x - x0)[0], rtol=1e-4)
    np.testing.assert_allclose(together[0] / (x + offset - x0)[0], expected, rtol=2e-3, atol=1e-6)
    np.testing.assert_allclose(together.sum(), delta[0], rtol=1e-3, atol=1e-5)


# ---------------------------------------------------------------------- norms


def layer_norm(net: Net, x: str) -> str:
    centred = net("Sub", x, net("ReduceMean", x, np.array([-1])))
    variance = net("ReduceMean", net("Mul", centred, centred), np.array([-1]))
    return net("Div", centred, net("Sqrt", net("Add", variance, np.array(1e-5, np.float32))))


def root_mean_square(net: Net, x: str) -> str:
    square = net("ReduceMean", net("Pow", x, np.array(2.0, np.float32)), np.array([-1]))
    return net("Mul", x, net("Reciprocal", net("Sqrt", net("Add", square, np.array(1e-6, np.float32)))))


def by_power(net: Net, x: str) -> str:
    square = net("ReduceMean", net("Mul", x, x), np.array([-1]))
    return net("Mul", net("Pow", net("Add", square, np.array(1e-6, np.float32)), np.array(-0.5, np.float32)), x)


def keras(net: Net, x: str) -> str:
    """gamma / std first, then x times it, less mean times it."""
    mean = net("ReduceMean", x, np.array([-1]))
    centred = net("Sub", x, mean)
    square = net("Add", net("ReduceMean", net("Mul", centred, centred), np.array([-1])), np.array(1e-5, np.float32))
    factor = net("Mul", net("Reciprocal", net("Sqrt", square)), np.linspace(0.5, 1.5, 6))
    return net("Sub", net("Mul", x, factor), net("Mul", mean, factor))


def unit(net: Net, x: str) -> str:
    length = net("Sqrt", net("ReduceSum", net("Mul", x, x), np.array([-1])))
    return net("Div", x, net("Max", length, np.array(1e-6, np.float32)))


def own(net: Net, x: str) -> str:
    return net("LayerNormalization", x, np.linspace(0.5, 1.5, 6), np.zeros(6), axis=-1)


def evaluated(made: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    with np.errstate(all="ignore"):
        return ReferenceEvaluator(made).run(None, {"x": x.astype(np.float32)})[0].astype(float)


def along_the_path(made: onnx.ModelProto, x: np.ndarray, x0: np.ndarray) -> np.ndarray:
    """Integrated gradients by differences; points dense near x0, where a norm turns."""
    t = np.concatenate([[0.0], np.geomspace(1e-7, 1.0, 400)])
    total = np.zeros_like(x)
    for a, b in pairwise(t):
        middle = x0 + (a + b) / 2 * (x - x0)
        h = max(1e-2 * (a + b) / 2, 1e-9)
        ends = [middle + s * h * np.diag(x - x0) for s in (1, -1)]
        rise = evaluated(made, ends[0])[:, 0] - evaluated(made, ends[1])[:, 0]
        total += rise / (2 * h) * (b - a)
    return total


@pytest.mark.parametrize("norm", [layer_norm, root_mean_square, by_power, keras, own], ids=lambda f: f.__name__)
def test_a_norm_on_a_constant_baseline_is_as_large_as_its_path(norm) -> None:
    net = Net(6)
    y = net("MatMul", norm(net, "x"), np.random.default_rng(3).normal(size=(6, 2)))
    made, x = net.model(y), np.random.default_rng(4).normal(size=6)
    found, delta = contributions(made, x[None].astype(np.float32), np.zeros((1, 6), np.float32), np.array([0]))
    assert abs(found.sum() - delta[0]) < 1e-4 * np.abs(found).sum()
    path = along_the_path(made, x, np.zeros(6))
    assert 0.7 < np.abs(found).sum() / np.abs(path).sum() < 1.5  # 17 and 160 times with the midpoint of 1 / std
    assert (found[0] * path).sum() / np.linalg.norm(found) / np.linalg.norm(path) > 0.98


# ---------------------------------------------------------------------- random nets at every scale

UNARY = [
    "Relu",
    "Sigmoid",
    "Tanh",
    "Exp",
    "Erf",
    "Softplus",
    "Elu",
    "LeakyRelu",
    "HardSigmoid",
    "Softsign",
    "Abs",
    "Atan",
]
MIXED = [plain, shifted, reciprocal, layer_norm, root_mean_square, keras, unit, own]


def grown(rng: np.random.Generator) -> onnx.ModelProto:
    net, at = Net(6), "x"
    for _ in range(int(rng.integers(2, 5))):
        at = net("Gemm", at, rng.normal(size=(6, 6)) / 2, rng.normal(size=6) * 0.1)
        kind = int(rng.integers(5))
        if kind == 0:
            at = MIXED[int(rng.integers(len(MIXED)))](net, at)
        elif kind == 1:
            at = net("Mul", at, net("Sigmoid", net("Gemm", at, rng.normal(size=(6, 6)) / 2)))
        elif kind == 2:
            at = net(["Max", "Min"][int(rng.integers(2))], at, net("Gemm", at, rng.normal(size=(6, 6)) / 2))
        elif kind == 3:
            at = net(
                "Div", at, net("Add", net("Exp", net("Clip", at, np.float32(-5), np.float32(5))), np.float32(0.01))
            )
        else:
            op = UNARY[int(rng.integers(len(UNARY)))]
            at = net(op, net("Clip", at, np.float32(-30), np.float32(30)) if op == "Exp" else at)
    return net.model(net("Gemm", at, rng.normal(size=(6, 3))))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("seed", range(25))
def test_random_nets_add_up_at_every_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    made, x = grown(rng), (rng.normal(size=(3, 6)) * scale).astype(np.float32)
    for x0 in (np.zeros_like(x), (rng.normal(size=(3, 6)) * scale).astype(np.float32), x * np.float32(1 + 1e-5)):
        found, delta = contributions(made, x, x0, np.array([0, 1, 2]))
        y = max(np.abs(evaluated(made, v)).max() for v in (x, x0))
        assert np.isfinite(found).all()
        lost = np.abs(found.sum(1) - delta)
        assert (lost <= 2e-3 * np.abs(delta) + 1e-4 * np.abs(found).sum(1) + 3e-5 * y).all(), (lost, delta)
