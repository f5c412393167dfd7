"""``xplain page``: several models, several methods, and pictures to choose from."""

from __future__ import annotations

import json

import pytest

from xplain.serve.site import RUNTIME


@pytest.fixture
def dist(tmp_path):
    """The names of the runtime's files, with nothing in them."""
    folder = tmp_path / "dist"
    folder.mkdir()
    for name in RUNTIME:
        (folder / name).write_text(name)
    return folder


def test_every_method_of_every_model_is_a_file_of_its_own(xplain, model, pictures, dist, tmp_path):
    site = tmp_path / "site"
    words = ["page", f"old={model}", f"new={model}", "--runtime", dist, "--json"]
    methods = ["-m", "saliency,input-x-gradient", "--examples", pictures]
    told = xplain(*words, *methods, "-o", site).document["models"]
    pairs = [("old", "saliency"), ("old", "input-x-gradient"), ("new", "saliency"), ("new", "input-x-gradient")]
    assert [(one["name"], one["method"]) for one in told] == pairs
    about = json.loads((site / "about.json").read_text())
    assert about["examples"] == ["a.png", "b.png", "c.png"]
    assert (site / "examples" / "a.png").read_bytes() == (pictures / "a.png").read_bytes()
    assert len({one["file"] for one in about["models"]}) == 4
    assert len({(site / one["file"]).read_bytes() for one in about["models"]}) == 2  # one model, by two names


def test_two_models_of_one_name_are_refused(xplain, model, dist, tmp_path):
    told = xplain("page", model, model, "-m", "saliency", "--runtime", dist, "-o", tmp_path / "site")
    assert told.code == 2
    assert "Two models are called tiny. Give each a name of its own: NAME=FILE.onnx." in " ".join(told.err.split())
    assert not (tmp_path / "site").exists()
