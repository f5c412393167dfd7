"""Several methods after one flag."""

from __future__ import annotations


def test_methods_may_stand_in_one_list(xplain, model, pictures, tmp_path):
    given = ("--method", "occlusion, rise", "-m", "saliency,occlusion", "--samples", 20, "--cells", 4, "--patch", 4)
    ran = xplain("explain", model, pictures / "a.png", *given, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert [one["method"] for one in ran.document["pictures"][0]["explanations"]] == ["occlusion", "rise", "saliency"]
    told = xplain("explain", "--method", "lime,rise", "--help")
    assert "--keep" in told.out  # an option of rise
    assert "--surrogate" in told.out
