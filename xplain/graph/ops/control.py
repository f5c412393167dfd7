"""Control flow. If has a rule; Loop and Scan are declined by the walk, because they have none."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto, ModelProto, helper

from xplain.graph.analysis.order import needed, ordered
from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.naming import inlined
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import Context, Forward, NodeCall, live_of

__all__: list[str] = []

facts("If Loop Scan", control=True)


@backward("If", kind="control", every=True)
def branch(call: NodeCall, g: Sequence[Value | None]) -> list[Value | None]:
    """An If with the same condition, in whose branches the branch of the forward pass is evaluated and walked back.

    The walk inside follows the same table, whatever it passes on.
    """
    t = call.t
    if call.context.rules.reference:
        raise call.refuse(
            "rules that compare with a baseline cannot look into a branch, which may be another one there; "
            "integrated-gradients and lrp can"
        )
    wanted = [k for k, active in enumerate(call.active) if active]
    name = t.fresh("If")
    branches = {which: _walked(call, which, g, wanted, f"{name}/{which}") for which in ("then_branch", "else_branch")}
    found = t.emit_many(len(wanted), "If", call.need(0), **branches)
    out: list[Value | None] = [None] * len(call.inputs)
    for k, value in zip(wanted, found, strict=True):
        t.dtypes[value.name], shape = call.need(k).dtype, call.need(k).shape
        if shape is not None:
            t.shapes[value.name] = shape
        out[k] = t.value(value.name)
    return out


def _walked(call: NodeCall, which: str, g: Sequence[Value | None], wanted: list[int], prefix: str) -> GraphProto:
    """A branch that returns the cotangents of the outer tensors it reads."""
    t = call.t
    model = ModelProto(ir_version=t.model.ir_version)
    model.opset_import.extend(t.model.opset_import)
    model.graph.name = prefix
    body = next(a.g for a in call.node.attribute if a.name == which)
    outputs = call.t.rename(call.node, {}, {n: f"{prefix}/{n}" for n in call.node.output if n})
    model.graph.node.extend(inlined(model.graph, body, outputs, prefix))
    outer = [v for v in (*call.inputs, *g) if v is not None]
    model.graph.value_info.extend(helper.make_tensor_value_info(v.name, v.dtype, v.shape) for v in outer)
    inner = Tracer(model, t.folder, prefix=f"{prefix}/")
    for node in inner.forward:
        inner.infer(node)
    for v in outer:
        content = v.data
        if content is not None:
            inner.constants.put(v.name, content)
    names = {call.need(k).name for k in wanted}
    forward = Forward(inner.forward)
    context = Context(inner, forward, call.context.rules, None, live_of(inner, forward, names))
    context.masked = call.context.masked
    context.behind = frozenset(n for n in names if n in call.context.behind)
    context.above = call.node.output[0] in call.context.leading
    start = {
        new: inner.value(value.name)
        for new, value in zip(outputs.output, g, strict=True)
        if value is not None and new in context.live
    }
    pending = call.context.inner(context, start)
    return _graph(inner, pending, [call.need(k) for k in wanted], prefix)


def _graph(inner: Tracer, pending: dict[str, list[Value]], wanted: list[Value], prefix: str) -> GraphProto:
    """The nodes of a walked branch as a graph without inputs."""
    results = []
    for k, tensor in enumerate(wanted):
        arrived = pending.get(tensor.name)
        here = inner.value(tensor.name)
        value = inner.total(arrived) if arrived else inner.zeros_like(here)
        inner.emitted.append(helper.make_node("Identity", [value.name], [f"{prefix}/cotangent_{k}"]))
        results.append(helper.make_tensor_value_info(f"{prefix}/cotangent_{k}", tensor.dtype, tensor.shape))
    nodes, live = needed(ordered([*inner.forward, *inner.emitted]), {v.name for v in results})
    initializers = [i for i in (*inner.model.graph.initializer, *inner.initializers) if i.name in live]
    return helper.make_graph(nodes, prefix, [], results, initializers)
