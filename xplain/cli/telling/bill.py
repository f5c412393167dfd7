"""What asking will cost, and what it has cost: evaluations, sweeps, and the calls and money of an endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from xplain.core.abilities import abilities_of
from xplain.core.query import Model
from xplain.session import Plan

__all__ = ["Bill", "Planned"]


@dataclass(frozen=True, slots=True)
class Planned:
    """What explaining all items would take."""

    queries: int = 0
    sweeps: int = 0
    calls: int = 0
    money: Decimal | None = None

    @classmethod
    def of(cls, parts: Sequence[tuple[int, Plan]]) -> Planned:
        """The sum of plans, each so many times."""
        money = [times * plan.money for times, plan in parts if plan.money is not None]
        return cls(
            sum(times * plan.queries for times, plan in parts),
            sum(times * plan.sweeps for times, plan in parts),
            sum(times * plan.calls for times, plan in parts),
            sum(money, Decimal(0)) if money else None,
        )

    @property
    def steps(self) -> int:
        """Evaluations and sweeps, for progress."""
        return self.queries + self.sweeps


class Bill:
    """What a model that is asked over a wire has been sent since this was made, and what it cost; else nothing.

    Repeated calls, predictions and the sentinel's looks are all in it.
    """

    def __init__(self, model: Model) -> None:
        able = abilities_of(model)
        self._billed, self._price = able.billed, able.price
        self._calls, self._money = self._now()

    def document(self) -> dict[str, Any]:
        """As plain values; empty for a model that sends no calls."""
        calls, money = self._now()
        if calls is None or self._calls is None:
            return {}
        told: dict[str, Any] = {"calls": calls - self._calls}
        if self._price is not None:
            told |= {"money": str(money - self._money), "currency": self._price.currency}
        return told

    def __str__(self) -> str:
        """As the end of a sentence."""
        told = self.document()
        if not told:
            return ""
        money = "" if self._price is None else f" for {self._price.show(Decimal(told['money']))}"
        return f", {told['calls']} {'call' if told['calls'] == 1 else 'calls'}{money}"

    def _now(self) -> tuple[int | None, Decimal]:
        return (None, Decimal(0)) if self._billed is None else self._billed()
