"""Planning: what is asked becomes lanes, shards and a hash, and nothing but what was asked moves that hash."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from cli.tiny import write_model, write_picture

import xplain
from xplain.audit.plans.asked import Asked, methods_of, read_toml, targets_of
from xplain.audit.plans.models import opened_models
from xplain.audit.plans.plan import Plan
from xplain.audit.shards.guarding import planned_audit, refuse_changed
from xplain.audit.shards.reading import Data, Form
from xplain.audit.stores.where import Where
from xplain.core.errors import ModelError, OutputError, UsageError

pytest.importorskip("pyarrow")

ANOTHER = b"\x28\x07"
"""A field behind a model's own: ``model_version = 7``, so another file of the same net."""


@pytest.fixture
def asked(model: Path, photos: Path) -> dict:
    return {
        "models": model,
        "items": photos,
        "methods": ["occlusion:patch=4,stride=4", "saliency"],
        "labels": "folders",
    }


def test_a_plan_names_every_choice(asked, tmp_path):
    made = xplain.audit.plan(**asked, out=tmp_path / "audit", target=[None, "label"], shard_rows=2, sample=3)
    plan = Plan.from_json((tmp_path / "audit" / "plan.json").read_bytes())
    assert plan.to_json() == made.plan.to_json()
    occluded = "tiny/occlusion:patch=4:stride=4"
    assert [lane.name for lane in plan.lanes] == [occluded, f"{occluded}/label", "tiny/saliency", "tiny/saliency/label"]
    assert plan.lanes[0].options["patch"] == 4
    assert [len(plan.shards), plan.items.count, len(plan.grading.sample)] == [3, 5, 3]
    facts = plan.models[0]
    assert (facts.item_shape, facts.classes, facts.known) == (
        (3, 16, 16),
        ("bright", "dark", "other"),
        {"bright": 0, "dark": 1},
    )
    assert facts.unknown == {"dusk": 1}
    assert any("does not know 1 label of 1 item, such as 'dusk'" in one for one in made.told)
    assert any("1 label of one item alone, such as 'dusk'" in one for one in made.told)
    evaluations = [one.evaluations for one in made.estimate.lanes]
    assert evaluations[0] == 17  # 4 x 4 windows and the untouched picture
    assert made.estimate.hours > 0
    assert "5 items, 4 lanes, 3 shards of 2" in str(made)


def test_the_same_plan_elsewhere_has_the_same_hash(asked, tmp_path):
    first = xplain.audit.plan(**asked, out=tmp_path / "one", shard_rows=4).plan.identity
    (tmp_path / "other").mkdir()
    for name in ("tiny.onnx", "tiny.card.toml"):
        shutil.copy(tmp_path / name, tmp_path / "other" / name)
    shutil.copytree(asked["items"], tmp_path / "other" / "pictures")
    moved = {"models": tmp_path / "other" / "tiny.onnx", "items": f"{tmp_path}/other/pictures"}
    assert xplain.audit.plan(**asked | moved, out=tmp_path / "two", shard_rows=4).plan.identity == first
    typed = {"methods": {"occlusion": {"patch": 4, "stride": "4"}, "saliency": {}}}
    assert xplain.audit.plan(**asked | typed, out=tmp_path / "three", shard_rows=4).plan.identity == first
    assert xplain.audit.plan(**asked, out=tmp_path / "four", shard_rows=4, seed=1).plan.identity != first
    for place in ("one", "two"):
        assert str(tmp_path) not in (tmp_path / place / "plan.json").read_text()


