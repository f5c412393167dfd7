"""The signature of an opener, the function that writes one fused node as standard ones, and helpers for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from onnx import NodeProto

from xplain.graph.build.value import Shape
from xplain.graph.passes.chain import Chain

__all__ = ["Attributes", "Opener", "Shapes", "inputs", "last_extent", "outputs"]

Attributes: TypeAlias = "dict[str, Any]"
Shapes: TypeAlias = "Mapping[str, Shape]"

Opener: TypeAlias = Callable[[Chain, NodeProto, "dict[str, Any]", "Mapping[str, Shape]"], bool]
"""``(chain, node, its attributes, known shapes) -> done``; False leaves the node as it is."""


def inputs(node: NodeProto, count: int) -> list[str]:
    """The names of the first ``count`` inputs; empty where one is not given."""
    return [*node.input, *[""] * count][:count]


def outputs(node: NodeProto, count: int) -> list[str]:
    """The names of the first ``count`` outputs; empty where nobody asked for one."""
    return [*node.output, *[""] * count][:count]


def last_extent(shapes: Shapes, name: str) -> int | None:
    """The last extent of a tensor, where it is known."""
    found = (shapes.get(name) or (None,))[-1]
    return found if isinstance(found, int) else None
