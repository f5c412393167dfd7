"""Layouts know the plane of positions and the strides of an item."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.declaring.wording import in_shell
from xplain.core.errors import UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.positions.layout import Doubt, Layout, by_sizes, stated


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


@pytest.mark.parametrize(
    ("item", "axes"),
    [
        ((3, 224, 224), "NCHW"),
        ((224, 224, 3), "NHWC"),
        ((1, 28, 28), "NCHW"),
        ((28, 28, 1), "NHWC"),
        ((4, 64, 48), "NCHW"),
        ((64, 48, 4), "NHWC"),
        ((3, 4, 4), "NCHW"),  # tiny, but square
        ((4, 4, 3), "NHWC"),
        ((13, 32, 32), "NCHW"),  # thirteen bands of a square picture
        ((32, 32, 13), "NHWC"),
        ((145, 145, 200), "NHWC"),
        ((200, 145, 145), "NCHW"),
        ((1, 22, 1000), "NCHW"),
        ((1, 1, 64), "NCHW"),
        ((1, 1, 2), "NCHW"),
        ((2, 1, 1), "NCHW"),
        ((5,), "NS"),
        ((1, 100), "NCT"),
        ((100, 1), "NTC"),
        ((1, 10, 16, 16), "NCDHW"),
        ((10, 16, 16, 1), "NDHWC"),
        ((3, 8, 32, 32), "NCDHW"),
        ((8, 3, 32, 32), "NTCHW"),
        ((8, 32, 32, 3), "NDHWC"),
        ((1, 2, 2, 2), "NCDHW"),
        ((1, 1, 32, 32), "NCDHW"),
    ],
)
def test_sizes_that_say_which_axis_is_the_channels(item, axes):
    found = by_sizes(item)
    assert isinstance(found, Layout), found
    assert (found.axes, found.item) == (axes, item)
    assert found.why


@pytest.mark.parametrize(
    "item",
    [
        (3, 3, 3), (4, 224, 4), (3, 224, 3), (64, 3, 3), (3, 3, 64), (145, 160, 200), (13, 64, 48), (8, 4, 4),
        (50, 6), (6, 50), (28, 28), (2, 100), (64, 1, 1),
        (10, 32, 32, 13), (13, 10, 32, 32), (2, 3, 32, 32), (2, 3, 4, 5, 6),
    ],
)  # fmt: skip
def test_sizes_that_say_nothing_make_a_question(item):
    found = by_sizes(item)
    assert isinstance(found, Doubt), found
    question = found.question()
    message = str(question)
    for axes in found.readings:
        assert axes in message
        assert stated(axes).of(item).item == item  # what the question offers can be stated
    assert f"layout={found.readings[0]!r}" in message
    assert f"--layout {found.readings[0]}" in question.said(in_shell(["layout"]))


@pytest.mark.parametrize(
    ("word", "letters"),
    [
        ("nhwc", "NHWC"), ("NTF", "NTC"), ("NFT", "NCT"), ("N1T", "NCT"), ("NCL", "NCT"), ("NLC", "NTC"),
        ("NT", "NT"), ("NS", "NS"), ("NTHWC", "NTHWC"), ("NTCHW", "NTCHW"), ("NCDHW", "NCDHW"), ("NXX", "NXX"),
    ],
)  # fmt: skip
def test_a_layout_is_stated_by_a_word(word, letters):
    assert stated(word).letters == letters


@pytest.mark.parametrize(
    "word", ["", "HWC", "CHWN", "NCHWN", "NCC", "NCQ", "NWHC", "N", "NC", "NDTHW", "NCXH", 3, None, ["N"]]
)
def test_what_is_no_layout_is_refused(word):
    with pytest.raises(UsageError, match=r"layout is .*; accepted: one letter per axis"):
        stated(word)


def test_how_a_layout_is_known_is_no_part_of_what_it_is():
    assert Layout("NHWC", (4, 5, 3), "stated") == Layout("NHWC", (4, 5, 3), "by its sizes")
    assert fingerprint(Layout("NHWC", (4, 5, 3), "a")) == fingerprint(Layout("NHWC", (4, 5, 3), "b"))
    assert fingerprint(Layout("NHWC", (4, 5, 3))) != fingerprint(Layout("NCHW", (4, 5, 3)))


def test_nobody_but_the_outline_reads_sizes():
    """A layout is resolved in one place; a second guess was the cause of maps that were wrong without a word."""
    root = Path(xplain.__file__).parent
    callers = [path.relative_to(root).as_posix() for path in root.rglob("*.py") if "by_sizes(" in path.read_text()]
    assert sorted(callers) == ["core/outline.py", "core/positions/layout.py"]
    askers = [path.relative_to(root).as_posix() for path in root.rglob("*.py") if ".layout_of((" in path.read_text()]
    assert not askers
    readers = {p.relative_to(root).as_posix() for p in root.rglob("*.py") if "outline.layout_of(" in p.read_text()}
    reading = {"session/checked.py", "session/entering.py"}
    assert readers == {"cli/verbs/inspect.py", "core/query.py", "models/outlines.py", *reading}


def test_a_layout_must_describe_the_item():
    with pytest.raises(UsageError, match="does not describe items of shape"):
        Layout("NCHW", (3, 4))
