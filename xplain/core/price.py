"""What a model evaluation costs in money, for models that are billed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any

from xplain.core.errors import UsageError, unknown

__all__ = ["Account", "Price", "money"]

_MOST = Decimal(10) ** 12


@dataclass(frozen=True, slots=True)
class Price:
    """The tariff of a model: ``bill(R rows) = R * per_row + ceil(R / rows_per_call) * per_call``.

    Args:
        per_row: Money for one evaluation of one item.
        per_call: Money for one request, whatever it holds.
        rows_per_call: Items that share a request.
        currency: Its name, for a person.
    """

    per_row: Decimal = Decimal(0)
    per_call: Decimal = Decimal(0)
    rows_per_call: int = 1
    currency: str = ""

    def bill(self, rows: int) -> Decimal:
        """Money for ``rows`` evaluations asked one after another, nothing retried."""
        return rows * self.per_row + self.calls(rows) * self.per_call

    def calls(self, rows: int) -> int:
        """Requests that ``rows`` evaluations need."""
        return -(-rows // self.rows_per_call)

    def show(self, amount: Decimal) -> str:
        """An amount with its currency, for a person."""
        return f"{amount.normalize():f} {self.currency}".rstrip()

    @classmethod
    def read(cls, given: Any, rows_per_call: int = 1) -> Price | None:
        """A price from a price, a number (per row), a mapping with the fields of this class, or None.

        Raises:
            UsageError: a negative or unreadable amount, or an unknown field.
        """
        if given is None or isinstance(given, Price):
            return given
        if not isinstance(given, Mapping):
            return cls(per_row=money(given, "price"), rows_per_call=rows_per_call)
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise unknown("part of a price:", str(name), known)
        return cls(
            per_row=money(given.get("per_row", 0), "price per_row"),
            per_call=money(given.get("per_call", 0), "price per_call"),
            rows_per_call=_items(given.get("rows_per_call", rows_per_call)),
            currency=str(given.get("currency", "")),
        )


class Account:
    """Requests that left for one run, repeated ones included, and what they cost; any thread may write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.calls: int = 0
        self.spent: Decimal = Decimal(0)

    def add(self, cost: Decimal) -> None:
        """Write one request down."""
        with self._lock:
            self.calls += 1
            self.spent += cost


def _items(given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 1:
        raise UsageError(f"price rows_per_call is {given!r}; accepted: a whole number of at least 1.")
    return given


def money(given: Any, what: str) -> Decimal:
    """An amount of money, exactly as written.

    Raises:
        UsageError: it is no number, or negative.
    """
    try:
        amount = Decimal(str(given))
    except (InvalidOperation, ValueError):
        amount = Decimal("NaN")
    if isinstance(given, bool) or not amount.is_finite() or not 0 <= amount <= _MOST:
        raise UsageError(f"{what} is {str(given)[:80]!r}; accepted: an amount of money from 0 to 10^12, such as 0.002.")
    return amount
