"""Where a question may be sent: https only, to the host that was named, never to the machine's own surroundings."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TypeAlias
from urllib.parse import urlsplit

from xplain.core.declaring.wording import option
from xplain.core.errors import ModelError, Unsafe, UsageError

__all__ = ["Address", "read_address", "resolve"]

IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds answer questions about the machine itself, credentials included; link-local ones are refused anyway.
_METADATA = {
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:42::42",
        "fd00:a9fe:a9fe::254",
    )
}
_LAST_FOUR = [  # networks whose addresses hold an IPv4 address in their last four bytes
    ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")
]
_ISATAP = (0x00005EFE, 0x02005EFE)


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
            "The endpoint's URL holds a user name or password; URLs end up in logs. Give secrets with ",
            option("auth"),
            ", from the environment.",
        )
    if parts.scheme not in ("http", "https") or not host:
        raise UsageError(f"{parts.scheme or 'An empty scheme'}: is no endpoint; accepted: https://host/path.")
    if parts.query or parts.fragment:
        raise Unsafe(
            "The endpoint's URL has a query or fragment, where secrets are often put and then logged. Write fixed "
            "parameters into the mapping file ([request.query]) and secrets into ",
            option("auth"),
            ".",
        )
    if hosts is not None and not any(fnmatch(host, pattern.lower()) for pattern in hosts):
        raise Unsafe(f"Host {host!r} is not among the allowed hosts: {', '.join(hosts) or 'none'}.")
    if parts.scheme == "http" and not allow_http and not _is_this_machine(host):
        raise Unsafe(
            f"Plain http to {host!r} is refused: everyone on the way can read and change it. Use https, or say ",
            option("allow_http", True),
            ".",
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
        if any(map(_is_special, _forms(text))):
            raise Unsafe(
                f"Host {address.host!r} leads to {text}, a link-local, metadata or special address. Such addresses "
                "answer for the machine itself and are never asked."
            )
        if address.scheme == "http" and not address.open_text and not _is_loopback(text):
            raise Unsafe(f"Plain http to {address.host!r} leads to {text}, which is not this machine. Use https.")
    return texts


def _forms(text: str) -> list[IP]:
    """An address, and the IPv4 addresses that it may carry: translators and tunnels send it on to these."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    if not isinstance(ip, ipaddress.IPv6Address):
        return [ip]
    if ip.ipv4_mapped is not None:  # the system itself speaks IPv4 to it
        return [ip.ipv4_mapped]
    carried = [ip.sixtofour, *(ip.teredo or ())]
    last = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if int(ip) > 1 and any(ip in network for network in _LAST_FOUR):  # 0 and 1 are themselves
        carried.append(last)
    if (int(ip) >> 32) & 0xFFFFFFFF in _ISATAP:
        carried.append(last)
    return [ip, *(one for one in carried if one is not None)]


def _is_special(ip: IP) -> bool:
    return ip in _METADATA or ip.is_link_local or ip.is_multicast or ip.is_unspecified or _is_reserved(ip)


def _is_reserved(ip: IP) -> bool:
    carries = isinstance(ip, ipaddress.IPv6Address) and any(ip in network for network in _LAST_FOUR)
    return ip.is_reserved and not carries and not ip.is_loopback  # what it carries is looked at itself


def _is_loopback(text: str) -> bool:
    """Whether packets to this address stay on this machine: tunnels to 127.0.0.1 do not, they leave for a relay."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_loopback


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return _is_loopback(host)
    except ValueError:
        return False
