"""ONNX's own node tests: the emitted file keeps the forward outputs, and its gradient agrees with differences."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from finite import session
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from xplain.graph.ops import operators
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build

# kinks at the very inputs, random numbers, training, or an operator that onnxruntime does not run in this version
SKIPPED = (
    "training",
    "dropout",
    "_identity_opt",
    "_identity_sequence",
    "bernoulli",
    "test_sign",
    "scan_sum",  # along a batch, as before opset 9, which the runtime refuses in words
    "_expanded",
    "float8",
    "FLOAT8",
    "FLOAT4",
    "BFLOAT16",
    "INT4",
    "UINT4",
    "uint4",
    "int4",
    "float4",
    "2bit",
    "INT2",
    # forms that are refused, with an error that says so
    "tf_crop_and_resize",
    "reduction_m",
    "scatternd_m",
    "scatter_with",  # a name that the reference evaluator no longer knows
    "_example",  # inputs on a kink; each has a random twin
)


# the runtime itself does not give the golden output, or the evaluator's function has another derivative
DIFFERENT = (
    "test_maxunpool_export_with_output_shape",
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
    "test_l1normalization_axis_last",  # without the absolute value
    "test_gelu_default_1",  # in float32
)


def cases() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases("")
    for case in found:
        graph = case.model.graph
        if len(graph.node) != 1 or graph.node[0].op_type not in operators() or graph.node[0].domain:
            continue
        if any(word in case.name for word in SKIPPED):
            continue
        floats = [v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT for v in (*graph.input[:1], *graph.output[:1])]
        if floats == [True, True]:
            yield pytest.param(case, id=case.name.removeprefix("test_"))


CASES = list(cases())


def test_there_are_many() -> None:
    assert len(CASES) > 350


@pytest.mark.parametrize("case", CASES)
def test_forward_and_gradient(case: Any) -> None:
    (inputs, outputs), names = case.data_sets[0], [v.name for v in case.model.graph.input]
    model, feeds = _with_constants(case.model, {n: np.asarray(a) for n, a in zip(names, inputs, strict=True)})
    y = model.graph.output[0].name
    try:
        plain = session(model).run([y], feeds)[0]
    except Exception as error:  # whatever onnxruntime raises for what it does not implement
        pytest.skip(f"onnxruntime does not run it: {str(error)[:60]}")
    built = build(model, [names[0]], [Seed(y, "inner", "cot")], returns=Returns(own=True))
    rng = np.random.default_rng(0)
    cotangent = rng.normal(size=np.shape(outputs[0])).astype(np.float32)
    given = {**feeds, "cot": cotangent}
    runner = session(built.model)
    given = {v.name: given[v.name] for v in runner.get_inputs()}
    forward, g = runner.run([y, built.taps[names[0]][1]], given)
    golden = plain if case.name in DIFFERENT else outputs[0]
    np.testing.assert_allclose(forward, golden, rtol=case.rtol, atol=max(case.atol, 1e-5))
    assert g.shape == feeds[names[0]].shape
    if case.name not in DIFFERENT:
        _check_gradient(model, feeds, names[0], cotangent, g, forward)


def _with_constants(
    model: onnx.ModelProto, feeds: dict[str, np.ndarray]
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Shapes, axes and indices as constants, which is how exporters write them."""
    fixed = onnx.ModelProto()
    fixed.CopyFrom(model)
    resize = model.graph.node[0].op_type in ("Resize", "Upsample")
    stored = {n for n, a in list(feeds.items())[1:] if resize or a.dtype != np.float32}
    fixed.graph.initializer.extend(numpy_helper.from_array(feeds[n], n) for n in stored)
    kept = [v for v in model.graph.input if v.name not in stored]
    del fixed.graph.input[:]
    fixed.graph.input.extend(kept)
    return fixed, {n: a for n, a in feeds.items() if n not in stored}


def _check_gradient(model: Any, feeds: Any, name: str, cotangent: Any, g: np.ndarray, forward: np.ndarray) -> None:
    evaluator = ReferenceEvaluator(model)
    wide = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in feeds.items()}

    def target(x: np.ndarray) -> float:
        found = np.asarray(evaluator.run(None, {**wide, name: x})[0])
        if found.dtype != np.float64 or found.shape != forward.shape:
            raise TypeError
        return float((found * cotangent).sum())

    x, step = wide[name], 1e-6
    u = np.random.default_rng(1).normal(size=x.shape)
    try:
        with np.errstate(all="ignore"):
            behind, here, ahead = (target(x + s * step * u) for s in (-1, 0, 1))
    except Exception:  # the evaluator does not compute this operator in float64
        return
    expected, size = (ahead - behind) / (2 * step), max(1e-3, float(np.linalg.norm(g)))
    if not abs(ahead - 2 * here + behind) <= 1e-3 * step * size:
        return  # a kink, a pole, or float32 inside
    assert abs(expected - float((g.astype(np.float64) * u).sum())) <= 2e-3 * size
