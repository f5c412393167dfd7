"""Reverse mode on an ONNX graph: a model goes in, a model comes out that also returns cotangents.

    built = build(model, taps=("input", "conv5"), seeds=(Seed("logits"),))
    session = onnxruntime.InferenceSession(built.model.SerializeToString())
    found = session.run(None, {"x": x, "target": classes})          # classes: int64 [N]
    value, cotangent = built.taps["conv5"]                          # names of outputs

What arrives at a tap depends on the table of rules: with the empty table it is d(target)/d(tap), with an LRP table
relevance, with DeepLIFT multipliers of ``x - baseline`` (the graph then has one more input, ``baseline``).

The walk: (1) tensors that depend on a tap are live; (2) from the seeds backwards, each node that has a cotangent and a
live input is asked for its rule; (3) cotangents that meet at a tensor are added. Any number of taps and seeds go
through one walk, and it stops at the taps: Grad-CAM of a ResNet-18 needs 80 nodes for its 49.

``Sweeper`` is the same in steps, for whoever goes on building (``xplain compile``): it holds the tracer, evaluates the
model again on other values, and sweeps any of these evaluations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from onnx import ModelProto, TensorProto

from xplain.core.errors import ModelError, UsageError, unknown
from xplain.core.rules import Rules
from xplain.graph import ops as _ops  # noqa: F401  (importing it fills the table of operators)
from xplain.graph.analysis.quantised import Quantised, quantised_tensors
from xplain.graph.build.emit import emit
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.naming import subgraphs_of
from xplain.graph.operators import facts_of
from xplain.graph.ops.call import Context, Forward, NodeCall, Visit, live_of
from xplain.graph.ops.gelu import Gelu
from xplain.graph.passes import Analysed, Prepared, prepare
from xplain.graph.reverse.apart import from_baseline
from xplain.graph.reverse.balance import balance
from xplain.graph.reverse.biases import biases_of
from xplain.graph.reverse.evaluated import evaluated
from xplain.graph.reverse.formulas import attach
from xplain.graph.reverse.gates import Gates
from xplain.graph.reverse.seeds import Seed, plant
from xplain.graph.reverse.walk import walk, where_cut

__all__ = ["BASELINE", "GIVEN", "INPUT", "KEPT", "Begun", "Built", "Returns", "Sweeper", "build"]

INPUT = "input"
"""The name under which a tap means the model's first input."""

BASELINE = "baseline"
"""The input of an emitted graph that holds the reference items of DeepLIFT."""

GIVEN = "layer values"
"""The input of an emitted graph that holds the values of the layer that a sweep starts at."""


KEPT = "kept/"
"""Before the name of a tensor: the output of ``Built.before`` that is fed to the sweep as that tensor."""


@dataclass(frozen=True)
class Returns:
    """What an emitted model returns besides its taps.

    Args:
        own: The model's own outputs, first.
        reads: Tensors whose values are returned, of both evaluations where rules compare two.
        report: What each node received and passed on, summed over the batch; feed one item to explain it.
        apart: What is computed from the baseline alone is a model of its own, ``Built.before``.
        known: Taps whose values are not returned, because whoever asks has them.
        gates: Each rectifier has a gate behind it, an input, and what the target rises by each is returned.
    """

    own: bool = False
    reads: Sequence[str] = ()
    report: bool = False
    apart: bool = False
    known: Set[str] = frozenset()
    gates: bool = False


@dataclass(frozen=True)
class Built:
    """An emitted model and what its outputs are.

    Args:
        model: The model. Its inputs: those of the original, one per seed, and ``baseline`` where the rules need it.
        taps: Tap to the names of two outputs: its value, empty where that is known, and its cotangent.
        reads: Tensors that were to be read, each with the names of two outputs: its values, and those on the baseline,
            which is empty where there is none.
        before: What is computed from the baseline alone, as a model of its own, where that was asked for. Its outputs
            are inputs of ``model``, with ``KEPT`` before their names, and what is read on the baseline.
        report: Nodes in the order they were visited, where a report was asked for. Output ``received``
            ``[len(report)]`` is what reached each node's outputs, summed over the batch, ``passed`` what it gave to
            its inputs; see ``xplain.graph.reverse.balance``.
        biases: What operators add of themselves, where the rules ask for it: a key to the name of its output.
        worth: What the target rises by gates: a gate's name, as of its input, to the name of the output.
        notes: Sentences that a person should read.
    """

    model: ModelProto
    taps: Mapping[str, tuple[str, str]]
    reads: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    before: ModelProto | None = None
    report: tuple[str, ...] = ()
    biases: Mapping[str, str] = field(default_factory=dict)
    worth: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Begun:
    """The evaluations that a sweep goes through, and where it starts.

    Args:
        forward: The evaluation that is walked.
        reference: The one that rules compare with; None for rules that do not.
        seeds: Tensor to its cotangent.
        inputs: Names of the inputs that were added to the graph.
        gates: Those behind the rectifiers; None where there are none.
    """

    forward: Forward
    reference: Forward | None
    seeds: Mapping[str, Value]
    inputs: tuple[str, ...]
    gates: Gates | None = None


