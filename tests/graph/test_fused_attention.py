"""Attention with masks of every form, with a past, with packed tensors; rotary and relative positions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fused_nodes import Form, check, form, r
from nets import FLOAT, model
from onnx import helper

from xplain.core.errors import UnsupportedOperator
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build

N, T, L, HEADS, SIZE = 2, 5, 6, 2, 4
WIDTH = HEADS * SIZE
X, WEIGHT, BIAS = r(N, T, WIDTH), r(WIDTH, 3 * WIDTH), r(3 * WIDTH)
Q, K, V = r(N, T, WIDTH), r(N, L, WIDTH), r(N, L, WIDTH)
ENDS, STARTS = np.array([4, 3], np.int32), np.array([1, 0], np.int32)
PAST = r(2, N, HEADS, 3, SIZE)
ROWS = np.tril(np.ones((T, T), np.int32))[None].repeat(N, 0)
KEYS = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 1, 1, 1]], np.int32)


def cumulated(lengths: np.ndarray) -> np.ndarray:
    """Lengths of the keys, and the places where queries and keys of each item start in a packed batch: ``[3N + 2]``."""
    sums = np.concatenate([[0], np.cumsum(lengths)])
    return np.concatenate([lengths, sums, sums]).astype(np.int32)


ATTENTION = [
    form("Attention", [X, WEIGHT, BIAS, np.concatenate([ENDS, STARTS])], label="ends-starts", num_heads=HEADS),
    form("Attention", [X, WEIGHT, BIAS, np.concatenate([ENDS, STARTS])], label="fixed", free=False, num_heads=HEADS),
    form("Attention", [X, WEIGHT, BIAS, ENDS], label="ends", free=False, num_heads=HEADS),
    form("Attention", [X, WEIGHT, BIAS, ROWS], label="rows", num_heads=HEADS),
    form("Attention", [X, WEIGHT, BIAS, KEYS[:, :T]], label="keys", num_heads=HEADS, unidirectional=1),
    form("Attention", [X, WEIGHT, BIAS, KEYS[:, :T]], label="keys", num_heads=HEADS, mask_filter_value=-3.0),
    form("Attention", [X, WEIGHT, BIAS, None, None, r(1, 1, T, T)], label="bias", num_heads=HEADS),
    form("Attention", [X, WEIGHT, BIAS, KEYS[:, :T], None, r(N, HEADS, T, T)], label="bias-keys", num_heads=HEADS),
    form("Attention", [X, WEIGHT, BIAS, None, PAST], (0, 1), "past", num_heads=HEADS, unidirectional=1),
    form("Attention", [X, WEIGHT, BIAS, None, PAST], (0, 1), "past", num_heads=HEADS),
    form(
        "Attention", [X, WEIGHT, BIAS, np.ones((N, T + 3), np.int32), PAST], (0, 1), "past-keys", num_heads=HEADS,
        unidirectional=1,
    ),
    form("Attention", [X, WEIGHT, BIAS], (0, 1), "present", num_heads=HEADS, unidirectional=1),
    form("MultiHeadAttention", [Q, K, V, None, ENDS], label="lengths", num_heads=HEADS),
    form("MultiHeadAttention", [Q, K, V, None, cumulated(ENDS)], label="cumulated", free=False, num_heads=HEADS),
    form("MultiHeadAttention", [Q, K, V, None, np.tile(KEYS[:, None], (1, T, 1))], label="rows", num_heads=HEADS),
    form("MultiHeadAttention", [Q, Q, Q, BIAS, None, r(N, 1, T, T)], label="bias", num_heads=HEADS, unidirectional=1),
    form("MultiHeadAttention", [Q, K, V, None, KEYS, r(1, HEADS, T, L)], label="bias-keys", num_heads=HEADS),
    form("MultiHeadAttention", [Q, K, V], (0, 1, 2), "present", num_heads=HEADS),
    form(
        "MultiHeadAttention", [Q, Q, Q, None, None, None, PAST[0], PAST[1]], (0, 1, 2), "past", num_heads=HEADS,
        unidirectional=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", ATTENTION)
def test_attention_of_every_form(case: Form) -> None:
    check(case)


def _softmax_mix(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Plain attention: ``[N, H, T, d]`` each, to ``[N, T, H d]``."""
    scores = q @ k.swapaxes(2, 3) / np.sqrt(q.shape[-1])
    odds = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = odds / odds.sum(-1, keepdims=True) @ v
    return mixed.swapaxes(1, 2).reshape(mixed.shape[0], mixed.shape[2], -1)


def _all_packed(x: np.ndarray, num_heads: int) -> np.ndarray:
    return _softmax_mix(*(x[:, :, :, k].swapaxes(1, 2) for k in range(3)))


def _keys_packed(q: np.ndarray, kv: np.ndarray, num_heads: int) -> np.ndarray:
    heads = q.reshape(*q.shape[:2], num_heads, -1).swapaxes(1, 2)
    return _softmax_mix(heads, *(kv[:, :, :, k].swapaxes(1, 2) for k in range(2)))


