"""Attention followed through a transformer: rollout, and rollout weighted by the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xplain.core.arrays import collapse, enlarge_to
from xplain.core.declaring.options import Cells, Natural, Share
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.positions.axes import positional, shape_of
from xplain.core.positions.grid import Tokens, tokens_of
from xplain.core.positions.lineage import Lineage
from xplain.core.query import Flow, Peek, Reading, Sweep, View
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
    adaptive=True,  # matrices are looked at where there are some; else tokens are followed by a sweep
    suits="attention",
    traceable=False,
)
def attention_rollout(
    view: View,
    *,
    heads: Literal["mean", "max", "min"] = "mean",
    discard: Share = 0.0,
    grid: Cells | None = None,
    tokens: Natural = 0,
) -> Flow:
    """Attention multiplied through the layers, half of each layer being the residual connection.

    ``R = product over layers of normalised(0.5 A_l + 0.5 I)``; the map is the row of the token that the scores are
    read from, such as a class token, over the patches; the mean row where they are read from all.

    Where tokens do not stay one grid (windows that shift and patches that merge in a Swin, pooled keys, a stem
    of convolutions), the same shares are followed through the graph operator by operator, see ``xplain.rules.rollout``,
    down to the pixels: each residual sum halves, attention goes to the tokens attended, and tokens that are merged
    share evenly. On a plain vision transformer both give the same shares.

    Args:
        heads: How the heads of a layer become one matrix A; the mean where shares are followed through the graph.
        discard: Share of each matrix' smallest entries that is set to zero first; none where shares are followed.
        grid: Rows and columns of the tokens, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.

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
    found = _matrices(view, grid, tokens)
    if found is None:
        _followed(view, heads, discard)
        answer = yield Sweep(view.x[:, None], label(0), ROLLOUT)  # whatever the class: all scores are read alike
        return Reading(collapse(answer["input"][1], view.layout), notes={"attention": "followed through the graph"})
    peeked = yield Peek(view.x, found.taps)
    total: Array = np.zeros(())
    for k, tap in enumerate(found.taps):
        matrix = getattr(np, heads)(found.by_head(peeked[tap]), axis=1)
        if discard > 0:
            flat = matrix.reshape(len(matrix), -1)
            least = np.quantile(flat, discard, axis=1)[:, None, None]
            matrix = np.where(matrix < least, 0, matrix)
        matrix = matrix + np.eye(matrix.shape[-1])
        matrix /= matrix.sum(axis=-1, keepdims=True)
        total = matrix if k == 0 else matrix @ total
    return found.reading(view, total)


@method(
    "attention-relevance",
    needs=Sweep,
    paper=Paper("Chefer 2021", "arXiv:2103.15679, equations 5 and 6"),
    unit="relevance through attention",
    aliases=("transformer-attribution",),
    signed=False,
    suits="attention",
    traceable=False,
)
def attention_relevance(view: View, *, grid: Cells | None = None, tokens: Natural = 0) -> Flow:
    """Attention multiplied through the layers, each entry weighted by how it argues for the target.

    ``R = I``; layer by layer ``R <- R + mean over heads of max(0, A * dA) R``, with ``dA = d f / d A``; the map is
    the row of the token that the scores are read from, such as a class token, over the patches; the mean row where they
    are read from all.

    Args:
        grid: Rows and columns of the tokens, such as ``8x18``, where they could not be followed from the input.
        tokens: Tokens in front of that grid that are no positions, such as 1 class token.

    Returns:
        ``[N, H, W]``, at least 0, enlarged bilinearly from the token grid.

    Cost:
        1 sweep per item.

    Raises:
        UsageError: the model has no attention matrices over one grid of tokens.

    Source:
        Chefer, Gur and Wolf, Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers, ICCV 2021.
    """
    found = _matrices(view, grid, tokens)
    if found is None:
        raise _without(view)
    answer = yield Sweep(view.x[:, None], view.target, Rules(), found.taps)
    count = found.tokens.count
    total = np.broadcast_to(np.eye(count), (len(view.x), count, count))
    for tap in found.taps:
        value, gradient = map(found.by_head, answer[tap])
        total = total + np.maximum(value * gradient, 0).mean(axis=1) @ total
    return found.reading(view, total - np.eye(count))


@dataclass(frozen=True)
class _Matrices:
    """Attention matrices over one axis of tokens, first layer first.

    Args:
        taps: Their names.
        tokens: The tokens.
        rows: Which tokens the scores are read from; empty for all.
    """

    taps: tuple[str, ...]
    tokens: Tokens
    rows: tuple[int, ...]

    def by_head(self, values: Any) -> Array:
        """``[N, heads, T, T]`` of what may have no heads, or several axes of them."""
        array = np.asarray(values, dtype=np.float64)
        return array.reshape(len(array), -1, *array.shape[-2:])

    def reading(self, view: View, total: Array) -> Reading:
        """The map of a matrix ``[N, T, T]`` that says what each token is made of."""
        tokens = self.tokens
        chosen = total[:, list(self.rows)] if self.rows else total
        row = chosen.mean(axis=1)[:, tokens.lead : tokens.count - tokens.trail]
        maps = row.reshape(len(row), *tokens.cells)
        cells = tokens.cells if len(tokens.cells) > 1 else (1, *tokens.cells)
        notes = {"attention layers": len(self.taps)}
        return Reading(enlarge_to(maps, view.layout.map_shape), resolution=cells, notes=notes, native=maps)


