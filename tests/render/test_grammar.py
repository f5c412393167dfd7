"""One of a thing is told as one, and a long name is broken at its hyphens."""

from __future__ import annotations

import numpy as np

from xplain.core.keeping.plain import counted
from xplain.render import canvas


def test_a_number_agrees_with_its_noun():
    assert [counted(n, "label") for n in (0, 1, 2, 1234)] == ["0 labels", "1 label", "2 labels", "1,234 labels"]
    assert [counted(n, "query", "queries") for n in (1, 3)] == ["1 query", "3 queries"]


def test_a_long_name_is_broken_behind_its_hyphens():
    narrow = canvas.text_width("black-")
    assert canvas._wrapped("black-footed", narrow)[0] == "black-"
    whole = canvas._wrapped("black-footed ferret", canvas.text_width("black-footed"))
    assert whole == ["black-footed", "ferret"]
    drawn = np.asarray(canvas.words(["black-footed"], narrow))
    assert drawn.shape[0] >= 2 * canvas.LINE
