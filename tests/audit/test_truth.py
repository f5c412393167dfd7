"""Boxes and masks of the caller: every form says the same, lands on the right positions, and judges a planted cause."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from cli.tiny import CAUSE, write_model
from PIL import Image

import xplain
from xplain.audit.plans.asked import read_toml
from xplain.audit.plans.plan import Plan
from xplain.core.card import Card
from xplain.core.errors import UsageError
from xplain.render.geometry import Frame

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

BOX = (8, 16, 16, 24)
"""Where the cause lies in a file of 32 x 32, which the model's card makes 16 x 16: (y0, x0, y1, x1)."""
METHOD = "occlusion:patch=4,stride=4"
FORMS = ("csv", "coco", "voc", "masks", "arrays", "memory", "mapping", "column")


def photos(folder: Path, count: int = 6) -> Path:
    """Pictures of twice the model's size: even ones are bright in the cause, odd ones dark."""
    rng = np.random.default_rng(0)
    for k in range(count):
        place = folder / ("bright" if k % 2 == 0 else "dark")
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.full((32, 32, 3), 40, np.uint8)
        pixels += rng.integers(0, 9, pixels.shape, np.uint8)  # no two are one item
        if k % 2 == 0:
            pixels[BOX[0] : BOX[2], BOX[1] : BOX[3]] = 250
        Image.fromarray(pixels).save(place / f"{k}.png")
    return folder


def names(count: int = 6) -> list[str]:
    return sorted(f"{'bright' if k % 2 == 0 else 'dark'}/{k}.png" for k in range(count))


