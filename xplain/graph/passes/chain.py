"""Emit a few nodes under one prefix: what passes use that replace one node by several."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

__all__ = ["Chain", "attributes_of"]


class Chain:
    """Collects nodes that replace one; ``chain("Mul", a, b)`` adds a node and gives the name of its output."""

    def __init__(self, model: ModelProto, prefix: str) -> None:
        self.model, self.prefix, self.nodes = model, prefix, list[NodeProto]()
        self._constants = 0

    def __call__(self, op: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        name = output or f"{self.prefix}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def const(self, content: Any, dtype: Any = np.int64) -> str:
        """Add a constant."""
        self._constants += 1
        name = f"{self.prefix}/const{self._constants}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(content, dtype=dtype), name))
        return name


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """The attributes of a node, text as str."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}
