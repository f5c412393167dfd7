"""Anchors: the fewest features that, once shown, fix the decision whatever else is shown."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import numpy as np

from xplain.core.caveat import each
from xplain.core.declaring.options import Fraction, Positive, Samples
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import Sentence, named
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.query import Flow, Score, View
from xplain.explainers.design.decision import Bound, Decision, decision
from xplain.explainers.design.game import Game, Hidden, Worth, read_off, set_up
from xplain.explainers.estimation.bernoulli import lower_bound, upper_bound
from xplain.explainers.features.spec import Features

__all__ = ["anchors"]

_BATCH = 24
_REDRAWS = 1000
_ENOUGH = 40
"""Batches after which a rule's precision is taken as it is."""

Rule = tuple[int, ...]


@method(
    "anchors",
    needs=Score,
    paper=Paper("Ribeiro 2018", "doi:10.1609/aaai.v32i1.11491"),
    unit="precision lost when the feature leaves the rule",
    aliases=("anchor",),
    sampled=True,
    adaptive=True,
    trial={"samples": 400, "features": "grid:2"},  # a batch for each feature comes before anything is known
)
def anchors(
    view: View,
    *,
    features: Features = "auto",
    threshold: Fraction = 0.95,
    delta: Fraction = 0.1,
    tolerance: Fraction = 0.15,
    beam: Positive = 2,
    longest: Positive = 6,
    samples: Samples = 5000,
    baseline: Hidden = 0.0,
    above: Bound | None = None,
) -> Flow:
    """Find a short rule "when these features are shown, the decision stays, whatever else is shown".

    The precision of a rule A is ``P( argmax f(z) = argmax f(x) | z shows A )`` where every other feature is shown with
    probability 1/2; with ``above`` the decision is whether the target is at least that. Rules grow by one feature at a
    time; the best of each length are told apart by KL-LUCB bounds, and a rule is accepted when its precision is above
    ``threshold`` with probability ``1 - delta``.

    Args:
        features: What a rule is made of.
        threshold: Precision that is wanted.
        delta: Probability that the bound may fail.
        tolerance: Rules whose bounds differ by less are taken as equally good.
        beam: Rules of each length that are grown further.
        longest: Features in a rule at most.
        samples: Evaluations per item at most.
        baseline: What a hidden feature becomes.
        above: The decision is whether the target is at least this, in the target's unit, or below it where the item
            is: a box, a region, a likeness, a forecast. Left out, it is the predicted class, whatever the target.

    Returns:
        ``[N, *map]``: the features of the rule show how much precision is lost when they leave it, 0 elsewhere.
        ``error`` is the binomial standard error. ``base`` is
        the rule's precision; ``notes`` holds ``rule``, ``precision``, ``bound`` (which the precision exceeds with
        probability 1 - delta), ``coverage`` (the share of all coalitions that show the rule), ``accepted``,
        ``effective`` (coalitions that the precision is made of) and ``stability`` (probability that each of the rule's
        ``top`` features really adds precision, from Beta posteriors with a flat prior).

    Cost:
        Decided by the answers: a few thousand evaluations per item at most, see ``samples``; 24 where nothing matters.

    Differs from the paper:
        Of accepted rules of one length, which all have the same coverage ``2^-|A|``, the most precise is taken.

    Raises:
        UsageError: features or baseline do not fit the items, or nothing is decided: a model without classes, and no
            ``above``.

    Source:
        Ribeiro, Singh and Guestrin, Anchors: High-Precision Model-Agnostic Explanations, AAAI 2018; Kaufmann and
        Kalyanakrishnan, Information Complexity in Bandit Subset Selection, COLT 2013 (KL-LUCB).
    """
    setup = set_up(view, features, baseline)
    worths: list[Worth | None] = [None] * len(view.x)
    found: list[tuple[Rule, float, float, bool]] = [((), 1.0, 0.0, False)] * len(view.x)
    trust = [(0.0, 1.0)] * len(view.x)
    for game in setup.games:
        decided = yield from decision(game.view, above)
        keys = game.view.own_keys
        for k, member in enumerate(game.members):
            search = _Search(game, decided, k, keys[k], samples, delta)
            rule = yield from _grow(search, threshold, tolerance, beam, min(longest, game.players))
            values, error = yield from _losses(search, rule)
            bound = search.low(rule, 1)
            found[int(member)] = (rule, search.mean(rule), bound, bound >= threshold)
            trust[int(member)] = (float(search.tried.get(rule, 0)), search.stability(rule))
            worths[int(member)] = Worth(values, error, search.mean(rule))
    return read_off(
        setup,
        [worth for worth in worths if worth is not None],
        warnings=each(
            (_doubt(rule, sure, bound, accepted, threshold) for rule, sure, bound, accepted in found), "rejected"
        ),
        rule=[rule for rule, _, _, _ in found],
        precision=[precision for _, precision, _, _ in found],
        bound=[bound for _, _, bound, _ in found],
        coverage=[2.0 ** -len(rule) for rule, _, _, _ in found],
        accepted=[accepted for _, _, _, accepted in found],
        effective=[effective for effective, _ in trust],
        top=[len(rule) for rule, _, _, _ in found],
        stability=[stable for _, stable in trust],
    )


