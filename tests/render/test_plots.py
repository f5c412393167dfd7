"""Plots and frames hold the numbers of the result, whatever is cut or coloured; and they show themselves."""

from __future__ import annotations

import xml.dom.minidom

import numpy as np
import pytest
from made import attribution

import xplain
from xplain import demo
from xplain.core.errors import UsageError
from xplain.render.colormap import find
from xplain.render.series import series
from xplain.render.tracks import tracks_of
from xplain.results import Provenance
from xplain.results.attribution import Attribution

pytest.importorskip("matplotlib", reason="the extra plot is not installed")

COLUMNS = [f"c{k}" for k in range(15)]


def table(rows=20, **options):
    """Rows whose values are ``(k + 1) (x - 0)``: the model is a sum, the base is 0."""
    x = np.random.default_rng(0).normal(size=(rows, len(COLUMNS)))
    frame = {name: list(x[:, k]) for k, name in enumerate(COLUMNS)}
    model = xplain.table(lambda t: sum((k + 1) * np.asarray(t[c]) for k, c in enumerate(COLUMNS)), columns=frame)
    return x * np.arange(1, 16), xplain.explain(model, frame, "ablation", baseline=0.0, **options)


def widths(figure):
    return np.array([bar.get_width() for bar in figure.axes[0].patches])


def test_bars_are_the_largest_values_and_the_rest_added_up():
    truth, a = table(3)
    order = np.argsort(-np.abs(truth[1]))
    found = widths(a.plot("bars", item=1, most=6))
    np.testing.assert_allclose(found, [*truth[1][order[:5]], truth[1][order[5:]].sum()], rtol=1e-4)


def test_a_waterfall_goes_from_the_base_to_the_score():
    a = table(3)[1]
    known = Attribution(**{**a.__dict__, "base": np.zeros(3)})
    bars = known.plot("waterfall", item=2, most=30).axes[0].patches
    assert len(bars) == 15  # a sum adds up: nothing is left over
    starts, wide = np.array([bar.get_x() for bar in bars]), np.array([bar.get_width() for bar in bars])
    assert starts[-1] == 0
    np.testing.assert_allclose(starts[:-1], starts[1:] + wide[1:], atol=1e-4)
    np.testing.assert_allclose(starts[0] + wide[0], a.scores[2], rtol=1e-4)


def test_a_waterfall_shows_what_does_not_add_up():
    made = Attribution(
        values=np.array([[1.0, 2.0]]), unit="delta score", scores=np.array([10.0]), base=np.array([1.0]),
        provenance=Provenance(method="by hand"),
    )  # fmt: skip
    axes = made.plot("waterfall").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-1] == "not accounted for"
    assert axes.patches[-1].get_width() == pytest.approx(6.0)


def test_the_mean_is_of_sizes_and_the_swarm_holds_every_value():
    truth, a = table()
    found = widths(a.plot("mean", most=15))
    np.testing.assert_allclose(found, np.sort(np.abs(truth).mean(axis=0))[::-1], rtol=1e-4)
    swarm = a.plot("beeswarm", most=15).axes[0].collections
    order = np.argsort(np.abs(truth).mean(axis=0))  # the lowest line first
    for dots, column in zip(swarm, order, strict=True):
        np.testing.assert_allclose(np.asarray(dots.get_offsets())[:, 0], truth[:, column], rtol=1e-4, atol=1e-5)


def test_a_series_is_drawn_over_time_and_several_as_a_heat_map():
    x = np.zeros((3, 40), np.float32) + np.arange(40, dtype=np.float32)
    a = xplain.explain(lambda v: v[:, 10:20].sum(1), x, "occlusion", layout="NT", patch=1, stride=1, baseline=0.0)
    low = a[0].plot().axes[1]
    np.testing.assert_allclose(
        [bar.get_height() for bar in low.patches], np.where((x[0] >= 10) & (x[0] < 20), x[0], 0), atol=1e-5
    )
    np.testing.assert_allclose(a.plot().axes[0].images[0].get_array(), a.values)
    figure = a.overlay(0)
    assert figure.width > 360
    assert figure.height > 200


