"""Deletion and insertion curves of models whose curve is known, and their place in the engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made import attribution

import xplain
from xplain.core.errors import UsageError
from xplain.measure import curve
from xplain.testing import Formula

WEIGHTS = np.array([[4.0, 1.0, 3.0, 2.0]])
X = np.ones((1, 4), np.float32)
MODEL = Formula(lambda rows: rows.astype(float) @ WEIGHTS[0], "NS", (4,), digest="weighted sum")


def explained(values: np.ndarray) -> xplain.Attribution:
    return attribution(values, target="0", labels=(0,))


def test_the_right_order_falls_first() -> None:
    down = curve(MODEL, X, explained(WEIGHTS), "deletion", steps=4)
    assert down.scores.tolist() == [[10, 6, 3, 1, 0]]
    assert down.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert down.area[0] == pytest.approx((5 + 6 + 3 + 1) / 4)
    up = curve(MODEL, X, explained(WEIGHTS), "insertion", steps=4)
    assert up.scores.tolist() == [[0, 4, 7, 9, 10]]
    assert curve(MODEL, X, explained(-WEIGHTS), "deletion", steps=4).area[0] > down.area[0]


def test_channels_are_summed_and_baselines_kept() -> None:
    x = np.arange(16, dtype=np.float32).reshape(1, 2, 2, 4)
    model = Formula(lambda rows: rows.sum(axis=(1, 2, 3)), "NCHW", (2, 2, 4))
    down = curve(model, x, explained(x), "deletion", steps=8, baseline=1.0)
    order = np.sort((x[0].sum(axis=0)).ravel())[::-1]
    np.testing.assert_allclose(down.scores[0], x.sum() - np.concatenate([[0], np.cumsum(order - 2)]), rtol=1e-6)


def test_answers_on_disk_are_shared(tmp_path: Path) -> None:
    first = curve(MODEL, X, explained(WEIGHTS), "deletion", steps=4, cache=tmp_path / "answers")
    again = curve(MODEL, X, explained(WEIGHTS), "deletion", steps=4, cache=tmp_path / "answers")
    assert first.cost.queries == 5
    assert again.cost.queries == 0
    assert again.scores.tolist() == first.scores.tolist()


def test_messages() -> None:
    with pytest.raises(xplain.XplainError, match="'sideways'; accepted: deletion, insertion"):
        curve(MODEL, X, explained(WEIGHTS), "sideways")
    with pytest.raises(xplain.XplainError, match="Given: 1 item; the explanation is of 2"):
        curve(MODEL, X, attribution(np.ones((2, 4)), target="0", labels=(0, 0)))
    with pytest.raises(xplain.XplainError, match=r"The explanation is \[1, 3\]; needed: .* \[1, 4\]"):
        curve(MODEL, X, explained(np.ones((1, 3))))
    with pytest.raises(xplain.XplainError, match="option 'steps' is 0; accepted: a whole number of at least 1"):
        curve(MODEL, X, explained(WEIGHTS), steps=0)


def test_a_target_is_read_as_explain_reads_it():
    """A class by number, and a difference in words, are the targets that they stand for."""
    model = xplain.load(lambda x: np.stack([x.sum(1), 2 * x[:, 0], -x[:, 1]], axis=1))
    x = np.array([[3.0, 1.0, 2.0]], np.float32)
    found = xplain.explain(model, x, "occlusion", target=1, patch=1, stride=1)
    for given, same in ((1, xplain.label(1)), ("1 - 0", xplain.label(1) - xplain.label(0))):
        said, meant = (curve(model, x, found, target=one, steps=3).scores for one in (given, same))
        np.testing.assert_array_equal(said, meant)
    with pytest.raises(UsageError, match="'top2' stands for 2 targets"):
        curve(model, x, found, target="top2")
