"""Items that are there twice, and leaks: the same picture in training and in test.

Exact copies have one sha256. Near ones (recompressed, resized, brightened) have perceptual hashes that differ in few
bits, or vectors that point the same way; both only propose, and a comparison of the pictures decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from xplain.analyses.chance import wilson
from xplain.analyses.enough import percent
from xplain.analyses.neighbours import nearest
from xplain.analyses.shares import pooled
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.finding import Finding
from xplain.core.keeping.plain import counted

__all__ = [
    "ALIKE",
    "LOOKED",
    "PICTURES",
    "copies",
    "difference_hash",
    "hash_pairs",
    "near_copies",
    "vector_pairs",
    "verified",
]

ALIKE = 0.95
"""Correlation of two small pictures from which they are called the same picture."""

PICTURES = "show the same picture (resized, recompressed or brightened)"
"""What near copies among pictures do, in words."""
LOOKED = "Proposed by few bits, verified at low resolution: look before one is deleted."

_PLAIN = 2.0
"""Standard deviation of grey values (0 to 255) below which a picture has nothing to be told by."""


def copies(
    digests: Sequence[str], *, labels: Sequence[Any] = (), splits: Sequence[Any] = (), items: Any = None
) -> list[Finding]:
    """Items of the same content: how many, how many with different labels, how many on both sides of a split.

    Args:
        digests: sha256 of each item; "" where it could not be read.
        labels: Each item's label, None where it has none; empty for no labels.
        splits: Each item's split, such as train or test; empty for none.
        items: The items' numbers; None for 0, 1, ...

    Returns:
        One measured finding; one more each where copies lie on both sides of a split, or have different labels.
    """
    numbers = np.arange(len(digests)) if items is None else np.asarray(items, np.int64)
    names, own = np.unique(np.asarray(digests, dtype=str), return_inverse=True)
    order = np.argsort(own, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(own, minlength=len(names)))[:-1])
    doubled = [rows for name, rows in zip(names, groups, strict=True) if name and len(rows) > 1]
    return _told("exact", "have the same content, byte for byte", doubled, labels, splits, numbers)


def near_copies(
    pairs: Array,
    *,
    of: int,
    labels: Sequence[Any] = (),
    splits: Sequence[Any] = (),
    items: Any = None,
    words: str = PICTURES,
    limits: Sequence[str] = (LOOKED,),
) -> list[Finding]:
    """What verified pairs say; pairs that hang together are one group.

    Args:
        pairs: Rows that show the same picture, int ``[P, 2]``.
        of: Items that were compared.
        labels: As in ``copies``.
        splits: As in ``copies``.
        items: The items' numbers; None for 0, 1, ...
        words: What two near items do, behind "items" in the sentence.
        limits: What must be known of how they were found.
    """
    numbers = np.arange(of) if items is None else np.asarray(items, np.int64)
    parent = {int(n): int(n) for n in np.unique(pairs)}

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for a, b in pairs.tolist():
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    joined: dict[int, list[int]] = {}
    for n in sorted(parent):
        joined.setdefault(root(n), []).append(n)
    groups = [np.array(rows) for rows in joined.values()]
    return _told("near", words, groups, labels, splits, numbers, limits)


def difference_hash(grey: Any) -> Array:
    """64 bits of each picture: whether each of 8 x 9 cells is brighter than its right neighbour: uint64 ``[N]``.

    A picture without contrast has no hash: 0, which ``hash_pairs`` leaves out.

    Args:
        grey: ``[N, H, W]``, 0 to 255.

    Source:
        Krawetz, Kind of Like That, 2013 (dHash).
    """
    given = np.asarray(grey, np.float32)
    cells = pooled(given, (8, 9))
    bits = (cells[:, :, :-1] > cells[:, :, 1:]).reshape(len(cells), 64)
    packed = np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)
    return np.where(given.std(axis=(1, 2)) < _PLAIN, np.uint64(0), packed)


def hash_pairs(hashes: Any, most: int = 3) -> Array:
    """All pairs of rows whose hashes differ in at most ``most`` bits: int64 ``[P, 2]``, the lower row first.

    Hashes are cut into ``most + 1`` pieces: two that differ in so few bits have one piece in common, so only rows of
    one piece are compared. Exact, and linear where few pictures look alike.

    Args:
        hashes: uint64 ``[N]``; 0 stands for none.
        most: Bits, 0 to 7.
    """
    if not 0 <= most <= 7:
        raise UsageError(option="most", got=most, accepted="0 to 7 bits; more would call different pictures alike")
    given = np.asarray(hashes, np.uint64)
    rows = np.flatnonzero(given)
    edges = np.linspace(0, 64, most + 2).round().astype(int)
    found: list[Array] = []
    for low, high in pairwise(edges.tolist()):
        piece = (given[rows] >> np.uint64(low)) & np.uint64(2 ** (high - low) - 1)
        order = rows[np.argsort(piece, kind="stable")]
        ordered = np.sort(piece, kind="stable")
        step = 1
        while step < len(order):  # each row with the next, the one after, ... as long as the piece is the same
            same = np.flatnonzero(ordered[step:] == ordered[:-step])
            if not len(same):
                break
            a, b = order[same], order[same + step]
            near = _bits(given[a] ^ given[b]) <= most
            found.append(np.sort(np.stack([a[near], b[near]], axis=1), axis=1))
            step += 1
    return np.unique(np.concatenate(found), axis=0) if found else np.zeros((0, 2), np.int64)


def _bits(values: Array) -> Array:
    """How many bits of each are set."""
    octets = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), 8)
    return np.asarray(np.unpackbits(octets, axis=1).sum(axis=1))


def vector_pairs(vectors: Any, cosine: float = 0.98, k: int = 5) -> Array:
    """Pairs of rows whose vectors point the same way: each with its ``k`` nearest by cosine, int64 ``[P, 2]``."""
    near = nearest(np.asarray(vectors), k, metric="cosine")
    rows = np.repeat(np.arange(len(near.index)), near.index.shape[1])
    close = near.distance.reshape(-1) <= 1 - cosine
    both = np.sort(np.stack([rows[close], near.index.reshape(-1)[close]], axis=1), axis=1)
    return np.unique(both, axis=0)


def verified(pairs: Array, look: Callable[[Array], Array], alike: float = ALIKE) -> Array:
    """The pairs whose small pictures correlate at ``alike`` at least.

    Args:
        pairs: int ``[P, 2]``.
        look: Rows to grey pictures ``[n, H, W]``, all of one size; asked for 512 at a time.
        alike: The correlation.
    """
    kept = []
    for start in range(0, len(pairs), 256):
        some = pairs[start : start + 256]
        rows, place = np.unique(some, return_inverse=True)
        small = np.asarray(look(rows), np.float64).reshape(len(rows), -1)
        small = small - small.mean(axis=1, keepdims=True)
        length = np.linalg.norm(small, axis=1)
        a, b = place.reshape(-1, 2).T
        size = length[a] * length[b]
        same = np.divide((small[a] * small[b]).sum(axis=1), size, out=np.zeros(len(size)), where=size > 0)
        kept.append(some[same >= alike])
    return np.concatenate(kept) if kept else np.zeros((0, 2), np.int64)


def _told(
    how: str,
    words: str,
    groups: Sequence[Array],
    labels: Sequence[Any],
    splits: Sequence[Any],
    numbers: Array,
    more: Sequence[str] = (),
) -> list[Finding]:
    doubled = sum(len(rows) for rows in groups)
    limits = ("Only items of this audit are compared: a copy that is not in it is not found.", *more)
    share, bounds = doubled / max(1, len(numbers)), wilson(doubled, len(numbers))
    text = f"{doubled:,} of {len(numbers):,} items ({percent(share)}) {words} as another one."
    if not doubled:
        text = f"No two of {len(numbers):,} items {words}."
    members = numbers[np.concatenate(groups)[:24]] if groups else np.zeros(0, np.int64)
    found = [
        Finding(
            *("duplicates", "", text, "measured", share, "share of items", bounds, None, len(numbers), members),
            evidence={"how": how, "copies": _listed(groups, numbers)},
            limits=limits,
        )
    ]
    for kind, values, said in (
        ("leak", splits, "are on both sides of a split: what is measured on one side was seen on the other"),
        ("labels", labels, _SAID[how]),
    ):
        if not len(values):
            continue
        named = [[str(values[n]) for n in rows if values[n] is not None] for rows in groups]
        mixed = [rows for rows, seen in zip(groups, named, strict=True) if len(set(seen)) > 1]
        if mixed:
            count = sum(map(len, mixed))
            found.append(
                Finding(
                    "duplicates",
                    kind,
                    f"{count:,} items in {counted(len(mixed), 'group')} of copies {said}.",
                    "candidate" if how == "near" else "measured",
                    float(count),
                    "items",
                    count=len(numbers),
                    members=numbers[np.concatenate(mixed)[:24]],
                    evidence={"how": how, "copies": _listed(mixed, numbers)},
                    limits=limits,
                )
            )
    return found


_SAID = {
    "exact": "have different labels: at least one of each is wrong",
    "near": "have different labels: a label is wrong, or what little differs is what matters",
}


def _listed(groups: Sequence[Array], numbers: Array) -> Array:
    """Group and item of each copy, int64 ``[M, 2]``, of the first 200 groups."""
    rows = [np.stack([np.full(len(rows), k), numbers[rows]], axis=1) for k, rows in enumerate(groups[:200])]
    return np.concatenate(rows).astype(np.int64) if rows else np.zeros((0, 2), np.int64)
