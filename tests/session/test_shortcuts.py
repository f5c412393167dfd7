"""The finder names a planted mark to the picture and the place, and confirms nothing where nothing was planted."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from tests.session.test_pasting import pictures, scores
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.shortcuts.finder import shortcuts
from xplain.session.shortcuts.leads import whereabouts
from xplain.session.shortcuts.pasting import Paster


def explained(count: int, marked: bool, seed: int = 0):
    """Pictures, who carries the mark, and maps that lie where the toy model looks: stripes, else the block."""
    x, carries, places = pictures(count, marked, seed)
    rng = np.random.default_rng(seed)
    maps = rng.gamma(1, 0.02, (count, 16, 16))
    for n, (y, c) in enumerate(places):
        y, c = (12, 0) if carries[n] else (y, c)
        maps[n, y : y + 4, c : c + 4] += 1
    return x, carries, maps


def paster_of(x):
    session = Session(xplain.load(lambda v: scores(v[:, 0])), Request(layout="NCHW"))
    return Paster.of(session, session.read(x))


def test_the_planted_mark_comes_first_confirmed_with_its_place_and_its_pictures():
    x, carries, maps = explained(240, True)
    found = shortcuts(paster_of(x), maps, numbers=np.arange(240) + 500, names=("bright", "dark"))
    first = found[0]
    assert (first.kind, first.group, first.standing) == ("scan", "bright", "confirmed")
    assert carries[first.members - 500].mean() >= 0.8  # the rest: a bright block that honestly lies there
    np.testing.assert_allclose(first.evidence["box"], [0.75, 0, 1, 0.25])
    assert "lower left" in first.statement
    assert "bright" in first.statement
    assert first.interval[0] < first.effect < first.interval[1]
    assert first.p <= 0.01
    assert [one.standing for one in found].count("confirmed") == 1
    assert all(one.limits for one in found)


def test_nothing_is_confirmed_where_nothing_was_planted():
    for seed in (1, 2, 3):
        x, _, maps = explained(240, False, seed)
        rng = np.random.default_rng(seed)
        found = shortcuts(paster_of(x), maps, relevance=rng.normal(size=(240, 6)), seed=seed)
        assert all(one.standing != "confirmed" for one in found)


def test_the_channel_that_parts_a_class_names_its_pictures_and_is_never_confirmed():
    x, carries, maps = explained(240, True)
    relevance = np.random.default_rng(4).normal(size=(240, 5))
    relevance[carries, 3] += 9
    found = shortcuts(paster_of(x), maps, relevance=relevance, names=("bright", "dark"))
    (one,) = [f for f in found if f.kind == "channel" and f.group == "bright"]
    assert one.evidence["channel"] == 3
    assert one.standing != "confirmed"
    assert set(one.members) <= set(np.flatnonzero(carries))


def test_a_class_of_few_items_is_told_how_many_it_needs_and_failed_maps_are_left_out():
    x, _, maps = explained(240, True)
    maps[60:] = np.nan
    found = shortcuts(paster_of(x), maps)
    assert {(one.standing, one.count, one.evidence["needed"]) for one in found} == {("too few", 30, 40)}


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((48, 0, 64, 20), "at the lower left"),
        ((0, 24, 8, 40), "at the upper edge"),
        ((24, 24, 40, 40), "in the middle"),
        ((0, 50, 9, 64), "at the upper right"),
    ],
)
def test_a_place_has_a_name(box, words):
    assert whereabouts(np.array(box), (64, 64)) == words
    assert whereabouts(np.array([0, box[1], 1, box[3]]), (1, 64)).startswith(f"between {100 * box[1] / 64:.0f} and ")
