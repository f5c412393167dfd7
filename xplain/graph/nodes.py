"""Nodes and models as rooms read them that do not import onnx: their types, attributes and versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

__all__ = ["Model", "Node", "attribute", "attributes_of", "declared", "numbers", "opset_of"]

Node: TypeAlias = NodeProto
Model: TypeAlias = ModelProto


def attributes_of(node: Node) -> dict[str, Any]:
    """The attributes of a node as Python values, text as str."""
    return {a.name: _as_text(helper.get_attribute_value(a)) for a in node.attribute}


def attribute(node: Node, name: str, default: Any = None) -> Any:
    """One attribute of a node, text as str; ``default`` where the node does not state it."""
    found = next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
    return _as_text(found)


def _as_text(value: Any) -> Any:
    """Text as str; what a damaged file has in place of text stays bytes, which no operator knows."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def numbers(node: Node, name: str) -> tuple[int, ...] | None:
    """An attribute that is a list of whole numbers; None where the node does not state it."""
    value = attribute(node, name)
    return None if value is None else tuple(int(v) for v in value)


def opset_of(model: Model, domain: str = "") -> int:
    """The version of an operator set that a model imports; 0 where it does not."""
    names = ("", "ai.onnx") if domain == "" else (domain,)
    return max((int(entry.version) for entry in model.opset_import if entry.domain in names), default=0)


def declared(name: str, shape: Sequence[int | str] | None = None) -> ValueInfoProto:
    """A float32 tensor as a graph declares its inputs and outputs: extents by number or by name, None for any."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None if shape is None else list(shape))
