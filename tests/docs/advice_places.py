"""Advice of messages about where things lie, followed: folders, stores, plans, caches; see ``advice_table``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
from cli.tiny import write_model, write_picture
from docs.advice_audit import planned
from docs.advice_cli import EXPLAIN, run
from docs.advice_models import FLOAT, PICTURES, N, brightness

import xplain
from tests import nets
from tests.targets.heads import HEADS
from xplain.audit.plans.plan import Plan
from xplain.audit.sources.folder import listing
from xplain.audit.sources.hub import Datasets
from xplain.audit.stores.far import ObjectStore
from xplain.audit.stores.home import _caches
from xplain.audit.stores.store import Store
from xplain.cli.keeping.output import Folder

__all__ = ["PLACES"]

Told = Callable[[Callable[[], Any]], str]

PLACES: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        PLACES[fragment] = case
        return case

    return keep


# ---------------------------------------------------------------------- where the command line writes


@advice("Another run of xplain is writing into --out {}. Wait until it has ended, or choose")
def _(told: Told, folder: Path) -> None:
    run(folder, EXPLAIN)
    with Folder(folder / "out"):
        told(lambda: run(folder, EXPLAIN))
        run(folder, EXPLAIN.replace("--out out", "--out another"))
    run(folder, EXPLAIN)


@advice("Cannot write into --out {}: permission denied. Choose another f")
def _(told: Told, folder: Path) -> None:
    closed, may = folder / "closed", os.access
    run(folder, EXPLAIN)
    with mock.patch("os.access", lambda path, mode: may(path, mode) and Path(path).name != closed.name):
        told(lambda: run(folder, EXPLAIN.replace("--out out", "--out closed")))
        run(folder, EXPLAIN.replace("--out out", "--out another"))


# ---------------------------------------------------------------------- plans and stores


@advice("This audit has format {}, of a newer xplain")
def _(told: Told, folder: Path) -> None:
    content = planned(folder).plan.to_json()
    told(lambda: Plan.from_json(content.replace(b'"format":1', b'"format":2')))
    assert Plan.from_json(content).to_json() == content  # by the xplain that made it


@advice("Folder {} cannot be listed: {}. Make it readable")
def _(told: Told, folder: Path) -> None:
    for name in ("open", "closed"):
        (folder / name).mkdir()
        (folder / name / "a.png").touch()
    scan = os.scandir

    def refusing(place: Any) -> Any:
        if Path(place).name == "closed":
            raise PermissionError(13, "Permission denied")
        return scan(place)

    with mock.patch("os.scandir", refusing):
        told(lambda: list(listing(folder / "closed")))
        assert list(listing(folder / "open")) == ["a.png"]
    assert list(listing(folder / "closed")) == ["a.png"]


@advice("Name one nearer to the items.")
def _(told: Told, folder: Path) -> None:
    deep = folder.joinpath(*["d"] * 205)
    deep.mkdir(parents=True)
    (deep / "a.png").touch()
    told(lambda: list(listing(folder)))
    assert [Path(name).name for name in listing(folder.joinpath(*["d"] * 100))] == ["a.png"]


@advice("It is not known which column of {} holds the items: {} hold pictures")
def _(told: Told, _folder: Path) -> None:
    image = type("Image", (), {})
    rows = SimpleNamespace(features={"front": image(), "back": image()}, cast_column=lambda *_: rows)
    with mock.patch("xplain.audit.sources.hub._loaded", return_value=rows):
        said = told(lambda: Datasets("datasets:cars:train"))
        assert "item_column='front'" in said
        with mock.patch.dict("sys.modules", datasets=SimpleNamespace(Image=lambda **_: None)):
            assert Datasets("datasets:cars:train", item="front").item == "front"


@advice("Shard {} was sealed with other bits before")
def _(told: Told, folder: Path) -> None:
    planned(folder)
    models = {"f": brightness}
    xplain.audit.run(folder / "audit", workers=0, models=models)
    store = Store(folder / "audit")
    was = store.seals()[0]
    other = {**was.parts, "records": store.put(b"other bits", "parquet")}
    told(lambda: store.seal(0, {"audit": was.audit, "shard": 0, "first": was.first, "rows": was.rows, "parts": other}))
    assert xplain.audit.verify(folder / "audit", recompute=1, models=models).sound


@advice("It is not said where the audit is kept. Give")
def _(told: Told, folder: Path) -> None:
    asked = {"f": brightness}, np.ones((2, 4), np.float32)
    how = {"methods": "occlusion:patch=1,stride=1", "metrics": ""}
    told(lambda: xplain.audit.plan(*asked, **how))
    xplain.audit.plan(*asked, **how, dry_run=True)
    xplain.audit.plan(*asked, **how, out=folder / "audit")


@advice("{} does not keep what is there: a name was created twice, so that it c")
def _(told: Told, folder: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    (folder / "pictures").mkdir()
    model, _ = write_model(folder / "tiny.onnx"), write_picture(folder / "pictures" / "a.png")
    how = {"methods": "occlusion:patch=4,stride=4", "metrics": ""}
    url = "memory://bucket/advised"
    try:
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": str(folder / "caches")}):
            with mock.patch.object(ObjectStore, "create", lambda self, *given: self._write(*given) or True):
                told(lambda: xplain.audit.plan(model, folder / "pictures", out=url, **how))
            fsspec.filesystem("memory").rm("/bucket", recursive=True)
            xplain.audit.plan(model, folder / "pictures", out=url, **how)
            xplain.audit.plan(model, folder / "pictures", out=folder / "audit", **how)
    finally:
        fsspec.filesystem("memory").store.clear()


@advice("There is no home folder to keep copies in. Set XDG_CACHE_HOME to a folder.")
def _(told: Told, folder: Path) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    with mock.patch.dict(os.environ), mock.patch.object(Path, "home", homeless):
        os.environ.pop("XDG_CACHE_HOME", None)
        told(_caches)
        os.environ["XDG_CACHE_HOME"] = str(folder)
        assert folder in _caches().parents


# ---------------------------------------------------------------------- audits on the command line

PLAN = "audit plan tiny.onnx pictures --out audit -m occlusion:patch=4,stride=4 --metrics none"


@advice("Models and items are needed, and {} alone is given. Give MODEL ITEMS.")
def _(told: Told, folder: Path) -> None:
    told(lambda: run(folder, PLAN.replace(" pictures", "")))
    run(folder, PLAN)


@advice("Two models have one name: {}. Give each its own.")
def _(told: Told, folder: Path) -> None:
    told(lambda: run(folder, PLAN.replace("tiny.onnx", "a=tiny.onnx a=tiny.onnx")))
    run(folder, PLAN.replace("tiny.onnx", "a=tiny.onnx b=tiny.onnx"))


@advice("--{} is of {}: give --{}{} too.")
def _(told: Told, folder: Path) -> None:
    rows = "audit plan rows.onnx rows.csv --out audit -m ablation --metrics none --columns a,b,c,d"
    told(lambda: run(folder, rows))
    run(folder, f"{rows} --rows")


@advice("NAME=FILE, once for each model")
def _(told: Told, folder: Path) -> None:
    run(folder, PLAN)
    run(folder, "audit run audit --workers 0")
    told(lambda: run(folder, "audit verify audit --recompute 1 --model tiny.onnx"))
    run(folder, "audit verify audit --recompute 1 --model tiny=tiny.onnx")


# ---------------------------------------------------------------------- other verbs


@advice("cannot be read as items [N, ...] of one shape: {}. Save such an array with numpy.save.")
def _(told: Told, folder: Path) -> None:
    words = "attack pgd rows.onnx {} --epsilon 0.0001 --steps 1 --out out"
    run(folder, "inspect rows.onnx")
    np.save(folder / "four.npy", np.ones((2, 4), np.float32))
    told(lambda: run(folder, words.format("broken.npy")))
    run(folder, words.format("four.npy"))


@advice("--judge-card is given {} times for {} judges. Give one for each, or one.")
def _(told: Told, folder: Path) -> None:
    words = "make class tiny.onnx --target bright --steps 1 --out out --judge bare.onnx --judge tiny.onnx"
    card = " --judge-card tiny.card.toml"
    told(lambda: run(folder, words + 3 * card))
    run(folder, words + 2 * card)
    run(folder, words + card)


# ---------------------------------------------------------------------- attacks


@advice("{} takes items of any size. Give one, so that there is a size to work with.")
def _(told: Told, _folder: Path) -> None:
    free = nets.cnn()
    for dim in list(free.graph.input[0].type.tensor_type.shape.dim)[2:]:
        dim.dim_param = "any"
    del free.graph.value_info[:]
    how = {"kind": "fooling", "target": 1, "steps": 1, "epsilon": 0.1}
    told(lambda: xplain.attack(xplain.load(free), **how))
    xplain.attack(xplain.load(free), np.zeros((1, 3, 16, 16), np.float32), **how)


@advice("Attack a model of its columns of numbers, with this one fixed.")
def _(told: Told, _folder: Path) -> None:
    def scores(table: Any) -> Any:
        worth = np.asarray(table["a"], np.float64) + np.array([one == "x" for one in table["word"]])
        return np.stack([worth, 1.0 - worth], 1)

    rows, how = {"a": [0.1, 0.2], "word": ["x", "y"]}, {"kind": "square", "queries": 10, "epsilon": 0.1}
    told(lambda: xplain.attack(xplain.table(scores, columns=rows), rows, **how))
    numbers = xplain.table(lambda t: scores({"a": t["a"], "word": ["x"] * len(t["a"])}), columns={"a": rows["a"]})
    xplain.attack(numbers, {"a": rows["a"]}, **how)


# ---------------------------------------------------------------------- several inputs on the command line

TOGETHER = "explain pair.onnx {} --out out -m ablation --features inputs:cells=2"
BOTH = "left=pictures/a.png right=pictures/b.png"


def pair(folder: Path, items: str, words: str = TOGETHER) -> None:
    if not (folder / "pair.onnx").exists():
        onnx.save(HEADS["siamese"](), folder / "pair.onnx")
    run(folder, words.format(items))


def together(fragment: str, wrong: str, *right: str) -> None:
    """A case of items that go to inputs by name."""

    def case(told: Told, folder: Path) -> None:
        told(lambda: pair(folder, wrong))
        for items in right:
            pair(folder, items)

    advice(fragment)(case)


CARD = "--card unit"
ALONE = "pictures/a.png --input left --fixed right=right.npy --card unit"

together("does not. Write NAME=FILE for each.", f"left=pictures/a.png pictures/b.png {CARD}", f"{BOTH} {CARD}")
together("--card {} is not understood; accepted: one card, or INPUT=CARD", f"{BOTH} --card left=,right=unit",
         f"{BOTH} {CARD}", f"{BOTH} --card left=unit,right=unit")  # fmt: skip
together("--card gives input {} two cards", f"{BOTH} --card left=unit,left=raw", f"{BOTH} --card left=unit,right=raw")
together("--text is for a model of texts alone; several inputs are given as NAME=FILE.", f"{BOTH} {CARD} --text so",
         f"{BOTH} {CARD}")  # fmt: skip


@advice("Only input {} is given. Name at least two")
def _(told: Told, folder: Path) -> None:
    np.save(folder / "right.npy", np.zeros((1, 3, 16, 16), np.float32))
    told(lambda: pair(folder, f"left=pictures/a.png {CARD}"))
    pair(folder, f"{BOTH} {CARD}")
    pair(folder, ALONE, TOGETHER.replace("inputs:cells=2", "grid:2"))


@advice("holds words; give numbers alone.")
def _(told: Told, folder: Path) -> None:
    onnx.save(nets.two_inputs(), folder / "pair.onnx")
    np.save(folder / "picture.npy", PICTURES[:1, :1, :4, :4])
    for name, worth in (("words", "x"), ("numbers", "2")):
        (folder / f"{name}.csv").write_text(f"height,width\n1.5,{worth}\n")
    told(lambda: pair(folder, "picture=picture.npy extra=words.csv"))
    pair(folder, "picture=picture.npy extra=numbers.csv")


@advice("of several inputs a text is explained as its token ids. Give them as num")
def _(told: Told, folder: Path) -> None:
    onnx.save(HEADS["picture_and_text"](), folder / "pair.onnx")
    (folder / "said.txt").write_text("so good")
    np.save(folder / "pixels.npy", np.zeros((1, 3, 16, 16), np.float32))
    np.save(folder / "ids.npy", np.array([[1, 2, 3, 4]]))
    told(lambda: pair(folder, "pixel_values=pixels.npy input_ids=said.txt"))
    pair(folder, "pixel_values=pixels.npy input_ids=1,2,3,4")
    pair(folder, "pixel_values=pixels.npy input_ids=ids.npy")


@advice("why-not asks about one picture, and {}=... names one of several inputs.")
def _(told: Told, folder: Path) -> None:
    sides = [N("GlobalAveragePool", [side], [f"{side}.mean"]) for side in ("left", "right")]
    nodes = [*sides, N("Concat", ["left.mean", "right.mean"], ["both"], axis=1), N("Flatten", ["both"], ["scores"])]
    ends = {side: (FLOAT, ["N", 3, 16, 16]) for side in ("left", "right")}, {"scores": (FLOAT, ["N", 6])}
    onnx.save(nets.model(nodes, *ends, {}), folder / "pair.onnx")
    told(lambda: pair(folder, "left=pictures/a.png", "why-not pair.onnx {} 0 --out out"))
    run(folder, f"explain pair.onnx {BOTH} {CARD} --target '1 - 0' --out out -m ablation --features inputs:cells=2")
