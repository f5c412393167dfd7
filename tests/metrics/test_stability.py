"""Stability of explanations whose change is known by formula, and how few maps all metrics of it make together."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper

import xplain
from xplain.core.errors import UsageError
from xplain.session.measures.grading import grade
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.testing import Formula

X = np.random.default_rng(0).uniform(0.5, 1.5, (2, 1, 4, 4)).astype(np.float32)
NAMES = ("sensitivity-max", "local-lipschitz", "relative-input-stability", "relative-output-stability")


def judged(model, names, method="occlusion", x=X, target=0, **options):
    with Session(model, Request({method: options}, target=target)) as session:
        part = session.read(x)
        return grade(session, part, session.explain(part, method)[0], names)


def even(scale=3.0):
    """A score that every element adds to alike: an explanation by hiding is ``scale * x``."""
    return Formula(lambda rows: scale * rows.sum(axis=(1, 2, 3)), "NCHW", (1, 4, 4))


def test_the_map_of_a_sum_moves_as_the_item_does():
    found = judged(even(), {name: {"samples": 4} for name in NAMES}, patch=1, stride=1)
    np.testing.assert_allclose(found["local-lipschitz"].values, 3, rtol=1e-4)
    np.testing.assert_allclose(found["relative-input-stability"].values, 1, rtol=1e-3)
    noise = _noise(4)
    moved = [np.linalg.norm(r) / np.linalg.norm(X[n]) for n, r in _largest(noise)]
    np.testing.assert_allclose(found["sensitivity-max"].values, moved, rtol=1e-3)
    by_score = np.max(
        [np.linalg.norm((r / X).reshape(2, -1), axis=1) / np.abs(3 * r.sum(axis=(1, 2, 3))) for r in noise], axis=0
    )
    np.testing.assert_allclose(found["relative-output-stability"].values, by_score, rtol=1e-2)
    assert found["sensitivity-max"].random is None


def _noise(samples):
    """What is drawn, as a session of seed 0 draws it."""
    from xplain.core.keeping.content import keys_of
    from xplain.core.query import View
    from xplain.core.target import label

    view = View(X, label(0), even().outline, 0, keys=keys_of(X))
    reach = 0.02 * (X.max(axis=(1, 2, 3), keepdims=True) - X.min(axis=(1, 2, 3), keepdims=True))
    drawers = view.rngs("neighbours of metrics")
    return [reach * np.stack([rng.uniform(-1, 1, X.shape[1:]) for rng in drawers]) for _ in range(samples)]


def _largest(noise):
    return [(n, max((one[n] for one in noise), key=np.linalg.norm)) for n in range(2)]


def test_maps_of_neighbours_are_made_once():
    model = even()
    judged(model, {"sensitivity-max": {"samples": 3}}, patch=1, stride=1)
    alone, model.rows = model.rows, 0
    judged(model, {name: {"samples": 3} for name in NAMES[:3]}, patch=1, stride=1)
    assert model.rows == alone


def test_a_layer_is_a_space_to_measure_in():
    graph = nets.model(
        [
            helper.make_node("Mul", ["x", "two"], ["twice"]),
            helper.make_node("Flatten", ["twice"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        ],
        {"x": (nets.FLOAT, ["N", 1, 4, 4])},
        {"scores": (nets.FLOAT, ["N", 2])},
        {"two": np.float32(2).reshape(1), "w": np.stack([np.ones(16), -np.ones(16)], axis=1).astype(np.float32)},
    )
    found = judged(graph, {"relative-representation-stability": {"samples": 3, "layer": "twice"}}, "input-x-gradient")
    np.testing.assert_allclose(found["relative-representation-stability"].values, 1, rtol=1e-3)
    found = judged(graph, "random-logit", "input-x-gradient")
    np.testing.assert_allclose(found["random-logit"].values, -1, rtol=1e-6), "the other class's map is its negative"
    with pytest.raises(UsageError, match="accepted: one class of two or more"):
        judged(graph, "random-logit", "input-x-gradient", target=xplain.label(0) - xplain.label(1))
    with pytest.raises(xplain.XplainError, match="shows no layer|answers only"):
        judged(even(), "relative-representation-stability", patch=1, stride=1)


def test_whole_numbers_have_no_neighbours():
    words = Formula(lambda rows: rows.sum(axis=1).astype(float), "NT", (4,))
    with pytest.raises(UsageError, match="cannot be changed a little"):
        judged(words, "sensitivity-max", x=np.arange(8).reshape(2, 4), patch=1, stride=1)
