"""Descriptions of edits count themselves and refuse arrays of the wrong kind."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.edits import Coalitions, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.query import Score
from xplain.core.target import label

FILL = np.zeros((1, 1, 1, 1), np.float32)


def test_counts():
    assert Untouched().count == 1
    assert Windows(np.zeros((5, 4), np.int32), FILL).count == 5
    assert Windows(np.zeros((2, 5, 4), np.int32), FILL).count == 5
    assert Coalitions(np.zeros((3, 3), np.int32), np.zeros((6, 4), np.uint8), FILL).features == 4
    assert SoftGrid(0, 8, (7, 7), 0.5, FILL).count == 8
    assert Ranked(np.zeros((3, 3), np.int32), np.arange(4), FILL).count == 4
    assert Full(np.zeros((9, 3, 3), np.float32), FILL).count == 9
    assert Full(np.zeros((2, 9, 3, 3), np.float32), FILL, per_item=True).count == 9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Windows(np.zeros((5, 4)), FILL), "Windows.boxes is float64"),
        (lambda: Windows(np.zeros((5, 3), np.int32), FILL), r"\[M, 4\] or \[N, M, 4\]"),
        (lambda: Coalitions(np.zeros((3, 3), np.int64), np.zeros((6, 4), np.uint8), FILL), "labels is int64"),
        (lambda: Coalitions(np.zeros((3, 3), np.int32), np.zeros(4, np.uint8), FILL), "keep is uint8"),
        (lambda: Full([1.0], FILL), "Full.masks is list"),
    ],
)
def test_wrong_arrays(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_fingerprints_follow_content():
    x = np.arange(4, dtype=np.float32).reshape(2, 2)
    a = Score(x, Windows(np.zeros((5, 4), np.int32), FILL), label(1))
    same = Score(x.copy(), Windows(np.zeros((5, 4), np.int32), FILL), label(1))
    assert fingerprint(a) == fingerprint(same)
    others = [
        Score(x + 1, a.edits, label(1)),
        Score(x.astype(np.float64), a.edits, label(1)),
        Score(x, Windows(np.ones((5, 4), np.int32), FILL), label(1)),
        Score(x, a.edits, label(2)),
        Score(x, a.edits, label(1), part=(0, 1)),
    ]
    assert len({fingerprint(q) for q in [a, *others]}) == 6
