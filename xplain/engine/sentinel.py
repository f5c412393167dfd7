"""A model behind a wire may be replaced while it is being asked: the sentinel notices, the probe measures its noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import ModelError, UsageError
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline
from xplain.core.query import Model, Score
from xplain.core.target import every_score

__all__ = ["Sentinel", "Spread", "probe"]


class Sentinel:
    """Re-asks one fixed input every ``every`` evaluations and stops when the answer has changed.

    The input is the first item of the run, untouched. Its answer is compared with the one given first, or with the one
    a cache remembers, so that a model replaced between two runs is noticed as well.

    Args:
        every: Evaluations between two looks; each look costs one.
        tolerance: Largest change of a score that is still the same model, as a share of the largest score
            (at least of 1). Servers that batch on a GPU differ by about 1e-6 from call to call; ``probe`` measures it.
    """

    def __init__(self, every: int, tolerance: float = 1e-4) -> None:
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise UsageError(option="sentinel", got=every, accepted="a whole number of evaluations between two looks")
        if not 0 <= tolerance < 1:
            raise UsageError(f"The sentinel's tolerance is {tolerance!r}; accepted: a number in [0, 1).")
        self.every: int = every
        self.tolerance: float = tolerance
        self._expected: Array | None = None
        self._since = 0

    @property
    def started(self) -> bool:
        """Whether an answer to compare with is known."""
        return self._expected is not None

    @property
    def since(self) -> int:
        """Evaluations since the last look."""
        return self._since

    def due(self, rows: int) -> bool:
        """Count evaluations; True when it is time to look."""
        self._since += rows
        return self._since >= self.every

    def look(self, now: Array, outline: Outline) -> None:
        """Compare a fresh answer ``[K]`` with the first one.

        Raises:
            ModelError: the model has changed.
        """
        before, asked, self._since = self._expected, self._since, 0
        if before is None:
            self._expected = now
            return
        if now.shape != before.shape:
            raise _changed(outline, asked, f"it gave {counted(len(before), 'score')} and now gives {len(now)}")
        both = np.isfinite(now) & np.isfinite(before)  # a class that a top-k answer leaves out is unknown, not changed
        if not both.any():
            raise _changed(outline, asked, "it names other classes")
        scale = max(1.0, float(np.abs(before[both]).max()))
        moved = np.where(both, np.abs(now - before), 0.0)
        worst = int(moved.argmax())
        if moved[worst] > self.tolerance * scale:
            name = outline.label_name(worst)
            raise _changed(outline, asked, f"class {name!r} went from {before[worst]:.6g} to {now[worst]:.6g}")


def _changed(outline: Outline, asked: int, what: str) -> ModelError:
    return ModelError(
        f"{outline.source} has changed: to the same input {what}, noticed after {asked} further evaluations. Answers "
        "of two models are not mixed; those since the last look were dropped from the cache. Start again with a new "
        "",
        option("version"),
        " or an empty cache, or set a larger tolerance if the model is only noisy.",
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """How much answers to the same input differ.

    Args:
        times: How often it was asked.
        largest: Largest difference of one score between two answers.
        score: Largest absolute score, to compare with.
    """

    times: int
    largest: float
    score: float

    @property
    def deterministic(self) -> bool:
        """True when all answers were equal to the bit."""
        return self.largest == 0.0

    def __str__(self) -> str:
        if self.deterministic:
            return f"asked {self.times} times, the answers are equal to the bit"
        return f"asked {self.times} times, a score moved by up to {self.largest:.3g} (largest score {self.score:.3g})"


def probe(model: Model, x: Array, times: int = 3) -> Spread:
    """Ask the same items ``[N, *item]`` several times, past any cache, and report how much the answers differ.

    Costs ``times * N`` evaluations.

    Raises:
        UsageError: fewer than 2 times.
    """
    if isinstance(times, bool) or not isinstance(times, int) or times < 2:
        raise UsageError(option="times", got=times, accepted="a whole number of at least 2")
    answers = np.stack([np.asarray(model.answer(Score(x, Untouched(), every_score))) for _ in range(times)])
    known = np.isfinite(answers).all(axis=0)
    spread = np.where(known, answers.max(axis=0) - answers.min(axis=0), 0.0)
    return Spread(times, float(spread.max()), float(np.abs(answers[:, known]).max(initial=0.0)))
