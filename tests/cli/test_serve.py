"""``xplain serve``: what is said before the first request."""

from __future__ import annotations

import socket

import pytest

pytest.importorskip("uvicorn")


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")])
def test_the_address_to_open_is_said_once_it_is_known(xplain, model, monkeypatch, host, address):
    """Of port 0 only the system knows which it has become."""
    from xplain.serve import app

    found = []

    async def ends(self, sockets=None):
        await self.startup_as_it_is(sockets)
        found.append(self.servers[0].sockets[0].getsockname()[1])
        self.should_exit = True

    monkeypatch.setattr(app.uvicorn.Server, "startup_as_it_is", app.uvicorn.Server.startup, raising=False)
    monkeypatch.setattr(app.uvicorn.Server, "startup", ends)
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as one:
            one.bind((host, 0))
    except OSError:
        pytest.skip(f"{host} is no address of this machine")
    ran = xplain("serve", f"net={model}", "--host", host, "--port", 0)
    assert ran.code == 0, ran.err
    assert f"Serving net at {address}{found[0]} until Ctrl-C" in ran.err


def test_an_address_that_is_taken_is_refused_and_not_said(xplain, model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = xplain("serve", f"net={model}", "--port", port)
    assert ran.code == 2
    assert f"127.0.0.1:{port} cannot be listened at" in ran.err
    assert "Serving" not in ran.err
