"""A model behind a wire: it answers ``Score``, in pieces, as the answers arrive."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities, Piece
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CapabilityError, ModelError
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline
from xplain.core.price import Price
from xplain.core.query import Answer, Query, Score
from xplain.core.target import SCORES
from xplain.models.endpoint.caller import Caller, TooLarge
from xplain.models.endpoint.codec import Codec
from xplain.models.endpoint.ledger import Ledger
from xplain.models.endpoint.transport import Request
from xplain.models.reading import as_float32, write_rows

__all__ = ["Endpoint", "RequestSize"]

_LATE = 256  # answers to interrupted questions that are kept until somebody asks for them


@dataclass(frozen=True, slots=True)
class RequestSize:
    """How large a request may be.

    Args:
        rows: Items at most; halved when the server calls a request too large.
        most_bytes: Bytes of items at most.
        fixed: Items that the model insists on; a last batch is filled up by repeating its last item.
    """

    rows: int
    most_bytes: int
    fixed: int | None = None


class Endpoint:
    """Answers ``Score`` by asking a server.

    Args:
        outline: What is known of the model.
        codec: How the server is spoken to.
        caller: How patiently.
        price: What it costs, or None.
        size: How large a request may be.
        concurrency: Requests under way at a time.
    """

    answers: frozenset[type[Any]] = frozenset({Score})

    def __init__(
        self,
        outline: Outline,
        codec: Codec,
        caller: Caller,
        *,
        price: Price | None,
        size: RequestSize,
        concurrency: int,
    ) -> None:
        self.outline, self.price = outline, price
        self._codec, self._caller = codec, caller
        self._rows, self._bytes, self._fixed, self._concurrency = size.rows, size.most_bytes, size.fixed, concurrency
        self._late: list[tuple[Score, list[Piece]]] = []

    @property
    def abilities(self) -> Abilities:
        """Every answer of its costs, so it hands over each as it comes and writes down what it cost."""
        return Abilities(
            stream=self.stream,
            late=self.late,
            price=self.price,
            billed=lambda: (self.calls_made, self.spent),
            rows_per_request=self.rows_per_request,
            trouble=lambda: self.trouble,
            close=self.close,
        )

    @property
    def ledger(self) -> Ledger:
        """Every call that was made."""
        return self._caller.ledger

    @property
    def trouble(self) -> str:
        """Why some calls are not in the ledger's file; empty where all are."""
        return self.ledger.trouble

    @property
    def calls_made(self) -> int:
        """Requests that left, repeated ones included."""
        return self.ledger.calls

    @property
    def spent(self) -> Decimal:
        """Money that the calls cost, repeated ones included."""
        return self.ledger.cost

    def answer(self, query: Query) -> Answer:
        """Scores ``[R, T]`` of the rows asked, asked afresh: a server that knows repeated calls sees a new one.

        Raises:
            CapabilityError: another question than ``Score``, or a target inside the model.
            ModelError: the endpoint fails.
            NonFinite: it answers NaN or infinity.
        """
        if not isinstance(query, Score):
            raise CapabilityError(
                f"{self.outline.source} is an endpoint and answers only Score, not {type(query).__name__}."
            )
        start, stop = query.rows
        rows: Array | None = None
        for (first, last), piece in self._stream(query, secrets.token_hex(8)):
            rows = np.empty((stop - start, piece.shape[1])) if rows is None else rows
            if piece.shape[1] != rows.shape[1]:
                counts = f"{rows.shape[1]} scores to some rows and {piece.shape[1]} to others"
                raise ModelError(f"{self.outline.source} answered {counts}.")
            rows[first - start : last - start] = piece
        return np.zeros((0, 1)) if rows is None else rows

    def stream(self, query: Score) -> Iterator[Piece]:
        """The same, piece by piece in the order of arrival; pieces that arrived before an error are yielded first.

        Equal requests carry equal ``Idempotency-Key`` headers: a server that knows them does not bill twice what was
        under way when a client died.
        """
        return self._stream(query, "")

    def late(self, query: Score) -> list[Piece]:
        """What arrived for this question after its stream was closed, once."""
        taken = [pieces for asked, pieces in self._late if asked.x is query.x and asked.edits is query.edits]
        self._late = [one for one in self._late if one[0].x is not query.x or one[0].edits is not query.edits]
        return [piece for pieces in taken for piece in pieces]

    def close(self) -> None:
        """Close connections and ledger."""
        self._caller.close()

    def __repr__(self) -> str:
        return f"<Endpoint {self.outline.source}: {counted(self.ledger.calls, 'call')}>"

    def _stream(self, query: Score, salt: str) -> Iterator[Piece]:
        if query.at != "input" or query.target.tensors not in ((SCORES,), ()):
            raise CapabilityError(
                f"{self.outline.source} is an endpoint; only its scores can be read, nothing inside it."
            )
        start, stop = query.rows
        size = self.rows_per_request(query.x)
        parts = iter([(k, min(stop, k + size)) for k in range(start, stop, size)])
        untaken: list[Future[list[Piece]]] = []  # under way, or answered and not handed over yet
        failure: BaseException | None = None
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="xplain-endpoint")
        try:
            while True:
                while failure is None and len(untaken) < self._concurrency and (part := next(parts, None)) is not None:
                    untaken.append(pool.submit(self._ask, query, part, salt))
                if not untaken:
                    break
                wait(untaken, return_when=FIRST_COMPLETED)
                for future in [one for one in untaken if one.done()]:
                    if (error := future.exception()) is not None:
                        failure = failure or error
                    else:
                        yield from future.result()
                    untaken.remove(future)
        except BaseException:  # whoever asked was interrupted; what was on its way is paid, and is kept for ``late``
            pool.shutdown(wait=True, cancel_futures=True)
            come = [one.result() for one in untaken if not one.cancelled() and one.exception() is None]
            self._late = [*self._late[-_LATE:], *((query, pieces) for pieces in come)]
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if failure is not None:
            raise failure

    def _ask(self, query: Score, part: tuple[int, int], salt: str) -> list[Piece]:
        """One request, or two halves of it where the server finds it too large."""
        rows = self._filled(query, part)
        count = len(rows)
        if self._fixed is not None and count < self._fixed:
            rows = np.concatenate([rows, np.repeat(rows[-1:], self._fixed - count, axis=0)])
        request = self._codec.request(rows)
        try:
            response = self._caller.call(request, len(rows), _key(request, salt), query.account)
        except TooLarge:
            if count == 1 or self._fixed is not None:
                raise ModelError(
                    f"{self.outline.source} refuses a request of {len(request.body)} bytes for {count} item(s) as too "
                    "large. Send smaller items."
                ) from None
            self._rows = min(self._rows, count // 2)
            middle = part[0] + count // 2
            return self._ask(query, (part[0], middle), salt) + self._ask(query, (middle, part[1]), salt)
        scores = self._codec.scores(response, len(rows))[:count]
        items = np.arange(*part) // query.edits.count
        return [(part, query.target.read({SCORES: scores}, items).reshape(count, -1))]

    def _filled(self, query: Score, part: tuple[int, int]) -> Array:
        if isinstance(query.edits, Untouched):
            return query.x[part[0] : part[1]]
        out = np.empty((part[1] - part[0], *query.x.shape[1:]), dtype=np.float32)
        asked = replace(query, x=as_float32(query.x, self.outline.source))
        write_rows(asked, *part, out, query.layout_in(self.outline), threads=1)
        return out

    def rows_per_request(self, x: Array) -> int:
        """Rows of items like ``x`` that share a request: as many as the limits of rows and of bytes leave."""
        if self._fixed is not None:
            return self._fixed
        item = max(1, x[:1].nbytes)
        return max(1, min(self._rows, self._bytes // item))


def _key(request: Request, salt: str) -> str:
    sha = hashlib.sha256(f"{request.method} {request.path} {salt}\n".encode())
    sha.update(request.body)
    return sha.hexdigest()
