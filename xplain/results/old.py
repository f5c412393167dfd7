"""Files of format 1, in the fields of today's. The one place that guesses what those files did not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat, each
from xplain.core.edits import Array

__all__ = ["modern"]


def modern(meta: dict[str, Any], values: Array) -> dict[str, Any]:
    """The fields of a file of format 1 as format 2 has them.

    Args:
        meta: Fields that are right by themselves; notes are unpacked, warnings read.
        values: The file's values, ``[N, ...]``.
    """
    count, target = len(values), meta.pop("target")
    notes, warnings = _warnings_in(meta["notes"], count)
    calls = notes.pop("rows per call", {})
    if isinstance(calls, dict):
        meta["rows_per_call"] = {
            str(kind): rows if isinstance(rows, list) else [rows] for kind, rows in calls.items() if _sizes(rows)
        }
    meta["each"] = {name: note for name, note in notes.items() if _per_item(note, values)}
    meta["notes"] = {name: note for name, note in notes.items() if name not in meta["each"]}
    meta["warnings"] = (*meta["warnings"], *warnings)
    told = "targets" in meta  # else it was written before each item had its own
    meta["targets"] = meta.get("targets") or (not told and _apart(target, meta.get("labels", ()), count))
    meta["targets"] = meta["targets"] or [target] * count
    return meta


def _sizes(rows: Any) -> bool:
    return all(type(one) is int and one > 0 for one in (rows if isinstance(rows, list) else [rows]))


def _per_item(note: Any, values: Array) -> bool:
    """Whether a note has one entry per item: a list, or an array that is no map of the features all items share."""
    if isinstance(note, np.ndarray):
        shared = note.dtype.kind in "iu" and note.shape == values.shape[1:]
        return note.shape[:1] == values.shape[:1] and not shared
    return isinstance(note, list) and len(note) == len(values)


def _apart(target: str, labels: Any, count: int) -> list[str]:
    """The targets of a file in which all of them stood in one text, side by side; none where it is of one target."""
    prefix, order = "per item: ", list(dict.fromkeys(labels))
    if not target.startswith(prefix) or len(labels) != count:
        return []
    names = target.removeprefix(prefix).split(" | ")
    if len(names) != len(order):  # a name holds what stood between names, or two classes share one
        names = [f"class {label}" for label in order]
    return [names[order.index(label)] for label in labels]


def _warnings_in(notes: Mapping[str, Any], items: int) -> tuple[dict[str, Any], tuple[Caveat, ...]]:
    """Notes without the warnings among them, and these as caveats.

    Before there was a channel, warnings were notes: a sentence or one per item under a name that begins with
    ``warning``, and how the model was run under ``fallback`` and ``approximate``.
    """
    kept, found = {}, []
    for name, note in notes.items():
        if name in ("fallback", "approximate") and isinstance(note, str):
            found.append(Caveat(note, "model"))
        elif not str(name).startswith("warning"):
            kept[name] = note
        elif isinstance(note, (list, tuple)) and len(note) == items:
            found += each(map(str, note))
        else:
            found += [Caveat(str(note))] if note else []
    return kept, tuple(found)
