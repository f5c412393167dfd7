"""Masks of intervals: exact at their bounds, to the last bit, in every float type."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from xplain.graph.build.tracer import Tracer

TYPES = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64, TensorProto.FLOAT16: np.float16}


def masked(values: np.ndarray, dtype: int, low: float | None, high: float | None) -> tuple[np.ndarray, set[str]]:
    x = helper.make_tensor_value_info("x", dtype, ["N"])
    model = helper.make_model(
        helper.make_graph([], "mask", [x], []), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    t = Tracer(model)
    y = t.between(t.value("x"), low, high)
    built = model
    built.graph.node.extend(t.emitted)
    built.graph.initializer.extend(t.initializers)
    built.graph.output.append(helper.make_tensor_value_info(y.name, dtype, ["N"]))
    session = ort.InferenceSession(built.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": values})[0], {node.op_type for node in built.graph.node}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    ("low", "high"), [(0.0, None), (None, 6.0), (0.0, 6.0), (-3.0, 3.0), (0.25, 1e4), (-1e-3, 0.0)]
)
def test_numbers_next_to_a_bound_fall_on_their_side(dtype: int, low: float | None, high: float | None) -> None:
    kind = TYPES[dtype]
    near = []
    for bound in (low, high):
        if bound is not None:
            at = kind(bound)
            near += [at, np.nextafter(at, kind(np.inf)), np.nextafter(at, kind(-np.inf))]
    tiny = np.finfo(kind).tiny
    values = np.array(
        [v for v in near if v == 0 or abs(v) >= tiny] + [tiny, -tiny, 1, -1, 100, -100, np.inf, -np.inf], kind
    )
    wanted = np.ones(len(values), bool)
    wanted &= values > kind(low) if low is not None else True
    wanted &= values < kind(high) if high is not None else True
    got, operators = masked(values, dtype, low, high)
    assert got.dtype == kind
    assert np.array_equal(got, wanted.astype(kind)), dict(zip(values, got, strict=True))
    assert ("HardSigmoid" in operators) == (dtype == TensorProto.FLOAT)
