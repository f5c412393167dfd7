"""How many evaluations an audit may ask for, from the first trial item on: ``budget.json``, which no hash covers.

    plan: settling a lane draws on the budget; what the estimate says of the rest must fit into what is left
    run:  a shard is begun where the most that it can ask for is left, and that much is taken at once

What was taken for a shard is given back, as far as it was not asked, when the shard is sealed. A run that is killed in
between has given nothing back: the budget may end too early by that, and never too late.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

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
    """What may be asked for, and what was.

    Args:
        most: Evaluations in all; None for no limit.
        taken: Evaluations that were asked, or are set aside for a shard under way.
    """

    most: int | None = None
    taken: int = 0

    @property
    def left(self) -> int | None:
        """Evaluations left; None for no limit."""
        return None if self.most is None else max(0, self.most - self.taken)

    def plus(self, count: int) -> Self:
        """With so many more taken, or fewer."""
        return replace(self, taken=max(0, self.taken + count))

    def write(self, folder: Path) -> None:
        """Write it into an audit's folder; where there is no limit, nothing is written."""
        if self.most is not None:
            with whole_file(folder / BUDGET) as file:
                file.write(json.dumps({"max_queries": self.most, "taken": self.taken}).encode())

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
            most, taken = raw["max_queries"], raw["taken"]
            if type(most) is not int or type(taken) is not int or min(most, taken) < 0:
                raise ValueError("its numbers are none")
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"The budget {folder / BUDGET} is damaged: {str(error)[:100]}. Plan again into the folder with ",
                option("max_queries", 1000),
                ".",
            ) from None
        return cls(most, taken)


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
