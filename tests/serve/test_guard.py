"""Whose request it is, where it comes from, how much and how long it may be; and that no body breaks the server."""

from __future__ import annotations

import gzip
import io
import json
import logging
import random
import re
import socket
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from serving import running

import xplain
from tests.targets import heads
from xplain.core.errors import UsageError, XplainError
from xplain.demo import SCENES, demo_picture
from xplain.serve import asked as requests
from xplain.serve import patience
from xplain.serve.app import Options, application
from xplain.serve.guard import Token
from xplain.serve.served import served_as
from xplain.serve.tokens import token_of, tokens_in

SECRET = "s3cret-" * 4
IMAGE = {"content-type": "image/png"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "[::1]:9"}, 200),
        ({"Host": "10.20.30.40:8000"}, 200),  # as a probe or Prometheus asks a pod
        ({"Host": "[fd00::7]"}, 200),
        ({"Host": "127.1"}, 421),
        ({"Host": "10.20.30.40.evil.example"}, 421),
        ({"Host": "0x7f000001"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
def test_requests_from_elsewhere_are_turned_away(client, headers, status):
    assert client.get("/api/models", headers=headers).status_code == status


def test_every_answer_carries_a_strict_policy_and_its_id(client):
    for path in ("/api/models", "/nowhere", "/metrics"):
        answer = client.get(path, headers={"X-Request-ID": "mine-7"})
        assert answer.headers["x-request-id"] == "mine-7"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy
        assert "'unsafe-eval'" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
    strange = client.get("/api/models", headers={"X-Request-ID": "a b\x7f" * 50})
    assert len(strange.headers["x-request-id"]) == 32


def test_bodies_are_bounded_in_bytes_and_time(cnn, monkeypatch):
    monkeypatch.setattr(patience, "_SECONDS", 0.3)
    app = application([served_as("cnn", cnn)], Options(most_bytes=1000))
    assert app is not None
    with running({"cnn": cnn}, most_bytes=1000) as server:
        rules = server.app.user_middleware[0].kwargs["rules"]
        object.__setattr__(rules, "body_seconds", 0.3)
        url = f"{server.url}/api/explain"
        assert httpx.post(url, content=b"x" * 1001).status_code == 413
        assert httpx.post(url, content=iter([b"x" * 600] * 4)).status_code == 413  # of no announced length
        with socket.create_connection(("127.0.0.1", server.port)) as one:
            one.sendall(b"POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
            assert b" 408 " in one.recv(100)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as one:  # says nothing, or half a head
            one.sendall(b"GET /api/mod")
            assert one.recv(100) == b""
        assert httpx.get(f"{server.url}/api/models").status_code == 200


def test_what_is_no_address_or_no_way_to_ask_says_what_is(client):
    asked = [
        ("GET", "/api/explain", 405, "GET is not answered here; accepted: POST."),
        ("DELETE", "/v2/models/cnn/infer", 405, "accepted: POST."),
        ("OPTIONS", "/api/explain", 405, "accepted: POST."),
        ("GET", "/api/nowhere", 404, "There is no address '/api/nowhere' here."),
        ("GET", "/api/" + "ü" * 5000, 404, "There is no address"),
        ("POST", "/v1/models/" + "n" * 3000 + ":explain", 404, "'n"),
        ("GET", "/v2/models/cnn.nothing", 400, "nothing"),
        ("GET", "/api/jobs/%00%ff", 404, "There is no such job"),
    ]
    for method, path, status, text in asked:
        answer = client.request(method, path)
        assert (answer.status_code, text in answer.json()["error"]) == (status, True), (path[:40], answer.text)
        assert len(answer.text) < 2000
        assert "access-control-allow-origin" not in answer.headers
        if status == 405:
            assert answer.headers["allow"] == "POST"
    head = client.head("/v2/health/live")
    assert (head.status_code, head.content) == (200, b"")


def test_a_body_of_a_kind_that_is_not_read_is_refused_as_such(client, items):
    good = json.dumps({"model": "cnn", "instances": items[:1].tolist(), "method": "grad-cam"}).encode()
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain; charset=utf-8", ""):
        headers = {"content-type": kind} if kind else {}
        assert client.post("/api/explain", content=good, headers=headers).status_code == 200
    form = client.post("/api/explain", files={"picture": b"\x89PNG"})
    assert form.status_code == 415
    assert "multipart/form-data is not read here. Send JSON, or the bytes of a picture" in form.json()["error"]
    packed = client.post("/api/explain", content=gzip.compress(good), headers={"content-encoding": "gzip"})
    assert packed.status_code == 415
    assert "leave Content-Encoding out" in packed.json()["error"]


def test_a_methods_option_in_the_wrong_place_is_told_its_place(client, textures):
    out = io.BytesIO()
    Image.fromarray(demo_picture(next(iter(SCENES)))[0]).save(out, "PNG")

    def by_query(query):
        return client.post(f"/api/explain?model=textures&method=rise&{query}", content=out.getvalue(), headers=IMAGE)

    told = by_query("samples=64")
    assert told.status_code == 400
    place = re.search(r"in a query '(options=\{.*\})'\.$", told.json()["error"])[1]
    assert place == 'options={"samples": 64}'
    answer = by_query(place)  # the advice works
    assert answer.json()["items"][0]["explanations"][0]["options"]["samples"] == 64
    item = {"instances": [[[[0.0] * 16] * 16] * 3]}
    told = client.post("/v1/models/cnn.rise:explain", json=item | {"parameters": {"samples": 64}})
    advised = json.loads("{" + re.search(r'("options": \{.*?\});', told.json()["error"])[1] + "}")
    assert client.post("/v1/models/cnn.rise:explain", json=item | {"parameters": advised}).status_code == 200
    told = by_query("smaples=64").json()["error"]
    assert "'smaples' is not known" in told
    for name in ("model", "options", "overlay", "seen", "encoding", "deadline"):
        assert name in told.partition("accepted")[2]
    assert client.post("/v1/models/cnn:explain", json=item | {"encoding": "xml"}).status_code == 400


def test_what_prometheus_reads_is_what_it_can_read(client, items):
    client.post("/api/explain", json={"model": "cnn", "instances": items[:1].tolist(), "method": "grad-cam"})
    client.get("/api/models", headers={"Host": "evil.example"})
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = {one.name: one for one in text_string_to_metric_families(answer.text)}
    explained = {
        tuple(s.labels.items()): s.value for s in families["request_explain_seconds"].samples if "count" in s.name
    }
    assert explained[("method", "grad-cam"), ("model_name", "cnn")] >= 1
    rejected = {s.labels["reason"]: s.value for s in families["xplain_rejected"].samples if s.name.endswith("_total")}
    assert rejected["host"] >= 1
    assert families["xplain_queue_depth"].samples[0].value == 0


def test_who_takes_nothing_of_an_answer_and_who_begins_a_second_head_hold_no_connection(cnn, monkeypatch):
    monkeypatch.setattr(patience, "_SECONDS", 0.3)
    monkeypatch.setattr(patience, "_STANDING", 0.2)
    with running({"cnn": cnn}) as server, socket.socket() as deaf, socket.socket() as halting:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.sendall(b"GET /api/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300)  # megabytes, of which none is read
        halting.settimeout(20)
        halting.connect(("127.0.0.1", server.port))
        halting.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api")
        found = b""
        while chunk := halting.recv(1000):
            found += chunk
        assert found.startswith(b"HTTP/1.1 200")
        until = time.monotonic() + 30
        while server.server.server_state.connections and time.monotonic() < until:
            time.sleep(0.02)
        assert not server.server.server_state.connections
        assert httpx.get(f"{server.url}/v2/health/live").status_code == 200


def test_a_text_is_never_the_name_of_a_file(client, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    for name in (str(tmp_path / "secret.png"), "skimage:cat", "/etc/passwd"):
        for asked in ({"instances": [name]}, {"instances": [[name]]}, {"instances": [{"b64": name}]}):
            answer = client.post("/api/explain", json={"model": "textures", **asked})
            assert answer.status_code == 400
            assert str(tmp_path) not in answer.text
        raw = {"name": "picture", "shape": [1], "datatype": "BYTES", "data": [name]}
        answer = client.post("/v2/models/textures.grad-cam/infer", json={"inputs": [raw]})
        assert answer.status_code == 400


def test_no_target_and_no_option_opens_a_file_of_the_server(tmp_path):
    """Words for targets that read pictures, and every option of every method, each given a file that is there."""
    opened, watching = [], [True]  # a hook cannot be taken away again

    def hook(event, args):
        if watching and event == "open" and "there." in str(args[0]):
            opened.append(args[0])

    Image.fromarray(np.full((16, 16, 3), 200, np.uint8)).save(tmp_path / "there.png")
    np.save(tmp_path / "there.npy", np.ones((2, 3, 16, 16), np.float32))
    picture, missing, array = (str(tmp_path / name) for name in ("there.png", "nowhere.png", "there.npy"))
    maps = served_as("maps", xplain.load(heads.segmenter()))
    vectors = served_as("vectors", xplain.load(heads.embedder(), card="unit"))
    item = np.zeros((3, 16, 16), np.float32)
    sys.addaudithook(hook)
    try:
        for served, word in ((maps, "region:{}@1"), (maps, " Border:{}@best"), (vectors, "similar:{}")):
            for file in (picture, missing):
                with pytest.raises(UsageError, match="which a server does not open"):
                    requests.asked(served, [item], {"method": "saliency", "target": word.format(file)}, 60)
        for method in vectors.methods:
            for option in method.options:
                told = {"method": method.name, "target": 0, "options": {option: array}}
                with pytest.raises(XplainError):
                    requests.asked(vectors, [item], told, 60)
        told = {"method": "kernel-shap", "target": 0, "options": {"background": None}}
        assert requests.asked(vectors, [item], told, 60).options == {"background": None}
    finally:
        watching.clear()
    assert not opened


def test_no_body_breaks_the_server_or_leaks_a_path(client, items):
    """A thousand damaged bodies: each is answered, none by an error of the server's own, and it goes on."""
    draw = random.Random(11)
    good = json.dumps({"model": "cnn", "instances": items[:1].tolist(), "method": "grad-cam", "target": 1}).encode()
    tensor = {"name": "picture", "shape": [1, 3, 16, 16], "datatype": "FP32", "data": items[:1].ravel().tolist()}
    infer = json.dumps({"inputs": [tensor], "parameters": {"target": 1}}).encode()
    odd = [b"", b"[]", b"null", b"{}", b"NaN", b"[" * 5000, b'{"a":1,"a":2}', b"\xff\xfe", b'{"instances": [NaN]}']
    odd += [b'{"model":"cnn","instances":[[[1,[2]]]]}', b'{"model":"cnn","instances":[1e999]}']
    places = ("/api/explain", "/api/predict", "/api/plan", "/v1/models/cnn:explain", "/v2/models/cnn.saliency/infer")
    kinds = ("application/json", "image/png", "application/octet-stream")
    for number in range(1000):
        base = bytearray(infer if number % 5 == 4 else good)
        for _ in range(draw.randint(1, 6)):
            at = draw.randrange(len(base))
            base[at : at + draw.choice((0, 1, 9))] = draw.choice((b"", b"{", b'"', b"-1", b"null", b"1e400", b"\x00"))
        content = odd[number] if number < len(odd) else bytes(base[: draw.choice((len(base), 40))])
        headers = {"content-type": draw.choice(kinds[:1] if number % 3 else kinds)}
        if number % 7 == 0:
            headers["Inference-Header-Content-Length"] = draw.choice(("7", "-1", "x", "99999999999"))
        answer = client.post(places[number % 5], content=content, headers=headers)
        assert answer.status_code in (200, 400, 404), (number, answer.text)
        assert "/site-packages" not in answer.text
        assert "Traceback" not in answer.text
    assert client.post("/api/explain", content=good, headers={"content-type": "application/json"}).status_code == 200


def test_logs_hold_no_payload_no_query_and_no_secret(cnn, items, caplog):
    with running({"cnn": cnn}, tokens=(Token("ann", SECRET),)) as server, caplog.at_level(logging.INFO, "xplain.serve"):
        asked = {"model": "cnn", "instances": items[:1].tolist(), "target": 1}
        headers = {"Authorization": f"Bearer {SECRET}"}
        httpx.post(f"{server.url}/api/explain?who=patient-17", json=asked, headers=headers, timeout=60)
        until = time.monotonic() + 10
        while not [one for one in caplog.records if one.name == "xplain.serve"] and time.monotonic() < until:
            time.sleep(0.01)
    (line,) = [json.loads(one.message) for one in caplog.records if '"token"' in one.message]
    assert line["status"] == 200
    assert line["token"] == "ann"
    assert set(line) == {"id", "method", "path", "status", "bytes", "seconds", "token"}
    assert SECRET not in caplog.text
    assert "patient" not in caplog.text


def test_others_are_served_with_a_token_alone():
    with pytest.raises(UsageError, match=r"lets other machines ask.*token"):
        Options(host="0.0.0.0")
    Options(host="0.0.0.0", tokens=(Token("ann", SECRET),))


def test_tokens_come_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOD_TOKEN", SECRET)
    monkeypatch.setenv("SHORT_TOKEN", "short")
    assert token_of("${GOOD_TOKEN}").secret == SECRET
    assert SECRET not in repr(token_of("${GOOD_TOKEN}"))
    for text, why in ((SECRET, "never written out"), ("${NOT_SET_TOKEN}", "holds no token"), ("${SHORT_TOKEN}", "16")):
        with pytest.raises(UsageError, match=why):
            token_of(text)
    file = tmp_path / "tokens.toml"
    file.write_text('[ann]\ntoken = "${GOOD_TOKEN}"\nmax_queries = 9\n')
    (ann,) = tokens_in(file)
    assert (ann.name, ann.most) == ("ann", 9)
    for text in ("", "[ann]", '[ann]\ntoken = "x"', '[ann]\ntoken = "${GOOD_TOKEN}"\nmax_queries = -1', "not toml ="):
        file.write_text(text)
        with pytest.raises(UsageError):
            tokens_in(file)


def test_the_probes_of_the_deployments_are_answered(cnn):
    """Paths and Host headers that the files under docs/deploy give to Kubernetes."""
    folder = Path(__file__).parents[2] / "docs" / "deploy"
    for name in ("kubernetes.yaml", "kserve.yaml"):
        text = (folder / name).read_text()
        names = tuple(re.findall(r'--name(?:=|", ")([^"\s]+)', text))
        probes = re.findall(r"path: (\S+?),", text)
        assert names
        assert probes
        with running({"classifier": cnn}, names=names) as server:
            for path in probes:  # of the pod's address, which nobody knows before
                assert httpx.get(server.url + path, headers={"Host": "10.1.2.3:8000"}).status_code == 200
            for host in names:
                assert httpx.get(f"{server.url}/v1/models/classifier", headers={"Host": host}).json()["ready"] is True
