"""The bridge to shap: the same numbers in the shapes its plots expect."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from xplain.core.errors import MissingDependency


@pytest.mark.slow
def test_values_and_shapes_survive(make, scene, hills):
    pytest.importorskip("shap")
    maps = make(hills, pictures=scene).to_shap()
    np.testing.assert_array_equal(maps.values[..., 0], hills.astype(np.float32))
    assert maps.data.shape == (1, 24, 32, 3)
    assert maps.base_values.tolist() == [0.0]
    channels = np.random.default_rng(0).normal(size=(1, 3, 24, 32)).astype(np.float32)
    np.testing.assert_array_equal(make(channels).to_shap().values, channels.transpose(0, 2, 3, 1))
    last = channels.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(make(last, pictures=scene).to_shap().values, last)
    table = make(np.ones((2, 5)), base=np.array([0.5, 0.25])).to_shap()
    assert table.values.shape == (2, 5)
    assert table.base_values.tolist() == [0.5, 0.25]


def test_without_shap_the_message_says_how_to_install_it(make, hills, monkeypatch):
    monkeypatch.setitem(sys.modules, "shap", None)
    with pytest.raises(MissingDependency, match=r"to_shap\(\) needs the package shap: pip install 'xplain\[compare\]'"):
        make(hills).to_shap()
