from __future__ import annotations

import numpy as np
import pytest
from toy import Toy, X, coalitions, run

from xplain.core.errors import ModelError, UsageError
from xplain.core.query import Score
from xplain.engine import Sentinel, Store, probe


class Replaced(Toy):
    """Becomes another model after ``after`` rows."""

    def __init__(self, after, shift=0.5, **options):
        super().__init__(**options)
        self.after, self.shift = after, shift

    def scores(self, rows):
        return super().scores(rows) + (self.shift if len(self.rows) > self.after else 0)


def test_it_stops_within_its_interval():
    toy = Replaced(after=30)
    with pytest.raises(ModelError, match=r"toy has changed: .* class '\d' went from .* further evaluations"):
        run(toy, coalitions(100), sentinel=Sentinel(10), batch_size=5)
    assert 30 < len(toy.rows) <= 30 + 10 + 5 + 2


def test_it_looks_once_more_at_the_end():
    toy = Replaced(after=16)
    with pytest.raises(ModelError, match="has changed"):
        run(toy, coalitions(10), sentinel=Sentinel(10**6))


def test_a_model_that_stays_costs_one_evaluation_per_look():
    toy = Toy()
    (answer,), cost = run(toy, coalitions(20), sentinel=Sentinel(10), batch_size=5)
    (plain,), _ = run(Toy(), coalitions(20))
    np.testing.assert_array_equal(answer, plain)
    assert cost.queries == len(toy.rows) == 40 + 1 + 4


def test_doubtful_answers_leave_the_cache_and_a_resume_notices_at_once(tmp_path):
    with Store(tmp_path) as store:
        with pytest.raises(ModelError, match="dropped from the cache"):
            run(Replaced(after=18), coalitions(64), sentinel=Sentinel(10), batch_size=5, store=store)
        good = Toy()
        kept = len(store)
        assert 0 < kept <= 18
        changed = Replaced(after=-1)
        with pytest.raises(ModelError, match="noticed after 0 further evaluations"):
            run(changed, coalitions(64), sentinel=Sentinel(10), store=store)
        assert len(changed.rows) == 1
        (resumed,), cost = run(good, coalitions(64), store=store)
        assert cost.queries == len(set(good.rows)) == len(good.rows)
    (direct,), _ = run(Toy(), coalitions(64))
    np.testing.assert_array_equal(resumed, direct)


def test_a_small_wobble_is_tolerated():
    toy = Replaced(after=10, shift=1e-6)
    run(toy, coalitions(20), sentinel=Sentinel(5), batch_size=5)


def test_another_number_of_scores_is_a_change():
    sentinel = Sentinel(1)
    sentinel.look(np.zeros(3), Toy().outline)
    with pytest.raises(ModelError, match="gave 3 scores and now gives 4"):
        sentinel.look(np.zeros(4), Toy().outline)


def test_top_k_answers_are_compared_where_both_are_known():
    sentinel = Sentinel(1)
    sentinel.look(np.array([np.nan, 1.0, 2.0]), Toy().outline)
    sentinel.look(np.array([0.5, 1.0, np.nan]), Toy().outline)
    with pytest.raises(ModelError, match="names other classes"):
        sentinel.look(np.array([1.0, np.nan, np.nan]), Toy().outline)


@pytest.mark.parametrize("bad", [0, -3, 1.5, True])
def test_an_impossible_interval_is_refused(bad):
    with pytest.raises(UsageError, match="sentinel is .*accepted: a whole number"):
        Sentinel(bad)


def test_an_impossible_tolerance_is_refused():
    with pytest.raises(UsageError, match="tolerance is -1"):
        Sentinel(5, tolerance=-1)


def test_the_probe_tells_noise_from_determinism():
    class Noisy(Toy):
        def answer(self, query):
            return super().answer(query) + 0.25 * (len(self.rows) > 2)

    still = probe(Toy(), X)
    assert still.deterministic
    assert str(still) == "asked 3 times, the answers are equal to the bit"
    noisy = probe(Noisy(), X)
    assert noisy.largest == 0.25
    assert "moved by up to 0.25" in str(noisy)
    with pytest.raises(UsageError, match="times is 1"):
        probe(Toy(), X, times=1)
    assert Score in Toy.answers
