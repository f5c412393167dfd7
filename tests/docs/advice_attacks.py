"""The advice of attacks' messages, followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs.advice_models import PICTURES, convolution

import xplain

Told = Callable[[Callable[[], Any]], str]

ATTACKS: dict[str, Callable[[Told, Path], Any]] = {}


def advice(fragment: str) -> Callable[[Any], Any]:
    """Keep a case for the message with this fragment."""

    def keep(case: Any) -> Any:
        ATTACKS[fragment] = case
        return case

    return keep


@advice("how small a change is must be said in their own units")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.attack(convolution(), PICTURES, "pgd", steps=1))
    xplain.attack(convolution(), PICTURES, "pgd", steps=1, epsilon=0.1)


@advice("has to be told which class to reach. Give target=")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.attack(convolution(), PICTURES, "fooling", steps=1))
    xplain.attack(convolution(), PICTURES, "fooling", steps=1, target=1)


@advice("changes items, and there is none. Give at least one.")
def _(told: Told, _folder: Path) -> None:
    told(lambda: xplain.attack(convolution(), kind="pgd", epsilon=0.1))
    xplain.attack(convolution(), PICTURES, "pgd", steps=1, epsilon=0.1)
