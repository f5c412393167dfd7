"""The order of nodes, and the part of a graph that leads to given tensors: found here for every room.

    nodes = ordered(graph.node)                     # files need not keep an order
    part, live = needed(nodes, {"scores"})          # what scores are computed from
    tail, live = needed(nodes, {"scores"}, {"conv5"})  # from conv5 on

No recursion, because graphs are deep; the work is linear in what the nodes read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from onnx import ModelProto, NodeProto, ValueInfoProto

from xplain.core.errors import ModelError
from xplain.graph.naming import reads

__all__ = ["makers_of", "needed", "ordered", "part_of"]


def makers_of(nodes: Iterable[NodeProto]) -> dict[str, int]:
    """By tensor, the index of the node that makes it.

    Raises:
        ModelError: two nodes make the same tensor.
    """
    makers: dict[str, int] = {}
    for k, node in enumerate(nodes):
        for name in node.output:
            if name and makers.setdefault(name, k) != k:
                raise ModelError(f"Two nodes make the tensor {name!r}. The file is damaged; export it again.")
    return makers


def ordered(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """The nodes, each after those whose outputs it reads; otherwise in the order given.

    Raises:
        ModelError: two nodes make the same tensor, a node reads what it makes, or nodes wait for each other.
    """
    makers = makers_of(nodes)
    needs = [[makers[name] for name in reads(node) if name in makers] for node in nodes]
    if all(max(need, default=-1) < k for k, need in enumerate(needs)):
        return list(nodes)
    waiting, open_, done = range(3)
    state = [waiting] * len(nodes)
    order: list[NodeProto] = []
    for root in range(len(nodes)):
        stack = [root]
        while stack:
            k = stack[-1]
            if state[k] == waiting:
                state[k] = open_
                for maker in needs[k]:
                    if state[maker] == open_:
                        raise _circle(nodes[k], maker == k)
                    if state[maker] == waiting:
                        stack.append(maker)
                continue
            stack.pop()
            if state[k] == open_:
                state[k] = done
                order.append(nodes[k])
    return order


def _circle(node: NodeProto, alone: bool) -> ModelError:
    if alone:
        return ModelError(
            f"Node {node.name or node.output[0]!r} ({node.op_type}) reads what it makes itself. The file is damaged; "
            "export it again."
        )
    return ModelError("The model's nodes wait for each other in a circle. The file is damaged; export it again.")


def needed(
    nodes: Sequence[NodeProto], wanted: Iterable[str], stops: Collection[str] = ()
) -> tuple[list[NodeProto], set[str]]:
    """The nodes that lead to ``wanted``, and the tensors that they read or that are wanted.

    Args:
        nodes: In order.
        wanted: Names of tensors.
        stops: Tensors that are given: what makes them is not needed.
    """
    live, kept = set(wanted), []
    for node in reversed(nodes):
        if any(name in live and name not in stops for name in node.output):
            kept.append(node)
            live.update(reads(node))
            live.discard("")
    return kept[::-1], live


def part_of(
    model: ModelProto,
    outputs: Sequence[ValueInfoProto],
    given: Sequence[ValueInfoProto] = (),
    also: Iterable[str] = (),
) -> ModelProto:
    """The part of a model that computes ``outputs``, as a model of its own, with the weights that it needs.

    Args:
        model: Its nodes are in order.
        outputs: Tensors of it, as the part declares them.
        given: Tensors that are the part's first inputs, in place of what makes them.
        also: Further tensors that the part must have.
    """
    stops = {entry.name for entry in given}
    kept, live = needed(model.graph.node, {*(entry.name for entry in outputs), *also}, stops)
    part = ModelProto(ir_version=model.ir_version, producer_name="xplain")
    part.opset_import.extend(model.opset_import)
    part.functions.extend(model.functions)
    graph, source = part.graph, model.graph
    graph.name = source.name or "part"
    graph.node.extend(kept)
    graph.initializer.extend(tensor for tensor in source.initializer if tensor.name in live)
    graph.sparse_initializer.extend(tensor for tensor in source.sparse_initializer if tensor.values.name in live)
    stored = {tensor.name for tensor in graph.initializer}
    graph.input.extend(given)
    graph.input.extend(e for e in source.input if e.name in live and e.name not in stops and e.name not in stored)
    graph.output.extend(outputs)
    return part
