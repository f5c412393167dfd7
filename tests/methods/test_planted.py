"""Planted truth: the only cause is known, and every method's attribution lands on it, to the index."""

from __future__ import annotations

from typing import Any

import nets
import numpy as np
import pytest

import xplain
from xplain.testing import Formula, additive, linear, product, xor

GAMES = ["ablation", "banzhaf", "exact-shapley", "kernel-shap", "lime", "partition-shap", "qii", "shapley-sampling"]
SHAPLEY = ["exact-shapley", "kernel-shap", "partition-shap", "shapley-sampling"]


def feature_values(model: Any, x: np.ndarray, method: str, **options: Any) -> np.ndarray:
    a = xplain.explain(model, x, method, target=0, **options)
    return np.array(a.notes["feature_values"])


# ---- pictures: an ONNX net that reads one 8 x 8 cell of 32 x 32 pixels ----------------------------------------------


@pytest.fixture(scope="module")
def one_cell() -> Any:
    return xplain.load(nets.planted(cell=(2, 1)))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 1, (1, 3, 32, 32)).astype(np.float32)


def inside(values: np.ndarray) -> np.ndarray:
    return values[..., 16:24, 8:16]


def test_occlusion_lies_in_exactly_that_cell(one_cell: Any, picture: np.ndarray) -> None:
    a = xplain.explain(one_cell, picture, "occlusion", patch=8, stride=8, target=0)
    np.testing.assert_allclose(inside(a.values), inside(picture).sum(), rtol=1e-5)
    outside = a.values.copy()
    inside(outside)[...] = 0
    assert np.abs(outside).max() <= 1e-5 * inside(picture).sum()


def test_rise_peaks_in_that_cell(one_cell: Any, picture: np.ndarray) -> None:
    values = xplain.explain(one_cell, picture, "rise", target=0).values[0]
    y, x = np.unravel_index(values.argmax(), values.shape)
    assert (16 <= y < 24, 8 <= x < 16) == (True, True)
    assert inside(values).mean() > 3 * np.abs(values).mean()


@pytest.mark.parametrize("method", [*GAMES, "occlusion", "linear-shap"])
def test_features_of_a_picture(method: str, one_cell: Any, picture: np.ndarray) -> None:
    """Feature 5 of 2 x 4 cells holds the cause; its value is painted on its own pixels, not on its neighbour's."""
    hidden = {"background": np.zeros_like(picture)} if method == "qii" else {}
    a = xplain.explain(one_cell, picture, method, target=0, features="grid:2x4", **hidden)
    values = np.array(a.notes["feature_values"][0])
    assert np.abs(values).argmax() == 5
    shrunk = method == "lime"  # by its ridge penalty
    np.testing.assert_allclose(values[5], inside(picture).sum(), rtol=0.05 if shrunk else 1e-4)
    assert np.abs(np.delete(values, 5)).max() <= (0.03 if shrunk else 1e-4) * values[5]
    np.testing.assert_array_equal(np.unique(a.values[0, 16:32, 8:16]), np.float32(values[5]))


def test_anchors_of_a_picture(one_cell: Any, picture: np.ndarray) -> None:
    """The two classes part at 0, so the rule needs the baseline's score to be negative."""
    weights = nets.planted(cell=(2, 1))
    model = xplain.load(weights)
    a = xplain.explain(model, picture, "anchors", target=0, features="grid:2x4", baseline=-1.0)
    assert a.notes["rule"] == [(5,)]


# ---- tables ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def rows() -> np.ndarray:
    return np.array([[1.0, 2.0, -1.0, 0.5, 3.0, 1.0], [2.0, -1.5, 1.0, 1.0, -2.0, 1.0]], np.float32)


@pytest.mark.parametrize("method", [*(m for m in GAMES if m not in ("lime", "qii")), "linear-shap", "occlusion"])
def test_linear_table(method: str, rows: np.ndarray) -> None:
    weights = np.array([0, 0, 3.0, 0, -2.0, 0])
    options = {"features": "columns"} if method == "occlusion" else {}
    np.testing.assert_allclose(feature_values(linear(weights), rows, method, **options), weights * rows, atol=1e-6)


@pytest.mark.parametrize("method", SHAPLEY)
def test_product_table(method: str, rows: np.ndarray) -> None:
    expected = np.zeros_like(rows)
    expected[:, [1, 4]] = (rows[:, 1] * rows[:, 4] / 2)[:, None]
    np.testing.assert_allclose(feature_values(product(1, 4), rows, method), expected, atol=1e-6)


@pytest.mark.parametrize("method", SHAPLEY)
def test_additive_table(method: str, rows: np.ndarray) -> None:
    functions = [np.sin, np.square, np.abs, np.exp, np.tanh, np.cos]
    expected = np.stack([g(rows[:, k].astype(float)) - g(np.zeros(1)) for k, g in enumerate(functions)], axis=1)
    np.testing.assert_allclose(feature_values(additive(functions), rows, method), expected, atol=1e-6)


def test_xor_table_is_seen_only_together() -> None:
    ones = np.ones((1, 6), np.float32)
    for method in SHAPLEY:
        np.testing.assert_allclose(feature_values(xor(0, 5), ones, method), 0, atol=1e-9)
    np.testing.assert_allclose(feature_values(xor(0, 5), ones, "ablation"), [[-1, 0, 0, 0, 0, -1]])


