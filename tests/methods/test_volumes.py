"""Volumes and video: windows, grids and features are cuboids, and the cube that counts is found."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError
from xplain.render import figure
from xplain.render.overlay import map_of
from xplain.render.slices import chosen

CUBE = (slice(4, 6), slice(6, 10), slice(6, 10))
DOORS = {"NCDHW": (1, 10, 16, 16), "NDHWC": (10, 16, 16, 3), "NTCHW": (10, 3, 16, 16), "NTHWC": (10, 16, 16, 3)}


def cube(axes):
    """A model that reads the mean of one cube of the grid."""
    at = axes.index("C")

    def model(batch):
        return np.moveaxis(batch, at, 1)[(slice(None), slice(None), *CUBE)].mean(axis=(1, 2, 3, 4))[:, None]

    return model


def volume(axes):
    x = np.random.default_rng(0).random((2, *DOORS[axes])).astype(np.float32) * 0.1
    np.moveaxis(x, axes.index("C"), 1)[(slice(None), slice(None), *CUBE)] += 3
    return x


@pytest.mark.parametrize("axes", DOORS)
@pytest.mark.parametrize(
    ("method", "options", "least"),
    [
        ("occlusion", {}, 0.5),
        ("occlusion", {"patch": 2, "stride": 2}, 0.99),
        ("occlusion", {"patch": (2, 4, 4), "stride": (1, 2, 2), "baseline": "mean"}, 0.4),
        ("occlusion", {"patch": 2, "stride": 2, "baseline": "blur:1"}, 0.9),
        ("rise", {"samples": 600}, 0.03),
        ("kernel-shap", {"features": "grid:5x4x4", "samples": 400}, 0.24),
        ("lime", {}, 0.05),
        ("ablation", {"features": "grid:5x8x8"}, 0.99),
        ("qii", {"features": "grid:5x8x8", "samples": 8}, 0.7),
    ],
)
def test_the_cube_that_counts_is_found(axes, method, options, least):
    found = xplain.explain(cube(axes), volume(axes), method, target=0, layout=axes, **options)
    assert found.values.shape == (2, 10, 16, 16)
    inside = np.abs(found.values[(slice(None), *CUBE)]).sum() / np.abs(found.values).sum()
    assert inside > least, inside
    peak = np.unravel_index(found.values[0].argmax(), (10, 16, 16))
    assert all(s.start - 3 <= p < s.stop + 3 for p, s in zip(peak, CUBE, strict=True))


def test_occlusion_of_a_volume_is_the_definition():
    x, axes = volume("NCDHW"), "NCDHW"
    model = cube(axes)
    found = xplain.explain(model, x, "occlusion", patch=(3, 4, 5), stride=(2, 3, 4), layout=axes)
    total, count = np.zeros((2, 10, 16, 16)), np.zeros((10, 16, 16))
    for z in range(0, 9, 2):
        for y in range(0, 15, 3):
            for c in range(0, 15, 4):
                if z > 8 or y > 12 or c > 12:
                    continue
                at = (slice(z, z + 3), slice(y, y + 4), slice(c, c + 5))
                hidden = x.copy()
                hidden[(slice(None), slice(None), *at)] = 0
                fall = (model(x) - model(hidden))[:, 0]
                total[(slice(None), *at)] += fall[:, None, None, None]
                count[at] += 1
    assert np.allclose(found.values, total / np.maximum(count, 1), atol=1e-5)


def test_defaults_follow_the_shape():
    found = xplain.explain(cube("NCDHW"), volume("NCDHW"), "occlusion")
    assert found.notes["patch"] == (2, 2, 2)
    assert found.layout.startswith("NCDHW (by its sizes")
    assert xplain.explain(cube("NCDHW"), volume("NCDHW"), "rise", samples=8).notes["cells"] == (7, 7, 7)
    thin = np.ones((1, 1, 3, 16, 16), np.float32)
    model = lambda batch: batch.reshape(len(batch), -1).sum(axis=1)  # noqa: E731
    assert xplain.explain(model, thin, "rise", samples=8, layout="NCDHW").notes["cells"] == (3, 7, 7)
    assert xplain.explain(model, thin, "occlusion", layout="NCDHW").notes["patch"] == (2, 2, 2)
    players = xplain.explain(model, thin, "kernel-shap", layout="NCDHW").notes["feature_values"]
    assert len(players[0]) == 3 * 4 * 4


def test_extents_for_another_number_of_axes_are_refused():
    with pytest.raises(UsageError, match=r"Extents \(4, 4\) are for 2 axes; .* take \(depth, height, width\)"):
        xplain.explain(cube("NCDHW"), volume("NCDHW"), "occlusion", patch=(4, 4))
    with pytest.raises(UsageError, match=r"Extents \(1, 4, 4\) are for 3 axes; .* take \(height, width\)"):
        xplain.explain(lambda b: b.sum((1, 2, 3)), np.ones((1, 3, 8, 8), np.float32), "occlusion", patch=(1, 4, 4))
    with pytest.raises(UsageError, match="The patch is 11 positions deep, but the input is only 10 deep"):
        xplain.explain(cube("NCDHW"), volume("NCDHW"), "occlusion", patch=(11, 4, 4))


def test_curves_of_a_volume():
    x = volume("NTCHW")
    found = xplain.explain(cube("NTCHW"), x, "occlusion", patch=2, stride=2, layout="NTCHW")
    curve = xplain.measure.curve(cube("NTCHW"), x, found, layout="NTCHW", steps=8)
    assert curve.scores[0, 1] < 0.1 * curve.scores[0, 0]


# ------------------------------------------------------------------ drawing


@pytest.mark.parametrize(("axes", "word"), [("NCDHW", "slice"), ("NTCHW", "frame")])
def test_a_volume_is_drawn_as_its_slices(axes, word, monkeypatch):
    seen = []
    words = figure.canvas.words
    monkeypatch.setattr(figure.canvas, "words", lambda lines, *rest: (seen.extend(lines), words(lines, *rest))[1])
    found = xplain.explain(cube(axes), volume(axes), "occlusion", patch=2, stride=2, layout=axes)
    assert map_of(found, 0).values.shape == (10, 16, 16)
    picture = found.overlay(0)
    assert min(picture.size) > 100
    assert [line for line in seen if line.startswith(word)] == [f"{word} {k}" for k in range(10)]
    assert f"10 of 10 {word}s; 4, 5 (yellow) hold 100% of the magnitude." in seen
    assert figure.montage([found, found]).width > figure.montage([found]).width


def test_many_slices_are_thinned_out_and_the_most_active_kept():
    values = np.zeros((100, 4, 4))
    values[37], values[61] = 5, -3
    which, active = chosen(values)
    assert len(which) <= 16
    assert list(active) == [37, 61]
    assert {0, 37, 61, 99} <= set(which)


def test_channels_of_a_volume_are_summed():
    net = pytest.importorskip("torch").nn.Sequential
    nn = pytest.importorskip("torch").nn
    model = net(
        nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(1), nn.Linear(4, 3)
    ).eval()
    x = np.random.default_rng(0).random((1, 2, 5, 6, 7)).astype(np.float32)
    found = xplain.explain(model, x, "gradient-x-input", target=0, channels=True)
    assert found.layout.startswith("NCDHW (the input goes into conv3d")
    assert np.allclose(map_of(found, 0).values, found.values[0].sum(axis=0), atol=1e-6)
    found.overlay(0)