def _matrices(view: View, grid: tuple[int, ...] | None, extra: int) -> _Matrices | None:
    """The attention between the item and the target; None unless all of it is over one axis of tokens.

    What attention is follows from what is computed: a softmax that shares out over tokens, for each token.
    """
    lineage = view.lineage
    if lineage is None:
        return None
    between = view.between
    layers = {lineage.tensor(one.name): one.name for one in view.outline.layers}
    if grid is not None:
        return _stated(view, lineage, between, Tokens(extra, grid))
    found: dict[str, Tokens] = {}
    for tensor in lineage.parents:
        if tensor not in between & lineage.mixing:
            continue
        axes = lineage.axes_of(tensor)
        tokens = None if axes is None else tokens_of(axes[-1], view.layout)
        square = axes is not None and axes[-1] == axes[-2] and not any(positional(axis) for axis in axes[1:-2])
        if tokens is None or not square or tensor not in layers:
            return None
        found[layers[tensor]] = tokens
    if len(set(found.values())) != 1:
        return None
    (tokens,) = set(found.values())
    return _Matrices(tuple(found), tokens, _rows(lineage, between, list(found)[-1], tokens))


def _stated(view: View, lineage: Lineage, between: frozenset[str], tokens: Tokens) -> _Matrices:
    """Matrices of as many tokens as a stated grid has."""
    taps = []
    for spec in view.outline.layers:
        axes = lineage.axes_of(spec.name)
        shape = () if axes is None else shape_of(axes)
        square = shape[-2:] == (tokens.count, tokens.count)
        if square and spec.does == "Softmax" and lineage.tensor(spec.name) in between:
            taps.append(spec.name)
    if not taps or len(tokens.cells) != len(view.layout.map_shape):
        said = " x ".join(map(str, tokens.cells))
        raise UsageError(
            f"{view.outline.source} has no attention over {tokens.count} tokens between the input and the scores, as "
            f"grid {said} and {tokens.lead} tokens in front would have."
        )
    return _Matrices(tuple(taps), tokens, _rows(lineage, between, taps[-1], tokens))


def _rows(lineage: Lineage, between: frozenset[str], last: str, tokens: Tokens) -> tuple[int, ...]:
    """Which tokens the scores are read from, behind the last attention; none for all."""
    behind = lineage.behind(last) & between
    picks = [pick for pick in lineage.picks if pick.tensor in behind]
    single = {pick.index for pick in picks if pick.index is not None and pick.tokens == tokens.count}
    if single:
        return tuple(sorted(single))
    positions = range(tokens.lead, tokens.count - tokens.trail)
    if any(pick.index is None and pick.tokens == tokens.count for pick in picks):
        return ()
    if any(pick.index is None and pick.tokens == len(positions) for pick in picks):
        return tuple(positions)
    return (0,) if tokens.lead else (tokens.count - tokens.trail,) if tokens.trail else ()


def _attends(view: View) -> bool:
    lineage = view.lineage
    return bool(view.outline.attended or (lineage is not None and lineage.mixing))


def _followed(view: View, heads: str, discard: float) -> None:
    """Whether attention can be followed through the graph, with these options."""
    outline = view.outline
    if not _attends(view):
        raise _no_attention(outline.source)
    if heads != "mean" or discard > 0:
        raise UsageError(
            "method 'attention-rollout': ",
            option("heads", heads),
            " and ",
            option("discard", discard),
            " need the matrices of layers over one "
            f"grid of tokens. {outline.source} has windows, merged tokens or hidden attention, which are followed "
            "through the graph: accepted there are ",
            option("heads", "mean"),
            " and ",
            option("discard", 0),
            ".",
        )


def _no_attention(source: str) -> UsageError:
    return UsageError(
        f"{source} shows no attention: no softmax over tokens. Use grad-cam, or another gradient or perturbation "
        "method; if its tokens could not be followed from the input, state them, such as by ",
        option("grid", "8x18"),
        ".",
    )


def _without(view: View) -> UsageError:
    """Why there are no matrices to weigh, and what serves instead."""
    outline = view.outline
    instead = "Use attention-rollout, which follows tokens wherever they go, grad-cam, which recognises token layers, "
    instead += "or lrp, which goes through every operator."
    if view.lineage is not None and view.lineage.mixing:
        return UsageError(
            f"{outline.source} does not show its attention as [N, heads, T, T] over one grid of tokens in every layer: "
            "tokens are in windows, merged or pooled, heads are folded into the batch, or an operator is fused. "
            "Gradients of such matrices cannot be multiplied. " + instead
        )
    if outline.attended:
        return UsageError(
            f"{outline.source} computes attention by a function that shows no matrix. Write it as a softmax or "
            "scaled_dot_product_attention, or export the module to ONNX. " + instead
        )
    return _no_attention(outline.source)
