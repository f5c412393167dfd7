"""Operators in which one of several elements is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from xplain.core.rules import Kind
from xplain.graph.build.tracer import Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall


def _choice(call: NodeCall) -> Kind:
    return "choice" if sum(call.active) > 1 else "slope"


facts("Max Min", elementwise=True, axes="same", steps=(0, None))
facts("Where", elementwise=True, axes="same", steps=(1, None))
facts("TopK", axes="same", steps=(0, 1))
facts("Hardmax", axes="same", low=0.0, high=1.0)
facts("TopK Hardmax", across="axis")


@backward("Max", "Min", kind=_choice)
def extreme(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` goes to the first input that equals the result."""
    t, found = call.t, list[Value | None]()
    taken: Value | None = None
    for index, value in enumerate(call.inputs):
        if value is None:
            found.append(None)
            continue
        hit = call.y.equal(value)
        mine = hit if taken is None else t.And(hit, t.Not(taken))
        taken = hit if taken is None else t.Or(taken, hit)
        found.append(call.shaped(t.where(mine, g, 0.0), index) if call.active[index] else None)
    return found


@backward("Where", kind="move", flow=(1, 2))
def where(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` goes to the branch that was taken."""
    t, condition = call.t, call.need(0)
    return [
        None,
        call.shaped(t.where(condition, g, 0.0), 1) if call.active[1] else None,
        call.shaped(t.where(condition, 0.0, g), 2) if call.active[2] else None,
    ]


@backward("TopK", kind="choice", every=True, flow=(0,))
def top_k(call: NodeCall, g: Sequence[Value | None]) -> list[Value | None]:
    """``dy`` of the values, put back at their indices."""
    t = call.t
    if g[0] is None:
        return [None]
    indices = call.outputs[1] if len(call.outputs) > 1 and call.outputs[1] is not None else call.extra_output(1, 7)
    zeros = t.zeros_like(call.need(0), g[0].dtype)
    return [t.ScatterElements(zeros, indices, g[0], axis=call.attribute("axis", -1))]


@backward("Hardmax", kind="choice")
def hardmax(call: NodeCall, g: Value) -> list[Value | None]:
    """A one-hot of the maximum: its derivative is zero almost everywhere."""
    return [call.t.zeros_like(call.x, g.dtype)]
