"""Text in drawings: whole, and broken where a reader would."""

from __future__ import annotations

import pytest

from xplain.render.canvas import _wrapped, text_width


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("MobilenetV2/expanded_conv_11/add", ["MobilenetV2/", "expanded_conv_11/", "add"]),
        ("a name and x/y", ["a name and x/y"]),
        ("w" * 30, ["w" * 13, "w" * 13, "w" * 4]),
    ],
)
def test_a_path_is_broken_behind_its_bars_and_nothing_is_lost(text, lines):
    width = text_width("w" * 13)
    found = _wrapped(text, width)
    assert found == lines
    assert all(text_width(line) <= width for line in found)
