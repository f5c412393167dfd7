"""GELUs that exporters wrote out: found in every order, the same values, one derivative."""

from __future__ import annotations

import math

import numpy as np
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

from xplain.core.rules import Rules
from xplain.graph.passes import prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules.guided import GUIDED

X = np.concatenate([np.linspace(-7, 7, 61), [0.0, -0.0, 1e-30, 40, -40]]).astype(np.float32)[None]


ROOT = math.sqrt(2.0)


def net(form, root=ROOT, turned=False, extra=()):
    """``y = gelu(x)``; ``form`` says where the half is multiplied."""
    numbers = {"r": np.array(root, np.float32), "one": np.array(1.0, np.float32), "half": np.array(0.5, np.float32)}

    def two(op, a, b, out):
        return helper.make_node(op, [b, a] if turned else [a, b], [out])

    scaled = helper.make_node("Div", ["x", "r"], ["u"]) if root > 1 else two("Mul", "x", "r", "u")
    nodes = [scaled, helper.make_node("Erf", ["u"], ["e"]), two("Add", "e", "one", "s")]
    nodes += {
        "last": [two("Mul", "x", "s", "m"), two("Mul", "m", "half", "y")],
        "x": [two("Mul", "x", "half", "m"), two("Mul", "m", "s", "y")],
        "sum": [two("Mul", "s", "half", "m"), two("Mul", "x", "m", "y")],
    }[form]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", X.shape[1]])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", *extra)]
    graph = helper.make_graph(nodes, "g", [x], outputs, [numpy_helper.from_array(v, k) for k, v in numbers.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def exact(x):
    """The derivative in float64."""
    x = x.astype(np.float64)
    phi = np.array([[0.5 * (1 + math.erf(v / math.sqrt(2))) for v in row] for row in x])
    return phi + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("root", [math.sqrt(2.0), math.sqrt(0.5)])
@pytest.mark.parametrize("form", ["last", "x", "sum"])
def test_every_way_to_write_it_is_one_function(form, root, turned):
    model = net(form, root, turned)
    assert list(prepare(model, Rules()).gelus) == ["y"]
    built = build(model, ["input"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    y, g = session(built.model).run(["y", "cotangent/input"], {"x": X, "cot": np.ones_like(X)})
    np.testing.assert_allclose(y, session(model).run(["y"], {"x": X})[0], rtol=3e-7, atol=3e-8)
    np.testing.assert_allclose(g, exact(X), rtol=1e-5, atol=3e-7)
    operators = [one.op_type for one in built.model.graph.node]
    assert operators.count("Exp") == 1
    assert len(operators) - operators.count("Identity") <= 10  # 4 forward, 5 of the slope, 1 product


@pytest.mark.parametrize(
    ("model", "rules"),
    [
        (net("last", 1.5), Rules()),  # another argument of erf
        (net("last", extra=("s",)), Rules()),  # the sum is an output
        (net("sum", extra=("m",)), Rules()),
        (net("last"), GUIDED),  # a table may have rules for its parts
    ],
)
def test_what_is_no_gelu_or_is_looked_into_stays(model, rules):
    assert not prepare(model, rules).gelus
    built = build(model, ["input"], [Seed("y", "inner", "cot")], rules)
    (g,) = session(built.model).run(["cotangent/input"], {"x": X, "cot": np.ones_like(X)})
    (ahead,), (behind,) = (session(model).run(["y"], {"x": X + s * np.float32(1e-2)}) for s in (1, -1))
    np.testing.assert_allclose(g[:, :61], ((ahead - behind) / 2e-2)[:, :61], atol=2e-3)


@pytest.mark.parametrize(
    ("tap", "slope"),
    [("s", lambda x: x / 2), ("e", lambda x: x / 2), ("u", lambda x: x * np.exp(-x * x / 2) / math.sqrt(math.pi))],
)
def test_a_tap_inside_keeps_the_parts(tap, slope):
    built = build(net("last"), [tap, "input"], [Seed("y", "inner", "cot")])
    found = session(built.model).run([f"cotangent/{tap}", "cotangent/input"], {"x": X, "cot": np.ones_like(X)})
    np.testing.assert_allclose(found[0], slope(X.astype(np.float64)), rtol=1e-4, atol=3e-6)
    np.testing.assert_allclose(found[1], exact(X), rtol=1e-4, atol=3e-6)
