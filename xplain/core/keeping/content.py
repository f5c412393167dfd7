"""Keys that follow from content: equal values, equal key, whatever stands beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array

__all__ = ["fingerprint", "keys_of"]


def fingerprint(*parts: Any) -> str:
    """sha256 of values made of dataclasses, arrays, mappings, sequences and plain scalars: equal content, equal key."""
    sha = hashlib.sha256()
    for part in parts:
        _feed(sha, part)
    return sha.hexdigest()


def _feed(sha: Any, part: Any) -> None:
    if isinstance(part, np.ndarray):
        sha.update(f"array {part.dtype.str} {part.shape} ".encode())
        # strings have no useful buffer; their repr is exact
        sha.update(repr(part.tolist()).encode() if part.dtype.hasobject else np.ascontiguousarray(part).tobytes())
    elif is_dataclass(part) and not isinstance(part, type):
        sha.update(f"{type(part).__qualname__}(".encode())
        for field in (one for one in fields(part) if one.compare):
            sha.update(field.name.encode())
            _feed(sha, getattr(part, field.name))
        sha.update(b")")
    elif isinstance(part, Mapping):
        _feed(sha, sorted(part.items(), key=lambda item: str(item[0])))
    elif isinstance(part, (list, tuple)):
        sha.update(f"[{len(part)}".encode())
        for item in part:
            _feed(sha, item)
    else:
        sha.update(f"{type(part).__name__}={part!r};".encode())


def keys_of(items: Sequence[Any] | Array) -> tuple[str, ...]:
    """A name for each item from its content: the same wherever the item stands, and whatever stands beside it.

    Items that are equal are told apart by their number among them, so that their errors are independent too. Numbers
    count by their value as float32 (whole ones as int64), not by the type they came in.
    """
    seen: dict[str, int] = {}
    keys = []
    for item in items:
        sha = hashlib.blake2b(digest_size=16)
        if isinstance(item, (np.ndarray, np.generic)) and item.dtype.kind in "fiub":
            kind = np.int64 if item.dtype.kind in "iub" else np.float32
            sha.update(np.ascontiguousarray(item, kind).tobytes())
        else:
            sha.update(repr(item.tolist() if isinstance(item, np.ndarray) else item).encode())
        key = sha.hexdigest()
        number = seen[key] = seen.get(key, -1) + 1
        keys.append(f"{key}+{number}" if number else key)
    return tuple(keys)
