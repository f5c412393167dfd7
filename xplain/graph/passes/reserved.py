"""Make room for the names that emitted graphs give to their own inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Set

from onnx import GraphProto, ModelProto

from xplain.graph.naming import names_in, rename_reads, subgraphs_of

__all__ = ["free_names", "reserved_in"]

_OURS = re.compile(
    r"(target|channel|place|cotangent)(_\d+)?|baseline|attribution|received|passed|flags|(value|cotangent)/.*"
    r"|.*/(opened|unrolled|folded|ratio)/.*|.*/(gate|before)"
)


def reserved_in(names: Set[str]) -> frozenset[str]:
    """Those of some names that are ours."""
    return frozenset(name for name in names if _OURS.fullmatch(name))


def free_names(model: ModelProto, wanted: Set[str] = frozenset()) -> None:
    """Rename, in place, tensors inside a model that have one of our names; what others ask for by name keeps it.

    Args:
        model: The model.
        wanted: Tensors that must keep their names. Inputs, outputs and weights do anyway.
    """
    graph = model.graph
    kept = {*wanted, *(v.name for v in (*graph.input, *graph.output)), *(t.name for t in graph.initializer)}
    _free(graph, kept, kept | set(names_in(graph)))


def _free(graph: GraphProto, kept: Set[str], taken: Set[str]) -> None:
    """Rename in a graph, then inside its subgraphs, where only those names are kept that come from around them."""
    for node in graph.node:
        for inner in subgraphs_of(node):
            outside = {name for name in taken if name not in _made(inner)}
            _free(inner, outside, taken)
    names: dict[str, str] = {}
    for name in sorted(_made(graph) - kept):
        if _OURS.fullmatch(name):
            fresh = name + "."
            while fresh in taken:
                fresh += "."
            names[name] = fresh
    if not names:
        return
    for node in graph.node:
        rename_reads(node, names)
        for k, name in enumerate(node.output):
            node.output[k] = names.get(name, name)
    for info in (*graph.value_info, *graph.output):
        info.name = names.get(info.name, info.name)


def _made(graph: GraphProto) -> set[str]:
    """The tensors that the nodes of a graph make."""
    return {name for node in graph.node for name in node.output if name}
