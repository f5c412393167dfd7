"""Layouts know the plane of positions and the strides of an item."""

from __future__ import annotations

import numpy as np
import pytest

from xplain.core.errors import UsageError
from xplain.core.layout import Layout


@pytest.mark.parametrize(
    ("axes", "item", "plane", "channels", "strides"),
    [
        ("NCHW", (3, 4, 5), (4, 5), 3, (20, 5, 1)),
        ("NHWC", (4, 5, 3), (4, 5), 3, (1, 15, 3)),
        ("NCT", (2, 7), (1, 7), 2, (7, 0, 1)),
        ("NTC", (7, 2), (1, 7), 2, (1, 0, 2)),
        ("NS", (9,), (1, 9), 1, (0, 0, 1)),
        ("NXXX", (2, 3, 4), (1, 24), 1, (0, 0, 1)),
    ],
)
def test_plane_and_strides(axes, item, plane, channels, strides):
    layout = Layout(axes, item)
    assert (layout.plane, layout.channels, layout.strides) == (plane, channels, strides)
    # walking the strides visits every element exactly once
    c, y, x = np.meshgrid(np.arange(channels), np.arange(plane[0]), np.arange(plane[1]), indexing="ij")
    visited = c * strides[0] + y * strides[1] + x * strides[2]
    assert sorted(visited.reshape(-1)) == list(range(int(np.prod(item))))


def test_guess():
    assert Layout.guess((3, 224, 224)).axes == "NCHW"
    assert Layout.guess((224, 224, 3)).axes == "NHWC"
    assert Layout.guess((1, 28, 28)).axes == "NCHW"
    assert Layout.guess((5,)).axes == "NS"


def test_a_layout_must_describe_the_item():
    with pytest.raises(UsageError, match="does not describe items of shape"):
        Layout("NCHW", (3, 4))


@pytest.mark.parametrize(
    ("shape", "item", "axes"),
    [
        ((64, 7, 7), (3, 224, 224), "NCHW"),
        ((7, 7, 96), (3, 224, 224), "NHWC"),  # the token grid of a Swin
        ((16, 7, 7), (3, 224, 224), "NCHW"),
        ((197, 768), (3, 224, 224), "NTC"),  # the patches of a ViT
        ((5, 32), (5,), "NTC"),  # embedded words
        ((32, 5), (5,), "NCT"),  # the same, turned for a convolution over words
        ((5, 5), (5,), "NTC"),
        ((8, 50), (2, 100), "NCT"),  # a layer on a time series
        ((10,), (5,), "NS"),
    ],
)
def test_the_likeliest_layout_of_a_layer(shape, item, axes):
    assert Layout.of_layer(shape, item).axes == axes
