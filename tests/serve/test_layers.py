"""The layers that a page offers are those that the lens shows, whatever their shapes look like."""

from __future__ import annotations

import base64

import nets
import numpy as np
from made import attribution
from onnx import TensorProto, helper

import xplain
from xplain.core.positions.coordinates import Coordinates
from xplain.serve.served import served_as
from xplain.serve.telling import explanation


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
    assert offered == list(seen.facts["layers"]) == ["r"]  # what a transpose moves was seen before it


def test_a_model_that_shows_nothing_of_its_inside_offers_none():
    assert served_as("f", xplain.load(lambda x: x.reshape(len(x), -1)[:, :2])).layers() == []


def test_a_series_is_drawn_on_request_and_says_what_its_axes_measure():
    told = Coordinates(channels=("I", "II"), rate=250.0)
    one = attribution(np.ones((1, 2, 9)), layout="NCT", coordinates=told, signals=np.ones((1, 2, 9), np.float32))
    found = explanation(one, overlay=True)
    assert base64.b64decode(found["overlay"])[:4] == b"\x89PNG"
    assert found["coordinates"] == {"channels": ["I", "II"], "rate": 250.0}
    assert not {"overlay", "coordinates"} & explanation(attribution(np.ones((1, 4))), overlay=True).keys()
