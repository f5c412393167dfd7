"""A connection that does not say what it wants, or does not take what it asked for, is closed: it holds nothing.

uvicorn bounds the time between two requests alone. Here the head of every request has to come within ``_SECONDS``, and
an answer has to be taken bit by bit: where nothing of it was in ``_STANDING`` seconds, the connection ends. Bytes that
are no request are told so as all else is told, and no request for another protocol fills the log.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Patient"]

_SECONDS = 10.0
_STANDING = 30.0
_NO_REQUEST = (
    "These bytes are no HTTP/1.1 request: its first line, a header, or the length of its body or of a chunk is "
    "damaged, contradicts itself, or is too long (64 KiB of headers are read)."
)


class Patient(H11Protocol):
    """HTTP/1.1 with bounds on the time that a head takes to come, and an answer takes to go."""

    _head: asyncio.TimerHandle | None = None
    _taken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """A head has come, whole or in part: how long the rest may take counts from its first byte."""
        super().data_received(data)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        for timer in (self._head, self._taken):
            if timer is not None:
                timer.cancel()
        self._head = self._taken = None
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say that these bytes are no request, unless an answer is on its way or was given: then end it."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            told = json.dumps({"error": _NO_REQUEST}).encode()
            heads = [("content-type", "application/json"), ("content-length", str(len(told)))]
            heads += [("connection", "close"), ("x-content-type-options", "nosniff")]
            for event in (h11.Response(status_code=400, headers=heads), h11.Data(data=told), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event))
        self.transport.close()

    def _unsupported_upgrade_warning(self) -> None:
        """It is answered as it would be without."""

    def pause_writing(self) -> None:
        """The other side takes the answer slower than it is made."""
        super().pause_writing()
        self._taken = self._taken or self.loop.call_later(_STANDING, self._look, self._left())

    def resume_writing(self) -> None:
        """It was taken."""
        super().resume_writing()
        if self._taken is not None:
            self._taken.cancel()
            self._taken = None

    def _wait_for_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            if self._head is not None:
                self._head.cancel()
                self._head = None
        elif self._head is None:
            self._head = self.loop.call_later(_SECONDS, self.transport.close)

    def _left(self) -> int:
        size: int = self.transport.get_write_buffer_size()
        return size

    def _look(self, before: int) -> None:
        """End a connection of which nothing was taken since the last look."""
        now = self._left()
        if now >= before:
            self.transport.abort()
        else:
            self._taken = self.loop.call_later(_STANDING, self._look, now)
