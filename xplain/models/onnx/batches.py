"""How many rows of an ONNX model share a call, and which of a layer's values belong to which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import cast

from onnx import NodeProto

from xplain.core.batches import Cut, full, shared
from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.core.outline import Outline
from xplain.core.query import Peek, Sweep
from xplain.graph.intake.load import Loaded
from xplain.graph.operators import facts_of

__all__ = ["OnnxBatches", "in_one_call"]

_VECTOR = 16
"""Numbers of the widest vector of a processor: rows of a multiple of it begin alike at every place."""


class OnnxBatches:
    """How a model's rows are cut into calls; see ``xplain.core.batches``."""

    _loaded: Loaded
    outline: Outline
    fills_up = True

    def least_rows(self, item: tuple[int, ...]) -> int:
        """Those of a small model, if its rows have the same bits at every place of a batch."""
        return shared(self._loaded.size / 4, item) if self._place_free else 1

    def swept_rows(self, item: tuple[int, ...]) -> int:
        """One: the way back adds up rows of its own, and how long they are follows from the rules."""
        return 1

    def full_rows(self, item: tuple[int, ...], most: int) -> int:
        """A full batch; as above."""
        return full(most) if self._place_free else 1

    @cached_property
    def _place_free(self) -> bool:
        """Whether a row has the same bits at every place: where an operator follows memory, rows fill whole vectors.

        Which operators do was measured (onnxruntime 1.31: sums over the last axis begin at the first aligned number,
        some functions compute the last numbers of a buffer otherwise), and is a fact of theirs.
        """
        nodes = self._loaded.model.graph.node
        follows = (node for node in nodes if facts_of(node).placed)
        return not any(facts_of(node).control for node in nodes) and all(map(self._fills_vectors, follows))

    def _fills_vectors(self, node: NodeProto) -> bool:
        shape = self._loaded.shape(node.output[0] if facts_of(node).elementwise else node.input[0])
        return shape is not None and None not in shape[1:] and math.prod(cast(Sequence[int], shape[1:])) % _VECTOR == 0

    def most_rows(self, item_bytes: int) -> int | None:
        """As many as fit into a processor's caches."""
        return None

    def _by_item(self, layer: str, value: Array, batch: int, item: tuple[int, ...] | None) -> Array:
        """A layer's values with a row per item; what is folded into the batch behind it becomes an axis of its own."""
        if value.shape[:1] == (batch,):
            return value
        if batch == 1 and layer in {f"{side}/{self.outline.scores.tensor}" for side in ("read", "below")}:
            return value[None]  # a model may drop the batch axis of a single row of scores
        follow = self.outline.follow
        if item is not None and value.ndim and value.shape[0] % batch == 0 and follow and follow(item).folded(layer):
            return value.reshape(batch, -1, *value.shape[1:])
        raise ModelError(
            f"Tensor {layer!r} of {self.outline.source} is {list(value.shape)} for a batch of {batch}: it has no batch "
            "axis in front, so it cannot be told which item it belongs to."
        )


def in_one_call(query: Peek | Sweep) -> Cut | None:
    """All rows in one call of the size that the engine says."""
    return None if query.batch is None else Cut(query.batch, by_item=False, of=1)
