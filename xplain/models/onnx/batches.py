"""How many rows of an ONNX model share a call, and what a row of nothing is."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Self

import numpy as np

from xplain.core.batches import Cut, shared
from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import Outline, TensorSpec
from xplain.core.query import Peek, Sweep
from xplain.graph.intake.load import Loaded
from xplain.graph.reverse.cut import fix_size
from xplain.models.onnx.session import Session

__all__ = ["OnnxBatches", "in_one_call"]


class OnnxBatches:
    """How a model's rows are cut into calls; see ``xplain.core.batches``."""

    _loaded: Loaded
    outline: Outline
    _input: TensorSpec
    _model: Any
    _tried: Callable[[], Session]
    _asked: Callable[[Session, Array], Array]
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
            extents = ", ".join("?" if n is None else str(n) for n in self._input.shape[1:])
            raise UsageError(f"The input of {self.outline.source} is [N, {extents}], of no fixed size.")
        return np.zeros((1, *sizes), np.float32)

    def of_size(self, item: tuple[int, ...]) -> Self:
        """This model for items of one size only, with its sessions; it is asked once whether it takes them.

        Raises:
            UsageError: it does not.
        """
        made = copy.copy(self)
        made.narrow(item)
        return made

    def narrow(self, item: tuple[int, ...]) -> None:
        """Take items of one size only.

        Raises:
            UsageError: the model does not take them.
        """
        self._model = fix_size(self._model, self._input.name, item)
        self._input = replace(self._input, shape=(self._input.shape[0], *item))
        inputs = tuple(self._input if spec.name == self._input.name else spec for spec in self.outline.inputs)
        self.outline = replace(self.outline, inputs=inputs)
        try:
            self._asked(self._tried(), self.blank())
        except ModelError as error:
            raise UsageError(f"{self.outline.source} takes no items of size {list(item)}: {error}") from error

    def _by_item(self, layer: str, value: Array, batch: int, item: tuple[int, ...] | None) -> Array:
        """A layer's values with a row per item; what is folded into the batch behind it becomes an axis of its own."""
        if value.shape[:1] == (batch,):
            return value
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
