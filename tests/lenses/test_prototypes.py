"""The lens prototypes: a prototype of each planted colour, the picture of no colour as criticism, and its cautions."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.analyses.prototypes import prototypes
from xplain.core.errors import UsageError

from .embedded import CARD, exported, folder, module


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    found = folder(path, each=9)
    Image.fromarray(np.full((20, 20, 3), 255, np.uint8)).save(path / "red" / "white.png")
    return [*found, str(path / "red" / "white.png")]


@pytest.fixture(scope="module")
def net():
    return exported(module())


def test_each_colour_has_its_prototype_and_the_odd_one_is_criticised(files, net):
    wide = xplain.see(net, "prototypes", files, card=CARD, k=3).facts["gamma"]
    gamma = 3 * wide  # narrower than what all pairs say, most of which are of two colours
    found = xplain.see(net, "prototypes", files, card=CARD, k=3, criticisms=4, gamma=gamma, labelled=True)
    chosen = [name for name, unit in zip(found.names, found.units, strict=True) if unit == "prototypes"]
    assert {name.split("/")[0] for name in chosen} == {"red", "green", "blue"}
    assert found.names[3] == "red/white.png"
    assert found.values[3] == found.values.max() > 0
    assert sorted(found.facts["items that each stands for"]) == [9, 9, 10]
    assert found.facts["prototype of one true class"] == 27 / 28
    vectors = xplain.see(net, "embed", files, card=CARD).vectors
    same = prototypes(vectors, 3, 4, gamma=gamma)
    assert found.names == tuple(
        f"{f.split('/')[-2]}/{f.split('/')[-1]}" for f in np.array(files)[[*same.prototypes, *same.criticisms]]
    )
    assert found.pictures.shape == (7, 96, 96, 3)


def test_what_is_left_out_or_less_than_asked_is_said(files, net):
    drawn = xplain.see(net, "prototypes", files, card=CARD, k=2, criticisms=0, most=9)
    assert drawn.facts["items compared"] == 9
    assert "9 of 28 items were drawn" in str(drawn)
    few = xplain.see(net, "prototypes", files[:4], card=CARD, k=9, criticisms=9)
    assert "9 prototypes were asked for of 4 items: 3 are shown" in str(few)
    assert "9 criticisms were asked for: 1 are shown" in str(few)
    with pytest.raises(UsageError, match="at least 3 items; 2 can be read"):
        xplain.see(net, "prototypes", files[:2], card=CARD)
