"""Scores of untouched items that a flow's own sweeps find, kept so that no forward pass is spent on them.

A sweep of the items as they are says what the target read (``xplain.core.swept``), and finds the class that is
predicted. So a gradient's first sweep is the look at the items as well, and later questions of the flow about the
untouched items are answered from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xplain.core.edits import Array, Untouched
from xplain.core.flows import through
from xplain.core.outline import Outline
from xplain.core.query import Answer, Flow, Peek, Query, Score, Slope, Sweep
from xplain.core.rules import Rules
from xplain.core.swept import Swept
from xplain.core.target import SCORES, Target
from xplain.core.targets.target_parser import ranking
from xplain.core.trees import Ensemble

__all__ = ["Sight", "on_the_way"]


@dataclass(eq=False)
class Sight:
    """What is known of untouched items.

    Args:
        look: The question about them; its ``x`` are the items.
        finds: Whether a sweep with these rules says what its target read; see ``Abilities.finds``.
        outline: What is known of the model.
        scores: The scores ``[N, K]``; None where nobody has seen them.
    """

    look: Score
    finds: Callable[[Rules], bool]
    outline: Outline
    scores: Array | None = None
    read: list[tuple[Target, Array]] = field(default_factory=list)

    def learn(self, scores: Array) -> None:
        """Keep the scores that are seen first."""
        if self.scores is None:
            self.scores = scores

    def settled(self, target: Target) -> Target:
        """The target with the class that is predicted for each item, where that is known."""
        if self.scores is None:
            return target
        labels = ranking(self.scores, self.outline, 1)[:, 0]
        return target.settled(labels, tuple(map(self.outline.label_name, labels.tolist())))

    def value(self, target: Target) -> Array | None:
        """A target's value for each item, float64 ``[N]``, if it is known."""
        if self.scores is not None and target.tensors == (SCORES,):
            return target.read({SCORES: self.scores}, np.arange(len(self.look.x)))
        return next((values for known, values in self.read if known == target), None)

    def is_clean(self, query: Sweep) -> bool:
        """Whether a sweep is of the untouched items, one point each, and says what its target read."""
        one = query.x.shape[1] == 1 and query.weights is None
        return one and _same(query.x[:, 0], self.look.x) and self.finds(query.rules)

    def known(self, query: Score) -> Answer:
        """The answer to a question about the untouched items, if it is known."""
        if not isinstance(query.edits, Untouched) or not _same(query.x, self.look.x):
            return None
        if query.at != "input" or not isinstance(query.target, Target):
            return None
        values = self.value(query.target)
        return None if values is None else values[:, None]


def _same(one: Any, other: Array) -> bool:
    """Whether two arrays are the same memory, so that nothing has to be compared."""
    if one is other:
        return True
    if not isinstance(one, np.ndarray) or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return one.strides == other.strides and one.ctypes.data == other.ctypes.data


def on_the_way(flow: Flow, sight: Sight, target: Target, is_open: bool) -> Flow:
    """The same flow, past what is known of the untouched items.

    Args:
        flow: A flow, whose target may be the class that is predicted.
        sight: What is known; it learns from the answers.
        target: The flow's target for all items; later questions may be about some of them.
        is_open: Whether the target is the class that is predicted, and so not known before the scores are.
    """

    def ask(query: Query) -> Generator[Query, Answer, Answer]:
        if isinstance(query, (Peek, Slope, Ensemble)):
            return (yield query)
        swept = isinstance(query, Sweep) and sight.is_clean(query)
        if is_open and not swept and sight.scores is None:
            sight.learn((yield sight.look)[:, 0])
        if is_open and isinstance(query.target, Target):
            query = replace(query, target=sight.settled(query.target))
        if isinstance(query, Sweep) and not swept and not is_open and sight.value(target) is None:
            value = yield replace(sight.look, target=target)  # before sweeps are paid
            sight.read.append((target, value[:, 0]))
        known = sight.known(query) if isinstance(query, Score) else None
        answer = (yield query) if known is None else known
        if swept and isinstance(query, Sweep) and isinstance(answer, Swept):
            if answer.scores is not None:
                sight.learn(answer.scores)
            if answer.target is not None:
                sight.read.append((query.target, answer.target))
        return answer

    return through(flow, ask)
