"""Items that are cut out of a result and joined again are the result."""

from __future__ import annotations

import numpy as np
import pytest
from made import attribution

from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.errors import UsageError
from xplain.core.items import Columns, Passage
from xplain.results.join import joined
from xplain.results.result import plain_values

VALUES = np.arange(12, dtype=np.float32).reshape(4, 3)
TEXTS = tuple(Passage(word, ((0, 3),)) for word in ("one", "two", "six", "ten"))


@pytest.mark.parametrize(
    "more",
    [
        {"error": VALUES + 1, "base": np.arange(4.0), "rows": VALUES.astype(float)},
        {"columns": Columns(("a", "b", "c"), tuple((str(k), "x", "y") for k in range(4)))},
        {"texts": TEXTS},
        {"each": {"gap": np.arange(4.0), "rule": [(0,), (), (1, 2), (0,)], "map": np.zeros((4, 2, 2))}},
        {"facts": {"layer": "conv", "labels": np.arange(3)}, "warnings": (Caveat("all"), Caveat("one", item=2))},
    ],
    ids=lambda more: next(iter(more)),
)
def test_parts_make_the_whole(more):
    whole = attribution(
        VALUES, names=("a", "b", "c", "d"), labels=(0, 1, 0, 2), targets=("x | y", "z", "x | y", "w"),
        cost=Cost(8, seconds=2.0), rows_per_call={"scores": (4,)}, **more,
    )  # fmt: skip
    parts = [one.with_provenance(cost=Cost(2, seconds=0.5)) for one in whole]
    for split in (parts, [whole[:3].with_provenance(cost=Cost(6, seconds=1.5)), parts[3]]):
        again = joined(split)
        np.testing.assert_array_equal(again.values, whole.values)
        assert again.meta() == whole.meta()
        assert plain_values(again.each) == plain_values(whole.each)
        for name in ("error", "base", "rows"):
            np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


def test_facts_that_parts_do_not_share_are_left_out():
    one = attribution(VALUES[:1], facts={"windows": 4, "map": np.arange(3)}, each={"gap": [1.0]})
    other = attribution(VALUES[1:], facts={"windows": 9, "map": np.arange(3)}, each={"steps": [1, 2, 3]})
    both = joined([one, other])
    assert (list(both.facts), both.each, len(both)) == (["map"], {}, 4)
    assert joined([one, attribution(VALUES[1:], base=np.zeros(3))]).base is None


@pytest.mark.parametrize("entries", [[1.0], np.zeros(3), 5, "ab", {"a": 1}])
def test_a_fact_of_each_item_has_an_entry_for_each(entries):
    with pytest.raises(UsageError, match="the fact 'gap' has .* for 4 items. Give a list or an array"):
        attribution(VALUES, each={"gap": entries})


@pytest.mark.parametrize("field", [{"names": ("a",)}, {"labels": (1, 2)}, {"error": VALUES[:2]}, {"texts": TEXTS[:3]}])
def test_a_field_of_each_item_has_an_entry_for_each(field):
    with pytest.raises(UsageError, match=f"the field {next(iter(field))!r} has . entr(y|ies) for 4 items"):
        attribution(VALUES, **field)
