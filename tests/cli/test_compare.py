"""``xplain compare``: methods that agree are told from one that stands apart."""

from __future__ import annotations

import made
import numpy as np
import pytest
from PIL import Image

from xplain.report.agreement import pairs, ranks, votes


def result(method, values, **fields):
    plain = {"unit": "delta logit", "targets": ("tabby",), "scores": np.ones(1), "names": ("cat.jpg",)}
    return made.attribution(values=np.asarray(values, np.float32)[None], method=method, **{**plain, **fields})


def test_methods_that_agree_and_one_that_does_not(xplain, tmp_path):
    hill = np.arange(100.0).reshape(10, 10)
    result("a", hill).save(tmp_path / "a.npz")
    result("b", hill**2).save(tmp_path / "b.npz")
    result("c", -hill).save(tmp_path / "c.npz")
    ran = xplain("compare", tmp_path, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    (item,) = ran.document["items"]
    found = {(one["first"], one["second"]): (one["correlation"], one["shared"]) for one in item["pairs"]}
    assert found["a", "b"] == (pytest.approx(1), 1)
    assert found["a", "c"] == (pytest.approx(-1), 0)
    assert item["apart"] == ["c"]
    with Image.open(tmp_path / "out" / item["png"]) as drawn:
        drawn.verify()
    assert "same top tenth" in xplain("compare", tmp_path, "--out", tmp_path / "out").out


def test_votes_count_methods():
    one, two = np.zeros((4, 5)), np.zeros((4, 5))
    one[0, :2], two[0, 1:3] = 1, 1
    np.testing.assert_allclose(votes([result("a", one), result("b", two)])[0], [0.5, 1, 0.5, 0, 0])
    assert pairs([result("a", one), result("b", two)])[0].shared == pytest.approx(1 / 3)


def test_ranks_share_ties():
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0, 2.5, 1]


def test_nothing_to_compare(xplain, tmp_path):
    result("a", np.eye(4)).save(tmp_path / "a.npz")
    result("b", np.eye(4), names=("dog.jpg",)).save(tmp_path / "b.npz")
    ran = xplain("compare", tmp_path / "a.npz", tmp_path / "b.npz", "--out", tmp_path / "out")
    assert ran.code == 2
    assert "-m grad-cam,occlusion" in ran.err
    (tmp_path / "empty").mkdir()
    assert "holds no results" in xplain("compare", tmp_path / "empty", "--out", tmp_path / "out").err
