"""Attention followed through a transformer: rollout, and rollout weighted by the gradient."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.options import Share
from xplain.core.query import Flow, Peek, Reading, Sweep, View
from xplain.core.registry import Paper, method
from xplain.core.rules import Rules

__all__ = ["attention_relevance", "attention_rollout"]


@method(
    "attention-rollout",
    needs=Peek,
    paper=Paper("Abnar 2020", "arXiv:2005.00928, section 3"),
    unit="share of attention",
    aliases=("rollout",),
    signed=False,
    traceable=False,
)
def attention_rollout(view: View, *, heads: Literal["mean", "max", "min"] = "mean", discard: Share = 0.0) -> Flow:
    """Attention multiplied through the layers, half of each layer being the residual connection.

    ``R = product over layers of normalised(0.5 A_l + 0.5 I)``; the map is the class token's row over the
    patches, or the mean row where there is no class token.

    Args:
        heads: How the heads of a layer become one matrix A.
        discard: Share of each matrix' smallest entries that is set to zero first.

    Returns:
        ``[N, H, W]``, at least 0, enlarged bilinearly from the token grid. Does not depend on the target.

    Cost:
        1 evaluation per item.

    Raises:
        UsageError: the model has no attention matrices over a square grid of tokens.

    Source:
        Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020; ``discard`` from Gildenblat 2020.
    """
    taps = _attention(view)
    peeked = yield Peek(view.x, taps)
    total: Array = np.zeros(())
    for k, tap in enumerate(taps):
        matrix = getattr(np, heads)(np.asarray(peeked[tap], dtype=np.float64), axis=1)
        if discard > 0:
            flat = matrix.reshape(len(matrix), -1)
            least = np.quantile(flat, discard, axis=1)[:, None, None]
            matrix = np.where(matrix < least, 0, matrix)
        matrix = matrix + np.eye(matrix.shape[-1])
        matrix /= matrix.sum(axis=-1, keepdims=True)
        total = matrix if k == 0 else matrix @ total
    return _patches(view, total, len(taps))


@method(
    "attention-relevance",
    needs=Sweep,
    paper=Paper("Chefer 2021", "arXiv:2103.15679, equations 5 and 6"),
    unit="relevance through attention",
    aliases=("transformer-attribution",),
    signed=False,
    traceable=False,
)
def attention_relevance(view: View) -> Flow:
    """Attention multiplied through the layers, each entry weighted by how it argues for the target.

    ``R = I``; layer by layer ``R <- R + mean over heads of max(0, A * dA) R``, with ``dA = d f / d A``; the map is
    the class token's row over the patches, or the mean row where there is no class token.

    Returns:
        ``[N, H, W]``, at least 0, enlarged bilinearly from the token grid.

    Cost:
        1 sweep per item.

    Raises:
        UsageError: the model has no attention matrices over a square grid of tokens.

    Source:
        Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers, ICCV 2021.
    """
    taps = _attention(view)
    answer = yield Sweep(view.x[:, None], view.target, Rules(), taps)
    tokens = answer[taps[0]][0].shape[-1]
    total = np.broadcast_to(np.eye(tokens), (len(view.x), tokens, tokens))
    for tap in taps:
        value, gradient = answer[tap]
        total = total + np.maximum(np.asarray(value, dtype=np.float64) * gradient, 0).mean(axis=1) @ total
    return _patches(view, total - np.eye(tokens), len(taps))


def _attention(view: View) -> tuple[str, ...]:
    """The attention matrices ``[N, heads, T, T]``, first layer first."""
    found = []
    for layer in view.outline.layers:
        if layer.op == "Softmax" and len(layer.shape) == 4:
            rows, columns = layer.shape[2:]
            if isinstance(rows, int) and rows == columns and _grid(rows) is not None:
                found.append((layer.name, rows))
    if not found and view.outline.attended:
        raise UsageError(
            f"{view.outline.source} computes attention by a function, which no layer shows. Export the module to ONNX "
            "with its attention written out (opset 17, no fused kernel) and explain that file, or use grad-cam, which "
            "recognises token layers."
        )
    if not found or len({tokens for _, tokens in found}) > 1:
        raise UsageError(
            f"{view.outline.source} shows no attention matrices [N, heads, T, T] over one square grid of tokens: it is "
            "no plain vision transformer, or its attention is fused into one operator. Use grad-cam, which "
            "recognises token layers, or a gradient or perturbation method."
        )
    return tuple(name for name, _ in found)


def _grid(tokens: int) -> int | None:
    """How many leading tokens are no patches, or None where the rest is no square."""
    for extra in range(6):
        side = math.isqrt(max(0, tokens - extra))
        if side > 1 and side * side == tokens - extra:
            return extra
    return None


def _patches(view: View, total: Array, layers: int) -> Reading:
    extra = _grid(total.shape[-1]) or 0
    row = total[:, 0, extra:] if extra else total.mean(axis=1)
    side = math.isqrt(row.shape[1])
    maps = row.reshape(len(row), side, side)
    return Reading(enlarge(maps, view.layout.plane), resolution=(side, side), notes={"attention layers": layers})
