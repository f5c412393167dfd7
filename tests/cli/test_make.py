"""``xplain make``: a recipe from the shell to files that can be opened."""

from __future__ import annotations

import onnx
from PIL import Image

from tests.contract.test_recipes import net
from xplain.core.keeping.plain import counted
from xplain.results import load


def test_a_recipe_writes_pictures_a_film_numbers_and_a_record(xplain, model, tmp_path):
    out = tmp_path / "made"
    ran = xplain(
        "make", "class", model, "--target", "0", "--target", "1", "--steps", "4", "--frames", "4", "--preview",
        "--out", out, "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    document = ran.document
    assert [one["target"] for one in document["pictures"]] == [one["name"] for one in document["pictures"]]
    for one in document["pictures"]:
        with Image.open(out / one["file"]) as written:
            assert written.mode == "RGB"
        assert one["judges"][0]["rank"] == 0
    with Image.open(out / document["files"]["gif"]) as film:
        assert film.n_frames == 4
    assert len(load(out / document["files"]["numbers"])) == 2
    assert (out / "preview.png").exists()
    assert document["cost"]["sweeps"] == 8


def test_the_shell_says_what_is_wrong_in_its_own_words(xplain, model, tmp_path):
    ran = xplain("make", "class", model, "--out", tmp_path / "made")
    assert ran.code == 2
    assert "--target LABEL" in ran.err
    assert not (tmp_path / "made").exists()
    ran = xplain("make", "maco", model, "--target", "0", "--out", tmp_path / "made")
    assert "--photographs" in ran.err
    assert "--photographs" in xplain("make", "maco", "--help").out
    ran = xplain("make", "class", model, "--target", "0", "--views", "3", "--out", tmp_path / "made")
    assert "belongs to facets, fourier, generator, maco" in ran.err


def test_what_is_printed_counts_rightly_and_is_no_python(xplain, model, pictures, tmp_path):
    ran = xplain("make", "class", model, "--target", "0", "--steps", "1", "--frames", "0", "--out", tmp_path / "made")
    assert ran.out.startswith("class: 1 picture of ")
    assert "(1 sweep)" in ran.out
    ran = xplain("see", "embed", model, pictures / "a.png", "--out", tmp_path / "seen")
    assert ran.out.startswith("Embedding ")
    assert ", 1 query\n" in ran.out
    ran = xplain("attack", "fgsm", model, pictures / "a.png", "--explain", "none", "--out", tmp_path / "attacked")
    assert "of 1 item fooled" in ran.out
    assert counted(1234, "query", "queries") == "1,234 queries"


def test_a_distance_that_the_budget_left_unread_is_null_in_the_record(xplain, tmp_path):
    onnx.save(net(), tmp_path / "net.onnx")
    (tmp_path / "net.card.toml").write_text('mode = "RGB"\ncrop = [12, 10]\n')
    Image.new("RGB", (20, 20), (90, 160, 40)).save(tmp_path / "leaf.png")
    ran = xplain(
        "make", "invert", tmp_path / "net.onnx", tmp_path / "leaf.png", "--layers", "first", "--steps", "9",
        "--size", "12x10", "--max-queries", "4", "--out", tmp_path / "made", "--json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.document["pictures"][0]["distance"] is None
    assert any("The way up ended after 3 of 9 steps" in said for said in ran.document["warnings"])


def test_a_judge_has_its_own_card_on_the_command_line(xplain, model, tmp_path):
    onnx.save(net(), tmp_path / "judge.onnx")
    (tmp_path / "judge.toml").write_text('mode = "RGB"\ncrop = [12, 10]\nlabels = ["tabby", "dog", "other"]\n')
    asked = ("make", "class", model, "--target", "0", "--steps", "1", "--judge", tmp_path / "judge.onnx")
    assert "--card" in xplain(*asked, "--out", tmp_path / "bare").err
    ran = xplain(*asked, "--judge-card", tmp_path / "judge.toml", "--out", tmp_path / "made", "--json")
    assert ran.code == 0, ran.err
    assert len(ran.document["pictures"][0]["judges"]) >= 1
    ran = xplain(*asked, *["--judge-card", tmp_path / "judge.toml"] * 3, "--out", tmp_path / "three")
    assert "given 3 times for 1 judges" in ran.err
