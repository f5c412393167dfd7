"""The contract of metrics: one number for each item, inside its range, the same for an item alone, and documented."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from made import attribution

import xplain
from xplain.core.declaring.registry import METRICS, Metric
from xplain.core.errors import CapabilityError
from xplain.session.measures.grading import grade
from xplain.session.request import Request
from xplain.session.run import Session

from .conftest import small_network, smooth_formula

QUICK = {"steps": 4, "cells": 4, "runs": 12, "samples": 2, "segments": 9}
JUDGED = [one for one in METRICS if one.needs in ("map", "truth", "curve", "answers", "maps")]


def options_of(metric: Metric) -> dict[str, Any]:
    return {name: value for name, value in {**QUICK, **metric.trial}.items() if name in metric.options}


def graded(metric: Metric, x: np.ndarray, model: Any) -> Any:
    values = np.random.default_rng(5).normal(size=(len(x), *x.shape[2:]))
    masks = np.zeros(values.shape, bool)
    masks[:, 2:7, 3:8] = True
    with Session(model, Request({"saliency": {}}, target=1)) as session:
        part = session.read(x)
        made = attribution(values, labels=(1,) * len(x), method="saliency")
        return grade(session, part, made, {metric.name: options_of(metric)}, truth=masks)[metric.name]


@pytest.mark.parametrize("metric", JUDGED, ids=lambda one: one.name)
def test_a_metric_gives_one_number_for_each_item_whatever_stands_beside_it(metric: Metric, x: np.ndarray) -> None:
    model = small_network()
    found = graded(metric, x, model)
    low, high = metric.range
    assert found.values.shape == (len(x),)
    known = found.values[np.isfinite(found.values)]
    assert len(known) == len(x) or metric.name == "irof", "which says nothing where hiding everything raises the score"
    assert (known >= low - 1e-9).all()
    assert (known <= high + 1e-9).all()
    blind = [found.random, found.centre, found.edge, found.gradient]
    assert all((one is None) == (metric.needs == "maps") for one in blind)
    alone = graded(metric, x[:1], model)
    np.testing.assert_allclose(alone.values, found.values[:1], rtol=1e-4, atol=1e-6)
    again = graded(metric, x, model)
    np.testing.assert_array_equal(again.values, found.values)


@pytest.mark.parametrize("metric", JUDGED, ids=lambda one: one.name)
def test_a_metric_of_scores_needs_nothing_else(metric: Metric, x: np.ndarray) -> None:
    """What asks for scores works on any model; what explains again needs what the method needs."""
    if metric.needs == "maps":
        pytest.skip("it asks what the method asks")
    graded_by = smooth_formula()
    with Session(graded_by, Request(target=1)) as session:
        part = session.read(x)
        values = np.random.default_rng(5).normal(size=(len(x), *x.shape[2:]))
        made = attribution(values, labels=(1,) * len(x))
        found = grade(session, part, made, {metric.name: options_of(metric)}, truth=values > 0)[metric.name]
    assert np.isfinite(found.values).all() or metric.name == "irof"


@pytest.mark.parametrize("metric", list(METRICS), ids=lambda one: one.name)
def test_a_metric_says_what_it_means(metric: Metric) -> None:
    assert metric.unit, "what one of it means"
    assert metric.range[0] < metric.range[1]
    if metric.needs != "regions":
        assert metric.paper is not None
        assert "source" in metric.sections
        assert "args" in metric.sections
    if metric.asks:
        assert metric.cost or "cost as" in str(metric.sections).lower()


def test_a_curve_can_be_drawn_of_every_metric_that_says_so(x: np.ndarray) -> None:
    model = small_network()
    made = xplain.explain(model, x, "saliency", target=1)
    for metric in JUDGED:
        if metric.needs == "curve":
            curve = xplain.measure.curve(model, x, made, metric.name, **options_of(metric))
            assert curve.scores.shape == (len(x), len(curve.shares)), metric.name
            assert curve.shares[0] == 0, metric.name


def test_a_model_of_sweeps_alone_is_told_what_it_lacks(x: np.ndarray) -> None:
    from xplain.core.query import Sweep

    class Swept:
        def __init__(self, model: Any) -> None:
            self.model, self.outline, self.answers = model, model.outline, frozenset({Sweep})

        def answer(self, query: Any) -> Any:
            return self.model.answer(query)

    session = Session(Swept(small_network()), Request({"saliency": {}}, target=1))
    part = session.read(x)
    with pytest.raises(CapabilityError, match="scores of edited items"):
        grade(session, part, attribution(np.ones((len(x), *x.shape[2:])), labels=(1,) * len(x)), "deletion")
