"""One operator as a rule sees it: the graph room's ``xplain.core.rules.Call``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from onnx import NodeProto, TensorProto

from xplain.core.errors import ModelError, UnsupportedOperator, UsageError
from xplain.core.facts import Facts
from xplain.core.rules import Kind, Place, Rules
from xplain.graph.analysis.quantised_relu import rectifies
from xplain.graph.analysis.signs import never_negative
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.naming import reads
from xplain.graph.nodes import attributes_of
from xplain.graph.operators import Operator, facts_of, find_operator, key_of
from xplain.graph.ops.gelu import Gelu

__all__ = ["Context", "Forward", "NodeCall", "Visit", "carriers", "live_of", "rounds"]


def carriers(node: NodeProto, live: Set[str]) -> list[bool]:
    """For each input, whether it depends on a tap and carries a derivative to the outputs."""
    operator = find_operator(node)
    flow = None if operator is None else operator.flow
    return [bool(n) and n in live and (flow is None or k in flow) for k, n in enumerate(reads(node))]


@dataclass(eq=False)
class Forward:
    """One evaluation of the model inside the graph being built: the model's own, or a copy of it on another input.

    Args:
        nodes: The nodes in order; in a copy, nodes that do not depend on the other input are the model's own.
        names: The model's tensor name to its name here; names that are missing are the same.
        parts: The evaluations that it is made of, where the model is evaluated several times in it.
    """

    nodes: list[NodeProto]
    names: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[Forward, ...] = ()

    def name(self, tensor: str) -> str:
        """What the model's ``tensor`` is called here."""
        return self.names.get(tensor, tensor)


Walk: TypeAlias = "Callable[[Context, Mapping[str, Value]], dict[str, list[Value]]]"
"""``(context, seeds) -> cotangents that met at each tensor``; see ``xplain.graph.reverse.walk``."""


@dataclass(eq=False)
class Context:
    """What the calls of one sweep share."""

    tracer: Tracer
    forward: Forward
    rules: Rules
    reference: Forward | None = None
    live: Set[str] = frozenset()
    places: Mapping[int, frozenset[Place]] = field(default_factory=dict)
    memo: dict[Any, Any] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    gelus: Mapping[str, Gelu] = field(default_factory=dict)
    behind: Set[str] = frozenset()  # tensors that a weighted operator leads to
    leading: Set[str] = frozenset()  # tensors that lead to a seed by way of a weighted operator
    above: bool = False  # whether a weighted operator lies between this graph, a branch, and the seed
    masked: bool = False  # a Where was passed: what it dropped is zero, whatever the forward pass holds there
    steps: Mapping[str, str] = field(default_factory=dict)  # integers to the real number that one of them stands for
    walk: Walk | None = None  # who walks: rules of control flow have the graphs inside walked by the same

    def __post_init__(self) -> None:
        self.makers = {name: k for k, node in enumerate(self.forward.nodes) for name in node.output if name}

    def inner(self, context: Context, start: Mapping[str, Value]) -> dict[str, list[Value]]:
        """Walk a graph that a node of this one holds, by whoever walks this one."""
        assert self.walk is not None, "rules are asked during a walk"
        return self.walk(context, start) if start else {}

    def call(self, index: int) -> NodeCall:
        """The call for node ``index``."""
        node = self.forward.nodes[index]
        return NodeCall(self, node, carriers(node, self.live), index)


def live_of(t: Tracer, forward: Forward, taps: set[str]) -> set[str]:
    """Tensors that depend on a tap by a derivative."""
    live = set(taps)
    for node in forward.nodes:
        if facts_of(node).flat or not any(carriers(node, live)) or rounds(t, node):
            continue
        live.update(name for name in node.output if name)
    return live


def rounds(t: Tracer, node: NodeProto) -> bool:
    """Whether a node turns real numbers into whole ones, which has no derivative."""
    kinds = [t.dtypes.get(name) for name in (node.input[0], node.output[0])] if node.op_type == "Cast" else []
    return bool(kinds) and kinds[0] in FLOATS and kinds[1] not in FLOATS


