"""The advice of messages of audits, followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import nets
import numpy as np
import onnx
import pytest
from cli.tiny import write_model, write_picture
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from docs.advice_models import W, brightness
from onnx import helper
from PIL import Image

import xplain
from xplain.audit.findings.asking_models import Asks
from xplain.audit.findings.redrawing import redrawn
from xplain.audit.plans.budgeting import Allowed
from xplain.audit.plans.models import opened_models
from xplain.audit.reports import signing
from xplain.audit.sources import source_of
from xplain.audit.stores.where import Where
from xplain.core.errors import XplainError
from xplain.core.keeping.folders import write_folder

PEM, PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8

Told = Callable[[Callable[[], Any]], str]

AUDIT: dict[str, Callable[[Told, Path], Any]] = {}

ROWS = np.random.default_rng(3).random((4, len(W)))


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        AUDIT[fragment] = case
        return case

    return keep


def planned(folder: Path, models: Any = None, **asked: Any) -> Any:
    """An audit of a few rows of a table by a function."""
    asked = {"methods": "occlusion:patch=1,stride=1", "metrics": "", **asked}
    return xplain.audit.plan({"f": brightness} if models is None else models, ROWS, out=folder / "audit", **asked)


@advice("There are more items than the {} given. Give one for each.")
def _(told: Told, folder: Path) -> None:
    told(lambda: planned(folder, labels=["a"]))
    planned(folder, labels=["a"] * len(ROWS))


@advice("is not what was explained. Give those that were explained, in the same order.")
def _(told: Told, folder: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, 4, 4, 3), np.uint8)
    model = xplain.load(lambda x: x.mean((1, 2, 3)), card=xplain.Card(scale=1 / 255))
    found = xplain.explain(model, list(pictures), method="ablation", target=0)
    told(lambda: xplain.measure.judge(model, list(pictures[::-1]), found, "sparseness", target=0))
    xplain.measure.judge(model, list(pictures), found, "sparseness", target=0)


@advice("Items are known by their names, and some stand twice")
def _(told: Told, folder: Path) -> None:
    (folder / "a.npy").write_bytes(b"")
    (folder / "rows.csv").write_text("file\na.npy\na.npy\n")
    model = xplain.load(lambda x: x @ W)
    how = {"methods": "occlusion", "out": folder / "audit"}
    told(lambda: xplain.audit.plan(model, folder / "rows.csv", **how))
    np.save(folder / "a.npy", ROWS[0])
    (folder / "rows.csv").write_text("file\na.npy\n")
    xplain.audit.plan(model, folder / "rows.csv", **{**how, "methods": "occlusion:patch=1,stride=1", "metrics": ""})


@advice("It is not known which column of {} names the items")
def _(told: Told, folder: Path) -> None:
    (folder / "rows.csv").write_text("file,image\na.png,b.png\n")
    said = told(lambda: source_of(folder / "rows.csv", folder))
    assert said.endswith("Say which with item_column='file'.")
    source_of(folder / "rows.csv", folder, item_column="file")


@advice("It is not known which columns the model takes: it takes {}, and the table has {}")
def _(told: Told, folder: Path) -> None:
    rows, how = {"age": [1.0, 2.0], "site": ["a", "b"]}, {"metrics": "", "dry_run": True}
    model = {"f": lambda t: np.stack([np.asarray(t["age"]), -np.asarray(t["age"])], axis=1)}
    said = told(lambda: xplain.audit.plan(model, rows, rows=True, **how))
    assert said.endswith("Say which, in the model's order: rows={'columns': [...]}.")
    xplain.audit.plan(model, rows, rows={"columns": ["age"]}, **how)


@advice("The background has no rows. Give typical ones, or leave it out.")
def _(told: Told, folder: Path) -> None:
    rows, how = {"age": [1.0, 2.0]}, {"metrics": "", "dry_run": True}
    model = {"f": lambda t: np.stack([np.asarray(t["age"]), -np.asarray(t["age"])], axis=1)}
    asked = {"columns": ["age"]}
    told(lambda: xplain.audit.plan(model, rows, rows={**asked, "background": {"age": []}}, **how))
    for more in ({"background": {"age": [3.0]}}, {}):
        xplain.audit.plan(model, rows, rows={**asked, **more}, **how)


@advice("It is not known which column holds the texts: the table has {}")
def _(told: Told, folder: Path) -> None:
    rows, how = {"said": ["a", "b c"], "by": ["x", "y"]}, {"metrics": "", "dry_run": True}
    model = {"f": lambda texts: np.array([[len(one), -len(one)] for one in texts], float)}
    assert told(lambda: xplain.audit.plan(model, rows, texts=True, **how)).endswith("Say which with texts='said'.")
    xplain.audit.plan(model, rows, texts="said", **how)


@advice("The items are texts, and a model of rows of a table was given. Give one of texts.")
def _(told: Told, folder: Path) -> None:
    table, how = xplain.table(lambda t: t["age"], columns={"age": [1.0]}), {"metrics": "", "dry_run": True}
    models = {"f": xplain.text(lambda texts: np.array([[len(one)] for one in texts], float))}
    told(lambda: xplain.audit.plan({"t": table}, ["a", "b c"], texts=True, **how))
    xplain.audit.plan(models, ["a", "b c"], texts=True, **how)


@advice("Targets {} hold one twice. Give each once.")
def _(told: Told, folder: Path) -> None:
    told(lambda: planned(folder, target=["predicted", None]))
    planned(folder, target=["predicted", 0])


@advice("Models are known by their names, and these are {}. Give each its own")
def _(told: Told, folder: Path) -> None:
    models = [xplain.load(lambda x: x @ W), xplain.load(lambda x: -x @ W)]
    told(lambda: planned(folder, models))
    planned(folder, dict(zip(("one", "other"), models, strict=True)))


@advice("names of classes were given, but model {} has {}. Give one per class.")
def _(told: Told, folder: Path) -> None:
    def with_classes(count: int) -> dict[str, Any]:
        return {"m": {"source": nets.cnn().SerializeToString(), "classes": [f"class {k}" for k in range(count)]}}

    items, how = [np.zeros((3, 16, 16), np.float32)], {"methods": "saliency", "metrics": "", "out": folder / "audit"}
    told(lambda: xplain.audit.plan(with_classes(9), items, **how))
    xplain.audit.plan(with_classes(5), items, **how)


@advice("was given as an object, which a later run cannot find. Give it again")
def _(told: Told, folder: Path) -> None:
    plan = planned(folder).plan
    where = Where.read(folder / "audit")
    told(lambda: opened_models(plan, where))
    assert set(opened_models(plan, where, {"f": brightness})) == {"f"}


@advice("does not pay for both. Allow {}, or ask for less")
def _(told: Told, folder: Path) -> None:
    said = told(lambda: planned(folder, max_queries=20))
    planned(folder, max_queries=int(said.partition("Allow ")[2].partition(",")[0]))


@advice("The budget {} is damaged: {}. Plan again into the folder with")
def _(told: Told, folder: Path) -> None:
    planned(folder)
    (folder / "audit" / "budget.json").write_text("{}")
    told(lambda: Allowed.read(folder / "audit"))
    planned(folder, max_queries=1000)
    assert Allowed.read(folder / "audit").most == 1000


@advice("whether these are items at all; to audit the others all the same, give")
def _(told: Told, folder: Path) -> None:
    (folder / "items").mkdir()
    np.save(folder / "items" / "a.npy", np.zeros((3, 16, 16), np.float32))
    for name in "bc":
        (folder / "items" / f"{name}.npy").write_bytes(b"no array")
    model, how = {"m": nets.cnn().SerializeToString()}, {"methods": "saliency", "metrics": "", "out": folder / "audit"}
    told(lambda: xplain.audit.plan(model, folder / "items", **how))
    xplain.audit.plan(model, folder / "items", **how, most_errors=1)
    with pytest.raises(XplainError, match="to go on all the same, give most_errors=1"):
        xplain.audit.run(folder / "audit", models=model, most_errors=0.5)
    assert xplain.audit.run(folder / "audit", models=model).done


@advice("localisation, names of metrics, or name to options")
def _(told: Told, folder: Path) -> None:
    told(lambda: planned(folder, metrics=3))
    planned(folder, metrics="sparseness")


@advice("is a public one, which can check and not sign. Give the private key to key=.")
def _(told: Told, folder: Path) -> None:
    private = Ed25519PrivateKey.generate()
    (folder / "key.pem").write_bytes(private.private_bytes(PEM, PKCS8, serialization.NoEncryption()))
    public = private.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    told(lambda: signing.read_private(folder / "public.pem"))
    signing.read_private(folder / "key.pem")


@advice("give the password of an encrypted key in the environment variable {}.")
def _(told: Told, folder: Path) -> None:
    hidden = serialization.BestAvailableEncryption(b"secret")
    (folder / "key.pem").write_bytes(Ed25519PrivateKey.generate().private_bytes(PEM, PKCS8, hidden))
    said = told(lambda: signing.read_private(folder / "key.pem"))
    name = said.removesuffix(".").rpartition(" ")[2]
    with mock.patch.dict(os.environ, {name: "secret"}):
        signing.read_private(folder / "key.pem")


@advice("{} is a {}; give a folder, or a name that is free.")
def _(told: Told, folder: Path) -> None:
    (folder / "report").write_text("mine")
    told(lambda: write_folder(folder / "report", {"a": b""}, lambda _: False))
    write_folder(folder / "free", {"a": b""}, lambda _: False)


def series(layout: str | None = None) -> Any:
    """A model of series, whose layout is stated or not."""

    def scores(x: Any) -> Any:
        return np.stack([x.reshape(len(x), -1).sum(1), -x.reshape(len(x), -1).sum(1)], axis=1)

    return scores if layout is None else xplain.load(scores, layout=layout)


HIDES = {"methods": "occlusion:patch=1,stride=1", "metrics": "", "dry_run": True}
WIDE = {"a0": [1.0, 2.0], "a1": [3.0, 4.0], "word": ["x", "y"]}


@advice("items of {}, or one item. Nothing says how many axes the model takes. State its layout")
def _(told: Told, folder: Path) -> None:
    np.save(folder / "x.npy", np.ones((4, 1, 6), np.float32))
    told(lambda: xplain.audit.plan(series(), folder / "x.npy", **HIDES))
    assert xplain.audit.plan(series("NCT"), folder / "x.npy", **HIDES).plan.items.count == 4


@advice("axes. Give an array with the items along its first axis.")
def _(told: Told, folder: Path) -> None:
    np.save(folder / "x.npy", np.ones((4, 1, 6, 2), np.float32))
    told(lambda: xplain.audit.plan(series("NCT"), folder / "x.npy", **HIDES))
    np.save(folder / "x.npy", np.ones((4, 1, 6), np.float32))
    xplain.audit.plan(series("NCT"), folder / "x.npy", **HIDES)


@advice("nothing says in which order the model takes them. State its layout")
def _(told: Told, folder: Path) -> None:
    told(lambda: xplain.audit.plan(series(), WIDE, series="a*", **HIDES))
    xplain.audit.plan(series("NTC"), WIDE, series="a*", **HIDES)


@advice("Give columns to a model of NCT, NTC or NT; rows of a table are items with")
def _(told: Told, folder: Path) -> None:
    told(lambda: xplain.audit.plan(series("NCHW"), WIDE, series="a*", **HIDES))
    xplain.audit.plan(series("NT"), WIDE, series="a*", **HIDES)


@advice("and a series is of numbers. Leave it out of")
def _(told: Told, folder: Path) -> None:
    told(lambda: xplain.audit.plan(series("NCT"), WIDE, series="*", **HIDES))
    xplain.audit.plan(series("NCT"), WIDE, series="a*", **HIDES)


@advice("Give the rows as Parquet or as a DataFrame, which say it, or fill the column.")
def _(told: Told, folder: Path) -> None:
    how = {**HIDES, "methods": "ablation", "rows": {"columns": ["a", "b"]}}

    def scores(t: Any) -> Any:
        return np.stack([np.asarray(t["a"], float), -np.asarray(t["a"], float)], axis=1)

    (folder / "rows.csv").write_text("a,b\n1,\n2,\n")
    told(lambda: xplain.audit.plan({"f": scores}, folder / "rows.csv", **how))
    (folder / "rows.csv").write_text("a,b\n1,3\n2,4\n")
    xplain.audit.plan({"f": scores}, folder / "rows.csv", **how)


@advice("and the texts of this plan are cut into {}. Open it so, or state")
def _(told: Told, folder: Path) -> None:
    letters = xplain.text(lambda texts: np.array([[len(one), 0.0] for one in texts]), split="characters")
    how = {**HIDES, "methods": "ablation"}
    told(lambda: xplain.audit.plan({"f": letters}, ["a b", "c"], texts={"split": "words"}, **how))
    xplain.audit.plan({"f": letters}, ["a b", "c"], texts={"split": "characters"}, **how)


def boxed(folder: Path) -> dict[str, Any]:
    """Three pictures, a model of them, and a box of each."""
    write_model(folder / "tiny.onnx")
    (folder / "photos").mkdir(exist_ok=True)
    for k in range(3):
        write_picture(folder / "photos" / f"{k}.png", bool(k % 2))
    (folder / "boxes.csv").write_text("file,y0,x0,y1,x1\n" + "".join(f"{k}.png,4,8,8,12\n" for k in range(3)))
    files = {"models": folder / "tiny.onnx", "items": folder / "photos"}
    return {**files, "methods": "occlusion:patch=4,stride=4", "dry_run": True}


@advice("compares with boxes or masks of what is known to be there")
def _(told: Told, folder: Path) -> None:
    asked = {**boxed(folder), "metrics": "pointing-game"}
    told(lambda: xplain.audit.plan(**asked))
    xplain.audit.plan(**asked, truth=folder / "boxes.csv")


@advice("Give one entry for each, None where nothing is known")
def _(told: Told, folder: Path) -> None:
    asked, box = boxed(folder), [(4, 8, 8, 12)]
    told(lambda: xplain.audit.plan(**asked, truth=[box]))
    xplain.audit.plan(**asked, truth=[box, None, box])
    xplain.audit.plan(**asked, truth={"0.png": box})


@advice("It would ask for {} evaluations, and {} are left: max_queries={}. Allow {}.")
def _(told: Told, folder: Path) -> None:
    asked = {**boxed(folder), "metrics": "", "dry_run": False, "out": folder / "audit"}
    for k in range(3, 6):
        write_picture(folder / "photos" / f"{k}.png", bool(k % 2))
        brighter = np.asarray(Image.open(folder / "photos" / f"{k}.png")) + np.uint8(k)
        Image.fromarray(brighter).save(folder / "photos" / f"{k}.png")
    xplain.audit.plan(**asked)
    xplain.audit.run(folder / "audit", workers=0)

    def drawn_anew(most: int) -> None:
        with xplain.audit.open(folder / "audit") as audit, Asks(audit, None, most) as asks:
            redrawn(asks)

    told(lambda: drawn_anew(20))
    drawn_anew(10_000)


@advice("is explained on several inputs at once ({}), and an item of an audit is of one input.")
def _(told: Told, folder: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["left", "right"], ["both"]),
        helper.make_node("ReduceMean", ["both"], ["scores"], axes=[2, 3], keepdims=0),
    ]
    inputs = {name: (nets.FLOAT, ["N", 2, 8, 8]) for name in ("left", "right")}
    onnx.save(nets.model(nodes, inputs, {"scores": (nets.FLOAT, ["N", 2])}, {}), folder / "two.onnx")
    items = list(np.random.default_rng(0).random((3, 2, 8, 8), np.float32))
    both = xplain.joint(folder / "two.onnx", ["left", "right"])
    asked = {"methods": "occlusion:patch=4,stride=4", "metrics": "", "dry_run": True}
    told(lambda: xplain.audit.plan({"two": both}, items, **asked))
    held = {"source": folder / "two.onnx", "input": "left", "fixed": {"right": items[0][None]}}
    xplain.audit.plan({"two": held}, items, **asked)
