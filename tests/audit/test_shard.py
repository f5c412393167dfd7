"""A shard is a pure function: the same bytes whoever makes it, and every row what explain says of its item."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import xplain
from xplain.audit.plans.lanes import Benches
from xplain.audit.plans.plan import Grading, Plan
from xplain.audit.shards.figures import geometry, halved, largest
from xplain.audit.shards.reading import Data
from xplain.audit.shards.shard import Maker, make
from xplain.audit.shards.trays import Tray
from xplain.audit.stores.store import Store
from xplain.core.errors import ModelError, UsageError
from xplain.core.lane import LaneRows
from xplain.session import Request, Session
from xplain.session.lanes.readings import pooled
from xplain.session.measures.grading import grade

sys.path.insert(0, str(Path(__file__).parent))
import planted

LANES = ("net/grad-cam", "net/rise:cells=4:samples=8")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """An audit of eleven pictures in two shards, with a file that is none among them."""
    root = tmp_path_factory.mktemp("audit")
    data = planted.pictures(root / "data")
    (data / "b" / "broken.png").write_bytes(b"\x89PNG\r\n not a picture")
    return root / "out", planted.audit(root / "out", data), data


def made(folder: Path, plan: Plan, number: int, threads: int = 2, **how):
    with Benches(folder, plan) as benches, Maker(plan, benches, Data(folder), threads) as maker:
        return maker.make(number, **how)


def records(shard):
    return pq.read_table(io.BytesIO(shard.parts["records"][0])).to_pylist()


def test_every_row_is_what_explain_says_of_its_item(small):
    folder, plan, data = small
    model = xplain.load(str(folder.parent / "net.onnx"), card=planted.CARD, threads=1)
    seen = {}
    for number in range(len(plan.shards)):
        shard = made(folder, plan, number)
        for k, row in enumerate(records(shard)):
            place = k % shard.shard.rows
            maps = np.load(io.BytesIO(shard.parts[f"maps/{row['lane']}"][0]))
            seen[row["item"], row["lane"]] = row, maps[place]
    assert len(seen) == 2 * 12
    for (_, lane), (row, stored) in seen.items():
        if row["name"] == "b/broken.png":
            assert row["status"] == "error"
            assert row["error"]
            assert row["predicted"] is row["scale"] is row["target_name"] is None
            assert np.isnan(stored).all()
            continue
        path = data / row["name"]
        scores = xplain.predict(model, str(path))[0]
        order = np.argsort(-scores)
        assert (row["predicted"], row["second"], row["target"]) == (order[0], order[1], order[0])
        assert row["predicted_name"] == row["target_name"] == "abcde"[order[0]]
        assert row["label"] == row["name"][0]
        assert row["label_class"] == "abcde".index(row["label"])
        assert row["correct"] == (order[0] == row["label_class"])
        assert row["value"] == row["score"] == pytest.approx(scores[order[0]], rel=1e-5)
        assert row["margin"] == pytest.approx(scores[order[0]] - scores[order[1]], rel=1e-4)
        shares = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        assert row["entropy"] == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-4)
        assert row["seed"] == plan.seed_of(row["sha256"])
        if lane == LANES[0]:
            ranked = np.sort(np.abs(stored.astype(np.float64)), axis=None)  # what is told is of what is kept
            if ranked.any():
                assert row["gini"] == pytest.approx(ranked @ (2 * np.arange(64) - 63) / 64 / ranked.sum(), rel=1e-6)
                kept = ranked[ranked > 0] / ranked.sum()
                assert row["complexity"] == pytest.approx(-(kept * np.log(kept)).sum(), rel=1e-6)
            else:
                assert row["gini"] is row["complexity"] is None
            found = xplain.explain(model, str(path), "grad-cam").values[0]
            assert row["error_mean"] is None
            grown = stored.astype(np.float32) * row["scale"]
            assert grown.shape == (8, 8)
            assert grown.sum() == pytest.approx(row["total"], rel=1e-3)
            assert pooled(found[None], (8, 8))[0] == pytest.approx(grown, abs=0.35 * row["scale"])  # it was enlarged
        else:
            assert row["error_mean"] > 0


def test_the_same_bytes_whatever_threads_and_whoever_looks(small):
    folder, plan, _ = small
    named = []
    one, two, three = made(folder, plan, 0), made(folder, plan, 0, threads=0), made(folder, plan, 0, told=named.append)
    assert one.parts == two.parts == three.parts
    assert set(named) >= set(one.shard.items)


def test_a_neighbour_that_is_refused_moves_no_bit(small):
    folder, plan, _ = small
    clean, refused = made(folder, plan, 0), made(folder, plan, 0, refused={2: "It ends processes."})
    pairs = list(zip(records(clean), records(refused), strict=True))
    assert [b["error"] for a, b in pairs if a != b] == ["It ends processes."] * 2
    assert {b["item"] for a, b in pairs if a != b} == {2}
    for lane in LANES:
        a, b = (np.load(io.BytesIO(one.parts[f"maps/{lane}"][0])) for one in (clean, refused))
        np.testing.assert_array_equal(np.delete(a, 2, 0), np.delete(b, 2, 0))


def test_shards_of_other_sizes_hold_the_same_rows(small, tmp_path):
    """What is cut elsewhere holds other batches, and the engine's rows do not care."""
    folder, plan, data = small
    other = planted.audit(tmp_path / "out", data, {"rise": planted.METHODS["rise"]}, rows=3, shard_rows=5)
    rows = [r for n in range(2) for r in records(made(folder, plan, n)) if r["lane"] == LANES[1]]
    again = [r for n in range(3) for r in records(made(tmp_path / "out", other, n))]
    assert rows == again


