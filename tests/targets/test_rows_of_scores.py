"""Scores of any axes: a row of them per item, to every kind of target."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from tests.targets import heads
from tests.targets.heads import picture
from xplain.core.target import inner


@pytest.mark.parametrize("target", ["margin:1,smooth", inner("", np.array([0.5, -2.0, 1.0]))], ids=["formula", "inner"])
def test_scores_of_any_axes_are_a_row_to_formulas_and_inner_products(target):
    """As SqueezeNet's ``[N, K, 1, 1]``."""
    x = np.concatenate([picture(a1=(1, 16.0), a2=(0, 8.0)), picture(a1=(2, 16.0), a2=(1, 8.0))])
    pool, flat = heads.node("GlobalAveragePool", "x", "scores"), heads.node("GlobalAveragePool", "x", "m")
    found = []
    for nodes, shape in (([pool], ["N", 3, 1, 1]), ([flat, heads.node("Flatten", "m", "scores")], ["N", 3])):
        model = xplain.load(heads.made(nodes, [("scores", heads.FLOAT, shape)]).SerializeToString())
        found.append(xplain.explain(model, x, "saliency", target=target, channels=True))
    assert np.array_equal(found[0].values, found[1].values)
    assert np.any(found[0].values)
    np.testing.assert_allclose(found[0].scores, found[1].scores, rtol=1e-6)
