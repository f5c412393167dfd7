"""Make room for the names that emitted graphs give to their own inputs and outputs."""

from __future__ import annotations

import re
from collections.abc import Set

from onnx import ModelProto

from xplain.graph.naming import rename_reads

__all__ = ["free_names"]

_OURS = re.compile(
    r"(target|channel|place|cotangent)(_\d+)?|baseline|attribution|received|passed|flags|(value|cotangent)/.*"
)


def free_names(model: ModelProto, wanted: Set[str] = frozenset()) -> None:
    """Rename, in place, tensors inside a model that have one of our names; what others ask for by name keeps it.

    Args:
        model: The model.
        wanted: Tensors that must keep their names. Inputs, outputs and weights do anyway.
    """
    graph = model.graph
    kept = {*wanted, *(v.name for v in (*graph.input, *graph.output)), *(t.name for t in graph.initializer)}
    made = {name for node in graph.node for name in node.output}
    names: dict[str, str] = {}
    for name in sorted(made - kept):
        if _OURS.fullmatch(name):
            fresh = name + "."
            while fresh in made | kept:
                fresh += "."
            names[name] = fresh
    if not names:
        return
    for node in graph.node:
        rename_reads(node, names)
        for k, name in enumerate(node.output):
            node.output[k] = names.get(name, name)
    for info in graph.value_info:
        info.name = names.get(info.name, info.name)
