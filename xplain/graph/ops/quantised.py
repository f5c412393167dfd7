"""Quantisation. Cotangents live on the real-valued side; the integer range clamps, so its ends pass nothing.

Static quantisers delete Relu and Clip and let the saturation of uint8 do their work: a pure straight-through rule for
QuantizeLinear then has a correlation of 0.07 with the float model, with the mask it has 0.93. Operators on integers
(QLinearConv ...) are written as dequantise, float operator, quantise before the walk: ``passes/dequantise.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

from xplain.graph.build.tracer import Value
from xplain.graph.dtypes import RANGES
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.convolution import conv_data_vjp, geometry

facts("QuantizeLinear", axes="same", rounds=True, scale=1, integer=True, partial=True)
facts("DequantizeLinear", axes="same", rounds=True, homogeneous=True)  # of real numbers, it is the same number
facts("QLinearConv QLinearMatMul", scale=6, integer=True, weighted=True)
facts("QGemm", scale=7, integer=True, weighted=True)
facts("QLinearAdd QLinearMul", scale=6, axes="same")
facts("QLinearConcat", scale=0, axes="same")
facts("QLinearReduceMean", scale=3, axes="same")
facts("QLinearWhere", scale=7, axes="same")
facts("QLinearGlobalAveragePool QLinearAveragePool", scale=3, axes="channels")
facts("QLinearConv ConvInteger", axes="channels")  # where their attribute channels_last is 0
facts("QLinearSigmoid", scale=3, axes="same", link="sigmoid")
facts("QLinearLeakyRelu", scale=3, axes="same", rectifier=True)
facts("QLinearSoftmax", scale=3, axes="same", link="softmax")
for name in [
    "Conv",
    "MatMul",
    "Add",
    "Mul",
    "Concat",
    "ReduceMean",
    "Where",
    "GlobalAveragePool",
    "AveragePool",
    "Sigmoid",
    "LeakyRelu",
    "Softmax",
]:
    facts(f"QLinear{name}", like=name)
facts("QGemm", like="Gemm")
facts("ConvInteger", like="Conv")
facts("MatMulInteger", like="MatMul")
facts("QLinearConv", learnt=(3, 8))
facts("QLinearMatMul QGemm", learnt=(3,))
facts("ConvInteger", learnt=(1,))
facts("MatMulInteger", learnt=(0, 1))
facts("DynamicQuantizeLinear", batch=True, axes="same")
facts("DynamicQuantizeMatMul DynamicQuantizeLSTM", batch=True, integer=True)
facts("ConvInteger MatMulInteger", integer=True, whole=True)
facts("DynamicQuantizeMatMul MatMulIntegerToFloat", ageless=True)
facts("QAttention MatMulIntegerToFloat", integer=True)


@backward("QuantizeLinear", "com.microsoft::QuantizeLinear", kind="slope", flow=(0,))
def quantize(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` where the integer is strictly inside its range."""
    t = call.t
    # operators outside the standard set have no inferred type; the zero point knows it
    dtype = call.need(2).dtype if call.has(2) else call.y.dtype
    if dtype not in RANGES:
        return [g]
    low, high = RANGES[dtype]
    return [g * t.between(t.Cast(call.y, to=g.dtype), low, high)]


@backward("DequantizeLinear", "com.microsoft::DequantizeLinear", kind="move", flow=(0,))
def dequantize(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy``."""
    return [g]


@backward("DynamicQuantizeLinear", kind="scale", every=True)
def dynamic_quantize(call: NodeCall, g: Sequence[Value | None]) -> list[Value | None]:
    """Q = x / scale + zero; the scale is taken to be constant."""
    if g[0] is None:
        return [None]
    return [g[0] / call.t.value(call.node.output[1])]


def _real(call: NodeCall, index: int, zero: int, like: Value) -> Value:
    """An integer weight as real numbers in integer units: w - zero."""
    t, w = call.t, call.need(index)
    real = t.Cast(w, to=like.dtype)
    if not call.has(zero):
        return real
    point = t.Cast(call.need(zero), to=like.dtype)
    if call.op == "ConvInteger" and point.shape not in ((), (1,)):
        point = t.reshape(point, [-1, *[1] * (w.rank - 1)])
    return real - point


@backward("MatMulInteger", kind="linear", weight=1, flow=(0, 1))
def matmul_integer(call: NodeCall, g: Value) -> list[Value | None]:
    """DA = dY (B - zero)^T, in integer units."""
    t, b = call.t, call.need(1)
    if call.active[1]:
        if not call.active[0] and call.need(0).rank == b.rank:
            return [None, t.MatMul(t.swap(_real(call, 0, 2, g)), g)]
        raise call.refuse("both operands depend on the input")
    weight = _real(call, 1, 3, g)
    return [t.unbroadcast(t.MatMul(g, t.swap(weight)), call.need(0))]


@backward("ConvInteger", kind="linear", weight=1, flow=(0, 1))
def conv_integer(call: NodeCall, g: Value) -> list[Value | None]:
    """As Conv, with weights in integer units."""
    kernel = call.attribute("kernel_shape") or [int(d or 0) for d in (call.need(1).shape or ())[2:]]
    weight = _real(call, 1, 3, g)
    return [conv_data_vjp(call, g, weight, call.need(0), geometry(call, kernel), call.attribute("group", 1))]
