"""Which tensors of a graph are constant, and the content of the small ones.

Shapes, axes and indices must be known while a graph is built; weights must not, because a model may be larger than
memory allows to copy. So only small constants are ever read, and only when asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from xplain.core.edits import Array
from xplain.graph.analysis.small import compute
from xplain.graph.naming import subgraphs_of
from xplain.graph.operators import facts_of

__all__ = ["LARGEST", "Constants", "Weights"]

LARGEST = 1 << 16
"""Most elements of a constant whose content is read."""

_INTEGERS = {TensorProto.INT64, TensorProto.INT32, TensorProto.BOOL}


class Constants:
    """The constants of a model: ``name in constants`` tells, ``get`` reads one that is small.

    Args:
        model: The model; its graph is read, not kept.
        shapes: Known shapes by tensor name, read later too, as they grow.
        dtypes: Known dtypes by tensor name.
        folder: Where external data lie.
        weights: Content of initializers that were taken out of the model.
    """

    def __init__(
        self,
        model: ModelProto,
        shapes: Mapping[str, tuple[int | str | None, ...]],
        dtypes: Mapping[str, int],
        folder: str = "",
        weights: Mapping[str, TensorProto] | None = None,
    ) -> None:
        self._shapes, self._dtypes, self._folder = shapes, dtypes, folder
        self._opsets, self._ir = list(model.opset_import), model.ir_version
        self._tensors: dict[str, TensorProto] = {
            t.name: (weights or {}).get(t.name, t) for t in model.graph.initializer
        }
        self._nodes: dict[str, NodeProto] = {}
        self._content: dict[str, np.ndarray[Any, Any] | None] = {}
        self._partial: dict[str, tuple[int | None, ...]] = {}
        for node in model.graph.node:
            self.derive(node)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors or name in self._nodes or self._content.get(name) is not None

    def put(self, name: str, content: np.ndarray[Any, Any]) -> None:
        """State the content of a constant."""
        self._content[name] = content

    def derive(self, node: NodeProto) -> None:
        """Note a node whose outputs are constant because its inputs are, or because it reads a known shape."""
        inputs = [name for name in node.input if name]
        if node.op_type == "Shape" and node.output[0] not in self._partial:
            self._read_shape(node)
        if node.output and node.output[0] in self._content:
            return
        what = facts_of(node)
        if what.random or what.control or (not inputs and node.op_type != "Constant"):
            return
        if all(name in self for name in inputs):
            self._nodes.update((name, node) for name in node.output if name)
        elif inputs[0] in self._partial:
            self._partly(node)

    def get(self, name: str) -> np.ndarray[Any, Any] | None:
        """The content of a small constant; None where the tensor is not constant, large, or cannot be computed."""
        if name not in self._content:
            self._content[name] = self._compute(name)
        return self._content[name]

    def _compute(self, name: str) -> np.ndarray[Any, Any] | None:
        if name in self._tensors:
            tensor = self._tensors[name]
            return self._read(tensor) if math.prod(tensor.dims) <= LARGEST else None
        node = self._nodes.get(name)
        if node is None:
            return None
        shape = self._shapes.get(name)
        if (
            shape is not None
            and all(isinstance(d, int) for d in shape)
            and math.prod(int(d or 0) for d in shape) > LARGEST
        ):
            return None
        if node.op_type == "Constant":
            return _constant(node)
        feeds: dict[str, np.ndarray[Any, Any]] = {}
        for source in node.input:
            content = self.get(source) if source else None
            if source and content is None:
                return None
            if content is not None:
                feeds[source] = content
        made = compute(node, feeds, self._opsets, LARGEST, self._ir)
        self._content.update(made)
        return made.get(name)

    def _read(self, tensor: TensorProto) -> np.ndarray[Any, Any] | None:
        """A small tensor; None where it lies in a file that is not there."""
        try:
            return numpy_helper.to_array(tensor, self._folder)
        except (OSError, ValueError, checker.ValidationError):
            return None

    def _read_shape(self, node: NodeProto) -> None:
        shape = self._shapes.get(node.input[0])
        if shape is None or node.attribute:
            return
        dims = tuple(d if isinstance(d, int) else None for d in shape)
        self._learn(node.output[0], dims)

    def _learn(self, name: str, dims: tuple[int | None, ...]) -> None:
        """A shape vector of which some entries are known; it is a constant when all are."""
        if None in dims:
            self._partial[name] = dims
        else:
            self._content[name] = np.array(dims, dtype=np.int64)

    def _partly(self, node: NodeProto) -> None:
        """Follow a partly known shape through the few operators that pick from it."""
        dims = self._partial[node.input[0]]
        rest = [self.get(name) for name in node.input[1:] if name]
        if node.op_type == "Cast":
            self._partial[node.output[0]] = dims
        elif any(content is None for content in rest):
            return
        elif node.op_type == "Gather":
            index = np.asarray(rest[0])
            picked = [dims[int(i)] for i in index.ravel()]
            if None not in picked:
                self._content[node.output[0]] = np.array(picked, dtype=np.int64).reshape(index.shape)
        elif node.op_type == "Slice" and len(rest) >= 2:
            steps = rest[3] if len(rest) > 3 else np.ones(1, dtype=np.int64)
            starts, ends = np.asarray(rest[0]), np.asarray(rest[1])
            self._learn(node.output[0], dims[int(starts[0]) : int(ends[0]) : int(np.asarray(steps)[0])])


def _constant(node: NodeProto) -> np.ndarray[Any, Any] | None:
    """The content of a Constant node."""
    attribute = node.attribute[0]
    if attribute.type == AttributeProto.TENSOR:
        return numpy_helper.to_array(attribute.t) if math.prod(attribute.t.dims) <= LARGEST else None
    if attribute.type in (AttributeProto.FLOAT, AttributeProto.FLOATS):
        return np.array(helper.get_attribute_value(attribute), dtype=np.float32)
    if attribute.type in (AttributeProto.INT, AttributeProto.INTS):
        return np.array(helper.get_attribute_value(attribute), dtype=np.int64)
    return None


class Weights:
    """Constants of any size, read when asked for.

    Args:
        model: The model that holds them.
        outside: Content of tensors that is not in the model.
    """

    def __init__(self, model: ModelProto, outside: Mapping[str, Array]) -> None:
        self._tensors: dict[str, TensorProto] = {t.name: t for t in model.graph.initializer}
        self._nodes: dict[str, NodeProto] = {o: n for n in model.graph.node for o in n.output if o}
        self._opsets, self._ir, self._outside = list(model.opset_import), model.ir_version, outside

    def get(self, name: str) -> Array | None:
        """The content of a constant; None where it cannot be computed from constants alone."""
        if name in self._outside:
            return self._outside[name]
        if name in self._tensors:
            return numpy_helper.to_array(self._tensors[name])
        node = self._nodes.get(name)
        if node is None or node.domain not in ("", "ai.onnx") or subgraphs_of(node):
            return None
        feeds: dict[str, Any] = {}
        for source in node.input:
            value = self.get(source) if source else None
            if source and value is None:
                return None
            if source:
                feeds[source] = value
        read = sum(array.size for array in feeds.values())
        return compute(node, feeds, self._opsets, max(LARGEST, 4 * read), self._ir).get(name)
