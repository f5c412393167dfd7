"""Findings as files of an audit: ``findings/<root>.json`` and ``.npz``, so that what was found of a root is found once.

The root hash covers plan, items and seals, so findings of an audit that has grown since are not taken for its own. The
JSON holds all but arrays, which stand in the ``.npz`` (no pickle); it is written last, so that it is there only whole.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args
from zipfile import BadZipFile

import numpy as np

from xplain.audit.canonical import canonical
from xplain.core.errors import UsageError
from xplain.core.finding import Finding, Standing
from xplain.core.keeping.files import read_text, there, whole_file
from xplain.core.keeping.strict import strict

__all__ = ["keep", "kept"]

_FORMAT = "xplain findings 1"


def keep(folder: Path, root: str, findings: Sequence[Finding]) -> None:
    """Write what was found of a root; what was there is replaced.

    Raises:
        OutputError: the folder cannot be written.
    """
    arrays: dict[str, Any] = {}
    told = [_told(number, one, arrays) for number, one in enumerate(findings)]
    place = folder / "findings"
    place.mkdir(exist_ok=True)
    with whole_file(place / f"{root}.npz") as file:
        np.savez(file, **arrays)
    with whole_file(place / f"{root}.json") as file:
        file.write(canonical({"format": _FORMAT, "root": root, "findings": told}))


def kept(folder: Path, root: str) -> list[Finding] | None:
    """What was found of a root; None where it was not looked for.

    Raises:
        UsageError: the files are damaged.
    """
    path = folder / "findings" / f"{root}.json"
    if not there(path):
        return None
    text = read_text(path, UsageError, f"The findings {path}")
    try:
        document = strict(text.encode())
        if document["format"] != _FORMAT or document["root"] != root:
            raise ValueError("it is of another audit or version")
        with np.load(io.BytesIO(path.with_suffix(".npz").read_bytes()), allow_pickle=False) as arrays:
            held = {name: arrays[name] for name in arrays.files}
        return [_read(one, held) for one in document["findings"]]
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, BadZipFile) as error:
        raise UsageError(
            f"The findings {path} cannot be read: {str(error)[:200]}. Run 'xplain audit analyse' again."
        ) from None


def _told(number: int, one: Finding, arrays: dict[str, Any]) -> dict[str, Any]:
    names = ("kind", "group", "statement", "standing", "unit", "count")
    told = {name: getattr(one, name) for name in names} | {
        "effect": _number(one.effect),
        "interval": None if one.interval is None else [_number(float(end)) for end in one.interval],
        "p": _number(one.p),
        "members": [int(item) for item in one.members],
        "limits": list(one.limits),
    }
    evidence: dict[str, Any] = {}
    for name, value in one.evidence.items():
        evidence[str(name)] = _packed(value, f"{number}/{len(arrays)}", arrays)
    return told | {"evidence": evidence}


def _packed(value: Any, place: str, arrays: dict[str, Any]) -> Any:
    """A value of evidence as JSON has it; an array stands elsewhere and is named here."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, (str, int)):
        return value
    array = np.asarray(value)
    if array.dtype.kind in "fiub":
        arrays[place] = array
        return {"array": place}
    return [str(one) for one in array.ravel()] if array.dtype.kind in "US" else str(value)


def _number(value: float | None) -> float | str | None:
    """A number, or its name where JSON has none."""
    if value is None:
        return None
    value = float(value)
    return value if np.isfinite(value) else str(value)


def _read(raw: Mapping[str, Any], arrays: Mapping[str, Any]) -> Finding:
    if raw["standing"] not in get_args(Standing):
        raise ValueError(f"there is no standing {raw['standing']!r:.40}")
    evidence = {
        name: arrays[value["array"]] if isinstance(value, dict) else _unnamed(value)
        for name, value in raw["evidence"].items()
    }
    ends = raw["interval"]
    return Finding(
        kind=str(raw["kind"]),
        group=str(raw["group"]),
        statement=str(raw["statement"]),
        standing=raw["standing"],
        effect=_float(raw["effect"]),
        unit=str(raw["unit"]),
        interval=None if ends is None else (float(ends[0]), float(ends[1])),
        p=_float(raw["p"]),
        count=int(raw["count"]),
        members=np.array(raw["members"], np.int64),
        evidence=evidence,
        limits=tuple(map(str, raw["limits"])),
    )


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def _unnamed(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value
