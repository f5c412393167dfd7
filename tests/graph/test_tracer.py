"""A graph under construction takes the types it means, and no name twice."""

from __future__ import annotations

import numpy as np
import pytest

from tests.nets import cnn
from xplain.core.errors import ModelError
from xplain.core.rules import Rules
from xplain.graph.passes import prepare
from xplain.graph.reverse.sweep import Sweeper


def test_float64_beside_a_float32_tensor_becomes_float32_and_an_output_cannot_be_called_as_an_input() -> None:
    """What numpy makes float64 without being asked left nodes of mixed types, whose shape nobody knew."""
    sweeper = Sweeper(prepare(cnn(), Rules()))
    t = sweeper.tracer
    x = t.value(sweeper.input)
    product = t.Mul(x, np.float64(2) * np.ones((1, 1, 1, 1)))
    assert (product.shape, product.dtype) == (x.shape, x.dtype)
    with pytest.raises(ModelError, match="called .* as one of its inputs"):
        sweeper.finish({sweeper.input: product})
