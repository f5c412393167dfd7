"""An embedding: each item as the numbers that a layer makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import MissingDependency
from xplain.core.keeping.files import whole_file
from xplain.core.keeping.plain import counted
from xplain.core.lenses.embedding import Vectors
from xplain.core.lenses.kept_vectors import kept_in
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import fit
from xplain.results.provenance import Provenance
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

__all__ = ["Embedding"]

_GROUP = 8192  # rows of a Parquet file that are written together


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding(Result):
    """Vectors of N items.

    Args:
        vectors: float32 ``[N, D]``; mapped from the disk where they were kept in a folder.
        predicted: The class of each that the model predicts; empty where it predicts none.
        truth: The folder that each lies in, where folders are labels; else empty.
        confidence: The largest score of each, in the model's own unit; NaN where there is none.
    """

    what: ClassVar[str] = "embedding"
    made_of: ClassVar[type[Any] | None] = Vectors
    checks: ClassVar[Mapping[str, Check]] = dict.fromkeys(("predicted", "truth"), ("a list of texts", list_of(text)))

    vectors: Array = field(metadata=ARRAY_PER_ITEM)
    predicted: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    truth: tuple[str, ...] = field(default=(), metadata=PER_ITEM)
    confidence: Array = field(metadata=ARRAY_PER_ITEM)

    def __repr__(self) -> str:
        layer = self.facts.get("layer", "")
        return (
            f"<Embedding {layer}: vectors {list(self.vectors.shape)}, {counted(self.cost.queries, 'query', 'queries')}>"
        )

    @property
    def kept(self) -> bool:
        """Whether the vectors lie in a folder of their own, so that nobody need write them once more."""
        return isinstance(self.vectors, np.memmap)

    def to_parquet(self, path: str | os.PathLike[str]) -> Path:
        """Write one Parquet file, whole or not at all: ``name``, ``predicted``, ``truth``, ``confidence``, ``vector``.

        Rows are written in groups of 8,192, so memory does not grow with their number. The layer, the model's digest
        and what else ``facts`` say stand in the file's metadata, under ``xplain``.

        Raises:
            MissingDependency: pyarrow is not installed.
            OutputError: the place cannot be written.
        """
        import json

        try:
            import pyarrow as pa
            from pyarrow import parquet
        except ImportError:
            raise MissingDependency("Parquet files need pyarrow: pip install 'xplain[see]'.") from None
        width = self.vectors.shape[1]
        columns = [("name", pa.string()), ("predicted", pa.string()), ("truth", pa.string())]
        columns += [("confidence", pa.float64()), ("vector", pa.list_(pa.float32(), width))]
        told = {"model": self.model, **{k: v for k, v in self.meta()["notes"].items() if k != "without a vector"}}
        schema = pa.schema(columns, metadata={"xplain": json.dumps(told)})
        target = Path(path)
        with whole_file(target) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for start in range(0, len(self), _GROUP):
                some = slice(start, start + _GROUP)
                flat = np.ascontiguousarray(self.vectors[some], np.float32).reshape(-1)
                count = len(flat) // width
                values = [
                    pa.array(self.names[some]),
                    pa.array(self.predicted[some] or [None] * count, pa.string()),
                    pa.array(self.truth[some] or [None] * count, pa.string()),
                    pa.array(np.asarray(self.confidence[some])),
                    pa.FixedSizeListArray.from_arrays(pa.array(flat), width),
                ]
                writer.write_table(pa.Table.from_arrays(values, schema=schema))
        return target

    @classmethod
    def of_folder(cls, path: str | os.PathLike[str]) -> Self:
        """What ``vectors=`` keeps in a folder, the vectors mapped and not read.

        Raises:
            UsageError: it is no folder of vectors.
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
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in ("predicted", "truth")}})