@dataclass(frozen=True)
class Visit:
    """What one node received and passed on during a walk."""

    call: NodeCall
    received: tuple[Value | None, ...]
    passed: tuple[Value | None, ...]


class NodeCall:
    """A node with its tensors, its VJP, and the means to evaluate it again; see ``xplain.core.rules.Call``."""

    def __init__(self, context: Context, node: NodeProto, active: Sequence[bool], index: int) -> None:
        tracer = context.tracer
        self.context, self.node, self.active, self.index = context, node, list(active), index
        self.inputs: list[Value | None] = [tracer.value(n) if n else None for n in reads(node)]
        self.outputs: list[Value | None] = [tracer.value(n) if n else None for n in node.output]
        self.attributes: dict[str, Any] = attributes_of(node)
        self.op = key_of(node)

    # ------------------------------------------------------------------ what a rule sees

    @property
    def t(self) -> Tracer:
        """The graph being built."""
        return self.context.tracer

    @property
    def name(self) -> str:
        """Name of the node, or of its first output."""
        return self.node.name or next(n for n in self.node.output if n)

    @property
    def operator(self) -> Operator:
        """What the graph room knows of this operator.

        Raises:
            UnsupportedOperator: it has no backward rule.
        """
        operator = find_operator(self.node)
        if operator is None:
            raise UnsupportedOperator(
                f"Node {self.name!r}: operator {self.op} (opset {self.t.opset}) has no backward rule."
            )
        return operator

    @property
    def facts(self) -> Facts:
        """What is known of the operator type."""
        return facts_of(self.node)

    @property
    def kind(self) -> Kind:
        """What the operator does to its active inputs."""
        operator = find_operator(self.node)
        return operator.kind_of(self) if operator is not None else "joint"

    @property
    def places(self) -> frozenset[Place]:
        """Whether a weighted linear operator stands first, last, both or neither."""
        return self.context.places.get(self.index, frozenset())

    @property
    def weighted(self) -> bool:
        """Whether a linear operator has a weight."""
        return self.kind == "linear" and self.w is not None

    @property
    def rectifies(self) -> bool:
        """Whether a quantiser's lower end is a ReLU."""
        nodes, makers = self.context.forward.nodes, self.context.makers
        return rectifies(self.node, lambda name: nodes[makers[name]] if name in makers else None, self.t.constants.get)

    def never_negative(self, index: int) -> bool:
        """Whether no element of input ``index`` can be below zero, whatever the item."""
        name, nodes, makers = reads(self.node)[index], self.context.forward.nodes, self.context.makers
        key = ("never negative", name)
        if key not in self.context.memo:
            self.context.memo[key] = never_negative(
                name, lambda one: nodes[makers[one]] if one in makers else None, self.t.constants.get
            )
        return bool(self.context.memo[key])

    @property
    def data_index(self) -> int:
        """Index of the first active input."""
        return self.active.index(True) if True in self.active else 0

    def _role(self, role: int | None) -> int | None:
        """The input that plays a role, by its index when input 0 is the data; operands change place with the data."""
        if role is None:
            return None
        index = 0 if role == self.data_index else role
        return index if index < len(self.inputs) and self.inputs[index] is not None else None

    @property
    def x(self) -> Value:
        """The first active input."""
        return self.need(self.data_index)

    @property
    def w(self) -> Value | None:
        """The weight of a linear operator."""
        index = self._role(self.operator.weight)
        return None if index is None else self.inputs[index]

    @property
    def b(self) -> Value | None:
        """The bias of a linear operator."""
        index = self._role(self.operator.bias)
        return None if index is None else self.inputs[index]

    @property
    def y(self) -> Value:
        """The first output."""
        return self.t.value(self.node.output[0])

    @property
    def axes(self) -> list[int]:
        """The axes that a softmax runs over, counted from 0.

        Raises:
            UnsupportedOperator: the operator runs over none.
        """
        found = self.operator.axes
        if found is None:
            raise self.refuse("it runs over no axes")
        return found(self)

    @property
    def xp(self) -> Any:
        """Functions on values, named as in the array API."""
        return self.y.__array_namespace__()

    @property
    def memo(self) -> dict[Any, Any]:
        """What rules of this sweep keep for each other."""
        return self.context.memo

    def forward(self, x: Value, w: Value | None = None, b: Value | None = None) -> NodeCall:
        """A linear operator once more, on other data, weight and bias."""
        inputs: list[Value | None] = list(self.inputs)
        inputs[self.data_index] = x
        for role, value in ((self.operator.weight, w), (self.operator.bias, b)):
            index = self._role(role)
            if index is not None:
                inputs[index] = value
            elif value is not None and role is not None:
                inputs.extend([None] * (role + 1 - len(inputs)))
                inputs[role] = value
        while inputs and inputs[-1] is None:
            inputs.pop()
        return self.again(*inputs)

    def again(self, *inputs: Value | None) -> NodeCall:
        """Any operator once more on other inputs."""
        renamed = self.t.rename(self.node, {}, {n: self.t.fresh(n) for n in self.node.output if n})
        del renamed.input[:]
        renamed.input.extend("" if v is None else v.name for v in inputs)
        self.t.add(renamed)
        for old, new in zip(self.node.output, renamed.output, strict=True):
            # operators outside the standard set: nothing is inferred, and the old type is the new one
            if old and new and new not in self.t.shapes and old in self.t.shapes:
                self.t.shapes[new] = self.t.shapes[old]
        return NodeCall(self.context, renamed, (self.active + [False] * len(inputs))[: len(inputs)], self.index)

    def vjp(self, *g: Value | None) -> list[Value | None]:
        """The operator's own vector-Jacobian product, one entry per input."""
        if all(v is None for v in g):
            return [None] * len(self.inputs)
        found = list(self.operator.vjp(self, [*g, *[None] * (len(self.outputs) - len(g))]))
        return found + [None] * (len(self.inputs) - len(found))

    def back(self, g: Value) -> Value:
        """``vjp`` of the first output for the data input alone."""
        found = self.vjp(g)[self.data_index]
        return found if found is not None else self.t.zeros_like(self.x, g.dtype)

    def baseline(self) -> NodeCall:
        """The same operator in the forward pass on the baseline."""
        reference = self.context.reference
        if reference is None:
            raise UsageError("A rule compares with a baseline, but its table does not say reference=True.")
        return NodeCall(self.context, reference.nodes[self.index], self.active, self.index)

    def producer(self, index: int) -> NodeCall | None:
        """The operator that makes input ``index``."""
        maker = self.context.makers.get(reads(self.node)[index])
        return None if maker is None else self.context.call(maker)

    def shaped(self, g: Value, index: int) -> Value:
        """``g`` summed down to the shape of input ``index``."""
        return self.t.unbroadcast(g, self.need(index), self.y.shape)

    # ------------------------------------------------------------------ what an operator's own VJP sees besides

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute, or ``default`` where the node does not state it."""
        return self.attributes.get(name, default)

    def need(self, index: int) -> Value:
        """Input ``index``, which must be there."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ModelError(f"Node {self.name!r} ({self.op}) has no input {index}.")
        return value

    def has(self, index: int) -> bool:
        """Whether input ``index`` is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def static(self, index: int, attribute: str = "") -> Any:
        """Input ``index`` as a constant array, or the attribute that it was in older opsets; None where not known."""
        if self.has(index):
            return self.need(index).data
        return self.attributes.get(attribute)

    def extra_output(self, index: int, dtype: int = TensorProto.FLOAT) -> Value:
        """Ask the forward node for an optional output."""
        while len(self.node.output) <= index:
            self.node.output.append("")
        if not self.node.output[index]:
            name = self.t.fresh(self.node.output[0])
            self.node.output[index] = name
            self.t.dtypes[name] = dtype
            self.t.infer(self.node)
        return self.t.value(self.node.output[index])

    def refuse(self, why: str) -> UnsupportedOperator:
        """The error for a form of the operator that has no backward rule."""
        return UnsupportedOperator(f"Node {self.name!r}: operator {self.op} (opset {self.t.opset}): {why}.")