@dataclass(eq=False)
class Sweeper:
    """A model with the tools to differentiate it, in steps.

    Args:
        prepared: What ``passes.prepare`` made of the model.
    """

    prepared: Prepared
    tracer: Tracer = field(init=False)
    forward: Forward = field(init=False)
    visits: list[Visit] = field(default_factory=list)
    quantised: Mapping[str, Quantised] = field(init=False)

    def __post_init__(self) -> None:
        self.tracer = Tracer(self.prepared.model, self.prepared.folder, self.prepared.weights)
        self.forward = Forward(self.tracer.forward)
        self.quantised = quantised_tensors(self.tracer.forward, self.tracer.shapes.get)

    @property
    def input(self) -> str:
        """Name of the model's first input."""
        return str(self.prepared.model.graph.input[0].name)

    def resolve(self, tap: str) -> str:
        """The tensor that a tap names.

        Raises:
            UnknownName: there is none; the nearest names are given.
        """
        if tap in self.tracer.dtypes or tap in self.tracer.producers:
            return tap
        if tap == INPUT:
            return self.input
        raise unknown("layer", tap, [n for n in self.tracer.producers if not self.tracer.value(n).constant])

    def value(self, name: str, forward: Forward | None = None) -> Value:
        """A tensor as real numbers, which integers of a quantised model stand for.

        Args:
            name: The tensor, as ``resolve`` gives it.
            forward: The evaluation that it is of; the model's own when not given.
        """
        t, forward = self.tracer, forward or self.forward
        own, way = t.value(forward.name(name)), self.quantised.get(name)
        if way is None:
            return own
        parameters = [t.value(forward.name(part)) for part in way.parameters]
        real = t.emit("DequantizeLinear", own, *parameters, domain=way.domain, shape=own.shape, **way.along)
        t.dtypes[real.name] = parameters[0].dtype
        return t.value(real.name)

    def integers(self, name: str, real: Value) -> Value:
        """Real numbers as the tensor ``name`` holds them: in its own type, or as integers that stand for them."""
        t, way = self.tracer, self.quantised.get(name)
        if way is None:
            return t.cast(real, t.dtypes[name])
        parameters = [t.value(part) for part in way.parameters]
        told = way.along | ({"output_dtype": way.kind} if way.kind else {})
        scaled = t.cast(real, parameters[0].dtype)
        made = t.emit("QuantizeLinear", scaled, *parameters, domain=way.domain, shape=real.shape, **told)
        t.dtypes[made.name] = t.dtypes[name]
        return t.value(made.name)

    def begin(self, seeds: Sequence[Seed], rules: Rules, at: str | None = None, gated: bool = False) -> Begun:
        """The evaluations of a sweep as inputs of the graph: on the items, or on values given for the tensor ``at``.

        Raises:
            UnknownName: a seed, or ``at``, that is no tensor of the model.
            UsageError: a seed does not fit its tensor; gates in a sweep from a layer on, or beside a baseline.
        """
        t, inputs = self.tracer, [name for seed in seeds for name in seed.inputs]
        for name in (name for seed in seeds for name in seed.tensors):
            self.resolve(name)
        self.attach(seeds)
        start = self.input if at is None else self.resolve(at)

        def again(name: str) -> Forward:
            inputs.append(name)
            own = t.value(start)
            if at is None:
                return self.evaluate({start: t.input(name, own.dtype, own.shape)})
            return self.evaluate({start: self.integers(start, t.input(name, TensorProto.FLOAT, own.shape))})

        forward, gates = self.forward, Gates(self) if gated else None
        if gates is not None:
            if at is not None or rules.reference:
                raise UsageError("Gates stand in a sweep from the input on, of rules that compare with no baseline.")
            forward, inputs = gates.evaluated(), [*inputs, *gates.inputs]
        elif at is not None:
            forward = again(GIVEN)
        planted = plant(t, tuple(seeds), lambda name: self.value(name, forward))
        reference = again(BASELINE) if rules.reference else None
        return Begun(forward, reference, planted, tuple(inputs), gates)

    def attach(self, seeds: Sequence[Seed], given: Mapping[str, Value] | None = None) -> None:
        """Compute the formulas among seeds, in every evaluation; see ``xplain.graph.reverse.formulas.attach``."""
        attach(self.tracer, tuple(seeds), lambda name: self.value(self.resolve(name)), given)
        self.forward = Forward(self.tracer.forward)

    def evaluate(self, inputs: Mapping[str, Value]) -> Forward:
        """The model once more, on other values of some of its tensors; what does not depend on them is shared.

        Args:
            inputs: Tensor name to the value that takes its place.
        """
        return evaluated(self.tracer, self.forward, inputs)

    def sweep(
        self,
        seeds: Mapping[str, Value],
        taps: Sequence[str],
        rules: Rules,
        forward: Forward | None = None,
        reference: Forward | None = None,
    ) -> dict[str, Value]:
        """Walk backwards from seeds to taps.

        Args:
            seeds: Tensor name (of the model) to its cotangent.
            taps: Names of tensors, as ``resolve`` gives them.
            rules: How each operator passes cotangents on.
            forward: Which evaluation is walked; the model's own when not given.
            reference: The evaluation on the baseline, for rules that compare.

        Returns:
            Tap to cotangent.

        Raises:
            UnsupportedOperator: operators on the way have no rule; all are named.
            ModelError: no path leads from a tap to the seeds; it is said where it is cut.
        """
        forward = forward or self.forward
        here = {forward.name(tap): tap for tap in taps}
        start = {forward.name(name): value for name, value in seeds.items()}
        context = Context(self.tracer, forward, rules, reference, live_of(self.tracer, forward, set(here)))
        ways = {name: way for name, way in self.quantised.items() if way.axis is None}
        gelus: dict[str, Gelu] = {}
        steps: dict[str, str] = {}
        for one in forward.parts or (forward,):
            gelus.update((one.name(y), gelu.renamed(one.name)) for y, gelu in self.prepared.gelus.items())
            steps.update((one.name(name), one.name(way.scale)) for name, way in ways.items())
        context.gelus, context.steps = gelus, steps
        if rules.meaning == "relevance":
            start = {
                forward.name(name): self._shares(value, self.value(name, forward)) for name, value in seeds.items()
            }
        found = walk(context, start)
        self.visits.extend(context.visits)
        cut = [tap for name, tap in here.items() if name not in found]
        if cut:
            raise ModelError(where_cut(self.tracer, forward, cut[0], set(start)))
        return {tap: self._settled(found[name], tap, forward, reference) for name, tap in here.items()}

    def _shares(self, seed: Value, scores: Value) -> Value:
        """The relevance that starts: the scores times their seed, and none where that is 0, also of a score of -inf."""
        return self.tracer.where(seed.equal(0.0), 0.0, seed * scores)

    def _settled(self, found: Sequence[Any], tap: str, forward: Forward, reference: Forward | None) -> Value:
        """The sum of what arrived; rules that keep several cotangents for a tensor say which one counts at a tap."""
        total: Any = self.tracer.total(found)
        if not isinstance(total, Value) and reference is not None:
            total = total.settle(self.value(tap, forward), self.value(tap, reference))
        settled: Value = total
        return settled

    def finish(
        self,
        outputs: Mapping[str, Value],
        inputs: Sequence[str] = (),
        keep_outputs: bool = False,
        given: Set[str] = frozenset(),
    ) -> ModelProto:
        """The model with these outputs; see ``xplain.graph.build.emit.emit``."""
        return emit(self.tracer, outputs, inputs, keep_outputs, self.prepared.weights, given)


