"""Sentences say what the numbers say: where, how much, and how surely."""

from __future__ import annotations

import made
import numpy as np
import pytest

import xplain
from xplain.core.caveat import Caveat


def map_of(values, **fields):
    plain = {"unit": "delta logit", "method": "occlusion", "targets": ("tabby",), "scores": np.ones(1)}
    return made.attribution(values=np.asarray(values, np.float32)[None], **{**plain, **fields})


def patch(rows, columns, side=30, value=1.0):
    values = np.zeros((side, side))
    values[rows, columns] = value
    return values


@pytest.mark.parametrize(
    ("rows", "columns", "place"),
    [
        (slice(0, 4), slice(24, 30), "top right (y 0 to 3, x 24 to 29)"),
        (slice(13, 17), slice(13, 17), "in the middle (y 13 to 16, x 13 to 16)"),
        (slice(24, 28), slice(12, 18), "bottom centre (y 24 to 27, x 12 to 17)"),
    ],
)
def test_a_place_is_named(rows, columns, place):
    assert f"of the picture, {place}." in map_of(patch(rows, columns)).sentence()


def corners(*places):
    """A square of 3 in several places."""
    values = np.zeros((30, 30))
    for row, column in places:
        values[row : row + 3, column : column + 3] = 1.0
    return values


@pytest.mark.parametrize(
    ("places", "place"),
    [
        (((0, 0), (0, 27), (27, 0), (27, 27)), "here and there all over it (y 0 to 29, x 0 to 29)"),
        (((0, 0), (27, 27)), "here and there all over it (y 0 to 29, x 0 to 29)"),
        (((2, 0), (2, 27)), "top, here and there from left to right (y 2 to 4, x 0 to 29)"),
        (((0, 14), (27, 14)), "centre, here and there from top to bottom (y 0 to 29, x 14 to 16)"),
        (((8, 8), (14, 14)), "in the middle (y 8 to 16, x 8 to 16)"),
        (((2, 8), (2, 14)), "top centre (y 2 to 4, x 8 to 16)"),
    ],
)
def test_regions_that_lie_apart_have_no_place_between_them(places, place):
    assert f"of the picture, {place}." in map_of(corners(*places)).sentence()


def test_half_of_the_evidence_is_on_the_fewest_positions_that_hold_it():
    values = patch(slice(0, 3), slice(0, 3), value=10.0)  # 90 of 180 on 9 of 900 positions
    values[20:29, 20:30] = 1.0
    said = map_of(values).sentence()
    assert said.startswith("Half of what speaks for 'tabby' lies on 1% of the picture, top left (y 0 to 2, x 0 to 2).")
    assert "Against" not in said
    values[10:13, 10:25] = -1.0
    assert "Against it there is 25% as much." in map_of(values).sentence()
    assert "spread out" in map_of(np.ones((30, 30))).sentence()


def test_nothing_and_only_against_are_said():
    assert map_of(np.zeros((5, 5))).sentence() == "Nothing is said of 'tabby': all values are zero."
    assert "Nothing speaks for 'tabby'" in map_of(-np.ones((5, 5))).sentence()
    assert "More speaks against it" in map_of(patch(0, 0, value=1.0) - patch(1, slice(0, 3))).sentence()


def test_doubt_is_the_share_whose_interval_holds_zero():
    values = patch(slice(0, 3), slice(0, 3), value=3.0) + patch(20, slice(0, 9), value=1.0)  # 27 and 9
    error = np.where(values > 2, 0.1, 1.0)[None].astype(np.float32)
    assert "25% of it cannot be told from zero (95 %)." in map_of(values, error=error).sentence()
    assert "All of it is surely" in map_of(values, error=error * 0 + np.float32(0.01)).sentence()
    warned = map_of(values, warnings=(Caveat("The sample was cut short."),))
    assert warned.sentence().endswith("Read its warnings first.")


def test_rows_texts_and_series_are_named():
    rows = {"age": [2.0], "rent": [-3.0], "job": ["nurse"], "debt": [0.5]}
    model = xplain.table(
        lambda t: [5 * a + r + (j == "nurse") for a, r, j in zip(t["age"], t["rent"], t["job"], strict=True)],
        columns=rows,
    )
    nothing = {"age": 0, "rent": 0, "job": "clerk", "debt": 0}
    table = xplain.explain(model, rows, "ablation", baseline=nothing)
    most = "age = 2 (+10), rent = -3 (-3) and job = nurse (+1): 100% of all that the columns do."
    assert table.sentence().endswith(f"it is mostly {most}")
    word = xplain.explain(xplain.text(lambda ts: [[t.count("good")] for t in ts]), "a good film", "ablation")
    assert "mostly good (+1)" in word.sentence()
    x = np.ones((1, 20), np.float32)
    series = xplain.explain(lambda v: v[:, 5:8].sum(1), x, "occlusion", layout="NT", patch=1, stride=1, baseline=0.0)
    assert "lies at moments 5 to 7, 15% of the time" in series.sentence()


def test_it_is_it_where_the_target_stands_already():
    assert map_of(patch(0, 0)).render("sentence", named=False).startswith("Half of what speaks for it lies")


def test_a_volume_is_one():
    x = np.ones((1, 1, 8, 8, 8), np.float32)
    how = {"layout": "NCDHW", "patch": 2, "stride": 2, "baseline": 0.0}
    said = xplain.explain(lambda v: v[:, 0, 2:4, 2:4, 2:4].sum((1, 2, 3)), x, "occlusion", **how)
    assert "lies on 2% of the volume, in the middle (z 2 to 3, y 2 to 3, x 2 to 3)" in said.sentence()


def test_what_float32_leaves_of_a_zero_is_not_named_and_no_sample_makes_it_sure():
    values = np.array([[1.5, 3.0, 1.7e-16, -2.2e-16]], np.float32)
    said = map_of(values[0], error=np.zeros_like(values), layout="NC").sentence()
    assert "mostly column 1 (+3) and column 0 (+1.5): 100% of all that the columns do." in said
    assert said.endswith("Its standard errors are all zero.")
