"""Counterfactuals: valid, of no idle change, within what may change, and from real rows."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import UnknownName

COLUMNS = ("income", "age", "debt", "rooms")
RNG = np.random.default_rng(0)
TRAINED = np.round(RNG.normal(size=(200, 4)), 3).astype(np.float32)


def credit(rows: np.ndarray) -> np.ndarray:
    """Refused (0) below a line of income and debt; age helps a little, rooms do nothing."""
    lead = 2 * rows[:, 0] - 2 * rows[:, 2] + 0.2 * rows[:, 1]
    return np.stack([-lead, lead], axis=1)


def asked(x: np.ndarray, **options: object) -> xplain.Attribution:
    reader = xplain.table(lambda t: credit(np.stack([np.asarray(t[n], float) for n in COLUMNS], 1)), columns=COLUMNS)
    rows = {name: x[:, k] for k, name in enumerate(COLUMNS)}
    background = {name: TRAINED[:, k] for k, name in enumerate(COLUMNS)}
    return xplain.explain(reader, rows, "counterfactual", background=background, target=0, **options)


REFUSED = TRAINED[credit(TRAINED).argmax(axis=1) == 0][:12]


def test_every_answer_changes_the_decision_and_none_of_its_changes_is_idle() -> None:
    a = asked(REFUSED)
    assert all(one == [True] for one in a.each["valid"])
    changed = REFUSED + a.values
    assert (credit(changed).argmax(axis=1) == 1).all()
    for row, own in zip(REFUSED, changed, strict=True):
        columns = np.flatnonzero(row != own)
        assert 3 not in columns  # rooms do nothing
        for k in columns:
            without = own.copy()
            without[k] = row[k]
            assert credit(without[None]).argmax() == 0
    np.testing.assert_allclose(np.array([one[0] for one in a.each["counterfactuals"]]), changed, atol=1e-6)


def test_values_are_those_of_a_row_that_was_seen() -> None:
    a = asked(REFUSED)
    for row, change in zip(REFUSED, a.values, strict=True):
        columns = np.flatnonzero(change)
        seen = np.isclose(TRAINED[:, columns], (row + change)[columns], atol=1e-5).all(axis=1)
        assert seen.any()


def test_what_may_not_change_does_not() -> None:
    a = asked(REFUSED, immutable="income,age")
    assert not a.values[:, :2].any()
    b = asked(REFUSED, falling="debt", rising=["income"])
    assert (b.values[:, 2] <= 0).all()
    assert (b.values[:, 0] >= 0).all()
    assert all(one == [True] for one in b.each["valid"])


def test_answers_differ_in_their_columns() -> None:
    a = asked(REFUSED[:3], many=2)
    for row, answers in zip(REFUSED[:3], a.each["counterfactuals"], strict=True):
        sets = {tuple(np.flatnonzero(np.abs(np.array(one) - row) > 1e-5)) for one in answers}
        assert len(sets) == len(answers)
    assert max(len(one) for one in a.each["counterfactuals"]) == 2


def test_where_nothing_can_change_the_result_says_so() -> None:
    a = asked(REFUSED[:1], immutable=list(COLUMNS))
    assert not a.values.any()
    assert any("No row of another class" in text for text in a.said)
    with pytest.raises(UnknownName, match="'incom'"):
        asked(REFUSED[:1], immutable="incom")
