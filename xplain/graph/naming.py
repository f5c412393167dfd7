"""Names of tensors and nodes, also inside subgraphs: which there are, new ones, and nodes that share one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import GraphProto, NodeProto

__all__ = ["names_in", "rename_reads", "subgraphs_of", "tell_apart"]


def subgraphs_of(node: NodeProto) -> list[GraphProto]:
    """The graphs that a node holds: branches and bodies."""
    found: list[GraphProto] = []
    for attribute in node.attribute:
        found.extend([*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])])
    return found


def names_in(graph: GraphProto) -> Iterator[str]:
    """The tensors that a graph makes, stores, is fed or reads, at any depth."""
    for value in (*graph.input, *graph.output, *graph.initializer):
        yield value.name
    for sparse in graph.sparse_initializer:
        yield sparse.values.name
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in subgraphs_of(node):
            yield from names_in(inner)


def tell_apart(nodes: Sequence[NodeProto], taken: set[str] | None = None) -> None:
    """Give nodes that share a name names of their own, in place; the first one keeps it.

    Exporters, inlined functions and branches repeat names; ONNX Runtime refuses a graph with two nodes of one name.

    Args:
        nodes: The nodes of a graph.
        taken: Names that nodes around it have.
    """
    seen = set() if taken is None else taken
    counts: dict[str, int] = {}
    stated = {node.name for node in nodes}
    for node in nodes:
        name = node.name
        while name and (name in seen or (name != node.name and name in stated)):
            counts[node.name] = counts.get(node.name, 1) + 1
            name = f"{node.name}.{counts[node.name]}"
        seen.add(name)
        node.name = name
        for graph in subgraphs_of(node):
            tell_apart(graph.node, seen)


def rename_reads(node: NodeProto, names: Mapping[str, str]) -> None:
    """Give new names to what a node reads, also inside its subgraphs, except where a subgraph makes the name itself."""
    for k, name in enumerate(node.input):
        node.input[k] = names.get(name, name)
    for graph in subgraphs_of(node):
        own = {name for inner in graph.node for name in inner.output}
        own |= {v.name for v in graph.input} | {t.name for t in graph.initializer}
        outer = {name: new for name, new in names.items() if name not in own}
        for inner in graph.node:
            rename_reads(inner, outer)
        for result in graph.output:
            result.name = outer.get(result.name, result.name)
