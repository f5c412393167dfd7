"""One request out, one answer in: bounded in time and size, to checked addresses, no redirects, no proxies."""

from __future__ import annotations

import ssl
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from xplain.core.declaring.wording import named, option
from xplain.core.errors import MissingDependency, Piece, UsageError
from xplain.models.endpoint.address import Address, resolve
from xplain.models.endpoint.outside import digits
from xplain.models.endpoint.secrets import heard, hush

try:
    import httpcore
    import httpx
except ImportError as error:  # pragma: no cover - the message is what matters
    raise MissingDependency("Endpoints need httpx: pip install 'xplain[endpoint]'.") from error

if TYPE_CHECKING:
    from httpcore import NetworkStream

hush("httpcore.connection", "httpcore.http11", "httpcore.http2", "httpcore.proxy", "httpcore.socks", "httpx")

__all__ = ["Failure", "Request", "Response", "Sends", "Timeouts", "Transport"]


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, without the headers that prove who asks.

    Args:
        method: ``GET`` or ``POST``.
        path: Path and query on the endpoint's host.
        headers: Headers, no secrets.
        body: Body.
        idempotent: Asking twice does no more than asking once, so a lost answer may be asked for again.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    idempotent: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """What came back; header names in lower case, their values without secrets; the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds that may pass: until connected, between two bytes, and from the first byte out to the last byte in."""

    connect: float = 10.0
    read: float = 60.0
    total: float = 300.0

    @classmethod
    def given(cls, value: Any) -> Timeouts:
        """From None, one number (the total), or a mapping with the fields of this class.

        Raises:
            UsageError: anything else, or a number that is not above 0.
        """
        if value is None:
            return cls()
        if isinstance(value, Timeouts):
            return value
        try:
            made = cls(**value) if isinstance(value, Mapping) else cls(total=float(value))
            if all(0 < seconds <= 1e6 for seconds in (made.connect, made.read, made.total)):
                return made
        except (TypeError, ValueError):
            pass
        raise UsageError(
            option="timeout",
            got=value,
            accepted="seconds in all, or a mapping of connect, read and total, each above 0",
        )


class Failure(Exception):
    """No answer came. ``sent`` is True when the server may have done the work, and billed it, all the same."""

    def __init__(self, why: str, *, sent: bool, retry: bool = True, advice: tuple[Piece, ...] = ()) -> None:
        super().__init__(why)
        self.sent, self.retry, self.advice = sent, retry, advice


class Sends(Protocol):
    """Carries one request to the server and its answer back."""

    def send(self, request: Request, secret_headers: Mapping[str, str]) -> Response:
        """One request, once; raises ``Failure`` where no whole answer came."""

    def close(self) -> None:
        """Close all connections."""


