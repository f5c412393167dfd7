"""A timm model brings its card: pictures become what timm's own transform for evaluation makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import xplain
from xplain.core.card import card_of_module

torch = pytest.importorskip("torch")

CFG = {  # as timm writes it beside a model
    "architecture": "resnet18", "input_size": (3, 12, 12), "interpolation": "bicubic", "crop_pct": 0.75,
    "crop_mode": "center", "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.25, 0.5), "num_classes": 2,
}  # fmt: skip


class Recorder(torch.nn.Module):
    """Keeps what it was given."""

    def __init__(self, **changes):
        super().__init__()
        self.pretrained_cfg = {**CFG, **changes}
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x):
        self.seen = x.detach().numpy().copy()
        return self.head(x.mean((2, 3)))


def by_timms_recipe(picture):
    """Shorter side to floor(12 / 0.75) = 16, centre crop of 12, to [0, 1], less the mean, by the deviation."""
    ratio = 16 / min(picture.size)
    scaled = picture.resize([int(side * ratio) for side in picture.size], Image.Resampling.BICUBIC)
    left, top = round((scaled.width - 12) / 2), round((scaled.height - 12) / 2)
    pixels = np.asarray(scaled.crop((left, top, left + 12, top + 12)), np.float32) / 255
    return ((pixels - CFG["mean"]) / CFG["std"]).transpose(2, 0, 1)


def test_a_picture_becomes_what_timm_makes_of_it(tmp_path):
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8))
    picture.save(tmp_path / "a.png")
    module = Recorder().eval()
    xplain.predict(module, str(tmp_path / "a.png"))
    np.testing.assert_allclose(module.seen[0], by_timms_recipe(picture), atol=1e-5)
    assert xplain.load(module).outline.card.name == "timm's resnet18"


def test_what_is_given_goes_first_and_other_modules_have_none():
    assert xplain.load(Recorder(), card="unit").outline.card.name == "unit"
    assert card_of_module(torch.nn.Linear(2, 2)) is None
    squeezed = card_of_module(Recorder(crop_mode="squash", crop_pct=1.0))
    assert (squeezed.resize, squeezed.resize_short, squeezed.crop) == ((12, 12), None, (12, 12))
