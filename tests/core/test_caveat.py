"""The one channel for warnings: what a method or a model has to say reaches every place where a result is looked at."""

from __future__ import annotations

import json
from dataclasses import replace

import nets
import numpy as np
import pytest
from onnx import helper

import xplain
from xplain.core.caveat import Caveat, each, joined, of_items, sentences
from xplain.core.outline import ScoreSpec
from xplain.render import canvas
from xplain.results.attribution import Attribution
from xplain.testing import Formula

NAMES = ["a", "b", "c", "d", "e"]


def test_a_caveat_of_one_item_goes_with_it():
    some = (Caveat("all"), Caveat("second", "empty", 1))
    assert of_items(some, [0]) == (Caveat("all"),)
    assert of_items(some, [1]) == (Caveat("all"), Caveat("second", "empty", 0))
    assert of_items(some, range(2, 0, -1)) == (Caveat("all"), Caveat("second", "empty", 1))


def test_caveats_that_are_laid_one_after_another_keep_their_items():
    one = (Caveat("all"), Caveat("x", "empty", 0))
    other = (Caveat("all"), Caveat("y"))
    assert joined([(one, 1), (other, 2)]) == (
        Caveat("all"),
        Caveat("x", "empty", 0),
        Caveat("y", item=1),
        Caveat("y", item=2),
    )
    assert joined([]) == ()


@pytest.mark.parametrize(
    ("caveats", "wanted"),
    [
        ((Caveat("It is so. Do this."),), ["It is so. Do this."]),
        (each(["", "x", "x", "", ""]), ["b, c: x"]),
        (each(["x"] * 5), ["x"]),
        (each(["x"] * 4), ["a, b, c and 1 more of 5: x"]),
        ((Caveat("x", item=1), Caveat("x")), ["x"]),
    ],
)
def test_a_person_is_told_whom_it_is_about(caveats, wanted):
    assert sentences(caveats, NAMES) == wanted
    assert sentences((Caveat("It is 1.5 of 3. Do this."),), NAMES, brief=True) == ["It is 1.5 of 3."]


def _saturated():
    """Sigmoid of a sum times 40: a gradient of one step says nothing of the whole way."""
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["m", "axis"], ["u"]),
        helper.make_node("MatMul", ["u", "w"], ["s"]),
        helper.make_node("Tanh", ["s"], ["y"]),
    ]
    weights = {"w": np.array([[40, -40]], np.float32), "axis": np.array([1], np.int64)}
    return nets.model(nodes, {"x": (nets.FLOAT, ["N", 3, 16, 16])}, {"y": (nets.FLOAT, ["N", 2])}, weights)


def _biased():
    """Nearly all of the score is a bias, which keeps its relevance."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    weights = {"w": np.full((3, 2), 0.01, np.float32), "b": np.array([9, 5], np.float32)}
    return nets.model(nodes, {"x": (nets.FLOAT, ["N", 3, 16, 16])}, {"y": (nets.FLOAT, ["N", 2])}, weights)


def _decides():
    model = Formula(lambda rows: np.eye(2)[(rows.mean((1, 2, 3)) > 0.4).astype(int)], "NCHW", (3, 16, 16), classes=2)
    model.outline = replace(
        model.outline,
        scores=ScoreSpec("scores", 2, "decisions", "none", "said"),
        warnings=(Caveat("It ran on the CPU. Nothing else was there.", "model"),),
    )
    return model


RAISED = {
    "incomplete": (_saturated, "ig", {"steps": 1, "tolerance": None}, "After 1 steps the values miss"),
    "relevance": (_biased, "lrp", {"rule": "epsilon"}, "arrives at the input as relevance"),
    "unchanged": (_saturated, "guided-backprop", {}, "rules change nothing"),
    "budget": (_decides, "rise", {"max_queries": 20, "samples": 64}, "The sample was cut short: "),
    "precision": (_saturated, "rise", {"samples": 16, "precision": 0.001}, "The precision of 0.1% was not reached"),
    "units": (_decides, "occlusion", {"patch": 8, "stride": 8}, "The model only decides"),
    "model": (_decides, "occlusion", {"patch": 8, "stride": 8}, "It ran on the CPU."),
    "rejected": (_decides, "anchors", {"features": "grid:2", "samples": 48, "threshold": 0.999}, "No anchor was found"),
}


@pytest.mark.parametrize("name", RAISED)
def test_a_warning_reaches_every_place(name, tmp_path):
    make, method, options, wanted = RAISED[name]
    x = np.random.default_rng(0).random((2, 3, 16, 16), dtype=np.float32)
    found = xplain.explain(make(), x, method, target=0, **options)
    (told,) = {one.text for one in found.warnings if wanted in one.text and one.item in (None, 0)}
    assert told in str(found)
    assert told in found._repr_html_()
    from xplain import report

    assert told.replace("'", "&#39;") in report.page(found)
    again = Attribution.load(found.save(tmp_path / "a.npz"))
    assert again.warnings == found.warnings
    assert json.loads(json.dumps(again.meta()))["warnings"] == [
        {"text": one.text, "kind": one.kind, "item": one.item} for one in found.warnings
    ]
    for picture in (found.overlay(0), xplain.render.montage([found, found])):
        assert (np.asarray(picture) == canvas.ALERT).all(axis=2).any(), "written in the colour of warnings"
    silent = replace(found, warnings=())
    assert not (np.asarray(silent.overlay(0)) == canvas.ALERT).all(axis=2).any()
    assert "arning" not in str(silent) + silent._repr_html_()
