"""The attention operators of ONNX Runtime's transformer optimiser in standard ones.

    softmax(q k^T scale + bias + mask) v        per head, q, k, v: [N, H, T, d]

A mask says which keys count: ``[N]`` how many leading ones, ``[N, L]`` or ``[N, T, L]`` 1 for those that do. The others
get a large negative number before the softmax, as the runtime does it. Forms with a past, for generating text, stay as
they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper

from xplain.graph.passes.chain import Chain
from xplain.graph.tracer import Shape

__all__ = ["open_attention", "open_embedding", "open_multi_head"]

_FILTER = -10000.0


def open_attention(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """One product makes q, k and v from the same tokens ``[N, T, D]``."""
    x, weight, bias, mask, past, extra = [*node.input, *[""] * 6][:6]
    heads = int(attributes["num_heads"])
    width = (shapes.get(weight) or (None,))[-1]
    sizes = attributes.get("qkv_hidden_sizes") or ([width // 3] * 3 if isinstance(width, int) else None)
    if past or any(node.input[6:]) or any(node.output[1:]) or attributes.get("do_rotary") or sizes is None:
        return False
    whole = chain("MatMul", x, weight)
    if bias:
        whole = chain("Add", whole, bias)
    q, k, v = (f"{chain.prefix}/{part}" for part in "qkv")
    cuts = chain.const(list(sizes))
    chain.nodes.append(helper.make_node("Split", [whole, cuts], [q, k, v], name=f"{chain.prefix}/split", axis=-1))
    scale = float(attributes.get("scale") or 0.0) or 1.0 / math.sqrt(sizes[0] // heads)
    parts = [_heads(chain, part, heads) for part in (q, k, v)]
    return _attend(chain, parts, scale, mask, extra, attributes, shapes, node.output[0])


def open_multi_head(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """q, k and v ``[N, T, D]`` are given; k and v may have their heads apart already, ``[N, H, L, d]``."""
    q, k, v, bias, mask, extra = [*node.input, *[""] * 6][:6]
    heads, found = int(attributes["num_heads"]), [shapes.get(name) for name in (q, k, v)]
    ranks = [None if shape is None else len(shape) for shape in found]
    width = (found[0] or (None,))[-1]
    if any(node.input[6:]) or any(node.output[1:]) or ranks[0] != 3 or ranks[1] != ranks[2]:
        return False
    if ranks[1] not in (3, 4) or not isinstance(width, int) or (bias and ranks[1] == 4):
        return False
    parts = [q, k, v]
    if bias:
        last = (found[2] or (None,))[-1]
        if not isinstance(last, int):
            return False
        shifts = [f"{chain.prefix}/{part}_bias" for part in "qkv"]
        cuts = chain.const([width, width, last])
        chain.nodes.append(helper.make_node("Split", [bias, cuts], shifts, name=f"{chain.prefix}/split", axis=0))
        parts = [chain("Add", part, shift) for part, shift in zip(parts, shifts, strict=True)]
    apart = [p if rank == 4 else _heads(chain, p, heads) for p, rank in zip(parts, ranks, strict=True)]
    scale = float(attributes.get("scale") or 0.0) or 1.0 / math.sqrt(width // heads)
    return _attend(chain, apart, scale, mask, extra, attributes, shapes, node.output[0])


def _heads(chain: Chain, x: str, heads: int) -> str:
    """``[N, T, D]`` to ``[N, H, T, D / H]``."""
    return chain("Transpose", chain("Reshape", x, chain.const([0, 0, heads, -1])), perm=[0, 2, 1, 3])


def _attend(
    chain: Chain,
    parts: list[str],
    scale: float,
    mask: str,
    extra: str,
    attributes: dict[str, Any],
    shapes: Mapping[str, Shape],
    out: str,
) -> bool:
    q, k, v = parts
    scores = chain("MatMul", q, chain("Transpose", k, perm=[0, 1, 3, 2]))
    scores = chain("Mul", scores, chain("CastLike", chain.const(scale, np.float32), scores))
    if extra:
        scores = chain("Add", scores, extra)
    low = chain("CastLike", chain.const(float(attributes.get("mask_filter_value", _FILTER)), np.float32), scores)
    if mask:
        counted = _counted(chain, mask, k, shapes)
        if not counted:
            return False
        zero = chain("CastLike", chain.const(0.0, np.float32), scores)
        scores = chain("Add", scores, chain("Where", counted, zero, low))
    if attributes.get("unidirectional"):
        tall, wide = (chain("Shape", part, start=2, end=3) for part in (q, k))
        square = chain("Expand", low, chain("Concat", tall, wide, axis=0))
        scores = chain("Add", scores, chain("Trilu", square, chain.const(1), upper=1))
    mixed = chain("MatMul", chain("Softmax", scores, axis=-1), v)
    chain("Reshape", chain("Transpose", mixed, perm=[0, 2, 1, 3]), chain.const([0, 0, -1]), output=out)
    return True


def _counted(chain: Chain, mask: str, k: str, shapes: Mapping[str, Shape]) -> str:
    """Which keys count, as truth values that broadcast to ``[N, H, T, L]``; empty for a mask of another form."""
    shape = shapes.get(mask)
    if shape is None:
        return ""
    if len(shape) == 1:
        length = chain("Squeeze", chain("Shape", k, start=2, end=3))
        places = chain("Range", chain.const(0), length, chain.const(1))
        counts = chain("Reshape", chain("Cast", mask, to=TensorProto.INT64), chain.const([-1, 1, 1, 1]))
        return chain("Less", places, counts)
    if len(shape) not in (2, 3):
        return ""
    yes = chain("Cast", mask, to=TensorProto.BOOL)
    return chain("Unsqueeze", yes, chain.const([1, 2] if len(shape) == 2 else [1]))


def open_embedding(chain: Chain, node: NodeProto, attributes: dict[str, Any], shapes: Mapping[str, Shape]) -> bool:
    """Layer norm of the sum of word, position and segment vectors; and how many tokens the mask counts."""
    ids, segments, words, places, kinds, gamma, beta, mask, at = [*node.input, *[""] * 9][:9]
    if at:
        placed = chain("Gather", places, at)
    else:
        count = chain("Shape", ids, start=1, end=2)
        placed = chain("Slice", places, chain.const([0]), count, chain.const([0]))
    parts = [placed, *([chain("Gather", kinds, segments)] if segments else [])]
    total = chain("Gather", words, ids)
    for k, part in enumerate(parts, start=1):
        last = k == len(parts) and len(node.output) > 2
        total = chain("Add", total, part, output=node.output[2] if last else "")
    epsilon = float(attributes.get("epsilon", 1e-12))
    chain("LayerNormalization", total, gamma, beta, output=node.output[0], axis=-1, epsilon=epsilon)
    if len(node.output) > 1 and node.output[1]:
        if mask:
            chain("ReduceSum", mask, chain.const([1]), keepdims=0, output=node.output[1])
        else:
            zero, rows = helper.make_tensor("zero", TensorProto.INT32, [1], [0]), chain("Shape", ids, start=0, end=1)
            chain("ConstantOfShape", rows, output=node.output[1], value=zero)
    return True
