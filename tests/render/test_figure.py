"""Finished figures: golden picture, layout, words, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xplain.render.figure as figure
from xplain.core.errors import UsageError
from xplain.core.items import Columns, Passage
from xplain.render import canvas, draw, montage, target_of, to_html

GOLDEN = Path(__file__).parent / "golden" / "overlay.png"


def test_golden_overlay(make, scene, hills):
    """The whole figure, to a tolerance: font rasterisers differ by shades at the edges of letters.

    After a wanted change save ``drawn`` in its place, look at it, and commit it.
    """
    error = np.full_like(hills, 0.1)
    drawn = draw(make(hills, pictures=scene, error=error, resolution=(6, 8)), size=96)
    golden = np.asarray(Image.open(GOLDEN)).astype(int)
    pixels = np.asarray(drawn).astype(int)
    assert pixels.shape == golden.shape
    difference = np.abs(pixels - golden).max(axis=2)
    assert (difference > 24).mean() < 0.005
    assert difference.mean() < 1.0


@pytest.fixture
def lines(monkeypatch):
    """Everything that is written into figures."""
    written = []
    plain = canvas.plain

    def listen(text):
        written.append(text)
        return plain(text)

    monkeypatch.setattr(canvas, "plain", listen)
    return written


def test_a_figure_says_what_must_be_known(make, scene, hills, lines):
    values = hills.copy()
    values[0, 0, 0] = 40.0
    draw(make(values, pictures=scene, error=np.full_like(hills, 0.1), resolution=(6, 8)))
    text = "\n".join(lines)
    assert "cat, score 1.5" in text
    assert "occlusion, picture 0.png" in text
    assert "delta logit when hidden" in text
    assert "(99th percentile of |value|); 1.0% of them lie beyond." in text
    assert "Line: the 10 % of positions with the highest values." in text
    assert "Hatched (" in text
    assert "True resolution: 6 x 8 cells, enlarged." in text


def test_a_given_limit_is_printed_on_the_bar_and_below(make, hills, lines):
    draw(make(hills), limit=2.0)
    assert "Limit ±2 (as given); 0.0% of them lie beyond." in lines
    assert [t for t in lines if t in ("+2", "+1", "0", "-1", "-2")] == ["-2", "-1", "0", "+1", "+2"]
    lines.clear()
    draw(make(np.abs(hills), signed=False), limit=2.0)
    assert "Limit 2 (as given); 0.0% of them lie beyond." in lines
    assert "-2" not in lines


def test_the_map_is_drawn_where_it_belongs(make, scene):
    """A planted position is found in the figure by its colour, at its own place."""
    values = np.zeros((1, 24, 32))
    values[0, 20, 5] = 1.0
    pixels = np.asarray(draw(make(values, pictures=scene), size=96, line=False)).astype(int)
    red = (pixels[..., 0] - pixels[..., 2] > 60)[:, : figure._MARGIN + 96]
    rows, columns = np.nonzero(red)
    top = figure._MARGIN + 2 * canvas.LINE + 6  # two lines of heading and the gap
    assert (rows.min() - top, rows.max() - top) == (20 * 3, 20 * 3 + 2)
    assert (columns.min() - figure._MARGIN, columns.max() - figure._MARGIN) == (5 * 3, 5 * 3 + 2)


def test_beside_puts_the_picture_to_the_left(make, scene, hills):
    pixels = np.asarray(draw(make(hills, pictures=scene), size=256, beside=True))
    top = figure._MARGIN + 2 * canvas.LINE + 6
    left = pixels[top : top + 192, figure._MARGIN : figure._MARGIN + 256]
    np.testing.assert_array_equal(left, scene[0].repeat(8, axis=0).repeat(8, axis=1))


@pytest.mark.parametrize(
    "values",
    [np.zeros((1, 1, 1)), np.ones((1, 1, 1)), np.zeros((1, 7, 3)), np.full((1, 5, 5), -2.0), np.ones((1, 1, 300))],
    ids=["one zero", "one value", "all zero", "constant", "a strip"],
)
@pytest.mark.parametrize("signed", [True, False])
def test_degenerate_maps_are_drawn(make, values, signed, lines):
    picture = draw(make(np.abs(values) if not signed else values, signed=signed))
    assert picture.mode == "RGB"
    assert ("All values are zero." in lines) == (not values.any())


def test_tables_are_drawn_as_bars(make, lines):
    values = np.linspace(-1, 1, 31)[None]
    table = make(values, error=np.full((1, 31), 0.05))
    picture = np.asarray(draw(table)).astype(int)
    assert (picture[..., 0] - picture[..., 2] > 60).any()
    assert (picture[..., 2] - picture[..., 0] > 60).any()
    assert {"column 0", "column 30"} <= set(lines)
    assert "11 more columns, together 0" in " ".join(lines)
    assert "Bars: delta logit when hidden." in lines


def test_a_long_column_name_does_not_hide_what_the_item_holds(make, lines):
    """Two names that differ only at their ends, and a value that fills a line by itself."""
    name = "mean compactness of the worst of all the cells that were seen in the microscope, "
    columns = Columns((f"{name}left", f"{name}right", "b"), (("1.5", "-2.25e-05", "x" * 200),))
    draw(make([[1.0, -1.5e-10, 0.5]], columns=columns))
    assert any(line.startswith("mean") and "…" in line and line.endswith("left = 1.5") for line in lines)
    assert any(line.startswith("mean") and "…" in line and line.endswith("right = -2.25e-05") for line in lines)
    assert any(line.startswith("b = xxx") and line.endswith("…") for line in lines)
    assert "-1.5e-10" in lines


def test_every_line_of_bars_is_as_wide_as_its_words(make, monkeypatch):
    """Nothing is wrapped: the second line of a name would lie under the next bar."""
    drawn, words = [], canvas.words
    monkeypatch.setattr(canvas, "words", lambda said, width, *more: drawn.append((said, width)) or words(said, width))
    columns = Columns(("mean compactness worst", "W" * 500, "ö" * 80), (("1.5", "2", "W" * 90),))
    draw(make([[-1.23e-11, 2.0, 0.5]], columns=columns))
    lines = [(said[0], width) for said, width in drawn if len(said) == 1]
    assert len(lines) >= 6
    assert all(canvas.text_width(canvas.plain(text)) <= width for text, width in lines)


def test_bars_of_a_text_have_its_words(make, lines):
    """Also the word's number where it occurs twice; a batch's shorter texts are padded, which is no feature."""
    texts = (Passage("a good, good film", ((0, 1), (2, 6), (8, 12), (13, 17))), Passage("bad", ((0, 3),)))
    both = make([[0.1, 0.2, 0.4, 0.3], [1.0, 0.0, 0.0, 0.0]], texts=texts)
    draw(both, 0)
    assert {"a", "good (word 2)", "good (word 3)", "film"} <= set(lines)
    lines.clear()
    draw(both, 1)
    assert "bad" in lines
    assert not [line for line in lines if "column" in line or "film" in line]


def test_montage_shares_one_scale(make, scene, hills, lines, monkeypatch):
    bars = []
    scale_bar = figure.scale_bar
    monkeypatch.setattr(figure, "scale_bar", lambda *given: bars.append(given[2]) or scale_bar(*given))
    small, large = make(hills, pictures=scene), make(10 * hills, pictures=scene, method="rise")
    together = np.asarray(montage([small, large], size=64)).astype(int)
    assert bars.count("delta logit when hidden") == 1, "one colour bar"
    assert any("99th percentile" in t and t.startswith("Limit ±1") for t in lines)
    colour = np.ptp(together, axis=2)
    first = colour[:, figure._MARGIN + 74 : figure._MARGIN + 138].max()
    second = colour[:, figure._MARGIN + 148 : figure._MARGIN + 212].max()
    assert second > 2 * first
    bars.clear()
    montage([small, large], size=64, share=False)
    assert bars.count("delta logit when hidden") == 2, "a bar each"
    assert "Each map has its own limit, the 99th percentile of |value|." in lines


def test_montage_takes_several_items(make, scene, hills, lines):
    two = make(np.concatenate([hills, -hills]), pictures=np.concatenate([scene, scene]))
    both, one = montage([two], size=64), montage([two], size=64, items=[1])
    assert both.height > one.height + 48
    assert "picture 0.png, cat, score 1.5" in lines
    assert "picture 1.png, cat, score 2.5" in lines


def test_montage_columns_are_in_line(make, scene, hills):
    """Bars with long numbers make a panel wider; the maps of a column still start at one place."""
    two = np.concatenate([hills, 1e-5 * hills])
    both = make(two, pictures=np.concatenate([scene, scene]))
    drawn = np.asarray(montage([both, both], size=64, share=False, line=False)).astype(int)
    half = drawn.shape[0] // 2
    red = [
        np.nonzero((part[..., 0] - part[..., 2] > 60)[:, 74:].any(axis=0))[0] for part in (drawn[:half], drawn[half:])
    ]
    assert red[0].min() == red[1].min()
    assert red[0].max() == red[1].max()


def test_montage_refuses_what_cannot_be_compared(make, hills):
    other = make(hills, unit="cosine", method="grad-cam")
    with pytest.raises(
        UsageError, match=r"different units have no common scale \(occlusion: delta logit .*share=False"
    ):
        montage([make(hills), other])
    with pytest.raises(UsageError, match="A montage takes attributions of the same items; got none"):
        montage([])
    with pytest.raises(UsageError, match=r"same items; got \[1, 2\]"):
        montage([make(hills), make(np.concatenate([hills, hills]))])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0.0}, "limit is 0.0; accepted: a positive number"),
        ({"limit": float("nan")}, "limit is nan; accepted"),
        ({"alpha": 1.5}, "alpha is 1.5; accepted: a number from 0"),
        ({"size": 0}, "size is 0; accepted: 1 to 10000 pixels"),
    ],
)
def test_arguments_that_are_refused(make, hills, options, message):
    with pytest.raises(UsageError, match=message):
        draw(make(hills), **options)


def test_the_target_of_each_item(make, hills):
    two = np.concatenate([hills, hills])
    assert target_of(make(two, targets=("cat | x", "dog"), labels=(3, 5)), 1) == "dog"
    assert target_of(make(two, target="cat"), 1) == "cat"


def test_text_is_drawable_and_bounded():
    assert canvas.plain("Δ é 猫 \x1b[31m") == "delta  e ? ?[31m"
    assert len(canvas.plain("x" * 10_000)) == 300
    paper = canvas.words(["x" * 200, "several words that need more than one line"], 120)
    assert paper.width == 120
    assert paper.height > 4 * canvas.LINE


def test_notebook_html_is_escaped_and_needs_no_network(make, hills):
    page = to_html(make(hills, target="<script>alert(1)</script>", unit='"&<unit>'))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&amp;&lt;unit&gt;" in page
    assert page.count("data:image/png;base64,") == 1
    assert "http" not in page
    many = to_html(make(np.repeat(hills, 10, axis=0)))
    assert many.count("data:image/png") == 8
    assert "2 more items are not shown" in many


def test_attribution_draws_itself(make, hills):
    one = make(hills)
    assert one.overlay(0, size=48).size == draw(one, size=48).size
    assert one._repr_html_() == to_html(one)