def test_planning_again_changes_nothing_and_something_else_is_refused(asked, tmp_path):
    out = tmp_path / "audit"
    first = xplain.audit.plan(**asked, out=out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and "log" not in path.parts}
    assert xplain.audit.plan(**asked, out=out).plan.identity == first.plan.identity
    with pytest.raises(UsageError, match=r"lanes\.tiny/saliency was .* and is not there"):
        xplain.audit.plan(**asked | {"methods": "occlusion:patch=4,stride=4"}, out=out)
    write_picture(asked["items"] / "bright" / "new.png")
    with pytest.raises(UsageError, match=r"items\.count was 5 and is 6"):
        xplain.audit.plan(**asked, out=out)
    (asked["items"] / "bright" / "new.png").unlink()
    write_model(asked["models"], card=True).write_bytes(asked["models"].read_bytes() + ANOTHER)  # another file
    with pytest.raises(UsageError, match=r"models\.tiny\.sha256 was"):
        xplain.audit.plan(**asked, out=out)
    assert before == {path: path.read_bytes() for path in before}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_a_rehearsal_and_a_failure_leave_nothing(asked, tmp_path):
    made = xplain.audit.plan(**asked, out=tmp_path / "audit", dry_run=True)
    assert (made.folder, (tmp_path / "audit").exists()) == (None, False)
    with pytest.raises(UsageError):
        xplain.audit.plan(**asked | {"methods": "no-such-method"}, out=tmp_path / "audit")
    assert not (tmp_path / "audit").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(OutputError, match=r"^\S+ holds other files \(thesis\.txt\)"):
        xplain.audit.plan(**asked, out=tmp_path / "mine")


def test_what_decides_bits_is_held_to_the_plan(asked, tmp_path):
    out = tmp_path / "audit"
    plan = xplain.audit.plan(**asked, out=out).plan
    refuse_changed(plan, out)
    with pytest.raises(UsageError, match=r"numpy was .*, is 0\.1"):
        refuse_changed(plan, out, {**plan.versions, "numpy": "0.1"})
    (out / "items.parquet").write_bytes((out / "items.parquet").read_bytes() + b" ")
    with pytest.raises(UsageError, match=r"items\.parquet is missing or was changed"):
        refuse_changed(plan, out)
    write_model(asked["models"]).write_bytes(asked["models"].read_bytes() + ANOTHER)
    with pytest.raises(ModelError, match="Model 'tiny' is not the one that was planned"):
        opened_models(plan, Where.read(out))


def test_items_are_read_as_planned_with_blank_rows_for_bad_ones(asked, tmp_path):
    (asked["items"] / "dark" / "b.png").write_bytes(b"")
    out = tmp_path / "audit"
    plan = xplain.audit.plan(**asked, out=out).plan
    write_picture(asked["items"] / "dusk" / "a.png", bright=True)  # changed since
    model = opened_models(plan, Where.read(out))["tiny"]
    data = Data(out)
    batch = data.read(range(5), Form(model, plan.models[0]), rows=8)
    assert batch.items.x.shape == (8, 3, 16, 16)
    assert [error is None for error in batch.errors] == [True, True, True, False, False]
    assert "is empty" in batch.errors[3]
    assert "not the one that was planned" in batch.errors[4]
    assert not batch.items.x[3:].any()
    alone = xplain.session.Session(model, xplain.session.Request()).read(str(asked["items"] / "bright" / "a.png"))
    assert np.array_equal(batch.items.x[0], alone.items.x[0])


def test_folders_that_lie_flat_are_said_to_give_no_label(asked, tmp_path):
    made = xplain.audit.plan(**asked | {"items": asked["items"] / "bright"}, out=tmp_path / "audit", dry_run=True)
    assert any("Labels come from folders, and no item has one" in one for one in made.told)


def test_an_object_must_be_given_again(tmp_path):
    def scores(x):
        return x @ np.array([[1.0, -1.0], [0.5, 2.0]])

    rows = np.random.default_rng(0).normal(size=(6, 2))
    made = xplain.audit.plan(
        {"f": scores}, rows, out=tmp_path / "audit", methods="occlusion:patch=1,stride=1", labels=[0, 1, 1, 0, 7, None]
    )
    assert any("f has no digest" in one for one in made.told)
    assert any("Labels come from labels in order, and 1 of 6 items have none" in one for one in made.told)
    assert made.plan.models[0].known == {"0": 0, "1": 1}
    assert made.plan.models[0].unknown == {"7": 1}
    with pytest.raises(UsageError, match="was given as an object"):
        opened_models(made.plan, Where.read(tmp_path / "audit"))
    model = opened_models(made.plan, Where.read(tmp_path / "audit"), {"f": scores})["f"]
    batch = Data(tmp_path / "audit").read([5, 0], Form(model, made.plan.models[0]))
    assert np.array_equal(batch.items.x, rows[[5, 0]])


