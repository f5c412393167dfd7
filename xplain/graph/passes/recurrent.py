"""Write LSTM, GRU and RNN nodes in operators that have rules: one step as the body of a Scan, whatever the length.

The products of the items with the weights are done for all steps at once, in front of the Scan. Written out step by
step, which layers of integers and RevealCancel need, a file grows with the length, and the time to open it faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from xplain.core.errors import UnsupportedOperator
from xplain.graph.build.value import Shape
from xplain.graph.nodes import attributes_of, opset_of
from xplain.graph.operators import parameters_of
from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.integers import dynamic_product

__all__ = ["is_recurrent", "open_recurrent"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
_INTEGER = {"DynamicQuantizeLSTM": "LSTM"}
"""Of which the weights are integers, and states are quantised as they come."""


def is_recurrent(node: NodeProto) -> bool:
    """Whether a node runs over a sequence by itself."""
    return _kind(node) in _GATES


def open_recurrent(
    model: ModelProto,
    node: NodeProto,
    shapes: Mapping[str, Shape],
    dtypes: Mapping[str, int],
    unrolled: bool = False,
) -> tuple[list[NodeProto], dict[str, tuple[int, Shape]]]:
    """What a recurrent node stands for; constants go into ``model``.

    Args:
        model: The model.
        node: The node.
        shapes: Known shapes.
        dtypes: Known element types.
        unrolled: Step by step rather than as a Scan. Layers of integers always are.

    Returns:
        Nodes, and element type and shape of tensors that inference cannot see.

    Raises:
        UnsupportedOperator: the layer must be unrolled and its length is not known, or it uses a form without rule.
    """
    integer = node.op_type in _INTEGER
    layer = (_IntegerLayer if integer else _Layer)(model, node, shapes, dtypes, unrolled or integer)
    layer.write()
    return layer.nodes, layer.known


def _kind(node: NodeProto) -> str:
    """The standard operator of which a node is a form."""
    if node.domain == "com.microsoft":
        return _INTEGER.get(node.op_type, "")
    return node.op_type if node.domain in ("", "ai.onnx") else ""


@dataclass(frozen=True, slots=True)
class _Way:
    """One direction of a layer: its number, recurrent weights and bias, activations, and where it starts."""

    number: int
    r: str
    bias: str
    acts: list[str]
    backwards: bool


class _Layer(Chain):
    """One recurrent node being written out."""

    def __init__(
        self,
        model: ModelProto,
        node: NodeProto,
        shapes: Mapping[str, Shape],
        dtypes: Mapping[str, int],
        unrolled: bool,
    ) -> None:
        self.units: dict[str, tuple[str, str]] = {}  # scale and zero point of integer weights
        super().__init__(model, f"{next(name for name in node.output if name)}/unrolled", dtypes)
        self.node, self.kind, self.attributes = node, _kind(node), attributes_of(node)
        self.hidden = int(self.attributes["hidden_size"])
        self.direction = self.attributes.get("direction", "forward")
        self.ways = 2 if self.direction == "bidirectional" else 1
        names = [
            a.decode("utf-8", "replace") if isinstance(a, bytes) else a for a in self.attributes.get("activations", [])
        ]
        self.activations = names or _DEFAULTS[self.kind] * self.ways
        self.first = bool(self.attributes.get("layout", 0))  # items first, then time
        dims = shapes.get(node.input[0])
        dims = (None, None, None) if dims is None or len(dims) != 3 else dims
        self.length, self.batch = (dims[1], dims[0]) if self.first else (dims[0], dims[1])
        self.unrolled, self.known = unrolled, dict[str, tuple[int, Shape]]()
        self.dtype = dtypes.get(node.input[0]) or TensorProto.FLOAT
        self.peep = ("", "", "")
        problem = self._problem(opset_of(model))
        if problem:
            raise UnsupportedOperator(
                f"Node {node.name or node.output[0]!r}: operator {node.op_type} (opset {opset_of(model)}) can be "
                f"differentiated only when it is written out, and {problem}."
            )

    def _problem(self, opset: int) -> str:
        integer = self.node.op_type in _INTEGER
        if self.unrolled and not isinstance(self.length, int):
            why = "is done step by step" if integer else "these rules need it step by step"
            return f"the length of its sequences is not known, while it {why}. Export the model with a fixed length"
        if opset < 13:
            return "that needs opset 13"
        if integer and (self.input(4) or self.input(7) or self.first or self.attributes.get("clip")):
            return "it uses sequence lengths, peephole weights, layout or clip"
        if integer and self.attributes.get("input_forget", 0):
            return "it uses input_forget"
        if self.kind != "LSTM" and self.attributes.get("clip"):
            return "it uses clip, which runtimes read differently"
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
        self.x = self("Transpose", self.input(0), perm=[1, 0, 2]) if self.first else self.input(0)
        self.valid = self._valid() if self.input(4) else ""
        done = [self._way(d) for d in range(self.ways)]
        front, second = self.const([0]), self.const([1])
        for k, output in enumerate(self.node.output):
            if not output:
                continue
            axis = second if k == 0 else front  # [T, D, N, H], and the last states [D, N, H]
            ways = [self("Unsqueeze", way[k], axis) for way in done]
            end = "" if self.first else output
            found = self("Concat", *ways, axis=1 if k == 0 else 0, output=end)
            if self.first:
                self("Transpose", found, perm=[2, 0, 1, 3] if k == 0 else [1, 0, 2], output=output)

    def _valid(self) -> str:
        """Which steps are in an item's sequence, bool ``[T, N, 1]``."""
        if isinstance(self.length, int):
            times = self.const(list(range(self.length)), np.int32)
        else:
            count = self("Gather", self("Shape", self.x), self.const(0), axis=0)
            times = self("Cast", self("Range", self.const(0), count, self.const(1)), to=TensorProto.INT32)
        lengths = self("Unsqueeze", self.input(4), self.const([0, 2]))
        return self("Less", self("Unsqueeze", times, self.const([1, 2])), lengths)

    def _way(self, d: int) -> tuple[str, str, str]:
        """One direction: hidden states in the order of time ``[T, N, H]``, the last one, and the last cell."""
        gates, size = _GATES[self.kind], self.hidden
        w, r = (self.matrix(k, d) for k in (1, 2))
        x = self.product(self.x, w)
        recurrent_bias = ""
        if self.input(3):
            bias = self.pick(self.input(3), d)
            x = self("Add", x, self.rows(bias, 0, gates * size, 0))
            recurrent_bias = self.rows(bias, gates * size, 2 * gates * size, 0)
        if self.input(7):
            weights = self.pick(self.input(7), d)
            i, o, f = (self.rows(weights, k * size, (k + 1) * size, 0) for k in range(3))
            self.peep = (i, o, f)
        state, cell = (self._start(k, d) for k in (5, 6))
        backwards = self.direction == "reverse" or d == 1
        each = len(_DEFAULTS[self.kind])
        known = _Way(d, r, recurrent_bias, self.activations[d * each : (d + 1) * each], backwards)
        return (self._steps if self.unrolled else self._scan)(known, x, state, cell)

    def _step(self, way: _Way, x: str, h: str, c: str, valid: str) -> tuple[str, str, str]:
        """One step: the new state and cell, and what is given out; behind an item's end nothing changes."""
        state, cell = _STEPS[self.kind](self, x, h, c, way.r, way.bias, way.acts)
        if not valid:
            return state, cell, state
        nothing = self.const(0.0, helper.tensor_dtype_to_np_dtype(self.dtype))
        given = self("Where", valid, state, nothing)
        return self("Where", valid, state, h), self("Where", valid, cell, c) if c else c, given

    def _steps(self, way: _Way, x: str, state: str, cell: str) -> tuple[str, str, str]:
        """Step by step."""
        count, zero = int(self.length or 0), self.const([0])
        found = [""] * count
        for t in range(count)[:: -1 if way.backwards else 1]:
            valid = self.pick(self.valid, t) if self.valid else ""
            state, cell, given = self._step(way, self.pick(x, t), state, cell, valid)
            found[t] = given
        all_ = self("Concat", *(self("Unsqueeze", v, zero) for v in found), axis=0) if self.node.output[0] else ""
        return all_, state, cell

    def _scan(self, way: _Way, x: str, state: str, cell: str) -> tuple[str, str, str]:
        """The first step, and the others as the body of a Scan.

        The first is apart because its state is a constant as a rule, which relevance is not shared with. Not so where
        the length is free: it may be 1, and the runtime knows no Scan without steps.
        """
        scanned, given = [name for name in (x, self.valid) if name], ""
        if isinstance(self.length, int):
            start = -1 if way.backwards else 0
            valid = self.pick(self.valid, start) if self.valid else ""
            state, cell, given = self._step(way, self.pick(x, start), state, cell, valid)
            given = self("Unsqueeze", given, self.const([0]))
            if self.length == 1:
                return given, state, cell
            left = (0, -1) if way.backwards else (1, self.length)
            scanned = [self.rows(name, *left, 0) for name in scanned]
        outer, prefix, inside = self.nodes, self.prefix, f"{self.prefix}/step{way.number}"
        names = {part: f"{inside}/{part}" for part in ("state", "cell", "items", "valid")}
        self.nodes, self.prefix = [], inside
        made = self._step(
            way, names["items"], names["state"], names["cell"] if cell else "", names["valid"] if self.valid else ""
        )
        ends = [self("Identity", made[0]), *([self("Identity", made[1])] if cell else []), self("Identity", made[2])]
        nodes, self.nodes, self.prefix = self.nodes, outer, prefix
        wide, row = [None, _GATES[self.kind] * self.hidden], [None, self.hidden]

        def info(name: str, shape: list[int | None], dtype: int = self.dtype) -> ValueInfoProto:
            return helper.make_tensor_value_info(name, dtype, shape)

        inputs = [info(names["state"], row), *([info(names["cell"], row)] if cell else []), info(names["items"], wide)]
        inputs += [info(names["valid"], [None, 1], TensorProto.BOOL)] if self.valid else []
        body = helper.make_graph(nodes, inside, inputs, [info(name, row) for name in ends])
        outputs = [f"{inside}/last", *([f"{inside}/last_cell"] if cell else []), f"{inside}/all"]
        self.many(
            outputs,
            "Scan",
            *(name for name in (state, cell) if name),
            *scanned,
            body=body,
            num_scan_inputs=len(scanned),
            scan_input_directions=[int(way.backwards)] * len(scanned),
            scan_output_directions=[int(way.backwards)],
        )
        self.known.update((name, (self.dtype, (self.batch, self.hidden))) for name in outputs[:-1])
        rest = self.length - 1 if isinstance(self.length, int) else None
        self.known[outputs[-1]] = self.dtype, (rest, self.batch, self.hidden)
        every, last, last_cell = outputs[-1], outputs[0], outputs[1] if cell else ""
        if given:
            every = self("Concat", *([every, given] if way.backwards else [given, every]), axis=0)
        return every, last, last_cell

    def act(self, name: str, v: str) -> str:
        """An activation, whose argument may be clipped."""
        clip = self.attributes.get("clip")
        if clip:
            low, high = (self.const(s * clip, helper.tensor_dtype_to_np_dtype(self.dtype)) for s in (-1, 1))
            v = self("Clip", v, low, high)
        return self(name, v)

    def matrix(self, index: int, d: int) -> str:
        """The weights of one direction, ``[inputs, gates * hidden]``."""
        return self("Transpose", self.pick(self.input(index), d), perm=[1, 0])

    def product(self, x: str, weights: str) -> str:
        """A state or the items, times weights."""
        return self("MatMul", x, weights)

    def _start(self, index: int, d: int) -> str:
        """The initial state: given, or zeros ``[N, H]``."""
        if self.input(index):
            given = self.input(index)
            return self.pick(self("Transpose", given, perm=[1, 0, 2]) if self.first else given, d)
        if index == 6 and self.kind != "LSTM":
            return ""
        batch = self("Slice", self("Shape", self.x), self.const([1]), self.const([2]))
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
    parts = [s.cut(gates, k) for k in range(4)]

    def seen(k: int, cell: str) -> str:
        """Gate ``k`` with what it sees of the cell."""
        return s("Add", parts[k], s("Mul", cell, s.peep[k])) if s.peep[k] else parts[k]

    i = s.act(acts[0], seen(0, c))
    if s.attributes.get("input_forget", 0):
        f = s("Sub", s.const(1.0, helper.tensor_dtype_to_np_dtype(s.dtype)), i)
    else:
        f = s.act(acts[0], seen(2, c))
    new = s("Add", s("Mul", f, c), s("Mul", i, s.act(acts[1], parts[3])))
    o = s.act(acts[0], seen(1, new))
    return s("Mul", o, s(acts[2], new)), new


