"""The walk: from seeds backwards through the nodes that lead to a tap, asking each for its rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from onnx import GraphProto

from xplain.core.errors import UnsupportedOperator
from xplain.core.rules import Place
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.naming import reads, subgraphs_of
from xplain.graph.operators import facts_of, find_operator, key_of
from xplain.graph.ops.call import Context, Forward, NodeCall, Visit, carriers, live_of, rounds

__all__ = ["walk", "where_cut"]

_SLOPES = frozenset({"gradient", "multiplier"})
"""Meanings of a cotangent that have a unit; relevance has none."""


def walk(context: Context, start: Mapping[str, Value]) -> dict[str, list[Value]]:
    """Pull cotangents back.

    Args:
        context: The evaluation that is walked, its live tensors and the table of rules.
        start: Tensor name (in this evaluation) to cotangent.

    Returns:
        Tensor name to the cotangents that met there; their sum is the tensor's own.

    Raises:
        UnsupportedOperator: operators on the way have no rule; all are named.
    """
    t, live, rules = context.tracer, context.live, context.rules
    context.walk = walk
    way = _way(context, set(start))
    missing = [context.call(k) for k in way if find_operator(context.forward.nodes[k]) is None]
    if missing:
        named = ", ".join(f"{call.op} (node {call.name!r})" for call in missing[:6])
        more = f" and {len(missing) - 6} more" if len(missing) > 6 else ""
        raise UnsupportedOperator(f"No backward rule for {named}{more} (opset {t.opset}).{_hint(missing)}")
    if rules.entries:  # an operator's own VJP is the same wherever it stands
        context.places = _places(context, set(start))
    pending: dict[str, list[Value]] = {name: [value] for name, value in start.items()}
    for index in way:
        node = context.forward.nodes[index]
        if not any(name in pending and name in live for name in node.output):
            continue  # the rules after it passed nothing on
        call = context.call(index)
        received = [t.total(pending[n]) if n in pending else None for n in node.output]
        for name, value in zip(node.output, received, strict=True):
            if value is not None:
                pending[name] = [value]
        rule = rules.find(call)
        gelu = context.gelus.get(node.output[0])
        if rule is not None:
            if call.kind in ("linear", "sum", "product") and call.y.dtype not in FLOATS:
                raise call.refuse("relevance cannot be shared out over a sum of integers; gradients pass through it")
            passed = list(rule(call, received))
        elif gelu is not None and received[0] is not None:
            passed = [received[0] * gelu.slope(t), None]  # x alone: the gate's own way to it is in the slope
        else:
            passed = _per_real(call, _own(call, received)) if rules.meaning in _SLOPES else _own(call, received)
        for name, active, value in zip(reads(node), call.active, passed, strict=False):
            if active and value is not None:
                pending.setdefault(name, []).append(value)
        context.masked = context.masked or call.op == "Where"
        context.visits.append(Visit(call, tuple(received), tuple(passed)))
    return pending


def _hint(missing: Sequence[NodeCall]) -> str:
    """What to do about operators that no rule could be written for."""
    if any(call.node.domain.endswith(".nchwc") for call in missing):
        return (
            " onnxruntime saved this file in the memory layout of one machine. Use the original file, or save the "
            "optimised one at level ORT_ENABLE_EXTENDED."
        )
    if any(call.node.domain == "com.microsoft" for call in missing):
        return (
            " onnxruntime's own operators are written out in standard ones, but not these, or not in the form that "
            "they have here. Use the file from before it was optimised or converted for another device."
        )
    return ""


def _own(call: NodeCall, received: Sequence[Value | None]) -> list[Value | None]:
    """The operator's VJP; an input that carries a derivative must get one."""
    passed = call.vjp(*received)
    for k, active in enumerate(call.active):
        if active and passed[k] is None and call.need(k).dtype in FLOATS:
            raise call.refuse(f"input {k} ({call.need(k).name!r}) depends on what is explained and has no rule")
    return passed


