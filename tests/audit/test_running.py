"""A run may be killed, starved, stopped and begun again: what is sealed is done, and the store ends the same."""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from toy import Toy

import xplain
from xplain import audit
from xplain.audit.shards.running import run
from xplain.audit.shards.workload import TooManyErrors
from xplain.audit.stores.store import Store
from xplain.core.errors import OutputError, UsageError
from xplain.core.price import Price

sys.path.insert(0, str(Path(__file__).parent))
import planted

KILLS = Path(xplain.__file__).parents[1] / "benchmarks" / "audit" / "kills.py"
POISON = """
import os, signal
from PIL import Image
opened = Image.open
def open(file, *rest, **more):
    file.seek(0)
    if file.read(6) == b"POISON":
        os.kill(os.getpid(), signal.SIGSEGV)
    file.seek(0)
    return opened(file, *rest, **more)
Image.open = open
"""


@pytest.fixture(scope="module")
def kills():
    spec = importlib.util.spec_from_file_location("xplain_benchmarks_kills", KILLS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stage(kills, tmp_path_factory):
    """An audit of five shards, and what an undisturbed run of it leaves."""
    return kills.Stage(tmp_path_factory.mktemp("stage"), items=24)


def records(folder):
    store = Store(folder)
    return [
        row for seal in store.seals().values() for row in pq.read_table(store.path(seal.parts["records"])).to_pylist()
    ]


def test_a_run_that_is_killed_at_random_ends_with_the_same_bits(kills, stage):
    told = kills.random_kills(stage, random.Random(5), 6, 20)
    assert told["kills"] >= 1
    assert told["wrong"] == 0


def test_a_run_that_dies_between_any_two_steps_of_a_write_goes_on(kills, stage):
    told = kills.every_step(stage, 6, stride=13)
    assert told["steps"] >= 1
    assert told["wrong"] == 0


def test_a_full_disk_ends_a_run_and_not_the_audit(stage, monkeypatch):
    folder = stage.copy("full")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            run(folder, workers=0)
    assert run(folder, workers=0).done
    assert stage.whole(folder) == ""


def test_two_workers_and_one_killed_in_between_make_what_one_process_makes(stage):
    folder = stage.copy("workers")
    killed = []

    def kill(found):
        if not killed:
            children = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "shards.working"], capture_output=True)
            killed.append(int(children.stdout.split()[0]))
            os.kill(killed[0], signal.SIGKILL)

    found = run(folder, workers=2, told=kill)
    assert killed
    assert found.done
    assert stage.whole(folder) == ""


def test_an_item_that_ends_its_process_becomes_an_error_row(kills, tmp_path, monkeypatch):
    """The decoder dies of a segmentation fault; its neighbours are what they are without it."""
    data = planted.pictures(tmp_path / "data", 6)
    poison = sorted(data.rglob("*.png"))[4]
    poison.write_bytes(b"POISON" * 20)
    planted.audit(tmp_path / "clean", data, {"rise": planted.METHODS["rise"]}, rows=2, shard_rows=3)
    shutil.copytree(tmp_path / "clean", tmp_path / "out")
    run(tmp_path / "clean", workers=0)  # where no decoder dies of it: it is no picture
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(POISON)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    found = run(tmp_path / "out", workers=1)
    assert (found.done, found.errors) == (True, 1)
    pairs = zip(records(tmp_path / "clean"), records(tmp_path / "out"), strict=True)
    other = [b for a, b in pairs if a != b]
    assert [one["error"] for one in other] == ["The process that read or explained it died, again and again."]
    assert other[0]["name"] == poison.relative_to(data).as_posix()


def test_a_run_ends_behind_the_shard_under_way_when_it_is_asked_to(stage):
    folder = stage.copy("asked")
    found = run(folder, workers=0, told=lambda _: os.kill(os.getpid(), signal.SIGTERM))
    assert (found.sealed, found.done) == (1, False)
    assert "SIGTERM" in str(found)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    found = run(folder, workers=0, max_hours=1e-9)
    assert (found.sealed, found.why) == (1, "the time that it may take, 1e-09 h, is over")
    assert run(folder, workers=0, shards=[0, 2]).sealed == 2
    assert run(folder, workers=0).done
    assert stage.whole(folder) == ""


