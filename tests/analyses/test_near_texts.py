"""Near copies among texts and rows: all pairs that meet the condition, held against comparing each with each."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from xplain.analyses.near_texts import row_pairs, runs, shuffled_pairs, text_pairs
from xplain.core.errors import UsageError

TALE = "the model said that a small red cat sat on one of my old hats and did not move at all today"
WORDS = TALE.split()


def written(count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, int(rng.integers(1, 30)))) for _ in range(count)]


@pytest.mark.parametrize("alike", [0.3, 0.6, 1.0])
def test_all_pairs_that_share_enough_runs_are_found_and_no_other(alike):
    texts = written(60)
    texts += [f"{texts[3]}!", texts[5].upper(), f"{texts[9]} indeed", texts[11].replace(" ", ",  "), "", "..."]
    sets = [runs(one) for one in texts]
    slow = {}
    for a, b in combinations(range(len(texts)), 2):
        if sets[a] and sets[b] and len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= alike:
            slow[a, b] = len(sets[a] & sets[b]) / len(sets[a] | sets[b])
    pairs, likeness = text_pairs(texts, alike)
    assert [tuple(one) for one in pairs.tolist()] == sorted(slow)
    np.testing.assert_allclose(likeness, [slow[key] for key in sorted(slow)])
    assert {(3, 60), (5, 61), (11, 63)} <= set(slow)


def test_case_punctuation_and_spaces_are_left_out_and_order_is_not():
    assert runs("Good,  film!") == runs("good film")
    assert runs("good film") != runs("film good")
    assert runs("") == runs("...") == frozenset()
    assert len(text_pairs(["one", "ONE.", "two"])[0]) == 1
    with pytest.raises(UsageError, match="alike"):
        text_pairs(["a"], 0)


def test_rows_agree_where_every_column_does():
    rng = np.random.default_rng(1)
    rows = {
        "age": [*rng.integers(20, 70, 40).tolist(), 30, 30, None, None],
        "pay": [*rng.uniform(10, 90, 40).tolist(), 50.0, 50.5, 50.0, 50.0],
        "job": [*rng.choice(["nurse", "clerk"], 40).tolist(), "nurse", "nurse", "nurse", "clerk"],
        "same": [7] * 44,
    }
    found = {tuple(one) for one in row_pairs(rows).tolist()}
    assert (40, 41) in found
    assert not {(40, 42), (42, 43)} & found  # a gap is no 30; a clerk is no nurse
    spread = {name: np.subtract(*np.quantile([v for v in rows[name] if v is not None], (0.95, 0.05)))
              for name in ("age", "pay")}  # fmt: skip

    def agree(a: int, b: int) -> bool:
        for name in ("age", "pay"):
            one, other = rows[name][a], rows[name][b]
            if (one is None) != (other is None) or (one is not None and abs(one - other) > 0.02 * spread[name]):
                return False
        return rows["job"][a] == rows["job"][b]

    assert found == {pair for pair in combinations(range(44), 2) if agree(*pair)}


def test_what_chance_gives_is_counted_on_columns_that_were_shuffled():
    rng = np.random.default_rng(2)
    few = {"a": rng.integers(0, 3, 60).tolist(), "b": rng.choice(["x", "y"], 60).tolist()}
    assert shuffled_pairs(few) > 100  # six kinds of rows
    many = {name: rng.normal(size=60).tolist() for name in "abcde"}
    many = {name: [*values, values[0], values[1]] for name, values in many.items()}
    assert [tuple(one) for one in row_pairs(many).tolist()] == [(0, 60), (1, 61)]
    assert shuffled_pairs(many) == 0
    assert len(row_pairs({"job": ["x", "y", "x"]})) == 1
