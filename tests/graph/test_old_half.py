"""Files of opset 7 in half precision, as they were published, can be raised; values are those in float32."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import helper, numpy_helper

from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.rules import lrp_tables as lrp
from xplain.rules.deeplift import RESCALE

RNG = np.random.default_rng(0)
CONV = helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
WEIGHTS = {"w": RNG.normal(size=(4, 3, 3, 3)) * 0.3, "b": RNG.normal(size=4) * 0.3, "a": RNG.random((4, 1, 1))}
END = [helper.make_node("GlobalAveragePool", ["e"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
MIDDLES = {
    "clip": [CONV, helper.make_node("Clip", ["c"], ["e"], min=-0.5, max=0.5)],
    "pad": [CONV, helper.make_node("Pad", ["c"], ["d"], pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.25),
            helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[3, 3], strides=[2, 2])],
    "scaler": [helper.make_node("ImageScaler", ["x"], ["i"], scale=0.5, bias=[0.1, -0.2, 0.3]),
               helper.make_node("Conv", ["i", "w", "b"], ["c"], kernel_shape=[3, 3]),
               helper.make_node("PRelu", ["c", "a"], ["e"])],
    "dropout": [CONV, helper.make_node("Dropout", ["c"], ["d"], ratio=0.5), helper.make_node("Elu", ["d"], ["e"])],
}  # fmt: skip


def net(middle: str, dtype: type) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    used = {name for node in MIDDLES[middle] for name in node.input}
    stored = [numpy_helper.from_array(v.astype(dtype), k) for k, v in WEIGHTS.items() if k in used]
    graph = helper.make_graph(
        [*MIDDLES[middle], *END],
        middle,
        [helper.make_tensor_value_info("x", kind, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", kind, None)],
        stored,
    )
    graph.input.extend(helper.make_tensor_value_info(t.name, kind, list(t.dims)) for t in stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], ir_version=3)


@pytest.mark.parametrize("rules", [Rules(), RESCALE, lrp.epsilon(epsilon=0.1)], ids=lambda table: table.name)
@pytest.mark.parametrize("middle", MIDDLES)
def test_it_is_raised(middle: str, rules: Rules) -> None:
    x, x0 = (np.random.default_rng(k).normal(size=(2, 3, 8, 8)) for k in (1, 2))
    found = []
    for dtype in (np.float16, np.float32):
        built = build(net(middle, dtype), ["input"], [Seed("y")], rules, returns=Returns(own=True))
        feeds = {"x": x.astype(dtype), "target": np.array([1, 2])}
        feeds |= {"baseline": x0.astype(dtype)} if rules.reference else {}
        found.append([v.astype(float) for v in session(built.model).run(["y", "cotangent/input"], feeds)])
    np.testing.assert_allclose(found[0][0], found[1][0], atol=5e-3)
    assert np.corrcoef(found[0][1].ravel(), found[1][1].ravel())[0, 1] > 0.98
