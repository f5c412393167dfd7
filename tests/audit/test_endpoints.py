"""An endpoint as the model of pictures, rows and texts: counted by a server, killed between, nothing paid twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from servers import Reply, Server, V2Server, server_of

import xplain
from xplain.audit.shards.running import run

pytest.importorskip("pyarrow")

SECRET = "s3cr3t-of-the-vendor"


def mood(feeds):
    """Scores of texts: good against bad."""
    texts = [str(one) for one in next(iter(feeds.values())).reshape(-1)]
    up = np.array([one.count("good") - 2.0 * one.count("bad") for one in texts], np.float32)
    return {"y": np.stack([-up, up], axis=1)}


def pictured(feeds):
    """Scores of pictures ``[N, 3, 8, 8]``: the upper half against the lower."""
    x = next(iter(feeds.values()))
    return {"y": np.stack([x[:, :, :4].mean((1, 2, 3)), x[:, :, 4:].mean((1, 2, 3))], axis=1)}


def kinds(folder):
    """By kind: the server, the items and what is asked."""
    rng = np.random.default_rng(0)
    (folder / "photos").mkdir()
    from PIL import Image

    for k in range(6):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / "photos" / f"{k}.png")
    rows = {name: (rng.integers(-16, 17, 6) / 8 + 1 / 16).tolist() for name in "abc"}
    texts = ["good film and good plot", "bad cast but good music", "a bad one", "good", "not bad at all", "so so"]
    both = {"y": ("FP32", [-1, 2])}
    card = {"mode": "RGB", "scale": 1 / 255, "layout": "NCHW"}
    return {
        "pictures": (
            V2Server(pictured, {"x": ("FP32", [-1, 3, 8, 8])}, both), folder / "photos",
            {"methods": "occlusion:patch=4,stride=4", "card": card},
        ),
        "rows": (
            server_of(), rows,
            {"methods": "ablation", "rows": {"columns": ["a", "b", "c"], "background": {n: [0.0, 0.5] for n in "abc"}}},
        ),
        "texts": (V2Server(mood, {"x": ("BYTES", [-1])}, both), texts, {"methods": "ablation", "texts": True}),
    }  # fmt: skip


def planned(server, items, asked, out, **more):
    model = {"source": f"{server.url}/v2/models/m", "price": {"per_row": 0.5, "currency": "USD"}, "concurrency": 1,
             "auth": "${VENDOR_TOKEN}", "ledger": out.with_name("calls.jsonl")}  # fmt: skip
    return xplain.audit.plan({"net": model}, items, out=out, metrics="", shard_rows=2, **asked, **more)


CHILD = "import sys, xplain.audit; xplain.audit.run(sys.argv[1], workers=0)"


@pytest.mark.parametrize("kind", ["pictures", "rows", "texts"])
def test_a_run_that_is_killed_goes_on_and_no_answer_is_paid_twice(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    handler, items, asked = kinds(tmp_path)[kind]
    children, after = [], 1

    def before(_):
        if children and len(handler.batches) >= after:
            os.kill(children.pop(), signal.SIGKILL)
            return Reply(503)  # nobody hears it, and nothing was billed
        return None

    handler.before = before
    server = Server(handler)
    try:
        out = tmp_path / "audit"
        made = planned(server, items, asked, out)
        settled = len(handler.rows)
        after += len(handler.batches)
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(out)], env={**os.environ})
        children.append(child.pid)
        assert child.wait(120) == -signal.SIGKILL
        assert not xplain.audit.status(out).done
        assert settled < len(handler.rows)
        assert run(out, workers=0).done
        paid = Counter(handler.rows)
        assert set(paid.values()) == {1}
        assert len(handler.rows) <= made.estimate.asked + settled
        bill = made.estimate.money
        assert bill is not None
        whole = len(handler.rows)
        assert run(out, workers=0).done  # nothing is left to ask
        assert xplain.audit.verify(
            out, recompute=3, models={"net": f"{server.url}/v2/models/m"}
        ).sound  # answers that are kept are compared, not bought
        assert len(handler.rows) == whole
        assert {one.headers.get("authorization") for one in server.infers} == {f"Bearer {SECRET}"}
        xplain.audit.report(out, tmp_path / "report")
        for path in (*out.rglob("*"), *(tmp_path / "report").rglob("*"), tmp_path / "calls.jsonl"):
            assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
        assert "${VENDOR_TOKEN}" in (out / "where.json").read_text()
    finally:
        server.stop()


def test_what_an_item_asks_is_told_before_and_is_what_the_server_counts(tmp_path, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", SECRET)
    for kind, (handler, items, asked) in kinds(tmp_path).items():
        server = Server(handler)
        try:
            made = planned(server, items, asked, tmp_path / kind)
            told = made.estimate
            assert re.search(r"a bill of [0-9.]+ USD, retries not counted", str(told))
            run(tmp_path / kind, workers=0)
            spent = len(handler.rows)
            if kind != "texts":  # whose features differ in number: the trial is one of middle length
                # at most, for what all items share, as the row with everything hidden, is asked once
                assert told.asked - made.plan.items.count < spent <= told.asked
                assert float(told.money) == 0.5 * told.asked
        finally:
            server.stop()
