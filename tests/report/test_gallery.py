"""The page of a gallery shows every picture whole, and says what its maps mean."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from xplain.core.lenses.cells import Cell, cells
from xplain.report.gallery import gallery_page
from xplain.results.gallery import Gallery
from xplain.results.provenance import Provenance

RNG = np.random.default_rng(0)


def gallery(count: int = 3, photograph: bool = True, **more) -> Gallery:
    """Cells of noise, which no format makes short."""
    made = [
        Cell(
            f"conv[{n}]",
            1.0,
            RNG.integers(0, 255, (90, 90, 3)).astype(np.uint8) if photograph else None,
            (RNG.normal(size=(80, 80, 1)).astype(np.float32),),
            caption="1",
            section="conv" if photograph else f"layer {n % 3}",
        )
        for n in sorted(range(count), key=lambda n: 0 if photograph else n % 3)
    ]
    told = cells(made, "Noise", "activation", map_names=("activation",), **more)
    return Gallery.of(told, provenance=Provenance(method="activations"), facts={}, warnings=())


def images(page: str) -> list[Image.Image]:
    """Every image of the page, decoded to its last pixel."""
    found = re.findall(r'<img alt="" src="data:image/(?:png|jpeg|webp);base64,([A-Za-z0-9+/=]+)">', page)
    assert len(found) == page.count("<img")
    drawn = [Image.open(io.BytesIO(base64.b64decode(one, validate=True))) for one in found]
    for one in drawn:
        one.load()
    return drawn


@pytest.mark.parametrize("form", ["rows", "grid"])
def test_every_picture_of_the_page_is_whole(form):
    page = gallery_page(gallery(form=form, look="heat"))
    assert len(images(page)) == 3 * (2 if form == "rows" else 1)
    assert max(len(one) for one in re.findall(r"base64,([^\"]+)", page)) > 4000


def test_a_page_of_very_many_cells_is_smaller_and_every_section_has_its_strip():
    page = gallery_page(gallery(600, photograph=False, look="heat"))
    assert len(images(page)) == 600 + 3 * 12
    assert "image/png" not in page
    assert page.count("<details") == 3


def test_the_page_says_what_maps_and_numbers_mean_and_numbers_units():
    page = gallery_page(gallery(form="rows", look="heat"))
    assert "Below each photograph, downwards: activation." in page
    assert "where there are values below zero, blue is these and red is above" in page
    assert "Numbers below tiles: activation." in page
    assert "<b>unit 2</b>" in page
    assert "conv[2]" in page  # where one points at a picture
