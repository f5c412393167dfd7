"""Items that are no pictures are drawn where items are shown: on maps, beside neighbours, in strips."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper

import xplain


@pytest.fixture(scope="module")
def net():
    """Series of 3 channels and 40 moments: the means of what is above zero, then 2 classes."""
    weights = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "last"], ["scores"]),
    ]
    stored = {"w": weights, "last": np.eye(4, 2, dtype=np.float32)}
    sizes = {"x": (nets.FLOAT, ["n", 3, 40])}, {"scores": (nets.FLOAT, ["n", 2])}
    return nets.model(nodes, *sizes, stored).SerializeToString()


@pytest.fixture(scope="module")
def series():
    rng = np.random.default_rng(1)
    return np.cumsum(rng.normal(size=(24, 3, 40)), axis=2).astype(np.float32)


def dark(tile):
    return (tile.astype(int).sum(axis=-1) < 200).mean()


def test_series_have_lines_on_maps_beside_neighbours_and_in_strips(net, series):
    atlas = xplain.see(net, "map", series, by="pca", groups=2)
    assert atlas.thumbnails.shape == (24, 64, 64, 3)
    assert all(0.03 < dark(tile) < 0.5 for tile in atlas.thumbnails)
    assert len({tile.tobytes() for tile in atlas.thumbnails}) == 24
    near = xplain.see(net, "neighbours", series, k=2)
    np.testing.assert_array_equal(near.thumbnails, atlas.thumbnails)
    few = xplain.see(net, "prototypes", series, k=2, criticisms=1)
    assert all(dark(few.picture(n)) > 0.02 for n in range(3))
    twins = xplain.see(net, "compare", series, other=net, draws=5, different=3)
    assert twins.thumbnails.shape == (3, 96, 96, 3)


def test_series_in_files_are_drawn_and_compared_from_their_kept_vectors_too(net, series, tmp_path):
    (tmp_path / "series").mkdir()
    for n, one in enumerate(series[:12]):
        np.save(tmp_path / "series" / f"{n:02d}.npy", one)
    files = str(tmp_path / "series")
    xplain.see(net, "embed", files, vectors=str(tmp_path / "kept"))
    asked = xplain.see(net, "neighbours", files, k=2)
    again = xplain.see(net, "neighbours", tmp_path / "kept", k=2)
    assert again.cost.queries == 0
    for name in ("near", "near_pixels", "pixel_distance", "thumbnails"):
        np.testing.assert_array_equal(getattr(again, name), getattr(asked, name), err_msg=name)


def test_items_whose_axes_nobody_knows_have_no_look(series):
    torch = pytest.importorskip("torch")
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(120, 4), torch.nn.Linear(4, 2)).eval()
    atlas = xplain.see(flat, "map", series, by="pca", groups=2)
    assert atlas.thumbnails is None


def test_sound_is_drawn_as_its_spectrogram_with_a_card_from_anywhere(tmp_path):
    import wave

    weights = {"w": np.random.default_rng(0).normal(size=(4, 1, 9)).astype(np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pool"]),
        helper.make_node("Flatten", ["pool"], ["scores"], axis=1),
    ]
    sizes = {"x": (nets.FLOAT, ["n", 1, 2000])}, {"scores": (nets.FLOAT, ["n", 4])}
    net = nets.model(nodes, *sizes, weights).SerializeToString()
    (tmp_path / "card.toml").write_text('[coordinates]\nkind = "waveform"\nrate = 8000\n')
    (tmp_path / "sounds").mkdir()
    for n in range(4):
        tone = (np.sin(np.arange(2000) * 2 * np.pi * 500 * (n + 1) / 8000) * 20000).astype("<i2")
        with wave.open(str(tmp_path / "sounds" / f"{n}.wav"), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(tone.tobytes())
    how = {"layer": "pool", "card": str(tmp_path / "card.toml")}
    sounds, kept = str(tmp_path / "sounds"), str(tmp_path / "kept")
    atlas = xplain.see(net, "map", sounds, by="pca", positions="mean", groups=1, **how)
    loud = atlas.thumbnails[..., 0].mean(axis=2).argmax(axis=1)
    np.testing.assert_allclose(1 - loud / 64, [500 / 4000 * (n + 1) for n in range(4)], atol=0.05)
    xplain.see(net, "embed", sounds, positions="mean", vectors=kept, **how)
    again = xplain.see(net, "map", kept, by="pca", groups=1, **how)
    np.testing.assert_array_equal(again.thumbnails, atlas.thumbnails)
