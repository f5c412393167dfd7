"""Features: every maker cuts every item wholly, in one numbering, the same wherever the item stands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import xplain
from xplain.core.card import Card
from xplain.core.errors import UnknownName, UsageError
from xplain.core.query import View
from xplain.core.target import label
from xplain.explainers.design.inpaint import inpainted
from xplain.explainers.features.partition import numbered
from xplain.explainers.features.spec import partition
from xplain.explainers.features.superpixels import pictures
from xplain.testing import Formula

RNG = np.random.default_rng(3)
Y, X = np.mgrid[:40, :48]
SCENE = np.stack([(Y < 20) * 1.0, (X < 24) * 1.0, np.full(Y.shape, 0.3)])
PICTURES = np.stack([SCENE, SCENE[:, ::-1], SCENE[:, :, ::-1] + 0.05 * RNG.normal(size=SCENE.shape)]).astype(np.float32)


def view(x: np.ndarray, axes: str, seed: int = 0) -> View:
    return View(x, label(0), Formula(lambda rows: rows, axes, x.shape[1:]).outline, seed)


SCENES = view(PICTURES, "NCHW")


@pytest.mark.parametrize("spec", ["slic:20", "felzenszwalb", "quickshift", "watershed:20", "grid:5", "auto", "auto:9"])
def test_pictures_are_cut_wholly_and_reproducibly(spec: str) -> None:
    parts = partition(SCENES, spec)
    turned = partition(view(PICTURES[[2, 0, 1]], "NCHW"), spec)
    for n in range(3):
        labels = parts.of(n)
        assert labels.shape == (40, 48)
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert labels.max() >= 3
        assert np.array_equal(turned.of([1, 2, 0][n]), labels)


@pytest.mark.parametrize("spec", ["slic:16", "felzenszwalb", "watershed:16", "quickshift"])
def test_superpixels_keep_to_the_edges_of_the_scene(spec: str) -> None:
    labels = partition(SCENES, spec).of(0)
    quarter = 2 * (Y < 20) + (X < 24)
    purest = [np.bincount(quarter[labels == s]).max() for s in range(labels.max() + 1)]
    assert sum(purest) / labels.size > 0.9


def test_superpixels_see_the_picture_that_the_card_undoes() -> None:
    card = Card(mode="BGR", scale=1 / 255, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
    shown = RNG.random((1, 8, 9, 3))
    tensor = np.moveaxis((shown[..., ::-1] - np.array(card.mean)) / np.array(card.std), -1, 1).astype(np.float32)
    one = view(tensor, "NCHW")
    np.testing.assert_allclose(pictures(replace(one, outline=replace(one.outline, card=card))), shown, atol=1e-6)
    stretched = pictures(one)
    assert (stretched.min(), stretched.max()) == (0, 1)


@pytest.mark.parametrize(
    ("spec", "axes", "shape", "count"),
    [
        ("columns", "NS", (5,), 5),
        ("columns:0+1/3+4", "NS", (5,), 3),
        ("tokens", "NT", (7,), 7),
        ("ngrams:3", "NT", (7,), 3),
        ("segments:4", "NCT", (2, 10), 4),
        ("segments:4", "NTC", (10, 2), 4),
        ("channels", "NCHW", (6, 4, 4), 6),
        ("channels", "NHWC", (4, 4, 6), 6),
        ("grid:2x3", "NHWC", (4, 6, 1), 6),
        ("auto", "NS", (5,), 5),
        ("auto", "NT", (7,), 7),
        ("auto:6", "NCT", (2, 30), 6),
    ],
)
def test_other_items(spec: str, axes: str, shape: tuple[int, ...], count: int) -> None:
    parts = partition(view(np.ones((2, *shape), np.float32), axes), spec)
    assert np.array_equal(np.unique(parts.labels), np.arange(count))
    whole = spec == "channels"
    assert parts.whole == whole
    assert parts.labels.shape == (shape if whole else SHAPES[axes](shape))


SHAPES = {
    "NS": lambda s: s,
    "NT": lambda s: s,
    "NCT": lambda s: s[1:],
    "NTC": lambda s: s[:1],
    "NHWC": lambda s: s[:2],
    "NCHW": lambda s: s[1:],
}


def test_channels_keep_the_shape_of_the_item() -> None:
    x = np.ones((1, 3, 4, 4), np.float32)
    model = Formula(lambda rows: rows.astype(float).sum(axis=(2, 3)) @ [1.0, 0.0, -2.0], "NCHW", (3, 4, 4))
    a = xplain.explain(model, x, "exact-shapley", features="channels")
    assert a.values.shape == (1, 3, 4, 4)
    np.testing.assert_allclose(a.values[0, :, 0, 0], [16, 0, -32])
    assert a.notes["features"] == ("channel 0", "channel 1", "channel 2")


def test_label_maps_of_every_shape() -> None:
    x = np.ones((2, 3, 4, 4), np.float32)
    one = view(x, "NCHW")
    stripes = np.repeat([[7], [3], [3], [-1]], 4, axis=1)
    assert partition(one, stripes).labels[:, 0].tolist() == [1, 0, 0, -1]
    assert partition(one, np.stack([stripes, stripes.T])).per_item
    assert partition(one, np.zeros((3, 4, 4), int)).whole
    assert partition(one, np.zeros((2, 3, 4, 4), int)).whole
    with pytest.raises(
        UsageError, match=r"The label map is \[5, 5\]; accepted for these items: \[4, 4\] or \[2, 4, 4\]"
    ):
        partition(one, np.zeros((5, 5), int))
    with pytest.raises(UsageError, match="has no feature: all labels are negative"):
        partition(one, np.full((4, 4), -1))


def test_never_hidden_is_never_hidden() -> None:
    x = np.ones((1, 1, 2, 4), np.float32)
    labels = np.array([[0, 0, 1, -1]] * 2)
    model = Formula(lambda rows: rows[:, 0, :, 3].astype(float).sum(axis=1) * rows[:, 0, 0, 0], "NCHW", (1, 2, 4))
    a = xplain.explain(model, x, "exact-shapley", features=labels)
    assert a.values[0].tolist() == [[2, 2, 0, 0]] * 2


def test_pictures_with_different_numbers_of_features_do_not_disturb_each_other() -> None:
    model = Formula(lambda rows: rows.reshape(len(rows), -1).astype(float).sum(axis=1), "NCHW", (3, 40, 48))
    spec = "felzenszwalb:1,least=60"
    for method in ("kernel-shap", "lime", "partition-shap", "anchors"):
        together = xplain.explain(model, PICTURES, method, features=spec, samples=400)
        apart = [xplain.explain(model, PICTURES[n : n + 1], method, features=spec, samples=400) for n in range(3)]
        assert len({len(row) for row in together.notes["feature_values"]}) > 1
        for n, one in enumerate(apart):
            assert np.array_equal(together.values[n], one.values[0])


def test_inpainting_paints_a_smooth_picture_back() -> None:
    smooth = (Y / 40 + X / 96)[None, None].astype(np.float32)
    one = view(smooth, "NCHW")
    filled = inpainted(one, partition(one, "grid:5"))
    assert np.abs(filled - smooth)[..., 8:-8, 10:-10].max() < 0.02
    model = Formula(lambda rows: rows[:, 0, 16:24, 20:29].astype(float).sum(axis=(1, 2)), "NCHW", (1, 40, 48))
    plain = xplain.explain(model, smooth, "occlusion", features="grid:5")
    painted = xplain.explain(model, smooth, "occlusion", features="grid:5", baseline="inpaint")
    assert np.abs(painted.values).max() < 0.02 * np.abs(plain.values).max()


def test_numbered() -> None:
    assert numbered(np.array([[5, 9], [-3, 5]])).tolist() == [[0, 1], [-1, 0]]


@pytest.mark.parametrize(
    ("spec", "axes", "shape", "message"),
    [
        ("grid:9", "NCHW", (1, 4, 4), "9 x 9 cells on 4 x 4 positions; use fewer"),
        ("segments:9", "NT", (4,), "9 stretches of 4 positions; use fewer"),
        ("channels", "NS", (4,), "have no channels"),
        ("slic", "NS", (4,), "Superpixels need pictures, but the items are .* Features that fit: grid, columns"),
        ("columns:0+9", "NS", (4,), "there is no column '9' among 4"),
        ("columns:0+1/1+2", "NS", (4,), "'1' is named twice in groups"),
    ],
)
def test_what_does_not_fit(spec: str, axes: str, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        partition(view(np.ones((1, *shape), np.float32), axes), spec)


def test_column_names() -> None:
    one = view(np.ones((1, 3), np.float32), "NS")
    named = replace(one, outline=replace(one.outline, facts={"columns": ["age", "fare", "class"]}))
    assert partition(named, "columns:age+class").names == ("age+class", "fare")
    twice = replace(one, outline=replace(one.outline, facts={"columns": ["age", "fare", "age"]}))
    with pytest.raises(UsageError, match="more than one column called 'age'"):
        partition(twice, "columns")
    short = replace(one, outline=replace(one.outline, facts={"columns": ["age"]}))
    with pytest.raises(UsageError, match="1 column names are given for 3 columns"):
        partition(short, "columns")


def test_spelling() -> None:
    x = np.ones((1, 4), np.float32)
    model = Formula(lambda rows: rows.sum(axis=1), "NS", (4,))
    with pytest.raises(UsageError, match="option 'features' is 'colums'; accepted: one of .* Did you mean 'columns'"):
        xplain.explain(model, x, "lime", features="colums")
    with pytest.raises(
        UsageError, match="Unknown option of features 'slic': 'compactnes'.* Did you mean 'compactness'"
    ):
        xplain.explain(model, x, "lime", features="slic:50,compactnes=3")
    with pytest.raises(UsageError, match="features 'slic': option 'segments' is '0'; accepted: a whole number"):
        xplain.explain(model, x, "lime", features="slic:0")
    with pytest.raises(UnknownName, match="Unknown features 'soup'"):
        partition(view(x, "NS"), "soup")


def boxes() -> np.ndarray:
    """Two volumes ``[1, 8, 24, 24]`` of two bright halves, cut along y."""
    x = np.zeros((2, 1, 8, 24, 24), np.float32)
    x[:, :, :, 12:] = 1.0
    x[1] += 0.02 * RNG.normal(size=x[1].shape)
    return x


def test_supervoxels_keep_to_the_edges_of_a_volume() -> None:
    x = boxes()
    parts = partition(view(x, "NCDHW"), "slic:24")
    for n in range(2):
        labels = parts.of(n)
        assert labels.shape == (8, 24, 24)
        assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
        assert 12 <= labels.max() + 1 <= 48
        half = np.broadcast_to(np.arange(24)[None, :, None] >= 12, labels.shape)
        assert all(half[labels == s].all() or not half[labels == s].any() for s in range(labels.max() + 1))
    alone = partition(view(x[1:], "NCDHW"), "slic:24")
    assert np.array_equal(alone.of(0), parts.of(1))
    last = partition(view(np.moveaxis(x, 1, -1).copy(), "NDHWC"), "slic:24")
    assert np.array_equal(last.of(0), parts.of(0))


def test_supervoxels_are_as_deep_as_wide_in_units_of_length() -> None:
    x = np.zeros((1, 1, 16, 16, 16), np.float32)

    def depth(spacing: list[float]) -> float:
        seen = view(x, "NCDHW")
        card = Card.from_dict({"coordinates": {"spacing": spacing}})
        labels = partition(replace(seen, outline=replace(seen.outline, card=card)), "slic:16").of(0)
        return float(np.mean([np.ptp(np.argwhere(labels == s)[:, 0]) + 1 for s in range(labels.max() + 1)]))

    assert depth([4.0, 1.0, 1.0]) < 0.8 * depth([1.0, 1.0, 1.0])


def test_an_ablation_of_supervoxels_finds_the_half_that_is_read() -> None:
    x = boxes()
    found = xplain.explain(lambda b: b[:, 0, :, 12:].mean((1, 2, 3)), x, "ablation", features="slic:24", layout="NCDHW")
    assert found.values[:, :, 12:].sum() > 0.99 * np.abs(found.values).sum()


def test_stretches_may_be_hidden_in_each_channel_for_itself() -> None:
    x = np.zeros((1, 3, 20), np.float32)
    apart = partition(view(x, "NCT"), "segments:4,apart=true")
    assert apart.whole
    assert apart.labels.shape == (3, 20)
    assert apart.labels.tolist() == [[4 * c + t // 5 for t in range(20)] for c in range(3)]
    last = partition(view(x.transpose(0, 2, 1).copy(), "NTC"), "segments:4,apart=true")
    assert last.labels.T.tolist() == apart.labels.tolist()
    assert partition(view(np.zeros((1, 20), np.float32), "NT"), "segments:4,apart=true").labels.shape == (20,)