def test_grouped_columns(rows: np.ndarray) -> None:
    a = xplain.explain(product(1, 4), rows, "exact-shapley", features="columns:1+4", target=0)
    assert a.notes["features"] == ("0", "1+4", "2", "3", "5")
    np.testing.assert_allclose(a.values[:, 1], a.values[:, 4])
    np.testing.assert_allclose(np.array(a.notes["feature_values"])[:, 1], rows[:, 1] * rows[:, 4], rtol=1e-6)


def test_a_background_is_an_expectation(rows: np.ndarray) -> None:
    background = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    weights = np.arange(6.0)
    expected = weights * (rows - background.mean(axis=0))
    for method in (*SHAPLEY, "banzhaf", "ablation", "linear-shap"):
        found = feature_values(linear(weights), rows, method, background=background)
        np.testing.assert_allclose(found, expected, atol=1e-5)
    a = xplain.explain(linear(weights), rows, "qii", background=background, samples=400, target=0)
    assert (np.abs(a.values - expected) <= 4 * a.error + 1e-6).all()


# ---- texts, as token ids; series -------------------------------------------------------------------------------------

TEXT = np.array([[5, 7, 3, 9, 7, 2, 4]], np.int64)


def reads(token: int) -> Formula:
    """Counts one token, whatever else is there."""
    return Formula(lambda rows: (rows == token).sum(axis=1).astype(float), "NT", (7,))


@pytest.mark.parametrize("method", [m for m in GAMES if m != "qii"])
def test_the_word_that_is_read(method: str) -> None:
    values = feature_values(reads(9), TEXT, method)
    assert np.abs(values[0]).argmax() == 3
    assert np.abs(np.delete(values[0], 3)).max() < 0.05
    both = feature_values(reads(7), TEXT, method)
    assert set(np.argsort(-both[0])[:2]) == {1, 4}


def test_runs_of_words() -> None:
    values = feature_values(reads(9), TEXT, "exact-shapley", features="ngrams:2")
    np.testing.assert_allclose(values, [[0, 1, 0, 0]], atol=1e-9)


@pytest.mark.parametrize("method", [m for m in GAMES if m != "qii"])
def test_the_stretch_that_is_read(method: str) -> None:
    series = np.ones((1, 2, 40), np.float32)
    model = Formula(lambda rows: rows[:, :, 21:24].sum(axis=(1, 2)), "NCT", (2, 40))
    a = xplain.explain(model, series, method, features="segments:10", target=0)
    assert a.values.shape == (1, 40)
    assert set(np.flatnonzero(np.abs(a.values[0]) > 0.5 * np.abs(a.values[0]).max())) == {20, 21, 22, 23}


# ---- superpixels, a caller's label map, windows, channels ------------------------------------------------------------

# four plain quarters; the model reads the lower left one alone
Y, X = np.mgrid[:32, :40]
QUARTER = 2 * (Y >= 16) + (X >= 20)
COLOURS = np.array([[0.9, 0.2, 0.2], [0.2, 0.9, 0.2], [0.2, 0.2, 0.9], [0.9, 0.9, 0.2]], np.float32)
SCENE = np.moveaxis(COLOURS[QUARTER], -1, 0)[None].copy()
READS_ONE = Formula(lambda rows: rows[:, 2, 16:, :20].astype(float).sum(axis=(1, 2)), "NCHW", (3, 32, 40))


@pytest.mark.parametrize("features", ["slic:4", "felzenszwalb", "quickshift", "watershed:4", "labels", "grid:2"])
def test_the_part_of_a_picture_that_is_read(features: str) -> None:
    """Whatever the cut, values sum to the score, and all of it lies in parts that touch the quarter that is read."""
    given = (7 - QUARTER).astype(np.int64) if features == "labels" else features
    a = xplain.explain(READS_ONE, SCENE, "exact-shapley", features=given)
    labels = np.asarray(a.notes["labels"]).reshape(-1, 32, 40)[0]
    values = np.array(a.notes["feature_values"][0])
    held = np.array([0.9 * ((labels == k) & (QUARTER == 2)).sum() for k in range(len(values))])
    np.testing.assert_allclose(values, held, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(a.values[0], held[labels], rtol=1e-5, atol=1e-6)
    assert a.values[0][QUARTER == 2].mean() > 10 * np.abs(a.values[0][QUARTER == 1]).mean()


def test_sliding_windows_over_a_series() -> None:
    series = np.ones((1, 2, 40), np.float32)
    model = Formula(lambda rows: rows[:, :, 21:24].sum(axis=(1, 2)), "NCT", (2, 40))
    a = xplain.explain(model, series, "occlusion", patch=1, stride=1)
    np.testing.assert_allclose(a.values[0], np.where((np.arange(40) >= 21) & (np.arange(40) < 24), 2, 0), atol=1e-6)


@pytest.mark.parametrize("method", SHAPLEY)
def test_the_band_that_is_read(method: str) -> None:
    bands = np.ones((1, 5, 4, 6), np.float32)
    model = Formula(lambda rows: rows[:, 3].astype(float).sum(axis=(1, 2)), "NCHW", (5, 4, 6))
    a = xplain.explain(model, bands, method, features="channels")
    assert a.values.shape == bands.shape
    np.testing.assert_allclose(a.notes["feature_values"], [[0, 0, 0, 24, 0]], atol=1e-9)
