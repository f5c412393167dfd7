"""Sufficient and contrastive sets: the fewest features that alone keep a decision, or whose absence alone undoes it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from xplain.core.caveat import each
from xplain.core.declaring.options import Natural
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence, named
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.decision import Bound, Decision, decision
from xplain.explainers.design.game import Game, Hidden, Worth, read_off, set_up
from xplain.explainers.estimation.bernoulli import lower_bound, upper_bound
from xplain.explainers.features.spec import Features

__all__ = ["sufficient"]

_LEVEL = math.log(2 / 0.05)
"""Of bounds that both hold with a chance of 95 %."""

Sets = tuple[int, ...]


@method(
    "sufficient",
    needs=Score,
    paper=Paper("Ignatiev 2020; Kelly 2025", "arXiv:2012.11067; arXiv:2507.23509"),
    unit="margin of the decision that the feature holds",
    aliases=("sufficient-reason", "contrastive", "minimal-set"),
    signed=False,
    adaptive=True,
    trial={"features": "grid:2", "samples": 8},
)
def sufficient(
    view: View,
    *,
    features: Features = "auto",
    kind: Literal["sufficient", "contrastive", "both"] = "sufficient",
    baseline: Hidden = 0.0,
    above: Bound | None = None,
    exhaustive: Natural = 500,
    samples: Natural = 200,
) -> Flow:
    """Find few features that, shown alone, keep the decision; or that, hidden alone, undo it; or that do both.

    ``sufficient``: a least A with ``d(x with A alone shown) = d(x)``; ``contrastive``: a least A with
    ``d(x without A) != d(x)``; ``both``: one A of which both is true. Features are ranked by what each says alone, by
    what its absence takes, and by both; of each ranking the shortest beginning that will do is thinned out, the feature
    first whose loss costs the decision least, until none can leave. The smallest of the three is returned.

    Args:
        features: What a set is made of: segments of a picture, columns of a row, words of a text.
        kind: What the set alone must do.
        baseline: What a hidden feature becomes.
        above: The decision is whether the target is at least this, in the target's unit; left out, the predicted class.
        exhaustive: Sets with fewer features that are tried one by one, all or none, to see whether one will do.
        samples: Random coalitions that the certificate draws: with A shown, and each other feature as a coin falls.

    Returns:
        ``[N, *map]``: how much of the decision's margin is lost when a feature leaves the set, 0 for those outside it.
        ``each`` holds the certificate: ``set``, ``found``, ``margin``, ``tested`` (coalitions that were asked),
        ``minimal`` (each of its features was taken out, and then it did not do), ``smallest`` (all sets of fewer
        features were tried, and none did), and ``precision`` with ``precision low`` and ``high``, 95 % bounds of the
        share of cases in which the decision holds with A shown (is undone, with A hidden) and others shown at random.

    Cost:
        Decided by the answers: 5 S and some ``|A|^2`` evaluations per item, ``exhaustive`` and ``samples`` more.

    Differs from the paper:
        What is hidden becomes the baseline, so a set is true of that baseline and of no other; ``precision`` says how
        it holds beside it. Sets are found greedily, not by a solver: the certificate says what was tested.

    Raises:
        UsageError: features or baseline do not fit the items, or nothing is decided: a model without classes, and no
            ``above``.

    Source:
        Ignatiev, Narodytska, Asher and Marques-Silva, From Contrastive to Abductive Explanations and Back Again, 2020;
        Kelly et al., I Am Big, You Are Little; I Am Right, You Are Wrong (ReX), 2025.
    """
    setup = set_up(view, features, baseline)
    worths: list[Worth | None] = [None] * len(view.x)
    told: list[dict[str, Any]] = [{}] * len(view.x)
    for game in setup.games:
        decided = yield from decision(game.view, above)
        for k, member in enumerate(game.members):
            search = _Search(game, decided, k, kind)
            values, found = yield from _item(search, exhaustive, samples)
            worths[int(member)] = Worth(values, None, float(decided.margins[k]))
            told[int(member)] = found
    certificate: dict[str, Any] = {name: [one[name] for one in told] for name in told[0]}
    return read_off(
        setup,
        [worth for worth in worths if worth is not None],
        warnings=each((_doubt(one, kind) for one in told), "rejected"),
        notes={"kind": kind},
        **certificate,
    )


@dataclass
class _Search:
    """One item's sets: which were asked, and by how much each does what is wanted; below 0 it does not."""

    game: Game
    decided: Decision
    item: int
    kind: str
    asked: dict[Sets, float] = field(default_factory=dict)
    tested: int = 0

    @property
    def players(self) -> int:
        return self.game.players

    def does(self, sets: list[Sets]) -> Generator[Score, Array, Array]:
        """By how much each set does what is wanted, ``[len(sets)]``."""
        fresh = [one for one in dict.fromkeys(sets) if one not in self.asked]
        if fresh:
            rows = np.zeros((len(fresh), self.players), np.uint8)
            for row, one in zip(rows, fresh, strict=True):
                row[list(one)] = 1
            margins = yield from self.margins(rows)
            self.asked.update(zip(fresh, margins.tolist(), strict=True))
        return np.array([self.asked[one] for one in sets])

    def margins(self, rows: Array) -> Generator[Score, Array, Array]:
        """The same for sets as rows of 0 and 1, not kept in mind."""
        alone = undone = None
        if self.kind != "contrastive":
            alone = yield from self.decided.shown(self.game, self.item, rows)
        if self.kind != "sufficient":
            left = yield from self.decided.shown(self.game, self.item, 1 - rows)
            undone = np.where(left >= 0, np.minimum(-left, -np.finfo(np.float64).tiny), -left)
        self.tested += len(rows) * (1 + (self.kind == "both"))
        found = [one for one in (alone, undone) if one is not None]
        return np.asarray(np.minimum.reduce(found))


