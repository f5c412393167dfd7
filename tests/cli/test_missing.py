"""One item of several that is not there, or cannot be read, stops no other, whatever is asked."""

from __future__ import annotations

import numpy as np
import pytest
from doors.test_tokens import token_model, tokenizer

__all__ = ["tokenizer"]  # a fixture that this file uses

GRID = ("--features", "grid:4x4")
ASKED = {
    "explain": ("explain", "-m", "ablation", *GRID),
    "localise": ("localise", "-m", "ablation", *GRID),
    "measure": ("measure", "-m", "ablation", *GRID, "--metric", "sparseness"),
    "see": ("see", "embed"),
    "attack": ("attack", "square", "--queries", "4", "--explain", "none"),
}


@pytest.mark.parametrize("verb", ASKED)
def test_the_others_are_gone_on_with(xplain, model, pictures, tmp_path, verb):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    bad = [str(tmp_path / name) for name in ("nowhere.png", "nothing/*.png", "empty", "broken.png")]
    name, *rest = ASKED[verb]
    asked = (name, rest.pop(0), model) if name in ("see", "attack") else (name, model)
    ran = xplain(*asked, pictures / "a.png", *bad, pictures / "b.png", *rest, "--out", tmp_path / "out", "--json")
    assert ran.code == 4, ran.err
    assert [one["picture"] for one in ran.document["failures"]] == bad
    told = [one["error"]["message"] for one in ran.document["failures"]]
    said = ("There is no picture", "No file matches", "holds no picture", "no picture that")
    assert [what for what, message in zip(said, told, strict=True) if what in message] == list(said)
    assert (tmp_path / "out" / "run.json").exists()
    none = xplain(*asked, bad[0], *rest, "--out", tmp_path / "none")
    assert none.code == 2, none.err
    assert "There is no picture" in none.err
    assert not (tmp_path / "none").exists()


def test_the_others_are_named_without_json(xplain, model, pictures, tmp_path):
    words = (model, pictures / "a.png", tmp_path / "nowhere.png", "--out", tmp_path / "out")
    ran = xplain("explain", *words, "-m", "ablation", *GRID)
    assert ran.code == 4
    assert "nowhere.png: There is no picture" in ran.err
    assert "1 picture, 1 failed" in ran.out


def test_arrays(xplain, model, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 16, 16), np.float32))
    given = (tmp_path / "nowhere.npy", tmp_path / "a.npy")
    ran = xplain("explain", model, *given, "-m", "ablation", *GRID, "--out", tmp_path / "out", "--json")
    assert (ran.code, len(ran.document["items"])) == (4, 1), ran.err
    assert "nowhere.npy cannot be read" in ran.document["failures"][0]["error"]["message"]


def test_texts(xplain, tmp_path, tokenizer):
    (tmp_path / "tokens.onnx").write_bytes(token_model())
    (tmp_path / "good.txt").write_text("Not bad")
    words = ("explain", tmp_path / "tokens.onnx", "--tokenizer", tokenizer, "--target", 0)
    ran = xplain(*words, tmp_path / "nowhere.txt", tmp_path / "good.txt", "--out", tmp_path / "out", "--json")
    assert (ran.code, [one["item"] for one in ran.document["items"]]) == (4, ["good.txt"]), ran.err
    assert "There is no file" in ran.document["failures"][0]["error"]["message"]
    ran = xplain(*words, tmp_path / "nowhere.txt", "--out", tmp_path / "none")
    assert (ran.code, (tmp_path / "none").exists()) == (2, False)


def test_labelled_pictures(xplain, model, pictures):
    (pictures / "labels.csv").write_text("file,label\na.png,bright\nnowhere.png,dark\nb.png,dark\n")
    ran = xplain("check", model, "--labelled", pictures, "--at-least", "0", "--json")
    assert len(ran.document["pictures"]) == 2, ran.err
    assert "nowhere.png" in ran.document["failures"][0]["picture"]
    assert ran.code in (1, 4)  # 1 where another preprocessing is better
