"""``xplain serve``: what is said before the first request."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("host", "address"), [("127.0.0.1", "http://127.0.0.1:8123"), ("::1", "http://[::1]:8123")])
def test_the_address_to_open_is_said(xplain, model, monkeypatch, host, address):
    app = pytest.importorskip("xplain.serve.app")
    ran_with = []
    monkeypatch.setattr(app, "run", lambda served, options: ran_with.append((len(served), options.port)))
    ran = xplain("serve", f"net={model}", "--host", host, "--port", 8123)
    assert ran.code == 0, ran.err
    assert f"Serving net at {address} until Ctrl-C" in ran.err
    assert ran_with == [(1, 8123)]
