"""``xplain explain URL``: options from a file, the bill before, the cache after."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli.tiny import CAUSE, write_model
from servers import Server, V2Server, session_model

from xplain.results.attribution import Attribution

OPTIONS = ("--patch", 4, "--stride", 4)


@pytest.fixture
def remote(tmp_path):
    """The tiny classifier behind a server, its card, and the options to reach it."""
    import onnx

    file = write_model(tmp_path / "tiny.onnx")
    proto = onnx.load(file)
    given, out = proto.graph.input[0], proto.graph.output[0]
    shape = [d.dim_value or -1 for d in given.type.tensor_type.shape.dim]
    handler = V2Server(
        session_model(proto, out.name), {given.name: ("FP32", [-1, *shape[1:]])}, {out.name: ("FP32", [-1, 3])}
    )
    server = Server(handler)
    server.handler = handler
    server.words = ("explain", f"{server.url}/v2/models/m")
    options = tmp_path / "vendor.toml"
    options.write_text(
        'labels = ["bright", "dark", "other"]\nledger = "calls.jsonl"\nauth = "${VENDOR_TOKEN}"\n'
        '[price]\nper_row = 0.01\ncurrency = "EUR"\n'
    )
    server.options = ("--endpoint", options, "--card", file.with_name("tiny.card.toml"), *OPTIONS)
    yield server
    server.stop()


def test_the_bill_comes_first_and_the_cache_pays_once(xplain, remote, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", "s3cr3t-t0ken")
    bill = xplain(*remote.words, pictures, *remote.options, "--dry-run", "--json")
    assert bill.code == 0, bill.err
    assert remote.handler.rows == []
    assert (bill.document["cost"], bill.document["currency"]) == (str(bill.document["queries"] / 100), "EUR")
    said = xplain(*remote.words, pictures, *remote.options, "--dry-run")
    assert "EUR, retries not counted" in said.out
    cache = tmp_path / "cache"
    first = xplain(*remote.words, pictures, *remote.options, "--out", tmp_path / "out", "--cache", cache)
    assert first.code == 0, first.err
    asked = len(remote.handler.rows)
    assert len(set(remote.handler.rows)) == asked
    assert asked <= bill.document["queries"]
    found = Attribution.load(tmp_path / "out" / "a.occlusion.npz")
    assert found.values[0][CAUSE].sum() == pytest.approx(found.values.sum(), rel=1e-5)
    again = xplain(*remote.words, pictures, *remote.options, "--out", tmp_path / "again", "--cache", cache)
    assert again.code == 0, again.err
    assert len(remote.handler.rows) == asked
    same = Attribution.load(tmp_path / "again" / "a.occlusion.npz")
    np.testing.assert_array_equal(same.values, found.values)
    assert (tmp_path / "calls.jsonl").read_text().count("/infer") == len(remote.handler.batches)
    texts = [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()]
    assert not any(b"s3cr3t-t0ken" in text for text in texts)


def test_money_ends_the_run(xplain, remote, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", "s3cr3t-t0ken")
    ran = xplain(*remote.words, pictures, *remote.options, "--out", tmp_path / "out", "--max-cost", "0.1")
    assert ran.code != 0
    assert "--max-cost 0.1 EUR" in ran.err
    assert len(remote.handler.rows) <= 10


def test_the_sentinel_notices_a_replaced_model(xplain, remote, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", "s3cr3t-t0ken")
    model = remote.handler.model
    remote.handler.model = lambda feeds: {
        name: value + (3.0 if len(remote.handler.rows) > 20 else 0.0) for name, value in model(feeds).items()
    }
    ran = xplain(*remote.words, pictures, *remote.options, "--out", tmp_path / "out", "--sentinel", 5)
    assert ran.code != 0
    assert "has changed: to the same input class" in ran.err


@pytest.mark.parametrize(
    ("content", "message"),
    [("labels = [", "cannot be read"), ("labells = 3", "labells")],
)
def test_options_that_cannot_be_used(xplain, remote, pictures, tmp_path, content, message):
    (tmp_path / "bad.toml").write_text(content)
    ran = xplain(*remote.words, pictures, "--endpoint", tmp_path / "bad.toml")
    assert ran.code == 2
    assert message in ran.err


def test_the_announced_calls_are_the_calls_that_leave(xplain, remote, pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("VENDOR_TOKEN", "s3cr3t-t0ken")
    options = tmp_path / "vendor.toml"
    options.write_text(options.read_text().replace("per_row = 0.01", "per_row = 0.01\nper_call = 0.5"))
    bill = xplain(*remote.words, pictures, *remote.options, "--dry-run", "--json").document
    ran = xplain(*remote.words, pictures, *remote.options, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    cost = ran.document["cost"]
    assert cost["calls"] == len(remote.handler.batches) == bill["calls"]
    assert (float(cost["money"]), cost["currency"]) == (pytest.approx(float(bill["cost"])), "EUR")
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())["run"]["cost"]
    assert (recorded["calls"], recorded["money"]) == (cost["calls"], cost["money"])
    said = xplain(*remote.words, pictures, *remote.options, "--out", tmp_path / "again")
    assert f"{cost['calls']} calls for {float(cost['money']):g} EUR" in said.out
