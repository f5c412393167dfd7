"""Answers that were already paid for."""

from __future__ import annotations

import numpy as np

from xplain.core.edits import Array, Untouched
from xplain.core.keeping.content import fingerprint
from xplain.core.query import Score
from xplain.core.target import SCORES, Stack, Target, every_score

__all__ = ["Memo"]


class Memo:
    """Remembers ``Score`` answers of one run by content, so that no row is asked twice.

    Score answers are one number per row, so keeping them costs next to nothing; answers to ``Peek`` and ``Sweep`` are
    of picture size and are not kept.
    """

    def __init__(self) -> None:
        self._answers: dict[str, Array] = {}

    def copy(self) -> Memo:
        """What is remembered by now, to which each may add."""
        found = Memo()
        found._answers = dict(self._answers)
        return found

    def key(self, query: Score) -> str:
        """The content of a question."""
        return fingerprint(query.x, query.edits, query.target, query.at, query.part, query.items)

    def get(self, query: Score, key: str) -> Array | None:
        """The remembered answer ``[N, M]`` or ``[N, M, T]``, or None.

        A class score of the untouched items is read from the whole score vectors, if those were asked before.
        """
        found = self._answers.get(key)
        readable = isinstance(query.target, (Target, Stack)) and query.target.tensors == (SCORES,)
        if found is not None or not (readable and isinstance(query.edits, Untouched)):
            return found
        everything = self._answers.get(
            fingerprint(query.x, query.edits, every_score, query.at, query.part, query.items)
        )
        if everything is None:
            return None
        return query.target.read({SCORES: everything[:, 0]}, np.arange(len(query.x)))[:, None]

    def forget(self) -> None:
        """Forget all of it, where other items come next."""
        self._answers.clear()

    def put(self, key: str, answer: Array) -> None:
        """Remember an answer."""
        self._answers[key] = answer
