"""DeepLIFT and Deep SHAP: contributions to the difference from a baseline, complete through every operator."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from xplain.core.arrays import collapse, doubled, summed
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Baseline
from xplain.core.declaring.registry import TABLES, Paper, RuleOf, method
from xplain.core.declaring.wording import CONSERVATION, Sentence
from xplain.core.edits import Array, Untouched
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.explainers.design.baseline import background_of, fill_of
from xplain.explainers.gradient.starts import layer_values, passes_through
from xplain.rules.deeplift import RESCALE

__all__ = ["deep_shap", "deeplift"]

_GAP = 0.02
"""Share of the difference above which values that do not add up are warned of: half precision stays below."""

_ROWS = 32
"""Pairs of item and baseline whose multipliers are held at once."""


@method(
    "deeplift",
    needs=(Score, Sweep),
    paper=Paper("Shrikumar 2017", "arXiv:1704.02685"),
    unit="delta {score} from the baseline",
    complete=True,
    traceable=True,
    traced_with={"check": False},
)
def deeplift(
    view: View,
    *,
    baseline: Baseline = 0.0,
    rule: Annotated[str, RuleOf("deeplift")] = "rescale",
    check: bool = True,
    layer: str = "input",
    channels: bool = False,
) -> Flow:
    """Each input's contribution to f(x) - f(x0), found by passing differences instead of slopes back through the net.

    With multipliers ``m_in * (x - x0) = m_out * (y - y0)`` at every operator: ``a = m * (x - x0)``. Activations use the
    chord between the two passes, products their midpoint, softmax, pooling and normalisation exact
    splits, so nothing is lost on the way.

    Args:
        baseline: x0, what the item is compared with.
        rule: What activations do: ``rescale`` uses the chord for everything that arrives; ``reveal-cancel`` treats what
            is positive and what is negative apart, so that two that cancel both show. It is for activations behind
            dense layers; behind convolutions it is ``rescale`` too, as in the paper (section 4.2).
        check: Also ask f(x) and f(x0), and report the completeness gap.
        layer: Tensor to attribute to, whose values at x0 and x are compared; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed, or over the positions of the layer; sums to f(x) - f(x0). The gap is float noise and
        is in ``notes``.

    Cost:
        1 sweep per item: a forward pass of the item, one of the baseline, once where all items have the same, and the
        way back. Where a gap is larger than the difference, and no budget is set, one sweep of the worst item more, to
        name the nodes in the warning.

    Differs from the paper:
        Complete on nets with attention, gates, layer norm and overlapping max pooling, which the paper does not treat.

    Raises:
        UnknownName: no such layer.
        UsageError: the baseline does not fit the items, or not everything passes the layer.

    Source:
        Shrikumar, Greenside and Kundaje, Learning Important Features Through Propagating Activation Differences, 2017.
    """
    start = fill_of(view, baseline)
    given = np.broadcast_to(start, view.x.shape) if isinstance(view.x, np.ndarray) else start
    passes_through(view, layer)
    before = yield from layer_values(view, layer, start)
    entry, options = TABLES.read(rule)
    answer = yield Sweep(view.x[:, None], view.target, entry.rules(**options), (layer,), baseline=given)
    value, multiplier = answer[layer]
    product = multiplier * (value - before)
    values = product if channels else collapse(product, view.layout_of(layer, product))
    if not check:
        return Reading(values)
    top = yield Score(view.x, Untouched(), view.target)
    below = answer.below
    if below is None:  # a model whose sweeps do not say what they read
        below = (yield Score(np.ascontiguousarray(given, dtype=view.x.dtype), Untouched(), view.target))[:, 0]
    goal = top[:, 0] - below
    gap = summed(values, tuple(range(1, values.ndim))) - goal
    own = {"completeness gap": gap, "f(x) - f(baseline)": goal}
    return Reading(values, base=below, each=own, warnings=_missed(gap, goal), broken=_broken(gap, goal))


def _missed(gap: Array, goal: Array) -> tuple[Caveat, ...]:
    """A warning where the values do not add up: an operator of the model has no exact rule, or precision is short."""
    share = np.abs(gap).max() / max(np.abs(goal).max(), np.finfo(np.float32).tiny)
    if share <= _GAP:
        return ()
    text = Sentence(
        f"The values miss the difference of the scores by {share:.1%}. ",
        CONSERVATION,
        " names the node where that happens; ",
        "they are no explanation, take integrated-gradients, which" if share > 1 else "integrated-gradients",
        " needs no rules for operators, and tells its own gap.",
    )
    return (Caveat(text, "incomplete"),)


def _broken(gap: Array, goal: Array) -> int | None:
    """The item with the largest gap that is larger than the difference of its scores, if values are warned of."""
    if not _missed(gap, goal):
        return None
    size = np.where(np.abs(gap) > np.abs(goal), np.abs(gap), 0)
    return int(size.argmax()) if size.any() else None


@method(
    "deep-shap",
    needs=(Score, Sweep),
    paper=Paper("Lundberg & Lee 2017", "arXiv:1705.07874, section 4.2"),
    unit="delta {score} from the background",
    aliases=("deepshap", "deep-lift-shap"),
    complete=True,
)
def deep_shap(view: View, *, baseline: Baseline = 0.0, layer: str = "input", channels: bool = False) -> Flow:
    """DeepLIFT averaged over a background set: an approximation of Shapley values that is complete on average.

    ``a = mean over b of  m_b * (x - b)``, m_b the multipliers against background b.

    Args:
        baseline: The background: an array ``[B, *item]``, or one baseline.
        layer: Tensor to attribute to, whose values at b and x are compared; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed, or over the positions of the layer; sums to f(x) - mean over b of f(b), the gap is in
        ``notes``.

    Cost:
        B sweeps and 1 evaluation per item; at a layer B evaluations more. Where a gap is larger than the difference
        itself, and no budget is set, one sweep of the worst item more, to name the nodes in the warning.

    Raises:
        UnknownName: no such layer.
        UsageError: the background does not fit the items, or not everything passes the layer.

    Source:
        Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017; shap's DeepExplainer.
    """
    passes_through(view, layer)
    items, item = len(view.x), view.x.shape[1:]
    background = background_of(view, baseline)
    count = len(background)
    total: Any = 0.0
    rows = max(1, _ROWS // items)
    bottom = np.zeros(items)
    for left in range(0, count, rows):
        some = background[left : left + rows]
        each = len(some)
        # baseline by baseline, so that a model may keep what it computed from one for the next item
        x = np.tile(view.x, (each, *[1] * len(item)))
        flat = np.broadcast_to(some, (each, items, *item)).reshape(each * items, *item).astype(np.float32)
        target = view.target.take(np.tile(np.arange(items), each))
        before = yield from layer_values(view, layer, flat)
        answer = yield Sweep(x[:, None], target, RESCALE, (layer,), baseline=flat)
        value, multiplier = answer[layer]
        found = doubled(multiplier) * (value - before)
        found = found.reshape(each, items, *found.shape[1:])
        below = answer.below
        if below is None:
            below = (yield Score(flat.astype(view.x.dtype), Untouched(), target))[:, 0]
        for k in range(each):  # one by one: how many go at a time depends on the items beside this one
            total = total + found[k]
            bottom += below.reshape(each, items)[k]
    product = total / count
    top = yield Score(view.x, Untouched(), view.target)
    goal = top[:, 0] - bottom / count
    gap = product.sum(axis=tuple(range(1, product.ndim))) - goal
    values = product if channels else collapse(product, view.layout_of(layer, product))
    return Reading(
        values,
        base=bottom / count,
        notes={"background": count},
        each={"completeness gap": gap, "f(x) - mean f(background)": goal},
        warnings=_missed(gap, goal),
        broken=_broken(gap, goal),
    )
