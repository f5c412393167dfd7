"""Emit a few nodes under one prefix: what passes use that replace one node by several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from xplain.graph.nodes import opset_of

__all__ = ["Chain"]

_CAST_LIKE = 15
"""The first opset that has it."""


class Chain:
    """Collects nodes that replace one; ``chain("Mul", a, b)`` adds a node and gives the name of its output.

    Args:
        model: Where constants go, and whose opset is used.
        prefix: In front of every new name.
        dtypes: Element types of tensors, as far as they are known.
    """

    def __init__(self, model: ModelProto, prefix: str, dtypes: Mapping[str, int] | None = None) -> None:
        self.model, self.prefix, self.nodes = model, prefix, list[NodeProto]()
        self.dtypes: Mapping[str, int] = dtypes or {}
        self._constants = 0

    def __call__(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        return self.many([output or f"{self.prefix}/{len(self.nodes)}"], op, *inputs, **attributes)[0]

    def many(self, outputs: list[str], op: str, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with several outputs; their names are given."""
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def parts(self, labels: str, op: str, *inputs: str, **attributes: Any) -> list[str]:
        """Add a node with one output per word of ``labels``, which end the outputs' names."""
        return self.many([f"{self.prefix}/{label}" for label in labels.split()], op, *inputs, **attributes)

    def const(self, content: Any, dtype: Any = np.int64) -> str:
        """Add a constant."""
        self._constants += 1
        name = f"{self.prefix}/const{self._constants}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(content, dtype=dtype), name))
        return name

    def number(self, value: Any, like: str) -> str:
        """A number, or an array of them, in the precision of a tensor; old opsets know float32 alone."""
        if opset_of(self.model) < _CAST_LIKE:
            return self.const(value, np.float32)
        return self("CastLike", self.const(value, np.float32), like)
