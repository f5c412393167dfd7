"""Keys that follow from content: equal values, equal key, whatever stands beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np

from xplain.core.edits import Array

__all__ = ["checksums", "fingerprint", "keys_of"]

_WORDS = 2**15
"""Words of 8 bytes that a checksum adds up at once: their weights stay in a core's cache."""
_STEP = 0x9E3779B97F4A7C15  # odd, with bits all over: parts of an item count by their place


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
            sha.update(_by_value(item).tobytes())
        else:
            sha.update(repr(item.tolist() if isinstance(item, np.ndarray) else item).encode())
        key = sha.hexdigest()
        number = seen[key] = seen.get(key, -1) + 1
        keys.append(f"{key}+{number}" if number else key)
    return tuple(keys)


def checksums(x: Array) -> tuple[str, ...]:
    """Each item's content as 32 hex digits, at a seventh of the time of ``keys_of``; equal values, equal digits.

    Two sums modulo 2^64 of its words of 8 bytes times odd weights that a seed drew: other items have other digits but
    by a chance of about 2^-64. They tell items apart that were mixed up; where someone may forge one there is
    ``fingerprint``.

    Args:
        x: Numbers ``[N, *item]``; they count by value, as in ``keys_of``.
    """
    found = []
    for item in x:
        raw = _by_value(item).reshape(-1).view(np.uint8)
        words = np.concatenate([raw, np.zeros(-raw.size % 8, np.uint8)]) if raw.size % 8 else raw
        words, sums = words.view(np.uint64), [raw.size, raw.size]
        for start in range(0, words.size, _WORDS):
            block = words[start : start + _WORDS]
            added = np.einsum("ij,j->i", _weights()[:, : block.size], block)  # a third faster than a product
            sums = [(total * _STEP + int(one)) % 2**64 for total, one in zip(sums, added, strict=True)]
        found.append("".join(f"{one:016x}" for one in sums))
    return tuple(found)


@cache
def _weights() -> Array:
    """Odd words ``[2, 2**15]``; every odd weight is a bijection of a word, so one changed word always shows."""
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 2**64, (2, _WORDS), dtype=np.uint64)
    return drawn | np.uint64(1)


def _by_value(item: Array | np.generic[Any]) -> Array:
    """Numbers as float32, whole ones as int64, in one piece of memory."""
    return np.ascontiguousarray(item, np.int64 if item.dtype.kind in "iub" else np.float32)
