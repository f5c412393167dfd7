"""Shapley values by permutations: add features one by one in random order, and average what each adds."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.declaring.options import Fraction, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.edits import Array
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, Hidden, play, read_off, set_up
from xplain.explainers.estimation.sampling import Estimate, uniforms
from xplain.explainers.features.spec import Features
from xplain.explainers.perturbation.exact_shapley import shapley_values

__all__ = ["balanced", "shapley_sampling"]

_AT_ONCE = 256


@method(
    "shapley-sampling",
    needs=Score,
    paper=Paper("Castro 2009; Mitchell 2022", "doi:10.1016/j.cor.2008.04.004; arXiv:2104.12199"),
    unit="delta {score} per feature",
    aliases=("permutation-shap", "sampling-shap"),
    sampled=True,
    complete=True,
)
def shapley_sampling(
    view: View,
    *,
    features: Features = "auto",
    samples: Samples = 2048,
    baseline: Hidden = 0.0,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Show features one after another in random order; a feature is worth what it adds, on average over orders.

    ``phi[i] = E over permutations of ( v(those before i, and i) - v(those before i) )``, ``v(T)`` the score with only
    the features of T shown. Each permutation is used with its reverse (antithetic), which cancels every interaction of
    two features exactly; permutations come as Latin squares, in which every feature stands equally often at every
    place; and no coalition is asked twice.

    Args:
        features: What is switched on and off.
        samples: Coalitions to ask about, at most S - 1 per permutation. All of them are asked when there are no
            more, and the values are then exact.
        baseline: What a hidden feature becomes.
        background: Reference items ``[B, *item]``; v is then the mean over them (interventional expectation).
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. They sum to
        f(x) - v(nobody), which is ``base``, exactly, whatever the number of samples. ``error`` is the standard error
        of the mean over pairs, as if they were drawn apart: Latin squares make it a little too large. 0 where all
        coalitions were asked.

    Cost:
        1 + ``samples`` evaluations per item at most, times B: 2 (S - 1) per pair, less what other pairs asked already.
        Stops early when the budget ends.

    Raises:
        UsageError: features or baseline do not fit the items, or fewer samples than 4 (S - 1).
        BudgetError: the budget cannot pay for two pairs.

    Source:
        Castro, Gomez and Tejada, Polynomial calculation of the Shapley value based on sampling, 2009; Mitchell et al.,
        Sampling Permutations for Shapley Value Estimation, JMLR 2022 (antithetic sampling); Latin squares as in
        McKay, Beckman and Conover, Technometrics 1979.
    """
    setup = set_up(view, features, baseline, background)
    worths = yield from play(setup, _Permutations, samples, precision, "shapley-sampling")
    return read_off(setup, worths, "shapley-sampling")


