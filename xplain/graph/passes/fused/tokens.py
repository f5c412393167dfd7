"""Where tokens and their places enter a transformer: embeddings, rotations, and biases by distance."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper

from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs, last_extent, outputs

__all__ = ["OPENERS"]


def _embedding(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """Layer norm of the sum of word, position and segment vectors; and how many tokens the mask counts."""
    ids, segments, words, places, kinds, gamma, beta, mask, at = inputs(node, 9)
    return _embed(chain, node, [ids, segments, mask, at], [words, places, kinds], [gamma, beta], attributes)


def _integer_embedding(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """The same with tables of integers: rows are picked first and made real then."""
    ids, segments, words, places, kinds, gamma, beta, mask, *rest = inputs(node, 18)
    scales, zeros = rest[:5], rest[5:]

    def real(x: str, index: int) -> str:
        return chain("DequantizeLinear", x, scales[index], zeros[index]) if x else ""

    tables = [real(table, k) for k, table in enumerate((words, places, kinds))]
    weights = [real(gamma, 3), real(beta, 4)]
    return _embed(chain, node, [ids, segments, mask, ""], tables, weights, attributes)


def _embed(
    chain: Chain,
    node: NodeProto,
    ints: Sequence[str],
    tables: Sequence[str],
    norm: Sequence[str],
    attributes: Attributes,
) -> bool:
    (ids, segments, mask, at), (words, places, kinds) = ints, tables
    _, counted, summed = outputs(node, 3)
    if at:
        placed = chain("Gather", places, at)
    else:
        count = chain("Shape", ids, start=1, end=2)
        placed = chain("Slice", places, chain.const([0]), count, chain.const([0]))
    parts = [placed, *([chain("Gather", kinds, segments)] if segments else [])]
    total = chain("Gather", words, ids)
    for k, part in enumerate(parts, start=1):
        total = chain("Add", total, part, output=summed if k == len(parts) else "")
    epsilon = float(attributes.get("epsilon", 1e-12))
    chain("LayerNormalization", total, *norm, output=node.output[0], axis=-1, epsilon=epsilon)
    if counted and mask:
        chain("ReduceSum", mask, chain.const([1]), keepdims=0, output=counted)
    elif counted:
        zero, rows = helper.make_tensor("zero", TensorProto.INT32, [1], [0]), chain("Shape", ids, start=0, end=1)
        chain("ConstantOfShape", rows, output=counted, value=zero)
    return True


def _rotary(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``(a, b) -> (a cos - b sin, a sin + b cos)`` for pairs of channels of a head, by angles that grow with the place.

    Su et al. 2021, "RoFormer", arXiv:2104.09864, equation 34. Pairs are the halves of what is rotated, or neighbours.
    """
    x, places, cosines, sines = inputs(node, 4)
    shape, half = shapes.get(x), last_extent(shapes, cosines)
    heads, dim = int(attributes.get("num_heads", 0)), int(attributes.get("rotary_embedding_dim", 0))
    at = shapes.get(places)
    if shape is None or len(shape) not in (3, 4) or half is None or at is None:
        return False
    if attributes.get("is_packed_batching") or float(attributes.get("scale", 1.0)) != 1.0:
        return False
    apart, width = len(shape) == 4, shape[-1]
    if not isinstance(width, int) or (dim and not heads and not apart):
        return False
    heads = heads or (1 if apart else width // (2 * half))
    size = width if apart else width // heads
    y = x if apart else chain("Reshape", x, chain.const([0, 0, heads, -1]))
    whole = 2 * half
    rest = ""
    if whole < size:
        y, rest = chain.parts("turned rest", "Split", y, chain.const([whole, size - whole]), axis=-1)
    if len(at) == 1:  # one offset for all
        axis = 2 if apart else 1
        count = chain("Squeeze", chain("Shape", x, start=axis, end=axis + 1))
        places = chain("Add", places, chain("Range", chain.const(0), count, chain.const(1)))
        places = chain("Unsqueeze", places, chain.const([0]))
    between = chain.const([1 if apart else 2])
    cos, sin = (chain("Unsqueeze", chain("Gather", table, places), between) for table in (cosines, sines))
    if attributes.get("interleaved"):
        y = chain("Reshape", y, chain.const([0, 0, 0, half, 2]))
        last = chain.const([-1])
        a, b = (chain("Squeeze", p, last) for p in chain.parts("a b", "Split", y, chain.const([1, 1]), axis=-1))
    else:
        a, b = chain.parts("a b", "Split", y, chain.const([half, half]), axis=-1)
    turned = [
        chain("Sub", chain("Mul", a, cos), chain("Mul", b, sin)),
        chain("Add", chain("Mul", a, sin), chain("Mul", b, cos)),
    ]
    if attributes.get("interleaved"):
        pairs = chain("Concat", *(chain("Unsqueeze", part, last) for part in turned), axis=-1)
        turned = [chain("Reshape", pairs, chain.const([0, 0, 0, whole]))]
    parts = [*turned, *([rest] if rest else [])]
    out = node.output[0] if apart else ""
    y = chain("Concat", *parts, axis=-1, output=out) if len(parts) > 1 else chain("Identity", *parts, output=out)
    if not apart:
        chain("Reshape", y, chain.const([0, 0, width]), output=node.output[0])
    return True


def _distance_bias(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """A number per head and bucket of distances: ``[1, H, T, L]``. Exact up to half the buckets, then logarithmic.

    Raffel et al. 2020, "Exploring the limits of transfer learning", arXiv:1910.10683, section 2.1. The table lies by
    columns: what is called ``[buckets, H]`` holds ``[H, buckets]``.
    """
    table, tall, wide = inputs(node, 3)
    size = shapes.get(table)
    if size is None or not all(isinstance(d, int) for d in size):
        return False
    buckets, heads, both = int(size[0] or 0), int(size[1] or 0), bool(attributes.get("is_bidirectional", 0))
    places = []
    for k, length in enumerate((tall, wide)):
        end = chain("Squeeze", chain("Cast", length, to=TensorProto.INT64))
        row = chain("Range", chain.const(0), end, chain.const(1))
        places.append(chain("Unsqueeze", row, chain.const([1 - k])))
    ahead = chain("Sub", places[1], places[0])  # [T, L]: how far the key lies ahead
    each = buckets // 2 if both else buckets
    far = chain("Abs", ahead) if both else chain("Max", chain("Neg", ahead), chain.const(0))
    exact = each // 2
    real = chain("Cast", chain("Max", far, chain.const(1)), to=TensorProto.FLOAT)
    growth = (each - exact) / math.log(int(attributes["max_distance"]) / exact)
    grown = chain(
        "Mul", chain("Log", chain("Div", real, chain.const(exact, np.float32))), chain.const(growth, np.float32)
    )
    large = chain("Add", chain("Cast", grown, to=TensorProto.INT64), chain.const(exact))
    bucket = chain("Where", chain("Less", far, chain.const(exact)), far, chain("Min", large, chain.const(each - 1)))
    if both:
        side = chain("Cast", chain("Greater", ahead, chain.const(0)), to=TensorProto.INT64)
        bucket = chain("Add", bucket, chain("Mul", side, chain.const(each)))
    by_head = chain("Reshape", table, chain.const([heads, buckets]))
    chain("Unsqueeze", chain("Gather", by_head, bucket, axis=1), chain.const([0]), output=node.output[0])
    return True


def _gated_bias(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``(u (r a - 1) + 2) bias``, u and r gates that the query makes, ``[N, H, T, 1]`` each.

    Chen et al. 2022, "WavLM", arXiv:2110.13900, equations 5 to 7.
    """
    query, shift, bias, weight, weight_bias, factor, packed = inputs(node, 7)
    width = last_extent(shapes, weight)
    if packed or width is None:
        return False
    heads = int(attributes["num_heads"])
    q = chain("Reshape", chain("Add", query, shift), chain.const([0, 0, heads, -1]))
    gates = chain("Add", chain("MatMul", chain("Transpose", q, perm=[0, 2, 1, 3]), weight), weight_bias)
    gates = chain("Reshape", gates, chain.const([0, 0, 0, 2, width // 2]))
    gates = chain("Sigmoid", chain("ReduceSum", gates, chain.const([-1]), keepdims=0))
    u, r = chain.parts("u r", "Split", gates, chain.const([1, 1]), axis=-1)
    inner = chain("Sub", chain("Mul", r, factor), chain.number(1.0, u))
    gate = chain("Add", chain("Mul", u, inner), chain.number(2.0, u))
    chain("Mul", gate, bias, output=node.output[0])
    return True


OPENERS: dict[str, Opener] = {
    "EmbedLayerNormalization": _embedding,
    "GatedRelativePositionBias": _gated_bias,
    "QEmbedLayerNormalization": _integer_embedding,
    "RelativePositionBias": _distance_bias,
    "RotaryEmbedding": _rotary,
}
