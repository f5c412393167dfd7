"""Weights of few bits and integer attention: opened, they compute what the runtime's kernels do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fused_nodes import RNG, Form, check, form, r


def _few_bits(k: int, n: int, block: int, bits: int, zeros: str = "", groups: bool = False, bias: bool = False) -> Any:
    """Random codes; zero points packed, as real numbers, or left to their default."""
    blocks, each = -(-k // block), block * bits // 8
    packed = RNG.integers(0, 256, (n, blocks, each)).astype(np.uint8)
    scales = (RNG.random((n, blocks)) * 0.1 + 0.01).astype(np.float32)
    zero: Any = None
    if zeros == "packed":
        zero = RNG.integers(0, 256, (n, -(-blocks * bits // 8))).astype(np.uint8)
    elif zeros == "real":
        zero = (RNG.random((n, blocks)) * 2**bits).astype(np.float32)
    index = (RNG.permutation(k) // block).astype(np.int32) if groups else None
    inputs = [r(2, 3, k), packed, scales, zero, index, r(n) if bias else None]
    label = f"{zeros or 'middle'}{'-groups' if groups else ''}{'-bias' if bias else ''}"
    return form("MatMulNBits", inputs, label=label, K=k, N=n, block_size=block, bits=bits)


FEW_BITS = [
    _few_bits(64, 6, 16, 4),
    _few_bits(64, 6, 16, 4, "packed", bias=True),
    _few_bits(48, 5, 32, 4, "packed"),
    _few_bits(80, 5, 16, 4, "packed"),
    _few_bits(64, 6, 32, 4, "real"),
    _few_bits(64, 6, 16, 4, groups=True),
    _few_bits(64, 6, 16, 4, "real", groups=True),
    _few_bits(64, 6, 32, 8),
    _few_bits(70, 6, 32, 8, "packed", bias=True),
    _few_bits(64, 6, 16, 2),
    _few_bits(48, 6, 16, 2, "packed"),
]


@pytest.mark.parametrize("case", FEW_BITS)
def test_weights_of_few_bits(case: Form) -> None:
    check(case)


def _floats(k: int, n: int, block: int, kind: int) -> Any:
    packed = RNG.integers(0, 256, -(-n * k // 2)).astype(np.uint8)
    largest = (RNG.random(-(-n * k // block)) + 0.5).astype(np.float32)
    return form("MatMulBnb4", [r(2, 3, k), packed, largest], K=k, N=n, block_size=block, quant_type=kind)


FLOATS = [_floats(32, 6, 16, 0), _floats(32, 6, 16, 1), _floats(30, 5, 64, 1), _floats(48, 7, 32, 0)]


@pytest.mark.parametrize("case", FLOATS)
def test_weights_of_four_bit_floats(case: Form) -> None:
    check(case)


BYTES = RNG.integers(0, 255, (2, 5, 8)).astype(np.uint8)
WHOLE, UNSIGNED = RNG.integers(-90, 90, (8, 24)).astype(np.int8), RNG.integers(0, 180, (8, 24)).astype(np.uint8)
MASK = np.array([3, 4], np.int32)
PER_COLUMN = (RNG.random(24) * 0.01 + 0.005).astype(np.float32)
ONE, POINT = np.float32(0.02), np.uint8(120)
PAST = r(2, 2, 2, 3, 4)
INTEGERS = [
    form("QAttention", [BYTES, WHOLE, r(24), ONE, ONE, MASK, POINT, np.int8(3)], label="ends", num_heads=2),
    form("QAttention", [BYTES, WHOLE, r(24), ONE, PER_COLUMN, None, POINT], label="columns", num_heads=2),
    form(
        "QAttention", [BYTES, UNSIGNED, r(24), ONE, ONE, None, POINT, np.uint8(90)], label="unsigned", num_heads=4,
        unidirectional=1,
    ),
    form(
        "QAttention", [BYTES, WHOLE, r(24), ONE, ONE, None, POINT, np.int8(3), PAST], (0, 1), "past", num_heads=2,
        unidirectional=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", INTEGERS)
def test_attention_on_integers(case: Form) -> None:
    check(case)
