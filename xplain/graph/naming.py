"""Renaming tensors, also inside subgraphs."""

from __future__ import annotations

from collections.abc import Mapping

from onnx import NodeProto

__all__ = ["rename_reads"]


def rename_reads(node: NodeProto, names: Mapping[str, str]) -> None:
    """Give new names to what a node reads, also inside its subgraphs, except where a subgraph makes the name itself."""
    for k, name in enumerate(node.input):
        node.input[k] = names.get(name, name)
    for attribute in node.attribute:
        for graph in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
            own = {name for inner in graph.node for name in inner.output}
            own |= {v.name for v in graph.input} | {t.name for t in graph.initializer}
            outer = {name: new for name, new in names.items() if name not in own}
            for inner in graph.node:
                rename_reads(inner, outer)
            for result in graph.output:
                result.name = outer.get(result.name, result.name)
