"""Operators for which onnxruntime has kernels on other devices alone, against what their descriptions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fused_nodes import Form, check, form, r

erf = np.vectorize(__import__("math").erf, otypes=[float])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _group_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, skip: Any = None, bias: Any = None, *, groups: int,
    activation: int = 0, epsilon: float = 1e-5, channels_last: int = 1,
) -> np.ndarray:  # fmt: skip
    """Wu and He 2018, equation 1, on ``[N, *spatial, C]`` or ``[N, C, *spatial]``; with a skip, the sum behind it."""
    turn = (lambda a: np.moveaxis(a, -1, 1)) if channels_last else (lambda a: a)
    total = turn(x)
    column = (-1, *[1] * (x.ndim - 2))
    if skip is not None:
        total = total + (skip.reshape(*skip.shape, 1, 1) if skip.ndim == 2 else turn(skip))
        total = total if bias is None else total + bias.reshape(column)
    parts = total.reshape(total.shape[0], groups, -1)
    parts = (parts - parts.mean(-1, keepdims=True)) / np.sqrt(parts.var(-1, keepdims=True) + epsilon)
    y = parts.reshape(total.shape) * gamma.reshape(column) + beta.reshape(column)
    y = y * _sigmoid(y) if activation else y
    back = (lambda a: np.moveaxis(a, 1, -1)) if channels_last else (lambda a: a)
    return back(y) if skip is None else np.concatenate([back(y).ravel(), back(total).ravel()])


def _split_gelu(x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    left, right = np.split(x + bias, 2, axis=-1)
    return left * right * 0.5 * (1 + erf(right / np.sqrt(2)))


def _softmax(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    odds = np.exp(x - x.max(axes, keepdims=True))
    return odds / odds.sum(axes, keepdims=True)


def _bias_softmax(x: np.ndarray, bias: np.ndarray, axis: int, is_inner_broadcast: int) -> np.ndarray:
    return _softmax(x + bias, tuple(range(axis % x.ndim, x.ndim)))


def _tanh_gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _conv_last(x: np.ndarray, w: np.ndarray, b: np.ndarray, z: Any = None, activation: str = "") -> np.ndarray:
    """A convolution of stride 1 without padding, on ``[N, H, W, C]``, weights ``[O, C, kh, kw]``."""
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(1, 2))
    y = np.einsum("nhwcij,ocij->nhwo", windows, w) + b + (0 if z is None else z)
    return np.maximum(y, 0) if activation == "Relu" else y


def _conv_all_last(x: np.ndarray, w: np.ndarray, b: np.ndarray, kernel_shape: list[int]) -> np.ndarray:
    """The same with weights ``[O, kh, kw, C]``."""
    return _conv_last(x, np.moveaxis(w, -1, 1), b)


def _matmul(a: np.ndarray, b: np.ndarray, activation: str, transB: int, alpha: float, **_: float) -> np.ndarray:
    y = alpha * a @ b.swapaxes(-1, -2)
    return np.maximum(y, 0) if activation == "Relu" else np.where(y > 0, y, 0.3 * y)


LAST, FIRST, C = r(2, 3, 4, 6), r(2, 6, 3, 4), [r(6), r(6)]
FORMS = [
    form("GroupNorm", [LAST, *C], formula=_group_norm, groups=3, activation=0),
    form("GroupNorm", [LAST, *C], formula=_group_norm, groups=2, activation=1, epsilon=1e-3),
    form("GroupNorm", [FIRST, *C], formula=_group_norm, groups=3, activation=1, channels_last=0),
    form("GroupNorm", [LAST, *C], label="old", opset=20, free=False, formula=_group_norm, groups=6, activation=1),
    form("SkipGroupNorm", [LAST, *C, r(2, 3, 4, 6), r(6)], (0, 1), formula=_group_norm, groups=3, activation=1),
    form("SkipGroupNorm", [LAST, *C, r(2, 6)], (0, 1), "row", formula=_group_norm, groups=2, activation=0),
    form("SkipGroupNorm", [LAST, *C, r(2, 1, 1, 6), r(6)], (0, 1), "one", formula=_group_norm, groups=2, activation=0),
    form(
        "SkipGroupNorm", [FIRST, *C, r(2, 6), r(6)], (0, 1), formula=_group_norm, groups=2, activation=0,
        channels_last=0,
    ),
    form("BiasSplitGelu", [r(2, 5, 8), r(8)], formula=_split_gelu),
    form("BiasSplitGelu", [r(2, 5, 8), r(8)], label="new", opset=20, formula=_split_gelu),
    form("BiasSoftmax", [r(2, 3, 4, 5), r(2, 1, 1, 5)], formula=_bias_softmax, axis=3, is_inner_broadcast=1),
    form("BiasSoftmax", [r(2, 3, 4, 5), r(4, 5)], formula=_bias_softmax, axis=2, is_inner_broadcast=0),
    form("BiasAdd", [r(2, 5, 8), r(8), r(2, 5, 8)], formula=lambda x, b, s: x + b + s),
    form("GemmFastGelu", [r(2, 5, 8), r(8, 3), r(3)], formula=lambda x, w, b: _tanh_gelu(x @ w + b)),
    form("NhwcFusedConv", [r(2, 6, 5, 3), r(4, 3, 2, 3), r(4)], formula=_conv_last, activation="Relu"),
    form("NhwcFusedConv", [r(2, 6, 5, 3), r(4, 3, 2, 3), r(4), r(2, 5, 3, 4)], label="sum", formula=_conv_last),
    form("NhwcConv", [r(2, 6, 5, 3), r(4, 2, 3, 3), r(4)], formula=_conv_all_last, kernel_shape=[2, 3]),
    form("FusedMatMulActivation", [r(2, 3, 4), r(2, 5, 4)], formula=_matmul, activation="Relu", transB=1, alpha=0.5),
    form(
        "FusedMatMulActivation", [r(2, 3, 4), r(2, 5, 4)], formula=_matmul, activation="LeakyRelu", transB=1,
        alpha=1.0, activation_alpha=0.3,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", FORMS)
def test_an_operator_of_other_devices_follows_its_formula(case: Form) -> None:
    check(case)


X = r(2, 3, 5, 4)
GRID = np.clip(r(2, 4, 3, 2) * 0.5, -0.9, 0.9)
RENAMED = [
    form("ScaledSiLU", [r(2, 5)], alpha=1.3),
    form("ScaledSiLU", [r(2, 5), np.float32(0.7)], label="input"),
    form("GatedAdd", [r(2, 5, 4), r(2, 5, 4), r(2, 5, 1)]),
    form("GatedRMSNorm", [r(2, 5, 8), r(8), r(2, 5, 8)], epsilon=1e-3),
    form("GatedRMSNorm", [r(2, 5, 8), r(4), r(2, 5, 8)], label="runs", activation="sigmoid", epsilon=1e-3),
    form("CDist", [r(3, 4), r(5, 4)], metric="euclidean"),
    form("CDist", [r(3, 4), r(5, 4)], metric="sqeuclidean"),
    form("ExpandDims", [r(2, 5), np.array(-1, np.int32)]),
    form("Trilu", [r(2, 4, 5), np.array(1)], upper=1),
    form("Trilu", [r(2, 4, 5)], upper=0),
    form("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 0, -1]), np.float32(0.5)], mode="constant"),
    form("Pad", [X, np.array([0, 0, 1, 2, 0, 0, 0, 1])], mode="reflect"),
    form("GatherND", [X, np.array([[0, 2], [1, 1]])], free=False),
    form("GridSample", [X, GRID], mode="bilinear", padding_mode="zeros", align_corners=0),
    form("GridSample", [X, GRID], opset=20, mode="bilinear", padding_mode="border", align_corners=1),
]


@pytest.mark.parametrize("case", RENAMED)
def test_an_operator_that_the_standard_has_now(case: Form) -> None:
    check(case)
