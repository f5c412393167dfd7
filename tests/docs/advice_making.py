"""The advice of recipes' messages, followed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import xplain
from tests.contract.test_recipes import net as any_size
from tests.nets import FLOAT, model, planted
from tests.synthesis.test_making import SIZE, net, plain
from xplain.core.card import Card
from xplain.core.errors import XplainError
from xplain.core.synthesis.commission import Commission
from xplain.core.synthesis.ink import Ink
from xplain.core.synthesis.objective import Objective, Seen
from xplain.core.synthesis.terms import Magnitude

Told = Callable[[Callable[[], Any]], str]

MAKING: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        MAKING[fragment] = case
        return case

    return keep


def _generator(code: Any) -> Any:
    """A linear generator of colours around 0, up to 30."""
    paints = np.eye(2, 3 * SIZE[0] * SIZE[1], dtype=np.float32)
    nodes = [helper.make_node("MatMul", ["code", "paints"], ["flat"])]
    nodes += [helper.make_node("Reshape", ["flat", "shape"], ["made"])]
    given = {"paints": paints, "shape": np.array([-1, 3, *SIZE])}
    return model(nodes, {"code": (FLOAT, ["N", code])}, {"made": (FLOAT, ["N", 3, *SIZE])}, given)


@advice("There is nothing to decode by. Give photographs to learn from")
def _(told: Told, folder: Path) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    some = [rng.integers(0, 255, (*SIZE, 3), np.uint8) for _ in range(9)]
    given = {"layer": "made", "steps": 2, "width": 1, "copies": 1}
    told(lambda: xplain.make(plain(), "decode", some[:1], **given))
    made = xplain.make(plain(), "decode", some[:1], photographs=some[1:], **given)
    (folder / "decoder.onnx").write_bytes(made.files["decoder.onnx"])
    xplain.make(plain(), "decode", some[:1], decoder=folder / "decoder.onnx", **given)


@advice("a decoder takes channels [C] or maps [C, h, w]. Name another layer.")
def _(told: Told, _folder: Path) -> None:
    pytest.importorskip("torch")
    some = [np.zeros((*SIZE, 3), np.uint8)] * 2
    cut = helper.make_node("Reshape", ["x", "rows"], ["rowed"])
    whole = helper.make_node("Reshape", ["rowed", "plane"], ["made"])
    file = net([cut, whole], {"rows": np.array([-1, 3, SIZE[0] * SIZE[1]]), "plane": np.array([-1, 3, *SIZE])})
    given = {"photographs": some, "steps": 1, "width": 1}
    told(lambda: xplain.make(file, "decode", some, layer="rowed", **given))
    xplain.make(file, "decode", some, layer="made", **given)


@advice("of free size. Say how long a code is: length=64")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.make(plain(), "generator", target="cat", generator=_generator("D"), steps=1))
    xplain.make(plain(), "generator", target="cat", generator=_generator("D"), steps=1, length=2)


@advice("which is another range than was said. Say which with makes='-1..1'")
def _(told: Told, _folder: Path) -> None:
    given = {"target": "cat", "generator": _generator(2), "steps": 1, "spread": 40.0}
    told(lambda: xplain.make(plain(), "generator", **given))
    xplain.make(plain(), "generator", **given, makes="0..255")


@advice("It has to be said where in the photograph is painted. Give within=")
def _(told: Told, _folder: Path) -> None:
    given = {"target": 0, "on": np.full((100, 140, 3), 90, np.uint8), "steps": 1}
    told(lambda: xplain.make(plain(), "class", **given))
    xplain.make(plain(), "class", **given, within="10,20,90,120")


@advice("is a region of a photograph, and there is none. Give")
def _(told: Told, _folder: Path) -> None:
    given = {"target": 0, "within": (1, 1, 4, 4), "steps": 1}
    told(lambda: xplain.make(plain(), "class", **given))
    xplain.make(plain(), "class", **given, on=np.full((*SIZE, 3), 90, np.uint8))


class Stop:
    """Interrupts at a step, as Ctrl-C would."""

    def __call__(self, step: int, _pictures: Any) -> None:
        if step == 2:
            raise KeyboardInterrupt


def painted(recipe: str = "class", *pictures: Any, by: Any = None, **options: Any) -> Any:
    """A recipe's result, of one step where nothing else is said."""
    return xplain.make(plain() if by is None else by, recipe, *pictures, **{"steps": 1, **options})


def photographs(count: int) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*SIZE, 3), np.uint8) for _ in range(count)]


def sized() -> Any:
    """Two convolutions, with a card that says a size."""
    return xplain.load(any_size(), card={"mode": "RGB", "crop": [12, 10]})


def judged(**card: Any) -> Any:
    """A class image that another file judges, with a card or without."""
    bare = planted(size=8, cell=(0, 0))
    return painted(target="cat", judge=xplain.load(bare, card={"mode": "RGB", **card}) if card else bare)


@advice("There is nothing to excite: say which class")
def _(told: Told, _folder: Path) -> None:
    asked = Commission(plain().outline, Ink.of(Card(mode="RGB"), False), SIZE, ("a",))
    told(lambda: asked.aimed)
    assert replace(asked, target=xplain.label(1)).aimed.name == xplain.label(1).name


