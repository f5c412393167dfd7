"""Names of tensors and nodes, also inside subgraphs: which there are, what a node reads, and new ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from onnx import AttributeProto, GraphProto, NodeProto, helper

__all__ = ["branches_of", "inlined", "names_in", "reads", "rename_reads", "subgraphs_of", "tell_apart"]


_HOLD_GRAPHS = (AttributeProto.GRAPH, AttributeProto.GRAPHS, AttributeProto.UNDEFINED)


def subgraphs_of(node: NodeProto) -> list[GraphProto]:
    """The graphs that a node holds: branches and bodies."""
    found: list[GraphProto] = []
    for attribute in node.attribute:
        if attribute.type not in _HOLD_GRAPHS:  # nearly all: asked of every node again and again
            continue
        found.extend([*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])])
    return found


def branches_of(node: NodeProto) -> list[GraphProto]:
    """The branches of an If; none of any other node."""
    return subgraphs_of(node) if node.op_type == "If" else []


def reads(node: NodeProto) -> list[str]:
    """What a node reads: its inputs in their places, then the outer tensors that its subgraphs read, each once.

    An input that is left out keeps its place, as an empty name. The nodes of a subgraph may stand in any order.
    """
    names = list(node.input)
    for graph in subgraphs_of(node):
        names += sorted(_captured(graph).difference(names))
    return names


def _captured(graph: GraphProto) -> set[str]:
    """The tensors that a graph reads and does not make; how deep graphs lie in each other is bounded on loading."""
    made = {entry.name for entry in (*graph.input, *graph.initializer)} | {
        sparse.values.name for sparse in graph.sparse_initializer
    }
    names = {output.name for output in graph.output}
    for node in graph.node:
        made.update(node.output)
        names.update(reads(node))
    return names - made - {""}


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


def inlined(graph: GraphProto, branch: GraphProto, node: NodeProto, prefix: str) -> list[NodeProto]:
    """The nodes of a branch under new names, with the If node's outputs; its initializers go into ``graph``."""
    inside = {name: f"{prefix}/{name}" for inner in branch.node for name in inner.output if name}
    inside.update((tensor.name, f"{prefix}/{tensor.name}") for tensor in branch.initializer)
    for tensor in branch.initializer:
        moved = graph.initializer.add()
        moved.CopyFrom(tensor)
        moved.name = inside[tensor.name]
    found = []
    for inner in branch.node:
        copy = NodeProto()
        copy.CopyFrom(inner)
        copy.name = f"{prefix}/{inner.name or inner.output[0]}"
        rename_reads(copy, inside)
        for k, name in enumerate(copy.output):
            copy.output[k] = inside.get(name, name)
        found.append(copy)
    for outer, result in zip(node.output, branch.output, strict=False):
        if outer:
            found.append(helper.make_node("Identity", [inside.get(result.name, result.name)], [outer], name=outer))
    return found
