"""``xplain explain``: files, predictions, targets, cost, groups and failures."""

from __future__ import annotations

import json
import re

import numpy as np
import onnx
import pytest
from cli.tiny import CAUSE, write_model, write_picture
from PIL import Image

from xplain.core.errors import NonFinite
from xplain.render.overlay import limit_of
from xplain.results.attribution import Attribution
from xplain.session import Session

OPTIONS = ("--patch", 4, "--stride", 4)
WINDOWS = 16


def test_writes_map_overlay_page_and_record(xplain, model, pictures, tmp_path):
    out = tmp_path / "deep" / "out"
    ran = xplain("explain", model, pictures / "a.png", *OPTIONS, "--out", out)
    assert ran.code == 0, ran.err
    assert sorted(p.name for p in out.iterdir()) == ["a.occlusion.npz", "a.occlusion.png", "index.html", "run.json"]
    found = Attribution.load(out / "a.occlusion.npz")
    inside = found.values[0][CAUSE].sum()
    assert inside > 1
    assert inside == pytest.approx(found.values.sum(), rel=1e-5)
    with Image.open(out / "a.occlusion.png") as drawn:
        drawn.verify()
    assert "a.png: bright" in ran.out
    assert str(out / "index.html") in ran.out


def test_json_is_one_document_and_is_the_record(xplain, model, pictures, tmp_path):
    ran = xplain("explain", model, pictures, *OPTIONS, "--out", tmp_path / "out", "--json")
    document = ran.document
    assert [p["predictions"][0]["label"] for p in document["pictures"]] == ["bright", "dark", "bright"]
    (one,) = document["pictures"][0]["explanations"]
    assert (one["method"], one["target"], one["class"]) == ("occlusion", "bright", 0)
    assert one["options"]["patch"] == 4
    assert one["files"] == {"png": "a.occlusion.png", "npz": "a.occlusion.npz"}
    probabilities = [p["probability"] for p in document["pictures"][0]["predictions"]]
    assert sum(probabilities) == pytest.approx(1)
    assert document["exit_code"] == ran.code == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["state"] == "finished"
    assert record["run"]["pictures"] == document["pictures"]


def test_each_picture_is_explained_for_its_own_class(xplain, model, pictures, tmp_path):
    ran = xplain("explain", model, pictures, *OPTIONS, "--out", tmp_path / "out", "--json")
    targets = [p["explanations"][0]["target"] for p in ran.document["pictures"]]
    assert targets == ["bright", "dark", "bright"]
    assert Attribution.load(tmp_path / "out" / "b.occlusion.npz").target == "dark"


def test_a_picture_alone_and_in_a_group_get_the_same_map(xplain, model, pictures, tmp_path):
    xplain("explain", model, pictures, *OPTIONS, "--out", tmp_path / "all")
    xplain("explain", model, pictures / "b.png", *OPTIONS, "--out", tmp_path / "one")
    one, of_all = (Attribution.load(tmp_path / name / "b.occlusion.npz").values for name in ("one", "all"))
    np.testing.assert_array_equal(one, of_all)


def test_several_methods_and_targets(xplain, model, pictures, tmp_path):
    out = tmp_path / "out"
    words = ("--method", "occlusion", "-m", "rise", "--samples", 50, "--cells", 4, "--target", "top2")
    ran = xplain("explain", model, pictures / "a.png", *words, "--out", out, "--json")
    explanations = ran.document["pictures"][0]["explanations"]
    assert [(e["method"], e["target"]) for e in explanations] == [
        ("occlusion", "bright"),
        ("occlusion", "other"),
        ("rise", "bright"),
        ("rise", "other"),
    ]
    assert explanations[1]["files"]["png"] == "a.occlusion.top2.png"
    assert all((out / e["files"][kind]).is_file() for e in explanations for kind in ("png", "npz"))


@pytest.mark.parametrize("target", ["dark", "1", "-2", "dark - other", "DARK"])
def test_targets(xplain, model, pictures, tmp_path, target):
    ran = xplain("explain", model, pictures / "a.png", *OPTIONS, "--target", target, "--out", tmp_path / "out")
    assert ran.code == 0, ran.err
    assert "of 'dark" in ran.out


