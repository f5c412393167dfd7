"""Ctrl-C in the middle: files are whole or absent, and the exit code says so."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from cli.tiny import write_picture
from PIL import Image

from xplain.results.attribution import Attribution

PICTURES = 12
# seconds of masks per group of 8 pictures, so that the signal meets the work in its middle
SLOW = ("--method", "rise", "--samples", "6000", "--batch-size", "8")


@pytest.fixture
def many(tmp_path):
    folder = tmp_path / "many"
    folder.mkdir()
    for n in range(PICTURES):
        write_picture(folder / f"{n:02}.png", bright=n % 2 == 0)
    return folder


def start(model, pictures, out, *more):
    command = [sys.executable, "-c", "from xplain.cli import main; main()", "explain", str(model), str(pictures)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *more, *SLOW, "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("written", [0, 3, 8])
def test_files_are_whole_or_absent(model, many, tmp_path, written):
    out = tmp_path / "out"
    process = start(model, many, out)
    wait_for(lambda: out.exists() and len(list(out.glob("*.npz"))) >= written, process)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout.strip() == ""
    stays = rf"\d+ of {PICTURES} pictures (is|are) written to {out}; no file is half-written\."
    assert re.search(stays if out.exists() else f"Nothing was written: none of {PICTURES} pictures was done", stderr)
    assert "Traceback" not in stderr
    assert out.exists() == bool(written) or list(out.iterdir()), "a folder without a file in it was left behind"
    for path in out.glob("*"):
        assert not path.name.startswith("."), "a temporary file was left behind"
    maps = sorted(out.glob("*.npz"))
    assert written <= len(maps) < PICTURES
    for path in maps:
        assert Attribution.load(path).values.shape == (1, 16, 16)
    for path in out.glob("*.png"):
        with Image.open(path) as drawn:
            drawn.load()


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_was_done_stays_with_its_page_and_its_record(model, many, tmp_path, sign, code):
    out = tmp_path / "out"
    process = start(model, many, out, "--method", "occlusion", "--patch", "8", "--stride", "8")
    wait_for(lambda: len(list(out.glob("*.rise.npz"))) >= 2, process)
    process.send_signal(sign)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    record = json.loads((out / "run.json").read_text())
    assert record["state"] == "interrupted"
    done = {one["files"]["npz"] for picture in record["run"]["pictures"] for one in picture["explanations"]}
    on_disk = {path.name for path in out.glob("*.npz")}
    assert done == on_disk, "no result is lost, none is told that is not there"
    whole = sum(len(picture["explanations"]) == 2 for picture in record["run"]["pictures"])
    assert 2 <= whole < PICTURES
    assert f"{whole} of {PICTURES} pictures are written to {out}" in stderr
    assert f"Open {out / 'index.html'}." in stderr
    page = (out / "index.html").read_text()
    assert all(f"{picture['picture'].rpartition('/')[2]}:" in page for picture in record["run"]["pictures"])
    assert {path.name for path in out.iterdir()} <= {*record["files"], "run.json"}


def test_the_record_and_the_page_are_there_while_the_work_goes_on(model, many, tmp_path):
    out = tmp_path / "out"
    process = start(model, many, out)
    try:
        wait_for(lambda: (out / "index.html").exists(), process)
        record = json.loads((out / "run.json").read_text())
        assert record["state"] in ("running", "unfinished")
        assert record["run"]["pictures"]
    finally:
        process.kill()
        process.communicate()
    record = json.loads((out / "run.json").read_text())  # also after a kill that nothing can catch
    for picture in record["run"]["pictures"]:
        for one in picture["explanations"]:
            assert Attribution.load(out / one["files"]["npz"]).names == (picture["picture"].rpartition("/")[2],)


def test_an_error_that_concerns_all_keeps_what_was_done(xplain, model, many, tmp_path, monkeypatch):
    from xplain.core.errors import ModelError
    from xplain.session import Session

    real, calls = Session.explain, []

    def fails(self, part, name, *rest):
        calls.append(name)
        if len(calls) == 5:
            raise ModelError("The model is gone.")
        return real(self, part, name, *rest)

    monkeypatch.setattr(Session, "explain", fails)
    ran = xplain("explain", model, many, *SLOW[:2], "--samples", 50, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "The model is gone." in ran.err
    assert f"4 of {PICTURES} pictures are written to {tmp_path / 'out'}" in ran.err
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["state"], len(record["run"]["pictures"])) == ("failed", 4)
    assert (tmp_path / "out" / "index.html").exists()


def test_one_picture_that_one_method_cannot_explain(xplain, model, many, tmp_path, monkeypatch):
    from xplain.core.errors import NonFinite
    from xplain.session import Session

    real = Session.explain

    def fails(self, part, name, *rest):
        if name == "rise" and any(path.endswith("03.png") for path in part.items.names):
            raise NonFinite("Not a number.")
        return real(self, part, name, *rest)

    monkeypatch.setattr(Session, "explain", fails)
    words = ("-m", "rise", "--samples", 50, "-m", "occlusion", "--patch", 8, "--stride", 8, "--json")
    ran = xplain("explain", model, many, *words, "--out", tmp_path / "out")
    assert ran.code == 4
    assert [one["picture"].rpartition("/")[2] for one in ran.document["failures"]] == ["03.png"]
    methods = {one["picture"][-6:-4]: [e["method"] for e in one["explanations"]] for one in ran.document["pictures"]}
    assert methods.pop("03") == ["occlusion"]
    assert len(methods) == PICTURES - 1
    assert all(names == ["rise", "occlusion"] for names in methods.values())


# Ctrl-C when a module begins to be imported
EARLY = """
import os, runpy, signal, sys
wanted = sys.argv.pop(1)
class Watch:
    def find_spec(name, *_):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Watch)
