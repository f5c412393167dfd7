"""The subgroup that was made worse is named with its interval; chance names one in twenty tables at most."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xplain.analyses.subgroups import subgroups


def made(seed=0, worse=0.0, count=600):
    rng = np.random.default_rng(seed)
    site = rng.choice(["north", "south", "west"], count)
    age = rng.integers(18, 90, count)
    right = rng.random(count) < 0.85 - worse * (site == "west")
    return right, {"site": site.tolist(), "age": age.tolist()}


def test_the_site_that_is_worse_is_found_with_fishers_p_and_its_items():
    right, columns = made(worse=0.25)
    found = subgroups(right, columns, items=np.arange(600) + 40)
    assert found[0].group == "site = west"
    assert found[0].standing == "candidate"
    inside = np.array(columns["site"]) == "west"
    table = [[(right & inside).sum(), (~right & inside).sum()], [(right & ~inside).sum(), (~right & ~inside).sum()]]
    assert found[0].p == pytest.approx(7 * stats.fisher_exact(table).pvalue, rel=1e-6)  # 3 sites and 4 quarters
    assert found[0].effect == pytest.approx(right[inside].mean() - right[~inside].mean())
    assert found[0].interval[0] < found[0].effect < found[0].interval[1] < 0
    rows = found[0].members - 40
    assert inside[rows].all()
    assert not right[rows].any()


def test_nothing_is_named_where_no_subgroup_differs():
    alarms = sum(any(one.standing == "candidate" for one in subgroups(*made(seed, count=300))) for seed in range(100))
    assert alarms <= 10
    quiet = subgroups(*made(3))
    assert [one.standing for one in quiet] == ["measured"]


def test_missing_values_are_no_subgroup_names_are_skipped_and_small_ones_are_counted():
    right, columns = made(worse=0.25)
    columns["site"][0:300:2] = [None] * 150
    columns["camera"] = ["new"] * 5 + ["old"] * 595
    columns["file"] = [f"{n}.jpg" for n in range(600)]
    columns["same"] = ["x"] * 600
    found = subgroups(np.where(np.arange(600) < 10, None, right), columns)
    said = [one.group for one in found if one.standing == "candidate"]
    assert "site = west" in said
    assert all("file" not in one and "None" not in one for one in said)
    short = [one for one in found if one.standing == "too few"]
    assert len(short) == 1
    few = subgroups([True] * 9, {"a": ["b"] * 9})
    assert (few[0].standing, few[0].evidence["needed"]) == ("too few", 40)