def test_a_second_run_on_the_same_folder_is_refused(stage):
    folder = stage.copy("twice")
    refused = []

    def again(_):
        if not refused:
            with pytest.raises(OutputError, match="Another run is at work") as caught:
                run(folder, workers=0)
            refused.append(caught)

    run(folder, workers=0, told=again)
    assert refused


def test_more_errors_than_a_run_may_let_pass_stop_it(tmp_path):
    data = planted.pictures(tmp_path / "data", 8)
    for one in sorted(data.rglob("*.png"))[2:]:
        one.write_bytes(b"no picture")
    planted.audit(tmp_path / "out", data, {"saliency": {}}, shard_rows=4)
    with pytest.raises(TooManyErrors, match=r"6 of 8 rows failed \(75%\), .* share of 0.5 that a run") as caught:
        run(tmp_path / "out", workers=0)
    assert "The first: b/001.png, b/006.png, c/002.png: the given picture is no picture" in str(caught.value)
    assert str(caught.value).endswith("to go on all the same, give most_errors=1.")
    found = run(tmp_path / "out", workers=0, most_errors=1)
    assert found.done


@pytest.mark.parametrize(
    ("option", "value"), [("workers", -1), ("max_hours", 0), ("max_cost", -1), ("most_errors", 2), ("shards", [99])]
)
def test_what_a_run_cannot_be_given(stage, option, value):
    with pytest.raises(UsageError) as caught:
        run(stage.reference, **{option: value})
    assert caught.value.option == option


def test_a_run_in_another_thread_leaves_signals_alone(stage):
    folder, found = stage.copy("thread"), []
    thread = threading.Thread(target=lambda: found.append(run(folder, workers=0)))
    thread.start()
    thread.join()
    assert found[0].done


def test_no_paid_query_is_asked_twice_whatever_broke_in_between(tmp_path):
    """Answers of a shard that was not sealed lie in the audit's folder; money ends a run before what it may exceed."""
    rows = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    price = Price(per_row=Decimal("0.5"))
    how = {"methods": {"occlusion": {"patch": 1, "stride": 1}}, "metrics": None, "shard_rows": 2}
    trial, first, second = Toy(price=price), Toy(price=price, fail_after=18), Toy(price=price)
    audit.plan({"toy": trial}, rows, out=tmp_path / "out", **how)
    with pytest.raises(RuntimeError, match="the toy broke"):
        run(tmp_path / "out", models={"toy": first})
    assert Store(tmp_path / "out").sealed() == {0, 1}  # the first was paid by the trial of the plan
    found = run(tmp_path / "out", models={"toy": second}, max_cost=3)
    assert not found.done
    assert "does not pay for another shard of up to 7" in found.why
    assert not second.rows
    assert run(tmp_path / "out", models={"toy": second}, max_cost=7 * 2).done
    asked = trial.rows + first.rows + second.rows
    assert len(asked) == len(set(asked)) == 6 * 7


def test_a_run_that_was_killed_keeps_nobody_out_and_one_that_lives_says_who_it_is(kills, stage):
    """A lock ends with its process; the file that is left holds nobody off, nor do the parts that were half-written."""
    folder = stage.copy("locked")
    number = kills.life(folder)
    while not list((folder / "seals").glob("*.json")):
        pass
    with pytest.raises(OutputError, match=rf"Another run is at work on .*: process {number} on .*Wait until it has en"):
        run(folder, workers=0)
    os.kill(number, signal.SIGKILL)
    os.waitpid(number, 0)
    assert (folder / ".xplain.lock").exists()
    (folder / "parts" / ".tmp.1.aa").write_bytes(b"half")
    assert run(folder, workers=0, shards=[0]).sealed >= 1
    assert not (folder / "parts" / ".tmp.1.aa").exists()
    assert run(folder, workers=0).done
    assert stage.whole(folder) == ""


def test_a_folder_in_place_of_a_seal_is_no_seal(stage):
    folder = stage.copy("blocked")
    (folder / "seals").mkdir(exist_ok=True)
    (folder / "seals" / "00000001.json").mkdir()
    assert audit.status(folder).sealed == 0
    with pytest.raises(OutputError, match=r"00000001\.json is no file, and a seal is one\. Remove it, and run again"):
        run(folder, workers=0)
    assert [str(one) for one in audit.verify(folder).damaged] == [
        "shard 1: its seal's name is taken by something that is no file"
    ]
    assert audit.verify(folder, repair=True).repaired == (1,)
    assert run(folder, workers=0).done
    assert stage.whole(folder) == ""
