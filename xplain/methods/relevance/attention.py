"""Attention followed through a transformer: rollout, and rollout weighted by the gradient."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from xplain.core.arrays import collapse, enlarge
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.options import Share
from xplain.core.outline import LayerSpec
from xplain.core.query import Flow, Peek, Reading, Sweep, View
from xplain.core.registry import Paper, method
from xplain.core.rules import Rules
from xplain.core.target import label
from xplain.rules.rollout import ROLLOUT

__all__ = ["attention_relevance", "attention_rollout"]


@method(
    "attention-rollout",
    needs=(Peek, Sweep),
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

    Where tokens do not stay one square grid (windows that shift and patches that merge in a Swin, pooled keys, a stem
    of convolutions), the same shares are followed through the graph operator by operator, see ``xplain.rules.rollout``,
    down to the pixels: each residual sum halves, attention goes to the tokens attended, and tokens that are merged
    share evenly. On a plain vision transformer both give the same shares.

    Args:
        heads: How the heads of a layer become one matrix A; the mean where shares are followed through the graph.
        discard: Share of each matrix' smallest entries that is set to zero first; none where shares are followed.

    Returns:
        ``[N, H, W]``, at least 0. Does not depend on the target. From matrices: the share of each patch, enlarged
        bilinearly from the token grid. Followed through the graph: each pixel's own share; they sum to 1 less what
        class tokens kept.

    Cost:
        1 evaluation per item; 1 sweep where shares are followed (a torch module is exported to ONNX once for it).

    Differs from the paper:
        The paper treats layers over one sequence of tokens; windows and merging are followed as said above.

    Raises:
        UsageError: the model has no attention, or an option that needs whole matrices was given for one whose attention
            is followed.

    Source:
        Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020; ``discard`` from Gildenblat 2020.
    """
    taps = _matrices(view)
    if not taps:
        _followed(view, heads, discard)
        answer = yield Sweep(view.x[:, None], label(0), ROLLOUT)  # whatever the class: all scores are read alike
        return Reading(collapse(answer["input"][1], view.layout), notes={"attention": "followed through the graph"})
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
    taps = _matrices(view)
    if not taps:
        raise UsageError(_without(view))
    answer = yield Sweep(view.x[:, None], view.target, Rules(), taps)
    tokens = answer[taps[0]][0].shape[-1]
    total = np.broadcast_to(np.eye(tokens), (len(view.x), tokens, tokens))
    for tap in taps:
        value, gradient = answer[tap]
        total = total + np.maximum(np.asarray(value, dtype=np.float64) * gradient, 0).mean(axis=1) @ total
    return _patches(view, total - np.eye(tokens), len(taps))


def _matrices(view: View) -> tuple[str, ...]:
    """The attention matrices ``[N, heads, T, T]``, first layer first; none unless all are over one grid of tokens."""
    found, others = {}, False
    for layer in view.outline.layers:
        if not _mixes(layer):
            continue
        rows, columns = layer.shape[-2:]
        if len(layer.shape) == 4 and rows == columns and rows and _grid(rows) is not None and not layer.folded:
            found[layer.name] = rows
        else:
            others = True
    return () if others or len(set(found.values())) != 1 else tuple(found)


def _mixes(layer: LayerSpec) -> bool:
    """Whether a layer looks like attention: a softmax ``[..., T, S]`` over the last axis, or a fused operator."""
    return "Attention" in layer.op or (layer.does == "Softmax" and len(layer.shape) > 2 and layer.shape[-1] != 1)


def _followed(view: View, heads: str, discard: float) -> None:
    """Whether attention can be followed through the graph, with these options."""
    outline = view.outline
    if not outline.attended and not any(_mixes(layer) for layer in outline.layers):
        raise UsageError(
            f"{outline.source} shows no attention: no softmax over tokens. Use grad-cam, or another gradient or "
            "perturbation method."
        )
    if heads != "mean" or discard > 0:
        raise UsageError(
            f"method 'attention-rollout': heads={heads!r} and discard={discard:g} need the matrices of layers over one "
            f"grid of tokens. {outline.source} has windows, merged tokens or hidden attention, which are followed "
            "through the graph: accepted there are heads='mean' and discard=0."
        )


def _without(view: View) -> str:
    """Why there are no matrices to weigh, and what serves instead."""
    outline = view.outline
    instead = "Use attention-rollout, which follows tokens wherever they go, grad-cam, which recognises token layers, "
    instead += "or lrp, which goes through every operator."
    if any(_mixes(layer) for layer in outline.layers):
        return (
            f"{outline.source} does not show its attention as [N, heads, T, T] over one square grid of tokens in every "
            "layer: tokens are in windows, merged or pooled, heads are folded into the batch, or an operator is fused. "
            "Gradients of such matrices cannot be multiplied. " + instead
        )
    if outline.attended:
        return (
            f"{outline.source} computes attention by a function that shows no matrix. Write it as a softmax or "
            "scaled_dot_product_attention, or export the module to ONNX. " + instead
        )
    return (
        f"{outline.source} shows no attention: no softmax over tokens. Use grad-cam, or another gradient or "
        "perturbation method."
    )


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
