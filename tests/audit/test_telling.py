"""What a report says of a synthetic audit: each number as a slow formula has it, and what was planted where it was."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from audit import synthetic
from audit.stand_in import Reader
from scipy.stats import binomtest

from xplain.audit.reports.readers import wilson
from xplain.audit.reports.reporting import known_metric
from xplain.audit.reports.telling import told
from xplain.audit.reports.trials import trials
from xplain.core.errors import UsageError
from xplain.core.finding import Finding
from xplain.report.audit import audit_page, json_of

FIRST, SECOND = "fp32/grad-cam/predicted", "int8/grad-cam/predicted"
DIRECTIONS = {"deletion": ("lower", "How fast does it fall?"), "insertion": ("higher", "How fast does it rise?")}


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    return Reader(synthetic.write(tmp_path_factory.mktemp("audits") / "whole"))


@pytest.fixture(scope="module")
def records(audit):
    table = audit.sql("select * from records order by item").to_pandas()
    return {lane: table[table.lane == lane].reset_index(drop=True) for lane in (FIRST, SECOND)}


@pytest.fixture(scope="module")
def said(audit):
    finding = Finding("twins", SECOND, "int8 answers otherwise.", "measured", 0.985, "share", members=np.array([9, 4]))
    return told(audit, [finding], (4, 4), DIRECTIONS.get)


def rows(table) -> list[dict]:
    return [dict(zip([c.name for c in table.columns], row, strict=True)) for row in table.rows]


def test_a_class_is_told_as_pandas_has_it(said, records):
    fp32, int8 = records[FIRST], records[SECOND]
    ok = fp32[fp32.status == "ok"]
    table = {row["class"]: row for row in rows(said.classes[0])}
    assert len(table) == 12
    for number in (0, 5, 11):
        row, own = table[f"class {number:04d}"], ok[ok.predicted == number]
        assert row["items"] == len(own)
        assert row["right"] == pytest.approx(wilson(int(own.correct.sum()), len(own)))
        labelled = ok[ok.label_class == number]
        assert row["found"][0] == pytest.approx(labelled.correct.mean())
        for name in ("score", "margin", "gini", "border"):
            assert row[name] == pytest.approx(own[name].mean(), rel=1e-5)
        assert row["same as twin"] == pytest.approx((int8.predicted[own.index] == own.predicted).mean())
    worst = [row["right"][2] for row in rows(said.classes[0])]
    assert worst == sorted(worst)


def test_the_share_of_right_answers_says_of_which_items_it_is(said, records):
    fp32 = records[FIRST]
    judged = fp32[(fp32.status == "ok") & fp32.correct.notna()]
    lead = next(one for one in said.leads if one.text.startswith("right answers"))
    assert lead.value == f"{100 * judged.correct.astype(bool).mean():.1f} %"
    assert lead.text == "right answers of fp32, of items with a label that it knows"


def test_the_mean_map_of_a_class_is_the_mean_of_its_maps_as_shares(said, audit, records):
    fp32 = records[FIRST]
    own = fp32[(fp32.status == "ok") & (fp32.predicted == 7)]
    maps = audit.maps(FIRST)[own.index].astype(np.float64)
    shares = maps / np.abs(maps).sum(axis=(1, 2), keepdims=True)
    (found,) = [row["mean map"] for row in rows(said.classes[0]) if row["class"] == "class 0007"]
    np.testing.assert_allclose(found, shares.mean(axis=0), rtol=1e-5)
    others = [row["mean map"][-2:, -2:].sum() for row in rows(said.classes[0]) if row["class"] != "class 0007"]
    assert found[-2:, -2:].sum() > 1.5 * np.mean(others)  # the shortcut that was planted there


def test_intervals_are_those_of_scipy():
    for right, count in ((7, 10), (0, 10), (10, 10), (1, 3), (812, 1000)):
        low, high = binomtest(right, count).proportion_ci(0.95, "wilson")
        assert wilson(right, count) == pytest.approx((right / count, low, high), abs=1e-6)
    assert wilson(3, 0) is None


def test_time_and_groups_show_what_was_planted(said):
    (taken,) = said.over_time
    months = rows(taken)
    assert [row["taken"] for row in months] == sorted(row["taken"] for row in months)
    assert months[-1]["right"][0] < min(row["right"][0] for row in months[:-2]) - 0.1
    by_name = {table.title: rows(table) for table in said.subgroups}
    assert by_name["By site"][0]["site"] == "E"
    assert sum(row["items"] for row in by_name["By site"]) == 6000
    quarters = by_name["By age"]
    assert [row["age"].split(" (")[0] for row in quarters] == [*(f"quarter {k}" for k in range(1, 5)), "missing"]
    assert max(row["items"] for row in quarters[:4]) - min(row["items"] for row in quarters[:4]) <= 1


def test_lanes_tenths_twins_and_failures_add_up(said, records):
    fp32, int8 = records[FIRST], records[SECOND]
    failed = int((fp32.status == "error").sum())
    assert failed
    lanes = {row["lane"]: row for row in rows(said.lanes)}
    assert (lanes[FIRST]["items"], lanes[FIRST]["not explained"]) == (6000, failed)
    tenths = rows(said.deciles[0])
    assert sum(row["items"] for row in tenths) == 6000 - failed
    assert tenths[0]["margin to"] == pytest.approx(fp32.margin.quantile(0.1), abs=0.01)
    assert [row["right"][0] for row in (tenths[0], tenths[-1])] == sorted(
        row["right"][0] for row in (tenths[0], tenths[-1])
    )
    (pair,) = rows(said.twins)
    both = fp32.status == "ok"
    assert pair["same answer"] == pytest.approx((fp32.predicted[both] == int8.predicted[both]).mean())
    assert pair["right in the first only"] == int((fp32.correct[both] & ~int8.correct[both].astype(bool)).sum())
    reasons = rows(said.failures)
    assert sum(row["items"] for row in reasons) == 2 * failed
    assert {row["reason"] for row in reasons} <= {
        *("PictureError: the picture ends early (byte N)", "PictureError: it is no picture"),
        "NonFinite: the scores hold NaN",
    }


def test_the_worst_items_are_the_worst(said, records):
    fp32 = records[FIRST]
    shown = dict(said.worst)
    wrong = fp32[(fp32.status == "ok") & (fp32.correct == False)]  # noqa: E712 - nullable
    sure = wrong.sort_values("margin", ascending=False).item[:12].tolist()
    assert [one.item for one in shown["Wrong and sure of it: the largest margins among wrong answers"]] == sure
    close = fp32.sort_values("margin").item[:12].tolist()
    assert [one.item for one in shown["Least sure: the smallest margins"]] == close
    first = said.worst[0][1][0]
    assert first.picture.shape == (20, 30, 3)
    assert first.values.shape == (7, 7)
    assert "labelled class" in first.captions[0]
    assert [one.item for one in said.findings[0].examples] == [9, 4]


def test_metrics_are_judged_beside_what_knows_nothing(audit, said):
    table = audit.sql("select * from metrics").to_pandas()
    by_key = {(one.lane, one.metric): one for one in said.tests}
    assert list(by_key) == [(lane, metric) for lane in (FIRST, SECOND) for metric in ("deletion", "insertion")]
    one = by_key[FIRST, "deletion"]
    own = table[(table.lane == FIRST) & (table.metric == "deletion")]
    assert one.value == pytest.approx(own.value.mean())
    gap = own["random"] - own.value
    name, mean, low, high = one.baselines[0]
    reach = 1.96 * gap.std() / len(own) ** 0.5
    assert (name, mean) == ("random", pytest.approx(own["random"].mean()))
    assert (low, high) == (
        pytest.approx(gap.mean() - reach, abs=reach / 4),
        pytest.approx(gap.mean() + reach, abs=reach / 4),
    )
    assert all(one.passed for one in said.tests)


def test_metrics_are_told_by_class_worst_class_and_worst_tenth_as_pandas_has_them(audit, said, records):
    scores = (
        audit.metrics()
        .to_pandas()
        .merge(records[FIRST][["item", "predicted_name", "status"]].assign(lane=FIRST), on=["item", "lane"])
    )
    scores = scores[scores.status == "ok"]
    whole = {(row["metric"], row["lane"]): row for row in rows(said.grades[0])}
    by_class = rows(said.grades[1])
    for name, (better, _) in DIRECTIONS.items():
        own = scores[scores.metric == name]
        row, sign = whole[name, FIRST], -1 if better == "lower" else 1
        assert row["items"] == len(own)
        assert row["mean"][0] == pytest.approx(own.value.mean())
        assert row["mean"][1] < row["mean"][0] < row["mean"][2]
        assert row["better than chance by"][0] == pytest.approx((sign * (own.value - own.random)).mean())
        ordered = own.value.sort_values(ascending=better == "higher")
        assert row["worst tenth"] == pytest.approx(ordered[: round(len(own) / 10)].mean())
        each = {one["class"]: one for one in by_class if one["metric"] == name}
        groups = own.groupby("predicted_name").value
        assert set(each) == set(groups.groups)
        for kind, values in groups:
            assert each[kind]["items"] == len(values)
            assert each[kind]["mean"][0] == pytest.approx(values.mean())
            assert each[kind]["a random map"] == pytest.approx(own[own.predicted_name == kind].random.mean())
        ends = {kind: one["mean"][2] if sign > 0 else -one["mean"][1] for kind, one in each.items()}
        assert row["worst class"] == min(ends, key=lambda kind: (ends[kind], sign * each[kind]["mean"][0]))
        assert next(iter(each)) == row["worst class"]  # the page begins with it


def test_a_metric_in_the_wrong_direction_fails_and_an_unknown_one_is_not_judged(audit):
    turned = {"deletion": ("higher", "")}
    tests = {(one.lane, one.metric): one for one in trials(audit, turned.get)}
    failed = tests[FIRST, "deletion"]
    assert (failed.passed, failed.why) == (False, "Worse than: random, centre, edge, gradient.")
    assert tests[FIRST, "insertion"].passed is None
    sentences = told(audit, None, (4, 4), turned.get).cannot
    assert any(text.startswith(f"Explanations that did not pass a test (deletion of {FIRST}") for text in sentences)


def test_metrics_that_read_a_map_alone_have_no_direction():
    assert known_metric("deletion")[0] == "lower"
    assert known_metric("sparseness")[0] == ""
    assert known_metric("no such metric") is None


def test_few_items_are_not_judged(tmp_path):
    few = Reader(synthetic.write(tmp_path / "few", items=200, rows=100, sample=12, errors=0.0))
    found = told(few, None, (2, 2), DIRECTIONS.get)
    assert {one.passed for one in found.tests} == {None}
    assert "12 items are too few to judge" in found.tests[0].why
    assert found.failures is None
    assert "Every item of the shards at hand was explained" in audit_page(found)


def test_a_part_of_an_audit_says_so_and_nothing_of_the_rest(tmp_path):
    part = Reader(synthetic.write(tmp_path / "part", shards=2))
    found = told(part, None, (2, 4), DIRECTIONS.get)
    assert found.partial.startswith("2 of 4 shards are sealed, that is 3,000 of 6,000 items.")
    assert rows(found.lanes)[0]["items"] == 3000
    assert "Not the whole audit" in audit_page(found)


def test_an_audit_without_a_sealed_shard_has_nothing_to_report(audit):
    with pytest.raises(UsageError, match=r"None of the audit's 4 shards is sealed.*xplain audit run"):
        told(audit, None, (0, 4), DIRECTIONS.get)


def test_the_same_audit_tells_the_same_bytes(audit, said):
    again = told(audit, [one.finding for one in said.findings], (4, 4), DIRECTIONS.get)
    assert json_of(again) == json_of(said)
    assert audit_page(again) == audit_page(said)


def test_columns_and_values_of_metadata_may_be_called_anything(tmp_path):
    """A name that ends a query, a value that is markup, and one that ends a text."""
    out = synthetic.write(tmp_path / "hostile", items=200, rows=200, sample=0)
    table = pq.read_table(out / "items.parquet")
    evil = '"; drop table records; --'
    values = np.array(["<script>alert(1)</script>", "it's", "'; drop view items; --"], object)[np.arange(200) % 3]
    pq.write_table(table.append_column(evil, [values]), out / "items.parquet")
    found = told(Reader(out), None, (1, 1), DIRECTIONS.get)
    (group,) = [one for one in found.subgroups if one.title == f"By {evil}"]
    assert {row[0]: row[1] for row in group.rows} == {value: int((values == value).sum()) for value in set(values)}
    page = audit_page(found)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_columns_of_metadata_may_be_called_as_the_records_own_or_the_querys(tmp_path):
    """A table of rows keeps the model's truth as "target", which is also what a record calls its target."""
    out = synthetic.write(tmp_path / "named", items=200, rows=200, sample=0)
    table = pq.read_table(out / "items.parquet")
    for name in ("target", "status", "quarter", "told"):
        table = table.append_column(name, [np.arange(200) % 4])
    pq.write_table(table.append_column("score", [np.arange(200.0)]), out / "items.parquet")
    found = told(Reader(out), None, (1, 1), DIRECTIONS.get)
    by_name = {one.title: {row[0]: row[1] for row in one.rows} for one in found.subgroups}
    for name in ("target", "status", "quarter", "told"):
        assert by_name[f"By {name}"] == dict.fromkeys("0123", 50)
    assert by_name["By score"]["quarter 1 (0 to 49)"] == 50


def test_what_an_audit_lacks_is_among_what_it_cannot_say(audit, said):

    assert "How small a shortcut these analyses would have found: no control was planted." in said.cannot
    assert any(text.startswith("grad-cam sees 7 x 7 cells: nothing smaller than 32 pixels") for text in said.cannot)
    assert not any("no analysis was run" in text for text in said.cannot)
    assert any("no analysis was run" in text for text in told(audit, None, (4, 4), DIRECTIONS.get).cannot)
