"""An embedding: each item as the numbers that a layer makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lenses.embedding import Vectors
from xplain.core.lenses.kept_vectors import KeptVectors, kept_in
from xplain.core.lenses.vector_folder import KEYS
from xplain.core.lenses.vector_table import write_table
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import fit
from xplain.results.provenance import Provenance
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

__all__ = ["Embedding"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(Result):
    """Vectors of N items.

    Args:
        vectors: float32 ``[N, D]``; mapped from the disk where they were kept in a folder.
        predicted: The class of each that the model predicts; empty where it predicts none.
        truth: The folder that each lies in, where folders are labels; else empty.
        confidence: The largest score of each, in the model's own unit; NaN where there is none.
        keys: Of each item's content, where vectors were kept: a file's bytes, or its numbers.
    """

    what: ClassVar[str] = "embedding"
    made_of: ClassVar[type[Any] | None] = Vectors
    checks: ClassVar[Mapping[str, Check]] = dict.fromkeys(
        ("predicted", "truth", "keys"), ("a list of texts", list_of(text))
    )

    vectors: Array = field(metadata=ARRAY_PER_ITEM)
    predicted: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    truth: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    confidence: Array = field(metadata=ARRAY_PER_ITEM)
    keys: tuple[str, ...] = field(default=(), metadata=PER_ITEM)

    def __repr__(self) -> str:
        layer = self.facts.get("layer", "")
        return (
            f"<Embedding {layer}: vectors {list(self.vectors.shape)}, {counted(self.cost.queries, 'query', 'queries')}>"
        )

    @property
    def kept(self) -> bool:
        """Whether the vectors lie in a folder of their own, so that nobody need write them once more."""
        return "kept in" in self.facts

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write one Parquet file, whole or not at all, that lenses on vectors take in place of the items.

        Its columns are ``name``, ``key``, ``predicted``, ``truth``, ``confidence`` and ``vector``.

        Rows are written in groups of 8,192, so memory does not grow with their number. The layer, the model's digest
        and what else ``facts`` say stand in the file's metadata, under ``xplain``.

        Raises:
            MissingDependency: pyarrow is not installed.
            OutputError: the place cannot be written.
        """
        kept = self.kept_vectors()
        lines = (
            {
                "name": kept.names[n],
                "key": kept.keys[n] if kept.keys else None,
                "row": n,
                "predicted": self.predicted[n] if self.predicted else None,
                "truth": self.truth[n] if self.truth else None,
                "confidence": float(self.confidence[n]),
            }
            for n in range(len(self))
        )
        notes = self.meta()["notes"]
        failed = [(one["item"], one["error"]) for one in notes.pop("without a vector", ())]
        return write_table(path, kept.about, lines, self.vectors, failed, notes)

    def kept_vectors(self) -> KeptVectors:
        """The same for a lens that takes vectors in place of items."""
        asked = self.options.get("positions")
        return KeptVectors(
            source=str(self.facts.get("kept in", "the embedding")),
            about={
                "model": self.model,
                "source": self.provenance.source,
                "layer": self.facts.get("layer", ""),
                "positions": asked or "none",
                "card": self.provenance.card,
                "layout": self.provenance.layout,
                **({"keys": KEYS} if self.keys else {}),
            },
            names=self.names,
            keys=self.keys,
            vectors=self.vectors,
            predicted=self.predicted,
            confidence=self.confidence,
            truth=self.truth,
        )

    @classmethod
    def of_folder(cls, path: str | os.PathLike[str]) -> Self:
        """What ``vectors=`` keeps in a folder or a Parquet file, a folder's vectors mapped and not read.

        Raises:
            UsageError: it is no folder and no file of vectors.
        """
        kept = kept_in(path)
        about = kept.about
        facts: dict[str, Any] = {name: about[name] for name in ("layer", "positions", "width") if name in about}
        origin: dict[str, Any] = {name: str(about.get(name, "")) for name in ("model", "source", "card", "layout")}
        asked = {"vectors": kept.source, "layer": kept.layer, "positions": about.get("positions")}
        return cls(
            provenance=Provenance(method="embed", options=asked, **origin),
            names=kept.names,
            vectors=kept.vectors,
            predicted=kept.predicted,
            truth=kept.truth,
            confidence=kept.confidence,
            keys=kept.keys,
            facts={**facts, "kept in": kept.source},
        )

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        found = fit(arrays, {"vectors": ("f", ("N", "D")), "confidence": ("f", ("N",))}, gaps=("confidence",))
        if not found["D"]:
            raise Fault("its vectors have no numbers")
        return found["N"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """An embedding with these fields; tuples are still lists."""
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in ("predicted", "truth", "keys")}})
