"""The store: parts by content, seals made once, in an order that no kill can catch half done."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xplain.audit.canonical import sha256_of
from xplain.audit.stores.place import LocalFolder
from xplain.audit.stores.store import DamagedPart, OtherBits, Seal, Store
from xplain.core.errors import OutputError


def sealed(store: Store, shard: int, content: bytes) -> Seal:
    return Seal("plan", shard, 4 * shard, 4, {"records": store.put(content, "parquet")})


def test_a_part_is_called_by_its_content_and_written_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = store.put(b"rows", "parquet")
    assert name == f"{sha256_of(b'rows')}.parquet"
    assert store.put(b"rows", "parquet") == name
    assert [store.get(name), list(store.parts())] == [b"rows", [name]]


def test_a_part_with_other_bits_is_not_given_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = store.put(b"rows of a table", "parquet")
    (tmp_path / "parts" / name).write_bytes(b"rows of a tablf")
    with pytest.raises(DamagedPart, match="other bits"):
        store.get(name)
    (tmp_path / "parts" / name).write_bytes(b"rows of")
    assert store.put(b"rows of a table", "parquet") == name  # what was cut short is written again
    assert store.get(name) == b"rows of a table"
    (tmp_path / "parts" / name).unlink()
    with pytest.raises(DamagedPart, match="missing"):
        store.get(name)


def test_a_shard_is_sealed_once_and_other_bits_are_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = sealed(store, 3, b"a")
    assert [store.seal(3, first), store.seal(3, first), store.sealed()] == [True, False, {3}]
    with pytest.raises(OtherBits, match="records differ"):
        store.seal(3, sealed(store, 3, b"b"))
    assert store.seals() == {3: first}


def test_gc_takes_what_no_seal_names_and_half_written_files(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept = sealed(store, 0, b"kept")
    store.seal(0, kept)
    store.put(b"of a shard that was never sealed", "npy")
    (tmp_path / "parts" / ".tmp.1.aa").write_bytes(b"half")
    assert store.gc() == 2
    assert list(store.parts()) == [kept.parts["records"]]


def test_the_root_follows_from_plan_and_seals_in_their_order(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    for store, order in ((one, (0, 1, 2)), (other, (2, 0, 1))):
        for shard in order:
            store.seal(shard, sealed(store, shard, b"%d" % shard))
    assert one.root(b"plan") == other.root(b"plan") != one.root(b"another plan")
    other.unseal(1)
    assert one.root(b"plan") != other.root(b"plan")


def test_bytes_are_on_the_disk_before_their_name_is_and_names_before_a_seal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def recording(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            is_folder = name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode)
            steps.append("fsync folder" if is_folder else name)
            return real(*args, **options)

        return call

    for name in ("fsync", "link"):
        monkeypatch.setattr(os, name, recording(name, getattr(os, name)))
    monkeypatch.setattr(Path, "replace", recording("rename", Path.replace))
    store = Store(tmp_path)
    store.seal(0, sealed(store, 0, b"rows"))
    assert steps == ["fsync", "rename", "fsync folder", "fsync", "link", "fsync folder"]


def test_an_end_at_any_step_leaves_no_half_of_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """Stands for a kill: nothing in the store may catch it and go on."""

    left = 0

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                raise Killed
            return real(*args, **options)

        return call

    for name in ("fsync", "link"):
        monkeypatch.setattr(os, name, dying(getattr(os, name)))
    monkeypatch.setattr(Path, "replace", dying(Path.replace))
    for at in range(1, 7):
        store, left = Store(tmp_path / str(at)), at
        with pytest.raises(Killed):
            store.seal(0, sealed(store, 0, b"rows"))
        left = 0
        assert all(store.get(name) == b"rows" for seal in store.seals().values() for name in seal.parts.values())
        store.seal(0, sealed(store, 0, b"rows"))
        assert store.get(store.seals()[0].parts["records"]) == b"rows"


def test_a_second_run_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    store = Store(tmp_path / "audit")
    with store.hold(), pytest.raises(OutputError, match="Another run is at work"), Store(tmp_path / "audit").hold():
        pass
    with store.hold():
        pass


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.put(b"before", "npy")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        store.put(b"more", "npy")
    monkeypatch.undo()
    assert [len(list((tmp_path / "parts").iterdir())), store.gc()] == [1, 1]


def test_a_link_in_place_of_a_part_is_not_followed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    name = store.put(b"rows", "npy")
    secret = tmp_path / "secret"
    secret.write_bytes(b"rows")
    (tmp_path / "parts" / name).unlink()
    (tmp_path / "parts" / name).symlink_to(secret)
    assert LocalFolder(tmp_path).get(f"parts/{name}") is None
    with pytest.raises(DamagedPart):
        store.get(name)


def test_a_part_that_is_there_and_cannot_be_flushed_is_told(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.put(b"bytes", "npy")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        store.put(b"bytes", "npy")


def test_a_part_that_grows_is_the_part_that_was_put(tmp_path: Path) -> None:
    one, other = Store(tmp_path / "one"), Store(tmp_path / "other")
    part = one.begin("npy")
    for block in (b"rows ", memoryview(b"of "), b"a table"):
        part.write(block)
    assert list(one.parts()) == []
    assert one.tidy() == 0  # a living process holds it
    assert part.end() == other.put(b"rows of a table", "npy")
    assert one.get(other.put(b"rows of a table", "npy")) == b"rows of a table"
    again = one.begin("npy")
    again.write(b"rows of a table")
    again.end()
    dropped = one.begin("npy")
    dropped.write(b"half")
    dropped.drop()
    assert len(list((tmp_path / "one" / "parts").iterdir())) == 1


def test_where_files_know_no_locks_nobody_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("xplain.core.keeping.files.lock_file", none)
    (tmp_path / "audit").mkdir()
    with Store(tmp_path / "audit").hold(), Store(tmp_path / "audit").hold():
        pass
