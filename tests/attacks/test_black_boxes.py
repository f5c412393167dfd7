"""Attacks that need no gradient, and the smallest changes: closed forms of linear models, labels and top-k answers."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError
from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.core.synthesis.attack import NORMS, Goal, margins
from xplain.explainers.attacks.balls import Ball, size_of
from xplain.explainers.attacks.minimal import onto_plane

from .conftest import linear
from .test_pgd import CARD, margin_of

NAN = np.nan
ROW = Layout("NS", (6,))


def rows_model():
    """Two scores of rows of 6 columns, in float64 arithmetic of its own, as a torch module."""
    import torch

    rng = np.random.default_rng(8)
    w = rng.normal(size=6)
    module = torch.nn.Linear(6, 2)
    module.weight.data = torch.tensor(np.stack([w, -w]), dtype=torch.float32)
    module.bias.data = torch.zeros(2)
    return module, 2 * w


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_a_linear_models_least_change_is_its_closed_form(norm):
    module, w = rows_model()
    x = np.random.default_rng(9).normal(size=(4, 6)).astype(np.float32)
    margin = np.abs(x @ w)
    exact = {
        "linf": margin / np.abs(w).sum(),
        "l2": margin / np.linalg.norm(w),
        "l1": margin / np.abs(w).max(),
    }[norm]
    found = xplain.attack(module, x, "minimal", norm=norm)
    assert found.fooled.all()
    size = size_of(found.after - found.before, norm, ROW)
    np.testing.assert_allclose(size, exact, rtol=1e-4)
    assert (size >= exact * (1 - 1e-5)).all()


def test_of_pictures_the_least_change_is_the_fewest_whole_numbers_that_reach_the_plane(weights, pictures):
    """In linf the plane says which whole number is the first that can be enough."""
    w = weights[:, 0] - weights[:, 1]
    bias = np.array([4.0 - margin_of(weights, np.zeros(2), pictures[0]), 0.0])
    found = xplain.attack(xplain.load(linear(weights, bias), card=CARD), pictures[:1], "minimal", norm="linf")
    assert found.sizes[0, 0] * 255 == pytest.approx(np.ceil(4.0 / (np.abs(w).sum() / 255)))
    least = 4.0 / np.linalg.norm(w)
    found = xplain.attack(xplain.load(linear(weights, bias), card=CARD), pictures[:1], "minimal", norm="l2")
    assert least <= found.sizes[0, 1] <= 1.1 * least


@pytest.mark.parametrize("norm", NORMS)
def test_changes_onto_a_plane_reach_it_inside_the_box_and_none_is_smaller(norm):
    rng = np.random.default_rng(1)
    for _ in range(6):
        g, high = rng.normal(size=(1, 6)), rng.uniform(0.2, 2, (1, 6))
        ball = Ball(norm, np.inf, -high, high, ROW, False)
        way = 0.5 * (np.abs(g) * high).sum()
        found = onto_plane(g, np.array([way]), ball)
        assert (np.abs(found) <= high + 1e-12).all()
        reached = (g * found).sum()
        assert reached == pytest.approx(way) if norm != "l0" else reached >= way - 1e-9
        others = rng.uniform(-1, 1, (20_000, 6)) * high
        fit = (others * g).sum(axis=1) >= way
        if norm == "l0":
            others[np.abs(others) < 0.5 * high] = 0  # sparse ones too
            fit = (others * g).sum(axis=1) >= way
        assert size_of(found, norm, ROW)[0] <= size_of(others[fit], norm, ROW).min() + 1e-9


def test_square_climbs_by_scores_alone(weights, pictures):
    w = weights.astype(np.float32)
    model = xplain.load(lambda x: x.reshape(len(x), -1) @ w, card=CARD)
    found = xplain.attack(model, pictures, "square", epsilon="12/255", queries=150)
    assert found.fooled.all()
    assert found.maps is None
    assert (found.queries <= 150).all()
    assert (np.abs(found.after.astype(int) - found.before.astype(int)) <= 12).all()
    said = xplain.predict(model, list(found.after)).argmax(axis=1)
    assert (said != found.labels).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_decisions_alone_lead_near_the_least_change(norm, weights, pictures):
    w = weights.astype(np.float32)

    def decide(x):
        return np.eye(2)[(x.reshape(len(x), -1) @ w).argmax(axis=1)]

    model = xplain.load(decide, card=CARD)
    found = xplain.attack(model, pictures[0], "decision", norm=norm, queries=900, seed=1)
    direction = weights[:, 0] - weights[:, 1]
    margin = abs(margin_of(weights, np.zeros(2), pictures[0]))
    least = margin / (np.linalg.norm(direction) if norm == "l2" else np.abs(direction).sum())
    assert found.fooled[0]
    assert found.sizes[0, 1 if norm == "l2" else 0] <= 1.6 * least + 1 / 255
    assert found.queries[0] <= 901


class Vendor:
    """An endpoint that names its two best classes alone; the others are unknown."""

    answers = frozenset({Score})

    def __init__(self, weights):
        self.weights, self.seen = weights, 0
        self.outline = Outline(
            source="vendor",
            kind="endpoint",
            digest="",
            inputs=(TensorSpec("x", (None, 3, 8, 8), "float32"),),
            input="x",
            layout=Layout("NCHW", (3, 8, 8)),
            scores=ScoreSpec("y", 4, "logits", "softmax", "given", "only the 2 best classes are answered"),
        )

    def answer(self, query):
        start, stop = query.rows
        scores = query.x[start:stop].reshape(stop - start, -1) @ self.weights
        np.put_along_axis(scores, np.argsort(-scores, axis=1)[:, 2:], np.nan, axis=1)
        self.seen += stop - start
        return query.target.read({"": scores}, np.arange(stop - start)).reshape(stop - start, -1)


def test_what_an_endpoint_leaves_out_is_unknown_and_never_zero():
    weights = np.random.default_rng(3).normal(size=(192, 4))
    weights -= weights.mean(axis=0)
    picture = np.random.default_rng(5).integers(90, 160, (8, 8, 3)).astype(np.uint8)
    vendor = Vendor(weights)
    found = xplain.attack(vendor, picture, "square", epsilon="16/255", queries=200, card=CARD)
    assert found.fooled[0]
    assert vendor.seen == found.cost.queries
    left_out = int(np.argsort(-(picture.transpose(2, 0, 1).reshape(-1) / 255.0) @ weights)[-1])
    with pytest.raises(UsageError, match="leaves the target's score out of its answer"):
        xplain.attack(vendor, picture, "square", epsilon="16/255", target=left_out, card=CARD)


@pytest.mark.parametrize(
    ("scores", "label", "margin"),
    [
        ([3.0, 1.0, 2.0], 0, -1.0),
        ([3.0, 1.0, NAN], 1, 2.0),
        ([3.0, 2.0, NAN], 2, 1.0),  # left out: below the 2 at least, so at least 1 behind
        ([3.0, NAN, NAN], 0, -np.inf),  # named alone: nothing is known of the others
        ([3.0, NAN, NAN], 1, np.finfo(np.float64).tiny),  # another one is named alone: lost, nobody knows by how much
    ],
)
def test_margins_of_answers_that_leave_classes_out(scores, label, margin):
    assert margins(np.array([scores]), np.array([label]))[0] == margin


def test_a_target_that_is_not_named_is_not_reached():
    goal = Goal(np.array([2]), True)
    assert goal.margin(np.array([[3.0, 1.0, NAN]]))[0] == -np.inf
    assert goal.margin(np.array([[NAN, NAN, 3.0]]))[0] == np.inf
    assert goal.margin(np.array([[1.0, NAN, 3.0]]))[0] == 2.0
