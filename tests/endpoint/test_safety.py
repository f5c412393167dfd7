from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import traceback

import pytest
from servers import Reply, Server, X, as_json, scores_of, server_of

import xplain
from xplain.core.errors import ModelError, Unsafe, UsageError
from xplain.models.endpoint import address as addresses
from xplain.models.endpoint import open_endpoint
from xplain.models.endpoint.address import read_address, resolve
from xplain.models.endpoint.caller import Patience

SECRET = "s3cr3t-t0ken-value"


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("http://example.com/v2/models/m", Unsafe, "Plain http to 'example.com' is refused.*Use https"),
        ("http://127.0.0.1.example.com/x", Unsafe, "Plain http to"),
        ("https://user:pw@example.com/x", Unsafe, "holds a user name or password; URLs end up in logs"),
        ("https://example.com/x?api_key=3", Unsafe, r"has a query or fragment.*\[request.query\]"),
        ("https://example.com/x#y", Unsafe, "has a query or fragment"),
        ("ftp://example.com/x", UsageError, "ftp: is no endpoint; accepted: https://host/path"),
        ("https:///x", UsageError, "is no endpoint"),
        ("https://example.com:99999/x", UsageError, "cannot be read"),
    ],
)
def test_urls_that_are_refused(url, kind, message):
    with pytest.raises(kind, match=message) as caught:
        read_address(url)
    assert "pw" not in str(caught.value)
    assert "api_key" not in str(caught.value)


def test_allowed_hosts():
    assert read_address("https://eu.vendor.com/x", hosts=["*.vendor.com"]).host == "eu.vendor.com"
    with pytest.raises(Unsafe, match=r"Host 'vendor.com.evil.org' is not among the allowed hosts: \*\.vendor\.com"):
        read_address("https://vendor.com.evil.org/x", hosts=["*.vendor.com"])
    assert read_address("http://other.host/x", allow_http=True).origin == "http://other.host"
    assert read_address("https://bücher.example/x").host == "xn--bcher-kva.example"
    assert str(read_address("https://[2001:db8::1]:8443/v2/")) == "https://[2001:db8::1]:8443/v2"


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.0.7",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
@pytest.mark.parametrize("named", [False, True])
def test_the_surroundings_of_the_machine_are_never_asked(monkeypatch, ip, named):
    """Written out, or behind a harmless name, also as only one of several addresses."""
    host = "model.vendor.com" if named else f"[{ip}]" if ":" in ip else ip

    def fake(name, port, **_):
        found = ["93.184.216.34", ip] if named else [name]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", fake)
    with pytest.raises(Unsafe, match="a link-local, metadata or special address"):
        open_endpoint(f"https://{host}/v2/models/m")


