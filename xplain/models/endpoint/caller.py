"""How often, how fast and how patiently an endpoint is asked; every attempt is bounded, paid from a budget, and kept.

Waiting: what ``Retry-After`` says, else ``uniform(0, min(longest, first * 2**attempt))`` ("full jitter": clients that
failed together do not come back together). The loop around the tries is ten lines; a package for it, such as tenacity,
would need as many to be told of the breaker, the rate, ``Retry-After`` and the account, so none is used.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime

from xplain.core.declaring.wording import option
from xplain.core.errors import BudgetError, ModelError, Piece, Unsafe, XplainError
from xplain.core.price import Account, Price
from xplain.models.endpoint.ledger import Entry, Ledger, now
from xplain.models.endpoint.outside import digits
from xplain.models.endpoint.secrets import Auth, heard, hide_parts
from xplain.models.endpoint.transport import Failure, Request, Response, Sends
from xplain.models.options import Patience

__all__ = ["Allowed", "Caller", "Patience", "TooLarge"]

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_NOT_DONE = {429, 503}  # the server says that it did not do the work
_EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Allowed:
    """How much may be asked; None for no limit.

    Args:
        rate: Calls per second.
        calls: Attempts that may leave, all in all.
        cost: Money that may be spent, all in all.
    """

    rate: float | None = None
    calls: int | None = None
    cost: Decimal | None = None


class TooLarge(Exception):
    """The server refuses so large a request (413): ask in smaller ones."""


class Caller:
    """Calls an endpoint with patience and within limits; may be used by several threads.

    Args:
        transport: Sends one request.
        auth: Makes the headers that prove who asks.
        patience: When to ask again.
        ledger: Where every attempt is written down.
        price: What a call costs, or None.
        allowed: How much may be asked, all in all.
    """

    def __init__(
        self,
        transport: Sends,
        auth: Auth,
        patience: Patience,
        ledger: Ledger,
        price: Price | None = None,
        allowed: Allowed | None = None,
    ) -> None:
        self._transport, self._auth, self._patience, self.ledger = transport, auth, patience, ledger
        allowed = allowed or Allowed()
        self._price, self._rate, self._max_calls, self._max_cost = price, allowed.rate, allowed.calls, allowed.cost
        self._lock = threading.Lock()
        self._next_slot = 0.0
        self._flying = 0  # calls that have left and are not in the ledger yet
        self._flying_cost = Decimal(0)
        self._failed = 0
        self._why = ""  # of the last failure
        self._closed_until = 0.0
        self._random = random.Random()
        self.sleep = time.sleep  # a test replaces it

    def call(self, request: Request, rows: int = 0, key: str = "", account: Account | None = None) -> Response:
        """The answer to a request.

        Args:
            request: What is sent.
            rows: Items in it, for the bill.
            key: Names the call's content to the server, which then may know a repeated one.
            account: Of the run that asks: every attempt is written into it, besides the ledger.

        Raises:
            ModelError: refused, or failed as often as patience allows.
            BudgetError: the limits of calls or money are reached.
            TooLarge: the request must be smaller.
            Unsafe: the server sends the caller elsewhere.
        """
        for attempt in range(1, self._patience.attempts + 1):
            self._check_breaker()
            self._wait_for_slot()
            response, why, wait = self._attempt(request, rows, key, attempt, account)
            if response is not None:
                return response
            if attempt < self._patience.attempts:
                self.sleep(self._pause(attempt) if wait is None else wait)
        raise ModelError(
            f"{request.method} {request.path} failed {self._patience.attempts} times, the last time: {why}."
        )

    def close(self) -> None:
        """Close connections and ledger."""
        self._transport.close()
        self.ledger.close()

    def _attempt(
        self, request: Request, rows: int, key: str, attempt: int, account: Account | None
    ) -> tuple[Response | None, str, float | None]:
        """One try: the response, or why not and how long the server asks to wait."""
        bill = self._price.per_row * rows + self._price.per_call if self._price is not None and rows else Decimal(0)
        headers = self._auth.headers()
        if key:
            headers["Idempotency-Key"] = key
        self._reserve(bill)
        began, started = now(), time.monotonic()
        response, failure, outcome, billed = None, None, "interrupted", True
        try:
            response = self._transport.send(request, headers)
            outcome, billed = ("ok", True) if response.status < 400 else ("refused", False)
        except Failure as error:
            failure, outcome, billed = error, hide_parts(str(error)), error.sent
        except XplainError:
            outcome, billed = "not sent", False
            raise
        finally:
            self._release(
                bill,
                account,
                Entry(
                    call=f"{request.method} {request.path}",
                    rows=rows,
                    attempt=attempt,
                    status=0 if response is None else response.status,
                    outcome=outcome,
                    sent=len(request.body),
                    received=0 if response is None else len(response.body),
                    seconds=time.monotonic() - started,
                    cost=bill if billed else Decimal(0),
                    request="" if response is None else _printable(response.headers.get("x-request-id", "")),
                    key=key,
                    time=began,
                ),
            )
        if failure is not None:
            why = hide_parts(str(failure))
            self._count(why)
            if not failure.retry or (failure.sent and not request.idempotent):
                raise ModelError(f"{request.method} {request.path}: {why}.", advice=failure.advice)
            return None, why, None
        assert response is not None
        return self._judged(request, response)

    def _judged(self, request: Request, response: Response) -> tuple[Response | None, str, float | None]:
        status = response.status
        if 200 <= status < 300:
            self._count("")
            return response, "", None
        if 300 <= status < 400:
            raise Unsafe(
                f"{request.method} {request.path}: the server sends the caller elsewhere (status {status}). Redirects "
                "are not followed, because secrets and data would go along; give the final URL."
            )
        if status == 413:
            raise TooLarge
        why = f"status {status}{self._said(response)}"
        self._count(why if status in _AGAIN else "")
        if status in (401, 403):
            hint: tuple[Piece, ...] = ("the secret was refused.",)
            if not self._auth:
                hint = ("give ", option("auth", "${VARIABLE}"), " with a variable that holds it.")
            raise ModelError(f"{request.method} {request.path}: {why}. The server wants proof of who asks: ", *hint)
        if status not in _AGAIN or not (request.idempotent or status in _NOT_DONE):
            raise ModelError(f"{request.method} {request.path}: {why}.")
        wait = _retry_after(response.headers.get("retry-after", ""))
        if wait is not None and wait > self._patience.longest:
            raise ModelError(
                f"{request.method} {request.path}: {why}. The server asks to wait {wait:.0f} s; at most "
                f"{self._patience.longest:.0f} s are waited. Try later: what was answered is kept if a cache was given."
            )
        return None, why, wait

    def _said(self, response: Response) -> str:
        """What the server said about an error, fit for a message: short, printable, without secrets."""
        text = heard(response.body[:20_000])
        try:
            said = json.loads(text)
            text = str(said["error"]) if isinstance(said, dict) and "error" in said else text
        except (ValueError, RecursionError):
            pass
        text = _printable(hide_parts(text)).strip()
        return f", {text[:_EXCERPT]!r}" if text else ""

    def _reserve(self, bill: Decimal) -> None:
        """Check the limits and count the call as leaving, in one step, so that threads cannot overspend together."""
        with self._lock:
            calls, cost = self.ledger.calls + self._flying, self.ledger.cost + self._flying_cost
            if self._max_calls is not None and calls >= self._max_calls:
                raise BudgetError(
                    f"{calls} calls have been made, and ",
                    option("max_calls", self._max_calls),
                    " allows no more. What was answered is kept if a cache was given.",
                )
            if self._max_cost is not None and self._price is not None and cost + bill > self._max_cost:
                raise BudgetError(
                    f"{self._price.show(cost)} has been spent, and the next call, for {self._price.show(bill)}, would "
                    f"pass ",
                    option("max_cost", python=self._price.show(self._max_cost), shell=self._price.show(self._max_cost)),
                    ". What was answered is kept if a cache was given.",
                )
            self._flying += 1
            self._flying_cost += bill

    def _release(self, bill: Decimal, account: Account | None, entry: Entry) -> None:
        with self._lock:
            self._flying -= 1
            self._flying_cost -= bill
            self.ledger.add(entry)
        if account is not None:
            account.add(entry.cost)

    def _wait_for_slot(self) -> None:
        if self._rate is None:
            return
        with self._lock:
            start = max(self._next_slot, time.monotonic())
            self._next_slot = start + 1.0 / self._rate
        if (delay := start - time.monotonic()) > 0:
            self.sleep(delay)

    def _pause(self, attempt: int) -> float:
        return self._random.uniform(0.0, min(self._patience.longest, self._patience.first * 2.0**attempt))

    def _count(self, why: str) -> None:
        """Count a call that failed, or, without a reason, one that was answered."""
        with self._lock:
            self._failed, self._why = (self._failed + 1, why) if why else (0, "")
            if self._failed >= self._patience.breaker:
                self._closed_until = time.monotonic() + self._patience.cooling

    def _check_breaker(self) -> None:
        with self._lock:
            left = self._closed_until - time.monotonic()
            if self._failed >= self._patience.breaker and left > 0:
                raise ModelError(
                    f"The endpoint failed {self._failed} times in a row, the last time: {self._why}. Nothing is sent "
                    f"for another {left:.0f} s."
                )


def _retry_after(text: str) -> float | None:
    """Seconds that a ``Retry-After`` header asks for, given as seconds or as a date; None where it says nothing."""
    if (seconds := digits(text)) is not None:
        return float(seconds)
    try:
        when = parsedate_to_datetime(text)
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError, IndexError):  # of dates that are none
        return None


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:2000]
