"""Textures and styles: statistics come near the sample's, colours stay, and no pattern of a stride's period is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import xplain
from tests.contract.test_recipes import file
from xplain.core.errors import UsageError
from xplain.explainers.synthesis.texture import colours_of

CARD = {"mode": "RGB", "resize": [32, 32]}


def module() -> torch.nn.Sequential:
    """A random net with a first layer of stride 2, whose statistics textures can have."""
    torch.manual_seed(1)
    layers = [torch.nn.Conv2d(3, 12, 5, 2, 2), torch.nn.ReLU(), torch.nn.Conv2d(12, 16, 3, padding=1), torch.nn.ReLU()]
    layers += [torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.ReLU()]
    head = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, 3)]
    return torch.nn.Sequential(*layers, *head).eval()


@pytest.fixture(scope="module")
def net():
    return xplain.load(module(), card=CARD)


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    """Red and blue stripes of 8 pixels."""
    rows = np.arange(64) // 4 % 2
    sample = np.zeros((64, 64, 3), np.uint8)
    sample[..., 0], sample[..., 2] = (200 * rows + 30)[:, None], (200 * (1 - rows) + 30)[:, None]
    sample[..., 1] = 40
    return sample


def test_a_texture_comes_near_the_samples_statistics_in_its_colours(net, stripes):
    found = xplain.make(net, "texture", [stripes], steps=60, rate=0.15)
    trace = -found.trace[0]
    assert trace[-1] < 0.3 * trace[0]
    picture = found.picture[0]
    assert abs(picture[0].mean() - stripes[..., 0].mean() / 255) < 0.1
    assert picture[1].std() < 0.05  # green never varied
    assert np.corrcoef(picture[0].ravel(), picture[2].ravel())[0, 1] < -0.8  # red and blue took turns


def test_no_pattern_of_two_pixels_is_left_by_a_stride_of_two(net, stripes):
    """The power at half the sampling rate, where blocks of a stride of 2 would stand, beside that of its neighbours."""
    picture = xplain.make(net, "texture", [stripes], steps=60, rate=0.15).picture[0].mean(axis=0)
    power = np.abs(np.fft.fft2(picture - picture.mean())) ** 2
    at = power[16].sum() + power[:, 16].sum()
    beside = power[13:15].sum(axis=1).mean() + power[:, 13:15].sum(axis=0).mean()
    assert at < 3 * beside


def test_a_grey_sample_gives_a_grey_texture(net):
    grey = np.repeat(np.random.default_rng(0).integers(0, 255, (40, 40, 1)), 3, axis=2).astype(np.uint8)
    picture = xplain.make(net, "texture", [grey], steps=8).picture[0]
    assert np.ptp(picture, axis=0).max() < 0.01


def test_a_style_keeps_content_by_its_weight_and_colours_where_asked(net, stripes):
    content = np.full((32, 32, 3), 90, np.uint8)
    content[8:24, 8:24] = (60, 200, 60)
    near, far = (
        xplain.make(net, "style", [content], style=[stripes], content=w, steps=30).picture[0] for w in (5.0, 0.0)
    )
    inside = np.zeros((32, 32), bool)
    inside[8:24, 8:24] = True
    gap = [abs(one.mean(axis=0)[inside].mean() - one.mean(axis=0)[~inside].mean()) for one in (near, far)]
    assert gap[0] > gap[1]
    kept = xplain.make(net, "style", [content], style=[stripes], steps=5, keep_colour=True).picture[0]
    chroma = kept - np.tensordot([0.299, 0.587, 0.114], kept, axes=1)
    wanted = content.transpose(2, 0, 1) / 255
    wanted = wanted - np.tensordot([0.299, 0.587, 0.114], wanted, axes=1)
    fine = (kept > 0).all(axis=0) & (kept < 1).all(axis=0)
    assert np.abs(chroma - wanted)[:, fine].max() < 0.02


def test_what_is_left_of_style_and_content_is_what_torch_says_of_the_picture(net, stripes):
    content = np.random.default_rng(2).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    made = xplain.make(net, "style", [content], style=[stripes], content=0.5, steps=6)
    layers = module()

    def features(picture: np.ndarray, upto: str) -> torch.Tensor:
        with torch.no_grad():
            return layers[: int(upto) + 1](torch.tensor(picture, dtype=torch.float32))[0].flatten(1).double()

    deep = made.facts["content layer"]
    seen, wanted = (features(one, deep) for one in (made.picture, content.transpose(2, 0, 1)[None] / 255))
    assert made.each["content"][0] == pytest.approx(float(((seen - wanted) ** 2).sum() / (wanted**2).sum()), rel=1e-3)
    near, far = (xplain.make(net, "style", [content], style=[stripes], content=w, steps=20).each for w in (9.0, 0.0))
    assert near["content"][0] < far["content"][0]
    assert far["style"][0] < made.each["style"][0]  # fourteen steps later
    short = xplain.make(net, "style", [content], style=[stripes], steps=6, max_queries=60)
    assert np.isfinite(short.each["style"][0])


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "LA", "CMYK"])
def test_a_style_of_another_mode_and_size_is_read_as_the_colours_that_it_shows(mode, net, stripes, tmp_path):
    content = np.random.default_rng(2).integers(0, 255, (32, 32, 3)).astype(np.uint8)
    shown = Image.fromarray(stripes[:48, :20]).convert(mode)
    suffix = ".jpg" if mode == "CMYK" else ".png"
    shown.save(tmp_path / f"style{suffix}", quality=95)
    made = xplain.make(net, "style", [content], style=tmp_path / f"style{suffix}", steps=2)
    plain = xplain.make(
        net, "style", [content], style=[np.array(Image.open(tmp_path / f"style{suffix}").convert("RGB"))], steps=2
    )
    assert made.pixels.shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(made.pixels, plain.pixels)


def test_axes_of_colours_give_back_what_varies():
    rng = np.random.default_rng(0)
    varied = 0.5 + 0.2 * rng.normal(size=(1, 20, 20)) * np.array([1.0, 0.5, -0.5])[:, None, None]
    axes = np.array(colours_of(np.clip(varied, 0.01, 0.99)))
    first = axes[:, 0] / np.linalg.norm(axes[:, 0])
    assert abs(first @ np.array([1.0, 0.5, -0.5]) / np.sqrt(1.5)) > 0.95
    assert np.sqrt((axes**2).sum(axis=1)).max() == pytest.approx(1)
    assert np.linalg.matrix_rank(axes) == 3


def test_what_has_no_statistics_is_refused(net, stripes):
    with pytest.raises(UsageError, match="8 or more"):
        xplain.make(net, "texture", [stripes[:6, :6]])
    flat = xplain.load(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 2)).eval(), card=CARD)
    with pytest.raises(UsageError, match="no layer"):
        xplain.make(flat, "texture", [stripes], size=32)


def test_pixels_of_the_sample_make_a_texture_beside_which_it_is_shown():
    y, x = np.mgrid[:32, :32]
    board = np.repeat((255 * ((y // 4 + x // 4) % 2)).astype(np.uint8)[..., None], 3, axis=2)
    for how in ("grow", "pyramid", "quilt"):
        more = {"how": how, "edge": 40, "crop": 24, "window": 13, "block": 16, "overlap": 8, "slack": 0.0}
        found = xplain.make(file(), "texture-pixels", [board], **more)
        out = found.pixels[0]
        assert out.shape == (40, 40, 3)
        assert np.array_equal(out[4:], 255 - out[:-4])
        assert found.original.shape == (1, 24, 24, 3)
    with pytest.raises(UsageError, match="odd number of pixels from 3 to 24"):
        xplain.make(file(), "texture-pixels", [board], crop=24, window=25)
    with pytest.raises(UsageError, match="at most 2,048"):
        xplain.make(file(), "texture-pixels", [board], edge=100_000)


@pytest.mark.parametrize("recipe", ["texture", "style"])
def test_a_picture_is_the_same_alone_and_beside_others(net, stripes, recipe):
    other = stripes.transpose(1, 0, 2)
    more = {"style": [stripes]} if recipe == "style" else {}
    both = xplain.make(net, recipe, [other, stripes], steps=3, frames=0, **more)
    alone = xplain.make(net, recipe, [stripes], steps=3, frames=0, **more)
    assert np.array_equal(both.picture[1], alone.picture[0])
    assert both.names == ("0", "1")


def test_a_sample_of_one_colour_has_no_statistics(net):
    with pytest.raises(UsageError, match="one colour"):
        xplain.make(net, "texture", [np.full((20, 20, 3), 90, np.uint8)], steps=1)
