"""How many rows of an ONNX model share a call, and what a row of nothing is."""

from __future__ import annotations

import numpy as np

from xplain.core.batches import Cut, shared
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline, TensorSpec
from xplain.core.query import Peek, Sweep
from xplain.graph.load import Loaded

__all__ = ["OnnxBatches", "in_one_call"]


class OnnxBatches:
    """How a model's rows are cut into calls; see ``xplain.core.batches``."""

    _loaded: Loaded
    outline: Outline
    _input: TensorSpec
    fills_up = True

    def least_rows(self, item: tuple[int, ...]) -> int:
        """Those of a small model; a row's bits are the same at every place of a batch (measured, onnxruntime 1.31)."""
        return shared(self._loaded.size / 4, item)

    def most_rows(self, item_bytes: int) -> int | None:
        """As many as fit into a processor's caches."""
        return None

    def blank(self) -> Array:
        """One item of zeros.

        Raises:
            UsageError: the input's size is free.
        """
        sizes = tuple(n for n in self._input.shape[1:] if n is not None)
        if len(sizes) + 1 < len(self._input.shape):
            raise UsageError(
                f"The input of {self.outline.source} has no fixed size, which compiling needs. Fix it first, for "
                "example with onnxruntime.tools.make_dynamic_shape_fixed."
            )
        return np.zeros((1, *sizes), np.float32)


def in_one_call(query: Peek | Sweep) -> Cut | None:
    """All rows in one call of the size that the engine says."""
    return None if query.batch is None else Cut(query.batch, by_item=False, of=1)
