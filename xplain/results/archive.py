"""Reading a saved result that may be damaged or made to do harm: bounded, checked, nothing executed.

A file is a zip archive of ``.npy`` members, of which one, ``meta``, is a JSON text. What a member says of itself (its
size in the archive, its shape in its head) is held against the limits before anything is unpacked.
"""

from __future__ import annotations

import json
import math
import os
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["MOST_BYTES", "Fault", "read_archive"]

MOST_BYTES = 2**30
"""Bytes that a saved result may unpack to, unless more are allowed."""

_MOST_MEMBERS = 10_000
_MOST_META = 2**26
_MOST_AXES = 8
_DEEPEST = 64
_PLAIN = "biufU"  # kinds of numbers and texts; everything else needs a pickle, or is none of ours


class Fault(Exception):
    """What is wrong with a file, to be told with its name."""


def read_archive(
    path: str | os.PathLike[str], wanted: Callable[[str], bool], most: int, advice: str
) -> tuple[Any, dict[str, Array]]:
    """The JSON value ``meta`` and the arrays that are ``wanted`` by name.

    Args:
        path: The file.
        wanted: Whether an array of this name is read; others are left alone.
        most: Bytes that may be unpacked.
        advice: The call that allows more, with ``{}`` for the number of bytes.

    Raises:
        UsageError: there is no such file.
        Fault: it is damaged, too large, or holds what is no array of numbers or texts.
    """
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise Fault("it is no file")
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, wanted, most, advice)
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


def _members(
    archive: zipfile.ZipFile, wanted: Callable[[str], bool], most: int, advice: str
) -> dict[str, zipfile.ZipInfo]:
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
            f"{advice.format(total)}"
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
