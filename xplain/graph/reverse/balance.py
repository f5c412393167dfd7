"""The conservation report: how much each node received during a walk, and how much it passed on.

    relevance, probability   the sum of what is passed itself
    multiplier               the sum of m (x - x0): what DeepLIFT conserves
    gradient                 the sum of g x

Read it with ``losses``, which names the nodes that break completeness, and ``first_broken``, which names the node that
made a NaN or an infinity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto

from xplain.core.rules import Rules
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.ops.call import Forward, Visit

__all__ = ["balance", "first_broken", "losses"]


def balance(
    t: Tracer, visits: Sequence[Visit], rules: Rules, reference: Forward | None
) -> tuple[tuple[str, ...], Value, Value]:
    """Add the sums to the graph.

    Returns:
        The nodes in the order they were visited, and for each what it received and what it passed on, ``[nodes]``.
        Nodes on integers are left out of multipliers and gradients, whose units differ there.
    """
    weighted = rules.meaning in ("multiplier", "gradient")

    def amount(g: Any, tensor: Value | None) -> Value | None:
        if g is None or tensor is None:
            return None
        if rules.meaning == "multiplier" and reference is not None:
            before = t.value(reference.name(tensor.name))
            g = (g if isinstance(g, Value) else g.settle(tensor, before)) * (tensor - before)
        elif rules.meaning == "gradient":
            g = g * tensor
        return t.sum(t.cast(g, TensorProto.FLOAT), keepdims=False)

    def column(gs: Sequence[Any], tensors: Sequence[Value | None]) -> Value:
        found = [amount(g, tensor) for g, tensor in zip(gs, tensors, strict=False)]
        there = [v for v in found if v is not None]
        return t.unsqueeze(t.total(there) if there else t.const(0.0, TensorProto.FLOAT), [0])

    kept = [visit for visit in visits if not weighted or _real(visit)]
    received = [column(visit.received, visit.call.outputs) for visit in kept]
    passed = [column(visit.passed, visit.call.inputs) for visit in kept]
    names = tuple(f"{visit.call.name} ({visit.call.op})" for visit in kept)
    return names, t.Concat(*received, axis=0), t.Concat(*passed, axis=0)


def _real(visit: Visit) -> bool:
    """Whether everything that takes part is a real number."""
    pairs = [
        *zip(visit.received, visit.call.outputs, strict=False),
        *zip(visit.passed, visit.call.inputs, strict=False),
    ]
    return all(tensor.dtype in FLOATS for g, tensor in pairs if g is not None and tensor is not None)


def losses(
    report: Sequence[str], received: np.ndarray[Any, Any], passed: np.ndarray[Any, Any]
) -> list[tuple[str, float]]:
    """Nodes by how much they kept (received minus passed on), largest first; what they invented is negative."""
    lost = received.astype(np.float64) - passed.astype(np.float64)
    return [(report[k], float(lost[k])) for k in np.argsort(-np.abs(lost), kind="stable")]


def first_broken(report: Sequence[str], received: np.ndarray[Any, Any], passed: np.ndarray[Any, Any]) -> str | None:
    """The first node, from the target backwards, that received numbers and passed on none; None where all is well."""
    for name, before, after in zip(report, received, passed, strict=True):
        if np.isfinite(before) and not np.isfinite(after):
            return name
    return None
