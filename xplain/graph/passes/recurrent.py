"""Write LSTM, GRU and RNN nodes out, step by step, in operators that have rules. The sequence length must be known."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from onnx import ModelProto, NodeProto

from xplain.core.errors import UnsupportedOperator
from xplain.graph.emitter import opset_of
from xplain.graph.passes.chain import Chain, attributes_of
from xplain.graph.passes.fused.integers import dynamic_product
from xplain.graph.table import parameters_of
from xplain.graph.value import Shape

__all__ = ["is_recurrent", "unroll"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_INTEGER = {"DynamicQuantizeLSTM": "LSTM"}
"""Of which the weights are integers, and states are quantised as they come."""


def is_recurrent(node: NodeProto) -> bool:
    """Whether a node runs over a sequence by itself."""
    return _kind(node) in _GATES


def unroll(
    model: ModelProto, node: NodeProto, shapes: Mapping[str, Shape], dtypes: Mapping[str, int]
) -> list[NodeProto]:
    """What a recurrent node stands for; constants go into ``model``.

    Raises:
        UnsupportedOperator: its sequence length is not known, or it uses a form that is not written out.
    """
    layer = (_IntegerLayer if node.op_type in _INTEGER else _Layer)(model, node, shapes, dtypes)
    layer.write()
    return layer.nodes


def _kind(node: NodeProto) -> str:
    """The standard operator of which a node is a form."""
    if node.domain == "com.microsoft":
        return _INTEGER.get(node.op_type, "")
    return node.op_type if node.domain in ("", "ai.onnx") else ""


class _Layer(Chain):
    """One recurrent node being written out."""

    def __init__(
        self, model: ModelProto, node: NodeProto, shapes: Mapping[str, Shape], dtypes: Mapping[str, int]
    ) -> None:
        self.units: dict[str, tuple[str, str]] = {}  # scale and zero point of integer weights
        super().__init__(model, f"{next(name for name in node.output if name)}/unrolled", dtypes)
        self.node, self.kind, self.attributes, self.shapes = node, _kind(node), attributes_of(node), shapes
        self.hidden = int(self.attributes["hidden_size"])
        self.direction = self.attributes.get("direction", "forward")
        self.ways = 2 if self.direction == "bidirectional" else 1
        names = [a.decode() if isinstance(a, bytes) else a for a in self.attributes.get("activations", [])]
        self.activations = names or _DEFAULTS[self.kind] * self.ways
        steps = (shapes.get(node.input[0]) or (None,))[0]
        problem = self._problem(steps, opset_of(model))
        if problem or not isinstance(steps, int):
            raise UnsupportedOperator(
                f"Node {node.name or node.output[0]!r}: operator {node.op_type} (opset {opset_of(model)}) can be "
                f"differentiated only when it is written out, and {problem}."
            )
        self.steps = steps

    def _problem(self, steps: int | str | None, opset: int) -> str:
        if not isinstance(steps, int):
            return "the length of its sequences is not known. Export the model with a fixed length"
        if opset < 13:
            return "that needs opset 13"
        if self.input(4):
            return "it has sequence lengths (sequence_lens)"
        if self.attributes.get("layout", 0) or self.attributes.get("clip") or self.attributes.get("input_forget", 0):
            return "it uses layout, clip or input_forget"
        if self.input(7):
            return "it has peephole weights"
        if any(parameters_of(name) != () for name in self.activations):
            return f"it uses the activations {', '.join(self.activations)}"
        return ""

    def input(self, index: int) -> str:
        """The name of an input, empty where it is not given."""
        return self.node.input[index] if index < len(self.node.input) else ""

    def rows(self, x: str, start: int, end: int, axis: int) -> str:
        """``x[start:end]`` along an axis."""
        return self("Slice", x, self.const([start]), self.const([end]), self.const([axis]))

    def pick(self, x: str, index: int) -> str:
        """``x[index]``."""
        return self("Gather", x, self.const(index), axis=0)

    def write(self) -> None:
        """All directions, then the node's outputs."""
        done = [self._way(d) for d in range(self.ways)]
        last = [(state, cell) for _, state, cell in done]
        zero = self.const([0])
        for k, output in enumerate(self.node.output):
            if not output:
                continue
            if k == 0:  # [T, D, N, H]
                each = [
                    self("Concat", *(self("Unsqueeze", way[0][t], zero) for way in done), axis=0)
                    for t in range(self.steps)
                ]
                self("Concat", *(self("Unsqueeze", v, zero) for v in each), axis=0, output=output)
            else:  # the last state, [D, N, H]
                self("Concat", *(self("Unsqueeze", way[k - 1], zero) for way in last), axis=0, output=output)

    def _way(self, d: int) -> tuple[list[str], str, str]:
        """One direction: hidden states in the order of time, the last one, and the last cell."""
        gates, size = _GATES[self.kind], self.hidden
        w, r = (self.matrix(k, d) for k in (1, 2))
        x = self.product(self.input(0), w)
        recurrent_bias = ""
        if self.input(3):
            bias = self.pick(self.input(3), d)
            x = self("Add", x, self.rows(bias, 0, gates * size, 0))
            recurrent_bias = self.rows(bias, gates * size, 2 * gates * size, 0)
        state, cell = (self._start(k, d) for k in (5, 6))
        backwards = self.direction == "reverse" or d == 1
        each = len(_DEFAULTS[self.kind])
        acts = self.activations[d * each : (d + 1) * each]
        found = [""] * self.steps
        for t in range(self.steps)[:: -1 if backwards else 1]:
            state, cell = _STEPS[self.kind](self, self.pick(x, t), state, cell, r, recurrent_bias, acts)
            found[t] = state
        return found, state, cell

    def matrix(self, index: int, d: int) -> str:
        """The weights of one direction, ``[inputs, gates * hidden]``."""
        return self("Transpose", self.pick(self.input(index), d), perm=[1, 0])

    def product(self, x: str, weights: str) -> str:
        """A state or the items, times weights."""
        return self("MatMul", x, weights)

    def _start(self, index: int, d: int) -> str:
        """The initial state: given, or zeros ``[N, H]``."""
        if self.input(index):
            return self.pick(self.input(index), d)
        if index == 6 and self.kind != "LSTM":
            return ""
        batch = self("Slice", self("Shape", self.input(0)), self.const([1]), self.const([2]))
        zeros = self("ConstantOfShape", self("Concat", batch, self.const([self.hidden]), axis=0))
        return self("CastLike", zeros, self.input(0))

    def cut(self, x: str, k: int) -> str:
        """Gate ``k`` of a row of gates."""
        return self.rows(x, k * self.hidden, (k + 1) * self.hidden, 1)


