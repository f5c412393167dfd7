"""Tensors of the Open Inference Protocol: datatypes, raw little-endian bytes, strings with a length before each."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.models.endpoint.outside import shown
from xplain.models.endpoint.secrets import heard

__all__ = ["DTYPES", "from_bytes", "from_list", "holds", "json_name", "json_types", "numpy_name", "to_bytes", "to_list"]

DTYPES: dict[str, str] = {
    "BOOL": "?",
    "UINT8": "|u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "|i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Datatypes that numpy knows; ``BF16`` and ``BYTES`` are converted here."""

_JSON = {str: "a text", bool: "true or false", type(None): "null", dict: "an object", list: "a list"}


def numpy_name(datatype: str) -> str:
    """The name an outline uses: numpy's, ``"bfloat16"``, or ``"str"`` for strings."""
    if datatype == "BYTES":
        return "str"
    return "bfloat16" if datatype == "BF16" else np.dtype(_numpy(datatype)).name


def holds(answered: str, announced: str) -> bool:
    """Whether a tensor that comes as datatype ``answered`` can carry every value of datatype ``announced``."""
    if answered == announced:
        return True
    if announced == "BF16":
        return answered in ("FP32", "FP64")
    if answered not in DTYPES or announced not in DTYPES:
        return False
    return bool(np.can_cast(np.dtype(DTYPES[announced]), np.dtype(DTYPES[answered]), "safe"))


def to_bytes(array: Array, datatype: str) -> bytes:
    """Row-major little-endian bytes of ``array`` as ``datatype``; whole numbers are rounded, not cut."""
    if datatype == "BYTES":
        parts = [_utf8(text) for text in array.reshape(-1)]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)
    if datatype == "BF16":
        bits = np.ascontiguousarray(array, dtype="<f4").view("<u4")
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)  # round to nearest, ties to even
        return bytes((rounded >> 16).astype("<u2").tobytes())
    return bytes(_converted(array, datatype).tobytes())


def to_list(array: Array, datatype: str) -> list[Any]:
    """The same as a flat list for JSON."""
    if datatype == "BYTES":
        return [_utf8(text).decode() for text in array.reshape(-1)]
    if datatype == "BF16":
        return np.asarray(array, dtype=np.float32).reshape(-1).tolist()
    return _converted(array, datatype).reshape(-1).tolist()


def from_bytes(raw: bytes, datatype: str, shape: Sequence[int], what: str) -> Array:
    """The tensor that ``raw`` holds: numbers, or an object array of ``str``; ``shape`` as ``extents`` read it.

    Raises:
        ModelError: too few or too many bytes.
    """
    size = math.prod(shape)
    if datatype == "BYTES":
        return _shaped(_strings(raw, size, what), shape, what)
    if datatype == "BF16":
        _expect(len(raw), 2 * size, what, shape)
        return _shaped((np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4"), shape, what)
    dtype = np.dtype(_numpy(datatype))
    _expect(len(raw), dtype.itemsize * size, what, shape)
    return _shaped(np.frombuffer(raw, dtype), shape, what)


def from_list(data: Any, datatype: str, shape: Sequence[int], what: str) -> Array:
    """The tensor that JSON ``data`` holds, nested or flat. Nothing is converted: 5.21 is no INT64, and "1" no number.

    Raises:
        ModelError: not of this type, or not of this many elements.
    """
    try:
        if not isinstance(data, list):
            raise TypeError(f"{json_name(type(data))} in place of a list")
        array = _texts(data) if datatype == "BYTES" else _numbers(data, datatype)
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelError(f"{what} says {datatype} and holds other data: {error}.") from None
    return _shaped(array, shape, what)


def _texts(data: Any) -> Array:
    array = np.asarray(data, dtype=object)
    for one in array.reshape(-1):
        if not isinstance(one, str):
            raise TypeError(f"{shown(one)} is no text")
    return array


def _numbers(data: Any, datatype: str) -> Array:
    """Numbers of a datatype, each of which JSON wrote as one."""
    dtype = np.dtype("<f4" if datatype == "BF16" else _numpy(datatype))
    more: dict[str, set[type]] = {"b": {bool}, "f": {type(None)}}
    if odd := json_types(data) - {int, float} - more.get(dtype.kind, set()):
        raise TypeError(f"{json_name(odd.pop())} among the numbers")
    array = np.asarray(data)
    if array.dtype.kind == "O":  # null, as servers write NaN, or whole numbers of more than 64 bits
        array = array.astype(np.float64)
    if dtype.kind in "biu" and array.size:
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        off = array[array != np.rint(array)] if array.dtype.kind == "f" else array[:0]
        if off.size or not np.isfinite(array).all():
            raise ValueError(f"{off[0] if off.size else 'infinity'} is no whole number")
        if not low <= int(array.min()) <= int(array.max()) <= high:
            raise ValueError(f"numbers from {array.min()} to {array.max()}; {low} to {high} fit")
    with np.errstate(over="ignore"):  # what is too large for a real type becomes infinite, and is refused as such
        return array.astype(dtype)


def json_name(kind: type) -> str:
    """What JSON calls a value of this type, for a message."""
    return _JSON.get(kind, f"a {kind.__name__}")


def json_types(data: Any) -> set[type]:
    """The types of what a JSON list holds, at any depth; lists aside."""
    if not isinstance(data, list):
        return {type(data)}
    types = set(map(type, data))
    if list in types:
        types.discard(list)
        types = types.union(*(json_types(one) for one in data if isinstance(one, list)))
    return types


def _shaped(array: Array, shape: Sequence[int], what: str) -> Array:
    if array.size != math.prod(shape):
        raise ModelError(f"{what} says shape {list(shape)} and holds {array.size} elements.")
    try:
        return array.reshape(shape)
    except ValueError:  # no elements, and extents whose product no machine can count
        raise ModelError(f"{what} has shape {list(shape)}, which is none.") from None


def _numpy(datatype: str) -> str:
    if datatype not in DTYPES:
        raise ModelError(f"Datatype {shown(datatype)} is not of the protocol; known: {', '.join(DTYPES)}, BF16, BYTES.")
    return DTYPES[datatype]


def _converted(array: Array, datatype: str) -> Array:
    dtype = np.dtype(_numpy(datatype))
    if dtype.kind in "iu" and array.dtype.kind == "f":
        info = np.iinfo(dtype)
        array = np.clip(np.rint(array), info.min, info.max)
    return np.ascontiguousarray(array, dtype=dtype)


def _utf8(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8")


def _expect(got: int, wanted: int, what: str, shape: Sequence[int]) -> None:
    if got != wanted:
        raise ModelError(f"{what} of shape {list(shape)} needs {wanted} bytes and has {got}: it was cut or padded.")


def _strings(raw: bytes, size: int, what: str) -> Array:
    found: list[str] = []
    at = 0
    while at < len(raw) and len(found) <= size:
        if at + 4 > len(raw):
            break
        (length,) = struct.unpack_from("<I", raw, at)
        if at + 4 + length > len(raw):
            break
        found.append(heard(raw[at + 4 : at + 4 + length]))
        at += 4 + length
    if at != len(raw) or len(found) != size:
        raise ModelError(f"{what} holds {len(found)} whole strings in {len(raw)} bytes; {size} were announced.")
    return np.asarray(found, dtype=object)
