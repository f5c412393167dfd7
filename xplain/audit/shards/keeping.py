"""What is kept of a lane of a shard: columns of records, and maps and vectors in half precision.

A few batches of small maps are described together, for a call of numpy costs as much as a hundred of them; large maps
as they come, for to join them would copy them. No number depends on which. Maps and vectors go to their parts at once,
so that a shard's memory does not follow from its number of rows.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from xplain.audit.canonical import needed
from xplain.audit.plans.plan import ModelFacts
from xplain.audit.shards.figures import described, entropies, halved, largest
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


_ROWS = 128
"""Rows that are described together, at most, where their maps are small."""
_VALUES = 1 << 17
"""Values of maps from which they are no longer waited for."""


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
        self.errors = 0
        self._waiting: list[_Waits] = []
        self._values = math.prod(opened.lane.native_shape)
        self._texts: dict[str, list[str | None]] = {}
        self._numbers: dict[str, list[tuple[Array, Array]]] = {}
        maps.write(_head((rows, *opened.lane.native_shape)))
        relevance.write(_head((rows, opened.lane.relevance)))

    def take(self, full: Full, asked: Callable[[], LaneAnswer]) -> None:
        """Keep what a lane says of a batch.

        Args:
            full: The batch.
            asked: Says what was answered; see ``Opened.asked``.
        """
        self._waiting.append(_Waits(asked, full.why, full.rows.labels, full.seeds))
        rows = sum(len(one.why) for one in self._waiting)
        if rows >= _ROWS or rows * self._values >= _VALUES:
            self._describe()

    def heard(self, full: Full, asked: Callable[[], LaneAnswer]) -> tuple[LaneAnswer, list[str | None]]:
        """The same, for who waits to hear it: the answer, and of each item why it is an error row, None where none."""
        self._waiting.append(_Waits(asked, full.why, full.rows.labels, full.seeds))
        return self._describe()[-1]

    def _describe(self) -> list[tuple[LaneAnswer, list[str | None]]]:
        """Write and describe what waits; what was said of each batch."""
        several, self._waiting = self._waiting, []
        if not several:
            return []
        answers = [one.asked() for one in several]
        whys = [
            [why or answer.why.get(row) for row, why in enumerate(one.why)]
            for one, answer in zip(several, answers, strict=True)
        ]
        counts = [len(one) for one in whys]
        why = [one for said in whys for one in said]
        fine, answer = np.array([one is None for one in why]), _joined(answers, counts)
        self.errors += int((~fine).sum())
        told = self._drawn(answer)
        with np.errstate(invalid="ignore"):
            classes, predicted = _predictions(answer.scores, fine, self.opened)
        told |= predicted | {"value": answer.values, "error_mean": _mean_error(answer)}
        classes["target"] = answer.targets
        labels = np.concatenate([one.labels[:count] for one, count in zip(several, counts, strict=True)])
        for name, values in told.items():
            self._number(name, values, fine & np.isfinite(values))
        for name, values in classes.items():
            self._number(name, values, fine & (values >= 0))
        self._number("label_class", labels, labels >= 0)
        seeds = np.array([seed for one in several for seed in one.seeds], np.uint64)
        self._number("seed", seeds, np.ones(len(why), bool))
        first = classes["predicted"]
        self._number("correct", labels == first, fine & (labels >= 0) & (first >= 0))
        told_by = zip(answers, counts, strict=True)
        words = [one.words or str(self.opened.lane.target) for one, count in told_by for _ in range(count)]
        for name, values in classes.items():
            otherwise: Sequence[str | None] = words if name == "target" else [None] * len(why)
            self._texts.setdefault(f"{name}_name", []).extend(
                None if not good else other if one < 0 else self.facts.class_name(one)
                for one, good, other in zip(values.tolist(), fine.tolist(), otherwise, strict=True)
            )
        self._texts.setdefault("error", []).extend(why)
        return [*zip(answers, whys, strict=True)]

    def _drawn(self, answer: LaneAnswer) -> dict[str, Array]:
        """Write maps and vectors; what describes the maps."""
        placed, axes = self.facts.items != "rows", self.opened.lane.map_axes
        found, kept = described(answer.maps, answer.extents, placed, axes)
        _write(self.maps, kept)
        with np.errstate(invalid="ignore"):
            _write(self.relevance, halved(answer.relevance, largest(answer.relevance)))
        return found

    def table(self, planned: Sequence[Planned]) -> Any:
        """The lane's records, in the order of items, when all was kept; a ``pyarrow.Table``."""
        self._describe()
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

    def wrong(self, planned: Sequence[Planned]) -> list[tuple[str, str]]:
        """The names of the items that failed, each with why, when all was kept."""
        return [(item.name, why) for item, why in zip(planned, self._texts.get("error", []), strict=True) if why]

    def _number(self, name: str, values: Array, there: Array) -> None:
        self._numbers.setdefault(name, []).append((values, there))


@dataclass(frozen=True, slots=True, eq=False)
class _Waits:
    """A batch that was asked about, and is not described yet."""

    asked: Callable[[], LaneAnswer]
    why: tuple[str | None, ...]
    labels: Array
    seeds: tuple[int, ...]


def _joined(answers: Sequence[LaneAnswer], counts: Sequence[int]) -> LaneAnswer:
    """Several answers as one, without the rows that filled their batches up.

    A batch in which all failed states no errors and no extents; its rows are NaN, and have no position.
    """

    def whole(name: str) -> Any:
        parts = [getattr(answer, name) for answer in answers]
        like = next((one for one in parts if one is not None), None)
        if like is None or len(parts) == 1:
            return like if like is None else like[: counts[0]]
        shape = like.shape[1:]

        def blank(count: int) -> Array:
            return np.zeros(count, like.dtype) if name == "extents" else np.full((count, *shape), np.nan, like.dtype)

        return np.concatenate(
            [blank(count) if one is None else one[:count] for one, count in zip(parts, counts, strict=True)]
        )

    names = ("scores", "targets", "values", "maps", "error", "relevance")
    scores, targets, values, maps, error, relevance = map(whole, names)
    return LaneAnswer(scores, targets, values, maps, error, relevance, {}, extents=whole("extents"))


def _mean_error(answer: LaneAnswer) -> Array:
    """The mean standard error over each map's own positions; NaN where none is stated."""
    if answer.error is None:
        return np.full(len(answer.maps), np.nan)
    flat = answer.error.reshape(len(answer.error), -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(flat.sum(axis=1) / (flat.shape[1] if answer.extents is None else answer.extents))


def _write(part: Grows, half: Array) -> None:
    part.write(np.ascontiguousarray(half).reshape(-1).view(np.uint8).data)


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
