"""One fused node in a file of its own: opened, it computes what the runtime's kernel does, and so does its slope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
from finite import session
from nets import FLOAT, model
from onnx import TensorProto, helper

from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build

__all__ = ["RNG", "Form", "check", "form", "one_node", "r"]

RNG = np.random.default_rng(5)


def r(*shape: int) -> np.ndarray:
    """Numbers of a standard normal distribution."""
    return RNG.normal(size=shape).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Form:
    """One setting of an operator.

    Args:
        op: Of com.microsoft.
        inputs: Arrays, None for those left out; the first is fed, the others are stored.
        outputs: Which outputs are read, all laid out flat behind each other when they are several.
        attributes: Of the node.
        opset: Of the file.
        free: Make the first axis of the fed input a free dimension.
        formula: What the operator computes, in float64, where onnxruntime has no kernel for this device.
        rounds: The values are quantised on their way, so that differences see steps.
    """

    op: str
    inputs: Sequence[Any]
    outputs: tuple[int, ...] = (0,)
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 18
    free: bool = True
    formula: Callable[..., np.ndarray] | None = None
    rounds: bool = False


def form(
    op: str,
    inputs: Sequence[Any],
    outputs: tuple[int, ...] = (0,),
    label: str = "",
    opset: int = 18,
    free: bool = True,
    formula: Callable[..., np.ndarray] | None = None,
    rounds: bool = False,
    **attributes: Any,
) -> Any:
    """A form as a parameter of a test."""
    name = "-".join([op, *([label] if label else []), *(f"{k}{v}" for k, v in attributes.items())])
    return pytest.param(Form(op, inputs, outputs, attributes, opset, free, formula, rounds), id=name)


def one_node(case: Form) -> onnx.ModelProto:
    """One fused node; the first input is fed. A net in front and behind, so that shapes must be known through it."""
    names = ["" if a is None else f"i{k}" for k, a in enumerate(case.inputs)]
    outputs = [f"mid{k}" if k in case.outputs else "" for k in range(max(case.outputs) + 1)]
    first = np.asarray(case.inputs[0])
    real = first.dtype == np.float32
    nodes = [
        helper.make_node("Identity" if real else "Cast", ["x"], ["i0"], **({} if real else {"to": TensorProto.UINT8})),
        helper.make_node(case.op, names, outputs, name="fused", domain="com.microsoft", **case.attributes),
    ]
    if len(case.outputs) > 1:
        flat = [f"flat{k}" for k in case.outputs]
        nodes += [helper.make_node("Reshape", [f"mid{k}", "line"], [f"flat{k}"]) for k in case.outputs]
        nodes += [helper.make_node("Concat", flat, ["y"], axis=0)]
    else:
        nodes += [helper.make_node("Cast", ["mid0"], ["y"], to=FLOAT)]
    stored = {f"i{k}": np.asarray(a) for k, a in enumerate(case.inputs) if a is not None and k}
    stored["line"] = np.array([-1])
    shape = ["N" if case.free else first.shape[0], *first.shape[1:]]
    return model(nodes, {"x": (FLOAT, shape)}, {"y": (FLOAT, None)}, stored, opset=case.opset, com_microsoft=1)


def check(case: Form) -> None:
    """Opened forward values against the runtime's own operator, and the gradient against its differences."""
    made, x = one_node(case), np.asarray(case.inputs[0])
    fed = x.astype(np.float32)
    if case.formula is None:
        runner = session(made)

        def compute(x: np.ndarray) -> np.ndarray:
            return np.asarray(runner.run(None, {"x": x.astype(np.float32)})[0]).astype(np.float64)
    else:
        rest = [None if a is None else np.asarray(a) for a in case.inputs[1:]]
        formula = case.formula

        def compute(x: np.ndarray) -> np.ndarray:
            return formula(x.astype(np.float64), *rest, **case.attributes)

    wanted = compute(fed)
    tap = "mid0" if x.dtype != np.float32 else "x"  # integers have no cotangent, but their operators are opened too
    built = build(made, [tap], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    assert "fused" not in {n.name for n in built.model.graph.node}
    assert {n.domain for n in built.model.graph.node} <= {"", "ai.onnx"}
    cot = RNG.normal(size=wanted.shape).astype(np.float32)
    y, found = session(built.model).run(["y", built.taps[tap][1]], {"x": fed, "cot": cot})
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=2e-5)
    if tap == "x" and not case.rounds:
        _against_differences(compute, fed, cot, found, 5e-4 if case.formula is None else 1e-6)


def _against_differences(
    compute: Callable[[np.ndarray], np.ndarray], x: np.ndarray, cot: np.ndarray, found: np.ndarray, step: float
) -> None:
    """Directional differences; the runtime's are in float32, and some of the steps cross a kink."""
    away = []
    for seed in range(9):
        u = np.random.default_rng(seed).normal(size=x.shape)
        ahead, behind = ((compute(x + s * step * u) * cot).sum() for s in (1, -1))
        away.append(abs((ahead - behind) / (2 * step) - float((found * u).sum())))
    assert np.median(away) <= 1e-2 * float(np.linalg.norm(found))
