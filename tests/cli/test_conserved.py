"""``xplain explain --conservation``: the node that keeps relevance is named, per picture and method."""

from __future__ import annotations

import json

import pytest

BIAS = -5.0
"""Of the class ``bright`` in the tiny classifier: with the epsilon rule its Gemm keeps exactly that."""


def test_the_node_that_keeps_relevance_is_named(xplain, model, pictures, tmp_path):
    words = ("explain", model, pictures / "a.png", pictures / "c.png", "--target", "bright", "--conservation")
    ran = xplain(*words, "-m", "lrp", "--rule", "epsilon", "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    told = json.loads((tmp_path / "out" / "run.json").read_text())["run"]["pictures"]
    assert len(told) == 2
    for picture in told:
        (one,) = picture["explanations"]
        found = one["conservation"]
        assert found["nodes"][0]["kept"] == pytest.approx(BIAS, rel=1e-3)
        assert "(Gemm)" in found["nodes"][0]["node"]
        assert found["came in"] == pytest.approx(one["score"], rel=1e-4)
        assert found["arrived"] == pytest.approx(one["score"] - BIAS, rel=1e-3)
    assert ran.out.count("lrp-epsilon: 4.8") == ran.out.count("arrived. Kept on the way:") == 2
    for picture in xplain(*words, "-m", "deeplift", "--out", tmp_path / "other", "--json").document["pictures"]:
        found = picture["explanations"][0]["conservation"]
        assert found["arrived"] == pytest.approx(found["came in"], rel=1e-4)


def test_each_picture_is_reported_for_its_own_class(xplain, model, pictures, tmp_path):
    words = ("explain", model, pictures / "a.png", pictures / "b.png", "-m", "lrp", "--conservation")
    ran = xplain(*words, "--out", tmp_path / "out", "--json")
    for picture in ran.document["pictures"]:
        (one,) = picture["explanations"]
        assert one["conservation"]["came in"] == pytest.approx(one["score"], rel=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-m", "occlusion"), "--conservation follows a reverse sweep, but occlusion asks for no sweep"),
        (("-m", "smoothgrad", "--of", "rise"), "but smoothgrad asks for no sweep"),
    ],
)
def test_methods_without_a_sweep_have_nothing_to_report(xplain, model, pictures, tmp_path, words, message):
    ran = xplain("explain", model, pictures, *words, "--conservation", "--out", tmp_path / "out")
    assert ran.code == 2
    assert message in ran.err
    assert not (tmp_path / "out").exists()
