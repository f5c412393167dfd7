"""Items that are there twice: by their digests; nearly, by what pictures, series, rows and texts are each told by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from xplain.analyses.duplicates import (
    PICTURES,
    copies,
    difference_hash,
    hash_pairs,
    near_copies,
    vector_pairs,
    verified,
)
from xplain.analyses.enough import drawn, percent
from xplain.analyses.near_texts import ALIKE, NEAR, RUN, row_pairs, shuffled_pairs, text_pairs
from xplain.analyses.shares import pooled
from xplain.audit.findings.kinds import timed
from xplain.audit.opening import Audit
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.finding import Finding

__all__ = ["duplicated"]

_LOOKED, _READ = 4000, 10_000
"""Items, and texts, that are read again to be compared with one another."""
_SERIES = 0.995
"""Cosine of two series, each channel's mean taken off, from which they are called the same recording."""
_BYTES = 2**29
"""Bytes of series that are held at once."""


def duplicated(audit: Audit) -> list[Finding]:
    """Copies by digest among all items; near copies among those that the seed draws."""
    table = audit.items
    labels, splits = table["label"].to_pylist(), table["split"].to_pylist()
    labels, splits = (one if any(v is not None for v in one) else [] for one in (labels, splits))
    found = copies(table["sha256"].to_pylist(), labels=labels, splits=splits)
    digests = np.array(table["sha256"].to_pylist(), dtype=object)
    kind = audit.plan.models[0].items
    unlike = np.unique(digests, return_index=True)[1]  # copies are told already
    unlike = np.sort(unlike[digests[unlike] != ""])
    rows = unlike[drawn(np.zeros(len(unlike)), _READ if kind == "texts" else _LOOKED, audit.plan.seed)]
    look = _LOOKS.get(kind, _like_series if timed(audit) else _like_pictures)
    numbers, pairs, said = look(audit, rows)
    if len(numbers) < 2:
        return found
    how: dict[str, Any] = {"labels": [labels[n] for n in numbers] if labels else []}
    how["splits"] = [splits[n] for n in numbers] if splits else []
    return found + near_copies(pairs, of=len(numbers), items=numbers, **said, **how)


def _like_pictures(audit: Audit, rows: Array) -> tuple[Array, Array, dict[str, Any]]:
    """Pictures by a hash of few bits, verified at low resolution."""

    def grey(n: int) -> Array:
        return np.asarray(pooled(audit.picture(n).mean(axis=2)[None], (32, 36))[0])

    kept, small = _readable(rows, grey)
    if len(kept) < 2:
        return kept, np.zeros((0, 2), np.int64), {}
    held = np.stack(small)
    return kept, verified(hash_pairs(difference_hash(held)), lambda some: held[some]), {"words": PICTURES}


def _like_series(audit: Audit, rows: Array) -> tuple[Array, Array, dict[str, Any]]:
    """Series by the cosine of what they hold, without each channel's mean and whatever their loudness."""
    lane = timed(audit)[0]
    time = lane.layout.index("T") - 1
    most = max(2, _BYTES // (4 * max(1, int(np.prod(lane.item)))))

    def centred(n: int) -> Array:
        one = audit.x([n], lane.model)[0].astype(np.float32)
        return np.asarray((one - one.mean(axis=time, keepdims=True)).reshape(-1))

    kept, held = _readable(rows[:most], centred)
    said = {
        "words": f"hold nearly the same recording (cosine of {_SERIES:g} and above, whatever its mean and loudness)",
        "limits": ("Compared moment by moment: the same recording shifted in time is not found.",),
    }
    alive = np.array([float(np.abs(one).max()) > 0 for one in held], bool)
    kept, held = kept[alive], [one for one, there in zip(held, alive, strict=True) if there]
    if len(kept) < 2:
        return kept, np.zeros((0, 2), np.int64), said
    return kept, vector_pairs(np.stack(held), _SERIES, min(5, len(kept) - 1)), said


def _like_rows(audit: Audit, rows: Array) -> tuple[Array, Array, dict[str, Any]]:
    """Rows that agree in every column of the model's; beside how many would by chance."""
    names = audit.plan.models[0].columns
    kept, held = _readable(rows, lambda n: audit.given([n])[0])
    told = {name: [one.get(name) for one in held] for name in names}
    by_chance = shuffled_pairs(told, seed=audit.plan.seed)
    pairs = row_pairs(told)
    limits = [
        "Rows of different people may agree: look at what the columns leave out before one is deleted.",
        f"With each column shuffled by itself {by_chance:,} pairs are as near; here {len(pairs):,} are.",
    ]
    if by_chance * 2 > len(pairs) > 0:
        limits.append("That is not clearly more than chance gives: the columns hold too little to know a copy by.")
    words = f"have nearly the same values in every column (numbers within {percent(NEAR)} of the column's spread)"
    return kept, pairs, {"words": words, "limits": limits}


def _like_texts(audit: Audit, rows: Array) -> tuple[Array, Array, dict[str, Any]]:
    """Texts by the runs of words that they share."""
    kept, held = _readable(rows, lambda n: str(audit.given([n])[0]))
    pairs, _ = text_pairs(held)
    words = f"have nearly the same words (at least {percent(ALIKE)} of the runs of {RUN} words)"
    limits = ("Case, punctuation and spaces are left out. A text that says the same in other words is not found.",)
    return kept, pairs, {"words": words, "limits": limits}


_LOOKS: Mapping[str, Callable[[Audit, Array], tuple[Array, Array, dict[str, Any]]]] = {
    "rows": _like_rows,
    "texts": _like_texts,
}


def _readable(rows: Array, read: Callable[[int], Any]) -> tuple[Array, list[Any]]:
    """The items that can be read, and what was read of each; verify says which cannot."""
    kept, held = [], []
    for n in rows.tolist():
        try:
            held.append(read(int(n)))
        except XplainError:
            continue
        kept.append(n)
    return np.array(kept, np.int64), held
