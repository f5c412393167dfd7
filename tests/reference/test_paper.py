"""Methods against slow re-implementations straight from their papers."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.query import View
from xplain.core.target import label
from xplain.testing import Formula

from . import slow

ITEM = (3, 20, 23)
RNG = np.random.default_rng(5)
WEIGHTS = RNG.normal(size=(2, *ITEM)) / 20
X = RNG.normal(size=(2, *ITEM)).astype(np.float32)


def score(item: np.ndarray) -> float:
    a, b = ((item.astype(np.float64) * w).sum() for w in WEIGHTS)
    return float(np.tanh(a) + a * b)


MODEL = Formula(lambda rows: np.array([score(row) for row in rows]), "NCHW", ITEM)


@pytest.mark.parametrize(
    ("patch", "stride"), [((5, 5), (5, 5)), ((4, 7), (3, 2)), ((20, 23), (1, 1)), ((2, 2), (3, 4))]
)
@pytest.mark.parametrize("baseline", [0.0, "array"])
def test_occlusion(patch: tuple[int, int], stride: tuple[int, int], baseline: object) -> None:
    fill = RNG.normal(size=ITEM).astype(np.float32) if baseline == "array" else np.zeros(ITEM, np.float32)
    given = fill if baseline == "array" else baseline
    a = xplain.explain(MODEL, X, "occlusion", patch=patch, stride=stride, baseline=given, target=0)
    for found, item in zip(a.values, X, strict=True):
        np.testing.assert_allclose(found, slow.occlusion(score, item, fill, patch, stride), atol=1e-5)


@pytest.mark.parametrize(("cells", "keep"), [((7, 7), 0.5), ((3, 5), 0.2)])
def test_rise(cells: tuple[int, int], keep: float) -> None:
    samples = 40
    a = xplain.explain(MODEL, X, "rise", samples=samples, cells=cells, keep=keep, target=0, seed=9)
    seeds = [int(rng.integers(2**63)) for rng in View(X, label(0), MODEL.outline, 9).rngs("rise masks")]
    for found, error, item, own in zip(a.values, a.error, X, seeds, strict=True):
        values, jackknife = slow.rise(score, item, np.zeros(ITEM), own, samples, cells, keep)
        np.testing.assert_allclose(found, values, atol=1e-5)
        np.testing.assert_allclose(error, jackknife, rtol=0.1)  # two estimates of one thing, equal up to order 1/M
