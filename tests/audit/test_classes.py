"""Two models need not number, or name, their classes alike: answers are the same where the class is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cli.tiny import write_model, write_picture

import xplain
from xplain.audit.plans.classes import pairs_of
from xplain.core.class_names import class_pairs

pytest.importorskip("duckdb")


def test_classes_are_paired_by_whole_names_then_by_synonyms_and_never_by_half():
    first = ["background", "tench, Tinca tinca", "crane", "tabby, tabby cat", "kite"]
    second = ["n01440764 tench, Tinca tinca", "n02012849 crane", "n03126707 crane", "n02123045 tabby", "n01608432 kite"]
    assert class_pairs(first, second) == {1: 0, 3: 3, 4: 4}
    assert class_pairs(second, first) == {0: 1, 1: 2, 2: 2, 3: 3, 4: 4}


def test_twins_that_number_their_classes_otherwise_are_compared_by_class(tmp_path):
    for k in range(24):
        write_picture(tmp_path / f"{k}.png", bool(k % 2))
    write_model(tmp_path / "tiny.onnx")
    names = {"own": ["bright", "dark", "other"], "turned": ["n00000001 dark", "n00000002 bright, light", "more"]}
    models = {name: {"source": tmp_path / "tiny.onnx", "classes": classes} for name, classes in names.items()}
    how = {"methods": "saliency", "metrics": "", "out": tmp_path / "audit"}
    plan = xplain.audit.plan(models, str(tmp_path / "*.png"), **how).plan
    assert pairs_of(*plan.models) == {0: 1, 1: 0}
    assert pairs_of(plan.models[0], replace(plan.models[1], classes=())) is None
    other = replace(plan.models[1], classes=(), scores={"classes": 9})
    assert pairs_of(plan.models[0], other) == {}
    xplain.audit.run(tmp_path / "audit", workers=0)
    (found,) = (one for one in xplain.audit.analyse(tmp_path / "audit", "twins") if one.kind == "twins")
    assert found.evidence["same class"] == 0  # the same number is another class
    assert found.effect == pytest.approx(1)
    xplain.audit.report(tmp_path / "audit", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "0.00 %</b> same answers of own/saliency and turned/saliency" in page
    told = xplain.audit.open(tmp_path / "audit").records(["item", "lane", "predicted"]).to_pylist()
    assert np.unique([row["predicted"] for row in told]).tolist() == [0, 1]
