"""An ONNX model on a device: its scores are asked in chunks that are filled, run and fetched side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities, Piece
from xplain.core.batches import Cut
from xplain.core.edits import Array
from xplain.core.outline import Outline
from xplain.core.query import Score
from xplain.graph.intake.load import Loaded
from xplain.models.onnx.file import OnnxFile, Running
from xplain.models.onnx.places import DevicePlace, Fed, HostPlace, Lanes, OutputShapes
from xplain.models.onnx.providers import CPU
from xplain.models.onnx.session import Session
from xplain.models.outlines import warned
from xplain.models.pipeline import Chunk, Place, in_flight, item_ranges, rows_at_once
from xplain.models.reading import KERNEL_TYPES
from xplain.native.volumes import is_volumetric

__all__ = ["OnnxOnDevice"]


_DEVICE_ROWS = 16  # not measured, for want of a device


class OnnxOnDevice(OnnxFile):
    """An ``OnnxFile`` whose session runs on a device; see ``xplain.models.onnx.places`` for the order of things.

    Only ``Score`` questions about the input are asked this way; everything else is the plain way's, and so is a model
    whose batch is fixed. Where the device's path fails, the plain way takes over from the row it failed at, and the
    quirks and every later result say why. The bits of a row may depend on the rows that it shares a run with, because
    a device's libraries choose their algorithm by shape; they do not depend on the order of things here.

    Args:
        loaded: The checked graph.
        outline: What is known of it.
        fixed: Values of the inputs that are not explained.
        how: How it runs; its providers are told to use ``lanes``.
        lanes: The model's streams; None where rows are written by the CPU.
        here: The provider that is no device, where the plain way answers.

    Raises:
        ModelError: the runtime refuses the model.
    """

    def __init__(
        self,
        loaded: Loaded,
        outline: Outline,
        fixed: Mapping[str, Array],
        how: Running,
        *,
        lanes: Lanes | None = None,
        here: str = CPU,
    ) -> None:
        self._lanes, self._here = lanes, here
        self._learned: dict[tuple[str, ...], OutputShapes] = {}
        self._failed: set[tuple[str, ...]] = set()
        super().__init__(loaded, outline, fixed, how)

    @property
    def abilities(self) -> Abilities:
        """Those of a file, and it works ahead, in streams and memory that one thread has to itself."""
        return replace(super().abilities, ahead=self.ahead, shared=False)

    def ahead(self, query: Score, rows: int | None) -> Iterator[Piece] | None:
        """The answer in pieces, several chunks under way; None for questions that are answered the plain way."""
        return self._scored(query, rows) if self._works_ahead(query) else None

    def least_rows(self, item: tuple[int, ...]) -> int:
        """A device takes as long for one row as for some."""
        return _DEVICE_ROWS if self._on_device else super().least_rows(item)

    def swept_rows(self, item: tuple[int, ...]) -> int:
        """As above."""
        return _DEVICE_ROWS if self._on_device else super().swept_rows(item)

    def full_rows(self, item: tuple[int, ...], most: int) -> int:
        """What fills a device."""
        return max(most, _DEVICE_ROWS) if self._on_device else super().full_rows(item, most)

    def most_rows(self, item_bytes: int) -> int | None:
        """What fills a device."""
        return rows_at_once(item_bytes) if self._on_device else super().most_rows(item_bytes)

    @property
    def _on_device(self) -> bool:
        return bool(self._providers[0][0] != self._here)

    def _works_ahead(self, query: Score) -> bool:
        plain = self._providers[0][0] == self._here or self.outline.batch == "fixed" or self._seconds is not None
        return not plain and query.at == "input"

    def _chunks(self, query: Score, outputs: tuple[str, ...], rows: int | None) -> Iterator[Chunk]:
        if not self._works_ahead(query):
            return super()._chunks(query, outputs, rows)
        return self._overlapped(query, outputs, rows)

    def _overlapped(self, query: Score, outputs: tuple[str, ...], rows: int | None) -> Iterator[Chunk]:
        self._check(query)
        session, (first, last) = self._plain(outputs), query.rows
        item = math.prod(query.x.shape[1:]) * np.dtype(self._input.dtype).itemsize
        how = query.cut or Cut(min(rows or rows_at_once(item), max(1, last - first)), by_item=False, of=1)
        rows, done = how.rows, first
        if outputs not in self._failed:
            try:
                for offset, part in item_ranges(query, query.layout_in(self.outline)):
                    place = self._place(session, part, outputs, rows)
                    for (left, right), found in in_flight(place, *part.rows, rows, how):
                        yield (offset + left, offset + right), found
                        done = offset + right
                return
            except RuntimeError as error:
                self._give_up(outputs, error)
        for left, right in how.parts(done, last):
            yield from self._each(session, replace(query, part=(left, right)))

    def _place(self, session: Session, query: Score, outputs: tuple[str, ...], rows: int) -> Place:
        dtype, threads, layout = self._input.dtype, self._threads or 0, query.layout_in(self.outline)
        fed = Fed(session, self._input.name, dtype, rows, self._fixed, self._repeated)
        if self._lanes is None or dtype not in KERNEL_TYPES or is_volumetric(query.edits, layout):
            least = 1 if threads == 1 else 2  # as the plain way, for the same bits on a CPU
            least = least if query.cut is None else rows
            return HostPlace(fed, query, layout, threads, least)
        learned = self._learned.setdefault(outputs, {})
        return DevicePlace(fed, query, layout, self._lanes, learned)

    def _open(self, model: Any, lean: bool = False, lent: bool = False, level: str = "") -> Session:
        session = super()._open(model, lean, lent, level)
        session.keeps = self._lanes  # its stream must outlive it
        return session

    def _give_up(self, outputs: tuple[str, ...], error: RuntimeError) -> None:
        """From now on the plain way, and the outline says so."""
        self._failed.add(outputs)
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        told = f"Chunks could not be kept under way on the device ({why}); they are asked one after another."
        self.outline = warned(self.outline, told)
