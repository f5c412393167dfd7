"""Rule tables: how each operator passes a cotangent, or relevance, from its outputs back to its inputs. Pure data.

The walker in ``xplain.graph`` visits the operators of a model in reverse. For each it asks the table for a rule:

    gradient = Rules("gradient")                                             # empty: every operator uses its own VJP
    guided   = Rules("guided").on(Where(fact="rectifier"), GuidedRelu())     # one entry
    epsilon  = Rules("lrp-epsilon", ...).on(Where(kinds=("linear",)), Epsilon(1e-6))

A rule is a frozen dataclass with ``__call__(call, g)``, so a table can be compared, hashed, cached and printed. It sees
one operator as a ``Call`` and writes plain arithmetic on ``Value``s. It never needs to know which operator it is: an
operator offers only two things, to do it again on other inputs (``forward``) and its own backward step (``vjp``).
Every linear operator therefore gets every LRP rule from one line such as ``x * call.forward(x, w).back(R / z)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, Protocol, TypeAlias

from xplain.core.facts import Fact, Facts

__all__ = ["Call", "Cotangents", "Kind", "Meaning", "Place", "Rule", "Rules", "Value", "Where"]

Value: TypeAlias = Any
"""A tensor of the graph being built. It has arithmetic and comparisons, ``shape``, ``rank`` and ``dtype``."""

Cotangents: TypeAlias = Sequence[Any]
"""One entry per input (or output) of an operator; None where there is none. An entry is a value, or whatever the rules
of a table pass to each other: it must add with ``+`` and have ``settle(value, baseline value)``, called at a tap."""

Kind: TypeAlias = Literal["slope", "scale", "linear", "move", "sum", "product", "choice", "joint", "control"]
"""What an operator does to the inputs that lead to a tap:

| kind | meaning | examples |
|---|---|---|
| slope | each element by itself, y = f(x) | Relu, Gelu, Sigmoid, Exp, Clip, Pow by a constant |
| scale | each element times a constant | Mul and Div by weights, a folded normalisation |
| linear | mixes elements with weights | Conv, Gemm, MatMul by weights, AveragePool, ReduceMean |
| move | elements change place, none is mixed | Reshape, Transpose, Concat, Gather, Pad, Resize, Cast |
| sum | adds tensors | Add, Sub, Sum, Mean |
| product | bilinear in two tensors that both lead to a tap | Mul, MatMul, Div, Einsum |
| choice | one element wins | MaxPool, ReduceMax, Max, TopK |
| joint | an output depends on several inputs, not linearly | Softmax, LayerNormalization |
| control | holds graphs of its own, which are walked with the same table; no rule is for it | If |
"""

Place: TypeAlias = Literal["first", "last"]
"""Where a weighted linear operator stands: no other one between the input and it, or between it and the seed."""

Meaning: TypeAlias = Literal["gradient", "relevance", "probability", "multiplier"]
"""What arrives at a tap: a derivative; relevance, which is a share of the target's value; probability, which is a share
of the seed itself; or a multiplier of ``x - baseline``."""


Clipping: TypeAlias = Literal["", "guided", "deconvnet"]
"""What a table that changes nothing but activations that clip does there; see ``Rules``."""


class Call(Protocol):
    """One operator of the model as a rule sees it."""

    @property
    def op(self) -> str:
        """Operator type, such as ``"Conv"``; with its domain in front where that is not the standard one."""

    @property
    def name(self) -> str:
        """Name of the node, or of its first output where the node has none."""

    @property
    def facts(self) -> Facts:
        """What is known of the operator type."""

    @property
    def kind(self) -> Kind:
        """What the operator does to its active inputs."""

    @property
    def places(self) -> frozenset[Place]:
        """Whether a weighted linear operator stands first, last, both or neither."""

    @property
    def weighted(self) -> bool:
        """True for a linear operator with a weight (Conv, Gemm, MatMul), False for an average or a plain sum."""

    @property
    def rectifies(self) -> bool:
        """True for a quantiser whose lower end is a ReLU: its zero point is the least integer, and values lie below."""

    @property
    def inputs(self) -> Sequence[Value]:
        """All inputs; None for one that is left out."""

    @property
    def outputs(self) -> Sequence[Value]:
        """All outputs; None for one that is left out."""

    @property
    def active(self) -> Sequence[bool]:
        """For each input, whether it leads to a tap; only these need a cotangent."""

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes that the node states."""

    @property
    def x(self) -> Value:
        """The first active input: the data of a linear operator."""

    @property
    def w(self) -> Value | None:
        """The weight of a linear operator, None where it has none."""

    @property
    def b(self) -> Value | None:
        """The bias of a linear operator, None where it has none."""

    @property
    def y(self) -> Value:
        """The first output."""

    @property
    def axes(self) -> Sequence[int]:
        """The axes that a softmax runs over, counted from 0."""

    @property
    def xp(self) -> Any:
        """Functions on values, named as in the Python array API: where, maximum, minimum, abs, sum, zeros_like ..."""

    def forward(self, x: Value, w: Value | None = None, b: Value | None = None) -> Call:
        """A linear operator once more, on other data, weight and bias (None: none); ``.y`` is its result."""

    def again(self, *inputs: Value | None) -> Call:
        """Any operator once more on other inputs, all of them given."""

    def vjp(self, *g: Value | None) -> Cotangents:
        """The operator's own vector-Jacobian product: cotangents of outputs to cotangents of inputs."""

    def back(self, g: Value) -> Value:
        """``vjp`` of the first output, for the data input ``x`` alone."""

    def baseline(self) -> Call:
        """The same operator in the forward pass on the baseline; needs ``Rules(reference=True)``."""

    def producer(self, index: int) -> Call | None:
        """The operator that makes input ``index``, or None for a model input or a constant."""

    def never_negative(self, index: int) -> bool:
        """Whether no element of input ``index`` can be below zero, whatever the item: a ReLU made it, for example."""

    def shaped(self, g: Value, index: int) -> Value:
        """``g``, shaped like the first output, summed down to the shape of input ``index`` (undoes broadcasting)."""

    @property
    def memo(self) -> dict[Any, Any]:
        """What rules of this sweep keep for each other; shared by all calls of one sweep."""


