"""A score that is no number because another input is fixed to none is not blamed on the item."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper

import xplain
from xplain.core.errors import NonFinite

X = np.ones((2, 3), np.float32)
SAID = "Input 'n' is fixed to a value that holds NaN or infinity: look at that first"


def model(value, classes=2):
    """``scores = [n sum(x), sum(x)]``."""
    nodes = [
        helper.make_node("ReduceSum", ["x", "one"], ["sum"], keepdims=1),
        helper.make_node("Mul", ["sum", "n"], ["times"]),
        helper.make_node("Concat", ["times", "sum"], ["scores"], axis=1),
    ]
    inputs = {"x": (nets.FLOAT, ["N", 3]), "n": (nets.FLOAT, [1])}
    outputs = {"scores": (nets.FLOAT, ["N", classes])}
    file = nets.model(nodes, inputs, outputs, {"one": np.array([1], np.int64)}).SerializeToString()
    return xplain.load(file, input="x", fixed={"n": np.array([value], np.float32)})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("method", ["ablation", "saliency"])
def test_the_input_is_named(value, method):
    loaded = model(value)
    assert loaded.outline.facts["fixed to what is not finite"] == "'n'"
    for target in (None, 0):
        with pytest.raises(NonFinite, match=SAID) as caught:
            xplain.explain(loaded, X, method, target=target)
        assert "the preprocessing card, or name" not in str(caught.value)


def test_a_number_is_not_suspected():
    assert not model(2.0).outline.suspect
    with pytest.raises(NonFinite) as caught:
        xplain.explain(model(2.0), X * np.nan, "ablation")
    assert "is fixed" not in str(caught.value)