def test_dry_run_counts_what_the_run_then_costs(xplain, model, pictures, tmp_path):
    out = tmp_path / "out"
    words = ("explain", model, pictures, *OPTIONS, "--out", out, "--json")
    planned = xplain(*words, "--dry-run").document
    assert not out.exists()
    spent = xplain(*words).document["cost"]
    assert planned["queries"] == spent["queries"]
    assert planned["queries"] >= 3 * (1 + WINDOWS)
    assert "3 pictures would take" in xplain(*words[:-1], "--dry-run").out


def test_groups_do_not_change_the_result(xplain, model, pictures, tmp_path, monkeypatch):
    xplain("explain", model, pictures, *OPTIONS, "--out", tmp_path / "a")
    monkeypatch.setattr("xplain.cli.run.AT_ONCE", 2)
    ran = xplain("explain", model, pictures, *OPTIONS, "--batch-size", 3, "--out", tmp_path / "b", "--json")
    assert len(ran.document["pictures"]) == 3
    for name in ("a", "b", "c"):
        first, second = (Attribution.load(tmp_path / run / f"{name}.occlusion.npz").values for run in "ab")
        np.testing.assert_array_equal(first, second)


def test_pictures_are_read_once_and_looked_at_once_by_all_methods(xplain, model, pictures, tmp_path, monkeypatch):
    from xplain.render import pictures as reader

    honest, read = reader.read, []
    monkeypatch.setattr(reader, "read", lambda source, *rest: read.append(source) or honest(source, *rest))
    words = ("-m", "occlusion", *OPTIONS, "-m", "saliency", "-m", "lrp")
    ran = xplain("explain", model, pictures, *words, "--out", tmp_path / "out", "--json")
    assert ran.code == 0, ran.err
    files = [source for source in read if isinstance(source, str)]
    assert sorted(path.rpartition("/")[2] for path in files) == ["a.png", "b.png", "c.png"]
    cost = ran.document["cost"]
    assert (cost["queries"], cost["sweeps"]) == (3 * (1 + WINDOWS), 6)


