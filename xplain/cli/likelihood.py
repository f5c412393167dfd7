"""Which preprocessing the labels speak for: cards compared by the log-probability of the pictures' own labels.

For picture n and a card, ``l[n] = log p(label of n)``. Two cards are compared picture by picture: with ``d`` the mean
of the differences and ``e`` its standard error, they are told apart where ``|d| > 3 e``, on 5 pictures or more; the
other is better only where also ``d > 0.1``, a tenth of the probability, for a net can grow surer of what it is right
about. Otherwise there are too few pictures to tell, and about ``n (3 e / d)^2`` would be needed. Counting right answers
would need many more: a net that is fed BGR still says "cat", only less surely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from xplain.core.card import PRESETS, Card
from xplain.core.edits import Array
from xplain.core.outline import Outline

__all__ = ["RULE", "Comparison", "compared", "label_log_probabilities", "numbers", "other_cards"]
__all__ += ["same_numbers", "statement"]

ERRORS, LEAST, MARGIN = 3.0, 5, 0.1
RULE = (
    f"Told apart: a mean difference in the label's log-probability above {ERRORS:g} standard errors, on {LEAST} "
    f"pictures or more; better: by more than {MARGIN:g}, too."
)
_FLOOR = -20.0
"""Log-probability below which a label counts no worse: one hopeless picture must not decide."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Another card against the one in use.

    Args:
        difference: Mean over pictures of the other's log-probability less this one's.
        error: Its standard error.
        pictures: N.
    """

    difference: float
    error: float
    pictures: int

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``alike`` (as good, for these pictures) or ``unclear``."""
        if abs(self.difference) <= 1e-6 and self.error <= 1e-6:
            return "alike"
        if self.pictures < LEAST or abs(self.difference) <= ERRORS * self.error:
            return "unclear"
        return "worse" if self.difference < 0 else "better" if self.difference > MARGIN else "alike"

    @property
    def needed(self) -> int:
        """About how many pictures would tell."""
        if self.difference == 0:
            return 10_000
        return min(10_000, max(LEAST, math.ceil(self.pictures * (ERRORS * self.error / self.difference) ** 2)))


def label_log_probabilities(scores: Array, truth: Array, outline: Outline) -> Array:
    """``log p(label)`` for each row of scores ``[N, K]``, at least -20."""
    spec = outline.scores
    if spec.kind == "log-probabilities":
        logs = scores
    elif spec.kind in ("probabilities", "decisions"):
        logs = np.log(np.clip(scores, math.exp(_FLOOR), 1.0))
    elif spec.link == "sigmoid":
        logs = -np.logaddexp(0.0, -scores)
    else:
        logs = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    return np.maximum(logs[np.arange(len(truth)), truth], _FLOOR)


def compared(own: Array, other: Array) -> Comparison:
    """Two cards' log-probabilities of the same labels, ``[N]`` each."""
    apart = other - own
    error = float(apart.std(ddof=1) / math.sqrt(len(apart))) if len(apart) > 1 else math.inf
    return Comparison(float(apart.mean()), error, len(apart))


def other_cards(used: Card) -> dict[str, Card]:
    """The usual other ways to turn the same pixels into numbers, with the card's own geometry, each by a name.

    Colour: the numbers of every preset with its own order of channels and with the other one, and this card's with the
    channels exchanged. Grey: the presets' numbers, -1..1, and MNIST's.
    """
    found: dict[str, Card] = {}
    if used.channels == 3:
        found["this card, channels exchanged"] = _exchanged(used)
    plainest = sorted(PRESETS.items(), key=lambda one: one[1].crop is not None)  # of equal numbers, by the plain name
    for name, preset in plainest:
        if preset.channels != used.channels:
            continue
        card = replace(used, mode=preset.mode, scale=preset.scale, mean=preset.mean, std=preset.std)
        found[name] = card
        if used.channels == 3:
            found[f"{name}, {_exchanged(card).mode}"] = _exchanged(card)
    if used.channels == 1:
        found["grey-pm1"] = replace(used, scale=1 / 127.5, mean=(1.0,), std=(1.0,))
        found["mnist"] = replace(used, scale=1 / 255, mean=(0.1307,), std=(0.3081,))
    kept: dict[str, Card] = {}
    for name, card in found.items():
        if not any(same_numbers(card, known) for known in (used, *kept.values())):
            kept[name] = card
    return kept


def _exchanged(card: Card) -> Card:
    """The card with the other order of channels; numbers stay with their colour."""
    return replace(card, mode="RGB" if card.mode == "BGR" else "BGR", mean=card.mean[::-1], std=card.std[::-1])


def same_numbers(one: Card, other: Card) -> bool:
    """Whether two cards make the same numbers of the same pixels; one number stands for all channels."""
    numbers = [np.broadcast_to(values, one.channels) for card in (one, other) for values in (card.mean, card.std)]
    close = np.allclose(numbers[0], numbers[2]) and np.allclose(numbers[1], numbers[3])
    return (one.mode or "RGB") == (other.mode or "RGB") and bool(np.isclose(one.scale, other.scale)) and close


def numbers(card: Card) -> str:
    """What a card does to pixels, as its lines."""
    return f'mode = "{card.mode or "RGB"}", scale = {card.scale:g}, mean = {list(card.mean)}, std = {list(card.std)}'


def statement(comparisons: Mapping[str, Comparison], cards: Mapping[str, Card], pictures: int) -> str:
    """What the pictures say of this card, where no other is better."""
    unclear = {name: one for name, one in comparisons.items() if one.verdict == "unclear"}
    alike = [name for name, one in comparisons.items() if one.verdict == "alike"]
    same = f" They say nothing between this card and {_listed(alike)}, which does as well." if alike else ""
    if not unclear:
        return f"No finding: no other preprocessing explains the labels better, so this one fits. {RULE}{same}"
    near = max(unclear, key=lambda name: unclear[name].difference)
    one = unclear[near]
    maybe = f" It may be the better one: {numbers(cards[near])}." if one.difference > MARGIN else ""
    return (
        f"No finding, but {pictures} pictures are too few to tell this card from {_listed(list(unclear))}: {near!r} "
        f"gives the label {one.difference:+.3f} +- {one.error:.3f} in log-probability. {RULE} About {one.needed} "
        f"pictures would tell.{maybe}{same}"
    )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:3]))
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
