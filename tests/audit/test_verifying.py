"""Verification: each way in which a store can be wrong is found, named by its shard, and mended by a run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from audit.sealed import LANE, OTHER, seal

import xplain
from xplain.audit.stores.schema import parquet_bytes, read_parquet
from xplain.audit.stores.store import Seal, Store
from xplain.core.errors import ModelError, OutputError, UsageError

pytest.importorskip("duckdb")


def swapped(out: Path, shard: int, kind: str, content: bytes) -> None:
    """Put another part in a seal's place, as somebody would who knows the form of a store."""
    store = Store(out)
    old = store.seals()[shard]
    ext = old.parts[kind].partition(".")[2]
    parts = {**old.parts, kind: store.put(content, ext)}
    store.unseal(shard)
    store.seal(shard, Seal(old.audit, old.shard, old.first, old.rows, parts))


def test_an_audit_as_it_was_made_is_sound_and_its_shards_come_again(made):
    found = xplain.audit.verify(made, recompute=5)
    assert found.sound
    assert (found.sealed, found.of, found.missing, found.recomputed) == (2, 3, (2,), (0, 1))
    assert found.root == xplain.audit.open(made).root
    assert xplain.audit.verify(made, recompute=1).recomputed == xplain.audit.verify(made, recompute=1).recomputed
    assert str(found).endswith("made again: shards 0, 1: the same bits\nsound")


def test_status_counts_shards_rows_and_errors(made):
    found = xplain.audit.status(made)
    assert (found.sealed, found.of, found.rows, found.errors, found.done) == (2, 3, 12, 2, False)


def test_a_part_cut_in_half_is_found_and_made_again(copied):
    before = xplain.audit.open(copied).root
    part = copied / "parts" / Store(copied).seals()[1].parts[f"maps/{LANE}"]
    part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    found = xplain.audit.verify(copied)
    assert [(one.shard, "holds other bits" in one.what) for one in found.damaged] == [(1, True)]
    assert "damaged: shard 1: maps/" in str(found)
    assert Store(copied).sealed() == {0, 1}  # looking changes nothing
    assert xplain.audit.verify(copied, repair=True).repaired == (1,)
    assert (Store(copied).sealed(), part.exists()) == ({0}, False)
    seal(copied, (1,))
    assert xplain.audit.verify(copied).sound
    assert xplain.audit.open(copied).root == before


def test_a_flipped_bit_a_missing_part_and_a_broken_seal_are_named(copied):
    store = Store(copied)
    seals = store.seals()
    part = copied / "parts" / seals[0].parts["records"]
    content = bytearray(part.read_bytes())
    content[len(content) // 2] ^= 1
    part.write_bytes(content)
    (copied / "parts" / seals[0].parts[f"relevance/{OTHER}"]).unlink()
    (copied / "seals" / "00000001.json").write_text('{"audit": "')
    told = [str(one) for one in xplain.audit.verify(copied).damaged]
    assert [one.partition(":")[0] for one in told] == ["shard 0", "shard 0", "shard 1"]
    assert ["holds other bits" in told[0], "is missing" in told[1], "cannot be understood" in told[2]] == [True] * 3
    assert xplain.audit.status(copied).sealed == 2  # a damaged audit still says how far it is


def test_doubled_rows_and_seals_are_found(copied):
    store = Store(copied)
    table = read_parquet(store.get(store.seals()[0].parts["records"]))
    rows = [0, 0, 2, 3, 4, 5]
    swapped(copied, 0, "records", parquet_bytes(table.take(rows)))
    (copied / "seals" / "00000002.json").write_bytes((copied / "seals" / "00000001.json").read_bytes())
    found = xplain.audit.verify(copied)
    assert found.doubled == ((0, 0, LANE), (2, None, ""))
    assert any(f"lane {LANE} lacks 1 item, such as 1" in str(one) for one in found.damaged)
    assert xplain.audit.verify(copied, repair=True).repaired == (0, 2)
    seal(copied, (0, 2))
    assert xplain.audit.verify(copied).sound


def test_seals_of_another_plan_or_other_rows_are_found(copied):
    path = copied / "seals" / "00000000.json"
    told = json.loads(path.read_text())
    for change, why in (({"audit": "00"}, "of another audit"), ({"rows": 2}, "the plan otherwise")):
        path.write_text(json.dumps({**told, **change}, sort_keys=True, separators=(",", ":")))
        assert [why in str(one) for one in xplain.audit.verify(copied).damaged] == [True]
    path.write_text(json.dumps({**told, "parts": {}}, sort_keys=True, separators=(",", ":")))
    assert any("it has no records" in str(one) for one in xplain.audit.verify(copied).damaged)


def test_arrays_and_tables_of_another_form_are_found(copied):
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 2, 2), np.float32))
    swapped(copied, 0, f"maps/{LANE}", buffer.getvalue())
    table = read_parquet(Store(copied).get(Store(copied).seals()[1].parts["records"]))
    swapped(copied, 1, "records", parquet_bytes(table.drop_columns(["gini"])))
    told = [str(one) for one in xplain.audit.verify(copied).damaged]
    assert "holds float32 [3, 2, 2], planned is float16 [3, 4, 4]" in told[0]
    assert "shard 1: its records have other columns" in told[1]


