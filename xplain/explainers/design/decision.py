"""What a model decides of an item, a class or a target above a bound, and by how much it decides others alike."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.declaring.options import Real
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Coalitions, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Score, View
from xplain.core.target import SCORES, every_score
from xplain.explainers.design.game import Game

__all__ = ["Bound", "Decision", "decision"]

Bound: TypeAlias = Annotated[float, Real()]


@dataclass(frozen=True, eq=False)
class Decision:
    """What was decided of items.

    Args:
        view: The items.
        above: The bound that the target is held against; None for the predicted class.
        was: The class of each item, or 1 for a target of at least the bound, 0 for one below it.
        margins: By how much each was decided so: the score above the best other class, or the distance to the bound.
    """

    view: View
    above: float | None
    was: Array
    margins: Array

    def shown(self, game: Game, item: int, keep: Array) -> Generator[Score, Array, Array]:
        """By how much an item with only some features shown is decided as it is, ``[M]``; below 0: it is not.

        Args:
            game: A game of these items.
            item: Which.
            keep: Coalitions, uint8 ``[M, S]``.
        """
        n = np.array([item])
        fill = game.fills if len(game.fills) == 1 else game.fills[n]
        edits = Coalitions(game.labels, np.ascontiguousarray(keep, dtype=np.uint8), fill, game.whole)
        target = every_score if self.above is None else self.view.target.take(n)
        scores = yield Score(self.view.x[n], edits, target)
        return _margins(np.asarray(scores, dtype=np.float64)[0], int(self.was[item]), self.above, self.view)

    def others(self, item: int, rows: Array) -> Generator[Score, Array, Array]:
        """By how much trials ``[M, *item]`` of an item are decided as it is, ``[M]``; below 0: they are not."""
        own = self.view.target.take(np.full(len(rows), item))
        scores = yield Score(rows, Untouched(), every_score if self.above is None else own, trials=True)
        return _margins(np.asarray(scores, dtype=np.float64)[:, 0], int(self.was[item]), self.above, self.view)


def decision(view: View, above: float | None) -> Generator[Score, Array, Decision]:
    """What is decided of the untouched items; costs their predictions.

    Raises:
        UsageError: the model has no classes, and no bound is given.
    """
    known = view.outline.kind in ("onnx", "torch") and SCORES not in view.target.tensors
    if above is None and known and view.outline.scores.classes is None:
        raise _undecided(view)
    target = every_score if above is None else view.target
    scores = np.asarray((yield Score(view.x, Untouched(), target)), dtype=np.float64)[:, 0]
    if above is None:
        was = scores.argmax(axis=1) if scores.shape[1] > 1 else (scores[:, 0] > _middle(view)).astype(int)
    else:
        was = (scores >= above).astype(int)
    each = [_margins(scores[n : n + 1], int(was[n]), above, view)[0] for n in range(len(was))]
    return Decision(view, above, was, np.array(each))


def _undecided(view: View) -> UsageError:
    return UsageError(
        f"{view.outline.source} has no classes, so it decides nothing by itself. Say what counts as a decision: the "
        "least value of the target that does, such as ",
        option("above", 0.5),
        ".",
    )


def _middle(view: View) -> float:
    return 0.5 if view.outline.scores.kind == "probabilities" else 0.0


def _margins(scores: Array, was: int, above: float | None, view: View) -> Array:
    """Of rows of all scores ``[M, K]``, or of the target's values ``[M]``."""
    if above is not None or scores.shape[1] == 1:
        values = scores if above is not None else scores[:, 0]
        bound = above if above is not None else _middle(view)
        # what lies on the bound counts as above a target's, and as below a score's middle
        return _strict(values - bound, above is None) if was else _strict(bound - values, above is not None)
    known = np.where(np.isnan(scores), -np.inf, scores)
    rest = np.delete(known, was, axis=1).max(axis=1)
    lead = known[:, was] - rest
    first = known.argmax(axis=1) == was
    return np.asarray(np.where(first, np.maximum(lead, 0.0), np.minimum(lead, -np.finfo(np.float64).tiny)))


def _strict(margin: Any, strict: bool) -> Array:
    """Margins where 0 still counts, or does not."""
    return np.asarray(np.where((margin == 0) & strict, -np.finfo(np.float64).tiny, margin))