def test_a_shard_is_sealed_once_and_twice_is_the_same(small, tmp_path):
    folder, plan, _ = small
    store = Store(tmp_path)
    with Benches(folder, plan) as benches:
        data = Data(folder)
        seal = make(plan, benches, 1, store, data)
        assert make(plan, benches, 1, store, data) == seal
    assert store.sealed() == {1}
    assert (seal.first, seal.rows, seal.audit) == (6, 6, plan.identity)
    assert set(seal.parts) == {
        "records",
        "metrics",
        *(f"{kind}/{lane}" for kind in ("maps", "relevance") for lane in LANES),
    }


def test_a_model_that_changed_is_refused(small):
    folder, plan, _ = small
    path = folder.parent / "net.onnx"
    content = path.read_bytes()
    try:
        path.write_bytes(content.replace(b"xplain-tests", b"xplain-tezts"))
        with pytest.raises(ModelError, match="not the one that was planned"):
            made(folder, plan, 0)
    finally:
        path.write_bytes(content)


def test_a_map_is_told_by_its_numbers():
    """By hand: one cell of eight by eight; half a map against; nothing."""
    one = np.zeros((3, 8, 8), np.float32)
    one[0, 0, 7] = 4
    one[1] = np.where(np.arange(8) < 4, 1, -1)
    found = geometry(one)
    assert found["gini"][:2] == pytest.approx([63 / 64, 0])
    assert found["complexity"][:2] == pytest.approx([0, np.log(64)])
    assert found["positive"][:2] == pytest.approx([1, 0.5])
    assert found["total"].tolist() == [4, 0, 0]
    assert found["scale"].tolist() == [4, 1, 0]
    assert (found["peak_y"][0], found["peak_x"][0]) == (1 / 16, 15 / 16)
    assert found["border"][:2] == pytest.approx([1, 1 - 36 / 64])
    assert [found[f"corner{k}"][0] for k in range(4)] == [0, 1, 0, 0]
    assert [found[f"corner{k}"][1] for k in range(4)] == pytest.approx([0.25] * 4)
    assert np.isnan([found[name][2] for name in ("gini", "border", "corner0", "positive")]).all()
    wide = geometry(np.ones((1, 7, 7), np.float32))
    assert wide["border"] == pytest.approx([1 - 0.75**2])
    assert [wide[f"corner{k}"][0] for k in range(4)] == pytest.approx([0.25] * 4)
    assert geometry(np.ones((1, 4), np.float32))["border"] == pytest.approx([0.25])