def test_bits_that_differ_are_told_with_the_largest_difference_and_where(copied):
    store = Store(copied)
    seals = store.seals()
    maps = np.load(copied / "parts" / seals[1].parts[f"maps/{LANE}"])
    maps[2, 0, 1] += np.float16(0.25)
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, maps, version=(1, 0))
    swapped(copied, 1, f"maps/{LANE}", buffer.getvalue())
    table = read_parquet(store.get(seals[0].parts["records"]))
    names = table["predicted_name"].to_pylist()
    names[3] = "cat"
    where = table.column_names.index("predicted_name")
    swapped(copied, 0, "records", parquet_bytes(table.set_column(where, table.schema.field(where), [names])))
    found = xplain.audit.verify(copied, recompute=2)
    assert (found.damaged, found.sound, len(found.differing)) == ((), False, 2)
    text, number = found.differing
    assert (text.what, text.count, text.item, text.was, text.now) == ("predicted_name", 1, 0, "cat", "bright")
    assert (number.kind, number.count, number.item) == (f"maps/{LANE}", 1, 5)
    assert number.largest == pytest.approx(0.25, abs=1e-3)
    assert "item 5 was" in str(number)


def test_what_is_not_the_plans_any_more_is_found(copied, made):
    (copied / "items.parquet").write_bytes(b"")
    assert "items.parquet is missing or was changed" in str(xplain.audit.verify(copied).damaged[0])
    (copied / "plan.json").write_bytes((copied / "plan.json").read_bytes().replace(b'"seed":0', b'"seed": 0'))
    with pytest.raises(UsageError, match="changed by hand"):
        xplain.audit.verify(copied)
    other = made.parent / "other.onnx"
    other.write_bytes((made.parent / "tiny.onnx").read_bytes() + b"\x28\x07")
    with pytest.raises(ModelError, match="not the one that was planned"):
        xplain.audit.verify(made, recompute=1, models={"tiny": other})


def test_seals_are_not_taken_away_under_a_run(copied):
    (copied / "seals" / "00000001.json").write_bytes(b"")
    with Store(copied).hold():
        assert not xplain.audit.verify(copied).sound
        with pytest.raises(OutputError, match="Another run is at work"):
            xplain.audit.verify(copied, repair=True)
    with pytest.raises(UsageError, match="recompute is -1"):
        xplain.audit.verify(copied, recompute=-1)


def test_a_foreign_folder_does_not_make_anybody_ask_an_address(copied):
    path = copied / "plan.json"
    path.write_bytes(path.read_bytes().replace(b'"kind":"onnx"', b'"kind":"endpoint"'))
    assert not xplain.audit.verify(copied).sound  # seals of another plan; nothing was asked
    with pytest.raises(UsageError, match="asked over a wire.*Say that it is meant: models="):
        xplain.audit.verify(copied, recompute=1)
