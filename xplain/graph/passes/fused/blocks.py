"""Weights stored in few bits, a scale per block of them: unpacked by nodes, so that a file keeps its one small copy.

    w = (code - zero) scale           integers of 2, 4 or 8 bits
    w = table[code] scale             the 16 numbers of a 4-bit float

The runtime unpacks them when it loads the file. Codes lie side by side in bytes; each byte is looked up in a table of
the codes it holds, which is one pass over memory for any number of bits.
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto, TensorProto

from xplain.graph.passes.chain import Chain
from xplain.graph.passes.fused.form import Attributes, Opener, Shapes, inputs, last_extent

__all__ = ["OPENERS", "OUTLINES"]

_BITS = (2, 4, 8)

_FP4 = (0.0, 0.0052083333, 0.6666667, 1.0, 0.3333333, 0.5, 0.1666667, 0.25)
"""Numbers of a sign bit, two bits of exponent and one of mantissa, over the largest; the negative ones follow."""

_NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""NormalFloat: Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, appendix E."""


def _codes(chain: Chain, packed: str, bits: int, like: str, rows: list[int], shift: float = 0.0) -> str:
    """Bytes to the codes in them, low bits first, minus ``shift``: ``rows``, in the precision of ``like``."""
    every = np.arange(256)
    table = np.stack([(every >> at) & (2**bits - 1) for at in range(0, 8, bits)], axis=1) - shift
    found = chain("Gather", chain.number(table, like), chain("Cast", packed, to=TensorProto.INT32), axis=0)
    return chain("Reshape", found, chain.const(rows))


