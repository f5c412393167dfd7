"""A server that fails in every way a server fails, and a client that must neither hang, nor lie, nor overspend."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from servers import Reply, W, X, as_json, scores_of, server_of

from xplain.core.edits import Untouched
from xplain.core.errors import BudgetError, ModelError, Unsafe, UsageError
from xplain.core.query import Score
from xplain.core.target import every_score
from xplain.models.endpoint import open_endpoint
from xplain.models.endpoint.caller import Patience

TRUE = (X @ W.T).astype(np.float64)
QUICK = Patience(attempts=4, first=0.001, longest=0.02, breaker=100)


class Script:
    """Faults for the first calls, in order; then none."""

    def __init__(self, *faults):
        self.faults = list(faults)

    def __call__(self, asked):
        fault = self.faults.pop(0) if self.faults else None
        return fault(asked) if callable(fault) else fault


def opened(serve, *faults, handler=None, **options):
    handler = handler or server_of(before=Script(*faults))
    settings = {"concurrency": 1, "patience": QUICK} | options
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", **settings)
    model.handler = handler
    return model


def truncated(asked):
    return Reply(200, b'{"model_name"', announced=5000)


@pytest.mark.parametrize(
    "fault",
    [
        Reply(429, headers={"Retry-After": "0"}),
        Reply(500, b"internal"),
        Reply(503, b'{"error": "warming up"}'),
        Reply(502),
        truncated,
    ],
    ids=["429", "500", "503", "502", "truncated"],
)
def test_a_call_that_fails_is_tried_again(serve, fault):
    model = opened(serve, fault, fault)
    np.testing.assert_array_equal(scores_of(model), TRUE)
    entries = [e for e in model.ledger.entries if e.rows]
    assert [e.attempt for e in entries] == [1, 2, 3]
    assert [e.outcome == "ok" for e in entries] == [False, False, True]
    assert len({e.key for e in entries}) == 1, "the same call again carries the same Idempotency-Key"


def test_a_server_that_hangs_up_is_tried_again(serve):
    handler = server_of()
    calls = []

    def hangs_up(asked):
        if asked.method == "POST":
            calls.append(asked)
            if len(calls) < 3:
                return None
        return handler(asked)

    model = open_endpoint(f"{serve(hangs_up).url}/v2/models/m", concurrency=1, patience=QUICK)
    np.testing.assert_array_equal(scores_of(model), TRUE)
    assert len(calls) == 3


def test_patience_ends_with_the_last_reason(serve):
    model = opened(serve, *[Reply(500, b'{"error": "CUDA out of memory"}')] * 9)
    with pytest.raises(ModelError, match=r"/infer failed 4 times, the last time: status 500, 'CUDA out of memory'"):
        scores_of(model)
    assert len(model.handler.batches) == 0


def test_what_will_not_get_better_is_not_tried_again(serve):
    model = opened(serve, as_json({"error": "unexpected shape"}, 400))
    with pytest.raises(ModelError, match="status 400, 'unexpected shape'"):
        scores_of(model)
    assert model.ledger.calls == 3  # two descriptions and one call


def test_retry_after_is_obeyed_as_seconds_and_as_date(serve):
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    model = opened(
        serve,
        Reply(429, headers={"Retry-After": "7"}),
        Reply(503, headers={"Retry-After": when}),
        Reply(429, headers={"Retry-After": "soon"}),
        patience=Patience(attempts=4, first=0.5, longest=120),
    )
    waits = []
    model._caller.sleep = waits.append
    scores_of(model)
    assert waits[0] == 7
    assert 90 < waits[1] <= 100
    assert 0 <= waits[2] <= 4, "no usable header: full jitter"


def test_a_server_that_wants_too_long_a_wait_is_left(serve):
    model = opened(serve, Reply(429, headers={"Retry-After": "86400"}))
    with pytest.raises(ModelError, match=r"asks to wait 86400 s; at most 0 s are waited. Try later"):
        scores_of(model)


def test_waits_grow_and_jitter_over_their_whole_range(serve):
    model = opened(serve, patience=Patience(first=1.0, longest=6.0))
    for attempt, bound in ((1, 2.0), (2, 4.0), (3, 6.0), (9, 6.0)):
        waits = [model._caller._pause(attempt) for _ in range(400)]
        assert 0 <= min(waits) < 0.1 * bound
        assert 0.9 * bound < max(waits) <= bound


def test_slow_bytes_end_by_the_total_timeout(serve):
    model = opened(
        serve,
        *[Reply(200, b"x" * 1000, drip=0.05)] * 2,
        patience=Patience(attempts=1),
        timeout={"read": 5, "total": 0.4},
    )
    started = time.monotonic()
    with pytest.raises(ModelError, match=r"failed 1 times, the last time: no whole answer in time \(0\.4 s\)"):
        scores_of(model)
    assert time.monotonic() - started < 3


def test_slow_headers_end_by_the_total_timeout(serve):
    slow = Reply(200, b"", headers={f"X-{k}": "y" * 50 for k in range(30)}, drip=0.05, drip_headers=True)
    model = opened(serve, slow, patience=Patience(attempts=1), timeout={"read": 5, "total": 0.4})
    started = time.monotonic()
    with pytest.raises(ModelError, match="no whole answer in time"):
        scores_of(model)
    assert time.monotonic() - started < 3


def test_an_answer_beyond_the_size_limit_is_refused(serve):
    model = opened(serve, Reply(200, b"x" * 9000), max_response=4096)
    with pytest.raises(ModelError, match="the answer is larger than 4096 bytes. Allow more with max_response="):
        scores_of(model)
    lying = opened(serve, Reply(200, b"{}", announced=10**12))
    with pytest.raises(ModelError, match="larger than 67108864 bytes"):
        scores_of(lying)


def test_a_packed_answer_is_refused(serve):
    model = opened(serve, Reply(200, b"\x1f\x8b", headers={"Content-Encoding": "gzip"}))
    with pytest.raises(ModelError, match="the answer is compressed, which was not asked for"):
        scores_of(model)


def test_redirects_are_not_followed(serve):
    elsewhere = serve(server_of())
    model = opened(serve, Reply(307, headers={"Location": f"{elsewhere.url}/v2/models/m/infer"}))
    with pytest.raises(Unsafe, match=r"sends the caller elsewhere \(status 307\). Redirects are not followed"):
        scores_of(model)
    assert elsewhere.asked == []


def test_a_dead_server_is_named(serve):
    server = serve(server_of())
    model = open_endpoint(f"{server.url}/v2/models/m", patience=QUICK)
    server.stop()
    server.stop = lambda: None
    with pytest.raises(ModelError, match="failed 4 times, the last time: (no connection|the connection broke)"):
        scores_of(model)


def test_the_breaker_stops_a_storm(serve):
    patience = Patience(attempts=3, first=0.001, breaker=5, cooling=60)
    model = opened(serve, *[Reply(500)] * 50, patience=patience)
    for message in (
        "failed 3 times",
        "failed 5 times in a row, the last time: status 500. Nothing is sent for another",
    ):
        with pytest.raises(ModelError, match=message):
            scores_of(model)
    sent = model.ledger.calls
    with pytest.raises(ModelError, match="in a row"):
        scores_of(model)
    assert model.ledger.calls == sent == 2 + 5


def test_the_breaker_closes_again(serve):
    model = opened(
        serve, *[Reply(500)] * 2, patience=Patience(attempts=2, first=0.001, longest=0.001, breaker=2, cooling=0.05)
    )
    with pytest.raises(ModelError):
        scores_of(model)
    time.sleep(0.06)
    np.testing.assert_array_equal(scores_of(model), TRUE)


def test_calls_are_limited(serve):
    model = opened(serve, Reply(500), max_calls=4, max_batch=2)
    pieces = model.stream(Score(X, Untouched(), every_score))
    assert next(pieces)[0] == (0, 2)  # two descriptions, one failure and this
    with pytest.raises(BudgetError, match="4 calls have been made, and max_calls=4 allows no more"):
        next(pieces)


def test_money_is_limited_to_the_last_cent_over_all_threads(serve):
    model = opened(serve, price={"per_row": "0.01", "currency": "EUR"}, max_cost="0.05", max_batch=1, concurrency=4)
    with pytest.raises(BudgetError, match=r"0\.0\d EUR has been spent, and the next call, for 0\.01 EUR, would pass"):
        scores_of(model)
    assert len(model.handler.batches) == 5
    assert str(model.spent) == "0.05"


def test_lost_answers_are_billed_and_refusals_are_not(serve):
    model = opened(serve, truncated, Reply(429, headers={"Retry-After": "0"}), price=0.01)
    scores_of(model)
    assert str(model.spent) == "0.14"  # 7 rows twice
    assert [str(e.cost) for e in model.ledger.entries if e.rows] == ["0.07", "0", "0.07"]


def test_calls_that_do_something_are_not_repeated(serve, tmp_path):
    mapping = {
        "input": "tensor",
        "request": {"idempotent": False, "batch": 9, "body": {"x": "$items"}},
        "response": {"items": "y", "scores": "[*]"},
    }
    replies = [Reply(429, headers={"Retry-After": "0"}), truncated(None), as_json({"y": TRUE.tolist()})]
    server = serve(lambda asked: replies.pop(0))
    model = open_endpoint(f"{server.url}/classify", mapping=mapping, patience=QUICK)
    with pytest.raises(ModelError, match="PO?ST /classify: the connection broke"):
        scores_of(model)
    assert len(server.asked) == 2, "a 429 was not worked on and may be repeated; a lost answer may not"


def test_the_rate_is_kept(serve):
    model = opened(serve, rate=50.0, max_batch=1, concurrency=4)
    started = time.monotonic()
    scores_of(model)
    assert time.monotonic() - started > 6 / 50


def test_no_more_requests_than_allowed_are_under_way(serve):
    import threading

    under_way, most, lock = 0, 0, threading.Lock()

    def counting(feeds):
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.03)
        with lock:
            under_way -= 1
        return {"y": feeds["x"] @ W.T}

    model = opened(serve, handler=server_of(model=counting), concurrency=3, max_batch=1)
    np.testing.assert_array_equal(scores_of(model), TRUE)
    assert most == 3


def test_pieces_that_arrived_before_a_failure_are_handed_over(serve):
    pieces = opened(serve, None, None, *[Reply(400)] * 9, max_batch=2).stream(Score(X, Untouched(), every_score))
    got = [next(pieces), next(pieces)]
    with pytest.raises(ModelError, match="status 400"):
        next(pieces)
    assert [part for part, _ in got] == [(0, 2), (2, 4)]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in got]), TRUE[:4])


def test_every_call_is_in_the_ledger(serve, tmp_path):
    path = tmp_path / "calls.jsonl"
    model = opened(serve, Reply(500), price={"per_call": 1, "currency": "USD"}, max_batch=4, ledger=path)
    scores_of(model)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == model.ledger.calls == 5
    assert path.stat().st_mode & 0o777 == 0o600
    calls = lines[2:]
    assert [(c["rows"], c["status"], c["attempt"], c["cost"]) for c in calls] == [
        (4, 500, 1, "0"),
        (4, 200, 2, "1"),
        (3, 200, 1, "1"),
    ]
    assert calls[1]["request"] == "req-1"
    assert calls[1]["call"] == "POST /v2/models/m/infer"
    assert calls[1]["sent"] > 48
    assert calls[1]["received"] > 16
    assert datetime.fromisoformat(calls[0]["time"]).tzinfo is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"concurrency": 0}, "concurrency is 0; accepted: a whole number of at least 1"),
        ({"max_batch": 1.5}, r"max_batch is 1\.5"),
        ({"max_calls": 0}, "max_calls is 0"),
        ({"rate": -1}, "rate is -1; accepted: calls per second, above 0"),
        ({"timeout": {"total": 0}}, "timeout is .*accepted: seconds in all"),
        ({"timeout": {"totl": 3}}, "timeout is .*accepted: seconds in all"),
        ({"price": -3}, "price is '-3'; accepted: an amount of money"),
        ({"price": {"per_raw": 1}}, "Unknown part of a price: 'per_raw'. Did you mean 'per_row'"),
        ({"max_cost": 3}, "max_cost limits money, but no price is given"),
        ({"scores": "probs"}, "scores is 'probs'; accepted: logits, probabilities"),
        ({"top_k": 2, "output": "z"}, "Unknown output 'z'"),
    ],
)
def test_options_that_cannot_be_used(serve, options, message):
    with pytest.raises(UsageError, match=message):
        open_endpoint(f"{serve(server_of()).url}/v2/models/m", **options)
