"""Fused, integer and recurrent operators inside the branches of an If that is decided at run time are opened too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from finite import session
from fused_nodes import r
from nets import FLOAT, model
from onnx import helper

from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Built, Returns, build

MICROSOFT = "com.microsoft"


def _info(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, None)


def _branch(name: str, nodes: list[Any], result: str, **stored: np.ndarray) -> onnx.GraphProto:
    held = [onnx.numpy_helper.from_array(array, key) for key, array in stored.items()]
    return helper.make_graph(nodes, name, [], [_info(result)], held)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _branching() -> onnx.ModelProto:
    """Attention and a recurrence where the sum is positive; else products with weights, one branch deeper."""
    yes = _branch(
        "yes",
        [
            helper.make_node("Attention", ["h", "qkv", "shift"], ["a"], domain=MICROSOFT, num_heads=2),
            helper.make_node("SkipLayerNormalization", ["a", "h", "gamma", "beta"], ["n"], domain=MICROSOFT),
            helper.make_node("Transpose", ["n"], ["steps"], perm=[1, 0, 2]),
            helper.make_node("LSTM", ["steps", "lw", "lr"], ["", "last"], hidden_size=8),
            helper.make_node("Transpose", ["last"], ["rows"], perm=[1, 0, 2]),
            helper.make_node("Add", ["n", "rows"], ["mixed"]),
        ],
        "mixed",
        lw=r(1, 32, 8) * 0.3,
        lr=r(1, 32, 8) * 0.3,
    )
    deep = _branch(
        "deep",
        [helper.make_node("FusedMatMul", ["h", "w"], ["mixed"], domain=MICROSOFT, transB=1, alpha=0.5)],
        "mixed",
    )
    other = _branch("other", [helper.make_node("QuickGelu", ["h"], ["mixed"], domain=MICROSOFT)], "mixed")
    no = _branch(
        "no", [helper.make_node("If", ["low"], ["chosen"], then_branch=deep, else_branch=other, name="inner")], "chosen"
    )
    nodes = [
        helper.make_node("BiasGelu", ["x", "bias"], ["h"], domain=MICROSOFT),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["flag"]),
        helper.make_node("Less", ["total", "limit"], ["low"]),
        helper.make_node("If", ["flag"], ["z"], then_branch=yes, else_branch=no, name="choice"),
        helper.make_node("FastGelu", ["z"], ["y"], domain=MICROSOFT),
    ]
    stored = {
        "bias": r(8), "qkv": r(8, 24), "shift": r(24), "gamma": r(8), "beta": r(8), "w": r(8, 8),
        "zero": np.float32(0), "limit": np.float32(-30),
    }  # fmt: skip
    return model(nodes, {"x": (FLOAT, ["N", 5, 8])}, {"y": (FLOAT, None)}, stored, opset=18, com_microsoft=1)


def _agrees(made: onnx.ModelProto, built: Built, x: np.ndarray, step: float) -> None:
    """The opened values are the runtime's own, and the gradient is that of their differences."""
    runner = session(made)
    wanted = runner.run(None, {"x": x})[0]
    cot = r(*wanted.shape)
    y, found = session(built.model).run(["y", built.taps["x"][1]], {"x": x, "cot": cot})
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=2e-5)
    away = []
    for seed in range(9):
        u = np.random.default_rng(seed).normal(size=x.shape)
        ahead, behind = (
            (runner.run(None, {"x": (x + s * step * u).astype(np.float32)})[0].astype(np.float64) * cot).sum()
            for s in (1, -1)
        )
        away.append(abs((ahead - behind) / (2 * step) - float((found * u).sum())))
    assert np.median(away) <= 1e-2 * float(np.linalg.norm(found))


TAKEN = [(0.6, (True, False)), (-0.25, (False, False)), (-2.0, (False, True))]


@pytest.mark.parametrize(("shift", "conditions"), TAKEN)
def test_each_branch_is_opened_and_walked(shift: float, conditions: tuple[bool, bool]) -> None:
    made = _branching()
    built = build(made, ["x"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    used = list(_nodes(built.model.graph))
    assert {node.domain for node in used} <= {"", "ai.onnx"}
    assert "LSTM" not in {node.op_type for node in used}
    x = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32) + np.float32(shift)
    assert (x.sum() > 0, x.sum() < -30) == conditions
    _agrees(made, built, x, 1e-3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_standard_operators_without_a_rule_are_opened_in_branches_too(sign: float) -> None:
    yes = [helper.make_node("MeanVarianceNormalization", ["h"], ["a"], axes=[1])]
    no = [
        helper.make_node("MeanVarianceNormalization", ["h"], ["m"], axes=[1]),
        helper.make_node("Neg", ["m"], ["a"]),
    ]
    nodes = [
        helper.make_node("Sin", ["x"], ["h"]),
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["flag"]),
        helper.make_node(
            "If", ["flag"], ["y"], then_branch=_branch("yes", yes, "a"), else_branch=_branch("no", no, "a")
        ),
    ]
    made = model(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 4])}, {"zero": np.float32(0)}, opset=18)
    built = build(made, ["x"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    assert "MeanVarianceNormalization" not in {node.op_type for node in _nodes(built.model.graph)}
    x = (sign * (np.abs(r(3, 4)) + 0.3)).astype(np.float32)
    _agrees(made, built, x, 1e-3)