def test_equal_names_do_not_overwrite_each_other(xplain, model, tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write_picture(tmp_path / folder / "same.png")
    ran = xplain("explain", model, tmp_path / "x", tmp_path / "y", *OPTIONS, "--out", tmp_path / "out", "--json")
    files = [p["explanations"][0]["files"]["png"] for p in ran.document["pictures"]]
    assert files == ["same.occlusion.png", "same-2.occlusion.png"]


def test_shared_scale_draws_all_on_the_strongest_ones_limit(xplain, model, pictures, tmp_path):
    words = ("explain", model, pictures / "a.png", pictures / "b.png", *OPTIONS, "--target", "bright")
    assert xplain(*words, "--shared-scale", "--out", tmp_path / "out").code == 0
    strong, weak = (Attribution.load(tmp_path / "out" / f"{name}.occlusion.npz") for name in "ab")
    limit = limit_of(strong.values)
    assert limit > limit_of(weak.values)
    for name, one in (("a", strong), ("b", weak)):
        with Image.open(tmp_path / "out" / f"{name}.occlusion.png") as drawn:
            np.testing.assert_array_equal(np.asarray(drawn), np.asarray(one.overlay(0, limit=limit)))


def test_native_resolution_is_drawn_otherwise(xplain, model, pictures, tmp_path):
    words = ("explain", model, pictures / "a.png", "-m", "rise", "--samples", 64, "--cells", 4)
    xplain(*words, "--out", tmp_path / "map")
    xplain(*words, "--out", tmp_path / "cells", "--native-resolution")
    assert (tmp_path / "map" / "a.rise.png").read_bytes() != (tmp_path / "cells" / "a.rise.png").read_bytes()


def test_one_bad_picture_does_not_stop_the_others(xplain, model, pictures, tmp_path):
    (pictures / "bad.png").write_bytes((pictures / "a.png").read_bytes()[:60])
    ran = xplain("explain", model, pictures, *OPTIONS, "--out", tmp_path / "out", "--json")
    assert ran.code == 4
    document = ran.document
    assert [p["picture"].rsplit("/", 1)[1] for p in document["pictures"]] == ["a.png", "b.png", "c.png"]
    (failure,) = document["failures"]
    assert failure["picture"].endswith("bad.png")
    assert failure["error"]["kind"] == "PictureError"
    assert "bad.png" in ran.err
    assert not list((tmp_path / "out").glob("bad*"))


def test_all_pictures_bad(xplain, model, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    ran = xplain("explain", model, bad, *OPTIONS, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "bad.png" in ran.err
    assert "Open " not in ran.out
    assert not (tmp_path / "out").exists()


def test_the_budget_is_shared_by_the_pictures(xplain, model, pictures, tmp_path):
    words = ("explain", model, pictures, *OPTIONS, "--out", tmp_path / "out")
    ran = xplain(*words, "--max-queries", 40)
    assert ran.code == 2
    assert "--max-queries" in ran.err
    assert xplain(*words, "--max-queries", 200).code == 0


def test_progress_goes_to_stderr_in_plain_lines(xplain, model, pictures, tmp_path):
    ran = xplain("explain", model, pictures, *OPTIONS, "--batch-size", 4, "--out", tmp_path / "out", "--json")
    lines = [line for line in ran.err.splitlines() if "evaluations" in line]
    assert 1 <= len(lines) <= 11
    assert lines[-1].startswith("100%")
    assert "\r" not in ran.err


def test_a_picture_whose_scores_are_no_numbers_fails_alone(xplain, model, pictures, tmp_path, monkeypatch):
    honest = Session.explain

    def broken(self, part, *rest):
        if any(name.endswith("b.png") for name in part.items.names):
            raise NonFinite("The score is nan.")
        return honest(self, part, *rest)

    monkeypatch.setattr(Session, "explain", broken)
    ran = xplain("explain", model, pictures, *OPTIONS, "--out", tmp_path / "out", "--json")
    assert ran.code == 4
    assert [f["picture"].rsplit("/", 1)[1] for f in ran.document["failures"]] == ["b.png"]
    assert len(ran.document["pictures"]) == 2


def test_baselines_may_be_pictures_and_arrays(xplain, model, pictures, tmp_path):
    """The dark picture as baseline: what differs from it is the cause; as an array in the model's units the same."""
    words = ("explain", model, pictures / "a.png", pictures / "c.png", "--target", "bright")

    def values(name, *more):
        ran = xplain(*words, *more, "--out", tmp_path / name)
        assert ran.code == 0, ran.err
        return Attribution.load(tmp_path / name / f"a.{more[1]}.npz")

    dark = values("dark", "-m", "deeplift", "--baseline", pictures / "b.png")
    assert dark.values[0][CAUSE].sum() == pytest.approx(dark.values[0].sum(), rel=1e-5)
    assert dark.values[0].sum() == pytest.approx(float(dark.scores[0] - dark.base[0]), rel=1e-4)
    assert np.count_nonzero(dark.values[0]) == dark.values[0][CAUSE].size
    assert dark.options["baseline"] == str(pictures / "b.png")
    tensor = np.full((1, 3, 16, 16), 40 / 255, np.float32)
    np.save(tmp_path / "dark.npy", tensor)
    np.testing.assert_allclose(
        values("array", "-m", "deeplift", "--baseline", tmp_path / "dark.npy").values, dark.values, rtol=1e-4, atol=1e-6
    )
    every = values("all", "-m", "deep-shap", "--baseline", pictures)
    assert every.notes["background"] == 3
    assert every.values[0].sum() == pytest.approx(dark.values[0].sum() / 3, rel=1e-4)  # two of three are the item


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nothing.npy", "--baseline nothing.npy: the file cannot be read"),
        (
            "nothing.png",
            "option 'baseline' is 'nothing.png'; accepted: a number in .* an .npy file, pictures or a folder",
        ),
        ("nothing*.png", "No file matches 'nothing"),
    ],
)
def test_a_baseline_that_is_not_there(xplain, model, pictures, tmp_path, given, message):
    ran = xplain("explain", model, pictures, "-m", "ig", "--baseline", given, "--out", tmp_path / "out")
    assert ran.code == 2
    assert re.search(message, ran.err), ran.err
    assert not (tmp_path / "out").exists()


def test_labels_of_a_picture_model_may_be_given(xplain, model, pictures, tmp_path):
    out = ("-m", "occlusion", "--patch", 8, "--stride", 8, "--out", tmp_path / "out")
    classes = xplain("inspect", model, "--json").document["scores"]["classes"]
    names = [f"class {k}" for k in range(classes)]
    (tmp_path / "names.txt").write_text("\n".join(names))
    for labels in (",".join(names), tmp_path / "names.txt"):
        ran = xplain("explain", model, pictures / "a.png", *out, "--labels", labels, "--target", "class 1", "--json")
        assert ran.code == 0, ran.err
        assert ran.document["pictures"][0]["explanations"][0]["target"] == "class 1"
    ran = xplain("explain", model, pictures / "a.png", *out, "--labels", "a,b,c,d,e,f,g")
    assert (ran.code, "7 labels were given, but the model has" in ran.err) == (2, True)


def test_labels_are_given_alike_to_every_verb_that_loads_a_model(xplain, model, pictures, tmp_path):
    classes = xplain("inspect", model, "--json").document["scores"]["classes"]
    labels = ("--labels", ",".join(f"class {k}" for k in range(classes)))
    assert xplain("inspect", model, *labels, "--json").document["labels"] == classes
    ran = xplain("attack", "fgsm", model, pictures / "a.png", *labels, "--out", tmp_path / "a", "--json")
    assert ran.document["pictures"][0]["before"]["label"].startswith("class ")
    ran = xplain(
        "make", "class", model, *labels, "--target", "class 1", "--steps", 1, "--out", tmp_path / "m", "--json"
    )
    assert ran.document["pictures"][0]["target"] == "class 1"
    ran = xplain("see", "neighbours", model, pictures, "--labels", "a,b,c,d,e,f,g", "--out", tmp_path / "s")
    assert (ran.code, "7 labels were given, but the model has" in ran.err) == (2, True)


@pytest.mark.parametrize("verb", ["explain", "localise"])
def test_a_picture_that_the_model_fails_on_stops_no_other(xplain, model, pictures, tmp_path, verb):
    """A model that says it takes any size, and a card that resizes nothing: the first picture is too tall."""
    proto = onnx.load(model)
    for axis in (2, 3):
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "hw"[axis - 2]
    onnx.save(proto, model)
    model.with_suffix(".card.toml").write_text('labels = ["bright", "dark", "other"]\n')
    Image.fromarray(np.full((20, 16, 3), 9, np.uint8)).save(pictures / "_tall.png")
    words = (verb, model, pictures, "-m", "occlusion", *OPTIONS, "--target", "bright")
    ran = xplain(*words, "--out", tmp_path / "out", "--json")
    assert ran.code == 4, ran.err
    assert [p["picture"].rsplit("/", 1)[1] for p in ran.document["pictures"]] == ["a.png", "b.png", "c.png"]
    assert [f["picture"].rsplit("/", 1)[1] for f in ran.document["failures"]] == ["_tall.png"]
    assert ran.document["failures"][0]["error"]["kind"] == "ModelError"


def test_how_classes_get_names_is_said_once_and_where_they_have_none(xplain, pictures, tmp_path):
    bare = write_model(tmp_path / "bare.onnx", card=False)
    words = ("explain", bare, pictures, "--card", "unit", "-m", "occlusion,ablation", "--features", "grid:4x4")
    ran = xplain(*words, "--out", tmp_path / "out")
    hint = "classes are told by number, for bare.onnx has no labels. Name them: --labels with a file of one per line"
    assert ran.err.count(hint) == 1
    assert ": 0 " in ran.out  # a bare number
    (tmp_path / "names.txt").write_text("bright\ndark\nother\n")
    named = xplain(*words, "--labels", tmp_path / "names.txt", "--out", tmp_path / "out")
    assert "told by number" not in named.err
    assert "'bright'" in named.out
    carded = tmp_path / "own.toml"
    carded.write_text('resize = [16, 16]\nlabels = ["bright", "dark", "other"]\n')
    ran = xplain("explain", bare, pictures, "--card", carded, "-m", "occlusion", "--out", tmp_path / "card")
    assert "told by number" not in ran.err