@dataclass
class _Permutations:
    """A draw is a permutation and its reverse; what they ask are pairs of complements, none of them twice."""

    game: Game
    least: int = 2
    nobody: Array = field(init=False)
    everybody: Array = field(init=False)
    walks: _Walks = field(init=False)

    def __post_init__(self) -> None:
        players = self.game.players
        self.view = self.game.view
        self.fixed = self.game.backgrounds
        self.cost = max(1, 2 * (players - 1)) * self.game.backgrounds
        self.pairs: int = 2 ** (players - 1) - 1
        self.walks = _walks(self._places(self.least))
        self.known = np.zeros((len(self.game), 0, 2))

    def draws(self, samples: int) -> int:
        """Pairs of permutations whose distinct coalitions are at most ``samples``."""
        wanted = min(samples // 2, self.pairs)
        size = max(self.least, wanted // max(1, self.game.players - 1) + 1)
        goal = min(wanted + 1, self.pairs)
        while (walks := self._walked(size)).until[-1] < goal:
            size *= 2
        if wanted == self.pairs:  # everything is asked: more permutations add nothing
            return max(self.least, int(np.searchsorted(walks.until, wanted)) + 1)
        return int(np.searchsorted(walks.until, wanted, side="right"))

    def afford(self, evaluations: int) -> int:
        """Pairs of permutations that so many evaluations pay for."""
        return self.draws(evaluations // self.game.backgrounds)

    def prepare(self) -> Generator[Score, Array, None]:
        """The worth of nobody and everybody, where every permutation starts and ends."""
        self.nobody, self.everybody = yield from self.game.ends()

    def _places(self, draws: int) -> Array:
        """Where each feature stands in the first permutations, ``[draws, S]``; see ``balanced``."""
        players = self.game.players
        turns = max(1, players // 2 if players % 2 == 0 else players)
        blocks = -(-draws // turns)
        uniform = uniforms(self.view, "permutations", 0, blocks, players + 2 * (players // 2) + turns)
        return np.concatenate([balanced(row, players) for row in uniform])[:draws]

    def _walked(self, draws: int) -> _Walks:
        """What the first ``draws`` permutations, or more, visit."""
        if draws > len(self.walks.place):
            self.walks = _walks(self._places(draws))
        return self.walks

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """The worth of the first 1 .. S - 1 features of each permutation and of its reverse."""
        walks, last = self._walked(first + draws), first + draws
        old, new = (int(walks.until[k - 1]) if k else 0 for k in (first, last))
        if new > self.known.shape[1]:
            self.known = np.concatenate(
                [self.known, np.full((len(self.known), new - self.known.shape[1], 2), np.nan)], 1
            )
        if new > old:
            both = np.stack([walks.rows[old:new], 1 - walks.rows[old:new]], axis=1)
            answer = yield from self.game.worth(both.reshape(-1, self.game.players), items)
            self.known[items, old:new] = answer.reshape(len(items), new - old, 2)
        pair, side = walks.pair[first:last], walks.side[first:last]
        there, back = self.known[items][:, pair, side], self.known[items][:, pair, 1 - side]
        return np.stack([there, back[..., ::-1]], axis=2)

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The mean over pairs of what each feature added; the exact values once every coalition was asked."""
        draws, base = len(scores), float(self.nobody[item])
        if self.walks.until[draws - 1] == self.pairs:
            values = self._exact(item)
            return Estimate.of(values, np.zeros((0, len(values))), draws, float(draws), base=base)
        start, end = (np.full((draws, 2, 1), own[item]) for own in (self.nobody, self.everybody))
        added = np.diff(np.concatenate([start, scores, end], axis=2), axis=2)
        place = self.walks.place[:draws]
        there = np.take_along_axis(added[:, 0], place, axis=1)
        back = np.take_along_axis(added[:, 1], self.game.players - 1 - place, axis=1)
        return Estimate.mean((there + back) / 2, base=base)

    def _exact(self, item: int) -> Array:
        """Shapley values from all coalitions."""
        players = self.game.players
        scores = np.empty(2**players)
        scores[0], scores[-1] = self.nobody[item], self.everybody[item]
        codes = self.walks.rows[: self.pairs] @ (1 << np.arange(players - 1, -1, -1))
        scores[codes], scores[2**players - 1 - codes] = self.known[item, : self.pairs].T
        return shapley_values(scores)


@dataclass(frozen=True, slots=True, eq=False)
class _Walks:
    """The coalitions that permutations visit, as distinct pairs of complements in order of first appearance.

    Args:
        place: Where each feature stands in each permutation, int64 ``[draws, S]``.
        pair: Which pair the first 1 .. S - 1 features of each permutation belong to, int64 ``[draws, S - 1]``.
        side: 0 where they are the pair's row, 1 where they are its complement.
        rows: The pairs' rows, those that show feature 0, uint8 ``[pairs, S]``.
        until: Number of pairs after each draw, ``[draws]``.
    """

    place: Array
    pair: Array
    side: Array
    rows: Array
    until: Array


def _walks(places: Array) -> _Walks:
    """The coalitions that permutations with these ``places [draws, S]`` visit."""
    draws, players = places.shape
    if players == 1:
        none = np.zeros((draws, 0), np.int64)
        return _Walks(places, none, none, np.zeros((0, 1), np.uint8), np.zeros(draws, np.int64))
    packed, sides = [], []
    for some in np.array_split(places, -(-draws // _AT_ONCE)):  # so that memory holds few unpacked rows at a time
        shown = some[:, None, :] <= np.arange(players - 1)[:, None]
        sides.append(1 - shown[..., 0])
        packed.append(np.packbits(shown == shown[..., :1], axis=-1).reshape(-1, -(-players // 8)))
    keys = np.ascontiguousarray(np.concatenate(packed))
    _, first, inverse = np.unique(keys.view(f"V{keys.shape[1]}").reshape(-1), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    rows = np.unpackbits(keys[first[order]], axis=1, count=players)
    until = np.searchsorted(first[order], np.arange(1, draws + 1) * (players - 1))
    return _Walks(places, rank[inverse].reshape(draws, -1), np.concatenate(sides).astype(np.int64), rows, until)


def balanced(uniform: Array, players: int) -> Array:
    """Permutations in which, together with their reverses, every feature stands equally often at every place.

    A random order of the features is turned by two places at a time (by one where S is odd) over a random arrangement
    of the places in which opposite ones stay opposite: a Latin square. Each permutation alone is uniform, so any number
    of them gives an unbiased mean, and what depends on the place alone cancels.

    Args:
        uniform: Uniforms ``[S + 2 * (S // 2) + turns]``, with S / 2 turns, or S where S is odd.
        players: S.

    Returns:
        Where each feature stands, ``[turns, S]``.
    """
    half = players // 2
    features, fold, flip, turns = np.split(uniform, np.cumsum([players, half, half]))
    near = np.argsort(fold)
    near = np.where(flip < 0.5, players - 1 - near, near)
    position = np.full(players, half)
    position[:half], position[players - half :] = near, players - 1 - near[::-1]
    step = 2 if players % 2 == 0 else 1
    turned = (np.arange(players) + step * np.argsort(turns)[:, None]) % players
    places = np.empty((len(turns), players), np.int64)
    places[:, np.argsort(features)] = position[turned]
    return places
