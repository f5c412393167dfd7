"""How many rows of an ONNX model share a call, and which of a layer's values belong to which."""

from __future__ import annotations

from xplain.core.batches import Cut, full, shared
from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.core.outline import Outline
from xplain.core.query import Peek, Sweep
from xplain.graph.intake.load import Loaded

__all__ = ["OnnxBatches", "in_one_call"]


class OnnxBatches:
    """How a model's rows are cut into calls; see ``xplain.core.batches``."""

    _loaded: Loaded
    outline: Outline
    fills_up = True

    def least_rows(self, item: tuple[int, ...]) -> int:
        """Those of a small model, if its rows have the same bits at every place of a batch."""
        return shared(self._loaded.size / 4, item) if self._loaded.place_free else 1

    def swept_rows(self, item: tuple[int, ...]) -> int:
        """One: the way back adds up rows of its own, and how long they are follows from the rules."""
        return 1

    def full_rows(self, item: tuple[int, ...], most: int) -> int:
        """A full batch; as above."""
        return full(most) if self._loaded.place_free else 1

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