def _per_real(call: NodeCall, passed: Sequence[Value | None]) -> list[Value | None]:
    """What operators on quantised integers pass back is a slope per integer; a cotangent is one per real number."""
    if not call.facts.whole:
        return list(passed)
    t, steps = call.t, call.context.steps
    found = list(passed)
    for k, (name, value) in enumerate(zip(reads(call.node), passed, strict=False)):
        if value is not None and name in steps:
            found[k] = value / t.cast(t.value(steps[name]), value.dtype)
    return found


def _way(context: Context, start: set[str]) -> list[int]:
    """The nodes between the seeds and the taps, last first."""
    needed, way = set(start), []
    for k in range(len(context.forward.nodes) - 1, -1, -1):
        node = context.forward.nodes[k]
        active = carriers(node, context.live)
        if any(name in needed and name in context.live for name in node.output) and any(active):
            if facts_of(node).flat or rounds(context.tracer, node):
                continue
            way.append(k)
            needed.update(name for name, on in zip(reads(node), active, strict=True) if on)
    return way


def _places(context: Context, start: set[str]) -> dict[int, frozenset[Place]]:
    """Which weighted operators stand first behind the model's inputs, and which last before a seed.

    Counted over the whole model: a layer behind a tap in the middle is not the first.
    """
    t, forward = context.tracer, context.forward
    inputs = {forward.name(v.name) for v in t.model.graph.input}
    whole = replace(context, live=live_of(t, forward, inputs | context.live), memo={}, visits=[])
    calls = {k: whole.call(k) for k, node in enumerate(forward.nodes) if any(carriers(node, whole.live))}
    weighted = {k for k, call in calls.items() if find_operator(call.node) is not None and call.weighted}
    inside = {k for k, call in calls.items() if any(_weighs(graph) for graph in subgraphs_of(call.node))}
    behind = set(context.behind)  # tensors that a weighted operator leads to
    weighing, first = weighted | inside, set[int]()
    for k, call in calls.items():
        under = any(name in behind for name, on in zip(reads(call.node), call.active, strict=True) if on)
        if k in weighted and not under:
            first.add(k)
        if k in weighing or under:
            behind.update(call.node.output)
    # tensors that lead to a seed, and those of them by way of a weighted one
    needed, leading = set(start), set(start) if context.above else set[str]()
    last: set[int] = set()
    for k in reversed(calls):
        outputs = [name for name in calls[k].node.output if name in needed]
        if not outputs:
            continue
        over = any(name in leading for name in outputs)
        if k in weighted and not over:
            last.add(k)
        carried = [name for name, on in zip(reads(calls[k].node), calls[k].active, strict=True) if on]
        needed.update(carried)
        if k in weighing or over:
            leading.update(carried)
    context.behind, context.leading = behind, leading
    ends: dict[Place, set[int]] = {"first": first, "last": last}
    return {k: frozenset(place for place, at in ends.items() if k in at) for k in first | last}


def _weighs(graph: GraphProto) -> bool:
    """Whether a weighted operator stands in a branch."""
    return any(facts_of(node).weighted or any(_weighs(inner) for inner in subgraphs_of(node)) for node in graph.node)


def where_cut(t: Tracer, forward: Forward, tap: str, start: set[str]) -> str:
    """Why no cotangent arrived at a tap."""
    reached = {forward.name(tap)}
    stops = []
    for node in forward.nodes:
        if any(name in reached for name in reads(node)):
            if facts_of(node).flat or rounds(t, node) or not any(carriers(node, reached)):
                stops.append(f"{key_of(node)} (node {node.name or node.output[0]!r})")
            else:
                reached.update(node.output)
    wanted = ", ".join(sorted(start))
    if not stops:
        return f"There is no path from tensor {tap!r} to {wanted!r}: nothing that is computed from it leads there."
    return (
        f"There is no path with a derivative from tensor {tap!r} to {wanted!r}: it is cut at {', '.join(stops[:4])}. "
        "Explain a tensor behind the cut, such as an embedding."
    )
