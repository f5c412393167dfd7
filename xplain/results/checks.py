"""What each field of a saved result must be, held against what a file says.

A check is a pair: what is needed, in words for a person, and whether a JSON value is that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias

from xplain.results.archive import Fault

__all__ = ["COMMON", "Check", "check_fields", "list_of", "null_or", "object_of", "one_of", "text", "texts_by_name"]
__all__ += ["truth", "whole"]

Check: TypeAlias = tuple[str, Callable[[Any], bool]]


def check_fields(meta: Mapping[str, Any], checks: Mapping[str, Check]) -> None:
    """Hold every field of ``meta`` against what it must be.

    Raises:
        Fault: names the field, what it is, and what is needed.
    """
    for name, (what, right) in checks.items():
        if name in meta and not right(meta[name]):
            raise Fault(f"its field {name!r} is {_shown(meta[name])}; {what} is needed")


def text(value: Any) -> bool:
    """Whether it is a text."""
    return isinstance(value, str)


def truth(value: Any) -> bool:
    """Whether it is true or false."""
    return isinstance(value, bool)


def whole(value: Any) -> bool:
    """Whether it is a whole number of at least 0 that an array may hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def one_of(*words: str) -> Callable[[Any], bool]:
    """One of a few words."""
    return lambda value: isinstance(value, str) and value in words


def list_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A list whose entries are right."""
    return lambda value: isinstance(value, list) and all(map(right, value))


def null_or(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Null, or what is right."""
    return lambda value: value is None or right(value)


def object_of(needed: Collection[str], /, **parts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """An object with no other fields than ``parts``, each right where it is there; those ``needed`` are there."""
    return lambda value: (
        isinstance(value, dict)
        and value.keys() <= parts.keys()
        and all(parts[name](one) for name, one in value.items())
        and all(name in value for name in needed)
    )


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _seed(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def texts_by_name(value: Any) -> bool:
    """Whether it is an object of texts."""
    return isinstance(value, dict) and all(map(text, value.values()))


def _sizes_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(list_of(whole), value.values()))


_COST = object_of(
    (), **dict.fromkeys(("queries", "sweeps", "reused", "calls"), whole), seconds=_amount, money=_amount, currency=text
)

COMMON: Mapping[str, Check] = {
    **dict.fromkeys(("method", "target", "model", "source", "card", "layout"), ("a text", text)),
    **dict.fromkeys(("options", "notes", "each"), ("an object", _object)),
    "versions": ("an object of texts", texts_by_name),
    "rows_per_call": ("an object of lists of numbers", _sizes_by_name),
    "labels": ("a list of class numbers", list_of(whole)),
    **dict.fromkeys(("names", "digests"), ("a list of texts", list_of(text))),
    "targets": ("a list of texts", list_of(text)),
    "explained": ("null, or a list of objects", null_or(list_of(_object))),
    "seed": ("a whole number of at least 0", _seed),
    "cost": ("an object of amounts", _COST),
    "warnings": (
        "a list of warnings",
        list_of(object_of(("text",), text=text, kind=text, item=null_or(whole))),
    ),
}
"""Checks of the fields that every result has."""


def _shown(value: Any) -> str:
    told = repr(value) if isinstance(value, (str, float, bool, type(None))) else f"a {type(value).__name__}"
    return told if len(told) <= 80 else f"{told[:77]}..."