class Rule(Protocol):
    """How an operator passes ``g``, one cotangent per output, back to its inputs."""

    def __call__(self, call: Call, g: Cotangents) -> Cotangents:
        """One cotangent per input; None where there is none."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which operators a rule is for. Every field that is given must match; none given matches all.

    Args:
        ops: Operator types.
        kinds: Kinds of operator.
        names: Patterns for node names, ``*`` and ``?`` as in a shell.
        place: Only weighted linear operators that stand here.
        weighted: Only operators with (or without) a weight.
        rectifies: Only quantisers that are (or are not) a ReLU.
        fact: Only operators of which this is known; see ``xplain.core.facts``.
    """

    ops: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    names: tuple[str, ...] = ()
    place: Place | None = None
    weighted: bool | None = None
    rectifies: bool | None = None
    fact: Fact = ""

    def matches(self, call: Call) -> bool:
        """Whether a rule for this place applies to ``call``."""
        return (
            (not self.ops or call.op in self.ops)
            and (not self.kinds or call.kind in self.kinds)
            and (not self.names or any(fnmatchcase(call.name, pattern) for pattern in self.names))
            and (self.place is None or (call.weighted and self.place in call.places))
            and (self.weighted is None or call.weighted == self.weighted)
            and (self.rectifies is None or call.rectifies == self.rectifies)
            and (not self.fact or bool(getattr(call.facts, self.fact)))
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """A table of rules; the newest entry that matches wins, and an operator without an entry uses its own VJP.

    Args:
        name: What a person reads.
        entries: ``(where, rule)`` pairs, oldest first.
        meaning: What arrives at a tap.
        reference: Whether rules compare with a second forward pass, on an input named ``baseline``.
        fold_norms: Whether batch normalisation is folded into the weights before the walk.
        opened: Whether composite operators are replaced by their definition in simpler ones before the walk.
        unrolled: Sequences are written out step by step, for rules that follow more than one number per tensor back
            through several operators; others walk one step, as the body of a loop.
        changes: The fact about operators that the table is about. When it is true of none in the model, the result is a
            plain gradient, and whoever asked is warned.
        clipping: The whole table in one word, for a runtime that differentiates by itself and shows no operators:
            activations that clip pass on the positive part of a cotangent, where they were open (``guided``) or
            wherever (``deconvnet``). Empty: the entries have to be walked.
        biases: What each operator adds of itself, beside what it passes on, is answered too, position by position: see
            ``xplain.graph.reverse.biases``.
    """

    name: str = "gradient"
    entries: tuple[tuple[Where, Rule], ...] = ()
    meaning: Meaning = "gradient"
    reference: bool = False
    fold_norms: bool = False
    opened: bool = False
    unrolled: bool = False
    changes: Fact = ""
    clipping: Clipping = field(default="", compare=False)  # says the same as the entries
    biases: bool = False

    def on(self, where: Where, rule: Rule) -> Rules:
        """A table with one more entry, which goes before all older ones; no word stands for it any more."""
        return replace(self, entries=(*self.entries, (where, rule)), clipping="")

    def said(self, clipping: Clipping) -> Rules:
        """The finished table, declared to do no more than ``clipping`` says; see ``Rules``."""
        return replace(self, clipping=clipping)

    def find(self, call: Call) -> Rule | None:
        """The rule for an operator; None for the operator's own VJP."""
        for where, rule in reversed(self.entries):
            if where.matches(call):
                return rule
        return None
