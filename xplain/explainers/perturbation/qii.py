"""Quantitative input influence: replace one feature by what it might have been, see how the score changes."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np

from xplain.core.declaring.options import Fraction, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Coalitions, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.game import Background, Game, play, read_off, set_up
from xplain.explainers.estimation.sampling import Estimate, uniforms
from xplain.explainers.features.spec import Features

__all__ = ["qii"]

_AT_ONCE = 16
"""Replacements per question, so that memory does not grow with the number of draws."""


@method(
    "qii",
    needs=Score,
    paper=Paper("Datta 2016", "doi:10.1109/SP.2016.42"),
    unit="delta {score} when replaced",
    sampled=True,
    trial={"samples": 8},  # per feature
)
def qii(
    view: View,
    *,
    features: Features = "auto",
    samples: Samples = 50,
    background: Background | None = None,
    precision: Fraction | None = None,
) -> Flow:
    """Replace one feature by a random other value of it; it matters as much as the score falls on average.

    ``a[i] = f(x) - E over u of f(x with feature i taken from u)``, u drawn from the background: the unary quantitative
    influence of feature i on the score of x.

    Args:
        features: What is replaced together.
        samples: Replacements per feature; at least 2.
        background: Reference items ``[B, *item]`` to draw from. None draws normal noise with each item's own mean and
            spread per channel, which suits pictures; rows need a background.
        precision: Stop an item early when the half-width of every 95 % interval is below this share of its largest
            attribution; ``samples`` is then the most.

    Returns:
        ``[N, *map]``: every position shows its feature's value; per feature in ``notes["feature_values"]``. Positive
        where the feature's actual value raises the score. ``error`` is the standard error over replacements. ``base``
        is f(x). Does not sum to anything; for Shapley's aggregate of joint influences give kernel-shap a background.

    Cost:
        S * ``samples`` evaluations per item. Stops early when the budget ends.

    Raises:
        UsageError: features or background do not fit the items.
        BudgetError: the budget cannot pay for two replacements of each feature.

    Source:
        Datta, Sen and Zick, Algorithmic Transparency via Quantitative Input Influence, IEEE S&P 2016.
    """
    if samples < 2:
        raise UsageError(
            option="samples", got=samples, accepted="at least 2: so many replacements are needed to see an error"
        )
    if background is None and view.layout.axes == "NS":
        raise UsageError(
            "method 'qii' draws replacements from other rows, and there are none: give ",
            option("background", python="rows", shell="rows.csv"),
            ". Noise of a row's own mean and spread would mix its columns.",
        )
    setup = set_up(view, features, 0.0, background)

    def design(game: Game) -> _Replacements:
        return _Replacements(game, background is not None)

    worths = yield from play(setup, design, samples, precision, "qii", shuffled=False)
    return read_off(setup, worths, "qii")


@dataclass
class _Replacements:
    """A draw is one reference item that each feature in turn is taken from."""

    game: Game
    given: bool
    least: int = 2
    fixed: int = 0
    whole: Array = field(init=False)

    def __post_init__(self) -> None:
        self.view, self.keys = self.game.view, self.game.view.own_keys
        self.cost = self.game.players

    def draws(self, samples: int) -> int:
        """Replacements of every feature."""
        return samples

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations pay for."""
        return evaluations // self.cost

    def prepare(self) -> Generator[Score, Array, None]:
        """The score of the item itself, whose answer the engine already has."""
        self.whole = np.asarray((yield Score(self.view.x, Untouched(), self.view.target)))

    def references(self, items: Array, first: int, draws: int) -> Array:
        """The reference items of some draws for each item, float32 ``[n, draws, *item]``."""
        if self.given:
            uniform = np.stack(
                [uniforms(self.view, "replacements", first, draws, 1, self.keys[n])[:, 0] for n in items]
            )
            return np.asarray(self.game.fills[(uniform * len(self.game.fills)).astype(np.int64)])
        x, axes = self.view.x[items].astype(np.float64), self.view.layout.plane_axes
        mean, spread = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
        found = np.empty((len(items), draws, *x.shape[1:]), np.float32)
        for n, item in enumerate(items):
            for k in range(draws):
                noise = self.view.rng(f"replacement {first + k}", self.keys[item]).standard_normal(x.shape[1:])
                found[n, k] = mean[n] + spread[n] * noise
        return found

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """Scores with each feature replaced, ``[n, draws, S]``."""
        keep, answers = (1 - np.eye(self.game.players)).astype(np.uint8), []
        for start in range(first, first + draws, _AT_ONCE):
            some = min(_AT_ONCE, first + draws - start)
            fill = self.references(items, start, some).reshape(-1, *self.view.x.shape[1:])
            owners = np.repeat(items, some)
            edits = Coalitions(self.game.labels, keep, fill, self.game.whole)
            answer = yield Score(self.view.x[owners], edits, self.view.target.take(owners))
            answers.append(np.asarray(answer).reshape(len(items), some, -1))
        return np.concatenate(answers, axis=1)

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The mean fall over replacements."""
        whole = float(self.whole[item, 0])
        return Estimate.mean(whole - scores, base=whole)
