"""What was spent on an explanation: counted by the engine, stated by every result."""

from __future__ import annotations

from dataclasses import dataclass

from xplain.core.keeping.plain import counted


@dataclass(frozen=True, slots=True)
class Cost:
    """What an explanation cost: model evaluations of single items, reverse sweeps, answers reused, seconds, money.

    ``calls`` are the requests that an endpoint was sent, repeated ones included; ``money`` is what all of them cost.
    """

    queries: int = 0
    sweeps: int = 0
    reused: int = 0
    seconds: float = 0.0
    money: float = 0.0
    currency: str = ""
    calls: int = 0

    def __add__(self, other: Cost) -> Cost:
        numbers = ("queries", "sweeps", "reused", "seconds", "money", "calls")
        sums = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        return Cost(**sums, currency=self.currency or other.currency)

    def since(self, before: Cost) -> Cost:
        """What was spent after ``before`` had been."""
        numbers = ("queries", "sweeps", "reused", "seconds", "money", "calls")
        left = {name: getattr(self, name) - getattr(before, name) for name in numbers}
        return Cost(**left, currency=self.currency)

    @property
    def asked(self) -> str:
        """Evaluations and sweeps in words: ``1 query, 2 sweeps``."""
        return f"{counted(self.queries, 'query', 'queries')}, {counted(self.sweeps, 'sweep')}"

    def share(self, n: int, count: int) -> Cost:
        """What item ``n`` of ``count`` bears; whole numbers are dealt out so that all shares sum to this cost."""
        whole = {
            name: getattr(self, name) * (n + 1) // count - getattr(self, name) * n // count
            for name in ("queries", "sweeps", "reused", "calls")
        }
        return Cost(**whole, seconds=self.seconds / count, money=self.money / count, currency=self.currency)
