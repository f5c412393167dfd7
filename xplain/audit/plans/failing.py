"""Items that cannot be used: how many may fail, in a plan's trial and in a run, and what is said of those that do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xplain.audit.plans.trial import Trial
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted

__all__ = ["MOST_ERRORS", "is_share", "refuse_broken", "refuse_no_share", "said_of", "tried"]

MOST_ERRORS = 0.5
"""Share of rows that may fail, where nothing else is said."""
_LONG = 200
"""Characters of a reason, at most."""


def is_share(given: Any) -> bool:
    """Whether something is a share from 0 to 1."""
    return isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given <= 1


def refuse_no_share(most_errors: Any) -> None:
    """Refuse what is no share of rows.

    Raises:
        UsageError: it is none.
    """
    if not is_share(most_errors):
        raise UsageError(option="most_errors", got=most_errors, accepted="a share from 0 to 1")


def refuse_broken(trial: Trial, count: int, name: str, most_errors: float) -> None:
    """Refuse to plan what a run would stop at: more of the items that were tried fail than it lets pass.

    Args:
        trial: What was read.
        count: Items in all.
        name: What the plan calls the model.
        most_errors: The share that a run lets pass.

    Raises:
        UsageError: more do.
    """
    if trial.failed > most_errors * trial.looked:
        raise UsageError(
            f"Of {tried(trial, count)} model {name} cannot take {trial.failed:,} ({trial.failed / trial.looked:.0%}), "
            f"more than the share of {most_errors:g} that a run lets pass. The first: {said_of(trial.wrong)}. Look "
            "whether the card fits the items, and whether these are items at all; to audit the others all the same, "
            "give ",
            option("most_errors", 1),
            ".",
            option="most_errors",
        )


def tried(trial: Trial, count: int) -> str:
    """How many items were tried, of how many."""
    return counted(count, "item") if trial.looked == count else f"{trial.looked:,} items tried, of {count:,},"


def said_of(wrong: Mapping[str, str]) -> str:
    """Items that failed, each with why; what failed alike together."""
    alike: dict[str, list[str]] = {}
    for name, why in wrong.items():
        alike.setdefault(why, []).append(name)
    told = []
    for why, names in alike.items():
        short = why if len(why) <= _LONG else f"{why[:_LONG]}..."
        told.append(f"{', '.join(names)}: {short.rstrip('.') if short is why else short}")
    return "; ".join(told)