def test_a_name_that_leads_from_plain_http_to_another_machine(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 80))]
    monkeypatch.setattr(addresses.socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(Unsafe, match=r"Plain http to 'localhost' leads to 93\.184\.216\.34, which is not this machine"):
        resolve(read_address("http://localhost/x"))


def test_a_name_is_resolved_when_connecting_so_that_it_cannot_change_its_meaning(serve, monkeypatch):
    server = serve(server_of())
    real, calls = socket.getaddrinfo, []

    def rebinding(host, port, *rest, **options):
        calls.extend([host] if host == "localhost" else [])
        if len(calls) > 1 and host == "localhost":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", port))]
        return real("127.0.0.1", port, *rest, **options)

    monkeypatch.setattr(addresses.socket, "getaddrinfo", rebinding)
    model = open_endpoint(f"http://localhost:{server.port}/v2/models/m")
    model._caller._transport._client._transport._pool.close()  # the next call connects anew
    with pytest.raises(Unsafe, match="leads to 169"):
        scores_of(model)
    assert str(model.spent) == "0"
    assert [e.outcome for e in model.ledger.entries if e.rows] == ["not sent"]


def test_an_unknown_host_is_named(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(addresses.socket, "getaddrinfo", unknown)
    with pytest.raises(ModelError, match="Host 'no.such.host' is not known: Name or service not known"):
        open_endpoint("https://no.such.host/v2/models/m")


@pytest.fixture
def tls(tmp_path):
    """A certificate for 127.0.0.1 that no authority signed."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1"
    made = subprocess.run(
        [*command.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=False,
        capture_output=True,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context, cert


def test_tls_is_verified_and_a_companys_own_authority_can_be_trusted(tls):
    context, cert = tls
    server = Server(server_of())
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    url = f"https://127.0.0.1:{server.port}/v2/models/m"
    try:
        with pytest.raises(ModelError, match="no connection: .*CERTIFICATE_VERIFY_FAILED"):
            open_endpoint(url, patience=Patience(attempts=1))
        scores_of(open_endpoint(url, ca=str(cert)))
        with pytest.raises(ModelError, match="no connection: .*(Hostname mismatch|not valid for)"):
            open_endpoint(url.replace("127.0.0.1", "localhost"), ca=str(cert), patience=Patience(attempts=1))
        with pytest.raises(UsageError, match="holds no certificates"):
            open_endpoint(url, ca="/nowhere.pem")
    finally:
        server.stop()


def test_secrets_are_named_not_written():
    with pytest.raises(UsageError, match=r"header 'Authorization' does not name an environment variable") as caught:
        open_endpoint("https://example.com/v2/models/m", auth=SECRET)
    assert SECRET not in str(caught.value)
    with pytest.raises(UsageError, match="header 'X-Api-Key' does not name"):
        open_endpoint("https://example.com/v2/models/m", auth={"X-Api-Key": SECRET})


def test_a_variable_that_is_not_set(serve, monkeypatch):
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    with pytest.raises(UsageError, match="environment variable NO_SUCH_TOKEN is not set"):
        open_endpoint(f"{serve(server_of()).url}/v2/models/m", auth="${NO_SUCH_TOKEN}")


def test_a_secret_is_not_sent_in_the_open():
    with pytest.raises(Unsafe, match="A secret is not sent in the open to http://example.com"):
        open_endpoint("http://example.com/v2/models/m", auth="${HOME}", allow_http=True)


@pytest.mark.parametrize("given", ["variable", "header", "function"])
def test_the_secret_arrives_and_shows_nowhere(serve, monkeypatch, tmp_path, caplog, given):
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    auth = {
        "variable": "${VENDOR_TOKEN}",
        "header": {"X-Api-Key": "${VENDOR_TOKEN}"},
        "function": lambda: {"Authorization": f"Bearer {SECRET}"},
    }[given]
    handler, echo = server_of(), [False]

    def talkative(asked):
        if echo[0] and asked.method == "POST":
            return as_json({"error": f"bad key {SECRET} in {dict(asked.headers)}"}, 403)
        return handler(asked)

    server = serve(talkative)
    caplog.set_level(logging.DEBUG)
    ledger = tmp_path / "calls.jsonl"
    model = open_endpoint(f"{server.url}/v2/models/m", auth=auth, ledger=ledger)
    a = xplain.explain(model, X[:2], "occlusion", patch=1, stride=1, cache=tmp_path / "cache")
    header = "x-api-key" if given == "header" else "authorization"
    assert all(asked.headers[header].endswith(SECRET) for asked in server.asked)
    echo[0] = True
    with pytest.raises(ModelError, match=r"wants proof of who asks: the secret was refused") as caught:
        scores_of(model)
    assert "[secret]" in str(caught.value)
    a.save(tmp_path / "a.npz")
    shown = [
        "".join(traceback.format_exception(caught.value)),
        caplog.text,
        repr(model),
        repr(model._caller._auth),
        str(a.meta()),
        repr(model.outline),
        *[path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()],
    ]
    assert all(SECRET not in text for text in shown)
    other = open_endpoint(f"{server.url}/v2/models/m")
    assert other.outline.digest == model.outline.digest, "who asks is not part of what is remembered"


def test_a_renewed_token_is_used_at_once(serve):
    tokens = iter(range(100))
    handler = server_of(before=None)
    server = serve(handler)
    model = open_endpoint(f"{server.url}/v2/models/m", auth=lambda: {"Authorization": f"Bearer token-{next(tokens)}"})
    scores_of(model)
    assert [a.headers["authorization"] for a in server.asked] == ["Bearer token-0", "Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("bad", [None, {"A": 3}, "text"])
def test_a_function_that_gives_no_headers(serve, bad):
    with pytest.raises(UsageError, match="the function must return a mapping of header names to texts"):
        open_endpoint(f"{serve(server_of()).url}/v2/models/m", auth=lambda: bad)


def test_a_header_cannot_be_split(serve):
    with pytest.raises(UsageError, match="holds a line break"):
        open_endpoint(f"{serve(server_of()).url}/v2/models/m", auth=lambda: {"X-Key": "a\r\nHost: evil"})


def test_proof_that_is_missing_is_asked_for(serve):
    server = serve(lambda asked: Reply(401))
    with pytest.raises(ModelError, match=r"status 401. The server wants proof .*give auth='\$\{VARIABLE\}'"):
        open_endpoint(f"{server.url}/v2/models/m")


def test_control_letters_of_a_server_do_not_reach_a_terminal(serve):
    server = serve(lambda asked: Reply(400, b"\x1b[31mred\x07\r\n"))
    with pytest.raises(ModelError) as caught:
        open_endpoint(f"{server.url}/v2/models/m")
    assert str(caught.value).isprintable()
