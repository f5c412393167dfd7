"""Check the cotangents of a one-operator model against float64 finite differences along random directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Built, build

OPSET = 20


@dataclass(frozen=True, eq=False)
class Case:
    """One node to differentiate.

    Args:
        op: Operator type.
        inputs: Arrays, float64 where real; None for an input that is left out.
        wrt: Which inputs are differentiated; the other arrays become initializers unless ``fed``.
        attributes: Of the node.
        outputs: How many; all real ones are concatenated, the last of several is left unused.
        free: Make the first axis of the first input a free dimension.
        fed: Inputs that are fed rather than stored, besides ``wrt``.
        tolerance: Relative to the length of the gradient.
        step: Of the difference; larger where the reference computes in float32.
    """

    op: str
    inputs: Sequence[Any]
    wrt: tuple[int, ...] = (0,)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    opset: int = OPSET
    free: bool = False
    fed: tuple[int, ...] = ()
    tolerance: float = 2e-4
    step: float = 1e-6
    label: str = ""
    domain: str = ""

    def __str__(self) -> str:
        return f"{self.op}-{self.label}" if self.label else self.op

    def arrays(self, dtype: Any) -> list[Any]:
        out = [None if a is None else np.asarray(a) for a in self.inputs]
        return [a.astype(dtype) if a is not None and a.dtype == np.float64 else a for a in out]

    def feeds(self, dtype: Any) -> dict[str, np.ndarray]:
        return {f"i{k}": a for k, a in enumerate(self.arrays(dtype)) if k in self.wrt or k in self.fed}

    def model(self, dtype: Any) -> onnx.ModelProto:
        names, stored, fed = [], [], []
        for k, array in enumerate(self.arrays(dtype)):
            names.append("" if array is None else f"i{k}")
            if array is None:
                continue
            if k in self.wrt or k in self.fed:
                dims = [
                    "N" if self.free and axis == 0 and k == self.wrt[0] else n for axis, n in enumerate(array.shape)
                ]
                fed.append(helper.make_tensor_value_info(f"i{k}", helper.np_dtype_to_tensor_dtype(array.dtype), dims))
            else:
                stored.append(numpy_helper.from_array(array, f"i{k}"))
        outputs = [f"y{k}" for k in range(self.outputs)] if self.outputs > 1 else ["y"]
        nodes = [helper.make_node(self.op, names, outputs, name="node", domain=self.domain, **self.attributes)]
        if self.outputs > 1:
            stored.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "flat"))
            used = outputs[:-1]
            nodes += [helper.make_node("Reshape", [o, "flat"], [f"{o}f"]) for o in used]
            nodes.append(helper.make_node("Concat", [f"{o}f" for o in used], ["y"], axis=0))
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        graph = helper.make_graph(nodes, "case", fed, [helper.make_tensor_value_info("y", kind, None)], stored)
        imports = [helper.make_opsetid("", self.opset)]
        if self.domain:
            imports.append(helper.make_opsetid(self.domain, 1))
        return helper.make_model(graph, opset_imports=imports, ir_version=10)


def session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def gradient(case: Case) -> Built:
    return build(case.model(np.float32), [f"i{k}" for k in case.wrt], [Seed("y", "inner", "cot")])


def check(case: Case) -> None:
    """Assert that the emitted gradient agrees with differences of the forward pass."""
    rng = np.random.default_rng(7)
    built = gradient(case)
    onnx.checker.check_model(built.model, full_check=not case.domain)
    forward32 = session(case.model(np.float32))
    y = forward32.run(None, case.feeds(np.float32))[0]
    cotangent = rng.normal(size=y.shape)
    names = [built.taps[f"i{k}"][1] for k in case.wrt]
    given = {**case.feeds(np.float32), "cot": cotangent.astype(np.float32)}
    runner = session(built.model)
    found = runner.run(names, {v.name: given[v.name] for v in runner.get_inputs()})
    forward, feeds, step, tolerance = _exact(case, y)
    if forward is None:

        def forward(f: dict[str, np.ndarray]) -> np.ndarray:
            return forward32.run(None, {k: np.float32(v) if v.dtype == np.float64 else v for k, v in f.items()})[0]

        feeds, step, tolerance = case.feeds(np.float64), 1e-2, 2e-2
    for k, g in zip(case.wrt, found, strict=True):
        x = feeds[f"i{k}"]
        assert g.shape == x.shape
        for _ in range(6):
            u = rng.normal(size=x.shape)
            ahead, behind = (
                (forward({**feeds, f"i{k}": x + s * step * u}).astype(np.float64) * cotangent).sum() for s in (1, -1)
            )
            expected, got = (ahead - behind) / (2 * step), float((g.astype(np.float64) * u).sum())
            size = max(1e-3, float(np.linalg.norm(g)), abs(expected))
            assert abs(expected - got) <= tolerance * size, f"input {k}: expected {expected}, got {got}"


def _exact(case: Case, y: np.ndarray) -> tuple[Any, dict[str, np.ndarray], float, float]:
    """The reference evaluator in float64, where it knows the operator and agrees with the runtime."""
    try:
        evaluator = ReferenceEvaluator(case.model(np.float64))
        feeds = case.feeds(np.float64)
        with np.errstate(all="ignore"):
            same = evaluator.run(None, feeds)[0]
    except Exception:
        return None, {}, 0.0, 0.0
    if same.shape != y.shape or same.dtype != np.float64 or not np.allclose(same, y, atol=1e-4, rtol=1e-4):
        return None, {}, 0.0, 0.0
    return lambda f: evaluator.run(None, f)[0], feeds, case.step, case.tolerance


__all__ = ["Case", "TensorProto", "check", "gradient", "session"]
