"""What a plan says is what is paid: exactly, or at least that much for methods that decide from what they see."""

from __future__ import annotations

import numpy as np
import pytest

import xplain

_WORTH = np.random.default_rng(0).normal(size=(64, 3))


def crooked(x):
    """Scores with interactions, so that each class leads partition-shap another way."""
    flat = x.reshape(len(x), -1)
    return np.tanh(flat @ _WORTH / 10) + flat**2 @ np.abs(_WORTH)


@pytest.mark.parametrize("samples", [20, 60])
@pytest.mark.parametrize("target", [0, "top2", "top3"])
def test_several_targets_of_an_adaptive_method_are_each_paid(target, samples):
    """A constant model answers all targets alike, and they shared all their questions: half of the cost for two."""
    x = np.random.default_rng(1).normal(size=(1, 1, 8, 8)).astype(np.float32)
    asked = {"target": target, "samples": samples, "features": "grid:4", "layout": "NCHW"}
    plan = xplain.plan(crooked, x, "partition-shap", **asked)
    found = xplain.explain_many(crooked, x, "partition-shap", **asked)
    paid = found[0].cost.queries
    assert paid <= plan.queries <= paid + 8 * (len(found) - 1)  # the first splits, which are the same for all
    assert len(found) == 1 or plan.queries > samples + 10
    if len(found) == 1:
        assert plan.queries == paid


def test_answers_in_a_cache_are_paid_by_no_target_again(tmp_path):
    x = np.random.default_rng(1).normal(size=(1, 1, 8, 8)).astype(np.float32)
    model = xplain.load(crooked, version="1")
    asked = {"target": "top2", "samples": 20, "features": "grid:4", "layout": "NCHW", "cache": tmp_path / "answers"}
    before = xplain.plan(model, x, "partition-shap", **asked)
    xplain.explain_many(model, x, "partition-shap", **asked)
    after = xplain.plan(model, x, "partition-shap", **asked)
    assert before.reused == 0
    assert after.queries < before.queries
    assert after.reused > 0


@pytest.mark.parametrize("target", [None, 2, "2", "2 - 0", [1], -2, "top3", xplain.label(2) - xplain.label(1)])
def test_a_plan_needs_no_number_of_classes(target):
    """A function that nobody has asked yet: the plan said that it has one class."""
    model = xplain.load(lambda x: x.reshape(len(x), -1) @ np.arange(12.0).reshape(4, 3))
    x = np.ones((1, 4), np.float32)
    plan = xplain.plan(model, x, "kernel-shap", target=target)
    found = xplain.explain_many(model, x, "kernel-shap", target=target)
    assert plan.queries == found[0].cost.queries
