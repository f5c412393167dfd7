"""Occlusion is captum's: the same windows, the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.testing import Formula

torch = pytest.importorskip("torch")
attr = pytest.importorskip("captum.attr")

CASES = [(4, 4), (5, 3), ((4, 7), (2, 3)), ((9, 2), (9, 1)), (1, 1), (19, 1), (6, 5)]


@pytest.fixture(scope="module")
def network() -> object:
    torch.manual_seed(0)
    layers = torch.nn.Sequential(
        torch.nn.Conv2d(3, 6, 3),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(24, 4),
    )
    return layers.eval().double()


@pytest.mark.parametrize(("patch", "stride"), CASES)
def test_occlusion_equals_captum(network: object, patch: object, stride: object) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, 21, 26)).astype(np.float32)

    def function(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(rows).double()).numpy()

    model = Formula(function, "NCHW", (3, 21, 26), classes=4)
    ours = xplain.explain(model, x, "occlusion", patch=patch, stride=stride, baseline=0.25, target=2)

    high, wide = (patch, patch) if isinstance(patch, int) else patch
    down, right = (stride, stride) if isinstance(stride, int) else stride
    theirs = attr.Occlusion(network).attribute(
        torch.from_numpy(x).double(),
        sliding_window_shapes=(3, high, wide),
        strides=(3, down, right),
        baselines=0.25,
        target=2,
        perturbations_per_eval=64,
    )
    expected = theirs[:, 0].numpy()
    np.testing.assert_allclose(ours.values, expected, atol=1e-5 * np.ptp(expected))
