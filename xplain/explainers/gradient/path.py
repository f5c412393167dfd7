"""Integrated gradients and expected gradients: the gradient summed along straight paths from a baseline."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from xplain.core.arrays import collapse, doubled
from xplain.core.caveat import each
from xplain.core.declaring.options import Baseline, NonNegative, Positive, PositiveReal, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence, named, option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, Sweep, View
from xplain.explainers.design.baseline import background_of, fill_of
from xplain.explainers.estimation.sampling import Estimate, cells_of, map_notes
from xplain.explainers.gradient.starts import Path, layer_values, passes_through

__all__ = ["expected_gradients", "integrated_gradients"]

_ACCEPTED = 0.05
"""Share of the difference of the scores that values may miss without a word where no tolerance is given."""

_ROWS = 64
"""Points that are held at once: 40 MB at 3 x 224 x 224."""


@method(
    "integrated-gradients",
    needs=(Score, Sweep),
    paper=Paper("Sundararajan 2017", "arXiv:1703.01365"),
    unit="delta {score} from the baseline",
    aliases=("ig",),
    complete=True,
    traceable=True,
    traced_with={"tolerance": None},
    trial={"steps": 8, "max_steps": 8},
)
def integrated_gradients(
    view: View,
    *,
    baseline: Baseline = 0.0,
    steps: Positive = 32,
    tolerance: PositiveReal | None = 0.02,
    max_steps: Positive = 864,
    layer: str = "input",
    channels: bool = False,
) -> Flow:
    """Each position's share of the way from the baseline's score to the item's, along the straight line between them.

    ``a[i] = (x[i] - x0[i]) * integral over t in [0, 1] of  d f / d x[i] (x0 + t (x - x0)) dt``, midpoint rule.

    Args:
        baseline: x0, where the path starts.
        steps: Points on the path at first.
        tolerance: Largest accepted gap ``| sum a - (f(x) - f(x0)) |`` as a share of ``max |f(x) - f(x0)|`` over the
            items; while it is larger, the points are tripled (the old ones are used again). None: ``steps`` points,
            and a warning where the gap is above 5 %.
        max_steps: Points at which tripling ends, whatever the gap.
        layer: Tensor to attribute to: the path then runs between its values at x0 and at x. It is how token ids are
            explained, at the embeddings that they become. ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed, or over the positions of the layer; sums to f(x) - f(x0) up to the gap, which ``notes``
        reports per item.

    Cost:
        2 evaluations and ``steps`` sweeps per item, tripled until the tolerance is met; at a layer 2 evaluations more.

    Differs from the paper:
        Midpoints, which use the paper's own sum but converge twice as fast; and the number of steps is found.

    Raises:
        UnknownName: no such layer.
        UsageError: the baseline does not fit the items, or the target is no function of the layer's values.

    Source:
        Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017.
    """
    told = passes_through(view, layer, held=True)
    start = yield from layer_values(view, layer, fill_of(view, baseline))
    end = yield from layer_values(view, layer, view.x)
    path = Path(view, layer, start, end)
    mean = yield from _mean_gradient(path, (np.arange(steps) + 0.5) / steps)
    product = mean * path.away
    axes = tuple(range(1, len(product.shape)))
    if view.traced:
        values = product if channels else collapse(product, path.layout)
        return Reading(values, notes={"steps": steps}, warnings=told)
    top = yield Score(view.x, Untouched(), view.target)
    bottom = yield path.bottom()
    goal = top[:, 0] - bottom[:, 0]
    used = np.full(len(goal), steps)
    while True:  # each item for itself, whatever the others need
        gap = np.sum(product, axis=axes) - goal
        missed = np.abs(gap) / np.maximum(np.abs(goal), np.finfo(np.float32).tiny)
        going = np.flatnonzero((missed > np.inf if tolerance is None else missed > tolerance) & (3 * used <= max_steps))
        if not len(going):
            break
        # midpoints of thirds: the middle third's midpoint is the old point, so only two new ones per old are asked
        points = int(used[going[0]])
        thirds = (np.arange(points)[:, None] + np.array([1, 5]) / 6).reshape(-1) / points
        fresh = yield from _mean_gradient(path.of(going), thirds)
        mean[going] = (mean[going] + 2 * fresh) / 3
        product = mean * path.away
        used[going] *= 3
    own = {"steps": used.tolist(), "completeness gap": gap, "f(x) - f(baseline)": goal}
    values = product if channels else collapse(product, path.layout)
    accepted = _ACCEPTED if tolerance is None else tolerance
    finds = ("more ", named("steps"), ", or give ", option("tolerance", 0.01), ", which finds their number.")
    more = finds if tolerance is None else ("more with ", option("max_steps"), ".")
    short = (
        Sentence(
            f"After {own} steps the values miss f(x) - f(baseline) by {share:.1%}; accepted: {accepted:.1%}. Allow ",
            *more,
        )
        if share > accepted
        else ""
        for own, share in zip(used, missed, strict=True)
    )
    return Reading(values, base=bottom[:, 0], each=own, warnings=(*told, *each(short, "incomplete")))


def _mean_gradient(path: Path, shares: Array) -> Generator[Sweep, Any, Any]:
    """The mean gradient at ``start + share * away``; asked in rounds, so that memory does not grow with the points."""
    total: Any = 0.0
    start, away = path.start[:, None], path.away[:, None]
    for left in range(0, len(shares), _ROWS):
        part = shares[left : left + _ROWS].astype(np.float32)
        points = start + part.reshape(1, -1, *[1] * (len(path.end.shape) - 1)) * away
        answer = yield path.sweep(points)
        total = total + doubled(answer[path.at][1]) * (len(part) / len(shares))
    return total


@method(
    "expected-gradients",
    needs=Sweep,
    paper=Paper("Erion 2019", "arXiv:1906.10670"),
    unit="delta {score} from the background",
    aliases=("gradient-shap", "gradientshap"),
    sampled=True,
    traceable=False,
)
def expected_gradients(
    view: View,
    *,
    baseline: Baseline = 0.0,
    samples: Samples = 128,
    noise: NonNegative = 0.0,
    layer: str = "input",
    channels: bool = False,
) -> Flow:
    """Integrated gradients averaged over baselines and points drawn at random: Shapley values of a locally linear net.

    ``a[i] = E over b ~ background, t ~ U[0, 1] of  (x[i] - b[i]) * d f / d x[i] (b + t (x - b))``.

    Args:
        baseline: The background: an array ``[B, *item]`` to draw from, or one baseline.
        samples: Draws per item; at least 2. Draws of t are stratified.
        noise: Standard deviation of normal noise added at each draw to the end of the path (GradientSHAP's smoothing).
        layer: Tensor to attribute to: paths then run between its values at b and at x; ``input`` is the item itself.
        channels: Keep channels instead of summing over them.

    Returns:
        ``[N, H, W]``, signed; sums to f(x) - E f(b) in expectation. ``error`` is the standard error over draws;
        ``notes["stability"]`` is the probability that the ``top`` of 7 x 7 cells are really the largest.

    Cost:
        ``samples`` sweeps per item; at a layer also an evaluation of each baseline and item.

    Differs from the paper:
        t is stratified (one draw per equal part of [0, 1], in random order), which lowers the variance and keeps the
        expectation; the standard error ignores that and is an upper bound.

    Raises:
        UnknownName: no such layer.
        UsageError: the baseline does not fit, fewer than 2 samples, or the target is no function of the layer's values.

    Source:
        Erion et al., Learning Explainable Models Using Attribution Priors, 2019; shap's GradientExplainer.
    """
    if samples < 2:
        raise UsageError(option="samples", got=samples, accepted="at least 2: so many draws are needed to see an error")
    told, items = passes_through(view, layer, held=True), len(view.x)
    whole = background_of(view, baseline)  # [B, N or 1, *item]
    seen = yield from layer_values(view, layer, whole.reshape(-1, *whole.shape[2:]))
    background = seen.reshape(*whole.shape[:2], *seen.shape[1:])
    ends = yield from layer_values(view, layer, view.x)
    item = ends.shape[1:]
    draws = view.rngs("expected gradients")
    chosen = np.stack([own.integers(background.shape[0], size=samples) for own in draws])
    share = np.stack([own.permutation(samples) + own.random(samples) for own in draws]) / samples
    places = np.arange(background.shape[1])[:, None] if background.shape[1] == items else 0
    first: Array = np.zeros(())
    second: Array = np.zeros(())
    cells: list[Array] = []
    rows = max(1, _ROWS // items)
    for left in range(0, samples, rows):
        part = slice(left, min(samples, left + rows))
        count = part.stop - part.start
        start = background[chosen[:, part], places]  # [items, count, *item]
        drawn = np.stack([own.standard_normal((count, *item), dtype=np.float32) for own in draws]) if noise else 0
        end = ends[:, None] + noise * drawn
        away = end - start
        at = share[:, part].astype(np.float32).reshape(items, count, *[1] * len(item))
        x = (start + at * away).astype(np.float32)
        pairs = np.repeat(np.arange(items), count)
        path = Path(view.of(pairs), layer, start.reshape(items * count, *item), ends[pairs])
        answer = yield path.sweep(x.reshape(items * count, 1, *item))
        product = (answer[layer][1].reshape(items, count, *item) * away).reshape(items * count, *item)
        product = product if channels else collapse(product, path.layout)
        cells.append(cells_of(view, product).reshape(items, count, -1))
        product = product.reshape(items, count, *product.shape[1:])
        for k in range(count):  # one by one: how many go at a time depends on the items beside this one
            first, second = first + product[:, k], second + product[:, k] ** 2
    mean = first / samples
    spread = np.maximum(second / samples - mean**2, 0) / (samples - 1)
    sums = np.concatenate(cells, axis=1)
    trust = map_notes([Estimate.mean(own) for own in sums], lambda: view.rng("expected gradients stability"))
    notes = {"samples": samples, "background": len(background)}
    return Reading(mean, error=np.sqrt(spread), notes=notes, each=trust, warnings=told)
