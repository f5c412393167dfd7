"""Where a question may be sent: https only, to the host that was named, never to the machine's own surroundings."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TypeAlias
from urllib.parse import urlsplit

from xplain.core.errors import ModelError, Unsafe, UsageError

__all__ = ["Address", "read_address", "resolve"]

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds answer questions about the machine itself, credentials included.
_METADATA = {
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Address:
    """A place on one host, without secrets.

    Args:
        scheme: ``https`` or ``http``.
        host: Name or literal address, without brackets.
        port: Port.
        path: Path, beginning with ``/`` or empty.
        open_text: Whether plain http to another machine was allowed.
    """

    scheme: str
    host: str
    port: int
    path: str
    open_text: bool = False

    @property
    def origin(self) -> str:
        """``https://host:port``, the port only where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = {"https": 443, "http": 80}[self.scheme]
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != usual else "")

    def __str__(self) -> str:
        return self.origin + self.path


def read_address(url: str, hosts: Sequence[str] | None = None, allow_http: bool = False) -> Address:
    """The address that a URL names.

    Args:
        url: ``https://host[:port]/path``; http for this machine alone.
        hosts: Hosts that may be asked, as names or patterns such as ``*.vendor.com``; None allows the one named.
        allow_http: Also allow plain http to other machines: everyone on the way can read and change what is sent.

    Raises:
        UsageError: it is no such URL.
        Unsafe: it holds a secret, names another host than those allowed, or would travel in the open.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise UsageError(f"The endpoint's URL cannot be read: {error}.") from None
    if parts.username is not None or parts.password is not None:
        raise Unsafe(
            "The endpoint's URL holds a user name or password; URLs end up in logs. Give secrets with auth=, from the "
            "environment."
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{parts.scheme or 'An empty scheme'}: is no endpoint; accepted: https://host/path.")
    if parts.query or parts.fragment:
        raise Unsafe(
            "The endpoint's URL has a query or fragment, where secrets are often put and then logged. Write fixed "
            "parameters into the mapping file ([request.query]) and secrets into auth=."
        )
    if hosts is not None and not any(fnmatch(host, pattern.lower()) for pattern in hosts):
        raise Unsafe(f"Host {host!r} is not among the allowed hosts: {', '.join(hosts) or 'none'}.")
    if parts.scheme == "http" and not allow_http and not _is_this_machine(host):
        raise Unsafe(
            f"Plain http to {host!r} is refused: everyone on the way can read and change it. Use https, or say "
            "allow_http=True."
        )
    usual = {"https": 443, "http": 80}[parts.scheme]
    return Address(parts.scheme, host, port or usual, parts.path.rstrip("/"), allow_http)


def resolve(address: Address) -> list[str]:
    """The addresses behind a host's name, each of them checked; connect to these, so that the check is not outrun.

    Raises:
        ModelError: the name is not known.
        Unsafe: any of the addresses is link-local, a cloud's metadata service, or of no single machine; or the name
            of a plain http endpoint leads to another machine.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ModelError(f"Host {address.host!r} is not known: {error.strerror or error}. Check the URL.") from None
    texts = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for text in texts:
        ip = _plain(text)
        if ip in _METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified or ip.is_reserved:
            raise Unsafe(
                f"Host {address.host!r} leads to {text}, a link-local, metadata or special address. Such addresses "
                "answer for the machine itself and are never asked."
            )
        if address.scheme == "http" and not address.open_text and not ip.is_loopback:
            raise Unsafe(f"Plain http to {address.host!r} leads to {text}, which is not this machine. Use https.")
    return texts


def _plain(text: str) -> IP:
    """The address itself, out of the IPv6 forms that carry an IPv4 address."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        return inner or ip
    return ip


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return _plain(host).is_loopback
    except ValueError:
        return False
