"""Jobs: progress, the map so far, deadlines, cancelling, a queue with an end, what each caller may spend."""

from __future__ import annotations

import json
import re
import socket
import threading
import time

import httpx
import numpy as np
import pytest
from serving import running

import xplain
from xplain.serve.guard import Token

MANY = {"method": "rise", "options": {"samples": 2048, "cells": 4}}


def body(items, **more):
    return {"model": "cnn", "instances": items[:1].tolist(), **more}


def events(client, job):
    with client.stream("GET", f"/api/jobs/{job}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join(answer.iter_text())
    found = []
    for block in text.strip().split("\n\n"):
        told = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((told["event"], json.loads(told["data"])))
    return found


class Gate:
    """A model that answers when it is let, so that a test decides what is under way."""

    def __init__(self):
        self.opened, self.entered = threading.Event(), threading.Event()

    def __call__(self, x):
        self.entered.set()
        assert self.opened.wait(30)
        return np.stack([x.reshape(len(x), -1).sum(1), np.zeros(len(x))], axis=1)


@pytest.fixture
def gated():
    gate = Gate()
    with running({"gate": xplain.load(gate)}, ready=False, waiting=2) as server:
        yield gate, server
        gate.opened.set()


ASKED = {"model": "gate", "instances": [[1.0, 2.0]], "method": "ablation", "options": {"baseline": 0}}


def test_a_job_tells_its_cost_its_progress_the_map_so_far_and_its_answer(client, cnn, items):
    expected = xplain.explain(cnn, items[:1], "rise", samples=2048, cells=4)
    planned = client.post("/api/plan", json=body(items, **MANY)).json()
    started = client.post("/api/jobs", json=body(items, **MANY, preview=True))
    assert started.status_code == 202
    told = started.json()
    assert started.headers["location"] == f"/api/jobs/{told['id']}"
    assert told["plan"]["queries"] == planned["queries"] >= 2048
    found = events(client, told["id"])
    kinds = [kind for kind, _ in found]
    assert kinds[-1] == "end"
    assert kinds.count("preview") >= 1
    end = found[-1][1]
    assert end["state"] == "done"
    explained = end["answer"]["items"][0]["explanations"][0]
    assert np.array_equal(np.asarray(explained["values"], np.float32), expected.values[0])
    early = next(data for kind, data in found if kind == "preview")
    first = early["items"][0]["explanations"][0]
    assert "of 2048 evaluations" in early["partial"] or "evaluations" in early["partial"]
    # it is an estimate of the same map, and says itself that it is a worse one
    assert np.mean(first["error"]) > 1.5 * np.mean(explained["error"])
    off = np.abs(np.asarray(first["values"]) - explained["values"])
    assert np.median(off / np.asarray(first["error"])) < 3
    assert explained["cost"]["queries"] + explained["cost"]["reused"] >= 2048
    assert client.get(f"/api/jobs/{told['id']}").json()["answer"] == end["answer"]


def test_an_answer_is_partial_at_the_deadline(cnn, items):
    slow = xplain.load(lambda x: (time.sleep(0.002 * len(x)), x.reshape(len(x), -1)[:, :2])[1], version="1")
    with running({"slow": slow}) as server:
        asked = {"model": "slow", "instances": items[:1].tolist(), "method": "rise", "target": 0}
        asked |= {"options": {"samples": 2000, "cells": 4}, "deadline": 1.5}
        began = time.monotonic()
        told = httpx.post(f"{server.url}/api/explain", json=asked, timeout=60)
        assert time.monotonic() - began < 10
        assert told.status_code == 200
        assert "at the deadline" in told.json()["partial"]
        late = httpx.post(f"{server.url}/api/explain", json=asked | {"deadline": 0.001}, timeout=60)
        assert late.status_code == 504
        assert "deadline" in late.json()["error"]


def test_the_queue_has_an_end_and_says_when_to_come_back(gated):
    gate, server = gated
    with httpx.Client(base_url=server.url, timeout=60) as client:
        jobs = [client.post("/api/jobs", json=ASKED)]
        assert gate.entered.wait(20)
        until = time.monotonic() + 20
        while client.get(jobs[0].headers["location"]).json()["state"] == "queued" and time.monotonic() < until:
            time.sleep(0.01)
        jobs += [client.post("/api/jobs", json=ASKED | {"seed": k}) for k in (1, 2)]
        assert [one.status_code for one in jobs] == [202] * 3
        full = client.post("/api/jobs", json=ASKED)
        assert full.status_code == 429
        assert int(full.headers["retry-after"]) >= 1
        dropped = client.delete(jobs[2].headers["location"])
        assert dropped.status_code == 202
        gate.opened.set()
        for one, state in zip(jobs, ("done", "done", "cancelled"), strict=True):
            assert events(client, one.json()["id"])[-1][1]["state"] == state
        figures = client.get("/metrics").text
        assert 'xplain_rejected_total{reason="queue"} 1.0' in figures
        assert "xplain_queue_depth 0.0" in figures


def test_who_leaves_takes_the_request_along(gated):
    gate, server = gated
    raw = json.dumps(ASKED).encode()
    head = f"POST /api/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(raw)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", server.port)) as one:
        one.sendall(head + raw)
        assert gate.entered.wait(20)
        with socket.create_connection(("127.0.0.1", server.port)) as other:
            other.sendall(head + raw.replace(b"1.0", b"3.0"))
            until = time.monotonic() + 20
            while not server.house.desk.depth and time.monotonic() < until:
                time.sleep(0.01)
            (waiting,) = server.house.desk._cheap
    until = time.monotonic() + 20
    while not waiting.cancelled and time.monotonic() < until:
        time.sleep(0.01)
    assert waiting.cancelled


