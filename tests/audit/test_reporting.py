"""A report as its reader gets it: a folder with a page, the same numbers as JSON and CSV, and a signature file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from audit import synthetic

import xplain
from xplain.audit.findings.finding_store import keep
from xplain.audit.opening import open_audit
from xplain.audit.reports import signing
from xplain.core.errors import OutputError, UnknownName, UsageError
from xplain.core.finding import Finding


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return synthetic.write(tmp_path_factory.mktemp("audit") / "a", items=400, rows=200, sample=40, classes=5)


def contents(folder):
    return {one.name: one.read_bytes() for one in folder.iterdir()}


def test_a_report_is_a_folder_that_verifies_and_is_the_same_each_time(out, tmp_path):
    paths = xplain.audit.report(out, tmp_path / "r", reviewer="A. Person")
    assert paths[0] == tmp_path / "r" / "index.html"
    files = contents(tmp_path / "r")
    assert {"index.html", "audit.json", "signature.json", "classes-1.csv", "lanes.csv", "tests.csv"} <= set(files)
    found = signing.check(tmp_path / "r")
    root = open_audit(out).root
    assert (found.whole, found.root, found.reviewer) == (True, root, "A. Person")
    assert json.loads(files["audit.json"])["root"] == root
    assert root.encode() in files["index.html"]
    xplain.audit.report(out, tmp_path / "r", reviewer="A. Person")  # replaces it
    assert contents(tmp_path / "r") == files


def test_findings_of_this_root_are_told_and_those_of_another_are_not(out, tmp_path):
    xplain.audit.report(out, tmp_path / "before")
    assert "no finding here means nothing" in (tmp_path / "before" / "index.html").read_text()
    found = Finding("scan", "class 0001", "It looks at the corner.", "candidate", members=np.array([3]))
    keep(out, open_audit(out).root, [found])
    xplain.audit.report(out, tmp_path / "after")
    assert "1. It looks at the corner." in (tmp_path / "after" / "index.html").read_text()
    (out / "findings").rename(out.parent / "findings")
    keep(out, "other", [found])
    xplain.audit.report(out, tmp_path / "other")
    assert contents(tmp_path / "other") == contents(tmp_path / "before")


def test_what_cannot_be_reported_leaves_nothing(out, tmp_path):
    empty = synthetic.write(tmp_path / "empty", items=40, rows=20, sample=0, shards=0)
    with pytest.raises(UsageError, match="nothing to report"):
        xplain.audit.report(empty, tmp_path / "r")
    with pytest.raises(UsageError, match="no such file"):
        xplain.audit.report(out, tmp_path / "r", key=tmp_path / "none.pem")
    with pytest.raises(UsageError, match="reviewer"):
        xplain.audit.report(out, tmp_path / "r", reviewer="a\x1b[31m")
    with pytest.raises(OutputError, match="no report of xplain's"):
        xplain.audit.report(out, out)
    assert not (tmp_path / "r").exists()
    with pytest.raises(UnknownName, match="tensorboard"):
        xplain.audit.export(out, "tensorbord", tmp_path / "x")


def test_a_comparison_is_written_like_a_report(out, tmp_path):
    other = synthetic.write(tmp_path / "b", items=400, rows=200, sample=40, classes=5, changed=2)
    said = xplain.audit.diff(out, other, tmp_path / "d")
    assert set(contents(tmp_path / "d")) >= {"index.html", "audit.json", "lanes.csv", "signature.json"}
    found = signing.check(tmp_path / "d")
    assert (found.whole, found.root) == (True, " ".join(said.roots))
    xplain.audit.report(out, tmp_path / "d")  # a report of the house's own may take its place
