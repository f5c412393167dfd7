"""A graph as ONNX Runtime's optimiser wrote it: who makes and who reads each tensor, its type and its shape.

The optimiser keeps convolutions in blocked layout ``[N, C / B, H, W, B]``, which it writes as ``[N, C, H, W]``; of the
tensors between them it states neither type nor shape. They are float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TypeAlias

from onnx import NodeProto, TensorProto, ValueInfoProto, defs, numpy_helper

from xplain.graph.naming import reads
from xplain.graph.nodes import Model, attribute
from xplain.graph.operators import facts_of

__all__ = ["NCHWC", "Optimised", "Shape"]

NCHWC = "com.microsoft.nchwc"
"""The domain of operators that work in blocked layout."""
Shape: TypeAlias = tuple[int | str, ...]
"""Extents, or names of those that are free."""


@dataclass(frozen=True)
class Optimised:
    """What is read of such a graph; it is not changed.

    Args:
        model: The model.
    """

    model: Model

    @cached_property
    def nodes(self) -> list[NodeProto]:
        """The nodes, in the order of the file."""
        return list(self.model.graph.node)

    @cached_property
    def makers(self) -> dict[str, int]:
        """By tensor, the index of the node that makes it."""
        return {name: k for k, node in enumerate(self.nodes) for name in node.output if name}

    @cached_property
    def readers(self) -> dict[str, list[int]]:
        """By tensor, the nodes that read it, also inside their bodies."""
        found: dict[str, list[int]] = {}
        for k, node in enumerate(self.nodes):
            for name in reads(node):
                found.setdefault(name, []).append(k)
        return found

    @cached_property
    def outputs(self) -> frozenset[str]:
        """The graph's outputs."""
        return frozenset(entry.name for entry in self.model.graph.output)

    @cached_property
    def dtypes(self) -> dict[str, int]:
        """Element types, as far as they are stated or follow."""
        graph = self.model.graph
        found = {name: entry.type.tensor_type.elem_type for name, entry in self.stated.items()}
        found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
        for node in self.nodes:
            for name in node.output:
                if name in found:
                    continue
                if node.domain == NCHWC:
                    found[name] = int(TensorProto.FLOAT)
                elif facts_of(node).elementwise and node.domain in ("", "ai.onnx"):
                    found[name] = _made(node, [found.get(given, 0) for given in node.input])
        return found

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Shapes, where every extent is a number or has a name."""
        found = {name: shape for name, entry in self.stated.items() if (shape := _shape(entry)) is not None}
        return found | {tensor.name: tuple(tensor.dims) for tensor in self.model.graph.initializer}

    def single(self, name: str) -> bool:
        """Whether a tensor is known to be one number."""
        shape = self.shapes.get(name)
        return shape is not None and all(extent == 1 for extent in shape) and prod((1, *map(int, shape))) == 1

    def without_zero(self, name: str) -> bool:
        """Whether a tensor is a weight none of whose values is zero."""
        weight = self._weights.get(name)
        return weight is not None and bool(numpy_helper.to_array(weight).all())

    @cached_property
    def _weights(self) -> dict[str, TensorProto]:
        inputs = {entry.name for entry in self.model.graph.input}  # a caller may feed those
        return {tensor.name: tensor for tensor in self.model.graph.initializer if tensor.name not in inputs}

    @cached_property
    def stated(self) -> dict[str, ValueInfoProto]:
        """What the file states of tensors that are no weights."""
        graph = self.model.graph
        return {entry.name: entry for entry in (*graph.value_info, *graph.input, *graph.output)}


def _made(node: NodeProto, given: Sequence[int]) -> int:
    """The type of what an operator makes, by its definition, or by the attribute of a cast; 0 where neither says it."""
    if stated := attribute(node, "to"):
        return int(stated)
    schema = defs.get_schema(node.op_type)
    kind = schema.outputs[0].type_str
    if set(schema.outputs[0].types) == {"tensor(bool)"}:
        return int(TensorProto.BOOL)
    kinds = [schema.inputs[min(k, len(schema.inputs) - 1)].type_str for k in range(len(given))]
    return next((dtype for dtype, one in zip(given, kinds, strict=True) if one == kind), 0)


def _shape(entry: ValueInfoProto) -> Shape | None:
    if not entry.type.tensor_type.HasField("shape"):
        return None
    dims = entry.type.tensor_type.shape.dim
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims)
    return None if "" in shape else shape
