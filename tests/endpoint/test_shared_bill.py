"""Processes that share a cache share the bill; answers that were paid for are kept when a disk or a person stops."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from nets import planted
from servers import Reply, V2Server, session_model

import xplain
from xplain.core.errors import OutputError
from xplain.engine.lease import Lease, alive
from xplain.engine.store import Store
from xplain.models.endpoint import open_endpoint
from xplain.models.endpoint.caller import Patience

X = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
QUERIES = 600
CLIENT = """
import sys, numpy as np, xplain
from xplain.models.endpoint import open_endpoint
url, cache, out = sys.argv[1:]
x = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
model = open_endpoint(url, max_batch=5, concurrency=2)
print("asking", flush=True)
sys.stdin.readline()
a = xplain.explain(model, x, "rise", samples=600, cells=4, seed=3, cache=cache)
np.save(out, a.values)
"""


def handler_of(**options):
    return V2Server(
        session_model(planted(size=16, cell=(1, 0)), "scores"),
        {"picture": ("FP32", [-1, 3, 16, 16])},
        {"scores": ("FP32", [-1, 2])},
        **options,
    )


def start(url, cache, out):
    command = [sys.executable, "-c", CLIENT, url, str(cache), str(out)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)


def go(*processes):
    """Let them ask at the same moment."""
    for one in processes:
        assert one.stdout.readline() == b"asking\n"
    for one in processes:
        one.stdin.write(b"\n")
        one.stdin.flush()


def ended(process, seconds=90):
    code = process.wait(seconds)
    process.stdin.close()
    process.stdout.close()
    return code


def explained(url, cache=None, **options):
    model = open_endpoint(url, max_batch=7, concurrency=2)
    return xplain.explain(model, X, "rise", samples=QUERIES, cells=4, seed=3, cache=cache, **options)


def test_two_runs_on_one_model_each_pay_their_own_calls(serve):
    """Also what is asked again: every second request fails once, and is billed to the run that made it."""
    failed = set()

    def fail_once(asked):
        key = asked.headers.get("idempotency-key")
        if key is not None and key not in failed and int(key[:2], 16) % 2:
            failed.add(key)
            return Reply(200, b"{", announced=5000)
        time.sleep(0.002)
        return None

    patience = Patience(attempts=4, first=0.001, longest=0.01, breaker=10_000)
    model = open_endpoint(
        f"{serve(handler_of(before=fail_once)).url}/v2/models/m", max_batch=7, concurrency=2, price="0.01",
        patience=patience,
    )  # fmt: skip
    before, costs = model.calls_made, {}

    def run(samples):
        costs[samples] = xplain.explain(model, X, "rise", samples=samples, cells=4, seed=samples).cost

    runs = [threading.Thread(target=run, args=(samples,)) for samples in (210, 420)]
    for one in runs:
        one.start()
    for one in runs:
        one.join(60)
    assert failed
    asked = {samples: -(-samples // 7) + 1 for samples in costs}
    for samples, cost in costs.items():
        assert asked[samples] < cost.calls < 2 * asked[samples]
        assert cost.money >= 0.01 * (samples + 1)
    assert sum(cost.calls for cost in costs.values()) == model.calls_made - before
    assert sum(cost.money for cost in costs.values()) == pytest.approx(float(model.spent))


@pytest.mark.parametrize("count", [2, 4])
def test_processes_on_one_cache_pay_once_together(serve, tmp_path, count):
    handler = handler_of(before=lambda asked: time.sleep(0.005))
    url = f"{serve(handler).url}/v2/models/m"
    clients = [start(url, tmp_path / "cache", tmp_path / f"{k}.npy") for k in range(count)]
    go(*clients)
    assert [ended(one) for one in clients] == [0] * count
    assert max(Counter(handler.rows).values()) == 1, "a row was paid twice"
    assert len(handler.rows) == QUERIES + 1
    right = explained(f"{serve(handler_of()).url}/v2/models/m").values
    for k in range(count):
        assert np.load(tmp_path / f"{k}.npy").tobytes() == right.tobytes()


def test_one_of_two_is_killed_and_the_other_takes_over_at_once(serve, tmp_path):
    """At most what was under way at the kill, two requests of five rows, is asked again; nobody waits for the lease."""
    enough, lock, seen = threading.Event(), threading.Lock(), []

    def count(asked):
        with lock:
            seen.append(1)
            if len(seen) > 30:
                enough.set()
        time.sleep(0.005)

    handler = handler_of(before=count)
    url = f"{serve(handler).url}/v2/models/m"
    one, other = (start(url, tmp_path / "cache", tmp_path / f"{k}.npy") for k in range(2))
    go(one, other)
    assert enough.wait(60)
    one.kill()
    began = time.monotonic()
    assert ended(one) == -signal.SIGKILL
    assert ended(other) == 0
    assert time.monotonic() - began < 60
    asked = Counter(handler.rows)
    assert len(asked) == QUERIES + 1
    assert sum(asked.values()) - len(asked) <= 2 * 5
    right = explained(f"{serve(handler_of()).url}/v2/models/m").values
    assert np.load(tmp_path / "1.npy").tobytes() == right.tobytes()


def test_claims_of_another_store_are_respected_until_it_ends(tmp_path):
    keys = [bytes([k]) for k in range(10)]
    one, other = Store(tmp_path), Store(tmp_path)
    assert one.claim(keys, 4) == ({}, keys[:4])
    assert other.claim(keys, 4) == ({}, keys[4:8])
    assert one.claim(keys, 20)[1] == [*keys[:4], *keys[8:]]
    assert other.claim(keys[:4], 4) == ({}, [])
    one.put({keys[0]: np.array([1.0])})
    known, mine = other.claim(keys[:4], 4)
    assert (list(known), mine) == ([keys[0]], [])
    one.release(keys[1:2])
    assert other.claim(keys[:4], 4)[1] == keys[1:2]
    one.close()
    assert other.claim(keys[:4], 4)[1] == keys[1:4]
    other.close()


def test_a_claim_of_another_machine_ends_with_its_time():
    now = time.time()
    assert alive("elsewhere 1 2 x", now + 5)
    assert not alive("elsewhere 1 2 x", now - 5)
    assert not alive(None, now + 5)
    assert not alive("elsewhere 1 2 x", "late")


def test_a_claim_is_renewed_while_its_owner_lives(tmp_path):
    with Store(tmp_path, lease=0.3) as one:
        one.claim([b"k"], 1)
        time.sleep(1.0)
        (until,) = sqlite3.connect(tmp_path / "answers.sqlite").execute("SELECT until FROM claims").fetchone()
        assert until > time.time()


def test_the_number_of_a_process_that_came_again_is_no_claim(tmp_path):
    with Store(tmp_path) as store:
        here, _pid, born, _ = store._lease.owner.split(" ")
    later = time.time() + 9
    assert not alive(f"{here} {os.getpid()} {born} another-that-ended", later)
    parent = os.getppid()
    assert not alive(f"{here} {parent} 1 x", later) or born == ""
    assert not alive(f"{here} 999999999 {born} x", later)
    assert isinstance(Lease(tmp_path / "f", 1.0).owner, str)


def test_a_failure_gives_claims_back(serve, tmp_path):
    handler = handler_of()
    broken = serve(lambda asked: None if len(handler.rows) > 100 else handler(asked))
    from xplain.models.endpoint.caller import Patience

    impatient = open_endpoint(f"{broken.url}/v2/models/m", max_batch=7, patience=Patience(attempts=1))
    with Store(tmp_path) as store:
        with pytest.raises(xplain.XplainError):
            xplain.explain(impatient, X, "rise", samples=QUERIES, cells=4, seed=3, cache=store)
        db = sqlite3.connect(tmp_path / "answers.sqlite")
        assert db.execute("SELECT count(*) FROM claims").fetchone() == (0,)
        assert len(store) == len(handler.rows)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ZeroDivisionError])
def test_answers_that_were_on_their_way_when_someone_stopped_are_kept(serve, tmp_path, stop):
    def progress(done, asked):
        if done > 100:
            raise stop

    handler = handler_of(before=lambda asked: time.sleep(0.01))
    url = f"{serve(handler).url}/v2/models/m"
    with pytest.raises(stop):
        explained(url, tmp_path, progress=progress)
    with Store(tmp_path) as store:
        assert len(store) == len(handler.rows), "an answer that was paid for was thrown away"


@pytest.mark.parametrize("kind", ["texts", "rows"])
def test_so_are_those_about_texts_and_rows_of_a_table(serve, tmp_path, kind):
    def scores(feeds):
        (given,) = feeds.values()
        size = (
            np.array([[len(str(row))] for row in given], np.float32) if kind == "texts" else given.sum(1, keepdims=True)
        )
        return {"scores": np.concatenate([size, -size], 1)}

    def progress(done, asked):
        if done > 20:
            raise KeyboardInterrupt

    inputs = {"texts": {"words": ("BYTES", [-1, 1])}, "rows": {"x": ("FP32", [-1, 8])}}[kind]
    handler = V2Server(scores, inputs, {"scores": ("FP32", [-1, 2])}, before=lambda asked: time.sleep(0.01))
    url = f"{serve(handler).url}/v2/models/m"
    reader = xplain.text(url, max_batch=4) if kind == "texts" else xplain.table(url, columns="abcdefgh", max_batch=4)
    item = "one two three four five six seven eight" if kind == "texts" else {name: [1.0] for name in "abcdefgh"}
    options = {} if kind == "texts" else {"baseline": np.zeros((1, 8), np.float32)}
    with pytest.raises(KeyboardInterrupt):
        xplain.explain(reader, item, "exact-shapley", cache=tmp_path, progress=progress, **options)
    with Store(tmp_path) as store:
        assert 20 < len(store) == len(set(handler.rows)), "an answer that was paid for was thrown away"


def test_a_ledger_on_a_full_disk_loses_no_answer(serve, tmp_path, monkeypatch):
    handler = handler_of()
    ledger = tmp_path / "ledger.jsonl"
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", max_batch=7, ledger=ledger)
    real, room = os.write, [True]

    def write(file, content):
        if content.startswith(b'{"call"') and not room[0]:
            raise OSError(28, "No space left on device")
        return real(file, content)

    monkeypatch.setattr(os, "write", write)
    room[0] = False
    found = xplain.explain(model, X, "rise", samples=QUERIES, cells=4, seed=3, cache=tmp_path / "cache")
    assert found.cost.queries == QUERIES + 1 == len(handler.rows)
    assert any("lines of the ledger" in one.text and "No space left" in one.text for one in found.warnings)
    with pytest.raises(OutputError, match="could not be written: No space left on device. The calls were made"):
        model.close()
    room[0] = True
    again = open_endpoint(f"{serve(handler).url}/v2/models/m", max_batch=7, ledger=ledger)
    room[0] = False
    explained_once = xplain.predict(again, X)
    room[0] = True
    assert explained_once.shape == (1, 2)
    again.close()
    assert b'"ok"' in ledger.read_bytes()
