"""Where numbers that are not finite come from: a sweep once more, with a flag per node in place of its cotangents.

Run after a sweep has failed, on one item. The walk goes from the seeds backwards, so the first node that received
finite cotangents and passed on others is the one whose derivative is not finite there. Often the cause lies in the
forward pass, in front of it: the first node that makes such a number from finite ones is named as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto

from xplain.core.edits import Array
from xplain.core.rules import Rules
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.ops.call import Visit
from xplain.graph.passes import Analysed, prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Sweeper

__all__ = ["FLAGS", "Probe", "probe"]

FLAGS = "not finite"
"""Output ``[4 * nodes]``, how many numbers are not finite."""


@dataclass(frozen=True)
class Probe:
    """A model that returns ``FLAGS``.

    Args:
        model: The model.
        nodes: Each visited node in words, in the order of the walk: last first.
    """

    model: ModelProto
    nodes: tuple[str, ...]

    def told(self, flags: Array) -> str:
        """One sentence on what the flags say; empty where they say nothing."""
        rows = np.asarray(flags).reshape(len(self.nodes), 4) > 0
        inputs, outputs, received, passed = rows.T
        made = np.flatnonzero(passed & ~received)
        forward = np.flatnonzero(outputs & ~inputs)[::-1]  # the walk goes backwards
        first = f"{self.nodes[forward[0]]} makes numbers that are not finite" if len(forward) else ""
        if not len(made):
            return f"{first} in the forward pass." if first else ""
        node = made[0]
        why = f", because {first} in the forward pass" if first and inputs[node] else ""
        return f"The derivative of {self.nodes[node]} is not finite at this item{why}."


def probe(
    model: ModelProto | Analysed,
    taps: Sequence[str],
    seeds: Sequence[Seed],
    rules: Rules,
    *,
    at: str | None = None,
) -> Probe:
    """The sweep that ``xplain.graph.reverse.sweep.build`` builds, returning flags; arguments as there."""
    wanted = {*taps, *(seed.tensor for seed in seeds), *([] if at is None else [at])}
    sweeper = Sweeper(prepare(model, rules, wanted))
    t, begun = sweeper.tracer, sweeper.begin(seeds, rules, at)
    sweeper.sweep(begun.seeds, [sweeper.resolve(tap) for tap in taps], rules, begun.forward, begun.reference)
    flags = [flag for visit in sweeper.visits for flag in _flags(t, visit)]
    nodes = tuple(f"{visit.call.op} (node {visit.call.name!r})" for visit in sweeper.visits)
    return Probe(sweeper.finish({FLAGS: t.Concat(*flags, axis=0)}, begun.inputs), nodes)


def _flags(t: Tracer, visit: Visit) -> list[Value]:
    """``[1]`` each: inputs, outputs, what was received, what was passed on."""
    return [_flag(t, some) for some in (visit.call.inputs, visit.call.outputs, visit.received, visit.passed)]


def _flag(t: Tracer, values: Sequence[object]) -> Value:
    """How many numbers are not finite. Cotangents that a rule keeps in a form of its own are passed over."""
    found = []
    for value in values:
        if isinstance(value, Value) and value.dtype in FLOATS and not value.constant:
            # x - x is 0 for finite numbers alone
            odd = t.cast(t.emit("Not", t.Equal(value - value, t.const(0.0, value.dtype))), TensorProto.FLOAT)
            found.append(t.reshape(t.sum(odd, keepdims=False), [1]))
    return t.total(found) if found else t.const(np.zeros(1, np.float32))
