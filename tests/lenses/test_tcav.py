"""TCAV through ``xplain.see``: a red class leans on red and not on green, and what is missing is said."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.core.errors import UsageError

from .embedded import CARD, exported, folder, module


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    found = [one for one in folder(path, each=10) if "blue" not in one]
    rng = np.random.default_rng(5)
    for kind, count in (("random", 30), ("items", 6)):
        (path / kind).mkdir()
        for n in range(count):
            pixels = rng.integers(0, 90, (20, 20, 3))
            pixels[..., 1 + n % 2] += 150  # its red is that of the green ones
            Image.fromarray(pixels.astype(np.uint8)).save(path / kind / f"{n}.png")
            found.append(str(path / kind / f"{n}.png"))
    return found


@pytest.fixture(scope="module")
def net():
    """Class 1, red, is the mean of the red channel."""
    torch = pytest.importorskip("torch")
    made = module()
    with torch.no_grad():
        made[0].weight[:3] = 0
        for channel in range(3):
            made[0].weight[channel, channel, 1, 1] = 1 / 255
        made[0].bias[:3] = 0
        made[4].weight[1] = 0
        made[4].weight[1, 0] = 1
    return exported(made)


def test_the_score_leans_on_its_concept_and_not_on_another(files, net):
    found = xplain.see(net, "tcav", files, card=CARD, layer="relu", label="red", draws=199, k=2)
    red, green = found.facts["concepts"]["red"], found.facts["concepts"]["green"]
    assert red["share"] == 1
    assert red["corrected p"] == pytest.approx(4 / 200)
    assert green["corrected p"] > 0.05
    assert red["mean cosine"] > 10 * abs(green["mean cosine"])
    assert "'green' moves the score no more than random pictures" in str(found)
    assert found.units == ("red", "red", "green", "green")  # the surest first, as concepts of craft are
    assert "the score of red leans on" in found.title
    spread = red["standard deviation over random sets"]
    assert found.about["red"].startswith(f"share 1.00 ± {spread:.2f} sd\np 0.02, corrected")
    assert found.pictures.shape[1:] == (96, 96, 3)
    by_number = xplain.see(net, "tcav", files, card=CARD, layer="relu", label="1", draws=199, k=2)
    assert by_number.facts["concepts"] == found.facts["concepts"]


def test_what_is_missing_is_said(files, net):
    more = {"card": CARD, "layer": "relu", "label": "red", "draws": 9}
    with pytest.raises(UsageError, match="No item lies in a folder 'zebra'.*green, items, random, red.*of"):
        xplain.see(net, "tcav", files, of="zebra", **more)
    with pytest.raises(UsageError, match="random pictures, 'noise'.*random"):
        xplain.see(net, "tcav", files, random="noise", **more)
    with pytest.raises(UsageError, match="groups is .3 names."):
        xplain.see(net, "tcav", files, groups="a,b,c", **more)
    assert "no p can be below 0.05 here; 79 would do" in str(xplain.see(net, "tcav", files, **more))
