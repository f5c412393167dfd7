"""Tensors of the Open Inference Protocol: datatypes, raw little-endian bytes, strings with a length before each."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError

__all__ = ["DTYPES", "from_bytes", "from_list", "numpy_name", "to_bytes", "to_list"]

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


def numpy_name(datatype: str) -> str:
    """The name an outline uses: numpy's, ``"bfloat16"``, or ``"str"`` for strings."""
    if datatype == "BYTES":
        return "str"
    return "bfloat16" if datatype == "BF16" else np.dtype(_numpy(datatype)).name


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
    """The tensor that ``raw`` holds: numbers, or an object array of ``str``.

    Raises:
        ModelError: too few or too many bytes.
    """
    size = _size(shape, what)
    if datatype == "BYTES":
        return _strings(raw, size, what).reshape(shape)
    if datatype == "BF16":
        _expect(len(raw), 2 * size, what, shape)
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4").reshape(shape)
    dtype = np.dtype(_numpy(datatype))
    _expect(len(raw), dtype.itemsize * size, what, shape)
    return np.frombuffer(raw, dtype).reshape(shape)


def from_list(data: Any, datatype: str, shape: Sequence[int], what: str) -> Array:
    """The tensor that JSON ``data`` holds, nested or flat.

    Raises:
        ModelError: not of this type, or not of this many elements.
    """
    try:
        if datatype == "BYTES":
            array = np.asarray(data, dtype=object)
        else:
            array = np.asarray(data, dtype=np.float32 if datatype == "BF16" else _numpy(datatype))
    except (TypeError, ValueError, OverflowError):
        raise ModelError(f"{what} holds no {datatype} data.") from None
    if array.size != _size(shape, what):
        raise ModelError(f"{what} says shape {list(shape)} and holds {array.size} elements.")
    return array.reshape(shape)


def _size(shape: Sequence[int], what: str) -> int:
    if not all(isinstance(n, int) and 0 <= n < 2**31 for n in shape):
        raise ModelError(f"{what} has shape {list(shape)}, which is none.")
    return math.prod(shape)


def _numpy(datatype: str) -> str:
    if datatype not in DTYPES:
        raise ModelError(f"Datatype {datatype!r} is not of the protocol; known: {', '.join(DTYPES)}, BF16, BYTES.")
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
        raise ModelError(
            f"{what} of shape {list(shape)} needs {wanted} bytes and has {got}: the answer was cut or padded."
        )


def _strings(raw: bytes, size: int, what: str) -> Array:
    found: list[str] = []
    at = 0
    while at < len(raw) and len(found) <= size:
        if at + 4 > len(raw):
            break
        (length,) = struct.unpack_from("<I", raw, at)
        if at + 4 + length > len(raw):
            break
        found.append(raw[at + 4 : at + 4 + length].decode("utf-8", "replace"))
        at += 4 + length
    if at != len(raw) or len(found) != size:
        raise ModelError(f"{what} holds {len(found)} whole strings in {len(raw)} bytes; {size} were announced.")
    return np.asarray(found, dtype=object)
