"""Wishes about classes: margins, what tells a class from those closest to it, every label that is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.target import SCORES, Target
from xplain.core.targets.parts import Part
from xplain.core.targets.target_parser import Aim, ranking
from xplain.core.targets.units import probabilities
from xplain.core.targets.wish import At, Wish, formula

__all__ = ["Above", "Finer", "Margin", "Open"]


def _labels(outline: Outline, wanted: Any, scores: Array) -> list[int]:
    """A class for each item: the one that is wanted, else the predicted one."""
    if wanted is None:
        return [int(k) for k in ranking(scores, outline)[:, 0]]
    return [outline.label_index(wanted, scores.shape[1])] * len(scores)


@dataclass(frozen=True)
class Open(Wish):
    """A target with something to be chosen, such as the place of a peak."""

    target: Target

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """Its tensors."""
        return self.target.tensors

    def aims(self, at: At) -> list[Aim]:
        """The target with its choices held fast."""
        return [Aim(self.target.frozen(at.values))]


@dataclass(frozen=True)
class Margin(Wish):
    """What sets a class apart: its score less that of the best other class, which is held fast.

    Args:
        of: The class, a number or a name; None for the predicted one.
        smooth: Less the logsumexp of all others instead, which is the logit of the class's probability.
    """

    of: int | str | None = None
    smooth: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing is chosen at the item."""
        return self.smooth and self.of is not None

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The scores."""
        return (SCORES,)

    def aims(self, at: At) -> list[Aim]:
        """One target, with a runner-up for each item."""
        scores, outline = at.scores, at.outline
        if scores.shape[1] < 2:
            raise UsageError(f"A margin is between two classes, and {outline.source} has one. Leave the target out.")
        own = _labels(outline, self.of, scores)
        first = outline.label_target(own)
        if self.smooth:
            others = np.ones(scores.shape)
            others[np.arange(len(own)), own] = 0.0
            names = tuple(f"all but {outline.label_name(k)}" for k in own)
            return [Aim(first - formula("logsumexp", [Part(SCORES)], [others], names=names), tuple(own))]
        rest = np.array(scores, dtype=np.float64)
        rest[np.arange(len(own)), own] = -np.inf
        second = [int(k) for k in rest.argmax(axis=1)]
        return [Aim(first - outline.label_target(second), tuple(own))]


@dataclass(frozen=True)
class Finer(Wish):
    """Finer-CAM: a class's score less a share of the mean score of the classes closest to it, held fast.

    Args:
        of: The class; None for the predicted one.
        closest: How many classes it is told from.
        share: How much of their mean is taken off, 0 to 1.
    """

    of: int | str | None = None
    closest: int = 3
    share: float = 0.6

    def __post_init__(self) -> None:
        if self.closest < 1:
            raise UsageError(f"A class is told from the {self.closest} closest ones; give at least 1.")
        if not 0.0 <= self.share <= 1.0:  # below 0 the others' score would be added, and NaN is none
            raise UsageError(f"Of the closest classes' mean a share of {self.share} is taken off; give 0 to 1.")

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The scores."""
        return (SCORES,)

    def aims(self, at: At) -> list[Aim]:
        """One target: z_c - share * mean of z_d over the classes d whose scores are nearest to z_c."""
        scores, outline = at.scores, at.outline
        own = _labels(outline, self.of, scores)
        count = min(self.closest, scores.shape[1] - 1)
        if count < 1:
            raise UsageError(f"{outline.source} has one class, so there is none to tell it from. Leave the target out.")
        gap = np.abs(scores - scores[np.arange(len(own)), own][:, None])
        gap[np.arange(len(own)), own] = np.inf
        near = np.argsort(gap, axis=1, kind="stable")[:, :count]
        target = outline.label_target(own)
        for k in range(count):
            target = target - (self.share / count) * outline.label_target([int(d) for d in near[:, k]])
        return [Aim(target, tuple(own))]


@dataclass(frozen=True)
class Above(Wish):
    """Every label whose probability is above a bound in any of the items, each a target: for many labels at once.

    Args:
        least: The bound.
    """

    least: float = 0.5

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The scores."""
        return (SCORES,)

    def aims(self, at: At) -> list[Aim]:
        """A target for each label."""
        shares = probabilities(at.scores, at.outline.scores)
        if shares is None:
            raise UsageError(
                f"{at.outline.source} does not say how its scores become probabilities, so none is known to be above "
                f"{self.least:g}. Name a label, or ",
                option("target", "top3"),
                ".",
            )
        found = np.flatnonzero((shares > self.least).any(axis=0))
        if not len(found):
            k = int(np.unravel_index(int(shares.argmax()), shares.shape)[1])
            raise UsageError(
                f"No label is above {self.least:g}; the best is {at.outline.label_name(k)!r} with {shares.max():.2g}. "
                "Give a smaller bound, such as ",
                option("target", f"above:{max(0.0, float(shares.max()) - 0.05):.2f}"),
                ".",
            )
        return [Aim(at.outline.label_target([int(k)] * len(shares)), (int(k),) * len(shares)) for k in found]
