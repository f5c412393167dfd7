"""Numbers and names as figures have room for them."""

from __future__ import annotations

import pytest

from xplain.core.keeping.plain import in_figures, without_shared_folders


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.6037, "0.604"), (39.47, "39.5"), (999.4, "999"), (3267.6, "3268"), (-45821.2, "-45821"), (2e7, "2e+07")],
)
def test_numbers_of_everyday_size_have_no_exponent(value, text):
    assert in_figures(value) == text


def test_folders_that_all_share_are_not_repeated():
    assert without_shared_folders(["photos/a.jpg", "photos/b.jpg"]) == ["a.jpg", "b.jpg"]
    assert without_shared_folders(["p/cat/1.jpg", "p/dog/1.jpg"]) == ["cat/1.jpg", "dog/1.jpg"]
    assert without_shared_folders(["a.jpg", "photos/b.jpg"]) == ["a.jpg", "photos/b.jpg"]
    assert without_shared_folders(["photos/a.jpg"]) == ["a.jpg"]
    assert without_shared_folders([]) == []
