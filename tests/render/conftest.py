"""Attributions made by hand: drawing is tested without any model."""

from __future__ import annotations

import made
import numpy as np
import pytest

from xplain.core.cost import Cost
from xplain.results.attribution import Attribution


@pytest.fixture
def make():
    """A function that makes an attribution from values ``[N, ...]``; other fields by name."""

    def attribution(values, **fields) -> Attribution:
        array = np.asarray(values, np.float32)
        plain = {
            "unit": "delta logit when hidden",
            "method": "occlusion",
            "options": {"patch": 16, "stride": 8},
            "scores": np.arange(len(array), dtype=np.float64) + 1.5,
            "names": tuple(f"picture {n}.png" for n in range(len(array))),
            "labels": (3,) * len(array),
            "cost": Cost(queries=226, seconds=1.25),
        }
        return made.attribution(array, **{**plain, **fields})

    return attribution


@pytest.fixture
def scene() -> np.ndarray:
    """A small picture with structure in every channel, uint8 ``[1, 24, 32, 3]``."""
    y, x = np.mgrid[0:24, 0:32]
    return np.stack([x * 8, y * 10, 255 - x * 4 - y * 4], axis=2).astype(np.uint8)[None]


@pytest.fixture
def hills() -> np.ndarray:
    """A smooth signed map with one positive and one negative hill, ``[1, 24, 32]``."""
    y, x = np.mgrid[0:24, 0:32]

    def hill(row, column, width):
        return np.exp(-((y - row) ** 2 + (x - column) ** 2) / (2 * width**2))

    return (2.0 * hill(8, 9, 4) - 1.2 * hill(16, 24, 3))[None]
