"""Addresses that answer for the machine itself are never asked, in whatever form; plain http stays on the machine."""

from __future__ import annotations

import socket

import pytest

from xplain.core.errors import Unsafe
from xplain.models.endpoint.address import Address, read_address, resolve

METADATA = {
    "AWS, Azure, GCP": "169.254.169.254",
    "ECS": "169.254.170.2",
    "Alibaba": "100.100.100.200",
    "Azure wire": "168.63.129.16",
    "AWS, IPv6": "fd00:ec2::254",
    "EKS pod identity, IPv6": "fd00:ec2::23",
    "GCP, IPv6": "fd20:ce::254",
    "link-local": "fe80::a9fe:a9fe",
    "link-local with a zone": "fe80::1%lo",
    "unspecified": "::",
    "nothing": "0.0.0.0",
    "multicast": "ff02::1",
}
CARRIED = {
    "mapped": "::ffff:169.254.169.254",
    "compatible": "::169.254.169.254",
    "translated": "::ffff:0:169.254.169.254",
    "6to4": "2002:a9fe:a9fe::1",
    "Teredo client": "2001:0:4136:e378:8000:63bf:5601:5601",
    "Teredo server": "2001:0:a9fe:a9fe:8000:63bf:3fff:fdd2",
    "NAT64": "64:ff9b::a9fe:a9fe",
    "NAT64 of a network's own": "64:ff9b:1::a9fe:a9fe",
    "ISATAP": "2001:db8::5efe:a9fe:a9fe",
    "ISATAP, universal": "2001:db8::200:5efe:a9fe:a9fe",
}


def leads_to(monkeypatch, ip):
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(family, socket.SOCK_STREAM, 6, "", (ip, 443))])


@pytest.mark.parametrize("ip", [*METADATA.values(), *CARRIED.values()], ids=[*METADATA, *CARRIED])
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_the_machines_own_surroundings_are_never_asked(monkeypatch, ip, scheme):
    leads_to(monkeypatch, ip)
    with pytest.raises(Unsafe, match="link-local, metadata or special address"):
        resolve(Address(scheme, "vendor.example", 443, "/x", open_text=True))


LOOPS = [
    "2002:7f00:1::1",
    "64:ff9b::7f00:1",
    "::127.0.0.1",
    "2001:0:4136:e378:8000:63bf:80ff:fffe",
    "::ffff:0:127.0.0.1",
]


@pytest.mark.parametrize("ip", LOOPS)
def test_tunnels_to_loopback_are_not_this_machine(monkeypatch, ip):
    """Their packets leave for a relay, in the open."""
    leads_to(monkeypatch, ip)
    with pytest.raises(Unsafe):
        resolve(Address("http", "localhost", 80, "/x"))
    with pytest.raises(Unsafe, match="Plain http"):
        read_address(f"http://[{ip}]/v2/models/m")


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_be_asked_in_the_open(monkeypatch, ip):
    leads_to(monkeypatch, ip)
    assert resolve(Address("http", "localhost", 80, "/x")) == [ip]
    shown = f"[{ip}]" if ":" in ip else ip
    assert read_address(f"http://{shown}:8000/v2/models/m").port == 8000


@pytest.mark.parametrize("ip", ["93.184.216.34", "10.0.0.5", "2606:2800:220:1:248:1893:25c8:1946", "fd12:3456::1"])
@pytest.mark.parametrize("carry", ["{}", "64:ff9b::5db8:d822"])
def test_ordinary_addresses_may_be_asked(monkeypatch, ip, carry):
    leads_to(monkeypatch, carry.format(ip))
    assert resolve(Address("https", "vendor.example", 443, "/x")) == [carry.format(ip)]
