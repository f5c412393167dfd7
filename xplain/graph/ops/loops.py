"""Scan: one step of the way back is the body of a Scan that runs the other way.

    forward    s_{t+1}, y_t = body(s_t, x_t)                    and every s_t is kept
    back       ds_t, dx_t = walk(body at s_t, x_t)(ds_{t+1}, dy_t)

The body is evaluated again at each step and walked with the table of the sweep, on a baseline's values too where rules
compare. So every table passes through loops of any length, and the graph does not grow with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, helper

from xplain.graph.analysis.order import needed, ordered
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.dtypes import FLOATS
from xplain.graph.naming import reads
from xplain.graph.operators import backward
from xplain.graph.ops.call import Context, Forward, NodeCall, live_of

__all__: list[str] = []

_KEPT = "/entering"
"""Ends the names of the outputs by which a body hands out the states that it was given."""


@dataclass(frozen=True)
class _Loop:
    """A Scan node, read: its body, how many states and scanned tensors it has, and which way each of these is read."""

    call: NodeCall
    body: GraphProto
    states: int
    scanned: int
    back: Sequence[int]
    out_back: Sequence[int]

    @classmethod
    def of(cls, call: NodeCall) -> _Loop:
        if call.t.opset < 9 or (call.node.input and not call.node.input[0]):  # the lengths, which are optional there
            raise call.refuse("a Scan along a batch, as before opset 9, has no rule")
        scanned = int(call.attribute("num_scan_inputs"))
        body = next(a.g for a in call.node.attribute if a.name == "body")
        states = len(call.node.input) - scanned
        given = len(body.output) - states
        for name in ("scan_input_axes", "scan_output_axes"):
            if any(call.attribute(name) or []):
                raise call.refuse("a Scan along another axis than the first has no rule")
        back = list(call.attribute("scan_input_directions") or [0] * scanned)
        out_back = list(call.attribute("scan_output_directions") or [])
        return cls(call, body, states, scanned, back, out_back + [0] * (given - len(out_back)))

    def entering(self) -> list[Value]:
        """The states as each step found them, ``[T, *state]``, in the order of the steps: asked of the node itself."""
        t, node = self.call.t, self.call.node
        names = [f"{v.name}{_KEPT}" for v in self.body.input[: self.states]]
        have = [v.name for v in self.body.output]
        for state, name in zip(self.body.input, names, strict=False):
            if name in have:
                continue
            self.body.node.append(helper.make_node("Identity", [state.name], [name]))
            info = self.body.output.add()
            info.CopyFrom(state)
            info.name = name
            node.output.append(t.fresh(node.output[0]))
        spread = next((a for a in node.attribute if a.name == "scan_output_directions"), None)
        if spread is None:
            spread = node.attribute.add()
            spread.CopyFrom(helper.make_attribute("scan_output_directions", [0]))
            del spread.ints[:]
        spread.ints.extend([0] * (len(self.body.output) - self.states - len(spread.ints)))
        have = [v.name for v in self.body.output]
        out = []
        for k, name in enumerate(names):
            made, first = node.output[have.index(name)], self.call.need(k)
            t.dtypes[made] = first.dtype
            if first.shape is not None:
                t.shapes[made] = (None, *first.shape)
            out.append(t.value(made))
        return out


@dataclass
class _Step:
    """The graph in which the body is walked."""

    t: Tracer
    inputs: list[tuple[str, Value]] = field(default_factory=list)  # scanned: the name inside and the tensor outside
    back: list[int] = field(default_factory=list)

    def formal(self, name: str, like: Value, scanned: bool) -> Value:
        """A tensor that the step is given."""
        shape = like.shape
        self.t.dtypes[name] = like.dtype
        if shape is not None:
            self.t.shapes[name] = shape[1:] if scanned else shape
        return self.t.value(name)

    def scan(self, name: str, outside: Value, back: int) -> Value:
        """A tensor that the step is given a row of, read from its end where ``back``."""
        self.inputs.append((name, outside))
        self.back.append(back)
        return self.formal(name, outside, scanned=True)


@backward("Scan", kind="control", every=True)
def scan(call: NodeCall, g: Sequence[Value | None]) -> list[Value | None]:
    """See the top of this file."""
    t, loop = call.t, _Loop.of(call)
    given = len(loop.body.output) - loop.states
    g = [*g, *[None] * (loop.states + given - len(g))]
    before = _Loop.of(call.baseline()) if call.context.rules.reference else None
    kept = loop.entering()
    prefix = t.fresh("Scan")
    step = _Step(_opened(call, before))
    forward, reference, names = _evaluated(loop, before, step, kept, prefix)
    states = [names[v.name] for v in loop.body.input[: loop.states]]
    rows = [names[v.name] for v in loop.body.input[loop.states :]]
    outside = reads(call.node)[len(call.node.input) :]
    count = len(call.node.input)
    fixed = {name for k, name in enumerate(outside) if call.active[count + k]}
    taps = {name for k, name in enumerate(rows) if call.active[loop.states + k]} | fixed
    live_states = {name for k, name in enumerate(states) if call.active[k]}
    ends = [names.get(v.name, v.name) for v in loop.body.output]
    while True:  # a state that comes from a live tensor is live in the next step
        live = live_of(step.t, forward, taps | live_states)
        more = {s for s, end in zip(states, ends, strict=False) if end in live and step.t.dtypes.get(s) in FLOATS}
        if more <= live_states:
            break
        live_states |= more
    context = Context(step.t, forward, call.context.rules, reference, live)
    context.masked = call.context.masked
    context.behind = _behind(call, rows, states, outside, loop)
    context.above = any(name in call.context.leading for name in call.node.output)

    carried: list[tuple[str, str, Value]] = []  # name inside, its end, its start outside
    start: dict[str, Value] = {}

    def arrives(end: str, value: Value) -> None:
        if end in live:
            start[end] = start[end] + value if end in start else value

    for k, state in enumerate(states):
        if state in live_states:
            outer = call.need(k)
            arriving = g[k]
            first = t.zeros_like(outer) if arriving is None else arriving
            name = f"{prefix}/from_{k}"
            arrives(ends[k], step.formal(name, outer, scanned=False))
            carried.append((name, state, first))
    for k in range(given):
        value = g[loop.states + k]
        if value is not None:
            arrives(ends[loop.states + k], step.scan(f"{prefix}/given_{k}", value, 1 - loop.out_back[k]))
    pending = call.context.inner(context, start)

    def arrived(name: str, like: Value) -> Value:
        found = pending.get(name)
        return step.t.total(found) if found else step.t.zeros_like(like)

    sums = [(f"{prefix}/sum_{k}", name) for k, name in enumerate(outside) if name in fixed]
    results = [arrived(state, step.t.value(state)) for _, state, _ in carried]
    for name, tensor in sums:
        so_far = step.formal(name, t.value(tensor), scanned=False)
        results.append(so_far + arrived(tensor, step.t.value(tensor)))
    wanted = [k for k in range(loop.scanned) if call.active[loop.states + k]]
    results += [arrived(rows[k], step.t.value(rows[k])) for k in wanted]
    starts = [first for _, _, first in carried] + [t.zeros_like(t.value(tensor)) for _, tensor in sums]
    formals = [name for name, _, _ in carried] + [name for name, _ in sums]
    made = _emitted(t, step, prefix, formals, starts, results, [1 - loop.back[k] for k in wanted])

    out: list[Value | None] = [None] * len(call.inputs)
    places = [states.index(state) for _, state, _ in carried] + [count + outside.index(name) for _, name in sums]
    for index, value in zip([*places, *(loop.states + k for k in wanted)], made, strict=True):
        like = call.need(index)
        t.dtypes[value.name] = like.dtype
        if like.shape is not None:
            t.shapes[value.name] = like.shape
        out[index] = t.value(value.name)
    return out


def _opened(call: NodeCall, before: _Loop | None) -> Tracer:
    """An empty graph that knows what lies around the loop."""
    t = call.t
    model = ModelProto(ir_version=t.model.ir_version)
    model.opset_import.extend(t.model.opset_import)
    around = [v for v in (*call.inputs, *(before.call.inputs if before is not None else ())) if v is not None]
    model.graph.value_info.extend(helper.make_tensor_value_info(v.name, v.dtype, v.shape) for v in around)
    inner = Tracer(model, t.folder, prefix=f"{t.fresh('step')}/")
    for v in around:
        content = v.data
        if content is not None:
            inner.constants.put(v.name, content)
    return inner


def _evaluated(
    loop: _Loop, before: _Loop | None, step: _Step, kept: Sequence[Value], prefix: str
) -> tuple[Forward, Forward | None, dict[str, str]]:
    """One step inside the graph of the way back, at the values that the forward pass had; and on the baseline's.

    Returns:
        Both evaluations, and the names that the body's tensors have here.
    """
    t, inner, body = loop.call.t, step.t, loop.body
    names = {v.name: f"{prefix}/{v.name}" for v in body.input}
    names |= {name: f"{prefix}/{name}" for node in body.node for name in node.output if name}
    for tensor in body.initializer:
        names[tensor.name] = f"{prefix}/{tensor.name}"
        moved = inner.model.graph.initializer.add()
        moved.CopyFrom(tensor)
        moved.name = names[tensor.name]
        inner.initializers.append(moved)
        inner.dtypes[moved.name], inner.shapes[moved.name] = moved.data_type, tuple(moved.dims)
    scanned = loop.call.node.input[loop.states :]
    for k, v in enumerate(body.input):
        if k < loop.states:
            step.scan(names[v.name], kept[k], 1)
        else:
            step.scan(names[v.name], t.value(scanned[k - loop.states]), 1 - loop.back[k - loop.states])
    nodes = []
    for node in body.node:
        if any(name.endswith(_KEPT) for name in node.output):
            continue
        copy = inner.rename(node, names, {name: names[name] for name in node.output if name})
        inner.add(copy)
        nodes.append(copy)
    forward = Forward(nodes)
    if before is None:
        return forward, None, names
    other: dict[str, str] = {}
    for v, value in zip(body.input, before.entering(), strict=False):
        other[names[v.name]] = step.scan(f"{prefix}/baseline/{v.name}", value, 1).name
    there = before.call.node.input[before.states :]
    for k, v in enumerate(body.input[loop.states :]):
        if there[k] != scanned[k]:
            other[names[v.name]] = step.scan(f"{prefix}/baseline/{v.name}", t.value(there[k]), 1 - loop.back[k]).name
    pairs = zip(reads(loop.call.node), reads(before.call.node), strict=True)
    other |= {a: b for a, b in list(pairs)[len(loop.call.node.input) :] if a != b}
    copies = []
    for node in nodes:
        if not any(name in other for name in reads(node)):
            copies.append(node)
            continue
        fresh = {name: inner.fresh(name) for name in node.output if name}
        other.update(fresh)
        copy = inner.rename(node, other, fresh)
        inner.add(copy)
        copies.append(copy)
    return forward, Forward(copies, other), names


def _behind(
    call: NodeCall, rows: Sequence[str], states: Sequence[str], outside: Sequence[str], loop: _Loop
) -> frozenset[str]:
    """Which tensors of a step a weighted operator leads to: states do where anything that they are made of does."""
    around, count = call.context.behind, len(call.node.input)
    found = {name for k, name in enumerate(rows) if reads(call.node)[loop.states + k] in around}
    found |= {name for k, name in enumerate(outside) if reads(call.node)[count + k] in around}
    return frozenset(found | set(states) if found else found)


def _emitted(
    t: Tracer,
    step: _Step,
    prefix: str,
    formals: Sequence[str],
    starts: Sequence[Value],
    results: Sequence[Value],
    back: Sequence[int],
) -> tuple[Value, ...]:
    """The Scan of the way back."""
    inner, ends = step.t, []
    for k, value in enumerate(results):
        name = f"{prefix}/result_{k}"
        inner.emitted.append(helper.make_node("Identity", [value.name], [name]))
        ends.append(helper.make_tensor_value_info(name, value.dtype, value.shape))
    nodes, live = needed(ordered(_unique([*inner.forward, *inner.emitted])), {v.name for v in ends})
    every = [(name, outside, way) for (name, outside), way in zip(step.inputs, step.back, strict=True)]
    # a step whose way back reads nothing still takes one value a step: it tells how many steps there are
    read = [one for one in every if one[0] in live] or every[:1]
    taken = [*formals, *(name for name, _, _ in read)]
    given = [helper.make_tensor_value_info(name, inner.dtypes[name], inner.shapes.get(name)) for name in taken]
    stored = [tensor for tensor in inner.initializers if tensor.name in live]
    body = helper.make_graph(nodes, prefix, given, ends, stored)
    ways: dict[str, Any] = {"scan_input_directions": [way for _, _, way in read]}
    if back:
        ways["scan_output_directions"] = list(back)
    return t.emit_many(
        len(results), "Scan", *starts, *(v for _, v, _ in read), body=body, num_scan_inputs=len(read), **ways
    )


def _unique(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Each node once."""
    return list({id(node): node for node in nodes}.values())
