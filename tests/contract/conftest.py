"""What the contract is tried on: a smooth formula for methods that only ask scores, a small network for the others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.declaring.registry import Method
from xplain.core.query import Score
from xplain.core.trees import Ensemble, Forest
from xplain.testing import Formula

ITEM = (2, 12, 12)

# Small numbers where a method's default is large, so that the whole contract runs in seconds.
_QUICK = {"samples": 200, "steps": 8}


def quick(entry: Method, **more: Any) -> dict[str, Any]:
    """Options that make a method cheap: those it declares, and any it has under a name we know."""
    return {name: value for name, value in {**_QUICK, **entry.trial, **more}.items() if name in entry.options}


class Recorder:
    """A model that passes everything on and keeps the questions."""

    def __init__(self, model: Any) -> None:
        self.model, self.outline, self.answers = model, model.outline, model.answers
        self.queries: list[Any] = []

    def answer(self, query: Any) -> Any:
        self.queries.append(query)
        return self.model.answer(query)


def smooth_formula() -> Formula:
    """Three classes; every element matters, with interactions; the same bits for a row in any batch."""
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(3, 2, int(np.prod(ITEM)))) / 8

    def function(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        parts = [[(flat * w).sum(axis=1) for w in pair] for pair in weights]
        return np.stack([np.tanh(a) + 0.5 * a + a * b for a, b in parts], axis=1)

    return Formula(function, "NCHW", ITEM, classes=3)


def small_network() -> Any:
    """Conv, ReLU, Conv, ReLU, global mean, Gemm: three classes."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array((rng.normal(size=shape) / 3).astype(np.float32), name)

    weights = [("w1", 4, 2, 3, 3), ("b1", 4), ("w2", 5, 4, 3, 3), ("b2", 5), ("w3", 3, 5), ("b3", 3)]
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("GlobalAveragePool", ["r2"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *ITEM])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [weight(*one) for one in weights],
    )
    return xplain.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def small_transformer() -> Any:
    """Nine patches as tokens, two layers of attention with two heads and a residual stream, the mean, three classes."""
    from onnx import TensorProto, helper, numpy_helper

    rng, width, heads = np.random.default_rng(4), 8, 2
    stored = {
        "patch": rng.normal(size=(width, 2, 4, 4)) / 6,
        "place": rng.normal(size=(1, 9, width)),
        "head": rng.normal(size=(width, 3)),
        "scale": np.float32((width // heads) ** -0.5),
        "flat": np.array([0, width, -1]),
        "apart": np.array([0, 0, heads, width // heads]),
        "whole": np.array([0, 0, width]),
    }
    nodes = [
        helper.make_node("Conv", ["x", "patch"], ["p"], strides=[4, 4]),
        helper.make_node("Reshape", ["p", "flat"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["tokens"], perm=[0, 2, 1]),
        helper.make_node("Add", ["tokens", "place"], ["t0"]),
    ]
    for k in range(2):
        for name in "qkvou":
            stored[f"{name}{k}"] = rng.normal(size=(width, width)) / 3
        stored[f"g{k}"] = np.ones(width)
        nodes.append(helper.make_node("LayerNormalization", [f"t{k}", f"g{k}"], [f"n{k}"]))
        for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            nodes.append(helper.make_node("MatMul", [f"n{k}", f"{name}{k}"], [f"{name}l{k}"]))
            nodes.append(helper.make_node("Reshape", [f"{name}l{k}", "apart"], [f"{name}r{k}"]))
            nodes.append(helper.make_node("Transpose", [f"{name}r{k}"], [f"{name}h{k}"], perm=order))
        nodes += [
            helper.make_node("MatMul", [f"qh{k}", f"kh{k}"], [f"s{k}"]),
            helper.make_node("Mul", [f"s{k}", "scale"], [f"sc{k}"]),
            helper.make_node("Softmax", [f"sc{k}"], [f"a{k}"], axis=-1),
            helper.make_node("MatMul", [f"a{k}", f"vh{k}"], [f"m{k}"]),
            helper.make_node("Transpose", [f"m{k}"], [f"mt{k}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"mt{k}", "whole"], [f"mr{k}"]),
            helper.make_node("MatMul", [f"mr{k}", f"o{k}"], [f"ml{k}"]),
            helper.make_node("Add", [f"t{k}", f"ml{k}"], [f"r{k}"]),
            helper.make_node("MatMul", [f"r{k}", f"u{k}"], [f"w{k}"]),
            helper.make_node("Relu", [f"w{k}"], [f"z{k}"]),
            helper.make_node("Add", [f"r{k}", f"z{k}"], [f"t{k + 1}"]),
        ]
    nodes += [
        helper.make_node("ReduceMean", ["t2"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "head"], ["y"]),
    ]
    weights = [
        numpy_helper.from_array(v if v.dtype == np.int64 else v.astype(np.float32), name) for name, v in stored.items()
    ]
    graph = helper.make_graph(
        nodes,
        "transformer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", *ITEM])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        weights,
    )
    return xplain.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def additive_formula() -> Formula:
    """A linear model, for methods that refuse all others."""
    weights = np.random.default_rng(3).normal(size=(3, int(np.prod(ITEM))))

    def function(rows: np.ndarray) -> np.ndarray:
        flat = rows.reshape(len(rows), -1).astype(np.float64)
        return np.stack([(flat * w).sum(axis=1) for w in weights], axis=1)

    return Formula(function, "NCHW", ITEM, classes=3)


class Grown(Formula):
    """A formula that is a sum of twelve trees over all elements, three classes."""

    answers = frozenset({Score, Ensemble})

    def __init__(self) -> None:
        rng, forest = np.random.default_rng(6), Forest(3)
        for _ in range(12):
            start = forest.plant()
            for k in range(3):
                ways = (start + 2 * k + 1, start + 2 * k + 2)
                forest.split(int(rng.integers(np.prod(ITEM))), float(rng.normal() / 2), ways, False, 4.0 - 2 * (k > 0))
            for _ in range(4):
                forest.leaf(rng.normal(size=3), 1.0)
        self.trees = forest.grown(np.zeros(3), covered=True)
        super().__init__(lambda rows: self.trees.outputs(rows.reshape(len(rows), -1)), "NCHW", ITEM, classes=3)

    def answer(self, query: Any) -> Any:
        return self.trees if isinstance(query, Ensemble) else super().answer(query)


def subject(entry: Method) -> Recorder:
    """A model that can answer the method."""
    if entry.suits == "trees":
        return Recorder(Grown())
    if entry.suits == "attention":
        return Recorder(small_transformer())
    formula = additive_formula() if entry.suits == "additive" else smooth_formula()
    return Recorder(formula if entry.needs <= formula.answers else small_network())


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, *ITEM)).astype(np.float32)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per registered method: ``entry`` any, ``black_box`` asks scores alone, ``shapley`` is complete too."""
    entries = xplain.methods()
    chosen = {
        "entry": entries,
        "black_box": [entry for entry in entries if entry.needs == {Score}],
        "shapley": [entry for entry in entries if entry.needs == {Score} and entry.complete],
    }
    for fixture, some in chosen.items():
        if fixture in metafunc.fixturenames:
            metafunc.parametrize(fixture, some, ids=[entry.name for entry in some])