@advice("An objective without terms makes nothing large. Give it at least one.")
def _(told: Told, _folder: Path) -> None:
    state = np.ones((1, 3), np.float32)

    def value(*terms: Any) -> Any:
        objective = Objective(terms)
        return objective.read(Seen({}, state, state, 1, 1), objective.given(1))[0]

    told(value)
    assert value(Magnitude()).shape == (1,)


@advice("No frames of the way were kept.")
def _(told: Told, folder: Path) -> None:
    told(lambda: painted(target="cat", frames=0).gif(folder / "way.gif"))
    assert painted(target="cat", steps=24, frames=24).gif(folder / "way.gif").read_bytes()[:3] == b"GIF"


@advice("none of its labels is this one")
def _(told: Told, _folder: Path) -> None:
    told(lambda: _warned(judged(labels=["owl", "fox"])))
    assert np.isfinite(judged(labels=["dog", "cat"]).ranks[0, 1])


def _warned(made: Any) -> None:
    raise XplainError(" ".join(made.said))


@advice("so it cannot be shown a picture")
def _(told: Told, _folder: Path) -> None:
    told(judged)
    judged(labels=["dog", "cat"])


@advice("takes pictures of any size. Say which:")
def _(told: Told, _folder: Path) -> None:
    told(lambda: painted(target=0, by=xplain.load(any_size(), card={"mode": "RGB"})))
    painted(target=0, by=xplain.load(any_size(), card={"mode": "RGB"}), size=(12, 10))
    painted(target=0, by=xplain.load(any_size(), card={"mode": "RGB", "crop": [12, 10]}))


@advice("follows gradients to the picture")
def _(told: Told, _folder: Path) -> None:
    function = xplain.load(
        lambda x: x.mean((2, 3))[:, :2], card={"mode": "RGB", "crop": list(SIZE), "labels": ["cat", "dog"]}
    )
    told(lambda: painted(target="cat", by=function))
    assert painted(target="cat", judge=function).ranks.shape[1] == 2


@advice("targets are given for {} pictures; give one, or one for each.")
def _(told: Told, _folder: Path) -> None:
    net, shown = sized(), photographs(3)
    told(lambda: xplain.make(net, "feedback", shown, target=[0, 1], rounds=1))
    for target in (0, [0, 1, 0]):
        xplain.make(net, "feedback", shown, target=target, rounds=1)


@advice("excites a class, a channel or a unit: say which")
def _(told: Told, _folder: Path) -> None:
    told(painted)
    for target in ("cat", 1, "made[0]"):
        painted(target=target)


@advice("Recipe {} needs {}. Give")
def _(told: Told, _folder: Path) -> None:
    told(lambda: painted("dream", layer="made"))
    painted("dream", photographs(1), layer="made")


@advice("was kept of a run with another {}. Ask for the same again")
def _(told: Told, folder: Path) -> None:
    way = {"target": "cat", "steps": 5, "frames": 0}
    painted(**way, preview=Stop(), resume=folder / "way.npz")
    told(lambda: painted(**way, seed=1, resume=folder / "way.npz"))
    painted(**way, seed=1, resume=folder / "other.npz")
    painted(**way, resume=folder / "way.npz")


@advice("It has to be said which layer is looked at: give")
def _(told: Told, _folder: Path) -> None:
    net = sized()
    said = told(lambda: painted("invert", photographs(1), by=net))
    painted("invert", photographs(1), by=net, layers=re.findall(r"such as '(\w+)'", said)[0])


@advice("A sample is of one colour throughout")
def _(told: Told, _folder: Path) -> None:
    net = sized()
    told(lambda: painted("texture", [np.full((32, 32, 3), 9, np.uint8)], by=net, size=(12, 10)))
    painted("texture", [np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)], by=net, size=(12, 10))


@advice("a net that paints makes pictures of at least its size. Give one that recipe style-train made.")
def _(told: Told, folder: Path) -> None:
    pytest.importorskip("torch")
    net = sized()
    some = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    told(lambda: xplain.make(net, "style-fast", [some]))
    made = xplain.make(net, "style-train", [some], style=[some], photographs=[some], size=(12, 10), steps=1)
    (name,) = (name for name in made.files if name.endswith(".onnx"))
    (folder / name).write_bytes(made.files[name])
    xplain.make(xplain.load(folder / name, card={"mode": "RGB"}), "style-fast", [some])


@advice("takes whole numbers and computes with them as such")
def _(told: Told, _folder: Path) -> None:
    tell_apart = {"mode": "RGB", "crop": list(SIZE), "labels": ["cat", "dog"]}
    halves = np.zeros((3, *SIZE, 2), np.uint8)
    halves[:, :4, :, 0] = halves[:, 4:, :, 1] = 1
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("MatMulInteger", ["flat", "w"], ["sums"]),
        helper.make_node("Cast", ["sums"], ["scores"], to=FLOAT),
    ]
    ends = {"x": (TensorProto.UINT8, ["N", 3, *SIZE])}, {"scores": (FLOAT, ["N", 2])}
    whole = xplain.load(model(nodes, *ends, {"w": halves.reshape(-1, 2)}), card={**tell_apart, "scale": 1})
    told(lambda: painted(target="cat", by=whole))
    assert painted(target="cat", judge=whole).ranks.shape[1] == 2
