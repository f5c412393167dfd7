"""``xplain measure``: a model with a known cause, judged beside maps that know nothing."""

from __future__ import annotations

import json

import numpy as np
from cli.tiny import CAUSE
from PIL import Image

from xplain.results import load

METHOD = ("--method", "input-x-gradient", "--target", "bright")


def test_the_cause_is_found_and_beats_chance(xplain, model, pictures, tmp_path):
    (y, x), table = CAUSE, tmp_path / "boxes.csv"
    rows = [f"{name}.png,{y.start},{x.start},{y.stop},{x.stop}" for name in "ac"]
    table.write_text("\n".join(["file,y0,x0,y1,x1", *rows]) + "\n")
    asked = ("--metric", "standard", "--metric", "pointing-game", "--metric", "deletion:steps=4", "--truth", table)
    ran = xplain("measure", model, pictures, *METHOD, *asked, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    told = ran.document["methods"]["input-x-gradient"]
    assert {"road", "pointing-game"} <= set(told["metrics"])
    assert [one["pointing-game"] for one in told["pictures"]] == [1.0, None, 1.0]
    assert told["metrics"]["deletion"]["beats chance on"] == 3
    assert told["metrics"]["deletion"]["mean"] < told["metrics"]["deletion"]["blind"]["centre"]
    assert "too little to tell it from chance" in told["metrics"]["deletion"]["sentence"], "three pictures are few"
    kept = load(tmp_path / "out" / told["files"]["numbers"])
    np.testing.assert_allclose(kept.column("pointing-game"), [1, np.nan, 1])
    with Image.open(tmp_path / "out" / told["files"]["judgement"]) as drawn:
        drawn.verify()
    both = "deletion:steps=4,sparseness"  # as an audit's plan takes them
    words = xplain("measure", model, pictures, *METHOD, "--metrics", both, "--out", tmp_path / "out")
    assert "sparseness of input-x-gradient is" in words.out
    assert "deletion of input-x-gradient is" in words.out
    assert "3 pictures; " in words.out


def test_coco_and_masks_say_what_a_table_of_boxes_says(xplain, model, pictures, tmp_path):
    (y, x), told = CAUSE, {}
    box = [x.start, y.start, x.stop - x.start, y.stop - y.start]
    found = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "bbox": box}]}
    (tmp_path / "coco.json").write_text(json.dumps(found))
    mask = np.zeros((16, 16), np.uint8)
    mask[CAUSE] = 255
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    for form in ("coco.json", "masks"):
        asked = ("--metric", "relevance-mass", "--truth", tmp_path / form, "--out", tmp_path / "out", "--json")
        ran = xplain("measure", model, pictures, *METHOD, *asked)
        told[form] = [one["relevance-mass"] for one in ran.document["methods"]["input-x-gradient"]["pictures"]]
    assert told["coco.json"] == told["masks"] == [1.0, None, None]
    Image.fromarray(mask[:8]).save(tmp_path / "masks" / "a.png")
    ran = xplain("measure", model, pictures, *METHOD, *asked)
    assert "a.png is 16 x 16, and its truth is of 8 x 16" in ran.err


def test_several_methods_are_held_against_one_another(xplain, model, pictures, tmp_path):
    asked = (
        "-m",
        "input-x-gradient,saliency",
        "--target",
        "bright",
        "--metric",
        "sparseness",
        "--out",
        tmp_path / "out",
    )
    ran = xplain("measure", model, pictures, *asked, "--json")
    assert ran.code == 0, ran.err
    (pair,) = ran.document["agreement"]
    assert (pair["first"], pair["second"]) == ("input-x-gradient", "saliency")
    assert pair["rank-agreement"] > 0.9, "both mark the cause alone"
    assert "input-x-gradient and saliency: rank-agreement" in xplain("measure", model, pictures, *asked).out


def test_a_picture_that_fails_is_told_and_the_others_are_judged(xplain, model, pictures, tmp_path):
    (pictures / "d.png").write_bytes(b"no picture")
    ran = xplain("measure", model, pictures, *METHOD, "--metric", "sparseness", "--out", tmp_path / "out", "--json")
    assert ran.code == 4
    assert [one["picture"].endswith("d.png") for one in ran.document["failures"]] == [True]
    assert len(ran.document["methods"]["input-x-gradient"]["pictures"]) == 3


def test_what_cannot_be_asked_is_said(xplain, model, pictures, tmp_path):
    out = ("--out", tmp_path / "out")
    for words, message in (
        (("--metric", "deletio"), "deletion"),
        (("--metric", "mprt"), "xplain.measure.randomisation"),
        (("--metric", "pointing-game"), "--truth boxes.csv"),
        (("--metric", "deletion:step=4"), "steps"),
        (("--metric", "sparseness", "--target", "top2"), "one target per picture"),
    ):
        ran = xplain("measure", model, pictures, "--method", "input-x-gradient", *words, *out)
        assert ran.code == 2, words
        assert message in ran.err
