"""A method's options are flags, straight from its registered signature."""

from __future__ import annotations

import inspect
from dataclasses import fields

import pytest

from xplain import api
from xplain.cli import VERBS
from xplain.cli.asking.flags import chosen_methods, command
from xplain.cli.asking.loading import Asking, Loading
from xplain.cli.asking.reading import RowOptions
from xplain.cli.telling.console import Outcome
from xplain.cli.verbs.explain import explain
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Untouched
from xplain.core.query import Flow, Reading, Score, View


@pytest.fixture
def echo(undeclared):
    """A method registered for one test: its map is everywhere ``depth``."""

    def build() -> None:
        @method("echo", needs=Score, paper=Paper("Nobody", "nowhere"), unit="depth")
        def echo(view: View, *, echo_depth: Positive = 3, loud: bool = False) -> Flow:
            """Say how deep it was told to go.

            Args:
                echo_depth: How deep [in metres].
                loud: Twice as deep.
            """
            answer = yield Score(view.x, Untouched(), view.target)
            depth = echo_depth * (2 if loud else 1)
            return Reading(0 * answer.reshape(-1, 1, 1) + depth + view.x[:, 0] * 0)

    build()
    return "echo"


def test_a_registered_method_shows_its_options_as_flags(xplain, echo):
    shown = " ".join(xplain("explain", "--method", echo, "--help").out.replace("│", " ").split())
    assert "--echo-depth" in shown
    assert "How deep [in metres]" in shown
    assert "a whole number of at least 1" in shown
    assert "Options of echo" in shown
    assert "--patch" not in shown
    assert "--echo-depth" not in xplain("explain", "--help").out


def test_a_registered_method_receives_its_flags(xplain, echo, model, pictures, tmp_path):
    words = ("explain", model, pictures / "a.png", "-m", echo, "--out", tmp_path / "out", "--json")
    options = xplain(*words, "--echo-depth", 5, "--loud", "true").document["pictures"][0]["explanations"][0]["options"]
    assert options == {"echo_depth": 5, "loud": True}
    ran = xplain(*words, "--echo-depth", "0")
    assert ran.code == 2
    accepted = "a whole number of at least 1, at most 1,000,000 (default 3)"
    assert f"method 'echo': option 'echo_depth' is '0'; accepted: {accepted}." in ran.err


def test_a_registered_method_is_listed(xplain, echo):
    assert any(line.startswith("  echo ") for line in xplain("methods").out.splitlines())
    assert "--echo-depth" in xplain("methods", echo).out


def test_each_method_receives_the_options_that_it_has(xplain, model, pictures, tmp_path):
    words = ("-m", "occlusion", "-m", "rise", "--patch", 4, "--samples", 20, "--baseline", "mean")
    ran = xplain("explain", model, pictures / "a.png", *words, "--out", tmp_path / "out", "--json")
    occlusion, rise = (one["options"] for one in ran.document["pictures"][0]["explanations"])
    assert (occlusion["patch"], occlusion["baseline"]) == (4, "mean")
    assert (rise["samples"], rise["baseline"]) == (20, "mean")


def test_an_option_of_another_method_says_whose_it_is(xplain, model, pictures, tmp_path):
    ran = xplain("explain", model, pictures, "-m", "occlusion", "--cells", 4, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "Unknown option of method occlusion: '--cells'; accepted: " in ran.err
    assert "--cells belongs to" in ran.err
    assert "rise" in ran.err
    assert not (tmp_path / "out").exists()


def test_an_unknown_method_is_named_before_its_options(xplain, model, pictures):
    ran = xplain("explain", model, pictures, "--method", "risse", "--samples", 20)
    assert ran.code == 2
    assert "Unknown method 'risse'. Did you mean 'rise'?" in ran.err


def test_the_methods_on_a_command_line():
    assert chosen_methods(["explain", "m", "-m", "a", "--method=b", "--method", "c"]) == ["a", "b", "c"]
    assert chosen_methods(["explain", "m"]) == ["auto"]
    assert chosen_methods(["--method"]) == [""]


def test_an_option_with_the_name_of_a_flag_of_the_verb_is_called_by_its_owner_first(xplain, model, pictures, tmp_path):
    """``--labels`` are the classes' names; how many answers a substitute learns from is an option of that name too."""
    words = ("--transfer-labels", 9, "--steps", 1, "--epochs", 1, "--explain", "none", "--out", tmp_path / "out")
    ran = xplain("attack", "transfer", model, pictures / "a.png", *words, "--json")
    assert ran.code in (0, 1), ran.err
    assert ran.document["options"]["labels"] == 9
    assert any("of the 9 answers it learnt" in said for said in ran.document["warnings"])
    ran = xplain("attack", "pgd", model, pictures / "a.png", "--transfer-labels", 9, "--out", tmp_path / "other")
    assert ran.code == 2
    assert "--transfer-labels" in ran.err


def test_a_method_option_with_the_name_of_an_own_flag_does_no_harm():
    taken = inspect.signature(command(taking_patch)).parameters
    assert taken["patch"].default == "own"
    assert "stride" in taken


def taking_patch(patch: str = "own", **options) -> Outcome:
    """A verb with a flag of its own that a method has too."""
    return Outcome(options, patch)


def test_every_verb_with_a_model_takes_the_same_flags():
    loading = {field.name for field in fields(Loading)}
    for verb in VERBS:
        names = set(inspect.signature(command(verb)).parameters)
        if "model" in names:
            assert loading <= names, verb.__name__
        if "labelled" in names or "items" in names or "pictures" in names:
            assert {field.name for field in fields(Asking)} <= names, verb.__name__


@pytest.mark.parametrize("entry", api.methods(), ids=lambda m: m.name)
def test_no_method_option_hides_a_flag_of_explain(entry):
    own = {name for name, p in inspect.signature(explain).parameters.items() if p.kind is not p.VAR_KEYWORD}
    own |= {field.name for group in (Loading, Asking, RowOptions) for field in fields(group)}
    assert not own & set(entry.options)
    assert not {"json", "help"} & set(entry.options)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--target", "0", "--target", "1"), "--target is given 2 times (0, 1); it takes one value. Give it once."),
        (("--target=0", "--target", "1"), "--target is given 2 times (0, 1)"),
        (("--samples", "5", "-m", "rise", "--samples=6"), "--samples is given 2 times (5, 6)"),
        (("-o", "a", "--out", "b"), "is given 2 times (a, b)"),
        (("-oa", "-ob"), "is given 2 times (a, b)"),
        (("--card", "unit", "--card", "raw"), "--card is given 2 times (unit, raw)"),
    ],
)
def test_a_flag_of_one_value_is_given_once(xplain, model, pictures, words, told):
    ran = xplain("explain", model, pictures, *words)
    assert (ran.code, told in ran.err) == (2, True), ran.err


def test_a_flag_of_several_values_and_a_value_like_a_flag_are_no_repetition(xplain, model, pictures, tmp_path):
    words = ("-m", "occlusion", "-m", "rise", "--samples", 8, "--patch", 8, "--stride", 8, "--out", tmp_path / "out")
    assert xplain("explain", model, pictures, *words, "--force", "--force").code == 0
    ran = xplain("explain", model, pictures, "--target", "--target", "--out", tmp_path / "out")
    assert "times" not in ran.err
