"""Texts and rows of a table that are nearly the same: edited copies, and rows that were typed twice.

Texts are compared by the runs of words that they share, whatever their case, punctuation or spaces; rows by their
columns, each number by its own spread. Both find *all* pairs that meet the stated condition, and no other.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["ALIKE", "NEAR", "RUN", "row_pairs", "runs", "shuffled_pairs", "text_pairs"]

RUN = 3
"""Words of a run."""
ALIKE = 0.6
"""Share of runs in common from which texts are called near copies: in a text of twenty words one was changed."""
NEAR = 0.02
"""Of a column's spread: how far numbers of near rows lie apart at most."""

_WORD = re.compile(r"\w+")


def runs(text: str) -> frozenset[tuple[str, ...]]:
    """The runs of three neighbouring words of a text, in small letters, without punctuation; shorter texts as a whole.

    The text's two ends count as words, so that a text and its own beginning differ at the end.
    """
    words = _WORD.findall(text.casefold())
    if not words:
        return frozenset()
    marked = ["", *words, ""]
    return frozenset(tuple(marked[k : k + RUN]) for k in range(max(1, len(marked) - RUN + 1)))


def text_pairs(texts: Sequence[str], alike: float = ALIKE) -> tuple[Array, Array]:
    """All pairs of texts whose runs have at least this much in common, the lower row first.

    ``|A and B| / |A or B| >= alike`` (Jaccard). Runs are ordered from the rarest; two sets that are so much alike share
    one of the first ``|A| - ceil(alike |A|) + 1`` of each, so only texts that do are compared. Exact, and fast where
    few texts are copies.

    Returns:
        int64 ``[P, 2]``, and the likeness of each pair, float64 ``[P]``. Texts without a word are in none.

    Raises:
        UsageError: ``alike`` is no share above 0.

    Source:
        Chaudhuri, Ganti and Kaushik, A Primitive Operator for Similarity Joins, ICDE 2006 (prefix filter).
    """
    if not 0 < alike <= 1:
        raise UsageError(option="alike", got=alike, accepted="a share above 0, up to 1")
    sets = [runs(one) for one in texts]
    often = Counter(run for one in sets for run in one)
    holders: dict[tuple[str, ...], list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    likeness: list[float] = []
    for row, own in enumerate(sets):
        ordered = sorted(own, key=lambda run: (often[run], run))
        near: set[int] = set()
        for run in ordered[: len(own) - ceil(alike * len(own) - 1e-9) + 1]:
            near.update(holders[run])
            holders[run].append(row)
        for other in sorted(near):
            shared = len(own & sets[other])
            share = shared / (len(own) + len(sets[other]) - shared)
            if share >= alike - 1e-12:
                pairs.append((other, row))
                likeness.append(share)
    order = sorted(range(len(pairs)), key=pairs.__getitem__)
    found = np.array([pairs[k] for k in order], np.int64).reshape(-1, 2)
    return found, np.array([likeness[k] for k in order], np.float64)


def row_pairs(rows: Mapping[str, Sequence[Any]], near: float = NEAR) -> Array:
    """All pairs of rows that agree in every column: texts and truth values are equal, numbers nearly so.

    A number counts by its column's spread, from the 5th to the 95th percentile (from least to largest where these are
    one); a column that has one value everywhere says nothing. Missing values agree with missing ones alone.

    Args:
        rows: Values by column, None or NaN where one is missing.
        near: How far numbers lie apart at most, as a share of the spread.

    Returns:
        int64 ``[P, 2]``, the lower row first, ordered.
    """
    kinds, points = _coded(rows)
    return _close(kinds, points, near)


def shuffled_pairs(rows: Mapping[str, Sequence[Any]], near: float = NEAR, seed: int = 0) -> int:
    """Pairs that are near where each column is shuffled by itself: how many rows are alike by chance.

    A table of few columns with few values has many; rows that go together in the data have more than the shuffled ones
    for that reason too, so it is a lower bound of chance.
    """
    from scipy.spatial import cKDTree

    rng = np.random.default_rng([seed, 0x5D])
    orders = {name: rng.permutation(len(values)) for name, values in rows.items()}
    kinds, points = _coded({name: [values[k] for k in orders[name]] for name, values in rows.items()})
    count = 0
    for some in _of_one_kind(kinds):
        if points.shape[1]:
            tree = cKDTree(points[some])
            count += (int(tree.count_neighbors(tree, near * (1 + 1e-9), p=np.inf)) - len(some)) // 2
        else:
            count += len(some) * (len(some) - 1) // 2
    return count


def _coded(rows: Mapping[str, Sequence[Any]]) -> tuple[Array, Array]:
    """What must be equal, int64 ``[N]``, and numbers in units of their spread, float64 ``[N, D]``."""
    count = len(next(iter(rows.values()), ()))
    keys: list[list[Any]] = []
    points: list[Array] = []
    for values in rows.values():
        gaps = [one is None or one != one for one in values]
        there = [one for one, gap in zip(values, gaps, strict=True) if not gap]
        if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in there):
            keys.append([None if gap else str(one) for one, gap in zip(values, gaps, strict=True)])
            continue
        keys.append(list(gaps))
        numbers = np.array([0.0 if gap else float(one) for one, gap in zip(values, gaps, strict=True)])
        known = numbers[~np.array(gaps, bool)]
        if not len(known):
            continue
        low, high = np.quantile(known, (0.05, 0.95))
        low, high = (low, high) if high > low else (known.min(), known.max())
        if high > low:
            points.append(numbers / (high - low))
    codes = {key: k for k, key in enumerate(dict.fromkeys(zip(*keys, strict=True)))} if keys else {}
    kinds = np.array([codes[key] for key in zip(*keys, strict=True)], np.int64) if keys else np.zeros(count, np.int64)
    return kinds, np.stack(points, axis=1) if points else np.zeros((count, 0))


def _close(kinds: Array, points: Array, near: float) -> Array:
    """Pairs of one kind whose points differ by at most ``near`` in every direction."""
    found = [np.sort(rows[_pairs(points[rows], near)], axis=1) for rows in _of_one_kind(kinds)]
    return np.unique(np.concatenate(found), axis=0).astype(np.int64) if found else np.zeros((0, 2), np.int64)


def _of_one_kind(kinds: Array) -> list[Array]:
    """Rows of each kind that has several."""
    order = np.argsort(kinds, kind="stable")
    return [rows for rows in np.split(order, np.flatnonzero(np.diff(kinds[order])) + 1) if len(rows) > 1]


def _pairs(points: Array, near: float) -> Array:
    """Pairs of points that are near one another; of points without a number all."""
    from scipy.spatial import cKDTree

    if not points.shape[1]:
        return np.stack(np.triu_indices(len(points), 1), axis=1)
    return np.asarray(cKDTree(points).query_pairs(near * (1 + 1e-9), p=np.inf, output_type="ndarray"))
