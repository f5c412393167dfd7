"""Results that are no attributions say what they are, draw themselves and refuse files that do not hold together."""

from __future__ import annotations

import numpy as np
import pytest
from contract.conftest import ITEM, small_network

import xplain
from xplain.core.declaring.registry import ATTACKS, LENSES, METRICS, RECIPES
from xplain.results import Picture, Provenance
from xplain.testing import linear


@pytest.fixture
def made() -> Picture:
    picture = np.zeros((2, 3, 8, 8), np.float32)
    picture[1, 0] = 1.0  # red
    judged = np.zeros((2, 2, 3, 2))
    judged[0, :, :, 0], judged[:, 1, :, 1] = 0.75, 4  # shares of the first; the second judge ranks it fifth
    judged[1, 1] = np.nan  # the second judge knows no such class
    return Picture(
        picture=picture,
        state=picture,
        trace=np.zeros((2, 3)),
        judged=judged,
        value=np.array([1.5, np.nan]),
        judges=("own", "other"),
        names=("cat", "dog"),
        provenance=Provenance(method="by hand", source="a net"),
        each={"size": [2.0, 3.0]},
    )


def test_a_picture_says_what_its_judges_make_of_it(made):
    assert (made.recipe, repr(made)) == ("by hand", "<Picture by hand [2, 3, 8, 8], 0 sweeps>")
    assert str(made).splitlines() == [
        "by hand: 2 pictures of a net (0 sweeps)",
        "  cat, target 1.5: own 0.750 (best rank 0); other 0.750 (best rank 4); size 2",
        "  dog: own 0.000 (best rank 0); size 3",
    ]


def test_a_strip_shows_the_pictures_side_by_side_or_below_one_another(made):
    wide, high = made.strip(height=40), made.strip(height=40, columns=1)
    assert np.asarray(wide)[-20, -20].tolist() == [255, 0, 0]  # the second stands at the right
    assert wide.width > high.width
    assert wide.height < high.height


@pytest.mark.parametrize(
    ("name", "wrong", "said"),
    [
        ("picture", np.zeros((2, 2, 8, 8), np.float32), r"its picture is float32 \[2, 2, 8, 8\]"),
        ("judged", np.zeros((2, 1, 3, 2)), r"its judged is float64 \[2, 1, 3, 2\], which does not fit 2 pictures"),
        ("frames", np.zeros((2, 1, 8, 8, 3)), r"its frames are float64 \[2, 1, 8, 8, 3\]; uint8"),
        ("state", None, "it holds no state"),
    ],
)
def test_a_file_whose_arrays_do_not_fit_is_refused(made, tmp_path, name, wrong, said):
    with np.load(made.save(tmp_path / "good.npz")) as file:
        arrays = dict(file)
    assert repr(Picture.load(tmp_path / "good.npz")) == repr(made)
    arrays[name] = wrong
    np.savez(tmp_path / "bad.npz", **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(xplain.XplainError, match=said):
        Picture.load(tmp_path / "bad.npz")


def test_galleries_embeddings_curves_and_attacks_say_what_they_are_and_cost():
    x = np.random.default_rng(0).normal(size=(3, *ITEM)).astype(np.float32)
    gallery = xplain.see(small_network(), "activations", x, layer="r2", k=2)
    assert repr(gallery).startswith(f"<Gallery activations: {gallery.title}; {len(gallery)} cells, ")
    assert str(gallery).splitlines()[0] == repr(gallery)
    assert repr(xplain.see(small_network(), "embed", x, layer="r2", positions="mean")).startswith(
        "<Embedding r2: vectors [3, "
    )
    item, model = np.arange(1, 11, dtype=np.float32)[None], linear(np.ones(10))
    curve = xplain.measure.curve(model, item, xplain.explain(model, item, "occlusion"), target=xplain.label(0))
    shape, spent = list(curve.scores.shape), curve.cost.queries
    assert repr(curve) == f"<Curve {curve.kind} of {curve.target!r}: scores {shape}, {spent} queries>"
    judge = xplain.load(lambda x: np.stack([x.mean(axis=(1, 2, 3)), 0 * x[:, 0, 0, 0] + 2], 1), card={"mode": "RGB"})
    fooled = xplain.attack(judge, [np.full((4, 4, 3), 200, np.uint8)], "square", queries=20, epsilon="1/255")
    assert repr(fooled).startswith(f"<Attack square: {int(fooled.fooled.sum())} of 1 fooled, ")


def test_all_that_is_registered_is_listed():
    listed = (xplain.recipes(), xplain.attacks(), xplain.lenses(), xplain.measure.metrics())
    for found, catalogue in zip(listed, (RECIPES, ATTACKS, LENSES, METRICS), strict=True):
        assert found == list(catalogue)
        assert [one.name for one in found] == sorted(one.name for one in found)
