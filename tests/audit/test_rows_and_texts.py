"""Audits of rows of tables and of texts: planted weights come back by column and word, bad items are error rows."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli.test_rows import people, write_people
from doors.test_text import WORTH
from doors.test_tokens import token_model, tokenizer

import xplain
from xplain.core.errors import ItemError, UnknownName, UsageError

__all__ = ["people", "tokenizer"]  # fixtures that this file uses

pytest.importorskip("pyarrow")

JOBS = ("nurse", "clerk", "clerk")
SHAP = "kernel-shap"


def table(folder, count=60):
    """Rows with a label that is right but for every tenth, a site, and one row without a job."""
    rng = np.random.default_rng(5)
    lines = ["age,income,job,site,label"]
    rows = []
    for k in range(count):
        age, income, job = int(rng.integers(20, 70)), float(np.round(rng.uniform(1, 30), 1)), JOBS[k % 3]
        up = 0.5 * age - 2 * income + 3 * (job == "nurse") > 0
        label = int(up) if k % 10 else int(not up)
        rows.append((age, income, "" if k == 7 else job, label))
        lines.append(f"{age},{income},{rows[-1][2]},{'AB'[k % 2]},{label}")
    (folder / "items.csv").write_text("\n".join(lines) + "\n")
    return rows


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """An audit of the table by the ONNX file of one input per column, run to its end."""
    people = write_people(tmp_path_factory.mktemp("rows"))
    rows = table(people)
    made = xplain.audit.plan(
        people / "people.onnx", people / "items.csv", out=people / "audit", rows=True, shard_rows=16, sample=6
    )
    assert xplain.audit.run(people / "audit", workers=0).done
    return people / "audit", made, rows


def test_planted_weights_come_back_by_column_and_a_gap_is_an_error_row(audited):
    folder, made, rows = audited
    facts = made.plan.models[0]
    assert (facts.items, facts.columns) == ("rows", ("age", "income", "job"))
    reference = facts.door["reference"]
    assert len(reference["age"]) == 59  # but for the one without a job
    assert any("is given the columns age, income, job; a hidden one becomes" in one for one in made.told)
    low, mean = sorted(reference["age"])[29], sorted(reference["income"])[29]
    with xplain.audit.open(folder) as audit:
        (lane,) = audit.lanes
        assert (lane.name, lane.native_shape, lane.layout) == ("people/kernel-shap", (3,), "NS")
        told = audit.records().to_pylist()
        maps = audit.maps(lane.name)
        assert audit.given([2]) == [{"age": rows[2][0], "income": rows[2][1], "job": "clerk"}]
    for row, (age, income, job, label), values in zip(told, rows, maps, strict=True):
        if row["item"] == 7:
            assert row["status"] == "error"
            assert "is missing" in row["error"]
            assert np.isnan(values).all()
            continue
        score = 0.5 * age - 2 * income + 3 * (job == "nurse")
        sign = 1 if score > 0 else -1
        true = sign * np.array([0.5 * (age - low), -2 * (income - mean), 3.0 * (job == "nurse")])
        np.testing.assert_allclose(values, true, atol=2e-3 * np.abs(true).max() + 1e-4)
        assert (row["label"], row["correct"]) == (str(label), label == int(score > 0))
        assert row["border"] is row["peak_x"] is row["corner0"] is None
        held = np.abs(true) / np.abs(true).sum()
        gini = (np.sort(held) * (2 * np.arange(1, 4) - 4) / 3).sum()
        assert row["gini"] == pytest.approx(gini, abs=2e-3)


def test_whoever_makes_it_makes_the_same_bits(audited):
    folder, made, _ = audited
    found = xplain.audit.verify(folder, recompute=4)
    assert found.sound
    assert len(found.recomputed) == 4
    again = folder.with_name("again")
    plan = {"rows": True, "shard_rows": 16, "sample": 6, "out": again}
    moved = (folder.parent / "items.csv").rename(folder.parent / "moved.csv")
    same = xplain.audit.plan(folder.parent / "people.onnx", moved, **plan)
    assert same.plan.identity == made.plan.identity
    moved.unlink()  # the rows are the audit's own
    xplain.audit.run(again, workers=1)
    assert xplain.audit.open(again).root == xplain.audit.open(folder).root


def test_analyses_of_rows_name_columns_and_what_needs_pictures_says_so(audited):
    folder, _, _ = audited
    found = xplain.audit.analyse(folder)
    assert next(one for one in found if one.kind == "shortcuts").evidence["needed"] == "pictures"
    mass = [one for one in found if one.kind == "mass"]
    assert any("mass on the column" in one.statement or "column age" in one.statement for one in mass)
    assert not any(one.kind == "drift" and "job" in one.statement for one in found)
    doubtful = next(one for one in found if one.kind == "labels" and len(one.members))
    assert set(doubtful.members) <= {k for k in range(60) if k % 10 == 0}
    paths = xplain.audit.report(folder, folder.with_name("report"))
    page = paths[0].read_text()
    assert 'id="features">What counts' in page
    assert '<svg class="bar"' in page
    assert "no picture" not in page
    told = json.loads((folder.with_name("report") / "audit.json").read_text())
    assert told["tables"]["columns-1"]["rows"][0][0] == "income"
    assert "column,share,first" in (folder.with_name("report") / "columns-1.csv").read_text()


def test_a_function_reads_frames_columns_and_background(people):
    table(people)

    def score(t):
        return np.stack([np.zeros(len(t["age"])), np.asarray(t["age"], float) * (np.asarray(t["job"]) == "nurse")], 1)

    rows = {"job": ["nurse", "clerk", "nurse"], "age": [60, 50, 30], "extra": [1, 2, 3]}
    how = {
        "rows": {"columns": "job,age", "background": {"job": ["clerk"], "age": [40]}},
        "metrics": "",
        "methods": SHAP,
    }
    made = xplain.audit.plan({"f": score}, rows, out=people / "audit", **how)
    assert any("was given as an object" in one for one in made.told)
    xplain.audit.run(people / "audit", models={"f": score})
    with xplain.audit.open(people / "audit") as audit:
        maps = audit.maps(audit.lanes[0].name)
        assert audit.items["extra"].to_pylist() == [1, 2, 3]
    np.testing.assert_allclose(maps[0], [50.0, 10.0], atol=0.1)  # of 60: both orders, halved
    reader = xplain.table(score, columns={"job": ["clerk", "nurse"], "age": [40, 40]})
    loaded = xplain.audit.plan({"f": reader}, rows | {"extra": [0, 0, 0]}, methods=SHAP, metrics="", dry_run=True,
                               rows={"columns": ["job", "age"]})  # fmt: skip
    assert loaded.plan.models[0].items == "rows"


def test_which_columns_are_meant_is_asked_where_nothing_says_it(people):
    table(people)
    with pytest.raises(UsageError, match="not known which columns the model takes"):
        xplain.audit.plan(
            {"f": lambda t: np.zeros((len(t["age"]), 2))}, people / "items.csv", rows=True, methods=SHAP, dry_run=True
        )
    for rows, error in (({"column": "a"}, UnknownName), ({"columns": ["years"]}, UnknownName), (3, UsageError)):
        with pytest.raises(error):
            xplain.audit.plan(people / "people.onnx", people / "items.csv", rows=rows, dry_run=True)
    with pytest.raises(UsageError, match="not both"):
        xplain.audit.plan(people / "people.onnx", people / "items.csv", rows=True, texts=True, dry_run=True)
    (people / "none.csv").write_text("age,income,job\n")
    with pytest.raises(UsageError, match="has no rows"):
        xplain.audit.plan(people / "people.onnx", people / "none.csv", rows=True, dry_run=True)


def worth(texts):
    up = [sum(WORTH.get(word.lower(), 0.0) for word in re.findall(r"\w+", text)) for text in texts]
    return np.stack([-np.array(up), np.array(up)], axis=1)


TEXTS = ["A good film", "bad, bad film", "", "good good good good", "not a film at all, not one " * 9]


def test_planted_words_come_back_in_texts_of_any_length(tmp_path):
    how = {"texts": {"longest": 20}, "methods": "ablation", "metrics": "cheap", "labels": [1, 0, 1, 1, None]}
    made = xplain.audit.plan({"f": worth}, TEXTS, out=tmp_path / "audit", **how)
    xplain.audit.run(tmp_path / "audit", models={"f": worth})
    with xplain.audit.open(tmp_path / "audit") as audit:
        (lane,) = audit.lanes
        assert lane.native_shape == (4,)  # of the longest that may be read
        told, maps = audit.records().to_pylist(), audit.maps(lane.name)
        assert audit.passage(1).words == ("bad", "bad", "film")
        graded = audit.metrics().to_pylist()
    assert [row["status"] for row in told] == ["ok", "ok", "error", "ok", "error"]
    assert "is empty" in told[2]["error"]
    assert "at most 20" in told[4]["error"]
    true = [WORTH.get(word, 0.0) for word in ("a", "good", "film")]
    np.testing.assert_allclose(maps[0], [*true, 0], atol=2e-3)
    bad = abs(WORTH["bad"])
    np.testing.assert_allclose(maps[1], [bad, bad, -WORTH.get("film", 0.0), 0], atol=2e-3)
    held = np.abs(true) / np.abs(true).sum()
    assert told[0]["gini"] == pytest.approx((np.sort(held) * np.array([-2, 0, 2]) / 3).sum(), abs=1e-3)
    assert {row["metric"] for row in graded} == {
        "sparseness",
        "complexity",
        "effective-complexity",
        "deletion",
        "insertion",
    }
    deletion = next(row for row in graded if row["item"] == 1 and row["metric"] == "deletion")
    assert deletion["gradient"] is None  # codes of words have no edges
    assert deletion["value"] <= deletion["centre"]
    xplain.audit.report(tmp_path / "audit", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert '<mark class="for s4">bad</mark>' in page
    assert made.plan.models[0].door == {"kind": "texts", "split": "words", "mask": None, "longest": 20, "features": 4}


def test_a_file_of_tokens_reads_a_column_of_texts(tmp_path, tokenizer):
    (tmp_path / "tokens.onnx").write_bytes(token_model())
    (tmp_path / "items.csv").write_text('said,label\n"a good film",0\n"not bad",1\n"bad film, bad",1\n')
    how = {"texts": {"column": "said", "tokenizer": tokenizer, "split": "ids"}, "methods": "ablation", "metrics": ""}
    xplain.audit.plan(tmp_path / "tokens.onnx", tmp_path / "items.csv", out=tmp_path / "audit", **how)
    assert xplain.audit.run(tmp_path / "audit", workers=0).done
    with xplain.audit.open(tmp_path / "audit") as audit:
        maps = audit.maps(audit.lanes[0].name)
        words = audit.passage(0).words
    assert words == ("[CLS]", "a", "good", "film", "[SEP]")
    sign = 1 if sum(WORTH.get(word, 0.0) for word in words) > 0 else -1
    relative = [sign * WORTH.get(word, 0.0) for word in words]
    assert np.argmax(maps[0][:5]) == int(np.argmax(relative))
    assert not maps[0][5:].any()
    assert xplain.audit.verify(tmp_path / "audit", recompute=1).sound


def test_texts_are_files_of_a_folder_too_and_what_is_none_is_an_error_row(tmp_path):
    for name, text in (("up/a", b"good"), ("up/b", b"\xff\xfe"), ("down/c", b"bad film")):
        (tmp_path / "texts" / f"{name}.txt").parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / f"{name}.txt").write_bytes(text)
    (tmp_path / "texts" / "notes.md").write_text("nothing")
    made = xplain.audit.plan(
        {"f": worth},
        tmp_path / "texts",
        out=tmp_path / "audit",
        texts=True,
        labels="folders",
        methods="ablation",
        metrics="",
    )
    assert made.plan.items.count == 3
    assert any("1 files are no pictures or arrays" in one or "left out" in one for one in made.told)
    xplain.audit.run(tmp_path / "audit", models={"f": worth})
    with xplain.audit.open(tmp_path / "audit") as audit:
        told = audit.records().to_pylist()
        with pytest.raises(ItemError, match="given"):
            audit.picture(0)
    assert [row["status"] for row in told] == ["ok", "ok", "error"]
    assert "no text in UTF-8" in told[2]["error"]


def test_metrics_that_cannot_be_asked_are_left_out_of_a_set_and_refused_by_name(people):
    table(people, 12)
    how = {"rows": True, "dry_run": True}
    made = xplain.audit.plan(people / "people.onnx", people / "items.csv", metrics="standard", **how)
    assert "road" not in made.plan.grading.names
    assert any("Metric road is left out" in one for one in made.told)
    with pytest.raises(UsageError, match="Metric 'road' cannot be asked of these items"):
        xplain.audit.plan(people / "people.onnx", people / "items.csv", metrics="road", **how)
    with pytest.raises(UsageError, match="'relevance-mass' compares with boxes or masks .* this audit is given none"):
        xplain.audit.plan(people / "people.onnx", people / "items.csv", metrics="relevance-mass", **how)


def test_a_plan_is_made_although_the_first_rows_have_gaps(tmp_path):
    def score(t):
        return np.stack([np.asarray(t["a"], float), -np.asarray(t["a"], float)], axis=1)

    rows = {"a": [None, float("nan"), 3.0, 5.0, 8.0]}
    made = xplain.audit.plan({"f": score}, rows, out=tmp_path / "audit", rows={"columns": ["a"]}, metrics="")
    assert made.plan.items.count == 5
    xplain.audit.run(tmp_path / "audit", models={"f": score})
    told = xplain.audit.open(tmp_path / "audit").records().to_pylist()
    assert [row["status"] for row in told] == ["error", "error", "ok", "ok", "ok"]
    (tmp_path / "audit" / "rows.parquet").unlink()
    with pytest.raises(UsageError, match="Take it from a copy.$"):
        xplain.audit.verify(tmp_path / "audit", recompute=1, models={"f": score})
    (tmp_path / "none").mkdir()
    with pytest.raises(UsageError, match=r"Names of items end in \.txt"):
        xplain.audit.plan({"f": worth}, tmp_path / "none", texts=True, dry_run=True)
