"""Reading a saved attribution that may be damaged or made to do harm: bounded, checked, nothing executed.

A file is a zip archive of ``.npy`` members, of which one, ``meta``, is a JSON text. What a member says of itself (its
size in the archive, its shape in its head) is held against the limits before anything is unpacked.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["MOST_BYTES", "Fault", "check_arrays", "check_fields", "read_archive"]

MOST_BYTES = 2**30
"""Bytes that a saved attribution may unpack to, unless more are allowed."""

_MOST_MEMBERS = 10_000
_MOST_META = 2**26
_MOST_AXES = 8
_DEEPEST = 64
_PLAIN = "biufU"  # kinds of numbers and texts; everything else needs a pickle, or is none of ours


class Fault(Exception):
    """What is wrong with a file, to be told with its name."""


def read_archive(
    path: str | os.PathLike[str], wanted: Callable[[str], bool], most: int
) -> tuple[Any, dict[str, Array]]:
    """The JSON value ``meta`` and the arrays that are ``wanted`` by name.

    Args:
        path: The file.
        wanted: Whether an array of this name is read; others are left alone.
        most: Bytes that may be unpacked.

    Raises:
        UsageError: there is no such file.
        Fault: it is damaged, too large, or holds what is no array of numbers or texts.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise Fault("it is no file")
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, wanted, most)
            arrays = {name: _array(archive, member, name) for name, member in members.items()}
    except FileNotFoundError:
        raise UsageError(f"There is no file {os.fspath(path)!r}.") from None
    except Fault:
        raise
    except OSError as error:
        raise Fault(error.strerror or str(error)) from None
    except Exception as error:  # of zip, deflate and numpy's heads: each has its own ways to fail on damaged bytes
        raise Fault(f"it is damaged ({type(error).__name__}: {str(error)[:200]})") from None
    if "meta" not in arrays:
        raise Fault("it holds no meta")
    return _json(arrays.pop("meta")), arrays


