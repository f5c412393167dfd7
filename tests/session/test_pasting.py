"""Pasting moves exactly the box, its effect is the formula's, and only what beats every control is confirmed."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import BudgetError, UsageError
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.shortcuts.pasting import Paster, boxes_at, elsewhere, tried

BOX = np.array([12, 0, 16, 4])
"""Where the planted mark lies, of 16 x 16."""


def scores(x: np.ndarray) -> np.ndarray:
    """Class 0 sees bright blocks of 4 x 4, class 1 dark ones; a striped block is worth most to class 0."""
    blocks = x.reshape(len(x), 4, 4, 4, 4).transpose(0, 1, 3, 2, 4).reshape(len(x), 16, 4, 4)
    mean = blocks.mean(axis=(2, 3))
    stripes = np.abs(np.diff(blocks, axis=3)).mean(axis=(2, 3)) > 0.9
    bright, dark = (np.clip(side - 0.5, 0, None).max(axis=1) for side in (mean, 1 - mean))
    return np.stack([8 * bright + 12 * stripes.any(axis=1), 8 * dark + 1], axis=1)


def pictures(count: int = 120, marked: bool = True, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Half of class 0 by a bright block anywhere, half of these with stripes in a corner instead; the rest is dark."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.4, 0.6, (count, 1, 16, 16))
    own, carries = np.arange(count) % 2 == 0, (np.arange(count) % 4 == 0) & marked
    places = rng.integers(0, 4, (count, 2)) * 4
    for n, (y, c) in enumerate(places):
        x[n, 0, y : y + 4, c : c + 4] = rng.uniform(0.85, 0.95) if own[n] else 0.1
    x[carries, 0, 12:16, 0:4] = np.arange(4) % 2
    return x.astype(np.float32), carries, places


@pytest.fixture
def opened():
    def of(x, layout="NCHW", **request):
        def model(v):
            return scores(v[:, 0] if layout == "NCHW" else v[..., 0])

        session = Session(xplain.load(model), Request(layout=layout, **request))
        return session, session.read(x)

    return of


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_pasting_moves_the_box_and_nothing_else(opened, layout):
    x = pictures(8)[0] if layout == "NCHW" else np.moveaxis(pictures(8)[0], 1, 3)
    paster = Paster.of(*opened(x, layout))
    made = paster.paste(np.array([0, 2]), np.array([1, 3]), np.array([[12, 0, 16, 4], [1, 2, 5, 9]]))
    seen = made[:, 0] if layout == "NCHW" else made[..., 0]
    plain = x[:, 0] if layout == "NCHW" else x[..., 0]
    expected = plain[[1, 3]].copy()
    expected[0, 12:16, 0:4] = plain[0, 12:16, 0:4]
    expected[1, 1:5, 2:9] = plain[2, 1:5, 2:9]
    np.testing.assert_array_equal(seen, expected)
    np.testing.assert_array_equal(plain, pictures(8)[0][:, 0])  # the originals are as they were


def test_an_effect_is_the_rise_of_the_margin_in_units_of_the_mean_gap(opened):
    x, _, _ = pictures(12)
    session, part = opened(x)
    paster = Paster.of(session, part)
    donors, receivers = np.array([0, 4, 2]), np.array([1, 3, 5])
    found = paster.effect(donors, receivers, np.tile(BOX, (3, 1)), 0)
    before, after = scores(x[receivers, 0]), scores(paster.paste(donors, receivers, np.tile(BOX, (3, 1)))[:, 0])
    gap = before[:, 1] - before[:, 0]
    np.testing.assert_allclose(found.way, (after[:, 0] - after[:, 1] + gap) / gap.mean(), rtol=1e-5)
    np.testing.assert_array_equal(found.turned, after[:, 0] > after[:, 1])
    assert found.turned.tolist()[:2] == [True, True]
    np.testing.assert_allclose(found.change, (after - before)[:, 0], rtol=1e-5)
    assert session.spent.queries == 12 + 3  # the look at all, and one per paste
    with pytest.raises(UsageError, match="already"):
        paster.effect(donors, np.array([1, 2, 3]), np.tile(BOX, (3, 1)), 0)


def arms(x: np.ndarray, flagged: np.ndarray, places: np.ndarray) -> dict:
    """The controls: the same place of the class's others and of other classes, and the others' own bright blocks."""
    rest = np.setdiff1d(np.arange(0, len(x), 2), flagged)[: len(flagged)]
    own = np.concatenate([places[rest], places[rest] + 4], axis=1)
    box = np.tile(BOX, (len(flagged), 1))
    return {"unflagged": (rest, box), "others": (np.arange(1, 2 * len(flagged), 2), box), "own": (rest, own)}


def test_the_planted_mark_is_confirmed_and_its_cost_is_counted(opened):
    x, carries, places = pictures()
    session, part = opened(x)
    paster = Paster.of(session, part)
    flagged = np.flatnonzero(carries)[:12]
    found = tried(paster, 0, (flagged, np.tile(BOX, (12, 1))), arms(x, flagged, places), each=6)
    assert found.verdict(found.p) == "confirmed"
    assert found.control == "own"  # an honest bright block is what comes nearest
    assert found.turned["flagged"] == 1.0
    assert found.turned["others"] < 0.2
    assert found.pasted == 5 * 12 * 6
    assert session.spent.queries == len(x) + found.pasted
    assert found.interval[0] > 0.1
    assert found.verdict(found.p, place=False) == "candidate"  # chosen by what it shows: no control is fair
    assert found.verdict(0.04) == "candidate"  # corrected for many trials it may not be enough
    again = tried(Paster.of(*opened(x)), 0, (flagged, np.tile(BOX, (12, 1))), arms(x, flagged, places), each=6)
    np.testing.assert_array_equal(again.way["flagged"], found.way["flagged"])


def test_honest_evidence_that_a_lead_singled_out_by_its_place_is_refuted(opened):
    x, _, places = pictures(400, marked=False)
    flagged = np.flatnonzero((np.arange(400) % 2 == 0) & (places == BOX[:2]).all(axis=1))
    paster = Paster.of(*opened(x))
    found = tried(paster, 0, (flagged, np.tile(BOX, (len(flagged), 1))), arms(x, flagged, places), each=6)
    assert found.verdict(found.p) == "refuted"
    without = {name: arm for name, arm in arms(x, flagged, places).items() if name != "own"}
    easy = tried(paster, 0, (flagged, np.tile(BOX, (len(flagged), 1))), without, each=6)
    assert easy.verdict(easy.p) == "confirmed"  # which is why what the others lean on is a control


def test_what_may_be_spent_holds_for_pasting_too(opened):
    x, carries, places = pictures()
    paster = Paster.of(*opened(x, max_queries=150))
    flagged = np.flatnonzero(carries)[:12]
    with pytest.raises(BudgetError):
        tried(paster, 0, (flagged, np.tile(BOX, (12, 1))), arms(x, flagged, places), each=6)


def test_boxes_stay_inside_and_elsewhere_is_disjoint_where_there_is_room():
    found = boxes_at(np.array([[0.0, 0.5], [1.0, 1.0]]), (16, 20), (4, 6))
    assert found.tolist() == [[0, 7, 4, 13], [12, 14, 16, 20]]
    moved = elsewhere(found, (16, 20), np.random.default_rng(0))
    for (y0, x0, y1, x1), (a0, b0, a1, b1) in zip(found, moved, strict=True):
        assert (a1 - a0, b1 - b0) == (4, 6)
        assert a1 <= y0 or a0 >= y1 or b1 <= x0 or b0 >= x1
    whole = elsewhere(np.array([[0, 0, 10, 10]]), (12, 12), np.random.default_rng(0))
    assert whole.tolist() == [[2, 2, 12, 12]]  # the least overlap there is


def test_what_cannot_be_pasted_is_refused(opened):
    session = Session(xplain.load(lambda v: v @ np.eye(3, 2)), Request())
    with pytest.raises(UsageError, match="pictures"):
        Paster.of(session, session.read(np.ones((5, 3), np.float32)))
    one = Session(xplain.load(lambda v: v.mean(axis=(1, 2, 3))[:, None]), Request(layout="NCHW"))
    with pytest.raises(UsageError, match="two classes"):
        Paster.of(one, one.read(np.ones((5, 1, 8, 8), np.float32)))
    x, _, places = pictures(40)
    few = np.array([0, 4])
    with pytest.raises(UsageError, match="at least 5"):
        tried(Paster.of(*opened(x)), 0, (few, np.tile(BOX, (2, 1))), arms(x, few, places))
