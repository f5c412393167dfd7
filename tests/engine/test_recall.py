from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from toy import ZERO, Toy, X, coalitions, flow, run

from xplain import native
from xplain.core.edits import Coalitions, Full, Untouched, Windows
from xplain.core.errors import BudgetError, CapabilityError, ModelError, NonFinite, UsageError
from xplain.core.price import Price
from xplain.core.query import Score
from xplain.core.target import every_score, label
from xplain.engine import Store, plan
from xplain.engine.budget import Budget
from xplain.engine.row_keys import row_keys, runs


def expected(model, query):
    rows = np.empty((len(X) * query.edits.count, 6), np.float32)
    native.fill(X, query.edits, 0, len(rows), rows, model.outline.layout)
    return model.scores(rows)[:, 1].reshape(len(X), -1)


def test_runs_of_increasing_rows():
    assert list(runs([])) == []
    assert list(runs([0])) == [(0, 1)]
    assert list(runs([3, 4, 5, 9, 11, 12])) == [(3, 6), (9, 10), (11, 13)]


def test_answers_are_the_same_with_a_store_and_no_row_is_asked_twice(tmp_path):
    toy, query = Toy(), coalitions(40)  # 64 coalitions of 6 exist, so 40 draws repeat some
    with Store(tmp_path) as store:
        (first,), cost = run(toy, query, store=store)
    np.testing.assert_array_equal(first, expected(toy, query))
    distinct = len(set(toy.rows))
    assert len(toy.rows) == distinct == cost.queries < 80
    assert cost.reused == 80 - distinct
    again = Toy()
    with Store(tmp_path) as store:
        (second,), cost = run(again, query, store=store)
    assert again.rows == []
    assert (cost.queries, cost.reused) == (0, 80)
    np.testing.assert_array_equal(first, second)


def test_other_edits_targets_and_chunks_reuse_the_same_rows(tmp_path):
    toy = Toy()
    with Store(tmp_path) as store:
        run(toy, coalitions(20), store=store)
        asked = len(toy.rows)
        keep = coalitions(20).edits.keep
        masks = Full(keep.astype(np.float32), ZERO)
        (same,), cost = run(toy, Score(X, masks, label(0) - label(2)), store=store, batch_size=3)
        assert len(toy.rows) == asked, "a mask of 0 and 1 makes the very rows that a coalition makes"
        assert cost.queries == 0
    fresh = Toy()
    (direct,), _ = run(fresh, Score(X, masks, label(0) - label(2)))
    np.testing.assert_array_equal(same, direct)


def test_the_key_tells_models_items_and_readings_apart():
    query = coalitions(3)
    base = row_keys(Toy(), query)
    assert len(set(base)) == 6
    assert row_keys(Toy(), replace(query, part=(2, 4))) == base[2:4]
    assert not set(base) & set(row_keys(Toy(digest="toy-2"), query))
    other = Toy()
    other.outline = replace(other.outline, scores=replace(other.outline.scores, tensor="probabilities"))
    assert not set(base) & set(row_keys(other, query))
    assert row_keys(Toy(), replace(query, target=every_score)) != base


def test_a_model_without_identity_is_not_remembered(tmp_path):
    with Store(tmp_path) as store, pytest.raises(UsageError, match=r"cannot be remembered: it has no digest.*version="):
        run(Toy(digest=""), coalitions(), store=store)


def test_what_was_asked_before_an_error_is_kept(tmp_path):
    keep = np.unpackbits(np.arange(64, dtype=np.uint8)[:, None], axis=1)[:, 2:]
    query = Score(X[:1], Coalitions(np.arange(6, dtype=np.int32), keep, ZERO), label(0))
    broken = Toy(fail_after=40)
    with Store(tmp_path) as store, pytest.raises(RuntimeError, match="the toy broke"):
        run(broken, query, store=store, batch_size=8)
    assert len(broken.rows) == 40
    mended = Toy()
    with Store(tmp_path) as store:
        (answer,), cost = run(mended, query, store=store)
    assert len(mended.rows) == cost.queries == 24
    assert not set(mended.rows) & set(broken.rows)
    (direct,), _ = run(Toy(), query)
    np.testing.assert_array_equal(answer, direct)


def test_the_budget_counts_only_rows_that_must_be_paid(tmp_path):
    toy = Toy()
    with Store(tmp_path) as store:
        run(toy, coalitions(20), store=store)
        run(Toy(), coalitions(20), store=store, budget=Budget(1))
        grey = Score(X, Windows(np.array([[0, 0, 1, 2], [0, 2, 1, 4]], np.int32), ZERO + 0.5), label(1))
        with pytest.raises(BudgetError, match="needs 4 model evaluations, but 3 of max_queries=3 are left"):
            run(Toy(), grey, store=store, budget=Budget(3))


