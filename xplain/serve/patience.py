"""A connection that does not say what it wants is closed: half-open sockets hold nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["Patient"]

_SECONDS = 10.0


class Patient(H11Protocol):
    """HTTP/1.1 that waits a bounded time for the head of a first request; uvicorn bounds only the time between two."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait."""
        super().connection_made(transport)
        self._head = self.loop.call_later(_SECONDS, self._gave_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        if self._head is not None:
            self._head.cancel()
        super().connection_lost(exc)

    def _gave_up(self) -> None:
        begun: Any = self.cycle  # which uvicorn leaves None until a request's head has come
        if begun is None:
            self.transport.close()