def _doubt(rule: Rule, precision: float, bound: float, accepted: bool, threshold: float) -> str:
    """What must be known of a rule that is no anchor, or of one that claims nothing."""
    if not accepted:
        return Sentence(
            f"No anchor was found: the best rule, of {len(rule)} features, keeps the decision in {precision:.0%} of "
            f"the cases, surely in {bound:.0%}; {threshold:.0%} was asked. Allow more ",
            named("samples"),
            ", longer rules (",
            named("longest"),
            "), or a lower ",
            named("threshold"),
            ".",
        )
    if not rule:
        return Sentence(
            f"The anchor is empty: the decision stays in {precision:.0%} of the cases whatever is hidden. Hide more "
            "(another ",
            named("baseline"),
            " or other ",
            named("features"),
            "), or explain a closer call.",
        )
    return ""


@dataclass
class _Search:
    """What is known of the rules of one item: how often each was tried, and how often the decision stayed."""

    game: Game
    decided: Decision
    item: int
    key: str
    left: int
    delta: float
    tried: dict[Rule, int] = field(default_factory=dict)
    stayed: dict[Rule, int] = field(default_factory=dict)

    def mean(self, rule: Rule) -> float:
        """Precision seen so far; 1 for the rule of all features, which is the item itself."""
        if len(rule) == self.game.players:
            return 1.0
        return self.stayed.get(rule, 0) / max(1, self.tried.get(rule, 0))

    def low(self, rule: Rule, arms: int) -> float:
        """Lower bound of the precision when ``arms`` rules are looked at."""
        if len(rule) == self.game.players:
            return 1.0
        return lower_bound(self.mean(rule), self.tried.get(rule, 0), math.log(arms / self.delta))

    def high(self, rule: Rule, arms: int) -> float:
        """Upper bound of the precision when ``arms`` rules are looked at."""
        return upper_bound(self.mean(rule), self.tried.get(rule, 0), math.log(arms / self.delta))

    def stability(self, rule: Rule) -> float:
        """Probability that every feature of the rule adds precision; 1 for the empty rule, which claims nothing."""
        rng = self.game.view.rng("anchor stability", self.key)

        def drawn(one: Rule) -> Array:
            if len(one) == self.game.players:
                return np.ones(_REDRAWS)
            tried, stayed = self.tried.get(one, 0), self.stayed.get(one, 0)
            return rng.beta(stayed + 1, tried - stayed + 1, _REDRAWS)

        whole = drawn(rule)
        adds = [whole > drawn(tuple(j for j in rule if j != i)) for i in rule]
        return float(np.all(adds, axis=0).mean()) if adds else 1.0

    def try_out(self, rules: Iterable[Rule]) -> Generator[Score, Array, bool]:
        """Ask one batch of coalitions for each rule; False when the evaluations are spent."""
        wanted = [rule for rule in rules if len(rule) < self.game.players]
        if not wanted or len(wanted) * _BATCH > self.left:
            return False
        keep = np.stack([self._coalitions(rule) for rule in wanted]).reshape(-1, self.game.players)
        try:
            margins = yield from self.decided.shown(self.game, self.item, keep)
        except BudgetError:
            if not self.tried:
                raise
            self.left = 0
            return False
        self.left -= len(keep)
        same = margins.reshape(len(wanted), _BATCH) >= 0
        for rule, hits in zip(wanted, same.sum(axis=1), strict=True):
            self.tried[rule] = self.tried.get(rule, 0) + _BATCH
            self.stayed[rule] = self.stayed.get(rule, 0) + int(hits)
        return True

    def _coalitions(self, rule: Rule) -> Array:
        """The next batch of a rule's coalitions, uint8; its own stream, so the order of asking does not matter."""
        rng = self.game.view.rng(f"anchor {rule} from {self.tried.get(rule, 0)}", self.key)
        keep = (rng.random((_BATCH, self.game.players)) < 0.5).astype(np.uint8)
        keep[:, list(rule)] = 1
        return keep


