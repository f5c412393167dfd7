"""Odd places and moments: what cannot be written, held or trusted is refused in words, and nothing half-done stays."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from audit.sealed import LANE, seal

import xplain
from xplain.audit.sources.folder import listing
from xplain.audit.stores.store import Store
from xplain.core.errors import ModelError, OutputError, UsageError

pytest.importorskip("pyarrow")

ASKED = {"methods": "occlusion:patch=4,stride=4", "metrics": "", "shard_rows": 2}


def test_places_that_cannot_be_written_are_refused(model, photos, tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no-such-place"), Path("a\0b")):
        with pytest.raises(OutputError, match=r"is no folder|Cannot plan in"):
            xplain.audit.plan(model, photos, out=out, **ASKED)
    assert (tmp_path / "file").read_text() == "x"


def test_a_disk_that_fills_up_leaves_no_part_of_a_plan(model, photos, tmp_path, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        xplain.audit.plan(model, photos, out=tmp_path / "audit", **ASKED)
    monkeypatch.undo()
    assert not (tmp_path / "audit").exists()


def test_two_runs_at_once_are_one_run_and_a_refusal(copied):
    with Store(copied).hold(), pytest.raises(OutputError, match="Another run is at work"):
        xplain.audit.run(copied, workers=0)
    assert xplain.audit.run(copied, workers=0).done


def test_a_model_that_changes_between_shards_mixes_with_nothing(made, copied):
    """What was sealed before stays; nothing is sealed with the other model; with the planned one the run goes on."""
    tiny = made.parent / "tiny.onnx"
    planned = tiny.read_bytes()
    try:
        tiny.write_bytes(planned + b"\x28\x07")
        with pytest.raises(ModelError, match="'tiny' is not the one that was planned"):
            xplain.audit.run(copied, workers=0)
        assert Store(copied).sealed() == {0, 1}
    finally:
        tiny.write_bytes(planned)
    assert xplain.audit.run(copied, workers=0).done
    assert xplain.audit.verify(copied, recompute=3).sound


def test_a_store_of_a_newer_version_is_refused_by_every_door(copied):
    path = copied / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2'))
    for door in (xplain.audit.open, xplain.audit.run, xplain.audit.status, xplain.audit.verify):
        with pytest.raises(UsageError, match="of a newer xplain"):
            door(copied)


def test_resuming_with_other_versions_is_refused(copied, monkeypatch):
    monkeypatch.setattr("xplain.audit.shards.guarding.versions_now", lambda _: {"numpy": "0.1"})
    with pytest.raises(UsageError, match=r"planned with other versions: .*numpy was [\d.]+, is 0\.1"):
        xplain.audit.run(copied, workers=0)


def test_a_shard_cut_in_half_is_found_and_made_again_by_a_run(copied):
    xplain.audit.run(copied, workers=0)
    root = xplain.audit.open(copied).root
    for name in Store(copied).seals()[2].parts.values():
        part = copied / "parts" / name
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    assert not xplain.audit.verify(copied).sound
    xplain.audit.verify(copied, repair=True)
    assert xplain.audit.run(copied, workers=0).done
    assert (xplain.audit.verify(copied).sound, xplain.audit.open(copied).root) == (True, root)


def test_names_of_one_folder_come_sorted_whatever_the_disk_says(tmp_path):
    wanted = [f"{k:05d}.png" for k in range(500)]
    for k in np.random.default_rng(0).permutation(500):
        os.close(os.open(tmp_path / wanted[k], os.O_CREAT | os.O_WRONLY))
    (tmp_path / "00499.d").mkdir()
    (tmp_path / "00499.d" / "a.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list(listing(tmp_path)) == sorted([*wanted, "00499.d/a.png"])


def test_a_class_of_one_item_is_sampled_and_told(model, photos, tmp_path):
    made = xplain.audit.plan(
        model, photos, out=tmp_path / "a", **{**ASKED, "metrics": "sparseness"}, labels="folders", sample=3
    )
    assert len(made.plan.grading.sample) == 3
    assert made.power[1].items == 1
    assert any("nothing can be said of such a class" in one for one in made.told)


def test_a_seal_that_another_machine_made_otherwise_is_told(copied):
    seal(copied, (2,))
    store = Store(copied)
    was = store.seals()[2]
    parts = {**was.parts, "records": store.put(b"other bits", "parquet")}
    with pytest.raises(Exception, match="sealed with other bits before: records differ"):
        store.seal(2, {"audit": was.audit, "shard": 2, "first": was.first, "rows": was.rows, "parts": parts})
    assert store.seals()[2] == was


@pytest.mark.parametrize(
    ("ask", "option"),
    [
        (lambda out: xplain.audit.run(out, max_cost="5"), "max_cost"),
        (lambda out: xplain.audit.run(out, most_errors="all"), "most_errors"),
        (lambda out: xplain.audit.run(out, shards="0"), "shards"),
        (lambda out: xplain.audit.run(out, shards=2), "shards"),
        (lambda out: xplain.audit.run(out, shards=[0.5]), "shards"),
        (lambda out: xplain.audit.verify(out, 1, seed=-1), "seed"),
        (lambda out: xplain.audit.analyse(out, which=3), "which"),
        (lambda out: xplain.audit.report(out, out.parent / "page", reviewer=5), "reviewer"),
        (lambda out: xplain.audit.open(out).maps(LANE, [0.5]), "items"),
        (lambda out: xplain.audit.open(out).maps(LANE, 3), "items"),
        (lambda out: xplain.audit.open(out).maps(LANE, [99]), "items"),
        (lambda out: xplain.audit.open(out).picture("a"), "items"),
    ],
)
def test_values_of_another_kind_are_refused_with_what_is_accepted(made, ask, option):
    with pytest.raises(UsageError) as caught:
        ask(made)
    assert caught.value.option == option


@pytest.mark.parametrize("name", ["gradient", "vanilla-gradient"])
def test_another_name_of_a_method_is_that_method(model, photos, tmp_path, name):
    planned = xplain.audit.plan(str(model), str(photos), out=tmp_path / "out", methods=name, metrics="", shard_rows=9)
    own = xplain.audit.plan(str(model), str(photos), out=tmp_path / "own", methods="saliency", metrics="", shard_rows=9)
    assert planned.plan.identity == own.plan.identity


def test_analyses_are_planned_by_name_or_refused(model, photos, tmp_path):
    asked = {"out": tmp_path / "out", "dry_run": True, **ASKED}
    with pytest.raises(UsageError, match="analyses is 3; accepted: standard, shortcuts, mass"):
        xplain.audit.plan(str(model), str(photos), analyses=3, **asked)
    assert xplain.audit.plan(str(model), str(photos), analyses=["mass "], **asked).plan.analyses == ("mass",)


def test_items_that_were_moved_are_gone_on_with_from_where_they_are(model, photos, tmp_path):
    stays, out = tmp_path / "stays", tmp_path / "out"
    for one in (stays, out):
        xplain.audit.plan(str(model), str(photos), out=one, **ASKED)
    xplain.audit.run(stays, workers=0)
    xplain.audit.run(out, workers=0, shards=[0])
    photos.rename(tmp_path / "moved")
    with pytest.raises(UsageError, match=r"Were the items moved\? Say where they are: items="):
        xplain.audit.run(out, workers=0)
    assert xplain.audit.run(out, workers=2, items=str(tmp_path / "moved")).done
    assert xplain.audit.open(out).root == xplain.audit.open(stays).root


def test_a_plan_that_could_not_be_kept_leaves_no_empty_folders(model, photos, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("xplain.audit.stores.where.Where.write", full)
    with pytest.raises(OutputError, match="No space left"):
        xplain.audit.plan(
            str(model), str(photos), out=tmp_path / "out", methods="occlusion:patch=4,stride=4", metrics=""
        )
    assert not [one for one in tmp_path.glob("out/*") if one.is_dir()]


def test_a_log_that_cannot_be_written_ends_a_run_in_words(copied):
    for one in (copied / "log").glob("*"):
        one.unlink()
    (copied / "log").rmdir()
    (copied / "log").write_text("no folder")
    with pytest.raises(OutputError, match=r"Cannot write \S+jsonl: "):
        xplain.audit.run(copied, workers=0)
