"""``xplain why-not``: a planted cause is what stands against the other class, and hiding it is what changes it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from xplain.results.attribution import Attribution

# the cause, rows 4 to 8 and columns 8 to 12, is the cell of row 1 and column 2
GRID, CAUSE = ("--features", "grid:4x4"), 6
# bright is 10 m - 5 and dark 5 - 10 m for a mean m of the cause, other 0.5
MEAN = 250 / 255


def test_the_cause_alone_has_to_go(xplain, model, pictures, tmp_path):
    out = tmp_path / "out"
    ran = xplain("why-not", model, pictures / "a.png", "dark", *GRID, "--out", out, "--json")
    assert ran.code == 0, ran.err
    told = ran.document
    assert (told["said"]["label"], told["wanted"]["label"]) == ("bright", "dark")
    assert told["margin"] == pytest.approx(10 - 20 * MEAN, abs=1e-4)
    change = told["change"]
    assert (change["found"], change["regions"], told["regions"]) == (True, [CAUSE], 16)
    assert change["says"]["label"] == "dark"
    assert change["lead"] == pytest.approx(4.5, abs=1e-4)  # 5 against the 0.5 of other
    assert change["share"] == pytest.approx(1 / 16)
    kept = Attribution.load(out / told["files"]["npz"])
    expected = np.zeros((16, 16))
    expected[4:8, 8:12] = -20 * MEAN
    np.testing.assert_allclose(kept.values[0], expected, atol=1e-4)
    with Image.open(out / told["files"]["png"]) as drawn:
        drawn.load()
    text = xplain("why-not", model, pictures / "a.png", "dark", *GRID, "--out", out).out
    assert "the model says 'bright'; 'dark' is 9.61 behind (logit)" in text
    assert "With 1 region of 16 (6% of the picture) hidden the model says 'dark', ahead by 4.5." in text


def test_what_hiding_cannot_bring_is_said(xplain, model, pictures, tmp_path):
    """Without the cause it is dark, by 5 against 0.5: other would need more than something less."""
    ran = xplain("why-not", model, pictures / "a.png", "other", *GRID, "--out", tmp_path / "out")
    assert ran.code == 1, ran.err
    assert "still 4.5 behind 'dark'. It lacks what would speak for it." in ran.out


def test_without_a_class_the_runner_up_is_asked_about(xplain, model, pictures, tmp_path):
    words = ("why-not", model, pictures / "a.png", *GRID)
    told = xplain(*words, "--out", tmp_path / "out", "--json").document
    scores = {one["label"]: one["score"] for one in told["predictions"]}
    assert sorted(scores, key=scores.get)[-2] == "other"
    assert told["wanted"]["label"] == "other"
    assert told["runner-up"]
    text = xplain(*words, "--out", tmp_path / "out").out
    assert "the model says 'bright'; the runner-up, as no class was named, is 'other', 4.3" in text
    named = xplain("why-not", model, pictures / "a.png", "other", *GRID, "--out", tmp_path / "named", "--json").document
    assert (told["margin"], told["change"]) == (named["margin"], named["change"])


def test_what_is_not_needed_is_shown_again():
    """Regions 0 and 1 stand in for each other, so that one of them has to go, and 2 as well."""
    import xplain as library
    from xplain.session import Request
    from xplain.session.why_not import why_not

    def scores(x):
        held = 5 * x[:, 2] + 6 * x[:, 0] * x[:, 1]
        return np.stack([held, np.full(len(x), 1.0)], axis=1)

    found = why_not(library.load(scores), np.ones((1, 4), np.float32), 1, Request({"ablation": {}}))
    assert found.margin == pytest.approx(-10)
    np.testing.assert_allclose(found.map.values[0], [-6, -6, -5, 0], atol=1e-5)
    assert found.change.regions == (1, 2)
    assert (found.change.lead, found.change.says) == (pytest.approx(1), 1)


def test_the_class_that_is_said_and_one_that_is_none_are_refused(xplain, model, pictures, tmp_path):
    ran = xplain("why-not", model, pictures / "a.png", "bright", *GRID, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "such as the runner-up: 'other'" in ran.err
    ran = xplain("why-not", model, pictures / "a.png", "brigth", *GRID, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "bright" in ran.err
    assert not (tmp_path / "out").exists()
    assert "is 3 pictures" in xplain("why-not", model, pictures, "dark", "--out", tmp_path / "out").err


def test_what_alone_keeps_the_class_is_told_where_it_is_asked(xplain, model, pictures, tmp_path):
    """The cause alone leaves it as bright as it is."""
    words = ("why-not", model, pictures / "a.png", "dark", *GRID, "--out", tmp_path / "out")
    plain, ran = xplain(*words, "--json").document, xplain(*words, "--enough", "--json")
    assert plain["enough"] is None
    assert ran.document["enough"] == {
        "regions": [CAUSE],
        "share": pytest.approx(1 / 16),
        "margin": pytest.approx(10 * MEAN - 5 - 0.5, abs=1e-4),
    }
    assert plain["cost"] < ran.document["cost"] <= plain["cost"] + 5 * 16 + 2
    assert (plain["change"], plain["margin"]) == (ran.document["change"], ran.document["margin"])
    said = xplain(*words, "--enough").out
    assert (
        "1 region of 16 (6% of the picture) is enough for 'bright': with all others hidden it is ahead by 4.3" in said
    )
