"""``xplain audit``: what its verbs say, and with which exit codes."""

from __future__ import annotations

import shutil

import nets
import numpy as np
import onnx
import pytest
from audit.test_rows_and_texts import table
from cli.test_rows import people
from cli.tiny import write_model, write_picture

import xplain as library

__all__ = ["people"]  # a fixture that this file uses

pytest.importorskip("pyarrow")

QUICK = ("--metrics", "none", "--method", "occlusion:patch=4,stride=4", "--shard-rows", 2)


@pytest.fixture
def photos(tmp_path):
    """A folder per label, of three pictures."""
    for name, bright in (("bright/a", True), ("dark/a", False), ("dusk/a", False)):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        write_picture(tmp_path / "photos" / f"{name}.png", bright)
    return tmp_path / "photos"


def test_an_audit_is_planned_run_and_verified(xplain, model, photos, tmp_path):
    out = tmp_path / "audit"
    planned = xplain("audit", "plan", model, photos, "--out", out, "--labels", "folders", *QUICK, "--json")
    assert planned.code == 0
    told = planned.document
    assert [told["items"], told["shards"], told["folder"]] == [3, 2, str(out)]
    assert told["lanes"][0]["options"] == {"patch": 4, "stride": 4}
    assert told["estimate"]["evaluations"] == 3 * 17
    assert any("'dusk' (1)" in one for one in told["warnings"])
    assert told["audit"] == library.audit.open(out).plan.identity
    status = xplain("audit", "status", out, "--json")
    assert (status.code, status.document["sealed"], status.document["of"]) == (4, 0, 2)
    assert xplain("audit", "verify", out).code == 4
    some = xplain("audit", "run", out, "--workers", 0, "--shards", "1", "--json")
    assert (some.code, some.document["sealed"], some.document["done"]) == (4, 1, False)
    ran = xplain("audit", "run", out, "--workers", 0)
    assert (ran.code, ran.out.strip()) == (0, "2 of 2 shards sealed")
    assert xplain("audit", "status", out).code == 0
    found = xplain("audit", "verify", out, "--recompute", 2, "--json")
    assert (found.code, found.document["sound"], found.document["recomputed"]) == (0, True, [0, 1])
    part = next((out / "parts").glob("*.npy"))
    part.write_bytes(part.read_bytes()[:-3])
    damaged = xplain("audit", "verify", out, "--repair", "--json")
    assert (damaged.code, len(damaged.document["repaired"])) == (1, 1)
    assert "holds other bits" in damaged.document["damaged"][0]["what"]
    assert xplain("audit", "verify", out).code == 4


def test_metrics_are_named_as_for_measure(xplain, model, photos, tmp_path):
    words = ("audit", "plan", model, photos, "--dry-run", "--method", "occlusion:patch=4,stride=4", "--json")
    for asked in (
        ("--metrics", "deletion:steps=4,sparseness"),
        ("--metric", "deletion:steps=4", "--metric", "sparseness"),
    ):
        assert xplain(*words, *asked).document["metrics"] == ["deletion", "sparseness"]


def test_twins_and_a_file_of_wishes_make_one_plan(xplain, model, photos, tmp_path):
    shutil.copy(write_model(tmp_path / "other.onnx"), tmp_path / "int8.onnx")
    words = ("audit", "plan", f"fp32={model}", f"int8={tmp_path / 'other.onnx'}", photos, "--out", tmp_path / "one")
    first = xplain(*words, *QUICK, "--json").document
    assert [lane["name"].split("/")[0] for lane in first["lanes"]] == ["fp32", "int8"]
    (tmp_path / "audit.toml").write_text(
        'items = "photos"\nmethods = "occlusion:patch=4,stride=4"\nmetrics = ""\nshard_rows = 2\n'
        '[models]\nfp32 = "tiny.onnx"\nint8 = {source = "other.onnx"}\n'
    )
    again = xplain("audit", "plan", tmp_path / "audit.toml", "--out", tmp_path / "two", "--json").document
    assert again["audit"] == first["audit"]
    other = xplain("audit", "plan", tmp_path / "audit.toml", "--out", tmp_path / "two", "--seed", 5)
    assert other.code == 2
    assert "seed was 0 and is 5" in other.err


def test_what_a_run_cannot_be_given_is_said_in_flags(xplain, model, photos, tmp_path):
    out = tmp_path / "audit"
    xplain("audit", "plan", model, photos, "--out", out, *QUICK)
    for words, said in (
        (("--shards", "0-"), "--shards is '0-'; accepted: numbers and ranges, such as 0,4-7"),
        (("--shards", "1-0"), "--shards is '1-0'; accepted: numbers and ranges, such as 0,4-7"),
        (("--shards", "0-99999999999"), "--shards is '0-99999999999'; accepted: numbers and ranges"),
        (("--shards", "7"), "--shards is [7]; accepted: numbers from 0 to 1"),
        (("--most-errors", 2), "--most-errors is 2.0; accepted: a share from 0 to 1"),
    ):
        ran = xplain("audit", "run", out, *words)
        assert (ran.code, ran.out) == (2, "")
        assert said in ran.err
    assert xplain("audit", "run", tmp_path / "nowhere").code == 2


def test_a_rehearsal_writes_nothing(xplain, model, photos, tmp_path):
    ran = xplain("audit", "plan", model, photos, *QUICK, "--dry-run")
    assert ran.code == 0
    assert "nothing was written" in ran.out
    assert not list(tmp_path.glob("*/plan.json"))


