"""What all verbs share: one result on stdout, errors without tracebacks, exit codes, progress."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import xplain.cli as cli
from xplain.cli.telling import console
from xplain.cli.telling.console import Outcome, Progress, table, to_json
from xplain.core.errors import BudgetError, ModelError, PictureError, Unsafe, UsageError

VERBS = cli.VERBS


def failing_with(monkeypatch, error):
    def methods():
        raise error

    monkeypatch.setattr(cli, "VERBS", (methods,))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no such thing"), 2),
        (PictureError("no such thing"), 2),
        (ModelError("no such thing"), 2),
        (BudgetError("no such thing"), 2),
        (Unsafe("no such thing"), 3),
    ],
)
def test_errors_on_purpose_have_a_message_and_no_traceback(xplain, monkeypatch, error, code):
    failing_with(monkeypatch, error)
    ran = xplain("methods")
    assert ran.code == code
    assert ran.err == "xplain: no such thing\n"
    assert ran.out == ""


def test_an_errors_notes_are_told(xplain, monkeypatch):
    error = ModelError("it broke")
    error.add_note("while explaining")
    failing_with(monkeypatch, error)
    assert xplain("methods").err == "xplain: it broke\nwhile explaining\n"


def test_errors_as_json(xplain, monkeypatch):
    failing_with(monkeypatch, Unsafe("a pickle"))
    ran = xplain("methods", "--json")
    assert ran.document == {"error": {"kind": "Unsafe", "message": "a pickle"}, "exit_code": 3}
    assert ran.err == "xplain: a pickle\n"


def test_a_defect_keeps_its_traceback(xplain, monkeypatch):
    failing_with(monkeypatch, ZeroDivisionError("oh"))
    ran = xplain("methods", "--json")
    assert ran.code == 70
    assert "Traceback" in ran.err
    assert "ZeroDivisionError: oh" in ran.err
    assert ran.document["error"]["kind"] == "ZeroDivisionError"


def test_too_little_memory_is_no_defect(xplain, monkeypatch):
    failing_with(monkeypatch, MemoryError("Unable to allocate 7.28 TiB for an array"))
    ran = xplain("methods", "--json")
    assert ran.code == 2
    assert ran.err.startswith("xplain: There is not enough memory: Unable to allocate 7.28 TiB for an array. Ask for")
    assert ran.document["error"]["kind"] == "MemoryError"


def test_an_interruption_has_its_own_code(xplain, monkeypatch):
    failing_with(monkeypatch, KeyboardInterrupt("2 of 3 are written."))
    ran = xplain("methods")
    assert (ran.code, ran.err) == (130, "xplain: interrupted. 2 of 3 are written.\n")
    assert xplain("methods", "--json").document["exit_code"] == 130


@pytest.mark.parametrize("words", [[], ["explain"], ["no-verb"], ["methods", "--no-option"], ["explain", "m"]])
def test_usage_is_exit_code_2_with_json_too(xplain, words):
    assert xplain(*words).code == 2
    ran = xplain(*words, "--json")
    assert ran.code == 2
    assert ran.document["exit_code"] == 2


def test_unknown_option_names_the_nearest(xplain):
    ran = xplain("explain", "m.onnx", "p.png", "--metod", "rise")
    assert ran.code == 2
    assert "--method" in ran.err


def named(verb):
    """What a verb is called on a command line."""
    return verb.__name__.replace("_", "-")


def test_help_and_version(xplain):
    ran = xplain("--help")
    assert ran.code == 0
    for name in (*[named(verb) for verb in VERBS], *cli.GROUPS):
        assert name in ran.out
    from xplain import __version__

    assert xplain("--version").out == f"xplain {__version__}\n"


WORDS = [*[(named(verb),) for verb in VERBS], *[(g, named(v)) for g, verbs in cli.GROUPS.items() for v in verbs]]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_every_verb_has_help_and_json(xplain, words):
    ran = xplain(*words, "--help")
    assert ran.code == 0
    assert "--json" in ran.out
    assert "Raises" not in ran.out


def test_to_json_takes_what_numpy_gives_and_refuses_nan():
    found = json.loads(to_json({"a": np.float32(0.5), "b": np.arange(2), "c": (1, None)}))
    assert found == {"a": 0.5, "b": [0, 1], "c": [1, None]}
    with pytest.raises(ValueError, match="JSON"):
        to_json({"a": float("nan")})


def test_table_aligns_and_leaves_no_blanks_at_the_end():
    assert table([("a", "bb"), ("ccc", "")], ("x", "y")) == "x    y\na    bb\nccc"
    assert table([]) == ""
    assert table([("\u732b", "cat"), ("ab", "c")]) == "\u732b  cat\nab  c"  # a letter that takes two places


def test_progress_in_plain_lines_says_at_most_every_tenth(capsys):
    with Progress(200) as progress:
        for done in range(1, 201):
            progress.to(done)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("10% (20 of 200 evaluations")
    assert lines[-1].startswith("100% (200 of 200 evaluations")


def test_progress_beyond_the_plan_speaks_at_each_doubling(capsys):
    with Progress(10) as progress:
        for done in range(1, 101):
            progress.to(done)
    said = capsys.readouterr().err.splitlines()
    assert "100% (10 of 10 evaluations" in said[-4]
    assert [line.split(" evaluations")[0].split()[-1] for line in said[-3:]] == ["20", "40", "80"]
    assert all("more than the 10 planned" in line for line in said[-3:])


def test_progress_without_a_plan_is_silent_for_seconds_and_then_speaks_ever_less(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    with Progress(None, unit="steps") as progress:
        for second in range(300):
            now[0] = float(second)
            progress.to(100 * second)
    said = capsys.readouterr().err
    times = [line.partition(", ")[2] for line in said.splitlines()]
    assert times == [f"{n}.0 s" for n in (10, 30, 70, 130, 190, 250)]
    assert said.startswith("1000 steps, ")
    assert "planned" not in said
    assert "%" not in said
    assert "\r" not in said


def test_progress_on_a_terminal_is_a_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress(200) as progress:
        progress.to(100)
        progress.to(200)
    said = capsys.readouterr().err
    assert "\r" in said
    assert "evaluations" in said
    assert "\x1b[3" not in said  # no colours, so NO_COLOR has nothing to switch off


def test_help_without_colour(xplain, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[3" not in xplain("explain", "--help").out


def test_an_outcome_is_ok_unless_it_says_otherwise():
    assert Outcome({}, "").code == 0


def test_a_reader_that_has_seen_enough_is_no_error():
    command = f"{sys.executable} -c 'from xplain.cli import main; main()' methods expected-gradients | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("expected-gradients:")
    assert done.stderr == ""


def test_the_module_is_the_command_line():
    ran = subprocess.run(
        [sys.executable, "-m", "xplain", "methods", "lrp"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("lrp: relevance")