runpy.run_module("xplain", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["xplain.cli", "typer", "xplain.cli.verbs.explain", "xplain.session.run"])
def test_an_interruption_before_there_is_work_leaves_no_traceback(model, pictures, tmp_path, module):
    words = ["explain", str(model), str(pictures), "-m", "occlusion", "--out", str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", EARLY, module, *words],
        capture_output=True,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == 130, done.stderr
    assert done.stderr.startswith("xplain: interrupted.")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("verb", ["explain", "localise"])
@pytest.mark.parametrize("where", ["made", "entered", "drawn", "left"])
def test_an_interruption_at_any_time_says_what_stays(xplain, model, pictures, tmp_path, monkeypatch, verb, where):
    """Once the folder is there, also before the work and after it: the message was empty in between."""
    from xplain.cli.keeping.book import Book
    from xplain.cli.keeping.output import Folder

    out = tmp_path / "out"
    place, name = {
        "made": (Folder, "__init__"),
        "entered": (Folder, "__enter__"),
        "drawn": (Book, "kept"),
        "left": (Folder, "__exit__"),
    }[where]
    real = getattr(place, name)

    def interrupted(self, *given):
        real(self, *given)
        raise KeyboardInterrupt

    monkeypatch.setattr(place, name, interrupted)
    words = (verb, model, pictures, "-m", "occlusion", "--patch", 4, "--stride", 4, "--target", "bright")
    ran = xplain(*words, "--out", out)
    assert ran.code == 130
    written = {"made": 0, "entered": 0, "drawn": 1, "left": 3}[where]
    stays = {
        0: "Nothing was written: none of 3 pictures was done.",
        1: f"1 of 3 pictures is written to {out}; no file is half-written.",
        3: f"3 of 3 pictures are written to {out}; no file is half-written.",
    }
    assert f"xplain: interrupted. {stays[written]}" in ran.err
    assert len(list(out.glob("*.png"))) == written * (2 if verb == "localise" else 1)