def test_a_series_in_a_drawing_has_a_bar_per_moment():
    plain = attribution(np.array([[0.0, 2.0, -1.0, 0.0]]), layout="NT")
    drawn = np.asarray(series(tracks_of(plain), find(None, True), 2.0, 40)).astype(int)[:, -40:]
    zero = 5 + 24  # behind the marks, half of the bars' height
    assert (drawn[7, 10:20, 0] > drawn[7, 10:20, 2] + 60).all()  # the second moment, to the top, red
    assert (drawn[zero + 8, 20:30, 2] > drawn[zero + 8, 20:30, 0] + 60).all()  # the third, half way down, blue
    assert (drawn[zero + 18, 20:30] == 255).all()
    assert (drawn[7, :10] == 255).all()
    above = attribution(plain.values, layout="NT", rows=np.arange(4.0)[None])
    drawn = np.asarray(series(tracks_of(above), find(None, True), 2.0, 40)).astype(int)[:, -40:]
    assert drawn[70, 15, 0] > drawn[70, 15, 2] + 15  # the ground of the signal at that moment


def test_a_figure_shows_itself_and_is_written_with_real_letters_and_the_same_bytes(tmp_path):
    _, a = table(8)
    assert a.plot()._repr_png_()[:4] == b"\x89PNG"
    for name in ("a.pdf", "a.svg", "a.png"):
        a.plot(to=tmp_path / name)
        first = (tmp_path / name).read_bytes()
        a.plot(to=tmp_path / name)
        assert (tmp_path / name).read_bytes() == first
    text = xml.dom.minidom.parseString((tmp_path / "a.svg").read_bytes()).toxml()
    assert ">c14<" in text
    assert b"/Type0" in (tmp_path / "a.pdf").read_bytes() or b"TrueType" in (tmp_path / "a.pdf").read_bytes()


def test_widths_are_a_journals():
    _, a = table(2)
    assert [a.plot(width=w).get_size_inches()[0] for w in ("column", "text", 5)] == [3.5, 7.2, 5.0]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "map"}, "bars, waterfall"),
        ({"width": "wide"}, "'column', 'text'"),
        ({"width": -3}, "inches up to 100"),
        ({"width": float("nan")}, "inches up to 100"),
        ({"most": 0}, "At least one column"),
        ({"to": "figure.bmp"}, r"\.pdf, \.svg"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_does(given, said):
    _, a = table(1)
    with pytest.raises(UsageError, match=said):
        a.plot(**given)


def test_a_frame_holds_the_values():
    pytest.importorskip("pandas")
    truth, a = table(4)
    frame = a.to_frame()
    assert list(frame.columns) == COLUMNS
    np.testing.assert_allclose(frame.to_numpy(), truth, rtol=1e-4)
    assert frame.attrs["unit"] == a.unit
    text = xplain.explain(xplain.text(lambda ts: [[t.count("good")] for t in ts]), "a good film", "ablation").to_frame()
    assert text.loc[text.word == "good", "value"].item() == pytest.approx(1)
    assert (text.start.tolist(), text.stop.tolist()) == ([0, 2, 7], [1, 6, 11])
    series = xplain.explain(
        lambda v: v[:, 1:2], np.ones((2, 3), np.float32), "occlusion", layout="NT", patch=1, stride=1
    )
    assert series.to_frame().query("t == 1").value.tolist() == [1, 1]


def test_a_slider_lays_two_maps_on_each_other_without_a_script():
    picture, _, label = demo.demo_picture("coins-on-cat")
    model = xplain.load(demo.demo_model_path())
    a = xplain.explain(model, [picture], "grad-cam", target=label)
    named = Attribution(**{**a.__dict__, "provenance": Provenance(method="<script>alert(1)</script>")})
    html = named.slider(a)._repr_html_()
    assert html.count("<img ") == 2
    assert "<script" not in html
    assert "resize:horizontal" in a.slider()._repr_html_()
    with pytest.raises(UsageError, match=r"a\.plot\(\)"):
        table(1)[1].slider()
