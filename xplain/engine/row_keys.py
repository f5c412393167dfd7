"""The content of a question's rows: under which key the answer to each is remembered.

    key(row) = sha256( model, input, scores read, card, layout, target read, dtype and shape, bytes of the row )

The bytes are those of the edited row as the model receives it, so the same row is the same key whatever method, chunk
or edit made it. Its layout is part of the key, so that what was remembered while the axes were read in another way is
not found again. Where the target reads class scores alone, the whole score vector is remembered and the target is not
part of the key: one paid evaluation serves every target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from xplain import native
from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.positions.coordinates import UNSTATED
from xplain.core.query import Model, Score
from xplain.core.target import SCORES, EveryScore, Stack, Target, every_score
from xplain.engine.schedule import batch_rows, chunks

__all__ = ["canonical_rows", "row_keys", "runs", "widest"]


def widest(target: Target | Stack | EveryScore) -> Target | Stack | EveryScore:
    """What to ask so that the answer serves most: every score, where the target reads nothing else."""
    return every_score if target.tensors == (SCORES,) else target


def row_keys(model: Model, query: Score) -> list[bytes]:
    """The key of every row that ``query`` asks for, in order.

    Raises:
        UsageError: the model cannot be told from another, so its answers must not be remembered.
    """
    outline = model.outline
    if not outline.digest:
        raise UsageError(
            f"Answers of {outline.source} cannot be remembered: it has no digest, so it cannot be told from another "
            "model. Give it one: ",
            option("version", "2024-05", of="load"),
            ".",
        )
    # what axes measure is drawn and changes no answer, so that naming channels pays for nothing twice
    card = "" if outline.card is None else replace(outline.card, name="", coordinates=UNSTATED).to_toml()
    target = None if isinstance(query.target, EveryScore) else query.target
    read = (outline.input, outline.scores.tensor, outline.scores.kind)  # not how many classes: a function tells late
    axes = query.layout.axes if query.layout is not None else outline.named.letters if outline.named else ""
    prefix = fingerprint(outline.digest, read, card, axes, query.at, target).encode()
    start, stop = query.rows
    keys = []
    for part in chunks(start, stop, batch_rows(query.x, None)):
        keys += [hashlib.sha256(prefix + row).digest() for row in canonical_rows(model, replace(query, part=part))]
    return keys


def canonical_rows(model: Model, query: Score) -> list[bytes]:
    """Each row as bytes: as the model says (``abilities.canonical``), or the edited tensor with its dtype and shape."""
    own = abilities_of(model).canonical
    if own is not None:
        return list(own(query))
    rows = _filled(query, model)
    head = f"{rows.dtype.str}{rows.shape[1:]}".encode()
    return [head + row.tobytes() for row in rows]


def _filled(query: Score, model: Model) -> Array:
    start, stop = query.rows
    if isinstance(query.edits, Untouched):
        return np.ascontiguousarray(query.x[start:stop])
    x = np.ascontiguousarray(query.x, dtype=np.float32)
    out = np.empty((stop - start, *x.shape[1:]), dtype=np.float32)
    native.fill(x, query.edits, start, stop, out, query.layout_in(model.outline))
    return out


def runs(rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Increasing row numbers as pieces ``(start, stop)`` without gaps."""
    first = previous = -2
    for row in rows:
        if row != previous + 1:
            if first >= 0:
                yield first, previous + 1
            first = row
        previous = row
    if first >= 0:
        yield first, previous + 1
