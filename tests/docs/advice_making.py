"""The advice of recipes' messages, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

import xplain
from tests.nets import FLOAT, model
from tests.synthesis.test_making import SIZE, net, plain

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
