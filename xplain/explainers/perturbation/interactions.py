"""Interactions: what pairs of features add together beyond what each adds alone."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from xplain.core.declaring.options import Fraction, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, Hidden, Worth, play, read_off, set_up
from xplain.explainers.design.pairs import Pairs
from xplain.explainers.estimation.regression import quadratic_fit
from xplain.explainers.estimation.sampling import Estimate, Outcome
from xplain.explainers.features.spec import Features
from xplain.explainers.perturbation.exact_shapley import shapley_values

__all__ = ["interactions", "pair_indices"]

_MOST = 14
"""Features whose coalitions are all asked."""


@method(
    "interactions",
    needs=Score,
    paper=Paper("Tsai 2022; Bordt 2022; Sundararajan 2020", "arXiv:2203.00870; arXiv:2209.04012; arXiv:1902.05622"),
    unit="delta {score} per feature, half of its pairs included",
    aliases=("shapley-interactions", "faith-shap", "k-sii"),
    sampled=True,
    complete=True,
)
def interactions(
    view: View,
    *,
    index: Literal["fsii", "k-sii", "stii"] = "fsii",
    features: Features = "auto:12",
    samples: Samples = 2048,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Fit the scores of coalitions by one number per feature and one per pair: a pair's number is what only both do.

    ``v(T) - v(nobody) ~ sum over i in T of m[i] + sum over pairs in T of p[i, j]``. ``fsii`` (faithful): least squares
    by the Shapley kernel, exact for nobody and everybody, from the coalitions that kernel-shap asks. ``k-sii``: p is
    the Shapley interaction index, the second difference averaged over all coalitions; ``stii``: m is what a feature
    adds alone, and everything else goes to pairs. All three sum to f(x) - v(nobody), and are the same where no three
    features work together.

    Args:
        index: Which of the three; the last two need all coalitions.
        features: What is switched on and off; 12 of them have 66 pairs.
        samples: Coalitions to ask about. All are asked when there are no more, and the values are then exact.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them.
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            value; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: ``m[i] + sum over j of p[i, j] / 2``; they sum to f(x) - v(nobody). ``each["main effects"]`` is m
        ``[N, S]``; ``each["pairs"]`` p, ``[N, S, S]``, symmetric with a diagonal of 0; ``each["pair errors"]`` its
        standard errors, 0 where all coalitions were asked. ``render("interaction-matrix")`` and
        ``render("interaction-network")`` draw them.

    Cost:
        1 + ``samples`` evaluations per item, times B.

    Raises:
        UsageError: features or baseline do not fit the items, fewer samples than numbers to be found, or an index that
            needs all coalitions of more features than ``samples`` pays for.
        BudgetError: the budget cannot pay for the fewest coalitions that determine all numbers.

    Source:
        Tsai, Yeh and Ravikumar, Faith-Shap, JMLR 2023; Bordt and von Luxburg, From Shapley Values to Generalized
        Additive Models and back, AISTATS 2023 (k-SII); Sundararajan et al., The Shapley Taylor Interaction Index, 2020.
    """
    setup = set_up(view, features, baseline, background)
    most = max(game.players for game in setup.games)
    if index != "fsii":
        if 2**most > samples or most > _MOST:
            raise UsageError(
                f"method 'interactions': index {index!r} needs all {2**most:,} coalitions of {most} features for each "
                f"item; samples are {samples:,}, and {_MOST} features are the most. Use ",
                option("index", "fsii"),
                ", which needs some of them, or fewer features.",
            )
        worths = yield from _exact(setup.games, len(view.x), index)
    else:
        share = None if view.budget is None else view.budget // len(view.x)

        def design(game: Game) -> _Quadratic:
            payable = samples if share is None else min(samples, (share - game.backgrounds) // game.backgrounds)
            return _Quadratic(game, max(payable // 2, 0), _numbers(game.players) // 2 + 8)

        worths = yield from play(setup, design, samples, precision, "interactions")
    return read_off(setup, worths, "interactions", notes={"index": index})


def _numbers(players: int) -> int:
    """Features and pairs."""
    return players + players * (players - 1) // 2


@dataclass
class _Quadratic(Pairs):
    """A draw is a coalition and its complement; all of them are fitted by features and pairs of features."""

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The constrained regression, and its sandwich error over the drawn pairs of coalitions."""
        players, drawn = self.game.players, self.drawn.first(len(scores))
        order = np.arange(players) if self.game.order is None else self.game.order[item]
        coalitions = np.concatenate([self.listed, drawn.rows])[:, order].astype(np.float64)
        both = np.concatenate([self.known[item], scores]) - self.nobody[item]  # [n, 2]
        weights = np.concatenate([self.listed_weights, self.shares(drawn)])
        correction = np.concatenate([np.zeros(len(self.listed)), drawn.correction])
        total = float(self.everybody[item] - self.nobody[item])
        fit = quadratic_fit(coalitions, both, weights, correction, total)
        main, pairs = fit.values[:players], _square(fit.values[players:], players)
        spread = _square(np.sqrt((fit.deviations[:, players:] ** 2).sum(axis=0)), players)
        halves = [_square(row, players).sum(axis=1) / 2 for row in fit.deviations[:, players:]]
        moved = fit.deviations[:, :players] + np.reshape(halves, (-1, players))
        back = np.argsort(order)  # ``play`` puts values of columns back to features; these are features' already
        notes = {"main effects": main.tolist(), "pairs": pairs.tolist(), "pair errors": spread.tolist()}
        freedom = 2 * len(both) - _numbers(players)
        values = (main + pairs.sum(axis=1) / 2)[back]
        base = float(self.nobody[item])
        return Estimate.of(values, moved[:, back], freedom, float(2 * len(both)), base=base, **notes)


def _square(upper: Array, players: int) -> Array:
    """Numbers of pairs as a symmetric matrix with a diagonal of 0."""
    matrix = np.zeros((players, players))
    matrix[np.triu_indices(players, 1)] = upper
    return matrix + matrix.T


def _exact(games: tuple[Game, ...], items: int, index: str) -> Generator[Score, Array, list[Worth]]:
    """Every coalition asked."""
    worths: list[Worth | None] = [None] * items
    for game in games:
        players = game.players
        keep = (np.arange(2**players)[:, None] >> np.arange(players - 1, -1, -1)) & 1
        answer = yield from game.worth(keep)
        for member, scores in zip(game.members, answer, strict=True):
            main, pairs = pair_indices(scores, index)
            nothing = np.zeros((players, players))
            values = main + pairs.sum(axis=1) / 2
            notes = {"main effects": main.tolist(), "pairs": pairs.tolist(), "pair errors": nothing.tolist()}
            made = Estimate.of(values, np.zeros((0, players)), len(scores), float(len(scores)), **notes)
            outcome = Outcome(made, len(scores), "samples", len(scores))
            worths[int(member)] = Worth(values, np.zeros(players), float(scores[0]), outcome)
    return [worth for worth in worths if worth is not None]


def pair_indices(scores: Array, index: str) -> tuple[Array, Array]:
    """Main effects ``[S]`` and pairs ``[S, S]`` from all ``[2^S]`` scores; feature i is bit S - 1 - i of the index.

    With second differences ``d_ij(T) = v(T + i + j) - v(T + i) - v(T + j) + v(T)``, n = S: ``k-sii``:
    ``p_ij = sum over T of (n - t - 2)! t! / (n - 1)! d_ij(T)``, ``m_i = Shapley value - sum over j of p_ij / 2``.
    ``stii``: ``p_ij = 2/n sum over T of d_ij(T) / C(n - 1, t)``, ``m_i = v(i) - v(nobody)``.
    """
    players = len(scores).bit_length() - 1
    cube = scores.reshape((2,) * players)
    sizes = ((np.arange(2**players)[:, None] >> np.arange(players)) & 1).sum(axis=1).reshape(cube.shape)
    pairs = np.zeros((players, players))
    for i in range(players):
        for j in range(i + 1, players):
            own, size = np.moveaxis(cube, (i, j), (0, 1)), np.moveaxis(sizes, (i, j), (0, 1))[0, 0]
            second = own[1, 1] - own[1, 0] - own[0, 1] + own[0, 0]
            shares = _shares(players, index)[size]
            pairs[i, j] = pairs[j, i] = float((shares * second).sum())
    if index == "stii":
        alone = np.array([cube[tuple(np.eye(players, dtype=int)[i])] for i in range(players)])
        return alone - scores[0], pairs
    return shapley_values(scores) - pairs.sum(axis=1) / 2, pairs


def _shares(players: int, index: str) -> Array:
    """What a second difference at a coalition of each size counts."""
    if players < 2:
        return np.zeros(1)
    sizes = range(players - 1)
    if index == "stii":
        return np.array([2 / players / math.comb(players - 1, t) for t in sizes])
    factor = math.factorial
    return np.array([factor(players - t - 2) * factor(t) / factor(players - 1) for t in sizes])