def _few_bits(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``x W^T + bias``, W ``[N, K]`` in blocks along K; a block may be said for each k by ``g_idx``."""
    x, packed, scales, zeros, groups, bias = inputs(node, 6)
    n, k, block = (int(attributes[name]) for name in ("N", "K", "block_size"))
    bits, blocks = int(attributes.get("bits", 4)), -(-k // block)
    if bits not in _BITS or attributes.get("weight_prepacked") or chain.dtypes.get(packed) != TensorProto.UINT8:
        return False
    kind = chain.dtypes.get(zeros)
    if groups and zeros and kind == TensorProto.UINT8:
        return False  # the runtime's kernel (1.31) passes over these zero points, its description does not
    middle = 0.0 if zeros else float(2 ** (bits - 1))
    codes = _codes(chain, packed, bits, x, [n, blocks, block], middle)
    scale = chain("Reshape", scales, chain.const([n, blocks, 1]))
    zero = _zeros(chain, zeros, bits, x, n, blocks, kind) if zeros else ""
    if groups:  # one scale for each k
        codes = chain("Reshape", codes, chain.const([n, blocks * block]))
        if blocks * block > k:
            codes = chain("Slice", codes, chain.const([0]), chain.const([k]), chain.const([1]))
        scale, zero = (_for_each(chain, part, groups, n, blocks) if part else "" for part in (scale, zero))
    weight = chain("Mul", chain("Sub", codes, zero) if zero else codes, scale)
    weight = chain("Reshape", weight, chain.const([n, -1]))
    if not groups and blocks * block > k:
        weight = chain("Slice", weight, chain.const([0]), chain.const([k]), chain.const([1]))
    y = chain("MatMul", x, chain("Transpose", weight, perm=[1, 0]), output="" if bias else node.output[0])
    if bias:
        chain("Add", y, bias, output=node.output[0])
    return True


def _zeros(chain: Chain, zeros: str, bits: int, like: str, n: int, blocks: int, dtype: int | None) -> str:
    """Zero points ``[N, blocks, 1]``: real numbers, or codes packed like the weights, each row in bytes of its own."""
    shape = chain.const([n, blocks, 1])
    if dtype != TensorProto.UINT8:
        return chain("Reshape", zeros, shape)
    width = -(-blocks * bits // 8) * 8 // bits
    codes = _codes(chain, zeros, bits, like, [n, width])
    if width > blocks:
        codes = chain("Slice", codes, chain.const([0]), chain.const([blocks]), chain.const([1]))
    return chain("Reshape", codes, shape)


def _for_each(chain: Chain, part: str, groups: str, n: int, blocks: int) -> str:
    """``[N, blocks, 1]`` to ``[N, K]``: the entry of each k's block."""
    return chain("Gather", chain("Reshape", part, chain.const([n, blocks])), groups, axis=1)


def _four_bit_floats(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """``x W^T``: W ``[N, K]`` laid out flat, in blocks of which each has its largest number as a scale."""
    x, packed, largest = inputs(node, 3)
    if not attributes.get("transB", 1):  # for training; the runtime's kernel for processors does not do it
        return False
    n, k, block = (int(attributes[name]) for name in ("N", "K", "block_size"))
    blocks = -(-n * k // block)
    halves = np.array([*_FP4, *(-value for value in _FP4)] if int(attributes["quant_type"]) == 0 else _NF4)
    every = np.arange(256)
    table = chain.number(halves[np.stack([every >> 4, every & 15], axis=1)], x)  # high bits first
    whole = chain("Gather", table, chain("Cast", packed, to=TensorProto.INT32), axis=0)
    whole = chain("Reshape", whole, chain.const([-1]))
    if n * k % block:
        short = blocks * block - 2 * (-(-n * k // 2))
        whole = chain("Pad", whole, chain.const([0, short]))
    whole = chain(
        "Mul", chain("Reshape", whole, chain.const([blocks, block])), chain("Unsqueeze", largest, chain.const([1]))
    )
    whole = chain("Reshape", whole, chain.const([-1]))
    if n * k != blocks * block:
        whole = chain("Slice", whole, chain.const([0]), chain.const([n * k]))
    weight = chain("Reshape", whole, chain.const([n, k]))
    chain("MatMul", x, chain("Transpose", weight, perm=[1, 0]), output=node.output[0])
    return True


def _rows(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """Rows of a packed table ``[V, D]``, by ``indices [..]``: picked first, then unpacked and scaled."""
    table, indices, scales, zeros = inputs(node, 4)
    bits, block = int(attributes.get("bits", 4)), int(attributes.get("block_size", 128))
    size, at, packed = shapes.get(table), shapes.get(indices), last_extent(shapes, table)
    if size is None or at is None or packed is None or len(size) != 2 or chain.dtypes.get(table) != TensorProto.UINT8:
        return False
    if (
        bits not in _BITS
        or int(attributes.get("gather_axis", 0))
        or int(attributes.get("quantize_axis", 1)) not in (1, -1)
    ):
        return False
    lead, owner = [0] * len(at), chain.const(np.arange(packed * 8 // bits) // block)
    middle = 0.0 if zeros else float(2 ** (bits - 1))
    codes = _codes(chain, chain("Gather", table, indices), bits, scales, [*lead, -1], middle)
    if zeros:
        points = _codes(chain, chain("Gather", zeros, indices), bits, scales, [*lead, -1])
        codes = chain("Sub", codes, chain("Gather", points, owner, axis=-1))
    chain("Mul", codes, chain("Gather", chain("Gather", scales, indices), owner, axis=-1), output=node.output[0])
    return True


def _outline(chain: Chain, node: NodeProto, attributes: Attributes, shapes: Shapes) -> bool:
    """A tensor of the same shape, made without unpacking the weights: ``sum(x) [.., 1]`` times a row ``[N]``."""
    total = chain("ReduceSum", node.input[0], chain.const([-1]))
    fill = chain("ConstantOfShape", chain.const([int(attributes["N"])]))
    chain("Mul", total, chain("CastLike", fill, total), output=node.output[0])
    return True


OPENERS: dict[str, Opener] = {
    "GatherBlockQuantized": _rows,
    "MatMulBnb4": _four_bit_floats,
    "MatMulNBits": _few_bits,
}

OUTLINES: dict[str, Opener] = {"MatMulBnb4": _outline, "MatMulNBits": _outline}
"""What stands for these operators where only the shapes behind them are asked for."""
