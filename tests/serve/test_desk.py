"""Whose turn it is: cheap requests go between the model calls of a dear one, and neither kind stops the other."""

from __future__ import annotations

import threading
import time

import httpx
import numpy as np
import pytest
from serving import running

import xplain

CHEAP = {"method": "ablation", "options": {"baseline": 0}, "target": 0}
DEAR = {"method": "kernel-shap", "options": {"samples": 600, "baseline": 0}, "target": 0}
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
    item = [value] * (DIM if kind is DEAR else 8)
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
