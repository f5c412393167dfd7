"""A reverse sweep as a graph: what is built for it, and what that graph is fed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np

from xplain.core.edits import Array
from xplain.core.outline import LayerSpec
from xplain.core.query import Sweep
from xplain.graph.reverse.diagnose import probe
from xplain.graph.reverse.seeds import Seed, feeds_of, seeds_of
from xplain.graph.reverse.sweep import BASELINE, GIVEN, build
from xplain.models.reading import layer_values

__all__ = ["Asked", "SweepKind"]

SweepKind = Literal["sweep", "report", "flags"]
"""What is wanted of a sweep: values and cotangents, a conservation report, or flags of numbers that are not finite."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A sweep of one point per item.

    Args:
        query: The question.
        dtype: Type of the model's input.
        scores: The tensor that labels read.
        at: The tensor that it starts from; None for the input.
    """

    query: Sweep
    dtype: str
    scores: str
    at: str | None

    @cached_property
    def seeds(self) -> tuple[Seed, ...]:
        """Where the walk begins."""
        return seeds_of(self.query.target, self.scores)

    @property
    def key(self) -> tuple[Any, ...]:
        """What its graph depends on, besides the taps."""
        return (self.query.rules, self.seeds, self.at)

    def check(self, layers: Mapping[str, LayerSpec], source: str) -> None:
        """Whether a model can be asked it.

        Raises:
            UsageError: it has several points, or the values given do not fit their layer.
        """
        layer = None if self.at is None else layers.get(self.at)
        layer_values(self.query, () if layer is None else layer.shape, source)

    def built(self, kind: SweepKind, model: Any, taps: Sequence[str], outside: Mapping[str, Array] | None) -> Any:
        """The graph, an ``onnx.ModelProto``, and the names of its outputs."""
        builders: dict[str, Any] = {"sweep": build, "report": partial(build, report=True), "flags": probe}
        return builders[kind](model, taps, self.seeds, self.query.rules, outside=outside, at=self.at)

    def feeds(self, built: Any, rows: tuple[int, int]) -> dict[str, Array]:
        """What the graph takes besides the items, for some of the question's rows."""
        feeds = feeds_of(self.query.target, np.arange(*rows), built)
        if self.at is not None:
            feeds[GIVEN] = np.ascontiguousarray(self.query.x[slice(*rows), 0], np.float32)
        if self.query.baseline is not None:
            shape = (len(self.query.x), *self.query.x.shape[2:])
            given = self.query.baseline.reshape(shape)[slice(*rows)]
            feeds[BASELINE] = given.astype(np.float32 if self.at is not None else self.dtype)
        return feeds