def test_twins_share_one_plan(asked, tmp_path):
    shutil.copy(asked["models"], tmp_path / "again.onnx")
    twins = {"a": asked["models"], "b": {"source": tmp_path / "again.onnx", "card": tmp_path / "tiny.card.toml"}}
    plan = xplain.audit.plan(**asked | {"models": twins, "methods": "saliency"}, out=tmp_path / "audit").plan
    assert [lane.name for lane in plan.lanes] == ["a/saliency", "b/saliency"]
    assert planned_audit(tmp_path / "audit").model("b").classes == ("bright", "dark", "other")
    with pytest.raises(UsageError, match="Models are known by their names, and these are tiny, tiny"):
        xplain.audit.plan(**asked | {"models": [asked["models"], asked["models"]]}, out=tmp_path / "other")


def test_words_become_methods_and_targets():
    assert methods_of("rise:samples=500,cell-size=3") == [Asked("rise", {"samples": "500", "cell_size": "3"})]
    assert methods_of({"rise": [{"samples": 5}, {"samples": 9}]}) == [Asked("rise", {"samples": n}) for n in (5, 9)]
    assert targets_of("top3") == ["predicted", "top:2", "top:3"]
    assert targets_of([None, "label", 7, "0 - 1"]) == ["predicted", "label", 7, "0 - 1"]
    for twice in (["predicted", None], ["top2", "runner-up"]):
        with pytest.raises(UsageError, match="hold one twice"):
            targets_of(twice)
    for odd in ("", [], ["rise:500"], 7, ["rise", "rise"]):
        with pytest.raises(UsageError, match="methods"):
            methods_of(odd)


def test_a_file_of_wishes_is_read_beside_itself(asked, tmp_path):
    text = 'items = "photos"\nout = "made"\nlabels = "folders"\nmethods = ["saliency"]\nseed = 3\n'
    (tmp_path / "audit.toml").write_text(f'{text}[models]\nnet = "tiny.onnx"\n')
    known = ("items", "out", "labels", "methods", "seed", "models")
    raw = read_toml(tmp_path / "audit.toml", known)
    plan = xplain.audit.plan(**raw).plan
    assert (plan.seed, [lane.name for lane in plan.lanes]) == (3, ["net/saliency"])
    assert json.loads((tmp_path / "made" / "plan.json").read_text())["seed"] == 3
    (tmp_path / "audit.toml").write_text('label = "folders"\n')
    with pytest.raises(UsageError, match="Did you mean 'labels'"):
        read_toml(tmp_path / "audit.toml", known)


def test_metrics_are_named_as_the_other_verbs_name_them():
    from xplain.audit.plans.sampling import judges
    from xplain.session.measures.grading import STANDARD

    assert judges("standard") == (STANDARD, {})
    named = (("deletion", "sparseness"), {"deletion": {"steps": "8"}})
    assert judges("deletion:steps=8, sparseness") == judges(["deletion:steps=8", "sparseness"]) == named
    assert judges({"deletion": {"steps": "8"}, "sparseness": {}}) == named
    assert judges("") == judges(None) == ((), {})


def test_a_dry_run_needs_no_folder_and_nothing_else_goes_without(model, photos):
    planned = xplain.audit.plan(str(model), str(photos), methods="saliency", metrics="", dry_run=True)
    assert planned.folder is None
    with pytest.raises(UsageError, match=r"not said where the audit is kept. Give out='AUDIT', or dry_run=True"):
        xplain.audit.plan(str(model), str(photos), methods="saliency")


