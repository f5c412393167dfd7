"""A chain of layers that makes pictures, as one ONNX file: what the torch extra trains here, run anywhere without it.

    layers = (Conv(w, b), Norm(scale, shift), Relu(), Up((28, 28)), Conv(w, b), Sigmoid())
    file = feed_forward(layers, "picture", ("N", 3, "H", "W"), card='mode = "RGB"')

The layers are data, weights and all; ``xplain.models.torch.painters`` holds the torch twin of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from xplain.core.edits import Array

__all__ = ["STYLE", "Conv", "Dense", "Layer", "Norm", "Relu", "Residual", "Scale", "Sigmoid", "Up", "feed_forward"]

STYLE = "style"
"""The input that mixes the styles of a chain: a weight for each, ``[1, S]``; left out, the first one alone."""

_OPSET, _IR = 17, 8


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution of odd size whose borders are mirrored: ``weight [M, C, K, K]``, ``bias [M]``."""

    weight: Array
    bias: Array
    stride: int = 1


@dataclass(frozen=True, eq=False)
class Dense:
    """``x @ weight + bias`` in another shape: ``weight [C, M]``, ``bias [M]``, ``shape`` of M elements."""

    weight: Array
    bias: Array
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Norm:
    """Instance norm with a scale and a shift for each of S styles, ``[S, C]`` each. Dumoulin 2017, arXiv:1610.07629."""

    scale: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Scale:
    """``x * gain + shift``, in shapes that spread over positions, such as ``[C, 1, 1]``."""

    gain: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class Up:
    """Enlarged: by a whole factor, repeating; or to a height and a width, linearly between."""

    to: tuple[int, int] | int


@dataclass(frozen=True, eq=False)
class Relu:
    """``max(x, 0)``."""


@dataclass(frozen=True, eq=False)
class Sigmoid:
    """``1 / (1 + exp(-x))``."""


@dataclass(frozen=True, eq=False)
class Residual:
    """``x + chain(x)``."""

    chain: tuple[Any, ...]


Layer: TypeAlias = Conv | Dense | Norm | Scale | Up | Relu | Sigmoid | Residual


def feed_forward(layers: Sequence[Layer], name: str, shape: Sequence[int | str], **metadata: str) -> ModelProto:
    """The file of a chain: one input ``[N, ...]``, one output ``made``, and ``STYLE`` where there are several styles.

    Args:
        layers: The chain.
        name: Of the input.
        shape: Of the input, with words for free axes.
        metadata: Entries ``xplain.NAME`` of the file.
    """
    writing = _Writing([], [], max((_styles(one) for one in layers), default=1))
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))]
    if writing.styles > 1:
        inputs.append(helper.make_tensor_value_info(STYLE, TensorProto.FLOAT, [1, writing.styles]))
        writing.weight(STYLE, np.eye(1, writing.styles))
    last = writing.chain(layers, name)
    writing.node("Identity", [last], "made")
    channels = next(one.weight.shape[0] for one in reversed(layers) if isinstance(one, Conv))
    made = helper.make_tensor_value_info("made", TensorProto.FLOAT, ["N", channels, "height", "width"])
    graph = helper.make_graph(writing.nodes, "painter", inputs, [made], writing.weights)
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    helper.set_model_props(file, {f"xplain.{key}": text for key, text in metadata.items()})
    return file


def _styles(layer: Layer) -> int:
    if isinstance(layer, Residual):
        return max(_styles(one) for one in layer.chain)
    return len(layer.scale) if isinstance(layer, Norm) else 1


@dataclass(slots=True)
class _Writing:
    """A graph under construction."""

    nodes: list[Any]
    weights: list[Any]
    styles: int

    def weight(self, name: str, array: Array, kind: type = np.float32) -> str:
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array, kind), name))
        return name

    def node(self, kind: str, inputs: list[str], out: str = "", **attributes: Any) -> str:
        out = out or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [out], name=out, **attributes))
        return out

    def chain(self, layers: Sequence[Layer], x: str) -> str:
        for layer in layers:
            x = self.layer(layer, x)
        return x

    def layer(self, layer: Layer, x: str) -> str:
        own = f"layer{len(self.nodes)}"
        if isinstance(layer, Conv):
            edge = layer.weight.shape[2] // 2
            if edge:
                pads = self.weight(f"{own}/pads", np.array([0, 0, edge, edge] * 2), np.int64)
                x = self.node("Pad", [x, pads], mode="reflect")
            given = [x, self.weight(f"{own}/weight", layer.weight), self.weight(f"{own}/bias", layer.bias)]
            return self.node("Conv", given, strides=[layer.stride] * 2)
        if isinstance(layer, Dense):
            given = [x, self.weight(f"{own}/weight", layer.weight), self.weight(f"{own}/bias", layer.bias)]
            shape = self.weight(f"{own}/shape", np.array([-1, *layer.shape]), np.int64)
            return self.node("Reshape", [self.node("Gemm", given), shape])
        if isinstance(layer, Norm):
            return self._norm(layer, x, own)
        if isinstance(layer, Scale):
            gain, shift = self.weight(f"{own}/gain", layer.gain), self.weight(f"{own}/shift", layer.shift)
            return self.node("Add", [self.node("Mul", [x, gain]), shift])
        if isinstance(layer, Up):
            return self._up(layer, x, own)
        if isinstance(layer, Residual):
            return self.node("Add", [x, self.chain(layer.chain, x)])
        return self.node(type(layer).__name__, [x])

    def _norm(self, layer: Norm, x: str, own: str) -> str:
        channels = layer.scale.shape[1]
        plain = [self.weight(f"{own}/one", np.ones(channels)), self.weight(f"{own}/zero", np.zeros(channels))]
        x = self.node("InstanceNormalization", [x, *plain], epsilon=1e-5)
        shape = self.weight(f"{own}/plane", np.array([1, channels, 1, 1]), np.int64)
        mixed = []
        for name, table in (("scale", layer.scale), ("shift", layer.shift)):
            rows = self.weight(f"{own}/{name}", table)
            one = self.node("MatMul", [STYLE, rows]) if self.styles > 1 else rows
            mixed.append(self.node("Reshape", [one, shape]))
        return self.node("Add", [self.node("Mul", [x, mixed[0]]), mixed[1]])

    def _up(self, layer: Up, x: str, own: str) -> str:
        """By whole factors nearest neighbours; to a size linearly between pixel centres."""
        if isinstance(layer.to, int):
            scales = self.weight(f"{own}/scales", np.array([1, 1, layer.to, layer.to]))
            how = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
            return self.node("Resize", [x, "", scales], **how)
        shape = self.node("Shape", [x], start=0, end=2)
        sizes = self.node("Concat", [shape, self.weight(f"{own}/to", np.array(layer.to), np.int64)], axis=0)
        return self.node("Resize", [x, "", "", sizes], mode="linear", coordinate_transformation_mode="half_pixel")
