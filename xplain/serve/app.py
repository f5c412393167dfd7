"""The whole application: models, desk, guard, routes; and how it is run until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from socket import socket

import uvicorn
from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from xplain.core.declaring.wording import in_python, option
from xplain.core.errors import BudgetError, UsageError, XplainError
from xplain.serve import pages, plain, v1, v2
from xplain.serve.examples import examples_in
from xplain.serve.figures import Figures
from xplain.serve.guard import Guard, Refused, Rules, Token
from xplain.serve.house import House
from xplain.serve.job import Full, Late, Stopped
from xplain.serve.patience import Patient
from xplain.serve.served import Served

__all__ = ["Options", "application", "run", "server_of"]

_HERE = ("127.0.0.1", "localhost", "[::1]")
_READERS = 2
"""Requests that are read and checked at once. A photograph of 8 megapixels takes 60 MiB while it is decoded, so that 64
callers took 3.8 GiB where each was read as it came (Starlette's 40 threads), and were answered no sooner."""

_TO_TAKE = 5
"""Seconds after the grace in which callers may take what they are handed back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How it is served.

    Args:
        host: Address to listen at.
        port: Port to listen at; 0 for any that is free.
        names: Names besides that the Host header may have, such as that of a proxy.
        tokens: Who may ask. Needed where others than this machine can.
        waiting: Requests that may wait.
        together: Items that are asked about at once.
        most_bytes: Bytes of a body.
        most_seconds: The longest that a request may take.
        grace: Seconds to finish what waits when it is told to stop.
        examples: A folder of pictures that the page offers.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    names: tuple[str, ...] = ()
    tokens: tuple[Token, ...] = ()
    waiting: int = 64
    together: int = 16
    most_bytes: int = 64 * 2**20
    most_seconds: float = 300.0
    grace: float = 30.0
    examples: str | None = None

    def __post_init__(self) -> None:
        if self.host not in _HERE and self.host != "::1" and not self.tokens:
            raise UsageError(
                f"{self.host} lets other machines ask, and there is no token. Give ",
                option("token", "${XPLAIN_TOKEN}"),
                ", or serve 127.0.0.1.",
            )


def application(models: Sequence[Served], options: Options | None = None) -> Starlette:
    """An ASGI application that serves some models.

    Raises:
        UsageError: no model, or two of one name.
    """
    options = options or Options()
    names = [one.name for one in models]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"Models are served under names of their own; got {', '.join(names) or 'none'}. Use NAME=FILE."
        )
    figures = Figures()
    house = House(
        {one.name: one for one in models},
        figures,
        waiting=options.waiting,
        together=options.together,
        most_seconds=options.most_seconds,
    )

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _READERS
        house.desk.open()
        warming = asyncio.create_task(house.warm())
        yield
        warming.cancel()
        await house.desk.close(options.grace)

    async def refused(request: Request, error: Exception) -> Response:
        return _of_http(error, request) if isinstance(error, HTTPException) else _told(error, house)

    rules = Rules(frozenset((*_HERE, options.host.lower(), *(n.lower() for n in options.names))), options.tokens)
    rules = Rules(rules.hosts, rules.tokens, options.most_bytes)
    handled = (XplainError, Refused, Full, Late, Stopped, HTTPException, ClientDisconnect)
    app = Starlette(
        routes=[
            *v1.routes(house),
            *v2.routes(house),
            *plain.routes(house),
            *pages.routes(house, examples_in(options.examples)),
        ],
        middleware=[Middleware(Guard, rules=rules, figures=figures)],
        exception_handlers=dict.fromkeys(handled, refused) | {500: _failed},
        lifespan=life,
    )
    app.state.house = house
    return app


def _told(error: Exception, house: House) -> Response:
    """An error as its caller sees it."""
    rejected = house.figures.rejected
    if isinstance(error, Full):
        rejected.labels(error.reason).inc()
        status = 429 if error.reason == "queue" else 503
        return JSONResponse({"error": error.text}, status, {"Retry-After": str(error.seconds)})
    if isinstance(error, Late):
        rejected.labels("deadline").inc()
        return JSONResponse({"error": "Nothing was known by the deadline. Allow more time, or ask for less."}, 504)
    if isinstance(error, Refused):
        rejected.labels(error.reason).inc()
        return JSONResponse({"error": error.text}, error.status)
    if isinstance(error, XplainError):
        status = 429 if isinstance(error, BudgetError) else 400
        detail = house.without_paths(error.fields(in_python))
        return JSONResponse({"error": detail["message"], "detail": detail}, status)
    return JSONResponse({"error": "The request was cancelled."}, 499)


def _of_http(error: HTTPException, request: Request) -> Response:
    """What no route answers: an address that is none, or a method that an address does not take."""
    headers = dict(error.headers or {})
    text = {
        404: f"There is no address {request.url.path[:200]!r} here. /openapi.json lists the plain ones.",
        405: f"{request.method[:40]} is not answered here; accepted: {headers.get('Allow', 'another method')}.",
    }.get(error.status_code, error.detail)
    return JSONResponse({"error": text}, error.status_code, headers)


async def _failed(_: Request, error: Exception) -> Response:
    logging.getLogger("xplain.serve").error("a request failed in the server", exc_info=error)
    return JSONResponse({"error": "The request failed in the server."}, 500)


def run(models: Sequence[Served], options: Options, listening: Callable[[str], None] = lambda _: None) -> None:
    """Serve until SIGTERM or Ctrl-C; what waits then is finished within the grace, the rest handed back.

    Args:
        models: What is served.
        options: How.
        listening: Told the address once connections are taken there.

    Raises:
        UsageError: the address cannot be listened at.
    """
    _log()
    made = application(models, options)
    made.state.house.warmed = _settle
    try:
        with suppress(KeyboardInterrupt):  # which uvicorn raises once more when all is closed
            server_of(made, options, listening).run()
    except SystemExit:
        raise UsageError(
            f"{options.host}:{options.port} cannot be listened at; is another server there? Give another ",
            option("port"),
            ".",
        ) from None


def server_of(app: Starlette, options: Options, listening: Callable[[str], None] = lambda _: None) -> uvicorn.Server:
    """What runs an application of ours: ``run()`` until it is told to stop."""
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        http=Patient,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=1024,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=math.ceil(options.grace) + _TO_TAKE,
    )
    return _Server(config, partial(app.state.house.desk.close, options.grace), listening)


def _settle() -> None:
    """Keep what was loaded out of the garbage collector's sight.

    Modules, graphs and models are there to stay; to look through them all took 50 to 90 ms, three times in half a
    minute of 55 requests a second, and nobody was answered meanwhile.
    """
    gc.collect()
    gc.freeze()


class _Server(uvicorn.Server):
    """Says where it listens, of port 0 only the system knows which it has become; hands back before it hangs up.

    uvicorn itself waits for its connections, and only then tells the application to close: what is still being answered
    at the end of the grace would be cut off without a word.
    """

    def __init__(
        self, config: uvicorn.Config, close: Callable[[], Awaitable[None]], listening: Callable[[str], None]
    ) -> None:
        super().__init__(config)
        self._close, self._listening = close, listening

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = next(iter(self.servers)).sockets[0].getsockname()[:2]
        self._listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        """Finish what waits within the grace, or say that it was not; then close the connections."""
        closing = asyncio.ensure_future(self._close())
        await super().shutdown(sockets)
        closing.cancel()  # over by now, unless a second Ctrl-C ended the waiting


class _StandardError(logging.Handler):
    """Lines to what is standard error when they come: who replaces it, as a test does, gets them, and may close it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=sys.stderr)
        except Exception:
            self.handleError(record)


def _log() -> None:
    """One line of JSON per request on standard error."""
    log = logging.getLogger("xplain.serve")
    if not log.handlers:
        handler = _StandardError()
        handler.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.INFO)