def test_sampled_items_are_judged_by_themselves_as_measure_judges_them(small):
    """Deletion of item 2 alone, from its own explanation; the broken file, though sampled, has no row."""
    folder, plan, data = small
    broken = next(r["item"] for r in records(made(folder, plan, 0)) + records(made(folder, plan, 1)) if r["error"])
    sample = tuple(sorted({2, broken}))
    graded = replace(plan, grading=Grading(("deletion", "sparseness"), sample, {"deletion": {"steps": 4}}))
    number = 2 // plan.shard_rows
    rows = pq.read_table(io.BytesIO(made(folder, graded, number).parts["metrics"][0])).to_pylist()
    assert [(r["item"], r["lane"], r["metric"]) for r in rows] == [
        (2, lane, name) for lane in LANES for name in ("deletion", "sparseness")
    ]
    model = xplain.load(str(folder.parent / "net.onnx"), card=planted.CARD, threads=1)
    path = data / records(made(folder, plan, number))[2 % plan.shard_rows]["name"]
    with Session(model, Request({"grad-cam": {}})) as session:
        part = session.read([str(path)])
        (found,) = session.explain(part, "grad-cam")
        expected = grade(session, part, found, {"deletion": {"steps": 4}, "sparseness": {}})
    for row in rows[:2]:
        one = expected[row["metric"]]
        assert row["value"] == pytest.approx(one.values[0], rel=1e-6)
        assert row["random"] == pytest.approx(one.random[0], rel=1e-6)


def test_a_number_of_a_map_does_not_depend_on_the_maps_beside_it():
    """Bit for bit, so that however many are described together moves nothing."""
    draw = np.random.default_rng(1)
    for shape in ((7, 7), (61, 90), (9000,)):
        maps = draw.normal(size=(5, *shape)).astype(np.float32)
        maps[1], maps[2], maps[3] = np.abs(maps[1]), 0, np.nan
        whole = geometry(maps), halved(maps, largest(maps))
        for k in range(5):
            one = maps[k : k + 1]
            alone = geometry(one), halved(one, largest(one))
            assert all(alone[0][name].tobytes() == whole[0][name][[k]].tobytes() for name in alone[0])
            assert alone[1].tobytes() == whole[1][[k]].tobytes()


def test_lanes_that_take_items_alike_are_asked_with_one_batch(small, tmp_path, monkeypatch):
    """Three batches of four go together; each item is written once, where its place says, and a bad one is blank."""
    _, _, data = small
    plan = planted.audit(tmp_path / "out", data, {"grad-cam": {}, "saliency": {}}, shard_rows=11)
    seen = []

    def watched(self):
        full = take(self)
        seen.append(full)
        return full

    take = Tray.take
    monkeypatch.setattr(Tray, "take", watched)
    rows = records(made(tmp_path / "out", plan, 0))
    (full,) = seen
    assert len(full.rows.x) == 16
    assert full.rows.real.tolist() == [row["error"] is None for row in rows[:11]] + [False] * 5
    model = xplain.load(str(tmp_path / "net.onnx"), card=planted.CARD, threads=1)
    for row, x in zip(rows[:11], full.rows.x, strict=False):
        if row["name"] == "b/broken.png":
            assert not x.any()
        else:
            np.testing.assert_array_equal(x, Session(model, Request()).read([str(data / row["name"])]).items.x[0])
    assert not full.rows.x[11:].any()


def test_batches_that_go_together_answer_as_each_alone(small):
    """Also where one in the middle holds no item."""
    folder, plan, _ = small
    x = np.random.default_rng(2).normal(size=(12, 3, 16, 16)).astype(np.float32)
    real = ~np.isin(np.arange(12), [4, 5, 6, 7, 11])
    x[~real] = 0
    with Benches(folder, plan) as benches:
        lane = benches.opened[0]
        assert (lane.lane.engine, lane.lane.rows) == ("graph", 4)

        def asked(rows):
            return lane.ask(LaneRows(x[rows], real[rows], ("k",) * len(x[rows]), np.full(len(x[rows]), -1)))

        whole, parts = asked(slice(None)), [asked(slice(k, k + 4)) for k in (0, 4, 8)]
        for name in ("scores", "targets", "values", "maps", "relevance"):
            together = np.concatenate([getattr(one, name) for one in parts])
            np.testing.assert_array_equal(getattr(whole, name), together)
        with pytest.raises(UsageError, match="have 4 rows; 3 were given"):
            asked(slice(0, 3))
