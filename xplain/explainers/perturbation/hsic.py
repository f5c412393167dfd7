"""HSIC attribution: how much the score depends, in any way, on whether a feature is shown."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np

from xplain.core.declaring.options import Fraction, Whole
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.estimation.sampling import Estimate, uniforms
from xplain.explainers.features.spec import Features

__all__ = ["hsic", "hsic_indices"]

Compared: TypeAlias = Annotated[
    int, Whole(1, 10_000, "Each sample is compared with each. For a smaller error take the mean over other seeds.")
]


@method(
    "hsic",
    needs=Score,
    paper=Paper("Novello 2022", "arXiv:2206.06219, equation 4"),
    unit="dependence of the {score} (HSIC)",
    sampled=True,
    signed=False,
    trial={"samples": 100},
)
def hsic(
    view: View,
    *,
    features: Features = "auto",
    samples: Compared = 512,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Show random halves of the features; a feature matters as much as the score's distribution depends on it.

    ``HSIC_i = tr(K_i H L H) / n^2``, ``K_i[k, l] = 1`` where masks k and l agree on feature i, ``L`` a Gaussian kernel
    of the n scores, as wide as the median of their distances, ``H = I - 1/n``. Differences of means, which Shapley
    values add up, miss a feature that makes the score spread; this does not, and needs few samples for many features.

    Args:
        features: What is switched on and off.
        samples: Random coalitions.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; a coalition's score is then the mean over them.
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            value; ``samples`` is then the most.

    Returns:
        ``[N, *map]``, at least 0 and without a direction, at most 1/2; per feature in ``notes["feature_values"]``.
        ``error`` joins the first-order (Hajek) error to that which remains where the score does not depend on a
        feature. What independence alone gives in n samples is taken off, and what falls below 0 is 0.

    Cost:
        1 + ``samples`` evaluations per item, times B. Stops early when the budget ends.

    Differs from the paper:
        The bias that independent features have in so many samples is taken off; masks are of features, not of a grid
        alone; the kernel's width is the median distance of scores.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer than 8 samples.
        BudgetError: the budget cannot pay for 8 samples.

    Source:
        Novello, Fel and Vigouroux, Making Sense of Dependence: Efficient Black-box Explanations Using Dependence
        Measure, NeurIPS 2022.
    """
    if samples < _LEAST:
        raise UsageError(option="samples", got=samples, accepted=f"at least {_LEAST}: a dependence is seen in no fewer")
    setup = set_up(view, features, baseline, background)
    worths = yield from play(setup, _Shown, samples, precision, "hsic")
    return read_off(setup, worths, "hsic")


_LEAST = 8


def hsic_indices(shown: Array, scores: Array) -> tuple[Array, Array, Array, Array]:
    """The indices as the paper has them, and what is known of their errors.

    Args:
        shown: Coalitions, 0 and 1, ``[n, S]``.
        scores: Their scores ``[n]``.

    Returns:
        Values ``[S]``; what they are on average without any dependence ``[S]``; how each sample moved them ``[n, S]``,
        whose squares sum to the first-order squared error; and the error without any dependence ``[S]``.
    """
    count = len(scores)
    apart = np.abs(scores[:, None] - scores[None])
    width = float(np.median(apart[np.triu_indices(count, 1)]))
    width = width if width > 0 else float(apart.max())
    if width == 0:
        none = np.zeros(shown.shape[1])
        return none, none, np.zeros(shown.shape), none
    kernel = np.exp(-(apart**2) / (2 * width**2))
    row = kernel.mean(axis=0)
    mean = float(row.mean())
    kernel = kernel - row[:, None] - row[None] + mean  # H L H
    centred = shown - shown.mean(axis=0)
    # [x = y] is 1 - x - y + 2 x y, of which H K H keeps twice the product of the centred columns
    parts = 2 * centred * (kernel @ centred) / count
    values = parts.mean(axis=0)
    moved = 2 * (parts - values) / count
    spread = 2 * (centred**2).mean(axis=0)
    return values, spread * (1 - mean) / count, moved, spread * math.sqrt(2 * float((kernel**2).mean())) / count


@dataclass
class _Shown:
    """A draw is a random half of the features."""

    game: Game

    def __post_init__(self) -> None:
        self.view = self.game.view
        self.fixed = self.game.backgrounds
        self.cost = self.game.backgrounds
        self.least = _LEAST

    def draws(self, samples: int) -> int:
        """Coalitions."""
        return samples

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody, which values are relative to."""
        self.nobody, _ = yield from self.game.ends()

    def _rows(self, first: int, count: int) -> Array:
        return (uniforms(self.view, "hsic", first, count, self.game.players) < 0.5).astype(np.uint8)

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """The worth of each coalition; one that comes twice is asked once."""
        rows, back = np.unique(self._rows(first, draws), axis=0, return_inverse=True)
        answer = yield from self.game.worth(rows, items)
        return np.asarray(answer[:, back.reshape(-1)])

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The indices less their bias, and their errors."""
        shown = self._rows(0, len(scores)).astype(np.float64)
        values, bias, moved, blind = hsic_indices(shown, scores)
        first = np.sqrt((moved**2).sum(axis=0))
        both = np.sqrt(first**2 + blind**2)
        wide = moved * np.where(first > 0, both / np.where(first > 0, first, 1.0), 0.0)
        base = float(self.nobody[item])
        return Estimate.of(np.maximum(values - bias, 0.0), wide, len(scores) - 1, float(len(scores)), base=base)
