"""The attention operators of ONNX Runtime's transformer optimiser in standard ones.

    softmax(q k^T scale + bias + mask) v        per head, q: [N, H, T, d], k, v: [N, H, L, d]

A mask says which keys count: ``[N]`` how many leading ones, ``[2N]`` where they end and then where they begin,
``[N, L]`` or ``[N, T, L]`` 1 for those that do, ``[N, 1, M, M]`` a square that is cut. The others get a large negative
number before the softmax, as the runtime does it. Keys and values of a past are put in front of the new ones. Forms
that write into a buffer shared with the past, that follow beams or rotate inside, stay as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from onnx import NodeProto, TensorProto

from xplain.graph.build.value import Shape
from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs, last_extent, outputs

__all__ = ["OPENERS", "Parts", "Whole", "attend", "merged"]

_FILTER = -10000.0


@dataclass
class Parts:
    """What an attention is made of.

    Args:
        q: ``[N, H, T, d]``.
        k: ``[N, H, L, d]``.
        v: ``[N, H, L, d']``.
        scale: Of the scores.
        mask: Which keys count; empty for all.
        bias: Added to the scores; empty for none.
        batch: N, where it is known: its name or number.
        attributes: Of the node.
        shapes: That are known.
    """

    q: str
    k: str
    v: str
    scale: float
    mask: str = ""
    bias: str = ""
    batch: int | str | None = None
    attributes: Attributes = field(default_factory=dict)
    shapes: Shapes = field(default_factory=dict)


def _attention(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """One product makes q, k and v from the same tokens ``[N, T, D]``."""
    x, weight, bias, mask, past, extra, length = inputs(node, 7)
    width = last_extent(shapes, weight)
    sizes = attributes.get("qkv_hidden_sizes") or ([width // 3] * 3 if width is not None else None)
    if length or attributes.get("do_rotary") or attributes.get("past_present_share_buffer") or sizes is None:
        return False
    whole = chain("MatMul", x, weight)
    if bias:
        whole = chain("Add", whole, bias)
    return merged(chain, node, Whole(whole, tuple(sizes), mask, past, extra), attributes, shapes)


@dataclass(frozen=True)
class Whole:
    """Queries, keys and values as one product made them, and what goes into their attention beside them.

    Args:
        product: q, k and v side by side, ``[N, T, sum(sizes)]``.
        sizes: The width of each.
        mask: Which keys count; empty for all.
        past: Earlier keys and then values, ``[2, N, H, P, d]``; so is what the node gives to the next step. Empty for
            none.
        bias: Added to the scores; empty for none.
    """

    product: str
    sizes: tuple[int, ...]
    mask: str
    past: str
    bias: str = ""


def merged(chain: Chain, node: NodeProto, whole: Whole, attributes: Attributes, shapes: Shapes) -> bool:
    """Attention behind the product that made q, k and v as one tensor."""
    heads, present = int(attributes["num_heads"]), outputs(node, 2)[1]
    cut = chain.parts("q k v", "Split", whole.product, chain.const(list(whole.sizes)), axis=-1)
    q, k, v = (_heads(chain, part, heads) for part in cut)
    if whole.past:
        before = chain.parts("past_k past_v", "Split", whole.past, chain.const([1, 1]), axis=0)
        zero = chain.const([0])
        k, v = (
            chain("Concat", chain("Squeeze", old, zero), new, axis=2) for old, new in zip(before, (k, v), strict=True)
        )
    if present:
        zero = chain.const([0])
        chain("Concat", chain("Unsqueeze", k, zero), chain("Unsqueeze", v, zero), axis=0, output=present)
    scale = float(attributes.get("scale") or 0.0) or 1.0 / math.sqrt(whole.sizes[0] // heads)
    batch = (shapes.get(node.input[0]) or (None,))[0]
    parts = Parts(q, k, v, scale, whole.mask, whole.bias, batch, attributes, shapes)
    return attend(chain, parts, node.output[0])


def _multi_head(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """Q ``[N, T, D]`` is given, and k and v beside it, with their heads apart, as one tensor, or all three as one."""
    q, k, v, bias, mask, extra, past_k, past_v = inputs(node, 8)
    heads = int(attributes["num_heads"])
    _, new_k, new_v, scores = outputs(node, 4)
    if any(node.input[8:]) or scores or bool(past_k) != bool(past_v):
        return False
    found = _laid_out(chain, q, k, v, bias, heads, shapes)
    if found is None:
        return False
    q, k, v, size = found
    if past_k:
        k, v = chain("Concat", past_k, k, axis=2), chain("Concat", past_v, v, axis=2)
    for part, output in ((k, new_k), (v, new_v)):
        if output:
            chain("Identity", part, output=output)
    scale = float(attributes.get("scale") or 0.0) or 1.0 / math.sqrt(size)
    batch = (shapes.get(node.input[0]) or (None,))[0]
    return attend(chain, Parts(q, k, v, scale, mask, extra, batch, attributes, shapes), node.output[0])


def _laid_out(
    chain: Chain, q: str, k: str, v: str, bias: str, heads: int, shapes: Shapes
) -> tuple[str, str, str, int] | None:
    """q, k and v with their heads apart, and the width of one head; None for a layout that is not known."""
    shape = shapes.get(q)
    last = shape[-1] if shape else None
    if shape is None or not isinstance(last, int):
        return None
    if len(shape) == 5 and not k and not v and not bias:  # [N, T, H, 3, d]
        a, b, c = _unpacked(chain, q, 3)
        return a, b, c, last
    kinds = [len(shapes[name]) if name in shapes else 0 for name in (k, v)]
    if len(shape) != 3:
        return None
    size = last // heads
    if kinds[0] == 5 and not v and not bias:  # [N, L, H, 2, d]
        a, b = _unpacked(chain, k, 2)
        return _heads(chain, q, heads), a, b, size
    if kinds == [4, 4] and not bias:  # [N, H, L, d]
        return _heads(chain, q, heads), k, v, size
    width = last_extent(shapes, v)
    if kinds != [3, 3] or (bias and width is None):
        return None
    parts = [q, k, v]
    if bias:
        shifts = chain.parts("q_bias k_bias v_bias", "Split", bias, chain.const([last, last, width]), axis=0)
        parts = [chain("Add", part, shift) for part, shift in zip(parts, shifts, strict=True)]
    a, b, c = (_heads(chain, part, heads) for part in parts)
    return a, b, c, size


def _unpacked(chain: Chain, x: str, count: int) -> list[str]:
    """``[N, T, H, count, d]`` to ``count`` times ``[N, H, T, d]``."""
    axis = chain.const([3])
    names = " ".join("qkv"[-count:])
    cut = chain.parts(names, "Split", x, chain.const([1] * count), axis=3)
    return [chain("Transpose", chain("Squeeze", part, axis), perm=[0, 2, 1, 3]) for part in cut]


def _heads(chain: Chain, x: str, heads: int) -> str:
    """``[N, T, D]`` to ``[N, H, T, D / H]``."""
    return chain("Transpose", chain("Reshape", x, chain.const([0, 0, heads, -1])), perm=[0, 2, 1, 3])


def attend(chain: Chain, parts: Parts, out: str) -> bool:
    """The attention itself, with its heads side by side again: ``[N, T, H d']``."""
    q, k, attributes = parts.q, parts.k, parts.attributes
    scores = chain("MatMul", q, chain("Transpose", k, perm=[0, 1, 3, 2]))
    scores = chain("Mul", scores, chain.number(parts.scale, scores))
    if parts.bias:
        scores = chain("Add", scores, parts.bias)
    low = chain.number(float(attributes.get("mask_filter_value", _FILTER)), scores)
    if parts.mask:
        counted = _counted(chain, parts)
        if not counted:
            return False
        scores = chain("Add", scores, chain("Where", counted, chain.number(0.0, scores), low))
    if attributes.get("unidirectional"):
        # row i is token i + L - T of the keys, as those of the past come first
        tall, wide = (chain("Shape", part, start=2, end=3) for part in (q, k))
        square = chain("Expand", low, chain("Concat", tall, wide, axis=0))
        first = chain("Add", chain("Squeeze", chain("Sub", wide, tall)), chain.const(1))
        scores = chain("Add", scores, chain("Trilu", square, first, upper=1))
    mixed = chain("MatMul", chain("Softmax", scores, axis=-1), parts.v)
    chain("Reshape", chain("Transpose", mixed, perm=[0, 2, 1, 3]), chain.const([0, 0, -1]), output=out)
    return True


def _counted(chain: Chain, parts: Parts) -> str:
    """Which keys count, as truth values that broadcast to ``[N, H, T, L]``; empty for a mask of another form."""
    mask, shape = parts.mask, parts.shapes.get(parts.mask)
    if shape is None or len(shape) not in (1, 2, 3, 4):
        return ""
    if len(shape) == 1:
        return _between(chain, parts, shape)
    yes = chain("Cast", mask, to=TensorProto.BOOL)
    if len(shape) == 4:
        tall, wide = (chain("Shape", part, start=2, end=3) for part in (parts.q, parts.k))
        past = chain("Sub", wide, tall)
        starts = chain("Concat", past, chain.const([0]), axis=0)
        return chain("Slice", yes, starts, chain("Concat", wide, wide, axis=0), chain.const([2, 3]))
    return chain("Unsqueeze", yes, chain.const([1, 2] if len(shape) == 2 else [1]))


def _between(chain: Chain, parts: Parts, shape: Shape) -> str:
    """Keys before an end, and from a start on where the mask says one; ``[3N + 2]`` has lengths and their sums."""
    length = chain("Squeeze", chain("Shape", parts.k, start=2, end=3))
    places = chain("Range", chain.const(0), length, chain.const(1))
    count, column = shape[0], chain.const([-1, 1, 1, 1])
    marks = chain("Cast", parts.mask, to=TensorProto.INT64)
    if count == parts.batch and count is not None:
        return chain("Less", places, chain("Reshape", marks, column))
    rows, zero = chain("Shape", parts.q, start=0, end=1), chain.const([0])
    ends = chain("Reshape", chain("Slice", marks, zero, rows, zero), column)
    inside = chain("Less", places, ends)
    if isinstance(count, int) and isinstance(parts.batch, int) and count == 3 * parts.batch + 2:
        return inside
    none = chain("Expand", zero, rows)  # where there are no starts, these stand for them
    twice = chain("Mul", rows, chain.const([2]))
    starts = chain("Slice", chain("Concat", marks, none, axis=0), rows, twice, zero)
    return chain("And", inside, chain("GreaterOrEqual", places, chain("Reshape", starts, column)))


OPENERS: dict[str, Opener] = {"Attention": _attention, "MultiHeadAttention": _multi_head}
