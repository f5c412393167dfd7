"""The advice of recipes' messages, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

import xplain
from tests.nets import FLOAT, model
from tests.synthesis.test_making import SIZE, plain

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


@advice("of free size. Say how long a code is: length=64")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.make(plain(), "generator", target="cat", generator=_generator("D"), steps=1))
    xplain.make(plain(), "generator", target="cat", generator=_generator("D"), steps=1, length=2)


@advice("which is another range than was said. Say which with makes='-1..1'")
def _(told: Told, _folder: Path) -> None:
    given = {"target": "cat", "generator": _generator(2), "steps": 1, "spread": 40.0}
    told(lambda: xplain.make(plain(), "generator", **given))
    xplain.make(plain(), "generator", **given, makes="0..255")
