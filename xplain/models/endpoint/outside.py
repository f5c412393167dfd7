"""Numbers that come from outside: headers, metadata, shapes, class numbers and sizes all pass through here.

Python takes more for a number than a protocol does: a superscript two counts as a digit, ``int(5.9)`` is 5,
``int(True)`` is 1, ``float("1_0")`` is 10. Each of these was an answer that was misread, or an error of Python's own.
"""

from __future__ import annotations

import re
from typing import Any

from xplain.core.errors import ModelError
from xplain.core.keeping.plain import counted

__all__ = ["MOST_AXES", "MOST_CLASSES", "digits", "extents", "name_of", "real", "shown", "whole"]

MOST_AXES = 32
MOST_CLASSES = 1_000_000
_LONGEST_NAME = 1000
_DIGITS = re.compile(r"[0-9]{1,18}", re.ASCII)
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)


def digits(text: str) -> int | None:
    """The number that a text of 1 to 18 ASCII digits writes, spaces around it aside; None for any other text."""
    found = _DIGITS.fullmatch(text.strip(" \t"))
    return int(found[0]) if found else None


def real(text: str) -> float | None:
    """The number that a text writes in decimal, finite or not; None for any other text."""
    return float(text) if len(text) <= 100 and _REAL.fullmatch(text) else None


def whole(value: Any, what: str, least: int = 0, most: int = 2**31 - 1) -> int:
    """A JSON number that is whole and in range; 5.0 is, 5.9, true, null and "5" are not.

    Raises:
        ModelError: it is none.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ModelError(f"{what} is {shown(value)}; a whole number from {least} to {most} is needed.")
    return value


def extents(value: Any, what: str, *, open_axes: bool = False) -> list[int]:
    """A shape: at most 32 extents, each below 2^31; with ``open_axes`` -1 stands for any.

    Raises:
        ModelError: it is none.
    """
    if not isinstance(value, list) or len(value) > MOST_AXES:
        got = f"has {counted(len(value), 'axis', 'axes')}" if isinstance(value, list) else f"is {shown(value)}"
        raise ModelError(f"The shape of {what} {got}; a list of at most {MOST_AXES} whole numbers is needed.")
    return [whole(n, f"An extent in the shape of {what}", -1 if open_axes else 0) for n in value]


def name_of(value: Any, what: str) -> str:
    """A name: a text that is not empty and at most 1,000 letters long.

    Raises:
        ModelError: it is none.
    """
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_NAME:
        raise ModelError(f"{what} is {shown(value)}; a name of 1 to {_LONGEST_NAME} letters is needed.")
    return value


def shown(value: Any) -> str:
    """A value from outside, short enough for a message."""
    if isinstance(value, int) and not -(10**30) < value < 10**30:
        return "a number of more than 30 digits"  # Python refuses to write numbers of thousands of digits
    text = repr(value) if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