def _gated(
    query: np.ndarray, shift: np.ndarray, bias: np.ndarray, weight: np.ndarray, more: np.ndarray, factor: np.ndarray,
    num_heads: int,
) -> np.ndarray:  # fmt: skip
    """As in the operator's description."""
    q = (query + shift).reshape(*query.shape[:2], num_heads, -1).swapaxes(1, 2)
    gates = q @ weight + more
    halves = gates.reshape(*gates.shape[:3], 2, -1).sum(-1)
    u, ratio = (1 / (1 + np.exp(-halves[..., k : k + 1])) for k in range(2))
    return (u * (ratio * factor - 1.0) + 2.0) * bias


PACKED = [
    form("MultiHeadAttention", [r(N, T, HEADS, 3, SIZE)], label="packed", formula=_all_packed, num_heads=HEADS),
    form("MultiHeadAttention", [Q, r(N, L, HEADS, 2, SIZE)], label="packed", formula=_keys_packed, num_heads=HEADS),
    form(
        "GatedRelativePositionBias",
        [Q, r(WIDTH), r(1, HEADS, T, T), r(SIZE, 8), r(8), r(1, HEADS, 1, 1)],
        formula=_gated,
        num_heads=HEADS,
    ),
]


@pytest.mark.parametrize("case", PACKED)
def test_forms_of_other_devices_follow_their_formula(case: Form) -> None:
    check(case)


def _rotary(x: np.ndarray, places: np.ndarray, half: int, label: str, **attributes: Any) -> Any:
    angles = np.arange(12)[:, None] * 10.0 ** (-np.arange(half) / half)
    caches = [np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)]
    return form("RotaryEmbedding", [x, places, *caches], label=label, **attributes)


PLACES = np.array([[0, 1, 2, 3, 4], [4, 0, 7, 2, 9]])
ROTARY = [
    _rotary(r(N, T, WIDTH), PLACES, 2, "rows"),
    _rotary(r(N, T, WIDTH), np.array([3]), 2, "offset", interleaved=1),
    _rotary(r(N, HEADS, T, SIZE), PLACES, 2, "heads"),
    _rotary(r(N, HEADS, T, 8), PLACES, 4, "heads", interleaved=1),
    _rotary(r(N, T, 16), PLACES, 2, "part", num_heads=2, rotary_embedding_dim=4),
    _rotary(r(N, T, 16), np.array([0]), 2, "part", num_heads=2, rotary_embedding_dim=4, interleaved=1),
    _rotary(r(N, 2, T, 8), PLACES, 2, "part-heads", num_heads=2, rotary_embedding_dim=4),
]


@pytest.mark.parametrize("case", ROTARY)
def test_rotary_positions(case: Form) -> None:
    check(case)


def _bucket(ahead: int, buckets: int, farthest: int, both: bool) -> int:
    """Raffel et al. 2020: half of the buckets hold one distance each, the others grow with its logarithm."""
    start = 0
    if both:
        buckets //= 2
        start, ahead = (buckets if ahead > 0 else 0), -abs(ahead)
    far, exact = max(-ahead, 0), buckets // 2
    if far < exact:
        return start + far
    grown = exact + int(math.log(far / exact) / math.log(farthest / exact) * (buckets - exact))
    return start + min(grown, buckets - 1)


def _distances(
    table: np.ndarray, tall: np.ndarray, wide: np.ndarray, max_distance: int, is_bidirectional: int = 0
) -> np.ndarray:
    count, heads = table.shape
    by_head = table.reshape(heads, count)  # the table lies by columns
    rows = [
        [_bucket(j - i, count, max_distance, bool(is_bidirectional)) for j in range(int(wide[0]))]
        for i in range(int(tall[0]))
    ]
    return by_head[:, np.array(rows)][None]


LONG = np.array([23])
DISTANCES = [
    form("RelativePositionBias", [r(8, 3), LONG, LONG], free=False, formula=_distances, max_distance=20),
    form(
        "RelativePositionBias", [r(12, 2), LONG, LONG], free=False, formula=_distances, max_distance=16,
        is_bidirectional=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", DISTANCES)
def test_a_bias_by_distance_follows_its_formula(case: Form) -> None:
    check(case)


@pytest.mark.parametrize(
    ("op", "count", "attributes"),
    [
        ("Attention", 7, {"do_rotary": 1}),
        ("MultiHeadAttention", 9, {}),
        ("GroupQueryAttention", 7, {"kv_num_heads": 2}),
    ],
)
def test_forms_for_generating_text_are_declined_by_name(op: str, count: int, attributes: dict[str, Any]) -> None:
    inputs = ["x", *[f"i{k}" for k in range(1, count)]]
    node = helper.make_node(op, inputs, ["y"], "remembers", domain="com.microsoft", num_heads=HEADS, **attributes)
    stored = {name: np.ones((1, 1), np.float32) for name in inputs[1:]}
    made = model([node], {"x": (FLOAT, [N, T, WIDTH])}, {"y": (FLOAT, [N, T, WIDTH])}, stored, com_microsoft=1)
    with pytest.raises(UnsupportedOperator, match=rf"{op} \(node 'remembers'\) \(opset \d+\).*from before it was"):
        build(made, ["x"], [Seed("y", "inner", "cot")])
