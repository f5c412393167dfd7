"""Vectors that were kept, in place of items: what they are, and where they lie; they are mapped, and never all read."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there
from xplain.core.keeping.mapped import chosen
from xplain.core.lenses.vector_folder import content_key, differences, vectors_in
from xplain.core.lenses.vector_table import is_table, table_in

__all__ = ["KeptVectors", "aligned", "holds_vectors", "kept_in"]


@dataclass(frozen=True, slots=True, eq=False)
class KeptVectors:
    """One vector for each of N items, made before.

    Args:
        source: What a message calls them: the folder's path, or the file's.
        about: What they are, as their manifest says: ``model`` (its digest), ``layer``, ``positions``, ``card``,
            ``layout``, and ``keys``, how items that are no files are told apart (older versions wrote none).
        names: Of the items: a file by its path.
        keys: Of the items' content; empty where they are not known.
        vectors: float32 ``[N, D]``, mapped from the disk where they lie there.
        predicted: The class of each that the model predicts; empty where it predicts none.
        confidence: float64 ``[N]``: the largest score of each; NaN where there is none.
        truth: The true class of each; empty where it was not kept.
        failed: Items without a vector, and why.
    """

    source: str
    about: Mapping[str, Any]
    names: tuple[str, ...]
    keys: tuple[str, ...]
    vectors: Array
    predicted: tuple[str, ...]
    confidence: Array
    truth: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def layer(self) -> str:
        """The layer that the vectors are of."""
        return str(self.about.get("layer", ""))

    def require(self, **wanted: Any) -> None:
        """Check that the vectors are of what is asked for.

        Raises:
            UsageError: they are of something else; the message says what differs.
        """
        told = differences(self.about, wanted)
        if told:
            raise UsageError(
                f"{self.source} holds vectors of something else: {told}. Ask for what they are of, or keep others with "
                "'xplain see embed' in another folder."
            )

    def picture(self, n: int) -> str | None:
        """Where an item's picture lies; None where it is no file, is gone, or is another one by now."""
        if not self.keys:
            return None
        name = self.names[n]
        return name if there(name) == "file" and content_key(name) == self.keys[n] else None

    def only(self, rows: Sequence[int]) -> KeptVectors:
        """Some of the items, in an order; ``vectors`` stay those of all where these are all in theirs."""
        if list(rows) == list(range(len(self))):
            return self
        names, keys, predicted, truth = (
            tuple(one[n] for n in rows) if one else () for one in (self.names, self.keys, self.predicted, self.truth)
        )
        return replace(
            self,
            names=names,
            keys=keys,
            vectors=chosen(self.vectors, np.asarray(rows, np.int64)),
            predicted=predicted,
            confidence=self.confidence[list(rows)],
            truth=truth,
        )


def kept_in(path: str | os.PathLike[str]) -> KeptVectors:
    """What a folder of vectors holds, or a Parquet file of them; a line of text is let go as soon as it is read.

    Raises:
        UsageError: it is no folder or file of vectors, or was not finished whole.
        MissingDependency: a Parquet file, and pyarrow is not installed.
    """
    about, lines, vectors = table_in(path) if is_table(path) else vectors_in(path)
    names: list[str] = []
    keys: list[str] = []
    rows: list[int] = []
    predicted: list[str] = []
    truth: list[str] = []
    confidence: list[float] = []
    failed: list[tuple[str, str]] = []
    seen: dict[str, str] = {}  # one text per class, not per item
    for line in lines:
        if line.get("row") is None:
            failed.append((line["name"], str(line.get("error", ""))))
            continue
        names.append(line["name"])
        keys.append(line["key"])
        rows.append(line["row"])
        for column, name in ((predicted, "predicted"), (truth, "truth")):
            label = str(line.get(name, ""))
            column.append(seen.setdefault(label, label))
        score = line.get("confidence")
        confidence.append(score if isinstance(score, float) else np.nan)
    order = np.array(rows, np.int64)
    return KeptVectors(
        source=os.fspath(path),
        about=about,
        names=tuple(names),
        keys=tuple(keys) if all(keys) else (),
        vectors=chosen(vectors, order),
        predicted=tuple(predicted) if any(predicted) else (),
        confidence=np.array(confidence, np.float64),
        truth=tuple(truth) if any(truth) else (),
        failed=tuple(failed),
    )


def holds_vectors(path: Any) -> bool:
    """Whether a path leads to a folder that ``see embed`` has begun, or to a Parquet file."""
    try:
        if is_table(path):
            return there(path) == "file"
        return all(there(Path(path) / name) == "file" for name in ("manifest.json", "vectors.npy"))
    except (TypeError, ValueError):
        return False


def aligned(several: Sequence[KeptVectors]) -> tuple[KeptVectors, ...]:
    """The items that all have, in the first one's order: told by their content, or by name where that is not known.

    Raises:
        UsageError: they have no item in common.
    """
    if len(several) == 1:
        return tuple(several)
    every = [_marks(one) for one in several]
    if all(marks == every[0] for marks in every[1:]):
        return tuple(several)
    common = set(every[0]).intersection(*every[1:])
    if not common:
        told = ", ".join(f"{one.source} ({len(one)})" for one in several)
        old = [one for one in several if not one.about.get("keys")]
        if 0 < len(old) < len(several):
            raise UsageError(
                f"These have no item in common, by their content: {told}. {old[0].source} was kept by an older "
                "version, which told tensors apart in another way: keep these once more, in another folder."
            )
        raise UsageError(f"These have no item in common, by their content: {told}. Keep vectors of the same items.")
    return tuple(one.only(_rows(marks, every[0], common)) for one, marks in zip(several, every, strict=True))


def _rows(marks: Sequence[str], order: Sequence[str], common: Collection[str]) -> list[int]:
    place = {mark: n for n, mark in enumerate(marks)}
    return [place[mark] for mark in order if mark in common]


def _marks(kept: KeptVectors) -> list[str]:
    """What tells each item from the others: its content, and which of several copies it is."""
    seen: dict[str, int] = {}
    found = []
    for key in kept.keys or kept.names:
        seen[key] = number = seen.get(key, -1) + 1
        found.append(f"{key}+{number}")
    return found
