"""What a result is told with is said by each door in its own words, as errors are."""

from __future__ import annotations

import copy

import numpy as np

import xplain
from xplain.core.caveat import Caveat, sentences, worded
from xplain.core.declaring.wording import Sentence, in_shell, named, option, said

TOLD = Sentence("Too few. Allow more ", named("steps"), ", or give ", option("tolerance", 0.01), ".")
SHELL = in_shell(["steps", "tolerance", "baseline", "background", "rule", "conservation"])


def test_a_sentence_is_a_text_in_pythons_words():
    assert TOLD == "Too few. Allow more steps, or give tolerance=0.01."
    assert said(TOLD, SHELL) == "Too few. Allow more --steps, or give --tolerance 0.01."
    assert said("plain", SHELL) == "plain"
    assert said(Sentence(TOLD, " Then wait."), SHELL) == f"{said(TOLD, SHELL)} Then wait."


def test_copies_keep_what_is_an_option():
    for one in (copy.deepcopy(TOLD), copy.copy(TOLD)):
        assert said(one, SHELL) == said(TOLD, SHELL)


def test_caveats_are_worded_and_keep_the_rest():
    (found,) = worded([Caveat(TOLD, "incomplete", 1)], SHELL)
    assert (found.kind, found.item, found.brief) == ("incomplete", 1, "Too few.")
    assert sentences([found], ["a", "b"]) == ["b: Too few. Allow more --steps, or give --tolerance 0.01."]


def test_a_warning_of_a_method_names_its_options_in_both_words():
    """Rows of numbers, and nothing says what hidden ones become."""
    model = xplain.load(lambda x: np.asarray(x) @ np.ones((3, 2)))
    rows = xplain.explain(model, np.ones((1, 3), np.float32), "kernel-shap", samples=12)
    (one,) = rows.warnings
    assert "Give background=rows or baseline=row, or baseline=0 if 0 is meant." in one.text
    assert said(one.text, SHELL).endswith(
        "Give --background rows.csv or --baseline row.csv, or --baseline 0 if 0 is meant."
    )
    again = xplain.explain(model, np.ones((1, 3), np.float32), "kernel-shap", samples=12, baseline=0.0)
    assert again.warnings == ()
