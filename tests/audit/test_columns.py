"""One rule says what a column of a table is, whatever the table and the column are for; empty ones are empty."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.audit.sources.columns import Sheet
from xplain.audit.sources.tables import CsvTable, ParquetTable
from xplain.core.errors import UsageError

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

CSV = """file,code,zip,share,sure,none,marked,said
a.png,1,007,0.5,true,,NA,x
b.png,2,010,,false,,-,y
"""
KINDS = {
    "code": "int64", "zip": "string", "share": "double", "sure": "bool", "none": "null", "marked": "null",
    "said": "string",
}  # fmt: skip


def scores(t):
    return np.stack([np.asarray(t["a"], float), -np.asarray(t["a"], float)], axis=1)


def test_a_csv_file_is_read_alike_as_metadata_of_files_and_as_rows(tmp_path):
    (tmp_path / "items.csv").write_text(CSV)
    assert dict(CsvTable(tmp_path / "items.csv").metadata) == KINDS
    (tmp_path / "rows.csv").write_text(CSV.replace("file,", "a,").replace("a.png", "3").replace("b.png", "4"))
    made = xplain.audit.plan({"f": scores}, tmp_path / "rows.csv", out=tmp_path / "audit", rows={"columns": ["a"]},
                             metrics="")  # fmt: skip
    items = xplain.audit.open(tmp_path / "audit").items
    assert {name: str(items.schema.field(name).type) for name in KINDS} == KINDS
    assert items["zip"].to_pylist() == ["007", "010"]
    told = [one for one in made.told if "is empty" in one]
    assert told == [f"Column {n!r} is empty: no item has a value there, so nothing is compared by it."
                    for n in ("none", "marked")]  # fmt: skip


def test_a_table_that_says_what_its_columns_hold_is_believed(tmp_path):
    columns = {
        "file": ["a.png", "b.png"],
        "code": ["1", "2"],
        "kind": pa.array(["1", "1"]).dictionary_encode(),
        "none": pa.nulls(2, pa.float64()),
        "list": [[1, 2], [3]],
    }
    parquet.write_table(pa.table(columns), tmp_path / "items.parquet")
    source = ParquetTable(tmp_path / "items.parquet", "file")
    assert dict(source.metadata) == {"code": "string", "kind": "string", "none": "double"}
    sheet = Sheet(pa.table(columns), loose=False)
    assert {n: str(sheet.column(n).type) for n in ("code", "kind", "none")} == dict(source.metadata)
    assert sheet.column("list") is None


def test_labels_and_texts_are_what_stands_there(tmp_path):
    (tmp_path / "rows.csv").write_text("a,label\n3,True\n4,1.0\n5,007\n")
    xplain.audit.plan({"f": scores}, tmp_path / "rows.csv", out=tmp_path / "rows", rows={"columns": ["a"]}, metrics="")
    assert xplain.audit.open(tmp_path / "rows").items["label"].to_pylist() == ["True", "1.0", "007"]
    (tmp_path / "texts.csv").write_text("said,at\n12,1\n1.50,2\n")

    def long(texts):
        return np.array([[len(one), 0.0] for one in texts])

    how = {"texts": "said", "methods": "ablation", "metrics": ""}
    xplain.audit.plan({"f": long}, tmp_path / "texts.csv", out=tmp_path / "texts", **how)
    audit = xplain.audit.open(tmp_path / "texts")
    assert audit.given([0, 1]) == ["12", "1.50"]
    assert "said" not in audit.items.column_names


def test_a_models_column_without_a_value_is_refused_unless_its_type_is_stated(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n3,\n4,\n")
    how = {"rows": {"columns": ["a", "b"]}, "metrics": "", "dry_run": True}
    with pytest.raises(UsageError, match=r"Column 'b', which the model takes, is empty: .* as Parquet or as a DataFr"):
        xplain.audit.plan({"f": scores}, tmp_path / "rows.csv", **how)
    stated = {"a": [3.0, 4.0], "b": np.array([np.nan, np.nan])}
    made = xplain.audit.plan({"f": scores}, stated, **how)
    assert "Column 'b' is empty: no item has a value there, so nothing is compared by it." in made.told


def test_an_audit_planned_by_another_rule_verifies_and_planning_it_again_says_which_columns_differ(tmp_path):
    """Digits in a Parquet column of texts were typed as numbers once."""
    rows = {"a": [3.0, 4.0], "code": [1, 2]}
    how = {"out": tmp_path / "audit", "rows": {"columns": ["a"]}, "metrics": "", "shard_rows": 1}
    xplain.audit.plan({"f": scores}, rows, **how)
    xplain.audit.run(tmp_path / "audit", models={"f": scores})
    assert xplain.audit.verify(tmp_path / "audit", recompute=2, models={"f": scores}).sound
    with pytest.raises(UsageError, match="holds another audit: .*Of the items, column 'code' was int64 and is string"):
        xplain.audit.plan({"f": scores}, {**rows, "code": ["1", "2"]}, **how)
    with pytest.raises(UsageError, match="column 'code' is gone; column 'site' is new"):
        xplain.audit.plan({"f": scores}, {"a": rows["a"], "site": ["A", "B"]}, **how)
    assert xplain.audit.verify(tmp_path / "audit", recompute=2, models={"f": scores}).sound
    xplain.audit.report(tmp_path / "audit", tmp_path / "report")


def test_a_report_says_by_which_columns_nothing_is_grouped(tmp_path):
    rows = {"a": [3.0, 4.0], "none": pa.nulls(2, pa.string()), "name_of": [f"n{k}" for k in range(2)]}
    how = {"out": tmp_path / "audit", "rows": {"columns": ["a"]}, "metrics": ""}
    xplain.audit.plan({"f": scores}, rows, **how)
    xplain.audit.run(tmp_path / "audit", models={"f": scores})
    paths = xplain.audit.report(tmp_path / "audit", tmp_path / "report")
    assert "Groups by none: the column is empty." in paths[0].read_text()