def test_errors_name_the_flags_of_the_verb_of_the_verb(xplain, model, photos, tmp_path):
    cases = (
        (("plan", model), "Give MODEL ITEMS"),
        (("plan", model, photos), "Give --out FOLDER, or --dry-run"),
        (("plan", model, photos, "--out", tmp_path / "a", "--sample", "some"), "--sample is 'some'; accepted"),
        (("plan", model, photos, "--out", tmp_path / "a", "-m", "occlusoin"), "Did you mean 'occlusion'?"),
        (("plan", model, tmp_path / "gone", "--out", tmp_path / "a"), "There is nothing at"),
        (("plan", model, photos, "--out", tmp_path / "a", "--labels", "colour"), "--labels is 'colour'; accepted"),
        (("status", tmp_path), "holds no audit: 'xplain audit plan' makes one"),
        (("verify", tmp_path, "--model", "tiny"), "--model is 'tiny'; accepted: NAME=FILE"),
        (("verify", tmp_path, "--recompute", -1), "--recompute is -1"),
    )
    for words, said in cases:
        ran = xplain("audit", *words)
        assert (ran.code, said in ran.err) == (2, True), ran.err
    assert not (tmp_path / "a").exists()
    assert "--methd" in xplain("audit", "plan", model, photos, "--methd", "x").err


def test_rows_are_said_by_flags_and_flags_of_rows_alone_are_refused(xplain, people):
    table(people, 12)
    given = ("audit", "plan", people / "people.onnx", people / "items.csv", "--metrics", "none")
    flags = ("--rows", "--columns", "age,income,job", "--background", people / "back.csv")
    ran = xplain(*given, *flags, "--out", people / "audit", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["lanes"][0]["map"] == [3]
    assert ran.document["lanes"][0]["method"] == "kernel-shap"
    ran = xplain(*given, "--columns", "age", "--out", people / "b")
    assert ran.code == 2
    assert "--columns is of rows: give --rows too" in ran.err


def test_a_model_is_opened_as_explain_opens_it_also_by_a_worker_and_a_changed_way_is_refused(xplain, tmp_path):
    """A file of two inputs, one of them fixed by a file; its second output's name, limits and engine go along."""
    onnx.save(nets.two_inputs(), tmp_path / "two.onnx")
    np.save(tmp_path / "extra.npy", np.array([[1.0, 2.5]], np.float32))
    (tmp_path / "items").mkdir()
    x = np.random.default_rng(0).random((3, 1, 4, 4)).astype(np.float32)
    for k, one in enumerate(x):
        np.save(tmp_path / "items" / f"{k}.npy", one)
    words = ("--fixed", f"extra={tmp_path / 'extra.npy'}", "--input", "picture", "--output", "scores",
             "--engine", "plain", "--limit", "nodes=5000", "--batch-size", 3, "--classes", "up,down")  # fmt: skip
    asked = ("audit", "plan", tmp_path / "two.onnx", tmp_path / "items", "-m", "occlusion:patch=2,stride=2",
             "--metrics", "none", "--out", tmp_path / "out")  # fmt: skip
    refused = xplain(*asked)
    assert refused.code == 2
    assert "--fixed" in refused.err
    planned = xplain(*asked, *words)
    assert planned.code == 0, planned.err
    plan = library.audit.open(tmp_path / "out").plan
    assert (plan.models[0].engine, plan.lanes[0].batch) == ("plain", 3)
    assert xplain("audit", "run", tmp_path / "out", "--workers", 1).code == 0
    records = library.audit.open(tmp_path / "out").records(["score", "predicted"]).to_pylist()
    each = (np.arange(16), np.arange(16)[::-1])
    scores = np.stack([(x.reshape(3, 16) * w).sum(1) for w in each], axis=1) + np.array([10, 25])
    assert [row["predicted"] for row in records] == scores.argmax(axis=1).tolist()
    assert [row["score"] for row in records] == pytest.approx(scores.max(axis=1), rel=1e-6)
    where = tmp_path / "out" / "where.json"
    where.write_text(where.read_text().replace('"engine": "plain"', '"engine": "fast"'))
    refused = xplain("audit", "verify", tmp_path / "out", "--recompute", 1)
    assert refused.code == 2
    assert "planned with engine 'plain', and where.json now says 'fast'" in refused.err
    assert xplain(*asked, *words, "--limit", "nodes=0").code == 2


def test_masks_lengths_and_hidden_values_are_those_of_explain(xplain, people, tmp_path):
    table(tmp_path)
    rows = ("audit", "plan", people / "people.onnx", tmp_path / "items.csv", "--rows", "--metrics", "none", "--out")
    planned = xplain(*rows, tmp_path / "rows", "--hidden", "job=clerk", "--labels", "column:label")
    assert planned.code == 0, planned.err
    assert library.audit.open(tmp_path / "rows").plan.models[0].door["hidden"] == {"job": "clerk"}
    wrong = xplain(*rows, tmp_path / "not", "--hidden", "job")
    assert (wrong.code, "COLUMN=VALUE" in wrong.err) == (2, True)
    wrong = xplain(*rows, tmp_path / "not", "--longest", 3)
    assert (wrong.code, "--longest is of texts: give --texts COLUMN too." in wrong.err) == (2, True)
