"""What may still be spent: model evaluations, and the money they cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from xplain.core.declaring.wording import named, option
from xplain.core.errors import BudgetError, UsageError
from xplain.core.price import Price, money

__all__ = ["Budget"]

_LESS = "Allow more, or ask for less: fewer samples, a larger stride, fewer items."


class Budget:
    """Counts model evaluations and their price, and refuses those that are not paid for.

    Args:
        most: Evaluations allowed, or None for no limit.
        max_cost: Money allowed, or None for no limit.
        whole: The budget that this one is a share of; what is spent here is spent there too.
    """

    def __init__(self, most: int | None = None, max_cost: Any = None, whole: Budget | None = None) -> None:
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise UsageError(
                option="max_queries", got=most, accepted="a whole number of at least 1, or None for no limit"
            )
        self.most, self._whole = most, whole
        self.max_cost = None if max_cost is None else money(max_cost, "max_cost")
        self.spent = 0
        self.cost = Decimal(0)

    @property
    def left(self) -> int | None:
        """Evaluations left, or None for no limit."""
        return None if self.most is None else self.most - self.spent

    def affordable(self, price: Price | None = None) -> int | None:
        """Evaluations that can still be paid at ``price``, or None for no limit."""
        if self._whole is not None:
            limits = [n for n in (self.left, self._whole.affordable(price)) if n is not None]
            return min(limits) if limits else None
        if self.max_cost is None or price is None:
            return self.left
        money_left, low, high = self.max_cost - self.cost, 0, 1
        while high < 2**40 and price.bill(high) <= money_left:
            low, high = high, 2 * high
        while high - low > 1:  # the bill only grows, so the last payable number is found by halving
            middle = (low + high) // 2
            low, high = (middle, high) if price.bill(middle) <= money_left else (low, middle)
        return low if self.left is None else min(low, self.left)

    def require(self, wanted: int, price: Price | None = None) -> None:
        """Check that ``wanted`` evaluations at ``price`` can be paid, before the first of them is asked.

        Raises:
            BudgetError: they cannot; nothing was spent on them.
            UsageError: money is limited, but the model has no price.
        """
        if self.most is not None and self.spent + wanted > self.most:
            raise BudgetError(
                f"The next step needs {wanted} model evaluations, but {self.most - self.spent} of ",
                option("max_queries", self.most),
                f" are left ({self.spent} spent). {_LESS}",
                left=self.affordable(price) or 0,
            )
        if self._whole is not None:
            self._whole.require(wanted, price)
        if self.max_cost is None or wanted == 0:
            return
        if price is None:
            raise UsageError(
                named("max_cost"),
                " limits money, but this model has no price. Say what an evaluation costs: ",
                option("price", 0.002, of="load"),
                ", or limit evaluations with ",
                option("max_queries"),
                ".",
            )
        bill = price.bill(wanted)
        if self.cost + bill > self.max_cost:
            raise BudgetError(
                f"The next step needs {wanted} model evaluations for {price.show(bill)}, but "
                f"{price.show(max(Decimal(0), self.max_cost - self.cost))} of ",
                option("max_cost", python=price.show(self.max_cost), shell=price.show(self.max_cost)),
                f" are left ({price.show(self.cost)} spent). {_LESS}",
                left=self.affordable(price) or 0,
            )

    def spend(self, count: int, cost: Decimal = Decimal(0)) -> None:
        """Count ``count`` evaluations, and the money they cost, as spent.

        Raises:
            BudgetError: retries have made them dearer than the budget allows; nothing more may be asked.
        """
        self.spent += count
        self.cost += cost
        if self._whole is not None:
            self._whole.spend(count, cost)
        if self.max_cost is not None and self.cost > self.max_cost:
            raise BudgetError(
                f"{self.cost} was spent, above ",
                option("max_cost", self.max_cost, python=f"{self.max_cost}"),
                ": calls that were asked again are billed again. "
                "What was answered is kept if a cache was given; see the ledger for the calls that failed.",
            )
