"""What goes wrong before any work is done: each case has a message that names what was asked and what to do next."""

from __future__ import annotations

import numpy as np
import pytest
from cli.tiny import write_model
from PIL import Image

OPTIONS = ("--patch", 4, "--stride", 4)


@pytest.fixture
def explain(xplain, model, pictures, tmp_path):
    """Explain one picture with further words; everything is right unless they say otherwise."""

    def run(*words, model=model, picture=pictures / "a.png", out=tmp_path / "out"):
        return xplain("explain", model, picture, "--out", out, *words)

    return run


def test_all_is_well_without_mistakes(explain):
    assert explain(*OPTIONS).code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--target", "brigth"), "Unknown label 'brigth'. Did you mean 'bright'"),
        (("--target", 3), "Target 3 is out of range: the model has 3 classes, 0 to 2"),
        (("--target", "top9"), "asks for 9 classes; the model has 3"),
        (("--patch", 17), "The patch is 17 positions"),
        (("--patch", 0), "option 'patch' is '0'; accepted: a whole number of at least 1"),
        (("--stride", -2), "option 'stride' is '-2'; accepted: a whole number of at least 1"),
        (("--patch", "wide"), "option 'patch' is 'wide'"),
        (("--baseline", "soup"), "option 'baseline' is 'soup'; accepted: "),
        (("--batch-size", 0), "--batch-size is 0; accepted: a whole number of at least 1"),
        (("--max-queries", 0), "--max-queries is 0 for 1 picture; accepted: at least one each"),
        (("--seed", -1), "--seed is -1; accepted: a whole number of at least 0"),
        (("--card", "imagnet"), "neither a file nor a preset. Presets: imagenet"),
        (("--card", "imagnet"), "Did you mean 'imagenet'"),
        (("--method", "oclusion"), "Unknown method 'oclusion'. Did you mean 'occlusion'"),
        (("-m", "occlusion", "--samples", 5), "Unknown option of method occlusion: '--samples'"),
        (("--input", "pictur"), "picture"),
        (("--engine", "slow"), "--engine is 'slow'; accepted: 'auto', 'plain', 'fast'"),
        (("--threads", 0), "--threads is 0; accepted: a whole number of at least 1"),
        (("--features", "superpixels"), "option 'features' is 'superpixels'; accepted: one of "),
        (("--limit", "node=3"), "Unknown limit 'node'. Did you mean 'nodes'?"),
        (("--limit", "nodes=few"), "--limit nodes=few is not understood; accepted: NAME=NUMBER, of at least 1;"),
        (("--fixed", "x"), "--fixed x is not understood; accepted: NAME=NUMBER or NAME=FILE.npy."),
        (("--max-cost", "1"), "--max-cost: only for endpoints"),
        (("--text", "so good"), "The items mix pictures and texts; explain them one kind at a time."),
        (("--mask", "x"), "--mask is for texts (--text, .txt), but the items are pictures."),
        (("--hidden", "a=b"), "--hidden is for tables (.csv, .tsv), but the items are pictures."),
    ],
)
def test_options(explain, tmp_path, words, message):
    ran = explain(*words)
    assert ran.code == 2
    assert message in ran.err
    assert ran.out == ""
    assert not (tmp_path / "out").exists()


def test_seed_that_is_no_number(explain):
    ran = explain("--seed", "many")
    assert ran.code == 2
    assert "--seed" in ran.err


def save(path, content):
    path.write_bytes(content)
    return path


def test_models_that_cannot_be_loaded(explain, model, tmp_path):
    whole = model.read_bytes()
    cases = {
        tmp_path / "missing.onnx": "missing.onnx",
        tmp_path: str(tmp_path),
        save(tmp_path / "cut.onnx", whole[: len(whole) // 2]): "cut.onnx",
        save(tmp_path / "text.onnx", b"this is a shopping list\n" * 20): "text.onnx",
        save(tmp_path / "empty.onnx", b""): "empty.onnx",
    }
    for path, message in cases.items():
        ran = explain(model=path)
        assert ran.code == 2, path
        assert message in ran.err
        assert "Traceback" not in ran.err


def test_json_has_the_fields_of_an_error_in_the_words_of_the_command_line(explain):
    error = explain("--threads", 0, "--json").document["error"]
    assert error == {
        "kind": "UsageError",
        "message": "--threads is 0; accepted: a whole number of at least 1, or None for all.",
        "option": "threads",
        "got": 0,
        "accepted": "a whole number of at least 1, or None for all",
    }
    error = explain("--method", "oclusion", "--json").document["error"]
    assert (error["got"], error["nearest"][0]) == ("oclusion", "occlusion")


def test_a_pickle_is_refused_as_unsafe(explain, xplain, tmp_path):
    pickle = save(tmp_path / "model.pt", b"\x80\x04\x95\x00\x00")
    for ran in (explain(model=pickle), xplain("inspect", pickle)):
        assert ran.code == 3
        assert "Traceback" not in ran.err
    document = xplain("inspect", pickle, "--json").document
    assert (document["error"]["kind"], document["exit_code"]) == ("Unsafe", 3)


def test_a_model_without_a_card_names_the_presets(explain, tmp_path):
    ran = explain(model=write_model(tmp_path / "bare.onnx", card=False))
    assert ran.code == 2
    assert "has no preprocessing card" in ran.err
    assert "or give --card a file or a preset: imagenet, " in ran.err
    assert not (tmp_path / "out").exists()


def test_a_limit_that_refuses_can_be_moved(explain, model):
    ran = explain("--limit", "nodes=2")
    assert ran.code == 3
    assert "--limit nodes=..." in ran.err
    assert explain(*OPTIONS, "--limit", "nodes=100").code == 0


def test_pictures_that_are_not_there(explain, tmp_path):
    assert "There is no picture" in explain(picture=tmp_path / "nowhere.png").err
    assert "No file matches" in explain(picture=tmp_path / "*.jpeg").err
    (tmp_path / "empty").mkdir()
    assert "holds no picture" in explain(picture=tmp_path / "empty").err
    assert "is an address" in explain(picture="https://example.org/cat.png").err


def test_pictures_that_cannot_be_used(explain, pictures, tmp_path):
    good = (pictures / "a.png").read_bytes()
    frames = [Image.fromarray(np.full((8, 8, 3), n, np.uint8)) for n in (0, 255)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    bad = {
        save(tmp_path / "cut.png", good[:60]): "cut.png",
        save(tmp_path / "words.png", b"hello"): "words.png",
        save(tmp_path / "none.png", b""): "none.png",
        tmp_path / "moving.webp": "moving.webp",
    }
    for path, message in bad.items():
        ran = explain(*OPTIONS, picture=path)
        assert ran.code == 2, path
        assert message in ran.err
        assert "Traceback" not in ran.err


def test_output_folders(explain, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.doc").write_text("x")
    assert "is a file; give a folder" in explain(out=tmp_path / "file").err
    assert "Cannot use --out /proc/xplain" in explain(out="/proc/xplain").err
    ran = explain(out=tmp_path / "theirs")
    assert (ran.code, [p.name for p in (tmp_path / "theirs").iterdir()]) == (2, ["thesis.doc"])
    assert "(thesis.doc). Choose another folder, or add --force" in ran.err
    assert explain(*OPTIONS, "--force", out=tmp_path / "theirs").code == 0
    assert (tmp_path / "theirs" / "thesis.doc").read_text() == "x"
