"""Sobol attribution: the share of the score's variance that a cell's brightness, alone and with others, explains."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.declaring.options import Baseline, Fraction, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Full
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Game, play, read_off, set_up
from xplain.explainers.estimation.sampling import Estimate
from xplain.explainers.features.spec import Features

__all__ = ["exchanged", "shades", "sobol", "total_indices"]

_MASK_BYTES = 64 * 2**20
"""Masks that one question holds."""


@method(
    "sobol",
    needs=Score,
    paper=Paper("Fel 2021; Jansen 1999", "arXiv:2111.04138; doi:10.1016/S0010-4655(98)00154-4"),
    unit="share of the variance of the {score}",
    sampled=True,
    signed=False,
    trial={"designs": 8, "features": "auto:9"},
)
def sobol(
    view: View,
    *,
    features: Features = "auto",
    designs: Samples = 32,
    baseline: Baseline = 0.0,
    precision: Fraction | None = None,
) -> Flow:
    """Fade features in and out at random; a feature matters by how much of the score's variance is lost without it.

    The total index ``T_i = E( (f(A) - f(A with feature i of B))^2 ) / (2 Var f(A))`` (Jansen), A and B independent
    shades in [0, 1] of all features, ``f`` the score of ``m * x + (1 - m) * baseline``: all that feature i does, alone
    and together with any others. Sums to 1 where features do not interact, to more where they do.

    Args:
        features: What is faded in and out; by position, not by element.
        designs: Pairs of A and B, from a Sobol sequence, scrambled for each item; at least 4.
        baseline: What a hidden feature becomes.
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            value; ``designs`` is then the most.

    Returns:
        ``[N, *map]``, at least 0 and without a direction; per feature in ``notes["feature_values"]``. ``error`` is the
        linearised standard error of the ratio over designs, an upper bound since the sequence spreads better than
        chance.

    Cost:
        1 + ``designs`` (S + 1) evaluations per item. Stops early when the budget ends.

    Differs from the paper:
        The unperturbed B is not asked, since Jansen's estimate does not need it; masks follow the features.

    Raises:
        UsageError: features or baseline do not fit the items, features go by element, or fewer than 4 designs.
        BudgetError: the budget cannot pay for 4 designs.

    Source:
        Fel et al., Look at the Variance! Efficient Black-box Explanations with Sobol-based Sensitivity Analysis,
        NeurIPS 2021; Jansen, Analysis of variance designs for model output, 1999.
    """
    if designs < _LEAST:
        raise UsageError(option="designs", got=designs, accepted=f"at least {_LEAST}: a variance is seen in no fewer")
    setup = set_up(view, features, baseline)
    if setup.parts.whole:
        raise UsageError(
            "method 'sobol' fades positions, whatever their channels, but these features go by element. Give labels in "
            "the shape of a map, such as ",
            option("features", "grid:7"),
            ".",
        )
    worths = yield from play(setup, _Shades, designs, precision, "sobol", shuffled=False)
    return read_off(setup, worths, "sobol")


_LEAST = 4


def shades(rng: np.random.Generator, players: int, count: int, first: int = 0) -> Array:
    """A and B of a design, ``[count, 2, players]`` in [0, 1), from draw ``first`` on: a scrambled Sobol sequence.

    The sequence is the same however it is cut.
    """
    from scipy.stats import qmc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather be asked for a power of two
        sequence = qmc.Sobol(2 * players, scramble=True, seed=int(rng.integers(2**31)))
        found = sequence.random(first + count)[first:]
    return np.asarray(found.reshape(count, 2, players))


def exchanged(pairs: Array) -> Array:
    """A, and A with each feature in turn of B: ``[..., 2, S]`` to ``[..., 1 + S, S]``."""
    players = pairs.shape[-1]
    made = np.repeat(pairs[..., :1, :], players + 1, axis=-2)
    each = np.arange(players)
    made[..., 1 + each, each] = pairs[..., 1, :]
    return made


def total_indices(plain: Array, changed: Array) -> tuple[Array, Array]:
    """Jansen's total indices ``[S]``, and how each design moved them, from f(A) ``[n]`` and f(C) ``[n, S]``.

    The variance is over n, not n - 1: the points of a sequence spread evenly, so that it is that of all shades.
    """
    count, centre = len(plain), plain - plain.mean()
    variance = float((centre**2).mean())
    if variance == 0:
        return np.zeros(changed.shape[1]), np.zeros(changed.shape)
    halves = (plain[:, None] - changed) ** 2 / 2
    values = halves.mean(axis=0) / variance
    return values, (halves - values * (centre**2)[:, None]) / (variance * count)


@dataclass
class _Shades:
    """A draw is one pair of shades, and all that differ from the first in one feature."""

    game: Game
    nobody: Array = field(init=False)

    def __post_init__(self) -> None:
        self.view = self.game.view
        self.fixed = 1
        self.cost = self.game.players + 1
        self.least = _LEAST

    def draws(self, samples: int) -> int:
        """Pairs."""
        return samples

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody, which values are relative to."""
        self.nobody, _ = yield from self.game.ends()

    def _pairs(self, first: int, count: int) -> Array:
        """Shades ``[items, count, 2, S]`` of draws from ``first`` on."""
        return np.stack([shades(rng, self.game.players, count, first) for rng in self.view.rngs("sobol")])

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Any, Array]:
        """f(A) and f(A with one feature of B), ``[items, draws, 1 + S]``."""
        pairs = self._pairs(first, draws)[items]
        players, layout = self.game.players, self.view.layout
        plane = layout.plane
        labels = np.broadcast_to(self.game.labels, layout.map_shape).reshape(plane)
        few = max(1, _MASK_BYTES // (len(items) * (players + 1) * labels.size * 4))
        fills, parts = self.game.fills, []
        fill = fills if len(fills) == 1 else fills[items]
        for left in range(0, draws, few):
            shown = exchanged(pairs[:, left : left + few])  # [items, few, 1 + S, S]
            wide = np.concatenate([shown, np.ones((*shown.shape[:3], 1))], axis=3)  # -1 is never hidden
            masks = wide[..., labels].astype(np.float32).reshape(len(items), -1, *plane)
            target = self.view.target.take(items)
            answer = yield Score(self.view.x[items], Full(masks, fill, per_item=True), target)
            parts.append(np.asarray(answer).reshape(len(items), -1, players + 1))
        return np.concatenate(parts, axis=1)

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The total indices and their errors."""
        values, moved = total_indices(scores[:, 0], scores[:, 1:])
        base = float(self.nobody[item])
        return Estimate.of(values, moved, len(scores) - 1, float(len(scores)), base=base)
