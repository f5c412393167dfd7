from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys

import numpy as np
import pytest

from xplain.core.errors import OutputError, UsageError
from xplain.engine.store import Rehearsal, Store


def test_rows_come_back_bit_equal_whatever_their_precision(tmp_path):
    rows = {
        b"narrow": np.array([0.5, -3.0, 1e-30], np.float32).astype(np.float64),
        b"wide": np.array([0.1, 1e300, np.pi]),
        b"unknown": np.array([np.nan, 0.25]),
        b"infinite": np.array([np.inf, -np.inf, -0.0]),
    }
    with Store(tmp_path / "c") as store:
        store.put(rows)
        assert len(store) == 4
    with Store(tmp_path / "c") as store:
        found = store.get([*rows, b"absent"])
    assert set(found) == set(rows)
    for key, row in rows.items():
        assert found[key].dtype == np.float64
        assert found[key].tobytes() == row.tobytes()


def test_half_the_bytes_where_float32_loses_nothing(tmp_path):
    with Store(tmp_path) as store:
        store.put({b"n": np.arange(100.0), b"w": np.full(100, 0.1)})
    sizes = dict(sqlite3.connect(tmp_path / "answers.sqlite").execute("SELECT key, length(scores) FROM answers"))
    assert sizes == {b"n": 401, b"w": 801}


def test_more_keys_than_one_statement_takes(tmp_path):
    keys = [bytes([k // 256, k % 256]) for k in range(3000)]
    with Store(tmp_path) as store:
        store.put({key: np.array([float(k)]) for k, key in enumerate(keys)})
        found = store.get(keys * 2)
    assert [found[key][0] for key in keys] == list(range(3000))


def test_the_first_answer_stays_and_can_be_dropped(tmp_path):
    with Store(tmp_path) as store:
        store.put({b"k": np.array([1.0])})
        store.put({b"k": np.array([2.0])})
        assert store.get([b"k"])[b"k"] == 1.0
        store.drop([b"k"])
        assert store.get([b"k"]) == {}


def test_only_the_owner_may_read_it(tmp_path):
    with Store(tmp_path / "private") as store:
        assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
        assert stat.S_IMODE(store.file.stat().st_mode) == 0o600


def test_what_was_put_survives_kill_9(tmp_path):
    code = (
        "import os, signal, numpy as np\n"
        "from xplain.engine.store import Store\n"
        f"store = Store({str(tmp_path)!r})\n"
        "for k in range(50): store.put({b'%d' % k: np.array([k + 0.5])})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False)
    assert ended.returncode == -signal.SIGKILL
    with Store(tmp_path) as store:
        assert {key: row[0] for key, row in store.get([b"%d" % k for k in range(50)]).items()} == {
            b"%d" % k: k + 0.5 for k in range(50)
        }


def test_two_processes_share_a_folder(tmp_path):
    with Store(tmp_path) as one, Store(tmp_path) as other:
        one.put({b"a": np.array([1.0])})
        other.put({b"b": np.array([2.0])})
        assert set(one.get([b"a", b"b"])) == set(other.get([b"a", b"b"])) == {b"a", b"b"}


def test_a_rehearsal_reads_the_store_and_never_writes_it(tmp_path):
    with Store(tmp_path) as store:
        store.put({b"paid": np.array([1.0])})
        trial = Rehearsal(store)
        trial.put({b"planned": np.array([0.0])})
        assert set(trial.get([b"paid", b"planned", b"other"])) == {b"paid", b"planned"}
        trial.drop([b"paid", b"planned"])
        assert set(trial.get([b"paid", b"planned"])) == {b"paid"}
        assert len(store) == 1


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "answers.sqlite").write_bytes(b"not a database at all" * 50)
    with pytest.raises(UsageError, match="is not a cache of xplain"):
        Store(tmp_path)


def test_another_format_is_refused(tmp_path):
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UsageError, match="is of format 99, not 2"):
        Store(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        Store(tmp_path / "file" / "cache")