def _grow(
    search: _Search, threshold: float, tolerance: float, beam: int, longest: int
) -> Generator[Score, Array, Rule]:
    """The shortest rule whose precision is surely above the threshold, or the most precise one that was found."""
    if (yield from _accepted(search, (), threshold)):
        return ()
    best: list[Rule] = [()]
    for _ in range(longest):
        rules = sorted(
            {tuple(sorted({*rule, i})) for rule in best for i in range(search.game.players) if i not in rule}
        )
        top = yield from _top(search, rules, beam, tolerance)
        asked = [rule for rule in top if rule in search.tried or len(rule) == search.game.players]
        if not asked:  # the evaluations are spent: nothing is known of longer rules
            break
        best = asked
        for rule in sorted(best, key=lambda one: -search.mean(one)):
            if (yield from _accepted(search, rule, threshold)):
                return rule
        if search.left < _BATCH:
            break
    return max(best, key=search.mean)


def _top(search: _Search, rules: list[Rule], count: int, tolerance: float) -> Generator[Score, Array, list[Rule]]:
    """The ``count`` most precise rules up to the tolerance (KL-LUCB): ask about the two that are hardest to part."""
    going = yield from search.try_out(rule for rule in rules if rule not in search.tried)
    arms = len(rules) * _ENOUGH
    while True:
        order = sorted(rules, key=lambda rule: -search.mean(rule))
        inside, outside = order[:count], order[count:]
        if not outside or not going:
            return inside
        weak = min(inside, key=lambda rule: search.low(rule, arms))
        strong = max(outside, key=lambda rule: search.high(rule, arms))
        if search.high(strong, arms) - search.low(weak, arms) <= tolerance:
            return inside
        if max(search.tried.get(rule, 0) for rule in (weak, strong)) >= _ENOUGH * _BATCH:
            return inside
        going = yield from search.try_out((weak, strong))


def _accepted(search: _Search, rule: Rule, threshold: float) -> Generator[Score, Array, bool]:
    """Whether the rule's precision is above the threshold for sure; asks until that is known."""
    going = True
    while going and search.tried.get(rule, 0) < _ENOUGH * _BATCH:
        if search.tried.get(rule, 0) and (search.low(rule, 1) >= threshold or search.high(rule, 1) < threshold):
            break
        if len(rule) == search.game.players:
            break
        going = yield from search.try_out([rule])
    return search.low(rule, 1) >= threshold


def _losses(search: _Search, rule: Rule) -> Generator[Score, Array, tuple[Array, Array]]:
    """Per feature of the rule, the precision lost when it leaves, and its standard error."""
    values, error = np.zeros(search.game.players), np.zeros(search.game.players)
    shorter = {i: tuple(j for j in rule if j != i) for i in rule}
    short = [one for one in shorter.values() if search.tried.get(one, 0) < search.tried.get(rule, 0)]
    if short:
        yield from search.try_out(short)

    def variance(one: Rule) -> float:
        tried, stayed = search.tried.get(one, 0), search.stayed.get(one, 0)
        share = (stayed + 1) / (tried + 2)  # Laplace's rule: never quite sure
        return 0.0 if len(one) == search.game.players else share * (1 - share) / (tried + 2)

    for i, without in shorter.items():
        values[i] = search.mean(rule) - search.mean(without)
        error[i] = math.sqrt(variance(rule) + variance(without))
    return values, error
