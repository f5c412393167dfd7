"""What is asked of a session: methods with their options, of which target, how, and at what cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from xplain.core.errors import UsageError
from xplain.engine import Progress, Sentinel
from xplain.engine.store import AnswerStore

__all__ = ["Cache", "Request"]

Cache: TypeAlias = str | os.PathLike[str] | AnswerStore
"""A folder of answers, or answers that are open already, on disk or in memory."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of the items.

    Args:
        methods: Name of a method to its options, in the order in which they are asked; may be empty.
        target: None for each item's predicted class, a class, a label's name, ``"a - b"``, ``"top3"``, a list with one
            per item, a place inside the model, or a ``Target``; see ``xplain.explain``.
        seed: Root of all randomness.
        card: How pictures become tensors, if the model has no card of its own.
        layout: How the axes of the items are named, such as ``"NHWC"``; None for what is known of the model.
        batch_size: Rows per model call, at most; None chooses.
        max_queries: Model evaluations that may be spent, by all items and methods together; None for no limit.
        max_cost: Money that may be spent; None for no limit.
        cache: A folder of answers, or one that is open already.
        sentinel: Ask the first item again every so many evaluations, and stop if the answer has changed.
        progress: Called with (evaluations done, evaluations asked so far) of the whole session.

    Raises:
        UsageError: a seed or a batch size that is none.
    """

    methods: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target: Any = None
    seed: int = 0
    card: Any = None
    layout: str | None = None
    batch_size: int | None = None
    max_queries: int | None = None
    max_cost: Any = None
    cache: Cache | None = None
    sentinel: int | Sentinel | None = None
    progress: Progress | None = None

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise UsageError(option="seed", got=self.seed, accepted="a whole number of at least 0")

    @property
    def limited(self) -> bool:
        """Whether evaluations or money are limited."""
        return self.max_queries is not None or self.max_cost is not None
