"""Files are whole, also when processes write the same one, and a killed process leaves nothing for good."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys

import pytest

from xplain.cli.keeping.output import Folder
from xplain.core.errors import OutputError
from xplain.core.keeping.files import hidden_part, hold, let_go, remove_stale, whole_file

HALF = """
import os, signal, sys
from xplain.core.keeping.files import whole_file
with whole_file(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    if sys.argv[2] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.stdin.readline()
"""
MANY = """
import sys
from xplain.core.keeping.files import whole_file
for _ in range(60):
    with whole_file(sys.argv[1]) as file:
        for _ in range(20):
            file.write(sys.argv[2].encode() * 1000)
"""


def run(code, *words, **how):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], **how)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_what_a_killed_process_left_is_gone_after_the_next_write(tmp_path):
    target = tmp_path / "a.npz"
    for _ in range(3):
        assert run(HALF, target, "die", stdout=subprocess.DEVNULL).wait(60) == -signal.SIGKILL
    assert names(tmp_path) == [".a.npz.part"], "one at most, however often it happens"
    with whole_file(target) as file:
        file.write(b"whole")
    assert names(tmp_path) == ["a.npz"]
    assert target.read_bytes() == b"whole"


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path):
    target = tmp_path / "a.npz"
    other = run(HALF, target, "wait", stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert other.stdout.readline() == b"writing\n"
    assert not remove_stale(hidden_part(target))
    with whole_file(target) as file:
        file.write(b"mine")
    assert target.read_bytes() == b"mine"
    other.communicate(b"\n", timeout=60)
    assert target.read_bytes() == b"half"
    assert names(tmp_path) == ["a.npz"]


def test_several_processes_write_one_file_and_it_is_always_whole(tmp_path):
    target = tmp_path / "a"
    writers = [run(MANY, target, letter) for letter in "xyz"]
    seen = set()
    while any(one.poll() is None for one in writers):
        if target.exists():
            content = target.read_bytes()
            assert len(content) == 20_000
            assert len(set(content)) == 1
            seen.add(content[:1])
    assert [one.wait() for one in writers] == [0, 0, 0]
    assert seen
    assert names(tmp_path) == ["a"]


def test_nobody_elses_file_is_taken_for_a_part(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"precious")
    hidden_part(tmp_path / "a").symlink_to(secret)
    os.link(secret, hidden_part(tmp_path / "b"))
    for name in "ab":
        with whole_file(tmp_path / name) as file:
            file.write(b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert secret.read_bytes() == b"precious"


def test_places_that_cannot_be_written(tmp_path):
    for place in (tmp_path / ("x" * 300), tmp_path / "a\0b", tmp_path / "absent" / "a"):
        with pytest.raises(OutputError, match="Cannot write"), whole_file(place) as file:
            file.write(b"x")
    assert names(tmp_path) == []


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom xplain.cli.keeping.output import Folder\n"
        "with Folder(Path(sys.argv[1])) as folder:\n    folder.write('x.png', b'1')\n    folder.record({})\n"
        "    print('in', flush=True)\n    sys.stdin.readline()\n"
    )
    out = tmp_path / "out"
    other = run(code, out, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"in\n"
    with (
        pytest.raises(OutputError, match="Another run of xplain is writing into --out .*choose another folder"),
        Folder(out),
    ):
        pass
    other.kill()
    other.communicate()
    with Folder(out) as folder:
        assert folder.files == ["x.png"]
    assert names(out) == ["run.json", "x.png"]


def test_a_hold_ends(tmp_path):
    held = hold(tmp_path / "lock")
    assert held >= 0
    assert hold(tmp_path / "lock") is None
    let_go(tmp_path / "lock", held)
    again = hold(tmp_path / "lock")
    let_go(tmp_path / "lock", again)
    assert names(tmp_path) == []


def test_a_device_is_never_replaced_by_a_file(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="device or a pipe"), whole_file(pipe):
        raise AssertionError
    assert stat.S_ISFIFO(pipe.stat().st_mode)
