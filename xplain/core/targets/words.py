"""Wishes as a person writes them on a command line: a word, what it is about, and how, with colons and commas.

    margin            margin:dog            margin:dog,smooth
    finer             finer:dog,closest=5,share=0.6
    above:0.5
    region:road       region:mask.png@road  border:road        region:best
    box:dog           box:dog#2             box:best           boxes:3         box:dog,format=cxcywh
    similar:other.jpg
    next              next:17               words:3,1,4
    horizon:2         horizon:2,quantile:1
    anomaly
    point:17

A class that is called so is meant before such a word is. Nothing is ever evaluated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from xplain.core.errors import UsageError, unknown
from xplain.core.outline import Outline
from xplain.core.target import Target
from xplain.core.targets.class_wishes import Above, Finer, Margin, Open
from xplain.core.targets.detections import Box
from xplain.core.targets.output_wishes import Anomaly, Horizon, Point, Region, Similar, Words
from xplain.core.targets.wish import Wish

__all__ = ["WORDS", "wish_of"]

_PLACE = re.compile(r".+\[[-0-9,\s]+\]", re.DOTALL)
"""A place in a tensor, whose name may hold a colon: ``output:0[2]``, ``Identity:0[2, 8, 8]``."""
_SAID = re.compile(r"(?P<word>[a-z]+)(?:(?P<how>,.*)|:(?P<about>.*))?", re.DOTALL | re.IGNORECASE)


def _options(text: str, *names: str) -> tuple[str, dict[str, str]]:
    """What stands before options ``,name=value`` (``name:value``, or ``name`` alone) at the end, and these."""
    found: dict[str, str] = {}
    rest = text
    while True:
        head, comma, last = rest.rpartition(",")
        said = re.fullmatch(r"\s*([a-z]+)(?:[=:](.*))?", last if comma else "")
        if said is None or said[1] not in names:
            return rest.strip(), found
        found.setdefault(said[1], (said[2] or "").strip())
        rest = head


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,9}", text.strip()):
        raise UsageError(f"{what} is {text!r:.80}; give a whole number.")
    return int(text)


def _real(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{what} is {text!r:.80}; give a number.")
    return number


def _margin(about: str) -> Wish:
    of, said = _options(f",{about}" if about == "smooth" else about, "smooth")
    return Margin(of or None, "smooth" in said)


def _finer(about: str) -> Wish:
    of, said = _options(f",{about}", "closest", "share")
    of = of.lstrip(",").strip()
    closest, share = _number(said.get("closest", "3"), "closest"), _real(said.get("share", "0.6"), "share")
    return Finer(of or None, closest, share)


def _region(about: str, border: bool = False) -> Wish:
    mask, at, of = about.rpartition("@")
    return Region(of.strip() or "best", mask.strip() if at else None, border)


def _box(about: str) -> Wish:
    of, said = _options(about, "format")
    of, hash_, number = of.partition("#") if re.search(r"#[0-9]+$", of) else (of, "", "1")
    place = _number(number, "The number of a box") - 1
    if hash_ and place < 0:
        raise UsageError("Boxes are counted from 1, the surest first; give a number of at least 1.")
    of = _about(of, "box:best")
    return Box(None if of.strip().lower() == "best" else of.strip(), place, said.get("format", ""))


def _boxes(about: str) -> Wish:
    many, said = _options(about, "format")
    count = _number(_about(many, "boxes:3"), "The number of boxes")
    if count < 1:
        raise UsageError(f"{count} boxes are none; give at least 1.")
    return Box(None, 0, said.get("format", ""), count)


def _horizon(about: str) -> Wish:
    of, said = _options(about, "quantile")
    quantile = _number(said["quantile"], "The quantile") if "quantile" in said else None
    return Horizon(None if of == "mean" else _number(_about(of, "horizon:0"), "The step"), quantile)


def _words(about: str) -> Wish:
    return Words(tuple(one.strip() for one in about.split(",")) if about.strip() else ())


def _about(text: str, example: str) -> str:
    if not text.strip():
        raise UsageError(f"{example.partition(':')[0]!r} does not say of what; write it as in {example!r}.")
    return text.strip()


WORDS: Mapping[str, Callable[[str], Wish]] = {
    "margin": _margin,
    "finer": _finer,
    "above": lambda about: Above(_real(about or "0.5", "The bound")),
    "region": _region,
    "border": lambda about: _region(about, border=True),
    "box": _box,
    "boxes": _boxes,
    "similar": lambda about: Similar(_about(about, "similar:other.jpg")),
    "next": lambda about: Words((about.strip(),) if about.strip() else (), last=True),
    "words": _words,
    "horizon": _horizon,
    "anomaly": lambda about: Anomaly(),
    "point": lambda about: Point(_about(about, "point:0")),
}
"""What each word makes of the text behind its colon."""


def wish_of(wanted: Any, outline: Outline) -> Wish | None:
    """The wish that ``wanted`` is; None for a target that says what it reads.

    Raises:
        UsageError: a word with something behind it that it does not understand.
        UnknownName: no such word; the nearest are named.
    """
    if isinstance(wanted, Target):
        return Open(wanted) if wanted.open else None
    if not isinstance(wanted, str):
        return wanted if isinstance(wanted, Wish) else None
    said = None if outline.has_label(wanted) else _SAID.fullmatch(wanted.strip())
    if said is None:
        return None
    word, about = said["word"].lower(), said["about"]
    if word in WORDS:
        return WORDS[word](about or said["how"] or "")
    if (
        about is not None
        and not _PLACE.fullmatch(wanted.strip())
        and not any(_called(wanted, label) for label in outline.labels)
    ):
        raise unknown("word for a target", word, list(WORDS), "A class is named without a colon.")
    return None


def _called(wanted: str, label: str) -> bool:
    """Whether what is wanted may be one of the ways in which a class is called."""
    return wanted.strip().casefold() in label.casefold() or wanted.partition(":")[0].strip() in label
