"""Lanes of an audit: every choice made once, the scores that are read beside the map, and one item's bits its own."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest

import xplain
from xplain.core.errors import UsageError
from xplain.core.keeping.content import keys_of
from xplain.core.lane import Lane, LaneRows, rank_of
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.core.target import label
from xplain.session import Request, Session
from xplain.session.lanes.lane import opened, planned
from xplain.session.lanes.readings import pooled

X = np.random.default_rng(7).normal(size=(5, 3, 16, 16)).astype(np.float32)
METHODS = {"grad-cam": {}, "saliency": {}, "occlusion": {"patch": 4, "stride": 4}, "rise": {"samples": 12, "cells": 4}}


@pytest.fixture(scope="module")
def model():
    return xplain.load(nets.cnn().SerializeToString(), threads=1)


def items(model, x=X):
    return Session(model, Request()).read(x).items


def batch(lane, x=X, labels=None, real=None):
    wide = np.zeros((lane.rows, *lane.item), np.float32)
    wide[: len(x)] = x
    there = np.arange(lane.rows) < len(x) if real is None else real
    keys = (*(keys_of(one[None])[0] for one in x), *[""] * (lane.rows - len(x)))
    classes = np.full(lane.rows, -1)
    if labels is not None:
        classes[: len(labels)] = labels
    return LaneRows(wide, there, keys, classes)


@pytest.mark.parametrize("method", METHODS)
def test_a_lane_says_what_explain_says_at_native_resolution(model, method):
    lane, content = planned(model, items(model), method, METHODS[method], rows=8)
    with opened(Lane.from_dict(lane.to_dict()), model, content) as ready:
        answer = ready.ask(batch(lane))
    found = xplain.explain(model, X, method, **METHODS[method])
    assert lane.engine == ("graph" if method in ("grad-cam", "saliency") else "drive")
    assert not answer.why
    np.testing.assert_allclose(answer.scores[:5], xplain.predict(model, X), rtol=1e-5, atol=1e-6)
    assert answer.targets[:5].tolist() == xplain.predict(model, X).argmax(axis=1).tolist()
    np.testing.assert_allclose(answer.values[:5], found.scores, rtol=1e-5, atol=1e-6)
    assert np.isnan(answer.maps[5:]).all()
    if method != "grad-cam":  # whose map is enlarged
        expected = pooled(found.values, lane.native_shape)
        np.testing.assert_allclose(answer.maps[:5], expected, atol=1e-5 * np.abs(expected).max())


def test_the_file_of_a_lane_gives_logits_and_not_its_probabilities(model):
    lane, content = planned(model, items(model), "grad-cam", rows=8)
    assert model.outline.scores.kind == "logits"
    given = [one.name for one in onnx.load_from_string(content).graph.output]
    assert {lane.scores, "attribution", "attribution.channels"} < set(given)
    with opened(lane, model, content) as ready:
        scores = ready.ask(batch(lane)).scores[:5]
    assert np.abs(scores.sum(axis=1) - 1).max() > 0.01


def test_a_class_map_and_its_channels_follow_from_the_layer(model):
    """Grad-CAM and value x gradient written out for what one sweep to the layer finds."""
    lane, content = planned(model, items(model), "grad-cam", rows=8)
    with opened(lane, model, content) as ready:
        answer = ready.ask(batch(lane))

    target = label(answer.targets[:5].tolist())
    values, gradients = model.answer(Sweep(X[:, None], target, Rules(), (lane.options["layer"],)))[
        lane.options["layer"]
    ]
    by_hand = np.maximum((gradients.mean(axis=(2, 3), keepdims=True) * values).sum(axis=1), 0)
    np.testing.assert_allclose(answer.maps[:5], by_hand, atol=1e-5 * by_hand.max())
    channels = (gradients * values).sum(axis=(2, 3))
    np.testing.assert_allclose(answer.relevance[:5], channels, atol=1e-5 * np.abs(channels).max())
    assert lane.relevance == channels.shape[1]


@pytest.mark.parametrize("method", METHODS)
def test_an_item_has_its_bits_beside_any_others(model, method):
    """A neighbour that could not be read is a blank row: what is left does not move."""
    lane, content = planned(model, items(model), method, METHODS[method], rows=8)
    with opened(lane, model, content) as ready:
        whole = ready.ask(batch(lane))
        lost = X.copy()
        lost[1] = 0
        real = np.isin(np.arange(8), [0, 2, 3, 4])
        part = ready.ask(batch(lane, lost, real=real))
    for name in ("scores", "values", "maps", "relevance", "error"):
        one, other = getattr(whole, name), getattr(part, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_array_equal(one[real], other[real])
            assert np.isnan(other[~real]).all()


def test_items_of_one_batch_draw_masks_of_their_own(model):
    """One picture under two keys has two maps, under one key one."""
    lane, _ = planned(model, items(model), "rise", {"samples": 12, "cells": 4}, rows=3)
    same = np.repeat(X[:1], 3, axis=0)
    with opened(lane, model) as ready:
        maps = ready.ask(LaneRows(same, np.ones(3, bool), ("a", "b", "a"), np.full(3, -1))).maps
    np.testing.assert_array_equal(maps[0], maps[2])
    assert np.abs(maps[0] - maps[1]).max() > 0.01 * np.abs(maps[0]).max()


@pytest.mark.parametrize("engine", ["graph", "drive"])
@pytest.mark.parametrize("rule", ["label", "runner-up", "top:2", "1", "0 - 2"])
def test_a_rule_finds_the_class_of_each_item(model, engine, rule):
    order = np.argsort(-xplain.predict(model, X), axis=1)
    own = np.array([2, 0, -1, 1, 2])
    target = int(rule) if rule == "1" else rule
    lane, content = planned(model, items(model), "grad-cam", rows=8, target=target, engine=engine)
    assert lane.engine == engine, lane.why
    with opened(lane, model, content) as ready:
        answer = ready.ask(batch(lane, labels=own))
    scores = xplain.predict(model, X)
    if rule == "0 - 2":
        assert answer.targets[:5].tolist() == [-1] * 5
        np.testing.assert_allclose(answer.values[:5], scores[:, 0] - scores[:, 2], rtol=1e-5, atol=1e-6)
        assert answer.words
        return
    wanted = {"label": own, "1": np.ones(5, int)}.get(rule, order[:, 1])
    assert answer.targets[:5].tolist() == wanted.tolist()
    there = wanted >= 0
    np.testing.assert_allclose(answer.values[:5][there], scores[np.arange(5), wanted][there], rtol=1e-5, atol=1e-6)
    assert list(answer.why) == ([2] if rule == "label" else [])


def test_an_item_whose_scores_are_no_numbers_fails_alone(model):
    bad = X.copy()
    bad[3] = 3e38
    for method in ("grad-cam", "rise"):
        lane, content = planned(model, items(model), method, METHODS[method], rows=8)
        with opened(lane, model, content) as ready:
            clean, answer = ready.ask(batch(lane)), ready.ask(batch(lane, bad))
        assert list(answer.why) == [3]
        np.testing.assert_array_equal(answer.maps[[0, 1, 2, 4]], clean.maps[[0, 1, 2, 4]])


def test_a_function_is_driven_and_another_model_is_refused(model):
    weights = np.arange(12.0).reshape(4, 3)
    asked = xplain.load(lambda rows: rows.astype(np.float64) @ weights)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    lane, content = planned(asked, items(asked, x), "occlusion", {"patch": 1, "stride": 1}, rows=4)
    assert (lane.engine, content, lane.native_shape) == ("drive", None, (4,))
    with pytest.raises(UsageError, match="planned with model"):
        opened(lane, model)
    graph, content = planned(model, items(model), "saliency", rows=4)
    with pytest.raises(UsageError, match="not the one that was planned"):
        opened(graph, model, content + b" ")


def test_wide_relevance_is_projected_by_fixed_signs_that_keep_distances():
    lane = Lane("a", "m", "", "grad-cam", relevance=64, seed=3)
    matrix = lane.projection(1280)
    assert matrix.shape == (1280, 64)
    assert set(np.unique(matrix * 8)) == {-1.0, 1.0}
    other = Lane("b", "n", "", "lrp", relevance=64, seed=3).projection(1280)
    np.testing.assert_array_equal(matrix, other)
    rows = np.random.default_rng(1).normal(size=(40, 1280))
    ratio = np.linalg.norm(rows @ matrix, axis=1) / np.linalg.norm(rows, axis=1)
    assert 0.6 < ratio.min() < ratio.max() < 1.4
    assert lane.projection(64) is None


def test_what_a_rule_ranks():
    assert [rank_of(rule) for rule in ("label", "predicted", "runner-up", "top:7")] == [0, 1, 2, 7]
    assert [rank_of(rule) for rule in (3, "top:0", "cat", "a - b", None)] == [None] * 5
