"""A file that explains itself, read as the model that it was made of.

What ``xplain.graph.reverse.compile`` adds to a model is an output, perhaps an input, and the nodes between. They are
no part of what the model computes, so they are left out before anything is found in it: the explanation is never
taken for scores, and the file is explained, and compiled by another method, like its original.
"""

from __future__ import annotations

from onnx import ModelProto

from xplain.graph.analysis.order import needed

__all__ = ["ATTRIBUTION", "METHOD", "TARGET", "built_in", "leave_out"]

ATTRIBUTION = "attribution"
TARGET = "target"
METHOD = "xplain.method"
"""Metadata that every compiled file has."""


def built_in(model: ModelProto) -> str:
    """The method whose explanation is built in, as the file calls it; empty for an ordinary model."""
    outputs = [entry.name for entry in model.graph.output]
    if ATTRIBUTION not in outputs or len(outputs) < 2:
        return ""
    return next((entry.value for entry in model.metadata_props if entry.key == METHOD), "")


def leave_out(model: ModelProto) -> None:
    """Take the explanation out of a compiled file, in place; its nodes are in order. Other models stay as they are."""
    if not built_in(model):
        return
    graph = model.graph
    outputs = [entry for entry in graph.output if entry.name != ATTRIBUTION]
    kept, live = needed(graph.node, {entry.name for entry in outputs})
    inputs = [entry for entry in graph.input if entry.name != TARGET or entry.name in live]
    weights = [tensor for tensor in graph.initializer if tensor.name in live]
    sparse = [tensor for tensor in graph.sparse_initializer if tensor.values.name in live]
    made = live | {name for node in kept for name in node.output}
    infos = [entry for entry in graph.value_info if entry.name in made]
    for field, entries in (
        (graph.output, outputs),
        (graph.input, inputs),
        (graph.node, kept),
        (graph.initializer, weights),
        (graph.sparse_initializer, sparse),
        (graph.value_info, infos),
    ):
        del field[:]
        field.extend(entries)