def _gru(s: _Layer, x: str, h: str, c: str, r: str, bias: str, acts: list[str]) -> tuple[str, str]:
    """Gates in the order update, reset, hidden: h' = (1 - z) n + z h."""
    size = s.hidden
    rest = s("MatMul", h, s.rows(r, 0, 2 * size, 1))
    if bias:
        rest = s("Add", rest, s.rows(bias, 0, 2 * size, 0))
    both = s("Add", s.rows(x, 0, 2 * size, 1), rest)
    z, reset = s.act(acts[0], s.cut(both, 0)), s.act(acts[0], s.cut(both, 1))
    last = s.rows(r, 2 * size, 3 * size, 1)
    hidden_bias = s.rows(bias, 2 * size, 3 * size, 0) if bias else ""
    if s.attributes.get("linear_before_reset", 0):
        inner = s("MatMul", h, last)
        inner = s("Mul", reset, s("Add", inner, hidden_bias) if bias else inner)
    else:
        inner = s("MatMul", s("Mul", reset, h), last)
        inner = s("Add", inner, hidden_bias) if bias else inner
    n = s.act(acts[1], s("Add", s.cut(x, 2), inner))
    return s("Add", n, s("Mul", z, s("Sub", h, n))), c


def _rnn(s: _Layer, x: str, h: str, c: str, r: str, bias: str, acts: list[str]) -> tuple[str, str]:
    """H' = f(x + h R + b)."""
    total = s("Add", x, s("MatMul", h, r))
    return s.act(acts[0], s("Add", total, bias) if bias else total), c


_STEPS: dict[str, Callable[..., tuple[str, str]]] = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
