"""Pictures of several inputs through their cards; results that are drawn side by side, kept, planned, and reported."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import xplain
from tests.targets.heads import HEADS
from xplain import report
from xplain.core.errors import CardError, NonFinite, PictureError, UnknownName, UsageError

FILE = HEADS["siamese"]().SerializeToString()
NAMES = ["left", "right"]
RNG = np.random.default_rng(7)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """Four pictures as files, and their pixels."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = RNG.integers(0, 256, (4, 16, 16, 3)).astype(np.uint8)
    files = [folder / f"{name}.png" for name in "abcd"]
    for file, one in zip(files, pixels, strict=True):
        Image.fromarray(one).save(file)
    return files, pixels


def tensor(pixels, scale=1 / 255):
    return np.moveaxis(pixels.astype(np.float32) * scale, -1, -3)


def test_each_input_has_its_own_card_and_its_own_picture(shown, tmp_path):
    files, pixels = shown
    model = xplain.joint(FILE, NAMES, card={"left": "unit", "right": {"mode": "BGR", "scale": 1.0}})
    given = {"left": files[:2], "right": [str(one) for one in files[2:]]}
    found = xplain.explain(model, given, "input-x-gradient")
    plain = xplain.joint(FILE, NAMES)
    arrays = (tensor(pixels[:2]), tensor(pixels[2:], 1.0)[:, ::-1])
    np.testing.assert_allclose(
        found.values, xplain.explain(plain, arrays, "input-x-gradient").values, rtol=1e-4, atol=1e-6
    )
    assert found.names == ("a.png + c.png", "b.png + d.png")
    again = xplain.Attribution.load(found.save(tmp_path / "pair.npz"))
    for one in (found, again):
        parts = one.by_input()
        np.testing.assert_array_equal(parts["left"].pictures, pixels[:2])
        np.testing.assert_array_equal(parts["right"].pictures[1], pixels[3])
        assert one[1].by_input()["right"].pictures.shape == (1, 16, 16, 3)
    by_item = [{"left": files[0], "right": files[2]}, {"left": files[1], "right": files[3]}]
    np.testing.assert_array_equal(xplain.explain(model, by_item, "input-x-gradient").values, found.values)


def test_a_file_of_cards_has_a_section_for_each_input(shown, tmp_path):
    files, _ = shown
    (tmp_path / "pair.toml").write_text('[left]\nmode = "RGB"\n[right]\nmode = "BGR"\nscale = 1.0\n')
    given = (files[:1], files[1:2])
    whole = xplain.joint(FILE, NAMES, card=tmp_path / "pair.toml")
    late = xplain.joint(FILE, NAMES)
    named = {"left": "unit", "right": {"mode": "BGR", "scale": 1.0}}
    one, other = xplain.explain(whole, given, "saliency"), xplain.explain(late, given, "saliency", card=named)
    np.testing.assert_array_equal(one.values, other.values)


def test_maps_are_drawn_side_by_side_on_one_scale(shown):
    files, _ = shown
    model = xplain.joint(FILE, NAMES, card="unit")
    found = xplain.explain(model, (files[0], files[1]), "input-x-gradient")
    strong = found.values.copy()
    strong[:, 768:] *= 1e-3  # beside the left map the right one is pale
    from dataclasses import replace

    drawn = np.asarray(replace(found, values=strong).overlay(0, line=False), np.float64)
    both = np.asarray(found.overlay(0, line=False), np.float64)
    assert drawn.shape == both.shape
    colourful = np.abs(drawn - drawn.mean(axis=2, keepdims=True)).sum(axis=2)
    left, right = colourful[40:200, 10:240].mean(), colourful[40:200, 270:490].mean()
    assert left > 3 * right
    assert "on left" in found.sentence()


def test_a_page_shows_both_and_says_nothing_of_how_they_lie(shown):
    files, _ = shown
    model = xplain.joint(FILE, NAMES, card="unit")
    found = [xplain.explain(model, (files[:2], files[2:]), name) for name in ("saliency", "ablation")]
    text = report.page(found, title="pairs")
    assert text.count("a.png + c.png") >= 2
    assert len(re.findall("data:image/webp", text)) == 8, "two items, two methods, a small map and a figure of each"
    assert "extents" not in text


