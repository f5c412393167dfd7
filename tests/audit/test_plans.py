"""The plan: every choice that decides bits, called by a hash; whoever resumes with another is told what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from xplain.audit.plans.plan import FORMAT, Grading, ItemFacts, ModelFacts, Plan, Shard, refuse_other
from xplain.core.errors import UsageError
from xplain.core.lane import Lane

MODEL = ModelFacts(
    "net", "00", "onnx", "x", "NCHW", (3, 8, 8), "float32", {"mode": "RGB"}, {"kind": "logits"}, ("a", "b")
)
LANE = Lane("net/rise", "net", "00", "rise", {"samples": 500}, rows=8, item=(3, 8, 8), native_shape=(8, 8))
PLAN = Plan(ItemFacts("11", 10, "folder"), (MODEL,), (LANE,), Grading(("deletion",), (1, 4, 9)), shard_rows=4)


def test_a_plan_comes_back_from_its_bytes_with_its_identity() -> None:
    again = Plan.from_json(PLAN.to_json())
    assert (again, again.identity) == (PLAN, PLAN.identity)
    assert replace(PLAN, seed=1).identity != PLAN.identity


def test_shards_hold_every_item_once() -> None:
    assert PLAN.shards == [Shard(0, 0, 4), Shard(1, 4, 4), Shard(2, 8, 2)]
    assert [n for shard in PLAN.shards for n in shard.items] == list(range(10))


def test_a_shard_knows_its_sampled_items() -> None:
    assert [PLAN.grading.within(shard) for shard in PLAN.shards] == [(1,), (4,), (9,)]
    assert Grading(("deletion",), None).within(PLAN.shards[2]) == (8, 9)
    assert Grading((), None).within(PLAN.shards[2]) == ()


def test_what_differs_is_named() -> None:
    other = replace(PLAN, lanes=(replace(LANE, options={"samples": 900}),), versions={"numpy": "9"})
    refuse_other(PLAN, PLAN, "out")
    with pytest.raises(UsageError) as caught:
        refuse_other(PLAN, other, "out")
    assert "lanes.net/rise.options.samples was 500 and is 900" in str(caught.value)
    assert 'versions.numpy was not there and is "9"' in str(caught.value)


def test_a_newer_folder_is_refused_and_a_changed_one_too() -> None:
    newer = PLAN.to_json().replace(b'"format":%d' % FORMAT, b'"format":%d' % (FORMAT + 1))
    with pytest.raises(UsageError, match="of a newer xplain"):
        Plan.from_json(newer)
    with pytest.raises(UsageError, match="changed by hand"):
        Plan.from_json(PLAN.to_json() + b"\n")
    for broken in (b"", b"{}", b"[1]", PLAN.to_json().replace(b'"seed":0,', b""), PLAN.to_json()[:-9]):
        with pytest.raises(UsageError, match=r"no plan of an audit"):
            Plan.from_json(broken)


def test_seeds_follow_from_the_items_content_alone() -> None:
    seeds = {PLAN.seed_of(f"{k:064x}") for k in range(100)}
    assert len(seeds) == 100
    assert replace(PLAN, items=ItemFacts("22", 99, "csv")).seed_of("aa") == PLAN.seed_of("aa")
    assert replace(PLAN, seed=1).seed_of("aa") != PLAN.seed_of("aa")
