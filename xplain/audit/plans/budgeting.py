"""What an audit is allowed: evaluations from the first trial item on, and failing rows. ``budget.json``, under no hash.

    plan: settling a lane draws on the budget; what the estimate says of the rest must fit into what is left
    run:  a shard is begun where the most that it can ask for is left, and that much is taken at once

What was taken for a shard is given back, as far as it was not asked, when the shard is sealed. A run that is killed in
between has given nothing back: the budget may end too early by that, and never too late.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from xplain.audit.plans.failing import MOST_ERRORS, is_share
from xplain.core.declaring.wording import option
from xplain.core.errors import BudgetError, UsageError
from xplain.core.keeping.files import read_text, there, whole_file
from xplain.core.keeping.strict import strict
from xplain.session.lanes.lane import Budget

__all__ = ["ANSWERS", "BUDGET", "Allowed", "Purse", "refuse_too_many"]

ANSWERS = "answers"
"""The folder in an audit's that keeps what was paid for: answers of endpoints, each under what was asked."""
BUDGET = "budget.json"


@dataclass(frozen=True, slots=True)
class Purse:
    """What settling lanes may spend, and where what it pays for is kept.

    Args:
        budget: Evaluations that may be asked for.
        answers: The folder of answers; None for a rehearsal, which leaves nothing.
    """

    budget: Budget
    answers: Path | None


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be asked for, what was, and how many rows may fail.

    Args:
        most: Evaluations in all; None for no limit.
        taken: Evaluations that were asked, or are set aside for a shard under way.
        most_errors: Share of rows.
    """

    most: int | None = None
    taken: int = 0
    most_errors: float = MOST_ERRORS

    @property
    def left(self) -> int | None:
        """Evaluations left; None for no limit."""
        return None if self.most is None else max(0, self.most - self.taken)

    def plus(self, count: int) -> Self:
        """With so many more taken, or fewer."""
        return replace(self, taken=max(0, self.taken + count))

    def write(self, folder: Path) -> None:
        """Write it into an audit's folder; where it is what is usual, nothing is written."""
        told: dict[str, Any] = {"max_queries": self.most, "taken": self.taken} if self.most is not None else {}
        told |= {"most_errors": self.most_errors} if self.most_errors != MOST_ERRORS else {}
        if told:
            with whole_file(folder / BUDGET) as file:
                file.write(json.dumps(told).encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it.

        Raises:
            UsageError: it is damaged.
        """
        if not there(folder / BUDGET):
            return cls()
        try:
            raw = strict(read_text(folder / BUDGET, UsageError, f"The budget {folder / BUDGET}").encode())
            limited = "max_queries" in raw
            most, taken = (raw["max_queries"], raw["taken"]) if limited else (None, 0)
            share = raw.get("most_errors", MOST_ERRORS)
            whole = not limited or (type(most) is type(taken) is int and min(most, taken) >= 0)
            if not raw or not whole or not is_share(share):
                raise ValueError("its numbers are none")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"The budget {folder / BUDGET} is damaged: {str(error)[:100]}. Plan again into the folder with ",
                option("max_queries", 1000),
                ".",
            ) from None
        return cls(most, taken, share)


def refuse_too_many(most: int | None, spent: int, evaluations: int) -> None:
    """Refuse a plan whose lanes will ask for more than is left.

    Raises:
        BudgetError: they will.
    """
    if most is not None and spent + evaluations > most:
        raise BudgetError(
            f"This audit would ask for {evaluations:,} evaluations, and settling its lanes has asked for {spent:,}: ",
            option("max_queries", most),
            f" does not pay for both. Allow {spent + evaluations:,}, or ask for less: fewer items, fewer samples.",
            left=most - spent,
        )