def build(
    model: ModelProto | Analysed,
    taps: Sequence[str],
    seeds: Sequence[Seed],
    rules: Rules | None = None,
    *,
    returns: Returns | None = None,
    at: str | None = None,
) -> Built:
    """A model that returns, for each tap, its value and its cotangent.

    Args:
        model: Any ONNX model; it is not changed. ``Analysed`` where there are several sweeps of one, or where weights
            lie outside it, which stay there.
        taps: Tensor names; ``"input"`` is the model's first input.
        seeds: What is pulled back; several are added.
        rules: How each operator passes cotangents on; None is the plain gradient.
        returns: What else it returns; None for nothing.
        at: Tensor whose values are given, as one more input ``GIVEN``; what does not pass it is computed of the items.

    Returns:
        The model and the names of its outputs.

    Raises:
        UsageError: no taps or seeds.
        UnknownName: a tap or seed that is no tensor of the model.
        UnsupportedOperator: operators on the way have no rule.
        ModelError: there is no path from a tap to the seeds.
    """
    if not taps or not seeds:
        raise UsageError("A sweep needs at least one tap and one seed.")
    rules, returns = rules or Rules(), returns or Returns()
    wanted = {*taps, *(name for seed in seeds for name in seed.tensors if name != INPUT), *([] if at is None else [at])}
    prepared = prepare(model, rules, wanted, as_it_is=returns.gates)
    sweeper = Sweeper(prepared)
    t = sweeper.tracer
    names = {tap: sweeper.resolve(tap) for tap in dict.fromkeys(taps)}
    begun = sweeper.begin(seeds, rules, at, returns.gates)
    forward, reference = begun.forward, begun.reference
    cotangents = sweeper.sweep(begun.seeds, list(names.values()), rules, forward, reference)
    outputs: dict[str, Value] = {}
    found, read = {}, {}
    for tap, name in names.items():
        found[tap] = ("" if tap in returns.known else f"value/{tap}", f"cotangent/{tap}")
        if found[tap][0]:
            outputs[found[tap][0]] = sweeper.value(name, forward)
        outputs[found[tap][1]] = cotangents[name]
    below: dict[str, Value] = {}
    for tensor in dict.fromkeys(returns.reads):
        read[tensor] = (f"read/{tensor}", f"below/{tensor}" if reference is not None else "")
        outputs[read[tensor][0]] = sweeper.value(sweeper.resolve(tensor), forward)
        if reference is not None:
            below[read[tensor][1]] = sweeper.value(sweeper.resolve(tensor), reference)
    visited: tuple[str, ...] = ()
    if returns.report:
        visited, outputs["received"], outputs["passed"] = balance(t, sweeper.visits, rules, reference)
    given, before = frozenset[str](), None
    if returns.apart and reference is not None and at is None:
        others = {v.name for v in prepared.model.graph.input} | {name for seed in seeds for name in seed.inputs}
        given = frozenset(from_baseline(t, outputs, BASELINE, others))
    if given:
        before = sweeper.finish(below | {KEPT + name: t.value(name) for name in sorted(given)}, [BASELINE])
    else:
        outputs |= below
    biases = biases_of(sweeper.visits, sweeper.value) if rules.biases else {}
    worth = (
        {} if begun.gates is None else {f"worth/{key}": one for key, one in begun.gates.worth(sweeper.visits).items()}
    )
    outputs |= biases | worth
    emitted = sweeper.finish(outputs, begun.inputs, returns.own, given)
    told = {name.removeprefix("worth/"): name for name in worth}
    notes = (*prepared.notes, *_unchanged(rules, sweeper))
    return Built(emitted, found, read, before, visited, {name: name for name in biases}, told, notes)


def _concerned(rules: Rules, call: NodeCall) -> bool:
    """Whether a table's fact is true of an operator, or of one in a graph that it holds."""
    bodies = [node for graph in subgraphs_of(call.node) for node in graph.node]
    return any(getattr(facts, rules.changes) for facts in (call.facts, *map(facts_of, bodies))) or call.rectifies


def _unchanged(rules: Rules, sweeper: Sweeper) -> list[str]:
    """A note where a table has nothing to change on the way."""
    if not rules.changes or any(_concerned(rules, v.call) for v in sweeper.visits):
        return []
    absent = rules.changes
    return [f"The rules {rules.name!r} change nothing here: there is no {absent} on the way. It is the plain gradient."]
