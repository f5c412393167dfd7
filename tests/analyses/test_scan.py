"""Shares, peaks, the scan of cells and of channels: planted to the index, and silent where nothing was planted."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from xplain.analyses.mass import mass_in, mass_on, regions
from xplain.analyses.scan import leaning, region, scan
from xplain.analyses.shares import directions, peaks, ranks, shares
from xplain.core.errors import UsageError


def test_shares_are_sums_of_positive_values_in_cells_and_no_map_is_no_share():
    maps = np.zeros((3, 4, 6))
    maps[0, 0, 0], maps[0, 3, 5], maps[0, 1, 1] = 3, 1, -9
    maps[2, 0, 0] = np.nan
    found = shares(maps, 2)
    np.testing.assert_allclose(found[0], [[0.75, 0], [0, 0.25]])
    assert np.isnan(found[1:]).all()
    assert shares(np.ones((1, 3, 3)), 8).shape == (1, 3, 3)  # no finer than the map


def test_a_position_on_the_edge_of_two_cells_is_shared_out_by_area():
    maps = np.zeros((1, 7, 7))
    maps[0, 3, 0] = 1  # rows 3.0 to 4.0 of 7; the edge of two cells lies at 3.5
    np.testing.assert_allclose(shares(maps, 2)[0], [[0.5, 0], [0.5, 0]])
    even = shares(np.ones((1, 7, 7)), 2)[0]
    np.testing.assert_allclose(even, 0.25)


def test_directions_lose_their_scale_alone():
    found = directions([[1, -3], [10, -30], [0, 0]])
    np.testing.assert_allclose(found[:2], [[0.25, -0.75]] * 2)
    assert np.isnan(found[2]).all()


def test_the_peak_is_the_window_that_holds_most_not_the_brightest_position():
    maps = np.zeros((1, 16, 16))
    maps[0, 2, 3] = 5
    maps[0, 10:12, 8:10] = 2
    np.testing.assert_allclose(peaks(maps)[0], [11 / 16, 9 / 16])


def test_ranks_are_scipys_with_equal_values_sharing_theirs():
    rows = np.random.default_rng(0).integers(0, 5, (20, 13))
    np.testing.assert_allclose(ranks(rows), stats.rankdata(rows, axis=1) - 1)


def planted(count: int = 60, seed: int = 0, much: float = 0.0, cell: tuple[int, int] = (6, 1)):
    """Even shares with noise; half of the first ``count`` items have more in one cell."""
    rng = np.random.default_rng(seed)
    raw = rng.gamma(2, size=(3 * count, 8, 8))
    carries = np.arange(3 * count) < count // 2
    raw[carries, cell[0], cell[1]] += much * raw.sum(axis=(1, 2))[carries]
    return raw / raw.sum(axis=(1, 2), keepdims=True), np.arange(3 * count) < count, carries


def test_t_of_each_cell_is_welchs_and_the_planted_cell_is_found():
    rows, inside, carries = planted(much=0.05)
    found = scan(rows, inside, draws=199)
    slow = stats.ttest_ind(rows[inside], rows[~inside], equal_var=False).statistic
    np.testing.assert_allclose(found.t, slow, rtol=1e-3, atol=1e-3)
    assert np.unravel_index(found.t.argmax(), (8, 8)) == (6, 1)
    assert found.p == 1 / 200
    box = region(found)
    assert box is not None
    assert box[6, 1]
    assert box.sum() == 1
    score = rows[:, box].sum(axis=1)
    assert score[carries].min() > np.quantile(score[~carries], 0.8)


def test_the_scan_alarms_in_one_of_twenty_sets_where_nothing_is_planted():
    p = [scan(*planted(24, seed)[:2], draws=99, seed=seed).p for seed in range(120)]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) <= 0.1


def test_a_region_grows_over_hot_cells_that_touch_and_never_over_more_than_a_quarter():
    rows, inside, _ = planted(much=0.0)
    rows = rows.copy()
    rows[inside, 2:4, 2:5] += 0.05
    box = region(scan(rows, inside, draws=99))
    assert box is not None
    assert np.argwhere(box).min(axis=0).tolist() == [2, 2]
    assert box.sum() == 6
    rows[inside, :, :] += np.linspace(0.1, 0.2, 64).reshape(8, 8)
    box = region(scan(rows, inside, draws=99))
    assert box is not None
    assert 0 < box.mean() <= 0.25
    assert region(scan(*planted(24, 3)[:2], draws=99)) is None


def test_the_channel_that_splits_a_group_is_found_and_one_bell_is_not_split():
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(80, 12))
    flat = leaning(rows, draws=99)
    assert flat.p > 0.05
    carries = np.arange(80) < 30
    rows[carries, 7] += 5
    found = leaning(rows, draws=99)
    assert found.channel == 7
    assert found.p == 0.01
    np.testing.assert_array_equal(found.flagged, carries)
    ps = [leaning(np.random.default_rng(s).normal(size=(40, 4)), draws=49, seed=s).p for s in range(60)]
    assert np.mean(np.array(ps) <= 0.06) <= 0.15


def test_too_few_items_are_refused_with_how_many_are_needed():
    with pytest.raises(UsageError, match="at least 20"):
        scan(np.ones((30, 4)), np.arange(30) < 5)
    with pytest.raises(UsageError, match="at least 40"):
        leaning(np.ones((9, 4)))


def test_mass_on_masks_is_the_share_of_magnitude_there():
    maps = np.zeros((2, 16, 16))
    maps[0, 0, 0], maps[0, 8, 8] = -3, 1
    masks = regions(16, 16)
    assert mass_in(maps, masks["border"])[0] == 0.75
    assert mass_in(maps, masks["top left corner"])[0] == 0.75
    assert mass_in(maps, masks["bottom right corner"])[0] == 0
    assert np.isnan(mass_in(maps, masks["border"])[1])
    assert masks["border"].sum() == 16 * 16 - 12 * 12
    assert masks["top right corner"].sum() == 16
    own = np.stack([masks["border"], ~masks["border"]])
    assert mass_in(np.ones((2, 16, 16)), own).tolist() == [112 / 256, 144 / 256]
    with pytest.raises(UsageError, match="mask"):
        mass_in(maps, np.ones((3, 3)))


def test_the_class_that_leans_on_a_corner_is_named_and_the_others_are_not():
    rng = np.random.default_rng(5)
    names = np.repeat(["cat", "dog", "hare", "owl"], 60)
    values = {"border": rng.normal(0.4, 0.05, 240), "corner": rng.normal(0.06, 0.02, 240)}
    values["corner"][names == "hare"] += 0.02
    found = mass_on(values, names, items=np.arange(240) + 1000, draws=199)
    assert (found[0].group, found[0].evidence["region"], found[0].standing) == ("hare", "corner", "candidate")
    assert found[0].effect == pytest.approx(0.02, abs=0.006)
    assert found[0].p == 1 / 200
    assert found[0].interval[0] < found[0].effect < found[0].interval[1]
    assert set(found[0].members) <= set(range(1120, 1180))
    assert len({one.evidence["region"] for one in found}) == 1
    assert all(one.standing != "confirmed" for one in found)


def test_what_one_of_two_classes_has_more_is_told_once():
    rng = np.random.default_rng(6)
    names = np.repeat(["tabby", "coffee"], 60)
    values = {"border": rng.normal(0.4, 0.05, 120), "corner": rng.normal(0.06, 0.02, 120)}
    values["border"][:60] -= 0.1
    values["corner"][:60] += 0.03
    found = [one for one in mass_on(values, names, draws=199) if one.standing == "candidate"]
    assert [(one.group, one.evidence["region"]) for one in found] == [("coffee", "border"), ("tabby", "corner")]
    assert all(one.effect > 0 for one in found)
    assert ", those of tabby " in found[0].statement


def test_no_class_is_named_where_none_leans_and_small_classes_are_told_how_many_they_need():
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = mass_on(
            {"border": rng.gamma(2, size=60), "corner": rng.gamma(1, size=60)}, ["a", "b", "c"] * 20, draws=99
        )
        alarms += any(one.standing == "candidate" for one in found)
    assert alarms <= 7
    found = mass_on({"border": np.arange(24.0)}, ["a"] * 11 + ["b"] * 11 + ["c"] * 2, draws=19)
    short = [one for one in found if one.standing == "too few"]
    assert [(one.group, one.count, one.evidence["needed"]) for one in short] == [("c", 2, 10)]
    assert mass_on({"border": np.arange(5.0)}, ["a"] * 5)[-1].standing == "too few"


def test_small_groups_are_one_finding_that_names_the_largest():
    from xplain.analyses.enough import small_groups

    (found,) = small_groups("mass", {"a": 3, "b": 12, "c": 5, "d": 1, "e": 2, "f": 9}, 10)
    assert found.statement.startswith("5 classes have fewer than 10 items (f, c, a and 2 more);")
    assert (found.standing, found.group, found.count) == ("too few", "", 9)
    (one,) = small_groups("drift", {"a": 3, "b": 12}, 10, "items on one side")
    assert (one.group, one.statement.split(" (")[0]) == ("a", "1 class has fewer than 10 items on one side")
    assert small_groups("mass", {"b": 12}, 10) == []
