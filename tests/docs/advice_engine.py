"""Advice of messages of the engine and of graphs, followed: budgets, watched models, caches, sizes."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import onnx
import pytest
from docs.advice_models import FLOAT, INT64, PICTURES, ROWS, N, graph, linear, occlusion
from docs.advice_serving import listening
from onnx import helper
from servers import X, server_of
from toy import Toy, coalitions, run

import xplain
from xplain.core.declaring.registry import METHODS, method
from xplain.core.declaring.wording import option
from xplain.core.errors import XplainError
from xplain.core.price import Price
from xplain.core.query import Reading, Sweep, View
from xplain.core.rules import Rules
from xplain.engine import Store
from xplain.engine.budget import Budget
from xplain.engine.sentinel import Sentinel
from xplain.graph.build.tracer import Tracer
from xplain.graph.intake.load import to_bytes
from xplain.graph.safety import Limits
from xplain.models.endpoint import open_endpoint

__all__ = ["ENGINE"]

Told = Callable[[Callable[[], Any]], str]

ENGINE: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        ENGINE[fragment] = case
        return case

    return keep


class Retrying(Toy):
    """Is billed twice for every row, as a vendor does whose answers time out."""

    def __init__(self) -> None:
        super().__init__(price=Price(per_row=Decimal("0.01")))
        self.abilities = replace(self.abilities, billed=lambda: (0, Decimal(0)))

    def answer(self, query: Any) -> Any:
        query.account.add(Decimal("0.02") * (query.rows[1] - query.rows[0]))
        return super().answer(query)


@advice("{} was spent, above max_cost={}: calls that were asked again are billed")
def _(told: Told, folder: Path) -> None:
    with Store(folder) as store:
        first = Retrying()
        told(lambda: run(first, coalitions(8), budget=Budget(max_cost="0.20"), batch_size=2, store=store))
        again = Retrying()
        run(again, coalitions(8), budget=Budget(max_cost="0.40"), batch_size=2, store=store)
    assert 0 < len(again.rows) == 16 - len(first.rows), "what was answered is kept"


@advice("is left out is not 0. Ask for more classes, name a target that stays among them, or hid")
def _(told: Told, _folder: Path) -> None:
    wide = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    best, *_, worst = np.argsort(-(X[0] @ wide.T))
    handler = server_of(
        model=lambda feeds: {"y": feeds["x"] @ wide.T}, outputs={"y": ("FP32", [-1, 5])}, labels=list("abcde")
    )
    with listening(handler) as server:

        def explained(top: int, target: int) -> Any:
            model = open_endpoint(f"{server.url}/v2/models/m", top_k=top, labels=list("abcde"), max_batch=3)
            hidden = {"patch": 1, "stride": 1, "baseline": 0.9 * X[:1]}
            return xplain.explain(model, X[:1], "occlusion", target="abcde"[target], **hidden)

        told(lambda: explained(2, worst))
        explained(5, worst)
        explained(2, best)


def uneven() -> onnx.ModelProto:
    """``y`` has two or three scores, by what the first column of the batch holds; ``z`` has three."""
    made = graph(
        N("MatMul", ["x", "w"], ["z"]),
        N("ReduceMax", ["x"], ["top"], keepdims=0),
        N("Greater", ["top", "one"], ["above"]),
        N("Cast", ["above"], ["more"], to=INT64),
        N("Add", ["two", "more"], ["end"]),
        N("Slice", ["z", "zero", "end", "axis"], ["y"]),
        out=(FLOAT, ["n", None]),
        one=np.float32(1.0),
        two=np.array([2]),
        zero=np.array([0]),
        axis=np.array([1]),
    )
    made.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ["n", 3]))
    return made


@advice("or say which output to read with output=.")
def _(told: Told, folder: Path) -> None:
    rows = np.array([[2.0, 0.0, 0.0, 0.0]], np.float32)

    def asked(output: str) -> Any:
        how = {"target": 0, "patch": 1, "stride": 1, "batch_size": 1, "cache": folder / output}
        return occlusion(xplain.load(uneven(), output=output), rows, **how)

    told(lambda: asked("y"))
    asked("z")


@advice("cache {} cannot be written: {}. Make room, or give another.")
def _(told: Told, folder: Path) -> None:
    with Store(folder / "c") as full, Store(folder / "another") as another:
        full._db.execute("PRAGMA query_only = 1")  # nothing can be written, as on a disk without room

        def warned() -> None:
            with pytest.warns(RuntimeWarning) as said:  # what was answered is used all the same
                run(Toy(), coalitions(8), store=full)
            raise XplainError(str(said[0].message))

        told(warned)
        run(Toy(), coalitions(8), store=another)
        full._db.execute("PRAGMA query_only = 0")
        run(Toy(), coalitions(8), store=full)


@advice("Start again with a new version= or an empty cache, or set a larger")
def _(told: Told, folder: Path) -> None:
    def asked(worth: float, version: str, place: str, tolerance: float = 1e-4) -> Any:
        model = xplain.load(lambda rows: linear(rows) * worth, version=version)
        watched = Sentinel(2, tolerance)
        how = {"patch": 1 + (worth > 1), "stride": 1, "target": 0}
        return occlusion(model, cache=folder / place, sentinel=watched, **how)

    asked(1.0, "1", "c")
    told(lambda: asked(1.01, "1", "c"))
    asked(1.01, "2", "c")
    asked(1.01, "1", "empty")
    asked(1.01, "1", "c", tolerance=0.5)


@advice("of dtype {} is not known to traced values; use 'real floating' or 'integral'.")
def _(told: Told, _folder: Path) -> None:
    names = Tracer(graph()).namespace
    told(lambda: names.isdtype(FLOAT, "complex floating"))
    assert names.isdtype(FLOAT, "real floating")
    assert names.isdtype(INT64, "integral")


@advice("it with onnx.save(..., save_as_external_data=True), and load the path with allow_externa")
def _(told: Told, folder: Path) -> None:
    def huge(**_: Any) -> bytes:
        raise ValueError("Message onnx.ModelProto exceeds maximum protobuf size of 2GB")

    whole: Any = SimpleNamespace(SerializeToString=huge)
    told(lambda: to_bytes(whole))
    onnx.save(graph(), folder / "m.onnx", save_as_external_data=True, location="weights.data", size_threshold=0)
    occlusion(xplain.load(folder / "m.onnx", allow_external_data=True))


@advice("2 GiB, more than one protobuf can hold. Give the file to write it to,")
def _(told: Told, folder: Path) -> None:
    wide = np.ones((4, 300), np.float32)  # lies outside the graph, as large weights do
    model = graph(N("MatMul", ["x", "w"], ["y"]), out=(FLOAT, ["n", 300]), w=wide)
    with mock.patch("xplain.graph.intake.store._ONE_FILE", 100):
        told(lambda: xplain.compile(model, "saliency", target=0))
        said = xplain.compile(model, "saliency", target=0, out=folder / "explained.onnx")
    assert said is not None
    assert {path.name for path in folder.iterdir()} >= {"explained.onnx", "explained.onnx.data"}


@advice("differ from item to item cannot be compiled; give one weight per point.")
def _(told: Told, _folder: Path) -> None:
    def compiled(weights: Any) -> Any:
        """A method of one's own that adds up the gradients at two points of each item with these weights."""

        def added(view: View) -> Any:
            """Gradients at two points, added up."""
            points = view.x[:, None] * np.float32([0.5, 1.0]).reshape(1, 2, 1)
            answer = yield Sweep(points, view.target, Rules(), weights=weights)
            return Reading(answer["input"][1])

        with mock.patch.multiple(METHODS, _entries=dict(METHODS._entries), _aliases=dict(METHODS._aliases)):
            method("advised-points", needs=Sweep, paper=None, unit="delta {score} per unit")(added)
            return xplain.compile(graph(), "advised-points", target=0)

    told(lambda: compiled(np.float32([[0.3, 0.7], [0.5, 0.5]])))
    compiled(np.float32([0.3, 0.7]))


