"""Softmax and normalisations."""

from __future__ import annotations

from collections.abc import Sequence

from xplain.graph.build.tracer import Tracer, Value, known
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.finite import may_be_infinite


def _coerced(call: NodeCall) -> list[int]:
    """The axes that a softmax runs over: one, or before opset 13 all from ``axis`` on."""
    if call.t.opset >= 13:
        return [call.attribute("axis", -1) % call.x.rank]
    axis = call.attribute("axis", 1)
    return list(range(axis % call.x.rank, call.x.rank))


facts("Softmax", axes="same", low=0.0, high=1.0, gate=True, link="softmax")
facts("LogSoftmax", axes="same", high=0.0, link="softmax")
facts("LayerNormalization RMSNormalization LpNormalization MeanVarianceNormalization", axes="same", composite=True)
facts("Softmax LogSoftmax LpNormalization", across="axis")
facts("MeanVarianceNormalization", across="axes")
facts("InstanceNormalization GroupNormalization LRN", axes="channels", composite=True)
facts("InstanceNormalization", placed=True)
facts("BatchNormalization", axes="channels", linear="first", weighted=True, free=True)


@backward("Softmax", kind="joint", axes=_coerced)
def softmax(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` = y (dy - sum y dy)."""
    t, y = call.t, call.y
    if call.context.masked and may_be_infinite(call, call.data_index):  # a row that is masked as a whole is NaN
        y = t.where(t.IsNaN(y), 0.0, y)
    else:
        along = _along_values(call, g)
        if along is not None:
            return [y * (g - along)]
    weighted = g * y
    return [weighted - y * t.sum(weighted, _coerced(call))]


def _along_values(call: NodeCall, g: Value) -> Value | None:
    """``sum y dy`` of an attention: with o = y v and dy = do v^T it is ``sum o do``, over far fewer elements.

    Dao et al. 2022, "FlashAttention", arXiv:2205.14135, appendix B.2.
    """
    t, y = call.t, call.y
    made = t.maker(g, "MatMul", added=True)
    if made is None or y.shape is None or _coerced(call) != [y.rank - 1]:
        return None
    do, back = made
    for node in call.context.forward.nodes:
        if node.op_type != "MatMul" or node.input[0] != y.name:
            continue
        v, o = t.value(node.input[1]), t.value(node.output[0])
        if o.shape is None or o.shape != do.shape or v.rank != back.rank or not known((o.shape[-1], y.shape[-1])):
            continue
        (origin, order), (found, turned) = t.turned(v), t.turned(back)
        same = found.name == origin.name and turned == [*order[:-2], *order[:-3:-1]]
        if same and int(o.shape[-1] or 0) < int(y.shape[-1] or 0):
            return t.sum(do * o, [-1])
    return None


@backward("LogSoftmax", kind="joint", axes=_coerced)
def log_softmax(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` = dy - softmax(x) sum dy."""
    return [g - call.t.Exp(call.y) * call.t.sum(g, _coerced(call))]


@backward("BatchNormalization", kind="scale")
def batch_normalization(call: NodeCall, g: Value) -> list[Value | None]:
    """Statistics are constants when a model is run: dx = dy s / sqrt(var + eps)."""
    t = call.t
    if call.attribute("training_mode", 0):
        raise call.refuse("it is in training mode; export the model in evaluation mode")
    factor = call.need(1) / t.Sqrt(call.need(4) + call.attribute("epsilon", 1e-5))
    return [g * t.reshape(factor, [-1, *[1] * (call.x.rank - 2)])]


def normalised_vjp(t: Tracer, g: Value, centred: Value, inverse: Value, axes: Sequence[int]) -> Value:
    """``dx`` of n = c / std with c = x - mean: (dn - mean(dn) - c mean(dn c) / std^2) / std."""
    return inverse * (g - t.mean(g, axes) - centred * (inverse * inverse * t.mean(g * centred, axes)))


@backward("LayerNormalization", kind="joint")
def layer_normalization(call: NodeCall, g: Value) -> list[Value | None]:
    """Mean and inverse deviation are optional outputs of the forward node, so they cost nothing here."""
    t, x = call.t, call.x
    axes = list(range(call.attribute("axis", -1) % x.rank, x.rank))
    mean, inverse = (t.cast(call.extra_output(k), g.dtype) for k in (1, 2))
    return [normalised_vjp(t, g * call.need(1), x - mean, inverse, axes)]


@backward("InstanceNormalization", kind="joint")
def instance_normalization(call: NodeCall, g: Value) -> list[Value | None]:
    """Normalisation of each plane of each item."""
    t, x = call.t, call.x
    axes = list(range(2, x.rank))
    centred = x - t.mean(x, axes)
    inverse = 1.0 / t.Sqrt(t.mean(centred * centred, axes) + call.attribute("epsilon", 1e-5))
    scale = t.reshape(call.need(1), [-1, *[1] * (x.rank - 2)])
    return [normalised_vjp(t, g * scale, centred, inverse, axes)]


def _root_mean_square_vjp(t: Tracer, g: Value, normal: Value, inverse: Value, axes: Sequence[int]) -> Value:
    """``dx`` of n = x / rms(x)."""
    return inverse * (g - normal * t.mean(g * normal, axes))


@backward("RMSNormalization", kind="joint")
def rms_normalization(call: NodeCall, g: Value) -> list[Value | None]:
    """Y = s x / sqrt(mean(x^2) + eps)."""
    t, x = call.t, call.x
    axes = list(range(call.attribute("axis", -1) % x.rank, x.rank))
    inverse = 1.0 / t.Sqrt(t.mean(x * x, axes) + call.attribute("epsilon", 1e-5))
    return [_root_mean_square_vjp(t, g * call.need(1), x * inverse, inverse, axes)]


@backward("LpNormalization", kind="joint")
def lp_normalization(call: NodeCall, g: Value) -> list[Value | None]:
    """Y = x / |x|_p."""
    t, x, y, axes = call.t, call.x, call.y, [call.attribute("axis", -1)]
    along = t.sum(g * y, axes)
    if call.attribute("p", 2) == 2:
        return [(g - y * along) / t.Sqrt(t.sum(x * x, axes))]
    return [(g - t.Sign(x) * along) / t.sum(t.Abs(x), axes)]


@backward("LRN", kind="joint")
def local_response_normalization(call: NodeCall, g: Value) -> list[Value | None]:
    """Y = x D^-b with D = k + a/n sum of x^2 over neighbouring channels."""
    t, x = call.t, call.x
    size, alpha = call.attribute("size"), call.attribute("alpha", 1e-4)
    beta, bias = call.attribute("beta", 0.75), call.attribute("bias", 1.0)
    low, high = (size - 1) // 2, size - 1 - (size - 1) // 2
    channels = (x.shape or (None, None))[1]
    if not isinstance(channels, int):
        raise call.refuse("the number of channels is not known")

    def neighbours(v: Value, before: int, after: int) -> Value:
        plane = t.Reshape(v, t.ints(0, 1, channels, -1))
        mean = t.AveragePool(plane, kernel_shape=[size, 1], pads=[before, 0, after, 0], count_include_pad=1)
        return t.reshape_like(mean, x) * float(size)

    base = neighbours(x * x, low, high) * (alpha / size) + bias
    power = t.Pow(base, t.const(-beta, x.dtype))
    # an element is in the window of its neighbours mirrored: before and after change place
    return [g * power - x * neighbours(g * x * power / base, high, low) * (2.0 * alpha * beta / size)]
