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
