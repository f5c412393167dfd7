"""One text for one value, so that a hash of it names it, and the packages that an audit needs, imported when used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from xplain.core.errors import MissingDependency

__all__ = ["canonical", "differing", "file_sha256", "needed", "sha256_of"]


def canonical(value: Any) -> bytes:
    """Plain values as JSON with sorted names, no blanks and no characters beyond ASCII: equal values, equal bytes.

    A float is printed as the shortest text that reads back to it, which every Python does alike.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value is none of JSON's.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sha256_of(content: bytes | memoryview) -> str:
    """sha256 in hex."""
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """sha256 of a file in hex, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def differing(was: Any, now: Any, at: str = "") -> list[tuple[str, Any, Any]]:
    """Where two plain values differ: the path of each, such as ``lanes.rise.options.samples``, and both values.

    Entries of a list are called by their ``name`` where they have one, else by their number.
    """
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        names = dict.fromkeys([*was, *now])
        return [one for name in names for one in differing(was.get(name), now.get(name), f"{at}.{name}".lstrip("."))]
    if isinstance(was, list) and isinstance(now, list) and max(len(was), len(now)) <= _MOST_ENTRIES:
        return differing(_by_name(was), _by_name(now), at)
    return [] if was == now else [(at, was, now)]


_MOST_ENTRIES = 1000


def _by_name(entries: list[Any]) -> dict[str, Any]:
    named = all(isinstance(one, Mapping) and isinstance(one.get("name"), str) for one in entries)
    return {str(one["name"] if named else k): one for k, one in enumerate(entries)}


def needed(module: str) -> Any:
    """A package of the extra ``audit``.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise MissingDependency(f"Audits need {package}: pip install 'xplain[audit]'.") from None
