"""The reader: what was sealed comes back as tables, queries, maps and pictures, and damage is never given out."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from audit.sealed import LANE, OTHER

import xplain
from xplain.audit.shards.reading import Data, Form
from xplain.audit.stores.store import DamagedPart, Store
from xplain.core.errors import ItemError, UsageError

pytest.importorskip("duckdb")


def test_tables_and_queries_say_the_same(made):
    with xplain.audit.open(made) as audit:
        assert [audit.items.num_rows, audit.records().num_rows, audit.metrics().num_rows] == [7, 12, 0]
        own = audit.records(["item", "status"], lane=LANE).to_pylist()
        assert own == audit.sql(f"select item, status from records where lane = '{LANE}' order by item").to_pylist()
        assert [one["item"] for one in own if one["status"] == "error"] == [4]  # dark/2.png
        joined = audit.sql("select site, count(*) as n from records join items on item = number group by 1 order by 1")
        assert joined.to_pylist() == [{"site": "A", "n": 2}, {"site": "B", "n": 2}, {"site": None, "n": 8}]


def test_maps_are_those_of_explain_in_their_own_unit(made):
    with xplain.audit.open(made) as audit:
        names = audit.items["name"].to_pylist()
        paths = [str(made.parent / "photos" / name) for name in names]
        want = xplain.explain(str(made.parent / "tiny.onnx"), [paths[1], paths[0]], "occlusion", patch=4, stride=4)
        found = audit.maps(LANE, [1, 0])
        assert found.shape == (2, *audit.plan.lane(LANE).native_shape)
        assert np.allclose(found, want.values[:, 2::4, 2::4], rtol=2e-3, atol=1e-6)  # half precision
        every = audit.maps(LANE)
        assert np.isnan(every[4]).all()
        numbers, maps = (np.concatenate(one) for one in zip(*audit.batches(LANE), strict=True))
        assert numbers.tolist() == audit.sealed_items().tolist() == list(range(6))
        assert np.array_equal(maps, every, equal_nan=True)
        assert audit.relevance(OTHER, [5, 3]).shape == (2, audit.plan.lane(OTHER).relevance)


def test_items_are_seen_as_the_model_saw_them_without_the_model(made):
    with xplain.audit.open(made) as audit:
        model = xplain.load(str(made.parent / "tiny.onnx"))
        batch = Data(made).read([0, 3], Form(model, audit.plan.models[0]))
        assert np.array_equal(audit.x([0, 3]), batch.items.x)
        assert np.array_equal(audit.picture(3), batch.items.pictures[1])
        with pytest.raises(ItemError, match=r"Item 4, 'dark/2\.png': .*no picture"):
            audit.x([4])


def test_moved_items_are_found_where_they_are_said_to_be(made, tmp_path):
    away = made.parent / "photos"
    here = away.rename(tmp_path / "elsewhere")
    try:
        with (
            xplain.audit.open(made) as audit,
            pytest.raises(UsageError, match="Say where they are: items="),
        ):
            audit.x([0])
        with xplain.audit.open(made, items=here) as audit:
            assert audit.picture(0).shape == (16, 16, 3)
    finally:
        here.rename(away)


def test_questions_that_cannot_be_answered_say_what_can(made):
    with xplain.audit.open(made) as audit:
        with pytest.raises(UsageError, match=r"accepted: .*tiny/saliency"):
            audit.maps("rise")
        with pytest.raises(UsageError, match="Item 6 is not sealed: 2 of 3 shards are"):
            audit.maps(LANE, [0, 6])
        with pytest.raises(UsageError, match=r"column.* is 'colour'"):
            audit.records(["colour"])
        for query in ("select colour from records", "selec", ""):
            with pytest.raises(UsageError, match="query"):
                audit.sql(query)
    with pytest.raises(UsageError, match="holds no audit"):
        xplain.audit.open(made.parent)


def test_an_audit_without_a_seal_has_empty_tables(made, tmp_path):
    for name in ("plan.json", "items.parquet", "where.json"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    with xplain.audit.open(tmp_path) as audit, xplain.audit.open(made) as other:
        assert audit.sql("select count(*) as n from records").to_pylist() == [{"n": 0}]
        assert [audit.records(["item"]).num_rows, len(audit.maps(LANE)), list(audit.batches(LANE))] == [0, 0, []]
        assert audit.root != other.root


def test_what_is_damaged_is_not_given_out(copied):
    seal = Store(copied).seals()[0]
    maps = copied / "parts" / seal.parts[f"maps/{LANE}"]
    maps.write_bytes(maps.read_bytes()[:-20])
    with xplain.audit.open(copied) as audit:
        with pytest.raises(DamagedPart, match="shard 0 cannot be read"):
            audit.maps(LANE)
        (copied / "parts" / seal.parts["records"]).unlink()
        with pytest.raises(DamagedPart, match="missing"):
            audit.records()
    (copied / "seals" / "00000001.json").write_bytes(b"{}")
    with pytest.raises(DamagedPart, match="seal of shard 1 cannot be understood"):
        xplain.audit.open(copied)


def test_reading_leaves_no_thread_of_pyarrows_scanner_behind(made):
    """Its threads may let go of Python's objects while the interpreter ends, which aborts a process that is done."""
    code = (
        "import sys, xplain.audit as audit\n"
        f"audit.status({str(made)!r}); audit.open({str(made)!r}).records(['item'])\n"
        "sys.exit('pyarrow.dataset' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