class _IntegerLayer(_Layer):
    """One of which the weights are integers that lie as they are multiplied, their scales and zeros behind them."""

    def matrix(self, index: int, d: int) -> str:
        name = self.pick(self.input(index), d)
        at = 8 if index == 1 else 10
        self.units[name] = (self.pick(self.input(at), d), self.pick(self.input(at + 1), d))
        return name

    def product(self, x: str, weights: str) -> str:
        return dynamic_product(self, x, weights, *self.units[weights])


def _lstm(s: _Layer, x: str, h: str, c: str, r: str, bias: str, acts: list[str]) -> tuple[str, str]:
    """Gates in the order input, output, forget, cell."""
    gates = s("Add", x, s.product(h, r))
    gates = s("Add", gates, bias) if bias else gates
    i, o, f = (s(acts[0], s.cut(gates, k)) for k in (0, 1, 2))
    new = s("Add", s("Mul", f, c), s("Mul", i, s(acts[1], s.cut(gates, 3))))
    return s("Mul", o, s(acts[2], new)), new


def _gru(s: _Layer, x: str, h: str, c: str, r: str, bias: str, acts: list[str]) -> tuple[str, str]:
    """Gates in the order update, reset, hidden: h' = (1 - z) n + z h."""
    size = s.hidden
    rest = s("MatMul", h, s.rows(r, 0, 2 * size, 1))
    if bias:
        rest = s("Add", rest, s.rows(bias, 0, 2 * size, 0))
    both = s("Add", s.rows(x, 0, 2 * size, 1), rest)
    z, reset = s(acts[0], s.cut(both, 0)), s(acts[0], s.cut(both, 1))
    last = s.rows(r, 2 * size, 3 * size, 1)
    hidden_bias = s.rows(bias, 2 * size, 3 * size, 0) if bias else ""
    if s.attributes.get("linear_before_reset", 0):
        inner = s("MatMul", h, last)
        inner = s("Mul", reset, s("Add", inner, hidden_bias) if bias else inner)
    else:
        inner = s("MatMul", s("Mul", reset, h), last)
        inner = s("Add", inner, hidden_bias) if bias else inner
    n = s(acts[1], s("Add", s.cut(x, 2), inner))
    return s("Add", n, s("Mul", z, s("Sub", h, n))), c


def _rnn(s: _Layer, x: str, h: str, c: str, r: str, bias: str, acts: list[str]) -> tuple[str, str]:
    """H' = f(x + h R + b)."""
    total = s("Add", x, s("MatMul", h, r))
    return s(acts[0], s("Add", total, bias) if bias else total), c


_STEPS: dict[str, Callable[..., tuple[str, str]]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
