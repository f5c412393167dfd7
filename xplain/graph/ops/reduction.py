"""Reductions over axes, and cumulative sums."""

from __future__ import annotations

from xplain.graph.build.tracer import Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.stated import reduced_axes

__all__ = ["axes_of"]


def axes_of(call: NodeCall) -> list[int]:
    """The reduced axes, counted from 0.

    Raises:
        UnsupportedOperator: they are known only at run time.
    """
    found = reduced_axes(call.node, call.need(0).rank, call.t.constants.get)
    if found is None:
        raise call.refuse("the axes are known only at run time")
    return sorted(found)


def kept(call: NodeCall, v: Value) -> Value:
    """A reduced tensor with its axes of extent 1 put back."""
    return v if call.attribute("keepdims", 1) else call.t.unsqueeze(v, axes_of(call))


facts("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd CumSum", axes="same")
facts("ReduceL1 ReduceL2 ReduceLogSum ReduceSumSquare", axes="same", composite=True)
facts("ReduceLogSumExp", axes="same")
facts("ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum", across="axes")
facts("ReduceSumSquare ReduceLogSumExp", across="axes")
facts("CumSum", across="input")
facts("ReduceL1 ReduceL2 ReduceSumSquare", low=0.0)
facts("ReduceSum ReduceMean", linear="first", adds=True)
facts("ReduceMax ReduceMin", steps=(0, 1))
facts("ReduceSum ReduceMean", placed=True)


@backward("ReduceSum", kind="linear", flow=(0,))
def reduce_sum(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` everywhere."""
    return [call.t.expand_like(kept(call, g), call.x)]


@backward("ReduceMean", kind="linear", flow=(0,))
def reduce_mean(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` / n everywhere."""
    return [call.t.expand_like(kept(call, g) / call.t.count(call.x, g, axes_of(call)), call.x)]


@backward("ReduceMax", "ReduceMin", kind="choice", flow=(0,))
def reduce_max(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` at the extreme element, shared where several are equal."""
    t = call.t
    chosen = t.step(call.x.equal(kept(call, call.y)), g.dtype)
    return [chosen * (kept(call, g) / t.sum(chosen, axes_of(call)))]


@backward("ReduceL2", kind="joint", flow=(0,))
def reduce_l2(call: NodeCall, g: Value) -> list[Value | None]:
    """d|x| = x / |x|."""
    return [call.x * (kept(call, g) / kept(call, call.y))]


@backward("ReduceL1", kind="joint", flow=(0,))
def reduce_l1(call: NodeCall, g: Value) -> list[Value | None]:
    """D sum |x| = sign(x)."""
    return [call.t.Sign(call.x) * kept(call, g)]


@backward("ReduceSumSquare", kind="joint", flow=(0,))
def reduce_sum_square(call: NodeCall, g: Value) -> list[Value | None]:
    """D sum x^2 = 2 x."""
    return [call.x * (kept(call, g) * 2.0)]


@backward("ReduceLogSum", kind="joint", flow=(0,))
def reduce_log_sum(call: NodeCall, g: Value) -> list[Value | None]:
    """D log(sum x) = 1 / sum x = exp(-y)."""
    return [call.t.expand_like(kept(call, g) * call.t.Exp(-kept(call, call.y)), call.x)]


@backward("ReduceLogSumExp", kind="joint", flow=(0,))
def reduce_log_sum_exp(call: NodeCall, g: Value) -> list[Value | None]:
    """D log(sum exp x) = exp(x - y)."""
    return [kept(call, g) * call.t.Exp(call.x - kept(call, call.y))]


@backward("ReduceProd", kind="joint", flow=(0,))
def reduce_prod(call: NodeCall, g: Value) -> list[Value | None]:
    """D prod x = y / x; the factors must not be zero."""
    return [kept(call, g) * kept(call, call.y) / call.x]


@backward("CumSum", kind="linear", flow=(0,))
def cum_sum(call: NodeCall, g: Value) -> list[Value | None]:
    """The sum of all later dy: a cumulative sum from the other end."""
    reverse = 1 - int(call.attribute("reverse", 0))
    return [call.t.CumSum(g, call.need(1), exclusive=int(call.attribute("exclusive", 0)), reverse=reverse)]
