"""Sufficient and contrastive sets: the smallest there are, by trying them all; and a certificate that is true."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import xplain
from tests.targets.heads import HEADS, patch_of, picture
from xplain.core.errors import UsageError
from xplain.testing import Formula, constant

PLAYERS = 6
ALL = [set(one) for size in range(PLAYERS + 1) for one in itertools.combinations(range(PLAYERS), size)]


def game(seed):
    """Class 1 against class 0 by a random game of six features, decided for class 1 when all are shown."""
    worth = np.random.default_rng(seed).normal(size=2**PLAYERS)
    worth[-1] = abs(worth[-1])
    worth[0] = -abs(worth[0])

    def scores(rows):
        code = (rows > 0.5).astype(int) @ (1 << np.arange(PLAYERS))
        return np.stack([-worth[code], worth[code]], axis=1)

    def margin(shown):
        return 2 * worth[sum(1 << i for i in shown)]

    return Formula(scores, "NS", (PLAYERS,), classes=2), margin


def will_do(kind, margin, some):
    rest = set(range(PLAYERS)) - some
    return (kind == "contrastive" or margin(some) >= 0) and (kind == "sufficient" or margin(rest) < 0)


@pytest.mark.parametrize("kind", ["sufficient", "contrastive", "both"])
def test_no_smaller_set_does_it(kind):
    """Of twelve random games, where a smaller set says nothing of a larger one."""
    for seed in range(12):
        model, margin = game(seed)
        a = xplain.explain(model, np.ones((1, PLAYERS), np.float32), "sufficient", kind=kind, samples=0)
        found = set(a.notes["set"][0])
        best = next(some for some in ALL if will_do(kind, margin, some))
        assert will_do(kind, margin, found)
        assert len(found) == len(best)
        assert a.notes["smallest"] == a.notes["minimal"] == a.notes["found"] == [True]
        if kind == "sufficient":
            held = [margin(found) - margin(found - {i}) if i in found else 0.0 for i in range(PLAYERS)]
            np.testing.assert_allclose(a.values[0], held, rtol=1e-5)


def test_a_set_that_was_not_compared_with_all_smaller_ones_says_so():
    model, margin = game(3)
    a = xplain.explain(model, np.ones((1, PLAYERS), np.float32), "sufficient", exhaustive=0, samples=0)
    found = set(a.notes["set"][0])
    assert a.notes["smallest"] == [False]
    assert a.notes["minimal"] == [True]
    assert margin(found) >= 0
    assert all(margin(found - {i}) < 0 for i in found)


def test_the_certificate_bounds_how_often_the_set_is_enough():
    """Features 0 and 1 decide; with three more shown at random a fourth of the cases is spoilt."""

    def scores(rows):
        on = rows > 0.5
        yes = on[:, 0] & on[:, 1] & ~(on[:, 2] & ~on[:, 3])
        return np.stack([~yes, yes], axis=1).astype(float)

    model = Formula(scores, "NS", (PLAYERS,), classes=2)
    a = xplain.explain(model, np.ones((1, PLAYERS), np.float32), "sufficient", samples=2000)
    assert a.notes["set"] == [(0, 1)]
    assert a.notes["precision"][0] == pytest.approx(0.75, abs=0.04)
    assert a.notes["precision low"][0] < 0.75 < a.notes["precision high"][0]
    assert a.notes["precision high"][0] - a.notes["precision low"][0] < 0.08
    assert a.notes["tested"][0] == a.cost.queries - 1 == a.cost.queries - len(a)


@pytest.mark.parametrize("method", ["sufficient", "anchors"])
def test_a_box_above_a_bound_is_kept_by_its_own_patch(method):
    """A detector has no classes; what is decided is that the box is still found as surely as stated."""
    model = xplain.load(HEADS["yolo_v8"]().SerializeToString())
    x = picture(a5=(1, 2.0), a10=(2, 1.5))
    for box, cell in (("box:1", 5), ("box:2", 10)):
        options = {"features": "grid:4", "target": box, "above": 0.5}
        a = xplain.explain(model, x, method, **options)
        inside = a.values[0][patch_of(cell)]
        assert (inside > 0).all()
        assert a.values.sum() == pytest.approx(inside.sum()), "the other box's patch is no part of it"


@pytest.mark.parametrize("method", ["sufficient", "anchors"])
def test_without_a_bound_nothing_is_decided_of_a_model_without_classes(method):
    model = xplain.load(HEADS["segmenter"]().SerializeToString())
    with pytest.raises(UsageError, match="decides nothing by itself.*above"):
        xplain.explain(model, picture(), method, target="mask[1]", features="grid:2")


def test_below_a_bound_is_a_decision_too():
    model = Formula(lambda rows: rows @ np.array([1.0, 1, 1, -8, 1, 1]), "NS", (PLAYERS,))
    a = xplain.explain(model, np.ones((1, PLAYERS), np.float32), "sufficient", target=0, above=-2.5)
    assert a.notes["set"] == [(3,)]
    assert a.base[0] == pytest.approx(0.5)


def test_the_words_that_alone_keep_the_class():
    def score(texts):
        return [[t.count("bad"), t.count("good") - t.count("not")] for t in texts]

    b = xplain.explain(xplain.text(score), "a good film", "sufficient")
    assert [b.texts[0].words[i] for i in b.notes["set"][0]] == ["good"]


def test_what_the_baseline_decides_alone_is_told():
    x = np.ones((1, PLAYERS), np.float32)
    a = xplain.explain(constant(), x, "sufficient", layout="NS")
    assert a.notes["set"] == [()]
    assert "Nothing needs to be shown" in a.said[-1]
    b = xplain.explain(constant(), x, "sufficient", kind="contrastive", layout="NS")
    assert b.notes["found"] == [False]
    assert "Not even hiding everything" in b.said[-1]
    assert not b.values.any()
