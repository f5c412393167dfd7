"""RISE: show random soft grids, weigh each position by the scores it was seen with."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from xplain import native
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Baseline, Fraction, Samples, Size
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array, SoftGrid
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, View
from xplain.core.targets.formulas import Formula
from xplain.core.targets.functions import DETECTIONS
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.design.windows import extent
from xplain.explainers.estimation.sampling import Estimate, affordable_draws, sample, sampling_notes, shortfalls

__all__ = ["rise"]


@method(
    "rise",
    needs=Score,
    paper=Paper("Petsiuk 2018", "arXiv:1806.07421"),
    unit="delta {score} when shown",
    sampled=True,
)
def rise(
    view: View,
    *,
    samples: Samples = 4000,
    cells: Size = 7,
    keep: Fraction = 0.5,
    baseline: Baseline = 0.0,
    precision: Fraction | None = None,
) -> Flow:
    """Look at the input through random soft grids; a position matters as much as the score is higher when it is shown.

    With mask values ``m_k[p]`` in [0, 1], E m = keep, and scores ``s_k = f(m_k * x + (1 - m_k) * baseline)``:
    ``a[p] = 1 / ((M - 1) keep) * sum over k of (s_k - mean s) * m_k[p]``,
    an unbiased estimate of ``Cov(s, m[p]) / keep``, that is of ``E[s m[p]] / keep - E[s]``.

    Args:
        samples: M, the number of masks; at least 2.
        cells: Grid cells per axis, (rows, columns), of volumes (slices, rows, columns); one number is never more than
            a volume's axis has positions. Fewer cells see coarser, larger causes.
        keep: Probability that a cell is shown.
        baseline: What a hidden position becomes.
        precision: Stop an item before ``samples`` when the half-width of every 95 % interval is below this share of its
            largest attribution.

    Returns:
        ``[N, H, W]``, signed: positive where showing raises the score. ``error`` is the standard error
        ``sqrt(sum over k of ((s_k - mean s)(m_k[p] - mean m[p]) - Cov)^2 / (M (M - 1))) / keep``. ``base`` is the
        mean score, so ``base + values`` is the paper's map.

    Cost:
        M evaluations per item, whatever the size; no mask is ever stored. Stops early when the budget ends.

    Differs from the paper:
        The paper's map ``1 / (M keep) * sum s_k m_k`` carries E[s] everywhere, and its noise with it. Subtracting the
        mean score keeps the expectation of the differences and removes that noise. The score is a logit, not a
        probability. Each item has masks of its own, so the noise of a mean over items falls with their number.

    Raises:
        UsageError: fewer than 2 samples, or more cells than positions.
        BudgetError: the budget cannot pay for 2 masks per item.

    Source:
        Petsiuk, Das and Saenko, RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018.
    """
    plane = view.layout.grid
    grid = extent(cells, plane)
    if len(plane) == 3 and not isinstance(cells, tuple):
        grid = tuple(min(cells, n) for n in plane)
    if samples < 2:
        raise UsageError(
            option="samples", got=samples, accepted="at least 2: so many masks are needed to see a difference"
        )
    if any(one > n for one, n in zip(grid, plane, strict=True)):
        shown = [" x ".join(map(str, one)) for one in (grid, plane)]
        raise UsageError(f"method 'rise': {shown[0]} cells on {shown[1]} positions; use fewer.")
    seeds = np.array([rng.integers(2**63) for rng in view.rngs("rise masks")], np.uint64)
    masks = _Masks(view, seeds, grid, keep, fill_of(view, baseline))

    (affordable,) = affordable_draws([masks], view.budget, "rise")

    outcomes = yield from sample(masks, masks.draws(samples), precision, affordable)

    shape = (len(view.x), *view.layout.map_shape)
    trust = sampling_notes(outcomes, lambda: view.rng("rise stability"))
    lost = trust.pop("lost")
    boxed = any(isinstance(one, Formula) and one.function in DETECTIONS for _, one in view.target.terms)
    told = shortfalls(outcomes)
    if boxed:
        trust["share of masks that lose the box"] = lost
        told += tuple(_much_lost(n, share) for n, share in enumerate(lost) if share > _MOST_LOST)
    return Reading(
        np.stack([one.estimate.values for one in outcomes]).reshape(shape),
        error=np.stack([one.estimate.error for one in outcomes]).reshape(shape),
        base=np.array(trust.pop("mean")),
        resolution=grid,
        notes={"cells": grid, "keep": keep},
        each=trust,
        warnings=told,
    )


_MOST_LOST = 0.5
"""Share of masks that lose a box from which its map is said to rest on few."""


def _much_lost(item: int, share: float) -> Caveat:
    return Caveat(
        f"Under {share:.0%} of the masks the box is found no more, and the map rests on the others. A larger share of "
        "the item may be shown.",
        "output",
        item,
    )


@dataclass(frozen=True)
class _Masks:
    """Soft grids as a design: a draw is one mask."""

    view: View
    seeds: Array
    cells: tuple[int, ...]
    keep: float
    fill: Array

    fixed = 0
    cost = 1
    least = 2

    def draws(self, samples: int) -> int:
        """Masks."""
        return samples

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """Masks are all that is asked."""
        yield from ()

    def edits(self, seed: int | Array, first: int, count: int, fill: Array) -> SoftGrid:
        """Masks ``first .. first + count``."""
        return SoftGrid(seed, count, self.cells, self.keep, fill, first)

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """One question for all items that go on."""
        fill = self.fill if len(self.fill) == 1 else self.fill[items]
        edits = self.edits(self.seeds[items], first, draws, fill)
        answer = yield Score(self.view.x[items], edits, self.view.target.take(items))
        return np.asarray(answer)

    def estimate(self, item: int, scores: Array) -> Estimate:
        """Covariance of score and mask, and its standard error, from sums over masks that are never made."""
        count, plane = len(scores), self.view.layout.grid
        masks = self.edits(int(self.seeds[item]), 0, count, self.fill[:1])
        away = scores - scores.mean()

        def total(weights: Array, power: int = 1) -> Array:
            summed: Array = native.accumulate(masks, weights.reshape(1, count, -1), plane, power=power)[0]
            return summed

        covered = total(away)[0]
        shown = total(np.ones(count))[0] / count
        squares = total(away**2, 2)[0] - 2 * shown * total(away**2)[0] + shown**2 * (away**2).sum()
        variance = np.maximum(squares - covered**2 / count, 0) / (count * (count - 1))
        middle = [(np.arange(c) + 0.5) * n / c for c, n in zip(self.cells, plane, strict=True)]
        entries = np.ravel_multi_index(np.meshgrid(*(m.astype(int) for m in middle), indexing="ij"), plane).reshape(-1)

        def resample(signs: Array) -> Array:
            # 16 maps at a time, so that memory does not grow with the number of resamples
            drawn = np.concatenate(
                [
                    total((away * some).T).reshape(len(some), -1)[:, entries]
                    for some in np.array_split(signs, -(-len(signs) // 16))
                ]
            )
            return np.asarray((drawn - (signs @ away)[:, None] * shown.reshape(-1)[entries]) / (count * self.keep))

        return Estimate(
            covered / ((count - 1) * self.keep),
            np.sqrt(variance) / self.keep,
            float(count),
            count,
            resample,
            entries,
            {"mean": float(scores.mean()), "lost": float((scores == 0).mean())},
            resamples=48,
        )
