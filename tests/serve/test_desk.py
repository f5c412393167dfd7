"""Whose turn it is: cheap requests go between the model calls of a dear one, and neither kind stops the other."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from types import SimpleNamespace

import httpx
import nets
import numpy as np
import pytest
from serving import running

import xplain
from xplain.core.abilities import Abilities
from xplain.core.aside import aside, can_stand_aside
from xplain.core.query import Score
from xplain.serve.desk import Desk

CHEAP = {"method": "ablation", "options": {"baseline": 0}, "target": 0}
DEAR = {"method": "kernel-shap", "options": {"samples": 600, "baseline": 0}, "target": 0}
LONG = DEAR | {"options": {"samples": 50_000, "baseline": 0}}
DIM = 40


class Recorded:
    """A model that keeps the order of its calls; ``DIM`` features, the first says whose item it is."""

    def __init__(self):
        self.calls, self.lock = [], threading.Lock()
        self.go, self.entered = threading.Event(), threading.Event()

    def __call__(self, x):
        whose = "dear" if np.abs(x[:, 1:]).max() > 1 else "cheap"
        with self.lock:
            self.calls.append(whose)
        self.entered.set()
        assert self.go.wait(30)
        time.sleep(0.005 if whose == "dear" else 0.01)
        return np.stack([x.sum(1), np.zeros(len(x))], axis=1)


def post(client, kind, value, seed=0):
    item = [value] * (8 if kind is CHEAP else DIM)
    return client.post("/api/jobs", json={"model": "m", "instances": [item], "seed": seed, **kind})


@pytest.fixture
def queued():
    """A dear request within its first model call, and so many cheap ones that came meanwhile; none fit together."""
    model = Recorded()
    with (
        running({"m": xplain.load(model)}, ready=False) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):

        def ask(count):
            model.go.set()
            until = time.monotonic() + 30
            while any(server.house.ready.values()) and time.monotonic() < until:
                time.sleep(0.01)
            model.go.clear()
            model.calls.clear()
            model.entered.clear()
            jobs = [post(client, DEAR, 2.0)]
            assert jobs[0].status_code == 202, jobs[0].text
            assert model.entered.wait(30)
            jobs += [post(client, CHEAP, 0.5, seed) for seed in range(count)]
            assert {one.status_code for one in jobs} == {202}
            model.go.set()
            for one in jobs:
                while client.get(one.headers["location"]).json()["state"] not in ("done", "failed"):
                    time.sleep(0.01)
                assert client.get(one.headers["location"]).json()["state"] == "done"
            return model.calls

        yield ask


def test_all_that_came_during_a_model_call_are_answered_before_the_next(queued):
    calls = queued(4)
    first, second = [k for k, one in enumerate(calls) if one == "dear"][:2]
    assert (first, second) == (0, calls.count("cheap") + 1)
    assert second > 4


def test_a_stream_of_cheap_requests_does_not_stop_a_dear_one(queued, monkeypatch):
    monkeypatch.setattr("xplain.serve.desk._SHARE", 1e-3)  # of the time that the first call is held up
    calls = queued(5)
    second = [k for k, one in enumerate(calls) if one == "dear"][1]
    assert "cheap" in calls[1:second]
    assert "cheap" in calls[second:]


class Lent:
    """A model that several threads may ask: a call with more edits than so many waits until it is let go."""

    def __init__(self, held=100):
        self.held = held
        inner = xplain.load(nets.cnn())
        self.outline, self.answers, self.inner = inner.outline, frozenset({Score}), inner
        self.abilities = Abilities(shared=True)
        self.go, self.entered, self.lock = threading.Event(), threading.Event(), threading.Lock()
        self.under_way = self.most = 0
        self.go.set()

    def answer(self, query):
        with self.lock:
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        if query.edits.count > self.held:
            self.entered.set()
            self.go.wait(10)
        found = self.inner.answer(query)
        with self.lock:
            self.under_way -= 1
        return found


def test_a_cheap_request_does_not_wait_for_the_call_of_a_dear_one_where_threads_may_share_the_model():
    model = Lent()
    item = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    with running({"m": model}) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        model.go.clear()
        model.entered.clear()
        asked = {"model": "m", "instances": [item.tolist()], "target": 1}
        dear = {"method": "rise", "options": {"samples": 200, "cells": 4}}
        jobs = [client.post("/api/jobs", json=asked | dear | {"seed": seed}).headers["location"] for seed in (0, 1)]
        assert model.entered.wait(30)
        told = client.post("/api/predict", json={"model": "m", "instances": [item.tolist()]})
        assert told.status_code == 200  # while the call of the dear one has not ended
        assert client.get(jobs[0]).json()["done"] <= 1  # the item as it is
        assert model.most == 2  # one cheap, one dear: of two dear ones one asks at a time
        model.go.set()
        for job, seed in zip(jobs, (0, 1), strict=True):
            while client.get(job).json()["state"] not in ("done", "failed"):
                time.sleep(0.01)
            values = client.get(job).json()["answer"]["items"][0]["explanations"][0]["values"]
            alone = xplain.explain(model, item[None], "rise", target=1, samples=200, cells=4, seed=seed)
            assert np.array_equal(np.asarray(values, np.float32), alone.values[0])
        assert model.most == 2


@pytest.mark.skipif(not can_stand_aside(), reason="no threads here that are scheduled last")
def test_a_dear_request_needs_no_gap_where_its_runs_get_what_others_leave(monkeypatch):
    monkeypatch.setattr("xplain.serve.desk.Desk._is_about", lambda _: True)
    monkeypatch.setattr("xplain.serve.desk._SHARE", 1e9)
    monkeypatch.setattr("xplain.core.aside._STARVED", 1e9)
    policies = []

    def watched():
        policies.append(os.SCHED_OTHER if (beside := aside()) is None else beside(policy))
        return beside

    def policy():
        return os.sched_getscheduler(threading.get_native_id())

    monkeypatch.setattr("xplain.models.onnx.session.aside", watched)
    model, item = xplain.load(nets.cnn()), np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    with running({"m": model}) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        asked = {"model": "m", "instances": [item.tolist()], "target": 1, "method": "rise"}
        assert client.post("/api/explain", json=asked | {"method": "saliency", "options": {}}).status_code == 200
        assert set(policies) == {os.SCHED_OTHER}
        policies.clear()
        job = client.post("/api/jobs", json=asked | {"options": {"samples": 200, "cells": 4}}).headers["location"]
        until = time.monotonic() + 30
        while client.get(job).json()["state"] != "done" and time.monotonic() < until:
            time.sleep(0.01)
        assert client.get(job).json()["state"] == "done"
        assert set(policies) == {os.SCHED_IDLE}


def test_cheap_requests_that_do_not_fit_together_are_answered_on_every_core(monkeypatch):
    """One thread answered them one by one, and with one thread a model run the other cores had nothing to do."""
    monkeypatch.setattr("xplain.serve.desk.cores", lambda: 2)
    model = Lent(held=1)
    item = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    with running({"m": model}) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        model.go.clear()
        asked = {"model": "m", "instances": [item.tolist()], "target": 1, "method": "occlusion"}
        sizes = (4, 8)
        jobs = [
            client.post("/api/jobs", json=asked | {"options": {"patch": n, "stride": n}}).headers["location"]
            for n in sizes
        ]
        until = time.monotonic() + 30
        while model.most < 2 and time.monotonic() < until:
            time.sleep(0.01)
        assert model.most == 2
        model.go.set()
        for job, n in zip(jobs, sizes, strict=True):
            while client.get(job).json()["state"] not in ("done", "failed"):
                time.sleep(0.01)
            values = client.get(job).json()["answer"]["items"][0]["explanations"][0]["values"]
            alone = xplain.explain(model, item[None], "occlusion", target=1, patch=n, stride=n)
            assert np.array_equal(np.asarray(values, np.float32), alone.values[0])


def test_dear_requests_take_turns_call_by_call():
    """A short one is over long before a long one that came first: none waits for the whole of another."""
    model = Recorded()
    model.go.set()
    with (
        running({"m": xplain.load(model)}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        model.go.clear()
        model.entered.clear()
        long = post(client, LONG, 2.0)
        assert model.entered.wait(30)
        short = post(client, DEAR, 2.0, seed=1)
        model.go.set()
        until = time.monotonic() + 30
        while client.get(short.headers["location"]).json()["state"] != "done" and time.monotonic() < until:
            time.sleep(0.01)
        assert client.get(short.headers["location"]).json()["state"] == "done"
        assert client.get(long.headers["location"]).json()["state"] == "running"
        client.delete(long.headers["location"])


def test_dear_calls_lie_closer_the_more_dear_requests_there_are():
    """Their part of a full processor grows with their number: they do not pile up behind a stream of cheap ones."""
    desk, dear, cheap = Desk(), SimpleNamespace(cheap=False), SimpleNamespace(cheap=True)
    desk._took = 0.5
    gaps = []
    for under_way, waiting in (([dear], []), ([dear, cheap], []), ([dear, dear], []), ([dear, dear], [dear, dear])):
        desk._under_way, desk._dear = list(under_way), deque(waiting)
        gaps.append(desk._gap / desk._took)
    assert gaps == [6, 6, 3, 1.5]
