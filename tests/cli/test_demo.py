"""``xplain demo``: the first thing that anybody runs."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from xplain.demo import SCENES

MOST_SECONDS = 10


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory):
    """One run as a person has it: a process of its own in an empty folder."""
    place = tmp_path_factory.mktemp("demo")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", "from xplain.cli import main; main()", "demo"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time: the clock on the wall also counts what else the machine does
    return place / "xplain-demo", done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_it_is_quick_and_says_where_and_how(demonstrated):
    out, done, seconds = demonstrated
    assert done.returncode == 0, done.stderr
    assert seconds < MOST_SECONDS
    assert "Open xplain-demo/index.html" in done.stdout
    assert "xplain explain model.onnx" in done.stdout
    page = (out / "index.html").read_text()
    assert "xplain demo" in page
    assert "<h1>textures.onnx: 3 pictures</h1>" in page, "no folder of whoever made the page"
    assert all(f"{name}.png" in page for name in SCENES)
    assert "http://" not in page


def test_every_scene_has_its_picture_and_maps(demonstrated):
    names = {path.name for path in demonstrated[0].iterdir()}
    for scene in SCENES:
        assert {f"{scene}.png", f"{scene}.occlusion.png", f"{scene}.rise.npz"} <= names


def test_the_attribution_lies_on_the_true_cause(xplain, tmp_path):
    document = xplain("demo", "--out", tmp_path / "out", "--json").document
    assert len(document["causes"]) == 2 * len(SCENES)
    for one in document["causes"]:
        assert one["share"] > 1.5 * one["area"], one
    assert max(one["share"] for one in document["causes"]) > 0.8
    targets = [p["explanations"][0]["target"] for p in document["pictures"]]
    assert targets == [scene.label for scene in SCENES.values()]


def test_it_can_be_run_again_but_not_over_other_files(xplain, tmp_path):
    for _ in range(2):
        assert xplain("demo", "--out", tmp_path / "out").code == 0
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.doc").write_text("x")
    assert "did not write (thesis.doc)" in xplain("demo", "--out", tmp_path / "theirs").err