@advice("and they may be endless. If you trust it, give limits=Limits(seconds=...).")
def _(told: Told, _folder: Path) -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [N("Identity", ["go"], ["on"]), N("Mul", ["old", "half"], ["less"]), N("Add", ["less", "z"], ["new"])],
        "body",
        [value("k", INT64, []), value("go", onnx.TensorProto.BOOL, []), value("old", FLOAT, ["n", 3])],
        [value("on", onnx.TensorProto.BOOL, []), value("new", FLOAT, ["n", 3])],
    )
    looped = graph(
        N("MatMul", ["x", "w"], ["z"]),
        N("Loop", ["times", "", "z"], ["y"], body=body),
        times=np.array(20000),
        half=np.float32(0.5),
    )
    told(lambda: occlusion(xplain.load(looped, limits=Limits(seconds=1e-3)), ROWS[:1], target=0))
    occlusion(xplain.load(looped, limits=Limits(seconds=60)), ROWS[:1], target=0)


@advice("An option is a piece of a message, not of an f-string")
def _(told: Told, _folder: Path) -> None:
    def formatted() -> Any:
        try:
            return f"{option('card')}"
        except TypeError as error:  # of whoever writes messages, not of whoever reads them
            raise XplainError(str(error)) from None

    told(formatted)
    assert str(XplainError("Give ", option("card"), ".")) == "Give card=."


@advice("Unknown layer {}: it is short for {}{}. Give the whole name of one, or more of its pa")
def _(told: Told, _folder: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    def block(channels: int) -> Any:
        parts = {"conv": torch.nn.Conv2d(channels, 4, 3, padding=1), "act": torch.nn.ReLU()}
        return torch.nn.Sequential(OrderedDict(parts))

    tail = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    net = torch.nn.Sequential(block(3), block(4), *tail).eval()
    said = told(lambda: xplain.explain(net, PICTURES, "grad-cam", layer="act"))
    for name in re.findall(r"'([^' ]+)'", said.split("short for")[1].split(". Give")[0]):
        xplain.explain(net, PICTURES, "grad-cam", layer=name)
