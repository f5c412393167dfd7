"""A curve is a result like any other: cut, saved, loaded and checked by the same code."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made import attribution

import xplain.results
from xplain import Attribution
from xplain.core.cost import Cost
from xplain.core.errors import UsageError
from xplain.measure import Curve, curve
from xplain.testing import Formula

X = np.array([[1, 2, 3, 4], [4, 3, 2, 1]], np.float32)
MODEL = Formula(lambda rows: rows.astype(float).sum(1), "NS", (4,), digest="a sum")


@pytest.fixture
def found():
    return curve(MODEL, X, attribution(X, target="0", labels=(0, 0), method="lime"), "deletion", steps=2)


def test_it_says_where_it_comes_from(found):
    assert (found.method, found.options["steps"], found.model, found.target) == ("deletion", 2, "a sum", "0")
    assert found.facts == {"explanation": "lime"}
    assert isinstance(found.cost, Cost)
    assert found.cost.queries > 0
    one = found[1]
    assert (len(one), one.shares.tolist()) == (1, [0, 0.5, 1])
    np.testing.assert_array_equal(one.scores, found.scores[1:])


def test_it_is_saved_and_read_back(found, tmp_path):
    path = found.save(tmp_path / "c.npz")
    for back in (Curve.load(path), xplain.results.load(path)):
        assert isinstance(back, Curve)
        assert back.meta() == found.meta()
        for name in ("shares", "scores", "area"):
            np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
    with pytest.raises(UsageError, match="is not a saved attribution: it is of kind 'curve'"):
        Attribution.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"area": np.zeros(3)}, "its arrays do not fit together"),
        ({"shares": np.zeros((3, 1))}, "its arrays do not fit together"),
        ({"scores": np.full((2, 3), np.nan)}, "its scores are float64, or not finite"),
        ({"scores": None}, "it holds no scores"),
    ],
)
def test_a_file_that_is_not_right_is_refused(found, tmp_path, change, message):
    with np.load(found.save(tmp_path / "c.npz")) as file:
        arrays = {name: array for name, array in {**file, **change}.items() if array is not None}
    np.savez(tmp_path / "c.npz", **arrays)
    with pytest.raises(UsageError, match=f"not a saved curve: {message}"):
        Curve.load(tmp_path / "c.npz")
    meta = json.loads(str(np.load(found.save(tmp_path / "c.npz"))["meta"]))
    np.savez(tmp_path / "c.npz", **{**arrays, "meta": np.array(json.dumps({**meta, "what": "else"}))})
    with pytest.raises(UsageError, match="is not a saved result: it is of kind .else."):
        xplain.results.load(tmp_path / "c.npz")
