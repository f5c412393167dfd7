"""What stands before every route: whose request it is, where it comes from, how much and how long it may be.

| danger | what is done |
|---|---|
| another site's page asks through the reader's browser, also by DNS rebinding | Host must be known, Origin the same |
| anybody on the network | a token in ``Authorization: Bearer``, compared in constant time |
| bodies without end | a limit on bytes, before and while they are read; a limit on the time they take |
| what is answered is taken for a page | ``nosniff``, a strict policy for content, nothing kept by caches |
| texts of a request in a log | method, path, status and sizes alone; no body, no query, no token |
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xplain.serve.figures import Figures

__all__ = ["Guard", "Refused", "Rules", "Token"]

_LOG = logging.getLogger("xplain.serve")
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:@/]*)(?::[0-9]{0,5})?")
_OPEN = ("/v2/health/", "/static/")
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self' blob:; style-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_ALWAYS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(slots=True)
class Token:
    """Who may ask, and how much.

    Args:
        name: What logs call its owner.
        secret: The token; in no log and no message.
        most: Evaluations and sweeps that may be asked for in all, or None.
        spent: Those that were asked for.
    """

    name: str
    secret: str = field(repr=False)
    most: int | None = None
    spent: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What a request must keep to.

    Args:
        hosts: Names that the Host header may have, without the port; addresses are known in any case.
        tokens: Who may ask; anybody where there are none.
        most_bytes: Bytes of a body.
        body_seconds: Seconds that a body may take to arrive.
    """

    hosts: frozenset[str]
    tokens: tuple[Token, ...] = ()
    most_bytes: int = 64 * 2**20
    body_seconds: float = 30.0

    def knows(self, host: str) -> bool:
        """Whether a Host is one of ours: a name that was given, or an address, which no other site can make its own.

        Who turns a name of his own to this machine (DNS rebinding) has that name as the Host, never an address.
        """
        if host in self.hosts:
            return True
        try:
            ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return False
        return True


class Refused(Exception):
    """A request that is turned away.

    Args:
        status: Of the answer.
        text: What the caller is told.
        reason: What it is counted under.
    """

    def __init__(self, status: int, text: str, reason: str) -> None:
        super().__init__(text)
        self.status, self.text, self.reason = status, text, reason


class Guard:
    """The application behind the rules; logs one line of JSON for each request."""

    def __init__(self, app: ASGIApp, rules: Rules, figures: Figures) -> None:
        self._app, self._rules, self._figures = app, rules, figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or turn it away."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, began = Headers(scope=scope), time.monotonic()
        given = headers.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        seen = {"status": 0, "bytes": 0}

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
                answer = MutableHeaders(scope=message)
                for name, value in (_ALWAYS | {"x-request-id": request_id}).items():
                    answer[name] = value
                answer.setdefault("cache-control", "no-store")
            elif message["type"] == "http.response.body":
                seen["bytes"] += len(message.get("body", b""))
            await send(message)

        owner = ""
        try:
            token = self._admit(scope, headers)
            owner = "" if token is None else token.name
            scope.setdefault("state", {}).update(token=token, id=request_id)
            await self._app(scope, self._measured(headers, receive), dressed)
        except Refused as error:  # before the application: what is refused while it reads, it answers itself
            self._figures.rejected.labels(error.reason).inc()
            more = {401: {"www-authenticate": "Bearer"}, 400: {"connection": "close"}}.get(error.status, {})
            await JSONResponse({"error": error.text}, error.status, more)(scope, receive, dressed)
        finally:
            _LOG.info(json.dumps(self._line(scope, request_id, owner, seen, time.monotonic() - began)))

    def _line(
        self, scope: Scope, request_id: str, owner: str, seen: Mapping[str, int], seconds: float
    ) -> dict[str, object]:
        return {
            "id": request_id,
            "method": scope["method"][:40],
            "path": scope["path"][:200],
            "status": seen["status"],
            "bytes": seen["bytes"],
            "seconds": round(seconds, 4),
            **({"token": owner} if owner else {}),
        }

    def _admit(self, scope: Scope, headers: Headers) -> Token | None:
        """Whose request it is.

        Raises:
            Refused: it is not let in.
        """
        host = headers.get("host", "")
        if not self._rules.knows(_bare(host)):
            raise Refused(421, "This server does not answer to that Host. --name NAME allows it.", "host")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise Refused(403, "Pages of other origins may not ask.", "origin")
        if headers.get("sec-fetch-site") == "cross-site":
            raise Refused(403, "Pages of other sites may not ask.", "origin")
        if "transfer-encoding" in headers and "content-length" in headers:  # whose end two readers see in two places
            raise Refused(400, "A body's length is told once: by Content-Length or by Transfer-Encoding.", "length")
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit():
            raise Refused(400, "Content-Length is no number.", "length")
        if int(length[:20]) > self._rules.most_bytes:
            raise self._too_much()
        coded = headers.get("content-encoding", "identity").lower()
        if coded not in ("", "identity"):
            raise Refused(415, "Bodies are taken as they are, not compressed: leave Content-Encoding out.", "type")
        path = scope["path"]
        if not self._rules.tokens or path == "/" or path.startswith(_OPEN):
            return None
        scheme, _, secret = headers.get("authorization", "").partition(" ")
        found = None
        for token in self._rules.tokens:  # all of them, so that time does not tell which
            same = hmac.compare_digest(token.secret.encode(), secret.strip().encode())
            found = token if same and scheme.lower() == "bearer" else found
        if found is None:
            raise Refused(401, "A token is needed: Authorization: Bearer TOKEN.", "token")
        return found

    def _measured(self, headers: Headers, receive: Receive) -> Receive:
        """What is received, as long as it is not too much and does not take too long."""
        got, until, whole = 0, time.monotonic() + self._rules.body_seconds, False

        async def measured() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.01, until - time.monotonic()))
            except TimeoutError:
                raise Refused(408, "The body did not arrive in time.", "slow") from None
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self._rules.most_bytes:
                raise self._too_much()
            return message

        return measured

    def _too_much(self) -> Refused:
        return Refused(413, f"A body may have {self._rules.most_bytes} bytes here. Send fewer items at once.", "size")


def _bare(host: str) -> str:
    """A Host without its port, in lower case; empty where it is no name or address with at most a port."""
    found = _HOST.fullmatch(host.lower())
    return "" if found is None else found[1]
