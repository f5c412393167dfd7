"""An audit is analysed by name, what was found is kept under its root, and planted truths come back by item number."""

from __future__ import annotations

import numpy as np
import pytest
from audit.sealed import LANE, seal, write_audit
from cli.tiny import write_model

import xplain
from xplain.audit.findings.analysing import _MADE_BY
from xplain.audit.plans.plan import ANALYSES
from xplain.core.errors import UnknownName, UsageError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 pictures, of which two are copies across the split and twenty of site B are labelled wrongly."""
    base = tmp_path_factory.mktemp("analysed")
    write_model(base / "tiny.onnx")
    write_model(base / "twin.onnx")
    lines = ["file,label,split,site"]
    for k in range(120):
        bright, site = k % 2 == 0, "B" if k % 3 == 0 else "A"
        _picture(base, k, bright)
        wrong = site == "B" and k < 60
        label = ("bright" if bright else "dark") if not wrong else ("dark" if bright else "bright")
        lines.append(f"{k:03}.png,{label},{'train' if k >= 100 else 'test'},{site}")
    (base / "photos" / "110.png").write_bytes((base / "photos" / "004.png").read_bytes())
    (base / "items.csv").write_text("\n".join(lines) + "\n")
    xplain.audit.plan(
        {"fp32": str(base / "tiny.onnx"), "int8": str(base / "twin.onnx")},
        base / "items.csv",
        out=base / "audit",
        methods=["occlusion:patch=4,stride=4", "saliency"],
        root=base / "photos",
        labels="column:label",
        metrics="",
        shard_rows=40,
    )
    seal(base / "audit", (0, 1, 2))
    return base / "audit"


def _picture(base, k, bright):
    from PIL import Image

    rng = np.random.default_rng(k)
    pixels = rng.integers(0, 40, (16, 16, 3)) + (200 if bright else 0)
    path = base / "photos" / f"{k:03}.png"
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def test_every_analysis_answers_and_is_kept_under_the_root(folder):
    found = xplain.audit.analyse(folder)
    kinds = {one.kind for one in found}
    assert {"mass", "twins", "duplicates", "subgroups", "labels"} <= kinds
    root = xplain.audit.open(folder).root
    assert (folder / "findings" / f"{root}.json").is_file()
    again = xplain.audit.analyse(folder)
    assert [(one.kind, one.group, one.statement, one.standing) for one in again] == [
        (one.kind, one.group, one.statement, one.standing) for one in found
    ]
    np.testing.assert_array_equal(again[0].members, found[0].members)
    assert all(one.limits for one in found)


def test_the_copy_across_the_split_and_the_site_of_wrong_labels_are_found(folder):
    found = xplain.audit.analyse(folder, "duplicates, subgroups")
    (leak,) = [one for one in found if one.group == "leak"]
    assert leak.evidence["copies"].tolist() == [[0, 4], [0, 110]]
    sites = [one for one in found if one.kind == "subgroups" and one.standing == "candidate"]
    assert {one.group for one in sites} == {"site = A", "site = B"}
    assert sites[0].group == "site = B"
    assert sites[0].evidence["lane"].startswith("fp32")


def test_twins_of_one_file_agree_and_methods_are_held_against_each_other(folder):
    found = xplain.audit.analyse(folder, "twins,triage")
    twins = [one for one in found if one.kind == "twins"]
    assert all(one.effect == pytest.approx(1) for one in twins)
    assert len(twins) == 2  # by two methods
    assert [one.kind for one in found].count("triage") == 2  # of two models


def test_the_wrong_labels_are_doubtful(folder):
    (found, *_) = xplain.audit.analyse(folder, "labels")
    wrong = {k for k in range(60) if k % 3 == 0}
    assert len(found.members)
    assert set(found.members) <= wrong


def test_what_is_no_analysis_or_no_audit_is_refused(folder, tmp_path):
    with pytest.raises(UnknownName, match="shortcuts"):
        xplain.audit.analyse(folder, "shortcut")
    with pytest.raises(UsageError):
        xplain.audit.analyse(tmp_path)
    assert set(_MADE_BY) == set(ANALYSES)


def test_an_analysis_that_may_spend_nothing_says_so_and_the_others_are_told(folder):
    found = xplain.audit.analyse(folder, "labels,mass", max_queries=3)
    assert found[0].kind == "labels"
    assert found[0].standing == "too few"
    assert "not made" in found[0].statement
    assert any(one.kind == "mass" for one in found[1:])


def test_damaged_findings_are_looked_for_again_as_their_message_advises(copied):
    first = xplain.audit.analyse(copied)
    (file,) = (copied / "findings").glob("*.json")
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert [one.statement for one in xplain.audit.analyse(copied)] == [one.statement for one in first]
    assert file.read_bytes() == whole


def test_few_items_are_told_how_many_each_analysis_needs(made):
    found = xplain.audit.analyse(made, "shortcuts,clusters,mass,labels")
    assert {one.standing for one in found} == {"too few"}
    assert all(one.evidence["needed"] > one.count for one in found)
    assert any(one.evidence.get("lane") == LANE for one in found)


def test_what_was_planned_is_asked_where_nothing_else_is_said(tmp_path):
    folder = write_audit(tmp_path, analyses="mass, duplicates")
    assert {one.kind for one in xplain.audit.analyse(folder)} == {"mass", "duplicates"}
    assert len(list((folder / "findings").glob("*.json"))) == 1
    assert {one.kind for one in xplain.audit.analyse(folder, "all")} > {"mass", "duplicates"}
    with pytest.raises(UnknownName, match="Unknown analysis 'nonsense'"):
        write_audit(tmp_path / "other", analyses="nonsense")