class Transport:
    """Sends requests to one address.

    Args:
        address: The only host that is ever connected to.
        timeouts: Bounds in time.
        max_response: Bytes of an answer beyond which it is refused.
        connections: Connections kept open.
        ca: File of further certificates to trust, for a company's own authority; TLS is always verified.
    """

    def __init__(
        self, address: Address, timeouts: Timeouts, max_response: int, connections: int, ca: str | None = None
    ) -> None:
        self._address, self._timeouts, self._max = address, timeouts, max_response
        self._backend = _Guarded(address)
        trust = _trust(ca) if address.scheme == "https" else None
        pool = httpcore.ConnectionPool(
            ssl_context=trust, max_connections=connections, network_backend=self._backend, keepalive_expiry=30
        )
        self._client = httpx.Client(
            transport=_Pooled(pool),
            base_url=address.origin,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.total),
        )
        self._end = weakref.finalize(self, self._client.close)  # a model that is dropped leaves no connection open

    def send(self, request: Request, secret_headers: Mapping[str, str]) -> Response:
        """One request, once.

        Raises:
            Failure: no whole answer came.
            Unsafe: the host's name leads where nothing is sent.
        """
        # identity: an answer that unpacks to gigabytes cannot be sent to us
        headers = {"Accept-Encoding": "identity", "User-Agent": "xplain", **request.headers, **secret_headers}
        self._backend.deadline = time.monotonic() + self._timeouts.total
        sent = False
        try:
            built = self._client.build_request(request.method, request.path, headers=headers, content=request.body)
            answer = self._client.send(built, stream=True)
            sent = True
            try:
                body = self._body(answer)
            finally:
                answer.close()
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            raise Failure(f"no connection: {_words(error)}", sent=False) from None
        except httpcore.TimeoutException:
            raise Failure(f"no whole answer in time ({self._timeouts.total:g} s)", sent=True) from None
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            raise Failure(f"the connection broke: {_words(error)}", sent=True) from None
        except (httpx.InvalidURL, httpx.LocalProtocolError, httpcore.LocalProtocolError) as error:
            raise Failure(f"the request cannot be sent: {_words(error)}", sent=sent, retry=False) from None
        return Response(answer.status_code, {k.lower(): heard(v) for k, v in answer.headers.items()}, body)

    def _body(self, answer: httpx.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise Failure("the answer is compressed, which was not asked for", sent=True, retry=False)
        size = digits(answer.headers.get("content-length", "")) or 0
        body = bytearray()
        if size <= self._max:
            for chunk in answer.iter_raw():
                body += chunk
                size = len(body)
                if size > self._max:
                    break
        if size > self._max:
            why = f"the answer is larger than {self._max} bytes"
            raise Failure(why, sent=True, retry=False, advice=("Allow more with ", option("max_response"), "."))
        return bytes(body)

    def close(self) -> None:
        """Close all connections."""
        self._end()


class _Guarded(httpcore.SyncBackend):
    """Connects to addresses that were checked, and to no others; every read and write ends by the deadline.

    Resolving here, rather than before, leaves no time in which a name could change its meaning; reading against a
    deadline stops a server that sends one byte just before every read timeout.
    """

    def __init__(self, address: Address) -> None:
        super().__init__()
        self._address = address
        self._local = threading.local()

    @property
    def deadline(self) -> float:
        """When the calling thread's request must be over, by the monotonic clock."""
        return float(getattr(self._local, "deadline", float("inf")))

    @deadline.setter
    def deadline(self, value: float) -> None:
        self._local.deadline = value

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> NetworkStream:
        if (host.strip("[]"), port) != (self._address.host, self._address.port):
            raise httpcore.ConnectError(f"{host}:{port} is not the endpoint's host")
        failure: Exception | None = None
        for ip in resolve(self._address):
            try:
                stream = super().connect_tcp(ip, port, self.left(timeout), local_address, socket_options)
                return _Timed(stream, self)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure if failure is not None else httpcore.ConnectError("no address")

    def left(self, timeout: float | None) -> float:
        """Seconds that an operation may take."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout
        return left if timeout is None else min(left, timeout)


class _Timed(httpcore.NetworkStream):
    """A connection whose every operation ends by the deadline of the thread that uses it."""

    def __init__(self, inner: NetworkStream, guard: _Guarded) -> None:
        self._inner, self._guard = inner, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._guard.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._guard.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> NetworkStream:
        return _Timed(self._inner.start_tls(ssl_context, server_hostname, self._guard.left(timeout)), self._guard)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Pooled(httpx.BaseTransport):
    """httpx over a connection pool of our own, because only there can the way to the network be chosen."""

    def __init__(self, pool: httpcore.ConnectionPool) -> None:
        self._pool = pool

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = self._pool.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


def _trust(ca: str | None) -> ssl.SSLContext:
    trust = httpx.create_ssl_context()
    if ca is not None:
        try:
            trust.load_verify_locations(ca)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(named("ca"), f" {ca!r} holds no certificates: {error}.") from None
    return trust


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
