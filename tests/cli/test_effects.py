"""``xplain effect`` and ``xplain importance``: a table in; planted effects, their pictures and files out."""

from __future__ import annotations

import numpy as np
import pytest
from nets import FLOAT, model
from onnx import helper
from PIL import Image

from xplain.results import load

RNG = np.random.default_rng(4)


@pytest.fixture
def linear(tmp_path):
    """Score 3 age - 2 debt, rooms do nothing; ``y`` is what it says, with noise."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["score"])]
    weights = {"w": np.array([[3.0], [-2.0], [0.0]], np.float32)}
    path = tmp_path / "price.onnx"
    path.write_bytes(model(nodes, {"x": (FLOAT, ["N", 3])}, {"score": (FLOAT, ["N", 1])}, weights).SerializeToString())
    rows = RNG.normal(size=(60, 3)).round(3)
    true = rows @ [3.0, -2.0, 0.0] + 0.1 * RNG.normal(size=60)
    lines = ["age,debt,rooms,y", *(",".join(map(str, [*row, round(y, 4)])) for row, y in zip(rows, true, strict=True))]
    table = tmp_path / "rows.csv"
    table.write_text("\n".join(lines) + "\n")
    return path, table


@pytest.mark.parametrize("kind", ["ale", "pdp"])
def test_the_effect_of_each_column_is_its_slope(xplain, linear, tmp_path, kind):
    path, table = linear
    words = ("effect", path, table, "--columns", "age,debt,rooms", "--kind", kind, "--points", 8)
    ran = xplain(*words, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    assert [one["column"] for one in ran.document["effects"]] == ["age", "debt", "rooms"]
    for one, slope in zip(ran.document["effects"], (3.0, -2.0, 0.0), strict=True):
        grid, mean = np.array(one["grid"]), np.array(one["mean"])
        np.testing.assert_allclose(np.diff(mean), slope * np.diff(grid), atol=1e-4)
        kept = load(tmp_path / "out" / one["files"]["numbers"])
        np.testing.assert_allclose(kept.mean, mean)
        with Image.open(tmp_path / "out" / one["files"]["effect"]) as picture:
            blue = (np.asarray(picture.convert("RGB")).astype(int) == (0, 90, 160)).all(axis=2)
        rows, columns = np.nonzero(blue)
        left, right = rows[columns < columns.min() + 20].mean(), rows[columns > columns.max() - 20].mean()
        assert np.sign(round(left - right)) == np.sign(slope), "drawn rising or falling, as it is"


def test_one_column_alone_and_one_that_is_not_there(xplain, linear, tmp_path):
    path, table = linear
    words = ("effect", path, table, "--columns", "age,debt,rooms", "--out", tmp_path / "out")
    ran = xplain(*words, "--of", "debt")
    assert ran.code == 0, ran.err
    assert "debt: ale from" in ran.out
    assert "age: " not in ran.out
    ran = xplain(*words, "--of", "dept")
    assert ran.code
    assert "debt" in ran.err, "the nearest is named"
    ran = xplain("effect", path, tmp_path / "cat.jpg", "--out", tmp_path / "out")
    assert ran.code
    assert "accepted: a .csv or .tsv file" in ran.err


@pytest.mark.parametrize("kind", ["permutation", "sage"])
def test_what_columns_are_worth(xplain, linear, tmp_path, kind):
    path, table = linear
    words = ("importance", path, table, "--truth", "y", "--kind", kind, "--out", tmp_path / "out", "--repeats", 30)
    ran = xplain(*words, "--json")
    assert ran.code == 0, ran.err
    worth = {one["column"]: one["value"] for one in ran.document["columns"]}
    assert list(worth) == ["age", "debt", "rooms"]
    assert worth["age"] > worth["debt"] > 1 > abs(worth["rooms"]) == pytest.approx(0, abs=1e-6)
    assert ran.document["measure"] == "squared error"
    with Image.open(tmp_path / "out" / ran.document["files"]["importance"]) as picture:
        assert picture.size[0] > 600
    ran = xplain("importance", path, table, "--truth", "z", "--out", tmp_path / "out")
    assert ran.code
    assert "'z'" in ran.err
