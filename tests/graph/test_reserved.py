"""Models whose tensors are called what emitted graphs call their own inputs and outputs."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.errors import ModelError
from xplain.graph.seeds import Seed
from xplain.graph.sweep import build

FLOAT = TensorProto.FLOAT
W = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
X = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)


def net(inner="h", weight="w"):
    nodes = [helper.make_node("MatMul", ["x", weight], [inner]), helper.make_node("Relu", [inner], ["y"])]
    return nets.model(nodes, {"x": (FLOAT, ["N", 4])}, {"y": (FLOAT, ["N", 6])}, {weight: W})


@pytest.mark.parametrize("method", ["saliency", "deeplift", "lrp"])
@pytest.mark.parametrize("name", ["target", "baseline", "cotangent/x", "value/x", "received"])
def test_a_tensor_with_one_of_our_names_is_no_obstacle(name, method):
    found, wanted = (xplain.explain(xplain.load(model, threads=1), X, method, target=2) for model in (net(name), net()))
    np.testing.assert_array_equal(found.values, wanted.values)


@pytest.mark.parametrize("name", ["target", "attribution"])
def test_it_can_be_compiled_too(name):
    model = xplain.compile(xplain.load(net(name), threads=1), method="saliency")
    assert [v.name for v in model.graph.input] == ["x", "target"]
    assert "attribution" in [v.name for v in model.graph.output]


def test_a_name_that_must_stay_is_refused_with_what_to_do():
    with pytest.raises(ModelError, match="The model has a tensor 'target', .* Rename it in the model"):
        build(net(weight="target"), ["input"], [Seed("y")])