def test_cheap_requests_do_not_wait_behind_dear_ones(items):
    calls = []

    def slow(x):
        calls.append(len(x))
        time.sleep(0.01)
        return x.reshape(len(x), -1)[:, :2]

    with running({"slow": xplain.load(slow)}) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        asked = {"model": "slow", "instances": items[:1].tolist(), "target": 0}
        dear = client.post("/api/jobs", json=asked | {"method": "rise", "options": {"samples": 4000, "cells": 4}})
        before = len(calls)
        assert client.post("/api/predict", json={"model": "slow", "instances": items[:1].tolist()}).status_code == 200
        assert client.get(dear.headers["location"]).json()["state"] in ("queued", "running")
        assert len(calls) - before < 40
        client.delete(dear.headers["location"])


def test_each_token_sees_its_own_jobs_and_spends_its_own_evaluations(cnn, items):
    tokens = (Token("ann", "a" * 20), Token("bob", "b" * 20, most=40))
    with running({"cnn": cnn}, tokens=tokens) as server:
        ann, bob = ({"Authorization": f"Bearer {one.secret}"} for one in tokens)
        with httpx.Client(base_url=server.url, timeout=60) as client:
            assert client.post("/api/predict", json=body(items)).status_code == 401
            assert client.get("/v2/health/ready").status_code == 200
            wrong = {"Authorization": "Bearer " + "c" * 20}
            assert client.post("/api/predict", json=body(items), headers=wrong).status_code == 401
            job = client.post("/api/jobs", json=body(items, method="grad-cam"), headers=ann).headers["location"]
            assert client.get(job, headers=ann).status_code == 200
            assert client.get(job, headers=bob).status_code == 404
            assert client.delete(job, headers=bob).status_code == 404
            assert client.post("/api/predict", json=body(items), headers=bob).status_code == 200
            refused = client.post("/api/explain", json=body(items, **MANY), headers=bob)
            assert refused.status_code == 429
            assert "39 of 40 are left" in refused.json()["error"]


def test_stopping_finishes_what_waits_or_hands_it_back(items):
    gate = Gate()
    with running({"gate": xplain.load(gate)}, ready=False, grace=0.3) as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            client.post("/api/jobs", json=ASKED)
            assert gate.entered.wait(20)
            job = client.post("/api/jobs", json=ASKED | {"seed": 5}).json()["id"]
        house = server.house
        server.server.should_exit = True
        until = time.monotonic() + 20
        while not house.jobs[job].over and time.monotonic() < until:
            time.sleep(0.01)
        assert house.jobs[job].state == "failed"
        assert "stopping" in str(house.jobs[job].error)
        gate.opened.set()


def asked_and_stopped(server, asked, under_way):
    """What a caller is told who waits while the server is stopped, and the seconds from there."""
    told = []

    def ask():
        told.append(httpx.post(f"{server.url}/api/explain", json=asked, timeout=60))

    caller = threading.Thread(target=ask)
    caller.start()
    assert under_way()
    began = time.monotonic()
    server.server.should_exit = True
    caller.join(60)
    return told[0], time.monotonic() - began


def test_who_waits_for_a_call_that_does_not_end_is_told_so_within_the_grace(items):
    gate = Gate()
    with running({"gate": xplain.load(gate)}, ready=False, grace=0.3) as server:
        told, took = asked_and_stopped(server, ASKED, lambda: gate.entered.wait(20))
        assert told.status_code == 503
        assert int(told.headers["retry-after"]) > 0
        assert "was not finished. Ask again in 5 s" in told.json()["error"]
        assert not gate.opened.is_set()  # the call itself is still under way
        assert took < 10
        gate.opened.set()


def test_who_waits_for_a_long_answer_is_handed_what_is_known_of_it(cnn, items):
    asked = body(items, method="rise", options={"samples": 200_000, "cells": 4}, preview=True)

    with running({"cnn": cnn}, grace=0.2) as server:

        def known():
            until = time.monotonic() + 30
            while time.monotonic() < until:
                if any(job.early is not None for job in list(server.house.desk._under_way)):
                    return True
                time.sleep(0.005)
            return False

        told, _ = asked_and_stopped(server, asked, known)
    assert told.status_code == 200
    assert re.fullmatch(r"made of \d+ of 200001 evaluations, when the server was stopped", told.json()["partial"])
    values = np.asarray(told.json()["items"][0]["explanations"][0]["values"])
    assert values.shape == (16, 16)
    assert np.ptp(values) > 0


@pytest.mark.parametrize(("samples", "most"), [(200_001, "up to 200000 on a server"), (10**9, "at most 1,000,000")])
def test_a_count_that_would_fill_the_memory_is_refused_before_it_is_planned(client, items, samples, most):
    for path in ("/api/plan", "/api/explain", "/api/jobs"):
        told = client.post(path, json=body(items, method="rise", options={"samples": samples}))
        assert told.status_code == 400
        assert most in told.json()["error"]
