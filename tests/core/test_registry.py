"""One declaration feeds options, docs and messages."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import pytest

from xplain.core.declaring import registry
from xplain.core.declaring.docstrings import docstring_sections
from xplain.core.declaring.options import Baseline, Fraction, Natural, Positive, Size, options_of
from xplain.core.declaring.registry import METHODS, Paper, method
from xplain.core.errors import UnknownName, UsageError, nearest
from xplain.core.query import Flow, Reading, Score, View


@pytest.fixture
def declared(undeclared):
    @method("test-only", needs=Score, paper=Paper("Nobody 2026", "nowhere"), unit="x", aliases=("tost",))
    def test_only(
        view: View,
        *,
        samples: Positive = 10,
        keep: Fraction = 0.5,
        patch: Size | None = None,
        mode: Literal["fast", "slow"] = "fast",
        deep: bool = False,
        baseline: Baseline = 0.0,
        skip: Natural = 0,
    ) -> Flow:
        """Do nothing.

        More words.

        Args:
            samples: how many,
                in all.
            keep: what share.

        Cost:
            Nothing at all.
        """
        yield from ()
        return Reading(np.zeros(1))

    return registry.find("TEST_only")


def test_the_docstring_becomes_documentation(declared):
    assert declared.summary == "Do nothing."
    assert declared.cost == "Nothing at all."
    assert declared.options["samples"].doc == "how many, in all."
    assert registry.find("tost") is declared


def test_options_are_read_from_values_and_from_text(declared):
    read = declared.read_options
    assert read({})["samples"] == 10
    got = read({"samples": "12", "patch": "16x8", "deep": "yes", "mode": "slow", "keep": "0.25", "skip": 0})
    assert (got["samples"], got["patch"], got["deep"], got["mode"], got["keep"]) == (12, (16, 8), True, "slow", 0.25)
    assert read({"patch": None})["patch"] is None
    assert read({"baseline": "blur:2.50"})["baseline"] == "blur:2.5"


@pytest.mark.parametrize("name", ["samples", "keep", "patch", "mode", "deep", "baseline", "skip"])
def test_every_invalid_value_is_refused_with_what_is_accepted(declared, name):
    option = declared.options[name]
    for value in option.kind.invalid:
        with pytest.raises(UsageError, match=f"method 'test-only': option '{name}' is .*accepted: "):
            declared.read_options({name: value})


def test_unknown_names_get_the_nearest(declared):
    with pytest.raises(UnknownName, match=r"Unknown option of method 'test-only': 'sampels'. Did you mean 'samples'"):
        declared.read_options({"sampels": 3})
    with pytest.raises(UnknownName, match="Did you mean 'test-only'"):
        registry.find("test-onyl")
    assert nearest("zzz", ["alpha"]) == []


def test_two_owners_of_a_name_are_both_named(declared):
    with pytest.raises(UsageError, match="'tost' is declared twice: by .*test_registry and by .*test_registry"):

        @method("tost", needs=Score, paper=Paper("", ""), unit="x")
        def other(view: View) -> Flow:
            """Other."""
            yield from ()
            return Reading(np.zeros(1))


def test_an_option_without_default_is_the_authors_error():
    def wrong(view: View, *, samples: Positive) -> None: ...

    with pytest.raises(TypeError, match="needs an annotation and a default"):
        options_of(wrong, {})

    def odd(view: View, *, samples: Annotated[int, 3] | list[int] = 3) -> None: ...

    with pytest.raises(TypeError, match="not a kind"):
        options_of(odd, {})


def test_sections():
    got = docstring_sections("Idea.\n\nBody\nmore.\n\nArgs:\n    a: b\n\nCost:\n    1\n")
    assert got == {"summary": "Idea.", "body": "Body\nmore.", "args": "a: b", "cost": "1"}


def test_examples_of_many_long_names_are_cut() -> None:
    """An exporter's node names can have hundreds of letters; five of them must not bury the message."""
    from xplain.core.errors import unknown

    message = str(unknown("layer", "conv", [f"{i:02d}" + "x" * 300 for i in range(50)]))
    assert "one of 50, such as" in message
    assert "…" in message
    assert len(message) < 500


@pytest.mark.parametrize("wrong", [5, None, ["grad-cam"], np.zeros(3)])
def test_what_is_no_name_is_refused_with_words(wrong):
    with pytest.raises(UsageError, match="A name is a text such as 'grad-cam'; got"):
        METHODS.find(wrong)
