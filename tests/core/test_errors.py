"""An error is made of fields and pieces, and each door says it in its own words."""

from __future__ import annotations

import copy

import pytest

from xplain.core import errors
from xplain.core.declaring.wording import fixed_input, in_shell, limit, listed, named, option, way
from xplain.core.errors import UsageError, XplainError, unknown

EVERY = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, XplainError)]
FLAGS = [
    "card",
    "max_cost",
    "features",
    "allow_external_data",
    "output",
    "fixed",
    "limit",
    "seed",
    "baseline",
    "columns",
    "endpoint",
    "size",
]
SHELL = in_shell(FLAGS, ["version", "allow_http", "auth"])


@pytest.mark.parametrize(
    ("piece", "python", "shell"),
    [
        (option("card"), "card=", "--card"),
        (option("max_cost", 0.1), "max_cost=0.1", "--max-cost 0.1"),
        (option("features", "grid:7"), "features='grid:7'", "--features grid:7"),
        (option("features", "a b"), "features='a b'", "--features 'a b'"),
        (option("allow_external_data", True), "allow_external_data=True", "--allow-external-data"),
        (option("output", of="load"), "load(..., output=)", "--output"),
        (option("baseline", python="row", shell="row.csv"), "baseline=row", "--baseline row.csv"),
        (option("size", (3, 8), shell="3x8"), "size=(3, 8)", "--size 3x8"),
        (named("seed"), "seed", "--seed"),
        (limit("nodes"), "limits=Limits(nodes=...)", "--limit nodes=..."),
        (fixed_input("n"), "fixed={'n': array}", "--fixed n=FILE.npy"),
        (fixed_input("a b"), "fixed={'a b': array}", "--fixed 'a b=FILE.npy'"),
        (
            way("columns", python="use xplain.table", shell="give a table (.csv)"),
            "use xplain.table",
            "give a table (.csv)",
        ),
        # what is no flag of the verb is not advised as one
        (option("layer", "x"), "layer='x'", "layer='x' (in Python)"),
        (option("version", "2"), "version='2'", 'version = "2" (in the file of --endpoint)'),
        (option("allow_http", True), "allow_http=True", "allow_http = true (in the file of --endpoint)"),
        (named("times"), "times", "times"),
        (way("text", python="use xplain.text", shell="give texts"), "use xplain.text", "use xplain.text (in Python)"),
    ],
)
def test_an_option_in_the_words_of_each_door(piece, python, shell):
    error = UsageError("Give ", piece, ".")
    assert str(error) == f"Give {python}."
    assert error.said(SHELL) == f"Give {shell}."


def test_a_mention_inside_an_f_string_is_refused_where_it_is_written():
    with pytest.raises(TypeError, match=r"piece of a message.*option\('card'\)"):
        f"Give {option('card')} a file."


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_every_kind_keeps_its_pieces_and_fields(kind):
    error = kind("Input ", named("seed"), " is bad", option="seed", got=-1, accepted="0 or 1", advice=option("card"))
    for one in (error, copy.copy(error)):  # a copy is made as a process would hand it to another
        assert str(one) == "Input seed is bad; accepted: 0 or 1. card="
        assert (one.option, one.got, one.accepted, one.nearest, one.advice) == ("seed", -1, "0 or 1", (), "card=")
        assert one.fields(SHELL) == {
            "kind": kind.__name__,
            "message": "Input --seed is bad; accepted: 0 or 1. --card",
            "option": "seed",
            "got": -1,
            "accepted": "0 or 1",
            "advice": "--card",
        }
    assert kind("all is said").fields(SHELL) == {"kind": kind.__name__, "message": "all is said"}


def test_the_usual_message_is_made_of_the_fields():
    error = UsageError(option="max_cost", got="much", accepted="a number", advice=("Or use ", option("card"), "."))
    assert str(error) == "max_cost is 'much'; accepted: a number. Or use card=."
    assert error.said(SHELL) == "--max-cost is 'much'; accepted: a number. Or use --card."
    assert len(str(UsageError(option="x", got="y" * 10_000, accepted="less"))) < 300


def test_an_error_inside_an_error_is_said_by_the_same_door():
    inner = UsageError("give ", option("card"), " a file.")
    outer = UsageError("a.onnx cannot be used: ", inner)
    outer.advise("Methods that still work: rise.")
    assert outer.said(SHELL) == "a.onnx cannot be used: give --card a file. Methods that still work: rise."
    assert str(outer) == "a.onnx cannot be used: give card= a file. Methods that still work: rise."
    assert UsageError(*listed(["card", "size"]), ": no.").said(SHELL) == "--card, --size: no."


def test_unknown_names_bring_the_nearest_or_what_is_accepted():
    near = unknown("method", "oclusion", ["occlusion", "rise"], ("See ", option("card"), "."))
    assert str(near) == "Unknown method 'oclusion'. Did you mean 'occlusion'? See card=."
    assert (near.got, near.nearest) == ("oclusion", ("occlusion",))
    assert str(unknown("method", "zzz", ["occlusion", "rise"])) == "Unknown method 'zzz'; accepted: occlusion, rise."


def test_names_from_files_do_not_steer_a_terminal_in_any_field():
    error = UsageError("x \x1b[2J", advice="y\x1b", accepted="\x1bz", nearest=["\x1b"])
    assert "\x1b" not in str(error) + error.advice + str(error.fields(SHELL))
