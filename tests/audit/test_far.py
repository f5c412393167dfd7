"""An audit behind a URL: the store of one in a folder, bit for bit; seals that are made once; what is refused."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest

import xplain.audit
from xplain.audit.stores.far import ObjectStore
from xplain.audit.stores.store import OtherBits, Seal, Store
from xplain.core.errors import MissingDependency, OutputError, UsageError

fsspec = pytest.importorskip("fsspec")

HOW = {"methods": ["occlusion:patch=4,stride=4", "saliency"], "metrics": "", "shard_rows": 2, "labels": "folders"}


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Copies of what lies behind URLs, for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    return tmp_path / "caches"


@pytest.fixture
def memory():
    """A URL of fsspec's memory, emptied afterwards."""
    system = fsspec.filesystem("memory")
    yield "memory://bucket/audit"
    system.store.clear()
    system.pseudo_dirs[:] = [""]


class Slow(fsspec.get_filesystem_class("memory")):
    """A file system that knows no condition and may be looked at while it writes, as one behind SSH."""

    protocol = "slow"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    broken = 0

    def pipe_file(self, path, value, mode="overwrite", **_):
        if Slow.broken:
            Slow.broken -= 1
            super().pipe_file(path, value[: len(value) // 2])
            raise OSError("the line is cut")
        super().pipe_file(path, value)


fsspec.register_implementation("slow", Slow, clobber=True)


@pytest.fixture
def slow():
    yield "slow://host/audit"
    Slow.store.clear()
    Slow.pseudo_dirs[:] = [""]
    Slow.broken = 0


@pytest.fixture(params=["memory", "slow"])
def url(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def here(model, photos, tmp_path):
    """The same audit in a folder, run."""
    xplain.audit.plan(model, photos, out=tmp_path / "here", **HOW)
    assert xplain.audit.run(tmp_path / "here", workers=0).done
    return tmp_path / "here"


def test_an_audit_behind_a_url_is_that_of_a_folder(url, here, model, photos, tmp_path):
    planned = xplain.audit.plan(model, photos, out=url, **HOW)
    assert f"in {url}" in str(planned)
    assert xplain.audit.left(url) == [0, 1, 2]
    assert xplain.audit.run(url, workers=0, shards=[1]).sealed == 1
    assert [xplain.audit.status(url).sealed, xplain.audit.left(url)] == [1, [0, 2]]
    assert xplain.audit.run(url, workers=0).done
    with xplain.audit.open(url) as far, xplain.audit.open(here) as near:
        assert far.root == near.root
        assert far.sql("select * from records order by lane, item").equals(
            near.sql("select * from records order by lane, item")
        )
        lane = far.lanes[0].name
        assert far.maps(lane).tobytes() == near.maps(lane).tobytes()
        assert far.picture(0).tobytes() == near.picture(0).tobytes()
    assert xplain.audit.verify(url, recompute=1).sound
    assert xplain.audit.report(url, tmp_path / "report")[0].name == "index.html"
    assert xplain.audit.diff(here, url).facts[2].text == "2"  # of five pictures
    again = xplain.audit.plan(model, photos, out=url, **HOW)
    assert again.plan.identity == planned.plan.identity
    with pytest.raises(UsageError, match=rf"{url} holds another audit: .*seed was 0 and is 1"):
        xplain.audit.plan(model, photos, out=url, **HOW, seed=1)


def test_a_damaged_part_is_found_and_made_again(url, here, model, photos):
    xplain.audit.plan(model, photos, out=url, **HOW)
    xplain.audit.run(url, workers=0)
    far = ObjectStore(url)
    name = Store(far).seals()[1].parts["records"]
    far._write(f"parts/{name}", b"half")
    assert xplain.audit.open(url).store.path(name).exists() is False  # what was fetched is not what its name says
    assert "holds other bits" in str(xplain.audit.verify(url, repair=True).damaged[0])
    assert xplain.audit.run(url, workers=0).done
    with xplain.audit.open(url) as made, xplain.audit.open(here) as near:
        assert made.root == near.root


@pytest.mark.parametrize(
    "url",
    [
        "sftp://user:geheim@host/audit",
        "s3://key:geheim@bucket/audit",
        "abfs://box@account.dfs.core.windows.net/audit?sv=2026&sig=geheim",
    ],
)
def test_a_url_with_a_secret_is_refused_and_not_repeated(url, model, photos):
    for call in (lambda: ObjectStore(url), lambda: xplain.audit.plan(model, photos, out=url, **HOW)):
        with pytest.raises(UsageError, match="holds a secret") as said:
            call()
        assert "geheim" not in str(said.value)


@pytest.mark.parametrize(
    ("url", "package"),
    [
        ("gs://bucket/audit", "gcsfs"),
        ("abfs://box@account.dfs.core.windows.net/audit", "adlfs"),
        ("s3://b/a", "remote"),
    ],
)
def test_a_driver_that_is_not_installed_is_named(url, package, monkeypatch):
    def absent(url, **_):
        raise ImportError("Please install it")

    monkeypatch.setattr("fsspec.core.url_to_fs", absent)
    with pytest.raises(MissingDependency, match=rf"driver is not installed: .* pip install .*{package}"):
        ObjectStore(url)


def test_options_of_a_driver_come_from_its_environment_and_stand_nowhere_in_the_audit(
    memory, model, photos, tmp_path, monkeypatch
):
    """fsspec's own settings, here a default of the file system: nothing of it is written down."""
    monkeypatch.setitem(fsspec.config.conf, "memory", {"asynchronous": False, "token": "geheim"})
    xplain.audit.plan(model, photos, out=memory, **HOW)
    assert xplain.audit.run(memory, workers=0).done
    system = fsspec.filesystem("memory")
    assert system.storage_options["token"] == "geheim"
    everything = [system.cat_file(name) for name in system.find("/bucket/audit")]
    everything += [path.read_bytes() for path in (tmp_path / "caches").rglob("*") if path.is_file()]
    assert len(everything) > 10
    assert not any(b"geheim" in one for one in everything)


def test_a_seal_is_made_once(url):
    store = Store(ObjectStore(url))
    first = Seal("plan", 3, 0, 4, {"records": store.put(b"a", "parquet")})
    assert [store.seal(3, first), store.seal(3, first), store.sealed()] == [True, False, {3}]
    with pytest.raises(OtherBits, match="records differ"):
        store.seal(3, Seal("plan", 3, 0, 4, {"records": store.put(b"b", "parquet")}))


def test_a_line_that_is_cut_leaves_no_half_of_a_part(slow):
    store = Store(ObjectStore(slow))
    Slow.broken = 1
    with pytest.raises(OutputError, match=r"Cannot write parts/.* of slow://host/audit: the line is cut"):
        store.put(b"rows of a table", "parquet")
    assert list(store.parts()) == []
    assert store.gc() == 1
    assert store.get(store.put(b"rows of a table", "parquet")) == b"rows of a table"


def test_a_server_that_writes_over_what_is_there_is_refused(memory, model, photos, monkeypatch):
    monkeypatch.setattr(ObjectStore, "create", lambda self, name, content: self._write(name, content) or True)
    with pytest.raises(OutputError, match="a name was created twice, so that it could not be trusted"):
        xplain.audit.plan(model, photos, out=memory, **HOW)


def test_places_that_hold_no_audit_or_something_else(memory, model, photos):
    with pytest.raises(UsageError, match="memory://bucket/audit holds no audit"):
        xplain.audit.run(memory)
    ObjectStore(memory).put("letters.txt", b"mine")
    with pytest.raises(OutputError, match=r"holds other files \(letters.txt\)"):
        xplain.audit.plan(model, photos, out=memory, **HOW)
    with pytest.raises(UsageError, match="nonsense://a cannot be opened"):
        xplain.audit.run("nonsense://a")
    with pytest.raises(UsageError, match=r"zip://a cannot be opened"):
        xplain.audit.run("zip://a")
    with pytest.raises(UsageError, match="out is 's3://'; accepted: a folder, or a URL such as s3://bucket/audit"):
        xplain.audit.run("s3://")


def test_a_url_of_this_machine_is_its_folder(model, photos, tmp_path):
    planned = xplain.audit.plan(model, photos, out=f"file://{tmp_path}/a%20b", **HOW)
    assert planned.folder == tmp_path / "a b"
    assert xplain.audit.run(f"file://{tmp_path}/a%20b", workers=1, shards=[0]).sealed == 1
    assert xplain.audit.left(tmp_path / "a b") == [1, 2]


def test_a_rehearsal_writes_nothing_there(memory, model, photos, caches):
    xplain.audit.plan(model, photos, out=memory, dry_run=True, **HOW)
    assert not fsspec.filesystem("memory").store
    assert not list((caches / "xplain" / "audits").iterdir())


def test_answers_that_are_paid_for_are_kept_in_folders_alone(memory):
    import numpy as np
    from toy import Toy

    from xplain.core.price import Price

    toy, rows = Toy(price=Price(per_row=Decimal("0.5"))), np.zeros((2, 6), np.float32)
    xplain.audit.plan({"toy": toy}, rows, out=memory, methods="occlusion:patch=1,stride=1", metrics="")
    with pytest.raises(UsageError, match="keeps no answers that were paid for"):
        xplain.audit.run(memory, models={"toy": toy})


# ------------------------------------------------------------------ a server that speaks S3


@pytest.fixture(scope="module")
def bucket():
    """A server of this machine; one for all, for drivers keep what they have connected to."""
    pytest.importorskip("s3fs")
    running = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
            patch.setenv(f"AWS_{name}", value)
        patch.setenv("AWS_ENDPOINT_URL", "http://{}:{}".format(*running.get_host_and_port()))
        system = fsspec.filesystem("s3")
        system.mkdir("bucket")
        yield system
    running.stop()


@pytest.fixture
def s3(bucket):
    yield "s3://bucket/audit"
    bucket.invalidate_cache()
    for one in bucket.find("bucket"):
        bucket.rm_file(one)


def test_seals_on_s3_are_created_by_a_condition_that_the_server_holds(s3):
    one, other = ObjectStore(s3), ObjectStore(s3)
    assert [one.create("seals/a.json", b"1"), other.create("seals/a.json", b"2")] == [True, False]
    assert one.get("seals/a.json") == b"1"
    assert list(other.names("seals")) == ["a.json"]
    one.remove("seals/a.json")
    assert [list(other.names("seals")), other.create("seals/a.json", b"2")] == [[], True]


@pytest.mark.slow
def test_runs_that_are_killed_end_with_the_store_of_a_folder(s3, here, model, photos):
    xplain.audit.plan(model, photos, out=s3, **HOW)
    draw, killed, span = random.Random(3), 0, 0.0
    command = [sys.executable, "-c", "import sys, xplain.audit; xplain.audit.run(sys.argv[1], workers=0)", s3]
    for attempt in range(40):
        began = time.monotonic()
        process = subprocess.Popen(command)
        try:
            process.wait(None if attempt >= 12 else draw.uniform(1, 6))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            killed += 1
            continue
        span = time.monotonic() - began
        break
    assert (process.returncode, span > 0, killed > 0) == (0, True, True)
    with xplain.audit.open(s3) as far, xplain.audit.open(here) as near:
        assert far.root == near.root
    assert xplain.audit.verify(s3, recompute=1).sound


def test_that_a_copy_is_held_against_its_name(memory, tmp_path):
    far = ObjectStore(memory, tmp_path / "kept")
    store = Store(far)
    name = store.put(b"rows", "npy")
    fsspec.filesystem("memory").pipe_file(f"/bucket/audit/parts/{name}", b"tows")
    assert store.fault(name) == "holds other bits"
    assert not Path(store.path(name)).exists()
