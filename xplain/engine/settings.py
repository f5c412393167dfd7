"""How a run asks: limits, memory of answers, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from xplain.core.synthesis.slope import Slope, Sloped
from xplain.engine.budget import Budget
from xplain.engine.memo import Memo
from xplain.engine.sentinel import Sentinel
from xplain.engine.store import AnswerStore

__all__ = ["Progress", "Settings"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with (evaluations done, evaluations asked so far)."""

Watch: TypeAlias = Callable[[Slope, Sloped], None]
"""Called with a question about a synthesis and its answer."""


@dataclass
class Settings:
    """How a run asks: limits, memory of answers, progress.

    Args:
        batch_size: Rows per model call, at most, or None to choose; another number may change last bits.
        budget: Evaluations and money that may be spent.
        memo: Answers already paid for; share one between runs to share their answers.
        progress: Called after every model call.
        store: Answers on disk, row by row, or None.
        sentinel: Notices that the model was replaced while it was being asked, or None.
        calls: Rows per model call by kind of question, as they were chosen; grows while runs ask.
        together: Whether a model that is not filled up may be asked rows of all items at once: faster, and last bits
            may depend on the items beside a row.
        watch: Called with each question about a synthesis and its answer, for a preview and to keep what there is.
    """

    batch_size: int | None = None
    budget: Budget = field(default_factory=Budget)
    memo: Memo = field(default_factory=Memo)
    progress: Progress | None = None
    store: AnswerStore | None = None
    sentinel: Sentinel | None = None
    calls: dict[str, list[int]] = field(default_factory=dict)
    together: bool = False
    watch: Watch | None = None
