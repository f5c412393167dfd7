"""Gates behind the rectifiers of a model: each unit's activation counts by a factor that is given with the question.

    gates = Gates(sweeper)
    forward = gates.evaluated()                         # the model once more, every rectifier's output times its gate
    found = sweeper.sweep(seeds, taps, rules, forward)
    gates.worth(sweeper.visits)                         # {"gate of relu3": d target / d gate}, as one more output each

A gate ``z`` stands behind what a rectifier makes, ``a``, and the model goes on with ``z a``. What the target rises when
the gate opens is ``a`` times the cotangent of ``z a``. A gate's input broadcasts, so one number may stand for all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from onnx import NodeProto, TensorProto

from xplain.core.swept import GATE
from xplain.graph.analysis.quantised_relu import rectifies
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.operators import facts_of
from xplain.graph.ops.call import Forward, Visit
from xplain.graph.reverse.evaluated import evaluated

__all__ = ["Gates"]


class Evaluates(Protocol):
    """What gates are put into; ``xplain.graph.reverse.sweep.Sweeper`` is one."""

    tracer: Tracer
    forward: Forward
    quantised: Mapping[str, Any]

    @property
    def input(self) -> str:
        """Name of the model's first input."""

    def value(self, name: str, forward: Forward | None = None) -> Value:
        """A tensor as real numbers."""

    def integers(self, name: str, real: Value) -> Value:
        """Real numbers as the tensor holds them."""


class Gates:
    """The gates of one evaluation.

    Args:
        sweeper: The model; the graph grows.

    ``inputs`` are the names of the graph's inputs that hold the gates.
    """

    def __init__(self, sweeper: Evaluates) -> None:
        self._sweeper, self._tracer = sweeper, sweeper.tracer
        self._gated: dict[str, tuple[str, Value]] = {}  # what a gate makes: its name, and what it was given
        self.inputs: list[str] = []

    def evaluated(self) -> Forward:
        """The model with a gate behind every rectifier, a quantiser that does the work of one among them."""
        return evaluated(self._tracer, self._sweeper.forward, {}, self._behind)

    def worth(self, visits: Sequence[Visit]) -> dict[str, Value]:
        """What the target rises by each gate, ``a g``, of those that a walk has passed; shaped like the activations."""
        found = {}
        for visit in visits:
            name, a = self._gated.get(visit.call.node.output[0], ("", None))
            if a is not None and visit.received[0] is not None:
                found[name] = self._tracer.cast(a * visit.received[0], TensorProto.FLOAT)
        return found

    def _behind(self, node: NodeProto, name: str, so_far: Forward) -> Value | None:
        t, facts = self._tracer, facts_of(node)
        if name != node.output[0] or t.constants.get(name) is not None:
            return None
        made = t.value(so_far.name(name))
        if not self._per_item(made):
            return None
        if facts.rectifier and made.dtype in FLOATS:
            return self._placed(name, made)
        if GATE + node.input[0] in self.inputs:
            return None  # the rectifier is there as a node too, and has a gate
        if not (
            facts.integer and name in self._sweeper.quantised and rectifies(node, t.producers.get, t.constants.get)
        ):
            return None
        return self._sweeper.integers(name, self._placed(name, self._sweeper.value(name, so_far)))

    def _per_item(self, made: Value) -> bool:
        """Whether the first axis is that of the items; of others nobody could say whose gates they are."""
        batch = self._tracer.shapes.get(self._sweeper.input)
        return (
            bool(made.shape)
            and bool(batch)
            and made.shape is not None
            and batch is not None
            and (made.shape[0] == batch[0] is not None)
        )

    def _placed(self, name: str, made: Value) -> Value:
        t, key = self._tracer, GATE + name
        gate = t.input(key, TensorProto.FLOAT, (None,) * made.rank)
        self.inputs.append(key)
        product = t.emit("Mul", made, t.expand_like(t.cast(gate, made.dtype), made), shape=made.shape)
        self._gated[product.name] = (key, made)
        return product
