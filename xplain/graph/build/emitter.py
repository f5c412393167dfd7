"""A graph under construction: its values, the nodes that are added to it, and what is known of each tensor.

``Tracer`` adds the words in which rules are written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from xplain.core.errors import ModelError
from xplain.graph.analysis.constants import Constants
from xplain.graph.analysis.inference import Kind, infer_node, kind_of
from xplain.graph.dtypes import FLOATS
from xplain.graph.nodes import opset_of
from xplain.graph.naming import names_in, rename_reads
from xplain.graph.build.value import Builder, Shape, Value

__all__ = ["Emitter"]

_OLDEST_OPSET = 11


class Emitter:
    """Adds nodes to a model, and knows dtype, shape and small constant values of every tensor.

    Args:
        model: A prepared model; only its graph's tables are read, it is not changed before ``xplain.graph.build.emit``.
        folder: Where external data lie, for small constants that are stored there.
        weights: Content of initializers that were taken out of the model.
        prefix: Put in front of every new name, for a graph that will lie inside another.
    """

    def __init__(
        self, model: ModelProto, folder: str = "", weights: Mapping[str, TensorProto] | None = None, prefix: str = ""
    ) -> None:
        self.model, self.folder = model, folder
        self.opset = opset_of(model)
        if self.opset < _OLDEST_OPSET:
            raise ModelError(
                f"The model uses opset {self.opset} and could not be raised; backward rules need opset {_OLDEST_OPSET} "
                "or newer. Export it again with a newer opset."
            )
        self.forward: list[NodeProto] = list(model.graph.node)
        self.emitted: list[NodeProto] = []
        self._added: dict[str, NodeProto] = {}
        self.initializers: list[TensorProto] = []
        self.shapes: dict[str, Shape] = {}
        self.dtypes: dict[str, int] = {}
        self._shared: dict[tuple[Any, ...], Value] = {}
        self._count, self._prefix = 0, prefix
        graph = model.graph
        for info in (*graph.input, *graph.output, *graph.value_info):
            self._note(info.name, kind_of(info.type))
        for tensor in graph.initializer:
            self.dtypes[tensor.name], self.shapes[tensor.name] = tensor.data_type, tuple(tensor.dims)
        self._names = set(names_in(graph))
        self._labels = {node.name for node in self.forward}
        self.constants = Constants(model, self.shapes, self.dtypes, folder, weights or {})
        self.producers = {name: node for node in self.forward for name in node.output if name}

    def _note(self, name: str, kind: Kind) -> None:
        dtype, shape = kind
        if dtype:
            self.dtypes[name] = dtype
        if shape is not None:
            self.shapes[name] = shape

    # ------------------------------------------------------------------ values

    def value(self, name: str) -> Value:
        """The tensor called ``name``; a dtype that nobody stated is taken to be float32."""
        return Value(cast(Builder, self), name, self.dtypes.get(name, TensorProto.FLOAT))

    def fresh(self, base: str) -> str:
        """A name that no tensor or node has, in the graph or inside its subgraphs."""
        while True:
            self._count += 1
            name = f"{self._prefix}{base}.{self._count}"
            if name not in self._names and name not in self._labels:
                self._names.add(name)
                return name

    def const(self, value: Any, dtype: int | None = None) -> Value:
        """A constant; equal ones are stored once."""
        array = np.asarray(value)
        if dtype is not None:
            array = array.astype(helper.tensor_dtype_to_np_dtype(dtype))
        array = np.ascontiguousarray(array).reshape(array.shape)
        key = (array.shape, array.dtype.str, hashlib.sha256(array.tobytes()).digest())
        if key not in self._shared:
            tensor = numpy_helper.from_array(array, self.fresh("const"))
            self.initializers.append(tensor)
            self.shapes[tensor.name], self.dtypes[tensor.name] = array.shape, tensor.data_type
            self.constants.put(tensor.name, array)
            self._shared[key] = self.value(tensor.name)
        return self._shared[key]

    def ints(self, *values: Any) -> Value:
        """A vector of int64."""
        return self.const(np.array(values, dtype=np.int64))

    def input(self, name: str, dtype: int, shape: Shape | None) -> Value:
        """Declare a further input of the finished graph.

        Raises:
            ModelError: the model has an input, an output or a weight of this name.
        """
        if name in self._names:
            raise ModelError(
                f"The model has a tensor {name!r}, which is the name of an input of the graph that explains it. Rename "
                "it in the model."
            )
        self._names.add(name)
        self.dtypes[name] = dtype
        if shape is not None:
            self.shapes[name] = shape
        return self.value(name)

    def maker(self, x: Value, op: str, added: bool = False) -> list[Value] | None:
        """The inputs of the node that makes ``x``, where it is an ``op``; ``added``: and none of the model's own."""
        node = self._added.get(x.name) or (None if added else self.producers.get(x.name))
        if node is None or node.op_type != op or node.domain not in ("", "ai.onnx"):
            return None
        return [self.value(name) for name in node.input]

    # ------------------------------------------------------------------ nodes

    def __getattr__(self, op: str) -> Callable[..., Value]:
        if not op[:1].isupper():
            raise AttributeError(op)
        return lambda *inputs, **attributes: self.emit(op, *inputs, **attributes)

    def emit(self, op: str, *inputs: Any, domain: str = "", shape: Shape | None = None, **attributes: Any) -> Value:
        """Add a node with one output. ``shape`` is stated where inference cannot see it."""
        return self.emit_many(1, op, *inputs, domain=domain, shape=shape, **attributes)[0]

    def emit_many(
        self, count: int, op: str, *inputs: Any, domain: str = "", shape: Shape | None = None, **attributes: Any
    ) -> tuple[Value, ...]:
        """Add a node with ``count`` outputs; numbers and float64 arrays take the type of the real values beside them.

        numpy makes float64 of almost anything, and a node of mixed types has no shape that inference could find.
        """
        real = next((v.dtype for v in inputs if isinstance(v, Value) and v.dtype in FLOATS), None)

        def constant(v: Any) -> Value:
            return self.const(v, real if np.asarray(v).dtype == np.float64 else None)

        values = [v if v is None or isinstance(v, Value) else constant(v) for v in inputs]
        outputs = [self.fresh(op) for _ in range(count)]
        node = helper.make_node(
            op, [v.name if v is not None else "" for v in values], outputs, name=outputs[0], domain=domain, **attributes
        )
        self.add(node)
        if shape is not None:
            self.shapes[outputs[0]] = shape
        return tuple(self.value(name) for name in outputs)

    def add(self, node: NodeProto) -> None:
        """Add a finished node and infer what is known of its outputs."""
        self.emitted.append(node)
        self._added.update((name, node) for name in node.output)
        self.infer(node)

    def infer(self, node: NodeProto) -> None:
        """dtype, shape and constancy of a node's outputs, from those of its inputs."""
        inputs = [name for name in dict.fromkeys(node.input) if name]
        for name in node.output:
            self.dtypes.setdefault(name, self.dtypes.get(inputs[0], TensorProto.FLOAT) if inputs else TensorProto.FLOAT)
        self.constants.derive(node)
        if node.domain not in ("", "ai.onnx"):
            return
        kinds = {name: (self.dtypes.get(name, TensorProto.FLOAT), self.shapes.get(name)) for name in inputs}
        vectors = [name for name, (_, shape) in kinds.items() if shape is not None and len(shape) <= 1]
        content = {name: held for name in vectors if (held := self.constants.get(name)) is not None}
        found = infer_node(node, kinds, content, self.model.opset_import, self.model.ir_version)
        # not knowing a shape only costs speed; a wrong node is refused when the file is checked
        for name, kind in (found or {}).items():
            self._note(name, kind)

    # ------------------------------------------------------------------ describing nodes

    def rename(self, node: NodeProto, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> NodeProto:
        """A copy of a node with other tensor names, also where its subgraphs read them."""
        copy = NodeProto()
        copy.CopyFrom(node)
        copy.name = self.fresh(node.name or node.op_type)
        rename_reads(copy, inputs)
        for k, name in enumerate(node.output):
            copy.output[k] = outputs.get(name, name)
        return copy
