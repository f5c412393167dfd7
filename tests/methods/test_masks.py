"""Methods that show parts of a layer or a picture: against slow loops, a linear tail, and a planted cause."""

from __future__ import annotations

from typing import Any

import nets
import numpy as np
import pytest

import xplain
from xplain.core.arrays import enlarge
from xplain.explainers.gradient.xrai import grown

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def one_cell() -> Any:
    return xplain.load(nets.planted(cell=(2, 1)))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 1, (1, 3, 32, 32)).astype(np.float32)


class Attending(torch.nn.Module):
    """Nine patches and a class token, which alone is read at the end: a small vision transformer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.patch = torch.nn.Conv2d(3, 8, 4, 4)
        self.token = torch.nn.Parameter(torch.randn(1, 1, 8))
        self.first = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.last = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
        self.head = torch.nn.Linear(8, 4)

    def tail(self, tokens: Any) -> Any:
        return self.head(self.last(tokens)[:, 0])

    def forward(self, x: Any) -> Any:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), patches], 1)
        return self.tail(self.first(tokens))


def test_positions_of_a_layer_are_shown_alone_to_a_linear_tail() -> None:
    """Behind a global mean the score of one position alone is its share of it, which is what CAM reads off."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(5, 4),
    ).eval()
    x = np.random.default_rng(1).normal(size=(2, 3, 16, 12)).astype(np.float32)
    alone = xplain.explain(net, x, "recipro-cam", target=1, smooth=False, signed=True)
    shares = xplain.explain(net, x, "cam", target=1)
    mean = shares.values / (8 * 6)
    ratio = np.abs(alone.values - mean).max(), np.abs(alone.values - shares.values).max()
    assert min(ratio) < 1e-4 * np.abs(alone.values).max()  # cam may show a position's part of the mean, or of the sum
    np.testing.assert_allclose(alone.base, net[4].bias[1].item(), rtol=1e-5)


def test_a_class_token_is_kept_and_neighbours_count_by_a_gaussian() -> None:
    net = Attending().eval()
    x = np.random.default_rng(1).normal(size=(2, 3, 12, 12)).astype(np.float32)
    a = xplain.explain(net, x, "recipro-cam", target=2, layer="first", signed=True)
    with torch.no_grad():
        patches = net.patch(torch.tensor(x)).flatten(2).transpose(1, 2)
        tokens = net.first(torch.cat([net.token.expand(2, -1, -1), patches], 1)).numpy()
    wanted = np.zeros((2, 3, 3))
    for row in range(3):
        for column in range(3):
            mask = np.zeros((3, 3))
            for y in range(3):
                for z in range(3):
                    if max(abs(y - row), abs(z - column)) <= 1:
                        mask[y, z] = np.exp(-((y - row) ** 2 + (z - column) ** 2) / 2)
            keep = np.concatenate([[1.0], mask.reshape(-1)])[None, :, None].astype(np.float32)
            with torch.no_grad():
                wanted[:, row, column] = net.tail(torch.tensor(tokens * keep))[:, 2]
    none = np.zeros((1, 10, 1), np.float32)
    none[:, 0] = 1
    with torch.no_grad():
        base = net.tail(torch.tensor(tokens * none))[:, 2].numpy()
    np.testing.assert_allclose(a.base, base, rtol=1e-4)
    wide = enlarge(wanted - base[:, None, None], (12, 12))
    np.testing.assert_allclose(a.values, wide, rtol=1e-3, atol=1e-4 * np.abs(wide).max())


def test_masks_count_by_similarity_to_the_whole_and_difference_from_each_other() -> None:
    torch.manual_seed(3)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 4, 3, padding=1),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Softmax(dim=1),
    ).eval()
    x = 2 * np.random.default_rng(5).normal(size=(1, 3, 8, 8)).astype(np.float32)
    a = xplain.explain(net, x, "sidu", layer="1")
    with torch.no_grad():
        layer = net[:2](torch.tensor(x)).numpy()[0]
        whole = net(torch.tensor(x)).numpy()[0]
        low, high = layer.min((1, 2), keepdims=True), layer.max((1, 2), keepdims=True)
        masks = ((layer - low) / (high - low) > 0.5).astype(np.float32)
        shown = net(torch.tensor(masks[:, None] * x)).numpy()
    wanted = np.zeros((8, 8))
    for k in range(6):
        near = np.exp(-((whole - shown[k]) ** 2).sum() / (2 * 0.25**2))
        apart = sum(np.sqrt(((shown[k] - shown[j]) ** 2).sum()) for j in range(6))
        wanted += near * apart * masks[k] / 6
    np.testing.assert_allclose(a.values[0], wanted, rtol=1e-3, atol=1e-6)


def test_regions_are_taken_by_the_mean_of_what_they_add() -> None:
    attribution = np.zeros((4, 6))
    attribution[:2, :2], attribution[2:, 4:] = 5.0, 2.0
    square, half, corner = (np.zeros((4, 6), bool) for _ in range(3))
    square[:2, :2] = half[:, :3] = corner[2:, 4:] = True
    found = grown(attribution, [half, square, corner], least=2)
    wanted = np.zeros((4, 6))
    wanted[:2, :2], wanted[2:, 4:] = 5.0, 2.0
    np.testing.assert_allclose(found, wanted)  # the square first, so the rest of the half adds nothing but 0
    coarse = grown(attribution, [half, corner], least=2)
    assert coarse[0, 0] == pytest.approx(5 * 4 / 12)


def test_regions_hold_the_planted_cause(one_cell: Any, picture: np.ndarray) -> None:
    bright = picture.copy()
    bright[..., 16:24, 8:16] += 1.0
    values = xplain.explain(one_cell, bright, "xrai", target=0, steps=4, least=10).values[0]
    inside = values[16:24, 8:16].mean()
    outside = values.copy()
    outside[14:26, 6:18] = 0
    assert inside > 5 * np.abs(outside).max()


def test_the_mask_that_keeps_the_score_lies_on_the_planted_cause(one_cell: Any, picture: np.ndarray) -> None:
    bright = picture / 10
    bright[..., 16:24, 8:16] += 1.0
    a = xplain.explain(one_cell, bright, "extremal-perturbation", target=0, steps=150, cells=8, area=1 / 16, sigma=6.0)
    mask = a.values[0]
    assert mask[16:24, 8:16].sum() > 0.7 * mask.sum()  # 4 of 64 cells, and the linear slope around them
    assert a.each["area"][0] == pytest.approx(1 / 16, abs=0.02)
    assert a.each["kept"][0] > 0.5
    whole = xplain.predict(one_cell, bright)[0, 0]
    assert a.each["kept"][0] == pytest.approx((a.each["shown"][0] - a.base[0]) / (whole - a.base[0]), rel=1e-5)
