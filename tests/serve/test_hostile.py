"""Bytes that are no request, requests that contradict themselves, and bodies that would take hours: a clear 4xx."""

from __future__ import annotations

import gc
import json
import logging
import socket
import struct
import time

import httpx
import numpy as np
import pytest
import words_and_rows
from serving import running

import xplain
from xplain.core.errors import UsageError
from xplain.serve import v2
from xplain.serve.asked import strict_json

CLOSE = b"Connection: close\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def answers(server, data, seconds=20):
    """Everything that comes back on one connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as line:
        line.sendall(data)
        line.shutdown(socket.SHUT_WR)
        found = b""
        while part := line.recv(65536):
            found += part
    return found


def post(body, *headers, path=b"/api/predict"):
    return b"POST " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n" + JSON + b"".join(headers) + b"\r\n" + body


@pytest.mark.parametrize(
    "sent",
    [
        post(b"{}", b"Content-Length: 2\r\n", b"Content-Length: 5\r\n"),
        post(b"{}", b"Content-Length: -1\r\n"),
        post(b"{}", b"Content-Length: +2\r\n"),
        post(b"{}", b"Content-Length: " + b"9" * 60 + b"\r\n"),
        post(b"{}", b"Content-Length : 2\r\n"),
        post(b"{}", b"Transfer-Encoding: xchunked\r\n"),
        post(b"0\r\n\r\n", CHUNKED, CHUNKED),
        post(b"-1\r\nabc\r\n0\r\n\r\n", CHUNKED),
        post(b"F" * 40 + b"\r\nabc\r\n0\r\n\r\n", CHUNKED),
        post(b"", b"X: a\x00b\r\n", CLOSE),
        b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil\r\n\r\n",
        b"GET /v2\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    ],
)
def test_bytes_that_are_no_request_are_told_so_once(server, sent):
    told = answers(server, sent)
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), told
    assert "no HTTP/1.1 request" in json.loads(body)["error"]
    assert b"Traceback" not in told


def test_a_body_whose_length_is_told_twice_is_not_taken_for_two_requests(server):
    """A proxy in front may go by the other length: what follows would be a request that it has never seen."""
    inner = b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    told = answers(server, post(b"0\r\n\r\n" + inner, b"Content-Length: 5\r\n", CHUNKED))
    assert told.count(b"HTTP/1.1 ") == 1
    assert told.startswith(b"HTTP/1.1 400 ")
    assert b"told once" in told


@pytest.mark.parametrize(
    "host", [b"127.0.0.1:80@evil.example", b"[::1]evil.example", b"127.0.0.1:evil", b"127.0.0.1:999999", b"127.0.0.1/x"]
)
def test_a_host_with_something_behind_its_name_is_not_known(server, host):
    told = answers(server, b"GET /v2 HTTP/1.1\r\nHost: " + host + b"\r\n" + CLOSE + b"\r\n")
    assert told.startswith(b"HTTP/1.1 421 ")


def test_who_leaves_amid_a_body_and_who_asks_for_another_protocol_leave_no_traceback_in_the_log(server, client, caplog):
    with caplog.at_level(logging.INFO):
        for sent in (post(b"abc", b"Content-Length: 100\r\n"), post(b"FFFF\r\nabc", CHUNKED)):
            with socket.create_connection(("127.0.0.1", server.port)) as line:
                line.sendall(sent)
        upgrade = b"Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Version: 13\r\n"
        assert b" 200 " in answers(server, b"GET /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + upgrade + b"\r\n")
        name = b"A" * 5000
        told = answers(server, name + b" /v2 HTTP/1.1\r\nHost: 127.0.0.1\r\n" + CLOSE + b"\r\n")
        assert told.startswith(b"HTTP/1.1 405 ")
        assert name not in told
        until = time.monotonic() + 20
        while caplog.text.count('"status": 499') < 2 and time.monotonic() < until:
            time.sleep(0.01)
    assert client.get("/v2/health/live").status_code == 200
    assert caplog.text.count('"status": 499') == 2
    assert not any(one.exc_info for one in caplog.records)
    assert "pip install" not in caplog.text
    assert not any("A" * 100 in one.getMessage() for one in caplog.records if one.name == "xplain.serve")


def test_a_target_of_many_differences_is_refused_before_each_is_looked_up(client, cnn, items):
    """Each of n places is looked up in a text of n: a megabyte of it would have taken hours."""
    asked = {"model": "cnn", "method": "grad-cam", "instances": items[:1].tolist()}
    told = client.post("/api/explain", json=asked | {"target": "0 - " * 250_000 + "1"})
    assert told.status_code == 400
    assert "holds ' - ' 250000 times; accepted: up to 32" in told.json()["error"]
    assert len(told.text) < 2000
    with pytest.raises(UsageError, match="by number, such as '3 - 7'"):
        xplain.explain(cnn, items[:1], "grad-cam", target="0 - " * 40 + "1")
    assert client.post("/api/explain", json=asked | {"target": "3 - 1"}).status_code == 200


def test_more_texts_than_a_request_may_have_are_not_read(monkeypatch):
    """A million empty ones, in 4 bytes each, would hold everybody up while they are made."""

    def read(*_):
        raise AssertionError("they were read")

    with running(words_and_rows.readers()) as one:
        monkeypatch.setattr(v2, "from_bytes", read)
        (texts,) = (m["name"] for m in httpx.get(f"{one.url}/api/models").json()["models"] if m["takes"] == "texts")
        name = httpx.get(f"{one.url}/v2/models/{texts}").json()["inputs"][0]["name"]
        raw = struct.pack("<I", 0) * 2**16
        size = {"binary_data_size": len(raw)}
        head = {"inputs": [{"name": name, "shape": [2**16], "datatype": "BYTES", "parameters": size}]}
        text = json.dumps(head).encode()
        length = {"Inference-Header-Content-Length": str(len(text))}
        told = httpx.post(f"{one.url}/v2/models/{texts}/infer", content=text + raw, headers=length)
    assert told.status_code == 400
    assert "may have 64 items here; got 65536" in told.json()["error"]


def test_a_body_of_more_lists_than_pictures_have_pixels_is_not_read(client):
    """Each takes three bytes of the body, and fifty of the server's memory."""
    for one in ("[]", "{}"):
        body = '{"model": "cnn", "instances": [' + f"{one}," * 4_000_001 + "0]}"
        told = client.post("/api/predict", content=body.encode())
        assert told.status_code == 400
        assert "opens 4000003 lists and objects; accepted: up to 4000000" in told.json()["error"]
    assert gc.isenabled()
    within = strict_json(b'{"a": [' + b"[]," * 1000 + b"0]}")
    assert len(within["a"]) == 1001
    with pytest.raises(UsageError, match="no strict JSON"):
        strict_json(b"{")
    assert gc.isenabled()


@pytest.mark.parametrize("number", ["9" * 6000, "-" + "9" * 5000])
def test_a_number_of_thousands_of_digits_is_told_to_its_sender(client, number):
    told = client.post("/api/predict", content=f'{{"model": "cnn", "instances": [[{number}]]}}'.encode())
    assert told.status_code == 400
    assert told.json()["error"] == "The body is no strict JSON: a whole number in it has thousands of digits."


def test_a_number_too_large_for_the_input_is_refused_without_a_warning_of_ours(client, recwarn):
    values = np.zeros((3, 16, 16)).tolist()
    values[0][0][0] = 1e39
    told = client.post("/api/predict", json={"model": "cnn", "instances": [values]})
    assert told.status_code == 400
    assert "finite inputs" in told.json()["error"]
    assert not [one for one in recwarn if "overflow" in str(one.message)]