def stated(form: str, folder: Path, box=BOX, only=None):
    """What is known, in one of the forms: the same box in every item, or in some."""
    y0, x0, y1, x1 = box
    those = names() if only is None else only
    mask = np.zeros((32, 32), bool)
    mask[y0:y1, x0:x1] = True
    place = folder / form
    place.mkdir(exist_ok=True)
    if form == "csv":
        lines = "".join(f"{name},{x0},{y0},{x1},{y1}\n" for name in those)
        (place / "boxes.csv").write_text("file,xmin,ymin,xmax,ymax\n" + lines)
        return place / "boxes.csv"
    if form == "coco":
        found = {
            "images": [{"id": k, "file_name": Path(n).name, "height": 32, "width": 32} for k, n in enumerate(those)],
            "annotations": [
                {"id": k, "image_id": k, "category_id": 7, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                for k in range(len(those))
            ] + [{"id": 99, "image_id": 0, "category_id": 7, "bbox": [0, 0, 32, 32], "iscrowd": 1}],
            "categories": [{"id": 7, "name": "thing"}],
        }  # fmt: skip
        (place / "instances.json").write_text(json.dumps(found))
        return place / "instances.json"
    if form == "voc":
        for name in those:
            (place / name).parent.mkdir(exist_ok=True)
            inside = f"<xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
            (place / name).with_suffix(".xml").write_text(
                f"<annotation><size><width>32</width><height>32</height></size><object><name>thing</name>"
                f"<bndbox>{inside}</bndbox></object></annotation>"
            )
        return place
    if form in ("masks", "arrays"):
        for name in those:
            (place / name).parent.mkdir(exist_ok=True)
            if form == "arrays":
                np.save((place / name).with_suffix(".npy"), mask)
            else:
                Image.fromarray(mask * np.uint8(1)).save(place / name)  # 1 of 255 is inside too
        return place
    if form == "mapping":
        return dict.fromkeys(those, mask)
    return [[box] if name in those else None for name in names()]


def planned(tmp_path: Path, truth, **more):
    photos(tmp_path / "photos")
    write_model(tmp_path / "tiny.onnx")
    asked = {"methods": METHOD, "labels": "folders", "metrics": "localisation", "shard_rows": 4, **more}
    return xplain.audit.plan(tmp_path / "tiny.onnx", tmp_path / "photos", out=tmp_path / "audit", truth=truth, **asked)


def found(folder: Path) -> dict[tuple[str, str], dict]:
    """Rows of metrics by item's name and metric."""
    with xplain.audit.open(folder) as audit:
        rows = audit.sql("select i.name, m.* from metrics m join items i on m.item = i.number").to_pylist()
    return {(row["name"], row["metric"]): row for row in rows}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_says_the_same_and_lands_on_the_cause(form, tmp_path):
    if form == "column":
        photos(tmp_path / "photos")
        lines = "".join(f'photos/{name},"[[16, 8, 8, 8]]"\n' for name in names())
        (tmp_path / "items.csv").write_text("file,box\n" + lines)
        write_model(tmp_path / "tiny.onnx")
        made = xplain.audit.plan(
            tmp_path / "tiny.onnx", tmp_path / "items.csv", out=tmp_path / "audit", methods=METHOD,
            metrics="localisation", truth="column:box:x,y,width,height",
        )  # fmt: skip
    else:
        made = planned(tmp_path, stated(form, tmp_path))
    assert made.plan.truth.states == {"known": 6}
    assert made.plan.truth.sample == tuple(range(6))
    xplain.audit.run(tmp_path / "audit", workers=0)
    with xplain.audit.open(tmp_path / "audit") as audit:
        for item in range(6):
            mask = audit.truth.mask(item, audit.plan.models[0])
            wanted = np.zeros((16, 16), bool)
            wanted[CAUSE] = True
            assert (mask == wanted).all()
    rows = found(tmp_path / "audit")
    for (name, metric), row in rows.items():
        if metric == "truth-share":
            assert row["value"] == pytest.approx(16 / 256)
        elif metric in ("pointing-game", "relevance-mass", "relevance-rank", "roc-auc") and "bright" in name:
            assert row["value"] == pytest.approx(1.0), (name, metric)
            assert row["edge"] < 1


def test_truth_elsewhere_is_told_as_elsewhere(tmp_path):
    made = planned(tmp_path, stated("csv", tmp_path, box=(24, 0, 32, 8)))
    assert "truth (boxes of a table) of 6 of 6 items: pointing-game, relevance-mass" in str(made)
    xplain.audit.run(tmp_path / "audit", workers=0)
    rows = found(tmp_path / "audit")
    assert rows["bright/0.png", "pointing-game"]["value"] == 0
    assert rows["bright/0.png", "relevance-mass"]["value"] == 0


def test_items_of_which_nothing_can_be_compared_are_counted_with_why(tmp_path):
    folder = tmp_path / "masks"
    stated("masks", tmp_path, only=["bright/0.png"])
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(folder / "bright" / "2.png")  # nothing is in it
    Image.fromarray(np.ones((16, 16), np.uint8)).save(folder / "bright" / "4.png")  # of another size
    (folder / "dark").mkdir()
    (folder / "dark" / "1.png").write_bytes(b"no picture")
    Image.fromarray(np.ones((8, 8), np.uint8)).save(folder / "dark" / "stranger.png")
    made = planned(tmp_path, folder)
    assert made.plan.truth.states == {"known": 1, "empty": 1, "none": 2, "size": 1, "unread": 1}
    told = "\n".join(made.told)
    assert "another size than the item, such as bright/4.png: it is 32 x 32, stated is 16 x 16" in told
    assert "1 name of what is known is no item's, such as 'dark/stranger.png'" in told
    assert "dark/1.png: The mask" in told
    assert "Of 2 items nothing is stated of it, such as dark/3.png" in told


def test_a_box_outside_its_picture_is_counted_and_one_across_its_edge_is_cut(tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text(
        "file,y0,x0,y1,x1\nbright/0.png,24,24,90,90\nbright/2.png,40,0,50,8\nbright/4.png,,,,\ndark/1.png,8,16,16,24\n"
    )
    made = planned(tmp_path, table)
    assert made.plan.truth.states == {"known": 2, "empty": 1, "none": 2, "outside": 1}
    xplain.audit.run(tmp_path / "audit", workers=0)
    assert found(tmp_path / "audit")["bright/0.png", "truth-share"]["value"] == pytest.approx(16 / 256)


def test_boxes_of_the_class_that_is_explained_count(tmp_path):
    table = tmp_path / "boxes.csv"
    rows = [f"{name},8,16,16,24,bright" for name in names() if "bright" in name]
    rows += ["bright/0.png,0,0,32,32,dark", "bright/2.png,24,0,32,8,cat", "dark/1.png,0,0,32,32,bright"]
    table.write_text("file,y0,x0,y1,x1,label\n" + "\n".join(rows) + "\n")
    made = planned(tmp_path, table)
    assert made.plan.truth.classes == {"tiny": {"bright": 0, "dark": 1}}
    assert any("does not know 1 label of boxes, such as 'cat'; not compared: 1 box" in one for one in made.told)
    xplain.audit.run(tmp_path / "audit", workers=0)
    rows = found(tmp_path / "audit")
    for name in ("bright/0.png", "bright/2.png"):  # neither the box of dark nor that of a cat counts
        assert rows[name, "truth-share"]["value"] == pytest.approx(16 / 256)
        assert rows[name, "relevance-mass"]["value"] == pytest.approx(1)
    assert rows["dark/1.png", "truth-share"]["value"] is None  # no box of dark is in it
    assert rows["dark/1.png", "relevance-mass"]["value"] is None
    paths = xplain.audit.report(tmp_path / "audit", tmp_path / "report")
    page, twin = paths[0].read_text(), json.loads((tmp_path / "report" / "audit.json").read_text())
    told = twin["tables"]["truth"]
    heads = [one["name"] for one in told["columns"]]
    row = dict(zip(heads, told["rows"][0], strict=True))
    assert (row["known"], row["asked"], row["compared"], row["no box of the class"]) == (4, 4, 3, 1)
    assert "What is known to be there" in page
    assert "pointing-game" in page
    assert {one["metric"] for one in twin["tests"]} == {*made.plan.truth.names}


def test_boxes_whose_labels_no_model_knows_all_count(tmp_path):
    made = planned(tmp_path, stated("coco", tmp_path))
    assert made.plan.truth.classes == {}
    assert any(
        "knows none of the labels of the boxes ('thing'): all boxes of an item count" in one for one in made.told
    )


def test_the_same_truth_is_one_plan_and_another_is_refused(tmp_path):
    first = planned(tmp_path, stated("csv", tmp_path)).plan
    assert Plan.from_json(first.to_json()).to_json() == first.to_json()
    assert planned(tmp_path, stated("csv", tmp_path)).plan.identity == first.identity
    with pytest.raises(UsageError, match=r"truth.sha256 was .* and is "):
        planned(tmp_path, stated("csv", tmp_path, box=(0, 0, 8, 8)))
    xplain.audit.run(tmp_path / "audit", workers=0)
    assert not xplain.audit.verify(tmp_path / "audit", recompute=2).differing
    (tmp_path / "audit" / "truth.parquet").write_bytes(b"")
    with pytest.raises(UsageError, match=r"truth\.parquet is missing or was changed"):
        xplain.audit.run(tmp_path / "audit", workers=0)


def test_a_plan_without_truth_is_the_one_that_it_was(tmp_path):
    photos(tmp_path / "photos")
    write_model(tmp_path / "tiny.onnx")
    made = xplain.audit.plan(tmp_path / "tiny.onnx", tmp_path / "photos", out=tmp_path / "audit", methods=METHOD)
    assert b'"truth"' not in made.plan.to_json()


def test_the_sample_is_of_items_of_which_something_is_known(tmp_path):
    truth = stated("csv", tmp_path, only=["bright/4.png", "dark/3.png"])
    made = planned(tmp_path, truth, metrics="sparseness", sample=2)
    assert made.plan.truth.sample == (2, 4)  # numbers of their names, whatever the other sample drew
    assert made.plan.grading.names == ("sparseness",)
    assert made.plan.truth.names[0] == "pointing-game"  # a truth with metrics that do not compare adds those that do
    assert planned(tmp_path / "none", truth, metrics="").plan.truth.names == ()


def test_tensors_are_compared_position_by_position(tmp_path):
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.01, (6, 2, 32)).astype(np.float32)
    waves[:, 0, 8:16] += 1

    def scores(x):
        return np.stack([x[:, 0, 8:16].mean(1), x[:, 1, 8:16].mean(1)], axis=1)

    net = xplain.load(scores, layout="NCT")
    truth = np.zeros((6, 32), bool)
    truth[:, 8:16] = True
    asked = {"methods": "occlusion:patch=8,stride=8", "metrics": "pointing-game,relevance-mass", "truth": truth}
    made = xplain.audit.plan({"net": net}, list(waves), out=tmp_path / "audit", **asked)
    assert made.plan.truth.names == ("pointing-game", "relevance-mass")
    xplain.audit.run(tmp_path / "audit", models={"net": net})
    for row in found(tmp_path / "audit").values():
        assert row["value"] == pytest.approx({"truth-share": 0.25}.get(row["metric"], 1.0), abs=0.03)
    with pytest.raises(UsageError, match="its positions are 32, and boxes are of a plane"):
        xplain.audit.plan({"net": net}, list(waves), dry_run=True, **asked | {"truth": [[(0, 0, 1, 8)]] * 6})


@pytest.mark.parametrize(
    ("truth", "said"),
    [
        ("absent.csv", "absent.csv cannot be read"),
        ("absent", "There is nothing at"),
        ("empty.csv", "has no column"),
        ("strange.csv", "names none of the 6 pictures, such as bright/0.png; it names 'x.png'"),
        ("cut.json", "is no COCO file"),
        ("list.json", "is no COCO file"),
        ("folder", "holds no mask .* and no Pascal VOC file"),
        ("mixed", "it is not known which are meant"),
        ("entities", "Of none of the items"),
        ("column:box", "the items are none"),
        ([[(0, 0, 8, 8)]], "What is known is of 1 item, and there are 6"),
        ([[(8, 0, 8, 8)]] * 6, "a box is four numbers"),
        ({"bright/0.png": np.full((32, 32), np.nan)}, "masks of 0 and 1"),
        (7, "accepted: a .csv of boxes"),
        ([None] * 6, "Of none of the items it is known what is in them: 6: nothing is stated of it"),
    ],
)
def test_bad_truth_is_refused_with_what_is_accepted(truth, said, tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "strange.csv").write_text("file,y0,x0,y1,x1\nx.png,0,0,1,1\n")
    (tmp_path / "cut.json").write_text('{"images": [')
    (tmp_path / "list.json").write_text("[1, 2]")
    for name in ("folder", "mixed", "entities"):
        (tmp_path / name).mkdir()
    (tmp_path / "mixed" / "0.xml").write_text("<annotation/>")
    Image.new("L", (32, 32)).save(tmp_path / "mixed" / "0.png")
    (tmp_path / "entities" / "0.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    given = str(tmp_path / truth) if isinstance(truth, str) and ":" not in truth else truth
    with pytest.raises(UsageError, match=said):
        planned(tmp_path, given)
    assert not (tmp_path / "audit" / "plan.json").exists()


def test_rows_of_a_table_have_no_boxes_and_a_metric_without_truth_says_how(tmp_path):
    rows = {"age": list(range(20)), "site": ["a", "b"] * 10}

    def risk(t):
        up = np.asarray(t["age"], float)
        return np.stack([-up, up], axis=1)

    asked = {"rows": {"columns": ["age"]}, "sample": 5}
    with pytest.raises(UsageError, match="the items of risk are rows of a table"):
        xplain.audit.plan({"risk": risk}, rows, dry_run=True, truth=[None] * 20, **asked)
    with pytest.raises(UsageError, match=r"'relevance-mass' compares with boxes or masks .*truth='boxes.csv'"):
        xplain.audit.plan({"risk": risk}, rows, dry_run=True, metrics="relevance-mass", **asked)


def test_order_of_a_column_is_asked_and_each_reading_is_taken(tmp_path):
    photos(tmp_path / "photos")
    write_model(tmp_path / "tiny.onnx")
    (tmp_path / "items.csv").write_text("file,box\n" + "".join(f"photos/{n},16 8 24 16\n" for n in names()))
    asked = {"methods": METHOD, "dry_run": True}
    with pytest.raises(UsageError, match=r"column:box:y0,x0,y1,x1 or column:box:x0,y0,x1,y1 or column:box:x,y,width"):
        xplain.audit.plan(tmp_path / "tiny.onnx", tmp_path / "items.csv", truth="column:box", **asked)
    for order, box in (
        ("x0,y0,x1,y1", (8, 16, 16, 24)),
        ("y0,x0,y1,x1", (16, 8, 24, 16)),
        ("x,y,width,height", (8, 16, 24, 40)),
    ):
        out = tmp_path / order
        xplain.audit.plan(
            tmp_path / "tiny.onnx", tmp_path / "items.csv", truth=f"column:box:{order}", methods=METHOD, out=out
        )
        with xplain.audit.open(out) as audit:
            seen = audit.truth.mask(0, audit.plan.models[0])
        assert (seen == Frame.of(Card(resize=(16, 16)), 32, 32).inside([box], (16, 16))).all()


def test_an_audit_toml_names_a_truth_beside_it(tmp_path):
    photos(tmp_path / "photos")
    write_model(tmp_path / "tiny.onnx")
    stated("csv", tmp_path)
    path = tmp_path / "audit.toml"
    path.write_text('models = "tiny.onnx"\nitems = "photos"\ntruth = "csv/boxes.csv"\n')
    assert read_toml(path, ("models", "items", "truth"))["truth"] == str(tmp_path / "csv" / "boxes.csv")
    path.write_text('models = "tiny.onnx"\nitems = "photos"\ntruth = "column:box:x,y,width,height"\n')
    assert read_toml(path, ("models", "items", "truth"))["truth"] == "column:box:x,y,width,height"
