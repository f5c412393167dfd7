"""Scores as a person reads them."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.outline import Outline, ScoreSpec
from xplain.session.predictions import best, in_words, probabilities


def spec(kind, link):
    return ScoreSpec("scores", 3, kind, link, "")


SCORES = np.array([[1.0, 3.0, 1.0], [-800.0, 800.0, 0.0]])


@pytest.mark.parametrize(
    ("kind", "link", "expected"),
    [
        ("logits", "softmax", np.exp(SCORES[:1]) / np.exp(SCORES[:1]).sum()),
        ("logits", "sigmoid", 1 / (1 + np.exp(-SCORES[:1]))),
        ("probabilities", "none", SCORES[:1]),
        ("log-probabilities", "none", np.exp(SCORES[:1])),
    ],
)
def test_probabilities(kind, link, expected):
    np.testing.assert_allclose(probabilities(SCORES[:1], spec(kind, link)), expected, rtol=1e-12)


def test_no_probabilities_where_the_model_does_not_say_how():
    assert probabilities(SCORES, spec("logits", "none")) is None


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_large_scores_do_not_overflow(link):
    np.testing.assert_allclose(probabilities(SCORES[1:], spec("logits", link))[0, :2], [0, 1], atol=1e-12)


def test_best_first_and_ties_in_order_of_class():
    outline = Outline("m", "onnx", "", (), "x", None, spec("logits", "softmax"), labels=("a", "b", "c"))
    (found, other) = best(SCORES, outline)
    assert [one["label"] for one in found] == ["b", "a", "c"]
    assert [one["class"] for one in other] == [1, 2, 0]
    assert [len(row) for row in best(SCORES, outline, 1)] == [1, 1]
    assert in_words(found) == "b 78.7%, a 10.7%, c 10.7%"
    bare = Outline("m", "onnx", "", (), "x", None, spec("logits", "none"))
    assert in_words(best(SCORES, bare)[0]) == "1 3, 0 1, 2 1"
