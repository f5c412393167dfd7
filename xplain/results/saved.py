"""Results as files, and back: one ``.npz`` archive of the arrays and a JSON text ``meta``; no pickle.

| format | what differs |
|---|---|
| 2 | today's: facts of the run (``notes``) and of each item (``each``) apart, the kind of result in ``what`` |
| 1 | attributions alone; facts of both sorts in ``notes``, texts for targets that are the same for all items |
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from xplain.core.caveat import caveat_of
from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.files import whole_file
from xplain.core.keeping.packing import EXTRA, pack, unpack
from xplain.core.target import Target
from xplain.core.targets.leaves import Leaf
from xplain.results.archive import Fault, read_archive
from xplain.results.checks import COMMON, Check, check_fields
from xplain.results.old import modern
from xplain.results.provenance import Provenance

__all__ = ["FORMAT", "read", "write"]

FORMAT = 2
"""Of the files that are written."""

_PACKED = {"options": "options", "notes": "facts", "each": "each"}
"""Values of any kind: name in the file to name in the result."""


class Kind(Protocol):
    """A kind of result, as its files need to know it; see ``Result``."""

    @property
    def what(self) -> str:
        """What it is called in files and messages."""

    @property
    def checks(self) -> Mapping[str, Check]:
        """What its plain fields must be."""

    def arrays(self) -> tuple[str, ...]:
        """Names of the fields that are arrays."""

    def per_item(self) -> tuple[str, ...]:
        """Names of the fields with one entry per item."""

    def plain(self) -> dict[str, bool]:
        """Names of the fields that are written as JSON, and whether a file must have each."""

    def holds(self, meta: Mapping[str, Any], arrays: Mapping[str, Array], /) -> int:
        """The number of items in what a file says."""

    def made(self, given: dict[str, Any], /) -> Any:
        """A result with these fields, some of which are still as JSON has them."""


def write(result: Any, path: str | os.PathLike[str]) -> Path:
    """Write a result whole or not at all; see ``Result.save``."""
    target = Path(path)
    if target.suffix != ".npz":
        raise UsageError(f"A result is saved as .npz; got {target.name!r}. Use a name that ends in .npz.")
    arrays = {name: getattr(result, name) for name in result.arrays() if getattr(result, name) is not None}
    extra: dict[str, Array] = {}
    packed = {name: pack(getattr(result, own), extra) for name, own in _PACKED.items()}
    packed["explained"] = pack(target_data(result.explained), extra)
    meta = {name: value for name, value in result.meta().items() if name != "target"}
    arrays |= extra | {"meta": np.array(json.dumps(meta | packed, allow_nan=False))}
    with whole_file(target) as file:
        np.savez_compressed(file, **arrays)
    return target


def read(kinds: Sequence[Kind], path: str | os.PathLike[str], most: int) -> Any:
    """The result that a file holds, which must be of one of some kinds; see ``Result.load``."""
    names = {name for one in kinds for name in one.arrays()}
    word = kinds[0].what if len(kinds) == 1 else "result"
    advice = f"{word.capitalize() if len(kinds) == 1 else 'xplain.results'}.load(path, most_bytes={{}})"
    try:
        meta, arrays = read_archive(path, lambda name: name in names or name.startswith(EXTRA), most, advice)
        if not isinstance(meta, dict) or (number := meta.pop("format", None)) not in (1, FORMAT):
            raise Fault(f"it was written in another format than {FORMAT}; save it again")
        what = meta.pop("what", "attribution")
        found = next((one for one in kinds if one.what == what), None)
        if found is None:
            raise Fault(f"it is of kind {what!r:.80}")
        return _made(found, meta, arrays, old=number == 1)
    except Fault as error:
        raise UsageError(f"{os.fspath(path)!r:.300} is not a saved {word}: {error}.") from None


def _made(kind: Kind, meta: dict[str, Any], arrays: Mapping[str, Array], old: bool) -> Any:
    """A result from what a file says, when all of it is as it must be."""
    check_fields(meta, {**COMMON, **kind.checks})
    needed = [name for name, must in kind.plain().items() if must]
    for name in (*needed, "method", "options", "notes", "cost", *(["target"] if old else [])):
        if name not in meta:
            raise Fault(f"it has no field {name!r}")
    count = kind.holds(meta, arrays)
    for name in kind.per_item():
        if isinstance(meta.get(name), list) and len(meta[name]) not in (0, count):
            raise Fault(f"its field {name!r} has {len(meta[name])} entries for {count} items")
    for one in meta.get("warnings", ()):
        if one.get("item") is not None and one["item"] >= count:
            raise Fault(f"its field 'warnings' speaks of item {one['item']} of {count}")
    meta = _unpacked(meta, arrays)
    meta["warnings"] = tuple(caveat_of(one) for one in meta.get("warnings", ()))
    meta = modern(meta, arrays["values"]) if old else meta
    for name, entries in meta.get("each", {}).items():
        listed = isinstance(entries, list) or (isinstance(entries, np.ndarray) and entries.ndim > 0)
        if not listed or len(entries) != count:
            raise Fault(f"its field 'each' has not {count} entries under {name!r:.80}")
    meta |= {"facts": meta.pop("notes"), "explained": _target(meta.get("explained"), count)}
    origin = {one.name for one in fields(Provenance)}
    if strange := sorted(meta.keys() - kind.plain().keys() - origin):
        raise Fault(f"it has a field {strange[0]!r:.80} that this version does not know")
    meta["cost"] = Cost(**meta["cost"])
    meta |= {name: tuple(meta.get(name, ())) for name in ("names", "targets", "labels", "digests")}
    provenance = Provenance(**{name: meta.pop(name) for name in origin & meta.keys()})
    shown = {name: array for name, array in arrays.items() if name in kind.arrays()}
    return kind.made({"provenance": provenance, **meta, **shown})


def target_data(target: Target | None) -> list[dict[str, Any]] | None:
    """A target as ``Target.of`` reads it, with its arrays as they are."""
    if target is None:
        return None
    told: list[dict[str, Any]] = []
    for weight, term in target.terms:
        if isinstance(term, Leaf) and term.factors is not None:
            told.append({"weight": weight, **replace(term, factors=None).data(), "factors": term.factors})
        else:
            told.append({"weight": weight, **term.data()})  # a formula's numbers are arrays already
    return told


def _target(told: Any, count: int) -> Target | None:
    if told is None:
        return None
    try:
        target = Target.of(told)
    except (UsageError, OverflowError) as error:
        raise Fault(f"its field 'explained' cannot be read: {error}") from None
    if any(leaf.items not in (None, count) for _, leaf in target.terms):
        raise Fault(f"its field 'explained' is not for {count} items")
    return target


def _unpacked(meta: dict[str, Any], arrays: Mapping[str, Array]) -> dict[str, Any]:
    for name in (*_PACKED, "explained"):
        if name not in meta:
            continue
        try:
            meta[name] = unpack(meta[name], arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise Fault(f"its field {name!r} cannot be read: {error}") from None
        if not isinstance(meta[name], dict) and name != "explained":
            raise Fault(f"its field {name!r} is no object")
    return meta
