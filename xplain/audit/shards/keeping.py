"""What is kept of a lane of a shard: columns of records, and maps and vectors in half precision, batch after batch.

Maps and vectors go to their parts as they come, so that a shard's memory does not follow from its number of rows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from xplain.audit.canonical import needed
from xplain.audit.plans.plan import ModelFacts
from xplain.audit.shards.figures import entropies, own_geometry, relative
from xplain.audit.shards.reading import Planned
from xplain.audit.shards.trays import Full
from xplain.audit.stores import schema
from xplain.core.edits import Array
from xplain.core.lane import LaneAnswer
from xplain.session.lanes.lane import Opened

__all__ = ["Grows", "Kept"]


class Grows(Protocol):
    """A part that is written block by block; what ``end`` says of it is the caller's."""

    def write(self, block: bytes | memoryview) -> None:
        """Some more bytes."""

    def end(self) -> Any:
        """All are there."""

    def drop(self) -> None:
        """Let go of what was not ended."""


class Kept:
    """What is kept of one lane of a shard.

    Args:
        opened: The lane.
        facts: Its model.
        rows: Items of the shard.
        maps: Where its maps go, an npy file.
        relevance: Where its vectors go, another.
    """

    def __init__(self, opened: Opened, facts: ModelFacts, rows: int, maps: Grows, relevance: Grows) -> None:
        self.opened, self.facts, self.maps, self.relevance = opened, facts, maps, relevance
        self._texts: dict[str, list[str | None]] = {}
        self._numbers: dict[str, list[tuple[Array, Array]]] = {}
        maps.write(_head((rows, *opened.lane.native_shape)))
        relevance.write(_head((rows, opened.lane.relevance)))

    def keep(self, full: Full, answer: LaneAnswer) -> list[str | None]:
        """Keep what a lane says of a batch; of each item, why it is an error row, None where it is none."""
        count, facts = len(full.items), self.facts
        why = [one or answer.why.get(row) for row, one in enumerate(full.why)]
        fine = np.array([one is None for one in why])
        for part, values in ((self.maps, answer.maps), (self.relevance, answer.relevance)):
            half, _ = relative(values)
            part.write(np.ascontiguousarray(half[:count]).reshape(-1).view(np.uint8).data)
        with np.errstate(invalid="ignore"):
            axes = self.opened.lane.map_axes
            described = own_geometry(answer.maps, answer.extents, facts.items != "rows", axes)
            told = {name: one[:count] for name, one in described.items()}
            flat = None if answer.error is None else answer.error.reshape(len(answer.error), -1).astype(np.float64)
            told["error_mean"] = np.full(count, np.nan)
            if flat is not None:
                own = flat.shape[1] if answer.extents is None else answer.extents
                told["error_mean"] = (flat.sum(axis=1) / own)[:count]
            classes, said = _predictions(answer.scores[:count], fine, self.opened)
        told |= said | {"value": answer.values[:count]}
        classes["target"] = answer.targets[:count]
        labels = full.rows.labels[:count]
        for name, values in told.items():
            self._number(name, values, fine & np.isfinite(values))
        for name, values in classes.items():
            self._number(name, values, fine & (values >= 0))
        self._number("label_class", labels, labels >= 0)
        self._number("seed", np.array(full.seeds, np.uint64), np.ones(count, bool))
        first = classes["predicted"]
        self._number("correct", labels == first, fine & (labels >= 0) & (first >= 0))
        words = answer.words or str(self.opened.lane.target)
        for name, values in classes.items():
            otherwise = words if name == "target" else None
            self._texts.setdefault(f"{name}_name", []).extend(
                None if not good else otherwise if one < 0 else facts.class_name(one)
                for one, good in zip(values.tolist(), fine.tolist(), strict=True)
            )
        self._texts.setdefault("error", []).extend(why)
        return why

    @property
    def errors(self) -> int:
        """Error rows so far."""
        return sum(one is not None for one in self._texts.get("error", ()))

    def table(self, planned: Sequence[Planned]) -> Any:
        """The lane's records, in the order of items; a ``pyarrow.Table``."""
        pa, count = needed("pyarrow"), len(planned)
        kinds = {one.name: pa.type_for_alias(one.kind) for one in schema.RECORDS}
        numbers = {}
        for name, several in self._numbers.items():
            values, there = (np.concatenate(part) for part in zip(*several, strict=True))
            kind = kinds[name]
            numbers[name] = pa.array(_as(values, kind.to_pandas_dtype()), kind, mask=~there)
        own = {
            "item": [item.number for item in planned],
            "sha256": [item.sha256 for item in planned],
            "name": [item.name for item in planned],
            "label": [item.label for item in planned],
            "lane": [self.opened.lane.name] * count,
            "status": ["ok" if one is None else "error" for one in self._texts["error"]],
        }
        return schema.table_of(schema.RECORDS, {**numbers, **self._texts, **own})

    def _number(self, name: str, values: Array, there: Array) -> None:
        self._numbers.setdefault(name, []).append((values, there))


def _as(values: Array, kind: Any) -> Array:
    """Values in the type of their column; a number beyond single precision becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values).astype(kind)


def _predictions(scores: Array, fine: Array, opened: Opened) -> tuple[dict[str, Array], dict[str, Array]]:
    """What scores predict: the best two classes, -1 where there is none; their distance, and how sure the model is."""
    count, classes = scores.shape
    safe = np.where(np.isfinite(scores), scores, np.finfo(np.float64).min)
    rows, none, nothing = np.arange(count), np.full(count, -1, np.int64), np.full(count, np.nan)
    first, second, top, margin = none, none, nothing, nothing
    if classes:
        first = safe.argmax(axis=1)
        top = scores[rows, first]
    if classes > 1:
        safe[rows, first] = -np.inf
        second = safe.argmax(axis=1)
        margin = top - scores[rows, second]
    good = np.where(fine[:, None], scores, 0.0)
    told = {"score": top, "margin": margin, "entropy": entropies(good, opened.outline)}
    return {"predicted": first, "second": second}, told


def _head(shape: tuple[int, ...]) -> bytes:
    """What stands in front of the values of an npy file of float16, of a version whose bytes are fixed."""
    file = io.BytesIO()
    facts = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float16)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, facts)
    return file.getvalue()
