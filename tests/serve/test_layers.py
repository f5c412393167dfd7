"""The layers that a page offers are those that the lens shows, whatever their shapes look like."""

from __future__ import annotations

import nets
import numpy as np
from onnx import TensorProto, helper

import xplain
from xplain.serve.served import served_as


def series():
    """Series ``[N, 3, 12]``, whose layers have three axes; and a product of positions, whose four are no channels."""
    draws = np.random.default_rng(0)
    return nets.model(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
            helper.make_node("MatMul", ["t", "r"], ["likeness"]),
            helper.make_node("Unsqueeze", ["likeness", "one"], ["heads"]),
            helper.make_node("ReduceMean", ["heads"], ["flat"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["flat", "m"], ["scores"]),
        ],
        {"x": (TensorProto.FLOAT, ["N", 3, 12])},
        {"scores": (TensorProto.FLOAT, ["N", 2])},
        {
            "w": draws.normal(size=(4, 3, 3)).astype(np.float32),
            "m": draws.normal(size=(12, 2)).astype(np.float32),
            "one": np.array([1]),
        },
    )


def test_layers_of_a_series_are_offered_and_a_product_of_positions_is_not():
    model = xplain.load(series())
    shapes = {one.name: one.shape for one in model.outline.layers}
    assert len(shapes["heads"]) == 4
    offered = served_as("series", model).layers()
    seen = xplain.see(model, "activations", np.ones((1, 3, 12), np.float32), layer="all")
    assert offered == list(seen.facts["layers"]) == ["r", "t"]


def test_a_model_that_shows_nothing_of_its_inside_offers_none():
    assert served_as("f", xplain.load(lambda x: x.reshape(len(x), -1)[:, :2])).layers() == []