def _item(search: _Search, exhaustive: int, samples: int) -> Generator[Score, Array, tuple[Array, dict[str, Any]]]:
    """What each feature of an item's set holds, and the certificate."""
    best: Sets | None = None
    minimal = smallest = False
    try:
        best = yield from _found(search)
        if best is not None:
            best, minimal = yield from _thinned(search, best)
            better = yield from _smaller(search, best, exhaustive)
            smallest = better is not None
            best = better or best
    except BudgetError:
        if not search.asked:
            raise
    values = np.zeros(search.players)
    chosen = best if best is not None else ()
    margin = search.asked.get(chosen, math.nan)
    for i in chosen:
        without = search.asked.get(tuple(j for j in chosen if j != i))
        values[i] = 0.0 if without is None else max(0.0, margin - without)
    share, low, high = yield from _certified(search, chosen if best is not None else None, samples)
    found = {
        "set": chosen,
        "found": best is not None,
        "margin": margin,
        "tested": search.tested,
        "minimal": minimal,
        "smallest": smallest,
        "precision": share,
        "precision low": low,
        "precision high": high,
    }
    return values, found


def _found(search: _Search) -> Generator[Score, Array, Sets | None]:
    """The smallest thinned-out beginning of three rankings; None where not even all features do."""
    everyone = tuple(range(search.players))
    ends = yield from search.does([(), everyone])
    if ends[0] >= 0:
        return ()
    if ends[1] < 0:
        return None
    eye = np.eye(search.players, dtype=np.uint8)
    alone = yield from search.decided.shown(search.game, search.item, eye)
    absent = yield from search.decided.shown(search.game, search.item, 1 - eye)
    search.tested += 2 * search.players
    ranks = [np.argsort(np.argsort(one)) for one in (-alone, absent)]
    orders = [np.argsort(one, kind="stable") for one in (-alone, absent, ranks[0] + ranks[1])]
    best: Sets = everyone
    for order in orders:
        heads = [tuple(sorted(int(i) for i in order[:k])) for k in range(1, search.players)]
        does = yield from search.does(heads)
        first = next((head for head, margin in zip(heads, does, strict=True) if margin >= 0), everyone)
        thin, _ = yield from _thinned(search, first)
        best = min(best, thin, key=lambda one: (len(one), -search.asked[one]))
    return best


def _thinned(search: _Search, found: Sets) -> Generator[Score, Array, tuple[Sets, bool]]:
    """A set without what it does not need, and that each of what is left was tried."""
    while found:
        shorter = [tuple(j for j in found if j != i) for i in found]
        does = yield from search.does(shorter)
        if does.max() < 0:
            break
        found = shorter[int(does.argmax())]
    return found, True


def _smaller(search: _Search, found: Sets, most: int) -> Generator[Score, Array, Sets | None]:
    """The first set of fewest features that does, where all smaller ones are few enough to try; else None."""
    if sum(math.comb(search.players, size) for size in range(len(found))) > most:
        return None
    for size in range(len(found)):
        sets = list(itertools.combinations(range(search.players), size))
        does = yield from search.does(sets)
        if does.max() >= 0:
            better = sets[int(does.argmax())]
            yield from search.does([tuple(j for j in better if j != i) for i in better])
            return better
    return found


def _certified(
    search: _Search, found: Sets | None, samples: int
) -> Generator[Score, Array, tuple[float, float, float]]:
    """How often the decision holds with the set shown, or is undone with it hidden, whatever else is shown."""
    if found is None or not samples:
        return math.nan, 0.0, 1.0
    game = search.game
    rng = game.view.rng("sufficient", game.view.own_keys[search.item])
    rows = (rng.random((samples, search.players)) < 0.5).astype(np.uint8)
    rows[:, list(found)] = search.kind != "contrastive"
    try:
        margins = yield from search.decided.shown(search.game, search.item, rows)
    except BudgetError:
        return math.nan, 0.0, 1.0
    search.tested += samples
    share = float(((margins >= 0) == (search.kind != "contrastive")).mean())
    return share, lower_bound(share, samples, _LEVEL), upper_bound(share, samples, _LEVEL)


def _doubt(found: dict[str, Any], kind: str) -> str:
    """What must be known of a set that was not found, or says nothing."""
    more = "Hide more: give another ", named("baseline"), " or other ", named("features"), "."
    if not found["found"]:
        if kind == "contrastive":
            return Sentence("Not even hiding everything undoes the decision: the baseline is decided so too. ", *more)
        if kind == "both":
            return Sentence(
                "Not even all features together are enough and needed: nothing undoes the decision. ", *more
            )
        return Sentence("The search was cut short before a set was found. Allow more ", named("max_queries"), ".")
    if not found["set"]:
        return Sentence("Nothing needs to be shown: the baseline alone is decided so too. ", *more)
    return ""
