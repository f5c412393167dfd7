"""Ctrl-C in the middle: files are whole or absent, and the exit code says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from cli.tiny import write_picture
from PIL import Image

from xplain.core.attribution import Attribution

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


def start(model, pictures, out):
    command = [sys.executable, "-c", "from xplain.cli import main; main()", "explain", str(model), str(pictures)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *SLOW, "--out", str(out)],
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
    assert f"of {PICTURES} pictures are written to {out}; no file is half-written." in stderr
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
