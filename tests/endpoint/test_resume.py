"""kill -9 of a client in the middle of a thousand queries; the resumed run is bit-equal and pays for nothing twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from nets import planted
from servers import V2Server, session_model

import xplain
from xplain.core.errors import ModelError
from xplain.models.endpoint import open_endpoint

X = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
QUERIES = 1000
CLIENT = """
import sys, numpy as np, xplain
from xplain.models.endpoint import open_endpoint
url, cache, batch, concurrency = sys.argv[1:]
x = np.random.default_rng(1).normal(size=(1, 3, 16, 16)).astype(np.float32)
model = open_endpoint(url, max_batch=int(batch), concurrency=int(concurrency))
print("asking", flush=True)
xplain.explain(model, x, "rise", samples=1000, cells=4, seed=3, cache=cache)
"""


def handler_of(**options):
    return V2Server(
        session_model(planted(size=16, cell=(1, 0)), "scores"),
        {"picture": ("FP32", [-1, 3, 16, 16])},
        {"scores": ("FP32", [-1, 2])},
        **options,
    )


def client(url, cache, batch, concurrency):
    command = [sys.executable, "-c", CLIENT, url, str(cache), str(batch), str(concurrency)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})


def explained(url, cache=None):
    model = open_endpoint(url, max_batch=7, concurrency=2)
    return xplain.explain(model, X, "rise", samples=QUERIES, cells=4, seed=3, cache=cache)


def test_killed_while_the_server_has_not_worked_yet(serve, tmp_path):
    """The client dies at a moment when nothing is answered that it has not stored: the bill is exact to the row."""
    process, deaths, lock = [], [], threading.Lock()

    def kills(asked):
        with lock:
            if len(handler.rows) > 400 and not deaths:
                deaths.append(process[0].pid)
                os.kill(process[0].pid, signal.SIGKILL)
                process[0].wait()
                raise ConnectionAbortedError  # not worked on, not billed
        return

    handler = handler_of(before=kills)
    server = serve(handler)
    server.http.handle_error = lambda *_: None
    url = f"{server.url}/v2/models/m"
    with lock:
        process.append(client(url, tmp_path, 1, 1))
    assert process[0].wait(60) == -signal.SIGKILL
    process[0].stdout.close()
    paid = len(handler.rows)
    assert 400 < paid < 600
    resumed = explained(url, tmp_path)
    direct = explained(f"{serve(handler_of()).url}/v2/models/m")
    assert resumed.values.tobytes() == direct.values.tobytes()
    assert resumed.error.tobytes() == direct.error.tobytes()
    assert max(Counter(handler.rows).values()) == 1, "a row was paid twice"
    assert len(handler.rows) == direct.cost.queries == QUERIES + 1
    assert resumed.cost.queries == QUERIES + 1 - paid


@pytest.mark.parametrize("after", [150, 500, 850])
def test_killed_at_any_moment(serve, tmp_path, after):
    """What was under way at the kill may have been worked on; a server that knows Idempotency-Key bills it once."""
    billed, lock, enough = Counter(), threading.Lock(), threading.Event()

    def bills(asked):
        with lock:
            billed[asked.headers["idempotency-key"]] += 1
        if len(billed) * 5 > after:
            enough.set()

    handler = handler_of(before=bills)
    server = serve(handler)
    url = f"{server.url}/v2/models/m"
    process = client(url, tmp_path, 5, 4)
    assert enough.wait(60)
    process.kill()
    process.wait()
    process.stdout.close()
    under_way = 4 * 5
    model = open_endpoint(url, max_batch=5, concurrency=4)
    resumed = xplain.explain(model, X, "rise", samples=QUERIES, cells=4, seed=3, cache=tmp_path)
    direct = explained(f"{serve(handler_of()).url}/v2/models/m")
    assert resumed.values.tobytes() == direct.values.tobytes()
    asked = Counter(handler.rows)
    assert len(asked) == QUERIES + 1
    assert sum(asked.values()) - len(asked) <= under_way
    again = explained(url, tmp_path)
    assert sum(Counter(handler.rows).values()) == sum(asked.values()), "a third run asks nothing"
    assert (again.cost.queries, again.values.tobytes()) == (0, direct.values.tobytes())


def test_a_server_that_dies_mid_run(serve, tmp_path):
    handler = handler_of()
    first = serve(lambda asked: None if len(handler.rows) > 300 else handler(asked))
    from xplain.models.endpoint.caller import Patience

    impatient = open_endpoint(f"{first.url}/v2/models/m", max_batch=7, patience=Patience(attempts=2, first=0.01))
    with pytest.raises(ModelError, match="failed 2 times"):
        xplain.explain(impatient, X, "rise", samples=QUERIES, cells=4, seed=3, cache=tmp_path)
    paid = len(handler.rows)
    answered = sum(e.rows for e in impatient.ledger.entries if e.outcome == "ok")
    assert paid == answered
    with xplain.engine.Store(tmp_path) as store:
        assert len(store) == paid, "every answer that arrived is kept"


def test_a_vendor_that_replaces_the_model_mid_run(serve, tmp_path):
    one, other = (session_model(planted(size=16, cell=cell), "scores") for cell in ((1, 0), (0, 0)))
    handler = handler_of()
    handler.model = lambda feeds: (one if len(handler.rows) < 500 else other)(feeds)
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", max_batch=10)
    with pytest.raises(ModelError, match="has changed: to the same input class .* went from"):
        xplain.explain(model, X, "rise", samples=QUERIES, cells=4, seed=3, cache=tmp_path, sentinel=50)
    assert 500 <= len(handler.rows) < 500 + 50 + 2 * 10 * 4
