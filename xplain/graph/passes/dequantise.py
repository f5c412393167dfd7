"""Write operators on integers as dequantise, float operator, quantise. The runtime fuses them again where it can.

One set of rules then serves float, QDQ and QOperator models, and every relevance rule works on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from onnx import ModelProto, NodeProto

from xplain.graph.build.value import Shape
from xplain.graph.nodes import attributes_of
from xplain.graph.operators import facts_of
from xplain.graph.passes.chain import Chain

__all__ = ["is_integer", "open_integer"]


def is_integer(node: NodeProto) -> bool:
    """Whether a node is a QLinear operator, of the standard set or of onnxruntime's own."""
    return node.op_type in _OPEN and node.domain in ("", "ai.onnx", "com.microsoft")


def open_integer(model: ModelProto, node: NodeProto, shapes: Mapping[str, Shape]) -> list[NodeProto]:
    """What one integer operator stands for; constants go into ``model``."""
    opener = _OPEN[node.op_type]
    ranks = {name: len(shapes[name]) for name in node.input if name in shapes}
    scalars = {name: shapes[name] in ((), (1,)) for name in node.input if name in shapes}
    chain = _Quantised(model, node, ranks, scalars)
    opener(chain, attributes_of(node))
    return chain.nodes


class _Quantised(Chain):
    """A chain for one quantised node."""

    def __init__(self, model: ModelProto, node: NodeProto, ranks: dict[str, int], scalars: dict[str, bool]) -> None:
        super().__init__(model, f"{node.output[0]}/opened")
        self.node, self.ranks, self.scalars = node, ranks, scalars

    def input(self, index: int) -> str:
        """The name of an input, empty where it is not given."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def real(self, index: int, axis: int = 0) -> str:
        """Input ``index`` as real numbers; its scale and zero point follow it."""
        scale, zero = self.input(index + 1), self.input(index + 2)
        per_channel = not self.scalars.get(scale, True)
        extra: dict[str, Any] = {"axis": axis} if per_channel else {}
        return self("DequantizeLinear", self.input(index), scale, *([zero] if zero else []), **extra)

    def bias(self, index: int, scale: str) -> str:
        """An int32 bias as real numbers; its scale has one entry per channel where that of the weights does."""
        per_channel = not self.scalars.get(self.input(4), True)
        extra: dict[str, Any] = {"axis": 0} if per_channel else {}
        return self("DequantizeLinear", self.input(index), scale, **extra)

    def done(self, real: str) -> None:
        """Quantise to the node's output."""
        scale = facts_of(self.node).scale or 0
        zero = self.input(scale + 1)
        self("QuantizeLinear", real, self.input(scale), *([zero] if zero else []), output=self.node.output[0])


def _conv(chain: _Quantised, attributes: dict[str, Any]) -> None:
    last = attributes.pop("channels_last", 0)
    inputs = [chain.real(0), chain.real(3)]
    if chain.input(8):
        scale = chain("Mul", chain.input(1), chain.input(4))
        inputs.append(chain.bias(8, scale))
    if not last:
        chain.done(chain("Conv", *inputs, **attributes))
        return
    rank = chain.ranks.get(chain.input(3), 4)  # the weights are [O, I, *kernel] in either layout
    inputs[0] = chain("Transpose", inputs[0], perm=[0, rank - 1, *range(1, rank - 1)])
    chain.done(chain("Transpose", chain("Conv", *inputs, **attributes), perm=[0, *range(2, rank), 1]))


def _matmul(chain: _Quantised, attributes: dict[str, Any]) -> None:
    columns = chain.ranks.get(chain.input(3), 2) - 1
    chain.done(chain("MatMul", chain.real(0), chain.real(3, columns)))


def _gemm(chain: _Quantised, attributes: dict[str, Any]) -> None:
    alpha = float(attributes.get("alpha", 1.0))
    attributes["alpha"] = alpha
    inputs = [chain.real(0), chain.real(3, 0 if attributes.get("transB", 0) else 1)]
    if chain.input(6):  # int32 in units of alpha * scale_a * scale_b
        units = chain("Mul", chain("Mul", chain.input(1), chain.input(4)), chain.const(alpha, "float32"))
        inputs.append(chain.bias(6, units))
    real = chain("Gemm", *inputs, **attributes)
    if chain.input(7):
        chain.done(real)
    else:
        chain("Identity", real, output=chain.node.output[0])


def _binary(op: str) -> Callable[[_Quantised, dict[str, Any]], None]:
    def opened(chain: _Quantised, attributes: dict[str, Any]) -> None:
        chain.done(chain(op, chain.real(0), chain.real(3)))

    return opened


def _unary(op: str) -> Callable[[_Quantised, dict[str, Any]], None]:
    def opened(chain: _Quantised, attributes: dict[str, Any]) -> None:
        last = attributes.pop("channels_last", 0)
        attributes.pop("opset", None)
        real = chain.real(0)
        if last:
            rank = chain.ranks.get(chain.input(0), 4)
            real = chain("Transpose", real, perm=[0, rank - 1, *range(1, rank - 1)])
        real = chain(op, real, **attributes)
        if last:
            real = chain("Transpose", real, perm=[0, *range(2, rank), 1])
        chain.done(real)

    return opened


def _mean(chain: _Quantised, attributes: dict[str, Any]) -> None:
    axes = attributes.pop("axes", None)
    extra = [] if axes is None else [chain.const(list(axes))]
    chain.done(chain("ReduceMean", chain.real(0), *extra, **attributes))


def _where(chain: _Quantised, attributes: dict[str, Any]) -> None:
    chain.done(chain("Where", chain.input(0), chain.real(1), chain.real(4)))


def _concat(chain: _Quantised, attributes: dict[str, Any]) -> None:
    parts = [chain.real(k) for k in range(2, len(chain.node.input), 3)]
    chain.done(chain("Concat", *parts, **attributes))


_OPEN: dict[str, Callable[[_Quantised, dict[str, Any]], None]] = {
    "QLinearConv": _conv,
    "QLinearMatMul": _matmul,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearMul": _binary("Mul"),
    "QLinearConcat": _concat,
    "QLinearReduceMean": _mean,
    "QLinearWhere": _where,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearAveragePool": _unary("AveragePool"),
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearLeakyRelu": _unary("LeakyRelu"),
    "QLinearSoftmax": _unary("Softmax"),
}
