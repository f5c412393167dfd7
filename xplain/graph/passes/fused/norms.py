"""Normalisations: those that add the residual themselves, root-mean-square ones, and groups of channels."""

from __future__ import annotations

from onnx import NodeProto

from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.activations import silu
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs, last_extent, outputs

__all__ = ["OPENERS"]


def _skip_norm(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``LayerNorm(x + skip + bias)``; the sum is an output too, the residual stream goes on from it."""
    total = _summed(chain, node, bias=4)
    beta = [node.input[3]] if len(node.input) > 3 and node.input[3] else []
    epsilon = float(attributes.get("epsilon", 1e-12))
    wanted = list(node.output[:3])
    chain.many(wanted, "LayerNormalization", total, node.input[2], *beta, axis=-1, epsilon=epsilon)
    return True


def _summed(chain: Chain, node: NodeProto, bias: int) -> str:
    """``x + skip + bias``, called as the node's fourth output where somebody reads that.

    The bias is added where it was before fusion, to the matrix product: there it takes its part of the relevance.
    """
    x, skip = node.input[:2]
    shift = node.input[bias] if bias < len(node.input) else ""
    if shift:
        products = {o for other in chain.model.graph.node if "MatMul" in other.op_type for o in other.output}
        if skip in products and x not in products:
            skip = chain("Add", skip, shift)
        else:
            x = chain("Add", x, shift)
    return chain("Add", x, skip, output=node.output[3] if len(node.output) > 3 else "")


def _skip_root_norm(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    if any(node.output[1:3]):
        return False
    total = _summed(chain, node, bias=3)
    _root_norm(chain, total, node.input[2], attributes, node.output[0])
    return True


def _simplified(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    rank = len(shapes[node.input[0]]) if node.input[0] in shapes else None
    last = attributes.get("axis", -1) == -1 or (rank is not None and attributes["axis"] == rank - 1)
    if any(node.output[1:]) or not last:
        return False
    _root_norm(chain, node.input[0], node.input[1], attributes, node.output[0])
    return True


def _root_norm(chain: Chain, x: str, scale: str, attributes: Attributes, out: str = "") -> str:
    """``s x / sqrt(mean(x^2) + eps)`` over the last axis."""
    mean = chain("ReduceMean", chain("Mul", x, x), chain.const([-1]))
    length = chain("Sqrt", chain("Add", mean, chain.number(float(attributes.get("epsilon", 1e-5)), x)))
    return chain("Mul", chain("Div", x, length), scale, output=out)


def _gated_root_norm(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``RMSNorm(x) a(z)`` with a the SiLU or the sigmoid, for each run of as many elements as the scale has."""
    x, scale, gate = inputs(node, 3)
    count, kind = last_extent(shapes, scale), attributes.get("activation", "silu")
    if count is None or kind not in ("silu", "swish", "sigmoid"):
        return False
    if last_extent(shapes, x) == count:
        y = _root_norm(chain, x, scale, attributes)
    else:
        runs = chain("Reshape", x, chain.const([-1, count]))
        y = chain("Reshape", _root_norm(chain, runs, scale, attributes), chain("Shape", x))
    chain("Mul", y, chain("Sigmoid", gate) if kind == "sigmoid" else silu(chain, gate), output=node.output[0])
    return True


def _group_norm(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``a(gamma (x - mean) / sqrt(var + eps) + beta)`` over each group of channels, in either layout; a: SiLU or none.

    Written as exporters write it, an instance norm over groups, so that rules for those apply.
    """
    x, gamma, beta, skip, bias = inputs(node, 5)
    last, groups = bool(attributes.get("channels_last", 1)), int(attributes["groups"])
    kind, shape = int(attributes.get("activation", 0)), shapes.get(x)
    rank = 4 if shape is None else len(shape)
    if kind not in (0, 1):
        return False
    if skip:
        x = _skipped(chain, node, x, skip, bias, last, rank, shapes)
    if last:
        x = chain("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])
    grouped = chain("Reshape", x, chain.const([0, groups, -1]))
    ones, zeros = (chain.number([value] * groups, x) for value in (1.0, 0.0))
    epsilon = float(attributes.get("epsilon", 1e-5))
    y = chain("Reshape", chain("InstanceNormalization", grouped, ones, zeros, epsilon=epsilon), chain("Shape", x))
    column = chain.const([-1, *[1] * (rank - 2)])
    y = chain("Mul", y, chain("CastLike", chain("Reshape", gamma, column), x))
    y = chain("Add", y, chain("CastLike", chain("Reshape", beta, column), x))
    y = silu(chain, y) if kind else y
    if last:
        chain("Transpose", y, perm=[0, *range(2, rank), 1], output=node.output[0])
    else:
        chain("Identity", y, output=node.output[0])
    return True


def _skipped(chain: Chain, node: NodeProto, x: str, skip: str, bias: str, last: bool, rank: int, shapes: Shapes) -> str:
    """``x + skip + bias``, the node's second output; a skip ``[N, C]`` counts at every place."""
    spread = [*[1] * (rank - 2)]
    if len(shapes.get(skip, (0,) * rank)) == 2:
        skip = chain("Reshape", skip, chain.const([0, *spread, -1] if last else [0, -1, *spread]))
    if bias:
        skip = chain("Add", skip, bias if last else chain("Reshape", bias, chain.const([-1, *spread])))
    return chain("Add", x, skip, output=outputs(node, 2)[1])


OPENERS: dict[str, Opener] = {
    "GatedRMSNorm": _gated_root_norm,
    "GroupNorm": _group_norm,
    "SimplifiedLayerNormalization": _simplified,
    "SkipGroupNorm": _group_norm,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_root_norm,
}
