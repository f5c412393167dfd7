"""Fold batch normalisation, which relevance must not see as a layer of its own.

    BN(Conv(x, w, b)) = Conv(x, w k, (b - mean) k + shift),    k = scale / sqrt(variance + eps)

The new weights are nodes, which the runtime folds when it loads the file: the file keeps one set of weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from onnx import ModelProto, NodeProto, helper

from xplain.graph.naming import branches_of
from xplain.graph.nodes import attributes_of
from xplain.graph.passes.chain import Chain

__all__ = ["fold_norms", "open_computed_norms"]

_WEIGHTED = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0}


def fold_norms(
    model: ModelProto,
    wanted: Set[str] = frozenset(),
    around: Mapping[str, list[int]] | None = None,
    stored: Set[str] = frozenset(),
) -> None:
    """Fold every BatchNormalization into the Conv, ConvTranspose or Gemm before it; else into Mul and Add.

    Args:
        model: A model with shapes.
        wanted: Tensors that must keep their values: a Conv whose output is one of them is not folded.
        around: Shapes of tensors of the graph around this one, which is a branch.
        stored: Which of them are constants.
    """
    graph = model.graph
    shapes = dict(around or {})
    shapes |= {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.value_info, *graph.input)}
    shapes.update({t.name: list(t.dims) for t in graph.initializer})
    makers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    fixed = {t.name for t in graph.initializer} | {n for n, maker in makers.items() if maker.op_type == "Constant"}
    fixed |= stored
    for node in graph.node:
        for branch in branches_of(node):
            inside = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
            inside.graph.CopyFrom(branch)
            fold_norms(inside, wanted, shapes, fixed)
            branch.CopyFrom(inside.graph)
    outputs = {v.name for v in graph.output} | set(wanted)
    nodes: list[NodeProto] = []
    dropped: set[int] = set()
    for node in graph.node:
        if node.op_type != "BatchNormalization" or not all(name in fixed for name in node.input[1:5]):
            nodes.append(node)
            continue
        before = makers.get(node.input[0])
        alone = readers.get(node.input[0]) == 1 and node.input[0] not in outputs
        if before is not None and alone and _foldable(before, fixed):
            dropped.add(id(before))
            nodes.extend(_merged(model, before, node, shapes))
        else:
            nodes.extend(_plain(model, node, len(shapes.get(node.input[0]) or [0] * 4)))
    kept = [node for node in nodes if id(node) not in dropped]
    del graph.node[:]
    graph.node.extend(kept)


def open_computed_norms(model: ModelProto) -> bool:
    """Write out, in place, every BatchNormalization whose statistics the model computes: they have a derivative too.

    A converter writes the layer norms of other frameworks so, with what is normalised along the channels.

    Returns:
        Whether there was one.
    """
    graph = model.graph
    stored = {t.name for t in graph.initializer}
    stored |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    ranks = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.input)}
    nodes: list[NodeProto] = []
    for node in graph.node:
        computed = node.op_type == "BatchNormalization" and not all(name in stored for name in node.input[1:5])
        training = attributes_of(node).get("training_mode", 0) if computed else 0
        if not computed or training or node.input[0] not in ranks:
            nodes.append(node)
            continue
        chain = Chain(model, f"{node.output[0]}/opened")
        x, scale, shift, mean, variance = node.input
        where = chain.const([-1, *[1] * (ranks[x] - 2)])
        small = chain("CastLike", chain.const(attributes_of(node).get("epsilon", 1e-5), np.float32), variance)
        deviation = chain("Sqrt", chain("Add", variance, small))
        centred = chain("Sub", x, chain("Reshape", mean, where))
        ratio = chain("Div", centred, chain("Reshape", deviation, where))
        scaled = chain("Mul", ratio, chain("Reshape", scale, where))
        chain("Add", scaled, chain("Reshape", shift, where), output=node.output[0])
        nodes.extend(chain.nodes)
    found = len(nodes) != len(graph.node)
    if found:
        del graph.node[:]
        graph.node.extend(nodes)
    return found


def _foldable(node: NodeProto, fixed: set[str]) -> bool:
    return node.op_type in _WEIGHTED and all(name in fixed for name in node.input[1:] if name)


def _factor(chain: Chain, norm: NodeProto) -> tuple[str, str]:
    """K = scale / sqrt(variance + eps), and the mean's name."""
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    scale, _, mean, variance = norm.input[1:5]
    # in the precision of the statistics, which CastLike carries over
    small = chain("CastLike", chain.const(epsilon, np.float32), variance)
    return chain("Div", scale, chain("Sqrt", chain("Add", variance, small))), mean


def _merged(model: ModelProto, node: NodeProto, norm: NodeProto, shapes: dict[str, list[int]]) -> list[NodeProto]:
    """The weighted node with the norm inside."""
    chain = Chain(model, f"{norm.output[0]}/folded")
    factor, mean = _factor(chain, norm)
    weight = node.input[1]
    rank = len(shapes[weight])
    attributes = attributes_of(node)
    if node.op_type == "Gemm":
        where = [-1, 1] if attributes.get("transB", 0) else [1, -1]
        scaled = chain("Mul", weight, chain("Reshape", factor, chain.const(where)))
    elif node.op_type == "Conv":
        where = [-1, *[1] * (rank - 1)]
        scaled = chain("Mul", weight, chain("Reshape", factor, chain.const(where)))
    else:  # ConvTranspose keeps its weights [I, O / group, *k]: output channels lie in both first axes
        group = attributes.get("group", 1)
        dims = shapes[weight]
        cut = chain.const([group, dims[0] // group, *dims[1:]])
        where_now = chain.const([group, 1, dims[1], *[1] * (rank - 2)])
        product = chain("Mul", chain("Reshape", weight, cut), chain("Reshape", factor, where_now))
        scaled = chain("Reshape", product, chain.const(dims))
    has_bias = len(node.input) > 2 and node.input[2] != ""
    centred = chain("Sub", node.input[2], mean) if has_bias else chain("Neg", mean)
    bias = chain("Add", chain("Mul", centred, factor), norm.input[2])
    merged = NodeProto()
    merged.CopyFrom(node)
    del merged.input[:]
    merged.input.extend([node.input[0], scaled, bias])
    merged.output[0] = norm.output[0]
    return [*chain.nodes, merged]


def _plain(model: ModelProto, norm: NodeProto, rank: int) -> list[NodeProto]:
    """A norm with nothing to fold into, as x k + (shift - mean k)."""
    chain = Chain(model, f"{norm.output[0]}/opened")
    factor, mean = _factor(chain, norm)
    where = chain.const([-1, *[1] * (rank - 2)])
    shift = chain("Sub", norm.input[2], chain("Mul", mean, factor))
    scaled = chain("Mul", norm.input[0], chain("Reshape", factor, where))
    moved = helper.make_node(
        "Add", [scaled, chain("Reshape", shift, where)], [norm.output[0]], name=norm.name or norm.output[0]
    )
    return [*chain.nodes, moved]
