"""The bridge to shap: the same numbers in the shapes its plots expect, and every plot draws."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import xplain
from xplain import Attribution
from xplain.core.errors import MissingDependency
from xplain.core.items import Columns, Passage


@pytest.fixture
def shap():
    """shap with a drawing surface that needs no screen."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield pytest.importorskip("shap")
    plt.close("all")


RNG = np.random.default_rng(0)
JOBS = ("clerk", "nurse")
CELLS = tuple((f"{20 + k}", f"{k * 0.5:g}", JOBS[k % 2]) for k in range(20))
ROWS = np.array([[20.0 + k, k * 0.5, k % 2] for k in range(20)])


@pytest.fixture
def people(make):
    columns = Columns(("age", "income", "job"), CELLS)
    return make(RNG.normal(size=(20, 3)), columns=columns, rows=ROWS, base=np.full(20, 0.5))


@pytest.fixture
def sentences(make):
    texts = ("  Hello, big world!", "Good day to you, all of you")
    spans = ([(2, 7), (9, 12), (13, 18)], [(0, 4), (5, 8), (9, 11), (12, 15), (17, 20), (21, 23), (24, 27)])
    passages = tuple(Passage(text, tuple(of)) for text, of in zip(texts, spans, strict=True))
    return make(RNG.normal(size=(2, 7)), texts=passages)


@pytest.mark.slow
def test_values_and_shapes_survive(shap, make, scene, hills):
    maps = make(hills, pictures=scene).to_shap()
    np.testing.assert_array_equal(maps.values[..., 0, 0], hills.astype(np.float32))
    assert maps.data.shape == (1, 24, 32, 3)
    assert maps.base_values.tolist() == [[0.0]]
    assert list(maps.output_names) == ["cat"]
    channels = RNG.normal(size=(1, 3, 24, 32)).astype(np.float32)
    np.testing.assert_array_equal(make(channels).to_shap().values[..., 0], channels.transpose(0, 2, 3, 1))
    last = channels.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(make(last, pictures=scene).to_shap().values[..., 0], last)
    table = make(np.ones((2, 5)), base=np.array([0.5, 0.25])).to_shap()
    assert table.values.shape == (2, 5)
    assert table.base_values.tolist() == [0.5, 0.25]


@pytest.mark.slow
def test_pictures_are_drawn(shap, make, scene, hills):
    two, pictures = np.concatenate([hills, -hills]), np.concatenate([scene, scene])
    targets = {"targets": ("a | b", "<c>"), "labels": (1, 2), "target": "per item: a | b | <c>"}
    for one in (
        make(hills, pictures=scene),
        make(two, pictures=pictures),
        make(two, pictures=pictures, **targets),
        make(RNG.normal(size=(2, 3, 24, 32)), pictures=pictures),
    ):
        told = one.to_shap()
        shap.plots.image(told, show=False)
        shap.image_plot(told, show=False)
        shap.plots.image(told[0], show=False)
        shap.plots.image(told[:1], show=False)
    assert np.asarray(make(two, pictures=pictures, **targets).to_shap().output_names).tolist() == [["a | b"], ["<c>"]]


@pytest.mark.slow
def test_tables_are_drawn(shap, people):
    told = people.to_shap()
    assert told.data.dtype.kind == "f"
    np.testing.assert_array_equal(told.data, ROWS)
    assert told.display_data[3].tolist() == list(CELLS[3])
    assert list(told.feature_names) == ["age", "income", "job"]
    shap.plots.beeswarm(told, show=False)
    shap.plots.violin(told, show=False)
    shap.plots.bar(told, show=False)
    shap.plots.bar(told.cohorts(2).abs.mean(0), show=False)
    shap.plots.heatmap(told, show=False)
    shap.plots.scatter(told[:, "age"], show=False)
    shap.plots.scatter(told[:, 1], color=told[:, 0], show=False)
    shap.plots.waterfall(told[0], show=False)
    shap.plots.bar(told[0], show=False)
    shap.plots.force(told[0], matplotlib=True, show=False)
    shap.plots.decision(told.base_values[0], told.values, feature_names=list(told.feature_names), show=False)


@pytest.mark.slow
def test_rows_given_as_arrays_are_drawn(shap):
    x = RNG.normal(size=(20, 3)).astype(np.float32)
    a = xplain.explain(lambda b: np.asarray(b) @ [1.0, 2.0, 3.0], x, "exact-shapley", target=0, background=x)
    told = a.to_shap()
    np.testing.assert_array_equal(told.data, x.astype(np.float64))
    for plot in (shap.plots.beeswarm, shap.plots.violin, shap.plots.bar, shap.plots.heatmap):
        plot(told, show=False)
    shap.plots.scatter(told[:, 0], show=False)
    shap.plots.waterfall(told[0], show=False)
    np.testing.assert_allclose(told.values.sum(1) + told.base_values, a.scores, atol=1e-4)


@pytest.mark.slow
def test_words_keep_the_space_behind_them(shap, sentences):
    told = sentences.to_shap()
    assert "".join(told.data[0]) == "  Hello, big world!"
    assert list(told.data[1][:3]) == ["Good ", "day ", "to "]
    assert [len(row) for row in told.values] == [3, 7]
    np.testing.assert_array_equal(told.values[0], sentences.values[0, :3])
    shown = shap.plots.text(told, display=False)
    assert "Hello, " in shown.replace("&nbsp;", " ")
    shap.plots.text(told[0], display=False)
    shap.plots.bar(told[0], show=False)
    shap.plots.waterfall(told[1], show=False)
    alone = sentences[1].to_shap()
    shap.plots.text(alone, display=False)
    assert alone.values.shape == (1, 7)


@pytest.mark.slow
def test_what_was_saved_is_bridged_as_well(shap, people, tmp_path):
    back = Attribution.load(people.save(tmp_path / "a.npz"))
    np.testing.assert_array_equal(back.to_shap().data, ROWS)
    np.testing.assert_array_equal(people[3].to_shap().data, ROWS[3:4])


@pytest.mark.slow
def test_a_file_of_before_rows_were_kept_has_numbers_too(shap, people, make):
    told = make(people.values, columns=people.columns).to_shap()
    np.testing.assert_array_equal(told.data, ROWS)
    gap = make(np.ones((2, 2)), columns=Columns(("a", "b"), (("1", ""), ("2", "x")))).to_shap()
    np.testing.assert_array_equal(gap.data, [[1.0, 0.0], [2.0, 1.0]])


@pytest.mark.slow
def test_a_cell_that_holds_nothing_is_a_gap(shap, make):
    rows = np.array([[1.0, float(np.finfo(np.float32).min)]])
    assert np.isnan(make(np.ones((1, 2)), rows=rows).to_shap().data[0, 1])


def test_without_shap_the_message_says_how_to_install_it(make, hills, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingDependency, match=r"to_shap\(\) needs the package shap: pip install 'xplain\[compare\]'"):
        make(hills).to_shap()
