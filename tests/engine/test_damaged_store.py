"""A cache that was damaged, or made to do harm, never gives a wrong number: rows are asked again, or it is refused."""

from __future__ import annotations

import os
import random
import sqlite3

import numpy as np
import pytest

import xplain
from xplain.core.errors import OutputError, UsageError
from xplain.engine.seal import opened, sealed
from xplain.engine.store import Store

ROWS = {os.urandom(32): np.random.default_rng(k).normal(size=k % 7 + 1) for k in range(400)}
F = xplain.load(lambda b: np.stack([b.sum((1, 2, 3)), b.max((1, 2, 3))], axis=1), version="1")
X = np.random.default_rng(2).random((1, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The bytes of a sound cache, written to the file itself."""
    folder = tmp_path_factory.mktemp("good")
    with Store(folder) as store:
        store.put(ROWS)
    db = sqlite3.connect(folder / "answers.sqlite")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return (folder / "answers.sqlite").read_bytes()


def damaged(content, rng):
    """One of several ways in which files suffer."""
    content = bytearray(content)
    how = rng.randrange(5)
    if how == 0:
        for _ in range(rng.choice([1, 2, 8, 64])):
            content[rng.randrange(len(content))] = rng.randrange(256)
    elif how == 1:
        del content[rng.randrange(len(content)) :]
    elif how == 2:
        page = rng.randrange(len(content) // 4096) * 4096
        content[page : page + 4096] = bytes(4096)
    elif how == 3:
        one, other = (rng.randrange(len(content) // 4096) * 4096 for _ in range(2))
        content[one : one + 4096], content[other : other + 4096] = (
            content[other : other + 4096],
            content[one : one + 4096],
        )
    else:
        start = rng.randrange(len(content))
        content[start : start + rng.randrange(1, 500)] = rng.randbytes(rng.randrange(1, 500))
    return bytes(content)


@pytest.mark.parametrize("seed", range(10))
def test_three_hundred_random_damages_never_give_a_wrong_row(good, tmp_path, seed):
    """Thirty a seed; what is lost can be put again, and is there again."""
    rng, read, refused = random.Random(seed), 0, []
    for k in range(30):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "answers.sqlite").write_bytes(damaged(good, rng))
        try:
            with Store(folder) as store:
                found = store.get(list(ROWS))
                assert all(found[key].tobytes() == ROWS[key].tobytes() for key in found)
                known, mine = store.claim(list(ROWS), 1000)
                assert set(known) | set(mine) == set(ROWS)
                store.drop([next(iter(ROWS))])
                assert len(store) >= 0
                read += 1
        except UsageError as error:
            refused.append(str(error))
    assert read > 0
    assert refused
    assert all("Delete the folder" in one or "another folder" in one for one in refused)


def test_a_put_after_damage_heals_the_row(tmp_path):
    key = b"k" * 32
    with Store(tmp_path) as store:
        store.put({key: np.array([1.0, 2.0])})
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    db.execute("UPDATE answers SET scores = ?", (b"f" + np.array([9.0, 9.0], "<f4").tobytes(),))
    db.commit()
    db.close()
    with Store(tmp_path) as store:
        assert store.get([key]) == {}
        assert len(store) == 0
        store.put({key: np.array([1.0, 2.0])})
        assert store.get([key])[key].tolist() == [1.0, 2.0]


def test_rows_that_were_swapped_are_noticed(tmp_path):
    with Store(tmp_path) as store:
        store.put({b"a": np.array([1.0]), b"b": np.array([2.0])})
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    (one,), (other,) = db.execute("SELECT scores FROM answers ORDER BY key").fetchall()
    db.execute("UPDATE answers SET scores = ? WHERE key = ?", (other, b"a"))
    db.execute("UPDATE answers SET scores = ? WHERE key = ?", (one, b"b"))
    db.commit()
    db.close()
    with Store(tmp_path) as store:
        assert store.get([b"a", b"b"]) == {}


@pytest.mark.parametrize("width", ["<f4", "<f8"])
def test_a_row_is_bound_to_its_key_type_and_shape(width):
    content, seal = sealed(b"k", np.arange(6.0).astype(width).astype(np.float64) + (0.1 if width == "<f8" else 0))
    assert opened(b"k", content, seal) is not None
    wrong = [(b"q", content, seal), (b"k", content[:-1], seal), (b"k", b"d" + content[1:] + b"\0", seal)]
    wrong += [
        (b"k", content, seal[:-1]),
        (b"k", content, None),
        (5, content, seal),
        (b"k", "f1234", seal),
        (b"k", 3, 4),
    ]
    assert all(opened(*one) is None for one in wrong)


def test_a_damaged_cache_never_changes_a_map(tmp_path):
    def explained(cache=None):
        return xplain.explain(F, X, "rise", samples=60, cells=4, target=0, cache=cache).values.tobytes()

    right = explained()
    assert explained(tmp_path) == right
    file = tmp_path / "answers.sqlite"
    db = sqlite3.connect(file)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.execute("UPDATE answers SET scores = substr(scores, 1, 5) || x'00000040'")
    db.commit()
    db.close()
    assert explained(tmp_path) == right
    assert explained(tmp_path) == right


HARM = {
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON answers BEGIN DELETE FROM answers; END",
    "a view": "CREATE VIEW v AS SELECT * FROM answers",
    "an index": "CREATE INDEX i ON answers (scores)",
    "a table": "CREATE TABLE more (x)",
    "a column": "ALTER TABLE answers ADD COLUMN more",
}


@pytest.mark.parametrize("sql", HARM.values(), ids=HARM)
def test_a_schema_that_is_not_ours_is_refused(tmp_path, sql):
    with Store(tmp_path) as store:
        store.put({b"k": np.array([1.0])})
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    db.execute(sql)
    db.commit()
    db.close()
    with pytest.raises(UsageError, match="it holds other tables. Give another folder"):
        Store(tmp_path)


def test_a_view_in_place_of_the_table_is_refused(tmp_path):
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    db.execute("CREATE VIEW answers AS SELECT zeroblob(32) AS key, randomblob(9) AS scores, x'00' AS seal")
    db.execute("PRAGMA user_version=2")
    db.commit()
    db.close()
    with pytest.raises(UsageError, match="other tables"):
        Store(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path):
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    db.execute("CREATE TABLE theirs (x)")
    db.commit()
    db.close()
    before = (tmp_path / "answers.sqlite").read_bytes()
    with pytest.raises(UsageError, match="other tables"):
        Store(tmp_path)
    assert (tmp_path / "answers.sqlite").read_bytes() == before


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "answers.sqlite")
    with pytest.raises(UsageError, match="no file"):
        Store(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        Store(tmp_path / ("x" * 300))
    with pytest.raises(OutputError, match="cannot be written"):
        Store("x\0y")


@pytest.fixture
def old(tmp_path):
    """A cache of the first format, without seals."""
    db = sqlite3.connect(tmp_path / "answers.sqlite")
    db.execute("CREATE TABLE answers (key BLOB PRIMARY KEY, scores BLOB NOT NULL) WITHOUT ROWID")
    rows = [(key, sealed(key, row)[0]) for key, row in ROWS.items()]
    db.executemany("INSERT INTO answers VALUES (?, ?)", rows)
    db.execute("PRAGMA user_version=1")
    db.commit()
    db.close()
    return tmp_path


def test_an_old_cache_is_taken_over_once(old):
    with pytest.warns(UserWarning, match="older format without checksums; its 400 answers were taken over"):
        store = Store(old)
    with store:
        found = store.get(list(ROWS))
        assert all(found[key].tobytes() == ROWS[key].tobytes() for key in ROWS)
    with Store(old) as store:
        assert len(store) == 400


def test_an_old_cache_that_is_damaged_is_refused(old):
    content = bytearray((old / "answers.sqlite").read_bytes())
    content[4096:8192] = bytes(4096)
    (old / "answers.sqlite").write_bytes(content)
    with pytest.raises(UsageError, match="Delete the folder"):
        Store(old)


class Full:
    """A connection whose disk takes nothing while ``full``."""

    def __init__(self, db):
        self.db, self.full = db, False

    def __getattr__(self, name):
        return getattr(self.db, name)

    def executemany(self, sql, rows):
        if self.full:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self.db.executemany(sql, rows)

    def __enter__(self):
        return self.db.__enter__()

    def __exit__(self, *error):
        return self.db.__exit__(*error)


def test_a_full_disk_keeps_answers_in_memory_until_it_takes_them(tmp_path):
    store = Store(tmp_path)
    store._db = Full(store._db)
    store._db.full = True
    with pytest.warns(RuntimeWarning, match="disk is full.*kept in memory"):
        store.put({b"a": np.array([1.0])})
    store.put({b"b": np.array([2.0])})
    assert "disk is full" in store.trouble
    assert store.get([b"a", b"b"])[b"b"].tolist() == [2.0]
    assert store.claim([b"a", b"c"], 9) == ({b"a": np.array([1.0])}, [b"c"])
    store._db.full = False
    store.put({b"c": np.array([3.0])})
    assert store.trouble == ""
    store.close()
    with Store(tmp_path) as again:
        assert sorted(again.get([b"a", b"b", b"c"])) == [b"a", b"b", b"c"]


def test_a_run_on_a_full_disk_ends_with_its_result_and_says_so(tmp_path):
    store = Store(tmp_path)
    store._db = Full(store._db)
    right = xplain.explain(F, X, "occlusion", patch=4, stride=4, target=0)
    store._db.full = True
    with pytest.warns(RuntimeWarning, match="kept in memory"):
        found = xplain.explain(F, X, "occlusion", patch=4, stride=4, target=0, cache=store)
    assert found.values.tobytes() == right.values.tobytes()
    assert any("disk is full" in one.text for one in found.warnings)
    assert found.cost.queries == right.cost.queries
    store.close()
