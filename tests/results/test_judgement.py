"""A judgement says what its numbers say: beside chance, per class, at its worst; and survives a file."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.errors import UnknownName, UsageError
from xplain.results import Judgement, load
from xplain.results.join import joined
from xplain.results.provenance import Provenance


def judgement(own, random, better="small", classes=(), **given):
    own = np.asarray(own, float)
    blind = np.full((len(own), 1, 4), np.nan)
    blind[:, 0, 0] = random
    return Judgement(
        values=own[:, None],
        blind=blind,
        metrics=("deletion",),
        better=(better,),
        units=("score",),
        classes=classes,
        facts={"explanation": "lrp"},
        provenance=Provenance(method="judge"),
        **given,
    )


def test_better_and_worse_than_chance_are_told_apart():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=40)
    cases = {"better": noise - 2, "worse": noise + 2, "not told apart": noise + rng.normal(size=40) * 0.3}
    for verdict, own in cases.items():
        one = judgement(own, noise).summary("deletion")
        assert one.verdict == verdict
        assert one.wins == (own < noise).sum()
        assert judgement(-own, -noise, "large").summary("deletion").verdict == verdict
    assert "better than a random map on 40 of 40" in judgement(cases["better"], noise).sentence()
    assert "No better than: random" in judgement(cases["worse"], noise).sentence()


def test_what_is_not_compared_says_so():
    one = judgement(np.ones(6), np.nan)
    assert one.summary("deletion").verdict == "not compared"
    assert "not held against chance" in one.sentence()
    nothing = judgement(np.full(6, np.nan), 1.0)
    assert "nothing could be said of 6 items" in nothing.sentence()
    assert judgement([1.0, 2.0], [2.0, 3.0]).summary("deletion").verdict == "not told apart", "two items are too few"


def test_classes_and_the_worst_tenth():
    own = np.array([*np.linspace(0, 1, 10), *np.linspace(3, 4, 10)])
    one = judgement(own, 5.0, classes=("cat",) * 10 + ("dog",) * 10).summary("deletion")
    assert list(one.classes) == ["dog", "cat"], "the worst first"
    assert one.classes["cat"].mean == pytest.approx(0.5)
    assert one.worst_items == (19, 18)
    assert one.worst == pytest.approx((4 + 3 + 8 / 9) / 2)


def test_a_file_and_a_drawing(tmp_path):
    whole = joined([judgement(np.arange(3.0), 2.0, names=("a", "b", "c")), judgement([7.0], 2.0, names=("d",))])
    assert whole.names == ("a", "b", "c", "d")
    again = load(whole.save(tmp_path / "j.npz"))
    assert isinstance(again, Judgement)
    np.testing.assert_array_equal(again.values, whole.values)
    assert again.metrics == ("deletion",)
    assert str(again) == str(whole)
    drawn = again.bars()
    blue = (np.asarray(drawn) == (110, 110, 110)).all(axis=2)
    assert blue.sum() > 100, "too few to tell: grey"
    with pytest.raises(UnknownName, match="deletion"):
        again.summary("deletions")
    assert again[3].column("deletion").tolist() == [7]


def test_a_file_whose_names_do_not_fit_is_refused(tmp_path):
    path = judgement(np.arange(3.0), 2.0).save(tmp_path / "j.npz")
    with np.load(path) as file:
        held = dict(file)
    held["values"] = np.ones((3, 2))
    np.savez(path, **held)
    with pytest.raises(UsageError, match="metrics|blind"):
        load(path)
