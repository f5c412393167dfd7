"""Python values as JSON and arrays, and back again unchanged: how notes and options are saved without pickle.

JSON knows no arrays, tuples, NaN or infinity. Arrays are put aside under a name; what stands in their place, and in
that of the others, is a mapping with one key of ours, such as ``{"__array__": "extra.0"}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array

__all__ = ["EXTRA", "pack", "unpack"]

EXTRA = "extra."
"""What the names of arrays that are put aside begin with."""

_ARRAY, _TUPLE, _FLOAT = "__array__", "__tuple__", "__float__"


def pack(value: Any, arrays: dict[str, Array]) -> Any:
    """The value as JSON knows it.

    Args:
        value: Numbers, texts, None, arrays of numbers or texts, and lists, tuples and mappings of these. Anything else
            becomes its text.
        arrays: Receives the arrays, by name.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return pack(asdict(value), arrays)
    if isinstance(value, Mapping):
        return {str(key): pack(one, arrays) for key, one in value.items()}
    if isinstance(value, tuple):
        return {_TUPLE: [pack(one, arrays) for one in value]}
    if isinstance(value, list):
        return [pack(one, arrays) for one in value]
    if isinstance(value, np.generic):
        return pack(value.item(), arrays)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:  # only a pickle could hold these as they are
            return pack(value.tolist(), arrays)
        name = f"{EXTRA}{len(arrays)}"
        arrays[name] = value
        return {_ARRAY: name}
    if isinstance(value, float) and not np.isfinite(value):
        return {_FLOAT: str(value)}
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def unpack(value: Any, arrays: Mapping[str, Array]) -> Any:
    """What ``pack`` was given.

    Raises:
        KeyError: an array that is not there.
        ValueError: a number that is none.
    """
    if isinstance(value, list):
        return [unpack(one, arrays) for one in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, one),) = value.items()
        if key == _ARRAY:
            return arrays[one]
        if key == _TUPLE:
            return tuple(unpack(part, arrays) for part in one)
        if key == _FLOAT:
            return float(one)
    return {key: unpack(one, arrays) for key, one in value.items()}
