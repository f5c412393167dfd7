"""The table of operators: for each its VJP, what kind it is, and what else is known. Filled by the files of ``ops``.

    @backward("Reshape", "Flatten", kind="move")
    def reshape(call, g):
        return [call.t.reshape_like(g, call.x)]

    slope("Tanh", lambda c: 1.0 - c.y * c.y, rises=True, low=-1.0, high=1.0, gate=True)
    facts("Reshape Flatten", repacks=True, axes="moved")

Facts are stated once, here, also for operators without a rule; ``facts_of`` gives them.

A VJP gets the cotangent of the first output, or with ``every=True`` a list with one entry per output, and gives one
entry per input; trailing Nones may be left out. Slopes are written in terms of outputs where that is possible: the
runtime can then still fuse the activation with the convolution before it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, wraps
from inspect import unwrap
from pathlib import Path
from typing import Any, TypeAlias

from onnx import NodeProto, defs

from xplain.core.errors import UsageError
from xplain.core.facts import Facts
from xplain.core.rules import Call, Cotangents, Kind
from xplain.graph.nodes import attribute

__all__ = [
    "Operator",
    "backward",
    "channels_last",
    "facts",
    "facts_of",
    "find_operator",
    "key_of",
    "known",
    "operators",
    "parameters_of",
]

KindOf: TypeAlias = "Kind | Callable[[Any], Kind]"
"""What an operator does, or how to tell from its ``NodeCall``."""


@dataclass(frozen=True)
class Operator:
    """What is known of an operator type.

    Args:
        vjp: ``(call, cotangents per output) -> cotangents per input``.
        kind: What it does, or how to tell from the call.
        weight: Which input is the weight when input 0 is the data.
        bias: Which input is the bias.
        flow: Inputs that carry a derivative; None for all. The others are indices, shapes, axes.
        axes: The axes that it runs over, from the call.
    """

    vjp: Callable[[Any, Cotangents], Cotangents]
    kind: KindOf
    weight: int | None = None
    bias: int | None = None
    flow: tuple[int, ...] | None = None
    axes: Callable[[Any], list[int]] | None = None

    def kind_of(self, call: Call) -> Kind:
        """What the operator does to the active inputs of ``call``."""
        return self.kind(call) if callable(self.kind) else self.kind


_TABLE: dict[str, Operator] = {}
_FACTS: dict[str, Facts] = {}
_NOTHING = Facts()
_RUNTIMES = ("ai.onnx", "com.microsoft", "com.ms.")


@cache
def _fill() -> None:
    """Read the family files, which state what they know; they import this one, so it is done when first asked."""
    importlib.import_module("xplain.graph.ops")


def key_of(node: NodeProto) -> str:
    """The name under which an operator is found: its type, with the domain in front if not the standard one."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}::{node.op_type}"


def find_operator(node: NodeProto) -> Operator | None:
    """The rule for a node's operator; None where it has no backward rule."""
    _fill()
    return _TABLE.get(key_of(node))


def operators() -> frozenset[str]:
    """All operators that have a backward rule."""
    _fill()
    return frozenset(_TABLE)


def facts_of(node: NodeProto | str) -> Facts:
    """What is known of a node's operator, or of one by its key; all that is not stated is False, empty or None.

    What runtimes have under domains of their own is stated without these: no standard operator of the name differs.
    """
    _fill()
    key = node if isinstance(node, str) else key_of(node)
    found = _FACTS.get(key)
    if found is None and key.startswith(_RUNTIMES):
        found = _FACTS.get(key.rpartition("::")[2])
    return found or _NOTHING


def channels_last(node: NodeProto) -> bool:
    """Whether a node reads and writes channels on the last axis, by its type or by its attribute."""
    return facts_of(node).last or bool(attribute(node, "channels_last", 0))


def known() -> dict[str, Facts]:
    """All operators of which something is known, by key."""
    _fill()
    return dict(_FACTS)


def parameters_of(activation: str) -> tuple[str, ...] | None:
    """The attributes of an element-wise operator of one input, by name; None for what is no such operator."""
    if not facts_of(activation).elementwise or not defs.has(activation):
        return None
    schema = defs.get_schema(activation)
    return tuple(sorted(schema.attributes)) if len(schema.inputs) == 1 else None


def _place(function: Callable[..., Any]) -> str:
    """Where a function is written."""
    code = unwrap(function).__code__
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}, line {code.co_firstlineno}"


def facts(names: str, **stated: Any) -> None:
    """State what is known of operators, besides what has been stated already; see ``Facts``."""
    for name in names.split():
        _FACTS[name] = replace(_FACTS.get(name, _NOTHING), **stated)


def backward(
    *names: str,
    kind: KindOf,
    weight: int | None = None,
    bias: int | None = None,
    flow: tuple[int, ...] | None = None,
    every: bool = False,
    axes: Callable[[Any], list[int]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a VJP; see ``Operator`` for the arguments.

    With ``every`` it gets the list of all outputs' cotangents, otherwise that of the first output alone.

    Raises:
        UsageError: an operator has a rule already.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def first_only(call: Call, g: Cotangents) -> Cotangents:
            return [None] * len(call.inputs) if g[0] is None else function(call, g[0])

        for name in names:
            if name in _TABLE:
                raise UsageError(
                    f"Operator {name!r} has two backward rules: one at {_place(_TABLE[name].vjp)} and one at "
                    f"{_place(function)}. Keep one of them."
                )
            _TABLE[name] = Operator(function if every else first_only, kind, weight, bias, flow, axes)
            if weight is not None:
                facts(name, weighted=True)
        return function

    return register
