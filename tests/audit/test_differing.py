"""Two audits that differ in one class alone: what is said to have changed is that, and nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from audit import synthetic
from audit.stand_in import Reader
from scipy.stats import binomtest

from xplain.audit.reports.beside import matched
from xplain.audit.reports.differing import compared
from xplain.audit.stores import schema
from xplain.audit.stores.store import Store
from xplain.core.errors import UsageError
from xplain.report.audit import compared_csv, compared_json, compared_page

LANE = "fp32/grad-cam/predicted"
CHANGED = 3


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("two")
    sizes = {"items": 1000, "rows": 500, "sample": 100, "classes": 5}
    return synthetic.write(place / "a", **sizes), synthetic.write(place / "b", changed=CHANGED, **sizes)


@pytest.fixture(scope="module")
def audits(folders):
    return tuple(Reader(one) for one in folders)


@pytest.fixture(scope="module")
def said(folders, audits):
    return compared(*audits, folders)


@pytest.fixture(scope="module")
def both(audits):
    """Records of the first lane, side by side."""
    query = f"select * from records where lane = '{LANE}' and status = 'ok'"
    a, b = (audit.sql(query).to_pandas() for audit in audits)
    return a.merge(b, on="sha256", suffixes=("_a", "_b"))


def rows(table) -> list[dict]:
    return [dict(zip([c.name for c in table.columns], row, strict=True)) for row in table.rows]


def test_answers_that_changed_are_counted_as_pandas_counts_them(said, both):
    one = rows(said.lanes)[0]
    lost, won = (both.correct_a & ~both.correct_b).sum(), (both.correct_b & ~both.correct_a).sum()
    assert (one["items"], one["newly wrong"], one["newly right"]) == (len(both), lost, won)
    assert lost > 20
    assert one["same answer"] == pytest.approx((both.predicted_a == both.predicted_b).mean())
    assert one["right before"][0] == pytest.approx(both.correct_a.mean())
    assert one["right after"][0] == pytest.approx(both.correct_b.mean())
    assert one["p"] == pytest.approx(binomtest(int(lost), int(lost + won)).pvalue)
    gap = both.border_b - both.border_a
    reach = 1.96 * gap.std() / len(gap) ** 0.5
    assert one["change of border"] == f"{gap.mean():+.3g} ({gap.mean() - reach:+.3g} to {gap.mean() + reach:+.3g})"


def test_the_class_that_changed_is_the_first_one_and_the_others_did_not(said):
    table = rows(said.classes[0])
    assert table[0]["class"] == f"class {CHANGED:04d}"
    assert table[0]["right after"][0] == 0.0
    near = {f"class {CHANGED:04d}", f"class {CHANGED + 1:04d}"}  # those that lost its items, and that got them
    assert all(row["same answer"] > 0.9 for row in table if row["class"] not in near)
    moved = {row["class"]: row["map moved"] for row in table if row["map moved"] is not None}
    assert moved[f"class {CHANGED + 1:04d}"] == max(moved.values())


def test_explanations_that_moved_are_seen_and_their_maps_are_maps(said):
    seen = [one.finding for one in said.findings if one.finding.standing == "candidate"]
    told = {(one.evidence["lane"], one.evidence["what"], one.group) for one in seen}
    assert (LANE, "explanations", "") in told
    assert (LANE, "explanations", f"class {CHANGED + 1:04d}") in told
    assert next(one for one in seen if one.evidence["what"] == "explanations").evidence["after"].shape == (7, 7)


def test_two_runs_of_one_plan_differ_in_nothing(folders, audits):
    same = compared(audits[0], audits[0], (folders[0], folders[0]))
    assert same.plan is None
    assert compared_json(same) == compared_json(compared(audits[0], audits[0], (folders[0], folders[0])))
    assert rows(same.lanes)[0]["same answer"] == 1.0
    assert (rows(same.lanes)[0]["newly wrong"], rows(same.lanes)[0]["p"]) == (0, None)
    assert not [one for one in same.findings if one.finding.standing == "candidate"]
    assert same.examples == ()  # no answer turned, and no peak moved
    explained = rows(same.lanes)[0]["items"]
    assert same.leads[1].text.startswith(f"of {explained:,} items that both explained are answered alike")
    assert "Nothing: both are runs of one plan." in compared_page(same)


def test_metrics_of_the_same_items_are_compared_pairwise(said, audits):
    a, b = (audit.sql(f"select * from metrics where lane = '{LANE}'").to_pandas() for audit in audits)
    pair = a.merge(b, on=["item", "metric"], suffixes=("_a", "_b"))
    own = pair[pair.metric == "deletion"]
    one = next(row for row in rows(said.metrics) if (row["metric"], row["lane"]) == ("deletion", LANE))
    gap = own.value_b - own.value_a
    assert one["items"] == f"{len(own):,} of both"
    assert one["change"].startswith(f"{gap.mean():+.3g} (")


def test_items_are_shown_as_they_were_and_as_they_are(said, both):
    title, examples = said.examples[0]
    assert title == "Newly wrong, the surest first"
    lost = both[both.correct_a & ~both.correct_b].sort_values("margin_b", ascending=False).item_b[:6]
    assert [one.item for one in examples[::2]] == lost.tolist()
    assert [one.captions[0].partition(":")[0] for one in examples] == ["before", "after"] * 6


def test_answered_alike_for_another_reason_is_where_the_peak_moved(said, both):
    shown = dict(said.examples)["Answered alike for another reason: the peak moved furthest"]
    apart = np.maximum(abs(both.peak_y_a - both.peak_y_b), abs(both.peak_x_a - both.peak_x_b))
    moved = both[(both.predicted_a == both.predicted_b) & (apart >= 0.1)]
    assert {one.item for one in shown[::2]} <= set(moved.item_a)


def test_audits_that_share_no_item_are_compared_as_samples(tmp_path, folders, audits):
    other = synthetic.write(tmp_path / "other", items=200, rows=200, sample=60, classes=5)
    items = other / "items.parquet"
    import pyarrow.parquet as pq

    table = pq.read_table(items)
    renamed = [f"x{k}" for k in range(len(table))]
    table = table.set_column(1, "name", [renamed]).set_column(3, "sha256", [renamed])
    pq.write_table(table, items)
    told = compared(audits[0], Reader(other), (folders[0], other))
    assert told.leads[0].value == "0"
    assert "What became of single items: the audits share none." in told.cannot
    assert told.examples == ()
    assert told.findings


def test_audits_without_lanes_in_common_say_what_to_plan_anew(folders, audits):
    after = Reader(folders[1])
    lanes = tuple(replace(one, name=f"new/{k}", method="rise") for k, one in enumerate(after.plan.lanes))
    after.plan = replace(after.plan, lanes=lanes)
    told = compared(audits[0], after, folders)
    assert not told.lanes.rows
    assert [one.value for one in told.leads] == ["1,000", "0"]
    before = audits[0].plan.lanes
    methods = ", ".join(dict.fromkeys(one.method for one in before))
    assert f"the methods are others, {methods} before and rise after" in told.leads[1].text
    advised = told.leads[1].text.partition("(--method ")[2].removesuffix(")")
    planned = replace(after.plan, lanes=(replace(lanes[0], method=advised, target=before[0].target),))
    first = replace(audits[0].plan, lanes=before[:1])
    assert [(a.method, b.method) for a, b in matched(first, planned)] == [(advised, advised)]
    # of the same methods, but which lane is which is not known
    several = tuple(replace(before[0], name=f"new/{k}") for k in range(2))
    after.plan = replace(after.plan, lanes=several)
    assert "NAME=FILE" in compared(audits[0], after, folders).leads[1].text


def test_lanes_stand_for_each_other_by_name_or_by_being_the_only_ones_alike(audits):
    plan = audits[0].plan
    second = replace(plan, lanes=(replace(plan.lanes[0], name="v2/grad-cam/predicted"),))
    only = replace(plan, lanes=plan.lanes[:1])
    assert [(a.name, b.name) for a, b in matched(only, second)] == [(LANE, "v2/grad-cam/predicted")]
    assert matched(plan, second) == []  # two before could be meant
    assert [a.name for a, _ in matched(plan, only)] == [LANE]


def test_an_audit_without_results_is_not_compared(tmp_path, folders, audits):
    empty = synthetic.write(tmp_path / "empty", items=100, rows=100, sample=0, shards=0)
    with pytest.raises(UsageError, match="no sealed shard"):
        compared(audits[0], audits[0], (folders[0], empty))


def test_the_twin_of_a_comparison_is_strict_json_and_stays_the_same(said, folders, audits):
    document = json.loads(compared_json(said), parse_constant=lambda name: pytest.fail(name))
    assert document["tables"]["classes-1"]["rows"][0][0] == f"class {CHANGED:04d}"
    assert set(compared_csv(said)) == {"lanes.csv", "classes-1.csv", "classes-2.csv", "metrics.csv", "findings.csv"}
    assert np.isfinite([row["p"] for row in rows(said.lanes)]).all()


def test_classes_that_are_numbered_otherwise_are_compared_by_name(folders, audits):
    """The later model turns its classes round, has one more and calls one otherwise: nothing else changed."""
    same = compared(audits[0], audits[0], (folders[0], folders[0]))
    count, table = 5, audits[0].sql("select * from records")
    names = [*audits[0].plan.models[0].classes[::-1], "a new one"]
    names[0] = "of another name"  # which was class 4
    turned = folders[0].parent / "turned"
    shutil.copytree(folders[0], turned)
    store = Store(turned)
    for number, seal in store.seals().items():
        part = pq.read_table(store.path(seal.parts["records"]))
        for name in ("predicted", "second", "target", "label_class"):
            column = pc.subtract(pa.scalar(count - 1, pa.int32()), part[name].cast(pa.int32()))
            part = part.set_column(part.schema.get_field_index(name), name, column)
        (turned / "seals" / f"{number:08d}.json").unlink()
        content = schema.parquet_bytes(part)
        store.seal(number, replace(seal, parts={**seal.parts, "records": store.put(content, "parquet")}))
    after = Reader(turned)
    after.plan = replace(after.plan, models=tuple(replace(m, classes=tuple(names)) for m in after.plan.models))
    told = compared(audits[0], after, (folders[0], turned))
    facts = {one.name: one.text for one in told.facts}
    assert facts["Classes of fp32"] == "compared by name, for their numbers differ: 4 classes of both"
    assert facts["Classes of fp32, before alone"] == "1: class 0004"
    assert facts["Classes of fp32, after alone"] == "2: of another name, a new one"
    was, now = rows(same.classes[0]), {row["class"]: row for row in rows(told.classes[0])}
    for row in was:
        assert now[row["class"]]["items"] == row["items"]
        assert now[row["class"]]["same answer"] == (0.0 if row["class"] == "class 0004" else 1.0)
    share = (table.to_pandas().query(f"lane == '{LANE}' and status == 'ok'").predicted != 4).mean()
    assert rows(told.lanes)[0]["same answer"] == pytest.approx(share)
    assert all(
        now[row["class"]]["map moved"] == pytest.approx(0, abs=1e-6) for row in was if row["class"] != "class 0004"
    )


def test_classes_without_a_name_in_common_are_not_compared(folders, audits):
    after = Reader(folders[0])
    names = tuple(f"other {k}" for k in range(5))
    after.plan = replace(after.plan, models=tuple(replace(m, classes=names) for m in after.plan.models))
    told = compared(audits[0], after, (folders[0], folders[0]))
    assert rows(told.lanes)[0]["same answer"] is None
    assert [one.text for one in told.facts if one.name == "Classes of fp32"] == [
        "not compared: no name of the one is a name of the other"
    ]
    assert any(one.startswith("Whether answers stayed the same") for one in told.cannot)
    assert compared_page(told)
