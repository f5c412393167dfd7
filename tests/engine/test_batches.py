"""Rows are cut into calls by one item alone: no item, order, cache or worker beside it changes a bit."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.batches import Cut, cut, fixed
from xplain.engine import Store

ITEM = (3, 16, 11)  # a width at which torch and numpy round a row by its place in a batch
X = np.random.default_rng(0).normal(size=(5, *ITEM)).astype(np.float32)


def numpy_function() -> Any:
    rng = np.random.default_rng(1)
    first = rng.normal(size=(int(np.prod(ITEM)), 33)).astype(np.float32)
    second = rng.normal(size=(33, 7)).astype(np.float32)
    return lambda batch: np.tanh(np.asarray(batch).reshape(len(batch), -1) @ first) @ second


def torch_net() -> Any:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(630, 33), nn.Tanh(), nn.Linear(33, 7)
    ).eval()


def onnx_net() -> Any:
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(2)
    weights = {"K": (5, 3, 3, 3), "W": (630, 33), "V": (33, 7)}
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("MatMul", ["f", "W"], ["m"]),
        helper.make_node("Tanh", ["m"], ["t"]),
        helper.make_node("MatMul", ["t", "V"], ["y"]),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *ITEM])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 7])
    stored = [numpy_helper.from_array(rng.normal(size=s).astype(np.float32), n) for n, s in weights.items()]
    graph = helper.make_graph(nodes, "net", [given], [made], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


DOORS = {"function": numpy_function, "torch": torch_net, "onnx": onnx_net}
SCORED: dict[str, dict[str, Any]] = {
    "occlusion": {"patch": 4, "stride": 3},
    "rise": {"samples": 70, "cells": 3},
    "kernel-shap": {"samples": 90, "features": "grid:4"},
    "lime": {"samples": 37, "features": "grid:3"},
}
SWEPT: dict[str, dict[str, Any]] = {
    "saliency": {},
    "integrated-gradients": {"steps": 13},
    "grad-cam": {"layer": "auto"},
    "lrp": {},
    "expected-gradients": {"samples": 6},
    "smoothgrad": {"samples": 3},
}


def model_of(door: str) -> Any:
    if door == "function":
        return xplain.load(numpy_function(), layout="NCHW", version="1")
    return xplain.load(DOORS[door]())


CASES = [(door, method) for door in DOORS for method in (SCORED if door == "function" else {**SCORED, **SWEPT})]


@pytest.mark.parametrize("size", [None, 6])
@pytest.mark.parametrize(("door", "method"), CASES)
def test_company_and_order_change_no_bit(door: str, method: str, size: int | None) -> None:
    options = {**SCORED, **SWEPT}[method]
    if method == "grad-cam":
        options = {"layer": "0"} if door == "torch" else {"layer": "r"}
    model = model_of(door)
    ask = lambda x: xplain.explain(model, x, method, target=2, batch_size=size, **options)  # noqa: E731
    every = ask(X)
    for part in ([0], [3], [4, 1], [4, 3, 2, 1, 0]):
        some = ask(X[part])
        np.testing.assert_array_equal(some.values, every.values[part])
        np.testing.assert_array_equal(some.scores, every.scores[part])
        if method != "integrated-gradients":  # whose items take as many rounds as each needs
            assert some.notes["rows per call"] == every.notes["rows per call"]


@pytest.mark.parametrize("door", DOORS)
def test_a_resumed_run_has_the_bits_of_one_that_was_not_interrupted(door: str) -> None:
    """Any rows may be there already, in the middle of a call too; a function is asked for those that are missing."""
    model = model_of(door)
    ask = lambda store: xplain.explain(model, X[:2], "occlusion", target=2, patch=4, stride=3, cache=store)  # noqa: E731
    expected = xplain.explain(model, X[:2], "occlusion", target=2, patch=4, stride=3)
    with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        np.testing.assert_array_equal(ask(store).values, expected.values)
        every = [bytes(key) for (key,) in store._db.execute("SELECT key FROM answers ORDER BY key")]
        gone = every[::3] if door != "function" else every
        store.drop(gone)
        again = ask(store)
        np.testing.assert_array_equal(again.values, expected.values)
        assert again.cost.queries == len(gone)


def test_another_batch_size_is_recorded() -> None:
    model = model_of("onnx")
    first, other = (xplain.explain(model, X, "occlusion", patch=4, stride=3, batch_size=size) for size in (None, 3))
    assert other.notes["rows per call"]["scores"] != first.notes["rows per call"]["scores"]
    np.testing.assert_allclose(other.values, first.values, rtol=1e-4, atol=1e-5)


def test_a_function_is_never_asked_for_more_rows_than_are_needed() -> None:
    asked: list[int] = []
    inner = numpy_function()

    def function(batch: Any) -> Any:
        asked.append(len(batch))
        return inner(batch)

    found = xplain.explain(xplain.load(function, layout="NCHW"), X, "occlusion", patch=4, stride=3, target=0)
    assert sum(asked) == found.cost.queries


@pytest.mark.parametrize(("per_item", "most"), [(1, 13), (13, 13), (14, 13), (49, 13), (196, 13), (197, 13), (7, 1)])
def test_cuts_cover_the_rows_and_waste_little(per_item: int, most: int) -> None:
    how = cut(per_item, most, 1)
    parts = list(how.parts(0, 3 * per_item))
    assert [row for start, stop in parts for row in range(start, stop)] == list(range(3 * per_item))
    assert all(start // per_item == (stop - 1) // per_item for start, stop in parts)
    assert how.rows <= most
    wasted = len(parts) * how.rows / (3 * per_item) - 1
    assert wasted <= 0.15
    begun = [part for part in parts if part[0] >= per_item][1:]
    assert list(how.parts(per_item + how.rows, 3 * per_item)) == begun  # the same calls wherever it begins


def test_cuts_of_few_rows_hold_many_items() -> None:
    assert cut(1, 256, 8) == Cut(8, by_item=False, of=1)
    assert list(cut(1, 256, 8).parts(0, 20)) == [(0, 8), (8, 16), (16, 20)]
    assert cut(1, 4, 8).rows == 4
    assert fixed(40, 8).by_item
    assert not fixed(9, 8).by_item