def test_money_is_checked_before_anything_is_asked():
    toy = Toy(price=Price(per_row=Decimal("0.01"), per_call=Decimal("0.10"), rows_per_call=4, currency="EUR"))
    with pytest.raises(
        BudgetError, match=r"needs 16 model evaluations for 0\.56 EUR, but 0\.5 EUR of max_cost=0\.5 EUR"
    ):
        run(toy, coalitions(8), budget=Budget(max_cost="0.50"))
    assert toy.rows == []
    _, cost = run(toy, coalitions(8), budget=Budget(max_cost=0.56))
    assert cost.money == pytest.approx(0.56)
    assert cost.currency == "EUR"


def test_money_needs_a_price():
    with pytest.raises(UsageError, match=r"this model has no price.*price=0\.002"):
        run(Toy(), coalitions(8), budget=Budget(max_cost=1))


@pytest.mark.parametrize("bad", [-1, "much", float("nan"), True, "inf"])
def test_unreadable_money_is_refused(bad):
    with pytest.raises(UsageError, match="max_cost is .*accepted: an amount of money"):
        Budget(max_cost=bad)


def test_money_really_spent_counts_and_stops():
    class Retrying(Toy):
        """Is billed twice for every row, as a vendor does whose answers time out."""

        def answer(self, query):
            query.account.add(Decimal("0.02") * (query.rows[1] - query.rows[0]))
            return super().answer(query)

    toy = Retrying(price=Price(per_row=Decimal("0.01")))
    toy.abilities = replace(toy.abilities, billed=lambda: (0, Decimal(0)))
    with pytest.raises(BudgetError, match=r"was spent, above max_cost=0\.2"):
        run(toy, coalitions(8), budget=Budget(max_cost="0.20"), batch_size=2)
    assert len(toy.rows) == 12


def test_a_plan_prints_the_bill_and_asks_and_writes_nothing(tmp_path):
    price = Price(per_row=Decimal("0.002"), rows_per_call=8, currency="USD")
    toy = Toy(price=price)
    with Store(tmp_path) as store:
        run(toy, coalitions(8), store=store)
        stored, asked = len(store), len(toy.rows)
        more = [coalitions(8), coalitions(30, seed=2)]
        bill = plan([flow(*more)], toy, store)
        assert len(store) == stored
        assert len(toy.rows) == asked
        _, cost = run(toy, *more, store=store)
    assert (bill.queries, bill.reused) == (cost.queries, stored)
    assert stored <= cost.reused < 8 + 60
    assert bill.money == price.bill(cost.queries)
    assert str(bill) == (
        f"{cost.queries} evaluations; {price.calls(cost.queries)} calls; {price.show(bill.money)}, "
        f"retries not counted; {stored} more are known already"
    )


def test_scores_that_change_their_number_are_an_error(tmp_path):
    class Shrinking(Toy):
        def scores(self, rows):
            return super().scores(rows)[:, : 3 if len(self.rows) < 10 else 2]

    ask = replace(coalitions(20), target=every_score)
    message = "toy answered 3 scores to some rows and 2 to others"
    with pytest.raises(ModelError, match=message):
        run(Shrinking(), ask, batch_size=4)
    with (
        Store(tmp_path) as store,
        pytest.raises(ModelError, match="toy answered 2 scores to some rows and 3 to others"),
    ):
        run(Shrinking(), ask, batch_size=4, store=store)


def test_rows_that_do_not_match_are_an_error():
    class Short(Toy):
        def answer(self, query):
            return super().answer(query)[:-1]

    with pytest.raises(CapabilityError, match=r"answered \[15, 1\] to 16 rows"):
        run(Short(), coalitions(8))


@pytest.mark.parametrize("stored", [False, True])
def test_an_unknown_class_is_named_and_is_not_zero(tmp_path, stored):
    class TopTwo(Toy):
        def scores(self, rows):
            scores = super().scores(rows)
            np.put_along_axis(scores, scores.argmin(axis=1)[:, None], np.nan, axis=1)
            return scores

    toy = TopTwo(partial="only the 2 best classes are answered")
    settings = {"store": Store(tmp_path)} if stored else {}
    with pytest.raises(
        NonFinite, match=r"score of 'label 1' is unknown for item \d+ under edit \d+: only the 2 best .*is not 0"
    ):
        run(toy, coalitions(20), **settings)
    (everything,), _ = run(toy, Score(X, Untouched(), every_score), **settings)
    assert np.isnan(everything).sum() == 2


def test_nan_from_an_ordinary_model_says_where():
    class Broken(Toy):
        def scores(self, rows):
            return np.full((len(rows), 3), np.nan)

    with pytest.raises(NonFinite, match=r"score of 'label 1' for item 0 under edit 0 is nan.*another baseline"):
        run(Broken(), coalitions(4))