def _members(archive: zipfile.ZipFile, wanted: Callable[[str], bool], most: int) -> dict[str, zipfile.ZipInfo]:
    listed = archive.infolist()
    if len(listed) > _MOST_MEMBERS:
        raise Fault(f"it has {len(listed)} members; at most {_MOST_MEMBERS} are read")
    found: dict[str, zipfile.ZipInfo] = {}
    for member in listed:
        name = member.filename.removesuffix(".npy")
        if name != "meta" and not wanted(name):
            continue
        if name in found:
            raise Fault(f"it holds {name!r:.80} twice")
        if member.flag_bits & 1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Fault(f"{name!r:.80} is encrypted, or packed in a way that is not read")
        found[name] = member
    total = sum(member.file_size for member in found.values())
    if total > most:
        raise Fault(
            f"it unpacks to {total:,} bytes, and at most {most:,} are read. If you trust it, allow more: "
            f"Attribution.load(path, most_bytes={total})"
        )
    if "meta" in found and found["meta"].file_size > _MOST_META:
        raise Fault(f"its meta has {found['meta'].file_size:,} bytes; at most {_MOST_META:,} are read")
    return found


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Array:
    with archive.open(member) as file:
        shape, fortran, dtype = _head(file)
        if dtype.kind not in _PLAIN or dtype.hasobject or len(shape) > _MOST_AXES or min(shape, default=0) < 0:
            raise Fault(f"{name!r:.80} is {dtype} {list(shape)}, which is no array of numbers or texts")
        size = math.prod(shape) * dtype.itemsize
        if size > member.file_size:
            raise Fault(f"{name!r:.80} says shape {list(shape)}, {size:,} bytes, and has {member.file_size:,}")
        content = bytearray(file.read(size))
        if len(content) != size or file.read(1):
            raise Fault(f"{name!r:.80} has other bytes than its shape {list(shape)} says")
    array: Array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def _head(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Fault(f"it holds an array of version {version}")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype


def _json(text: Array) -> Any:
    if text.ndim or text.dtype.kind != "U":
        raise Fault("its meta is no text")
    try:
        value = json.loads(str(text), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Fault(f"its meta is not JSON: {str(error)[:200]}") from None
    if not _shallow(value, _DEEPEST):
        raise Fault(f"its meta is nested more than {_DEEPEST} deep")
    return value


def _shallow(value: Any, left: int) -> bool:
    if isinstance(value, dict):
        return left > 0 and all(_shallow(one, left - 1) for one in value.values())
    return not isinstance(value, list) or (left > 0 and all(_shallow(one, left - 1) for one in value))


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def check_arrays(arrays: Mapping[str, Array]) -> int:
    """Hold the arrays against one another; gives the number of items.

    Raises:
        Fault: one is missing, of another type or shape than its field has, or not finite.
    """
    for name in ("values", "scores"):
        if name not in arrays:
            raise Fault(f"it holds no {name}")
    values = arrays["values"]
    if values.dtype.kind != "f" or values.ndim < 2 or values.size == 0:
        raise Fault(f"its values are {values.dtype} {list(values.shape)}; real numbers [N, ...] are needed")
    count = len(values)
    shapes = {"error": values.shape, "scores": (count,), "base": (count,), "rows": values.shape}
    for name, shape in shapes.items():
        if name in arrays and (arrays[name].dtype.kind != "f" or arrays[name].shape != shape):
            got = f"{arrays[name].dtype} {list(arrays[name].shape)}"
            raise Fault(
                f"its {name} is {got}; real numbers {list(shape)} are needed beside values {list(values.shape)}"
            )
    for name in ("values", "scores", "base"):
        if name in arrays and not np.isfinite(arrays[name]).all():
            raise Fault(f"its {name} holds NaN or infinity")
    pictures = arrays.get("pictures")
    if pictures is not None and (
        pictures.dtype != np.uint8 or pictures.ndim != 4 or len(pictures) != count or pictures.shape[3] != 3
    ):
        got = f"{pictures.dtype} {list(pictures.shape)}"
        raise Fault(f"its pictures are {got}; uint8 [{count}, H, W, 3] are needed")
    return count


def check_fields(meta: Mapping[str, Any], values: Array) -> None:
    """Hold every field of ``meta`` against what it must be.

    Raises:
        Fault: names the field, what it is, and what is needed.
    """
    count = len(values)
    for name, (what, right) in _FIELDS.items():
        if name in meta and not right(meta[name]):
            raise Fault(f"its field {name!r} is {_shown(meta[name])}; {what} is needed")
    for name in ("labels", "names", "targets", "texts"):
        if meta.get(name) and len(meta[name]) != count:
            raise Fault(f"its field {name!r} has {len(meta[name])} entries for {count} items")
    columns = meta.get("columns")
    if columns is not None:
        rows = columns["values"]
        wide = values.ndim == 2 and values.shape[1] == len(columns["names"])
        if not wide or len(rows) not in (0, count) or any(len(row) != len(columns["names"]) for row in rows):
            raise Fault(f"its field 'columns' does not fit values {list(values.shape)}: a name and a text per column")
    for one in meta.get("texts", ()):
        spans = one["spans"]
        inside = all(0 <= start <= stop <= len(one["text"]) for start, stop in spans)
        if values.ndim != 2 or len(spans) > values.shape[1] or not inside:
            raise Fault(f"its field 'texts' does not fit values {list(values.shape)}: spans lie inside their text")
    for one in meta.get("warnings", ()):
        if one.get("item") is not None and one["item"] >= count:
            raise Fault(f"its field 'warnings' speaks of item {one['item']} of {count}")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _amount(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _list_of(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(right, value))


def _object(**parts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """An object that has no other fields than these, each right where it is there."""
    return lambda value: (
        isinstance(value, dict) and value.keys() <= parts.keys() and all(parts[k](one) for k, one in value.items())
    )


def _whole_object(needed: Collection[str], right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: right(value) and all(name in value for name in needed)


def _or_null(right: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or right(value)


def _texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


_SPANS = _list_of(lambda value: isinstance(value, list) and len(value) == 2 and all(map(_whole, value)))
_AMOUNTS = dict.fromkeys(("queries", "sweeps", "reused", "calls"), _whole)
_COST = _object(**_AMOUNTS, seconds=_amount, money=_amount, currency=_text)
_FIELDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(("unit", "method", "target", "model", "card", "layout"), ("a text", _text)),
    "options": ("an object", lambda value: isinstance(value, dict)),
    "notes": ("an object", lambda value: isinstance(value, dict)),
    "versions": ("an object of texts", _texts_by_name),
    "labels": ("a list of class numbers", _list_of(_whole)),
    "names": ("a list of texts", _list_of(_text)),
    "targets": ("a list of texts", _list_of(_text)),
    "signed": ("true or false", lambda value: isinstance(value, bool)),
    "seed": ("a whole number of at least 0", lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0),
    "resolution": (
        "null or [rows, columns]",
        _or_null(lambda value: isinstance(value, list) and len(value) == 2 and all(_whole(n) and n for n in value)),
    ),
    "cost": ("an object of amounts", _COST),
    "columns": (
        "null, or names and rows of texts",
        _or_null(_whole_object(("names", "values"), _object(names=_list_of(_text), values=_list_of(_list_of(_text))))),
    ),
    "texts": (
        "a list of texts with spans",
        _list_of(_whole_object(("text", "spans"), _object(text=_text, spans=_SPANS))),
    ),
    "warnings": (
        "a list of warnings",
        _list_of(_whole_object(("text",), _object(text=_text, kind=_text, item=_or_null(_whole)))),
    ),
}


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, float, bool, type(None))) else f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."