def test_it_is_planned_and_a_method_is_chosen(shown):
    files, _ = shown
    model = xplain.joint(FILE, NAMES, card="unit")
    plan = xplain.plan(model, (files[0], files[1]), "kernel-shap", features="inputs:cells=2", samples=40)
    found = xplain.explain(model, (files[0], files[1]), "kernel-shap", features="inputs:cells=2", samples=40)
    assert plan.queries == found.cost.queries
    chosen = xplain.explain(model, (files[0], files[1]), "auto")
    assert chosen.method == "integrated-gradients"
    assert len(np.unique(xplain.explain(model, (files[0], files[1]), "ablation").values)) <= 2 * 25


@pytest.mark.parametrize(
    ("card", "kind", "says"),
    [
        ({"left": "unit", "middle": "unit"}, UnknownName, r"Unknown input 'middle'; accepted: left, right"),
        ({"left": "unit", "rigth": "unit"}, UnknownName, "Did you mean 'right'"),
        ({"left": {"mode": "L"}}, CardError, "with 1 channel;"),
        ("imagnet", CardError, "neither a file nor a preset"),
    ],
)
def test_cards_that_fit_no_input_are_refused(card, kind, says):
    with pytest.raises(kind, match=says):
        xplain.joint(FILE, NAMES, card=card)


def test_a_card_for_what_is_no_picture_is_refused():
    captioned = HEADS["picture_and_text"]().SerializeToString()
    with pytest.raises(CardError, match=r"Input 'input_ids' takes items of \[4\], no pictures"):
        xplain.joint(captioned, ["pixel_values", "input_ids"], card={"input_ids": "unit"})


def test_pictures_that_cannot_be_read_are_told(shown, tmp_path):
    files, pixels = shown
    plain, model = xplain.joint(FILE, NAMES), xplain.joint(FILE, NAMES, card="unit")
    with pytest.raises(CardError, match="no preprocessing card"):
        xplain.explain(plain, (files[0], files[1]), "saliency")
    with pytest.raises(UsageError, match=r"1 and 2 items \(2 of left, 1 of right\); give as many of each"):
        xplain.explain(model, {"left": files[:2], "right": files[:1]}, "saliency")
    with pytest.raises(PictureError):
        xplain.explain(model, {"left": files[0], "right": tmp_path / "none.png"}, "saliency")
    smaller = tmp_path / "smaller.toml"
    smaller.write_text('mode = "RGB"\nresize = [8, 8]\n')
    with pytest.raises(UsageError, match=r"Input 'right', prepared by card '.*smaller.*': .*\[1, 3, 8, 8\]"):
        xplain.explain(xplain.joint(FILE, NAMES, card={"left": "unit", "right": smaller}), tuple(files[:2]), "saliency")
    captioned = xplain.joint(
        HEADS["picture_and_text"]().SerializeToString(), ["pixel_values", "input_ids"], card="unit"
    )
    with pytest.raises(UsageError, match=r"'input_ids' of .* takes items of \[4\], no pictures"):
        xplain.explain(captioned, (files[0], files[1]), "saliency")
    mixed = xplain.explain(captioned, (pixels[0], np.array([[1, 2, 3, 4]])), "input-x-gradient")
    assert mixed.by_input()["input_ids"].values.shape == (1, 4)


def test_numbers_that_are_none_and_features_of_one_input_are_refused():
    plain, x = xplain.joint(FILE, NAMES), RNG.random((2, 3, 16, 16)).astype(np.float32)
    bad = x.copy()
    bad[1, 0, 0, 0] = np.nan
    with pytest.raises(NonFinite, match="Input 'right' holds NaN or infinity"):
        xplain.explain(plain, (x, bad), "saliency")
    for features in ("grid:4", "tokens"):
        with pytest.raises(UsageError, match="cut one input, and an item is a row of 2. Use features='inputs:cells=4'"):
            xplain.explain(plain, (x, x), "kernel-shap", features=features)


def test_a_result_that_does_not_say_what_its_rows_hold_is_refused(shown):
    from dataclasses import replace

    files, _ = shown
    found = xplain.explain(xplain.joint(FILE, NAMES, card="unit"), (files[0], files[1]), "saliency")
    for told in ([{"name": "left", "shape": [3, 16, 16], "extents": [3, 16, 16]}], [{"name": "left"}], "left", 3):
        with pytest.raises(UsageError, match="does not say what its 1536 numbers"):
            replace(found, facts={**found.facts, "inputs": told}).by_input()