def test_a_run_asks_what_its_plan_counts_metrics_with_it(tmp_path):
    asked = []

    def scores(x):
        asked.append(len(x))
        return np.stack([x.sum((1, 2, 3)), (x * x).sum((1, 2, 3))], axis=1)

    items = np.random.default_rng(0).random((4, 3, 16, 16), np.float32)
    how = {
        "methods": ["occlusion:patch=4,stride=4", "occlusion:patch=8,stride=8"],
        "shard_rows": 2,
    }
    model = xplain.load(scores, layout="NCHW")
    cheap = xplain.audit.plan({"f": model}, items, **how, sample=3, labels=[0, 1, 0, 1], out=tmp_path / "a")
    each = {name: sum(one.evaluations for one in cheap.estimate.grades if one.metric == name) for name in
            cheap.plan.grading.names}  # fmt: skip
    assert each["sparseness"] == each["complexity"] == 0
    assert 72 + 2 * 14 <= sum(each.values()) < 2 * 72  # what does not depend on the map is asked once for both
    labels = next(one for one in cheap.estimate.analyses if one.name == "labels")
    assert labels.evaluations == 4
    assert "metric deletion: " in str(cheap)
    asked.clear()
    xplain.audit.run(tmp_path / "a", models={"f": model})
    assert sum(asked) == cheap.estimate.evaluations - 3  # whose own scores their explanations have asked for
    graded = xplain.audit.open(tmp_path / "a").metrics().to_pylist()
    assert len({row["item"] for row in graded}) == 3
    standard = xplain.audit.plan({"f": model}, items, **how, metrics="standard", sample=3, dry_run=True)
    assert standard.estimate.evaluations > 3 * cheap.estimate.evaluations


def test_names_that_several_classes_have_are_told_apart_and_said_once(model, photos, tmp_path):
    names = ["crane", "dark", "crane"]
    labels = {"bright/a.png": "crane", "dark/a.png": "dark"}
    how = {"methods": "saliency", "labels": labels, "metrics": ""}
    made = xplain.audit.plan({"m": {"source": model, "classes": names}}, photos, out=tmp_path / "a", **how)
    assert made.plan.models[0].names == ("crane (class 0)", "dark", "crane (class 2)")
    said = [one for one in made.told if "crane" in one and "alone" not in one]
    assert len(said) == 2
    assert "'crane' is class 0 or 2" in said[0]
    assert "Label 'crane' of 1 item may be class 0 or 2" in said[1]
    xplain.audit.run(tmp_path / "a", workers=0)
    told = xplain.audit.open(tmp_path / "a").records().to_pylist()
    assert {row["predicted_name"] for row in told} <= {"crane (class 0)", "dark", "crane (class 2)"}
    assert [row["correct"] is None for row in told if row["label"] == "crane"] == [True]


def test_a_plan_names_its_methods_and_auto_is_none(model, photos, tmp_path):
    with pytest.raises(UsageError, match="methods is 'auto'; accepted: methods by their names"):
        xplain.audit.plan(model, photos, out=tmp_path / "out", methods="auto")


def test_a_folder_of_which_most_is_broken_is_refused_before_a_lane_is_settled(asked, tmp_path):
    """Of 95 files 60 are no pictures, behind the 35 good ones, and a trial wants 32; a share of 1 lets them pass."""
    good, broken = (asked["items"] / name for name in ("bright/a.png", "zz"))
    broken.mkdir()
    for k in range(30):
        shutil.copy(good, asked["items"] / "bright" / f"q{k:02d}.png")
    for k in range(60):
        (broken / f"{k:02d}.png").write_bytes(b"no picture")
    lacking = {**asked, "methods": "occlusoin"}  # which nobody has looked at yet
    with pytest.raises(
        UsageError, match=r"items tried, of 95, model tiny cannot take \d\d \(6\d%\), more than .* 0\.5"
    ) as caught:
        xplain.audit.plan(**lacking, out=tmp_path / "audit")
    assert "The first: zz/" in str(caught.value)
    assert str(caught.value).endswith("give most_errors=1.")
    assert not (tmp_path / "audit").exists()
    quick = {**asked, "methods": "saliency", "metrics": ""}
    made = xplain.audit.plan(**quick, out=tmp_path / "audit", most_errors=1)
    (told,) = (one for one in made.told if "cannot take" in one)
    assert re.search(r"Of 64 items tried, of 95, model tiny cannot take \d\d \(6\d%\): error rows", told)
    found = xplain.audit.run(tmp_path / "audit", workers=0)  # which has the planned share from the plan
    assert (found.done, found.errors) == (True, 60)
    with pytest.raises(UsageError, match="most_errors is 2; accepted: a share from 0 to 1"):
        xplain.audit.plan(**quick, out=tmp_path / "other", most_errors=2)
