"""How many rows of a torch module share a call: those whose bits do not depend on the place where they stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Self

import numpy as np
import torch

from xplain.core.batches import full, shared
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.query import OfItems, Peek, Sweep
from xplain.core.target import SCORES
from xplain.models.pipeline import rows_at_once
from xplain.models.torch.attention import AttentionsSeen
from xplain.models.torch.look import home
from xplain.models.torch.modes import to_numpy

__all__ = ["TorchBatches", "filled_up", "place_free"]

_DEVICE_ROWS = 16  # not measured, for want of a device


class TorchBatches:
    """How a module's rows are cut into calls; see ``xplain.core.batches``."""

    fills_up = True
    _module: torch.nn.Module
    _together: dict[tuple[int, ...], int]
    look: Callable[[Array], None]
    outline: Outline

    def of_size(self, item: tuple[int, ...]) -> Self:
        """This module, having seen an item of this size.

        Raises:
            UsageError: it takes none.
        """
        try:
            self.look(np.zeros((1, *item), np.float32))
        except Exception as error:  # a module raises whatever its author or torch likes
            said = (str(error).strip().splitlines() or [""])[0][:300]
            raise UsageError(
                f"{self.outline.source} takes no items of size {list(item)} ({type(error).__name__}: {said}). State "
                "one number for each axis of an item, channels included."
            ) from error
        return self

    @property
    def _on_device(self) -> bool:
        return home(self._module)[1].type == "cuda"

    def least_rows(self, item: tuple[int, ...]) -> int:
        """Those of a small module that has the same bits for a row at every place of a batch, which is tried once.

        Torch on a CPU may round a row by its place (measured: a linear layer of 33 inputs). A device takes as long for
        one row as for some.
        """
        if self._on_device:
            return _DEVICE_ROWS
        if item not in self._together:
            rows = shared(sum(one.numel() for one in self._module.parameters()), item)
            self._together[item] = rows if rows > 1 and place_free(self._scored_rows, item, rows) else 1
        return self._together[item]

    def swept_rows(self, item: tuple[int, ...]) -> int:
        """One on a CPU: that a pass has the same bits at every place says nothing of its way back."""
        return _DEVICE_ROWS if self._on_device else 1

    def full_rows(self, item: tuple[int, ...], most: int) -> int:
        """A full batch, where a row has the same bits at every place of it; as above."""
        rows, key = full(most), (full(most), *item)
        if self._on_device:
            return max(rows, _DEVICE_ROWS)
        if key not in self._together:
            fits = rows > 1 and place_free(self._scored_rows, item, rows)
            self._together[key] = rows if fits else self.least_rows(item)
        return self._together[key]

    def _scored_rows(self, batch: torch.Tensor) -> torch.Tensor:
        return self.forward(batch.to(home(self._module)[0]), [])[SCORES]

    def forward(
        self,
        batch: torch.Tensor,
        layers: Sequence[str],
        replaced: Mapping[str, torch.Tensor] | None = None,
        attention: AttentionsSeen | None = None,
    ) -> dict[str, torch.Tensor]:
        """Scores and layers of a batch, with their history."""
        raise NotImplementedError

    def most_rows(self, item_bytes: int) -> int | None:
        """What fills a device; on the CPU, as many as fit into its caches."""
        return rows_at_once(item_bytes) if self._on_device else None


def filled_up(query: Sweep) -> Sweep:
    """A sweep of as many rows as the engine says: the last one is repeated."""
    if query.batch is None or query.batch <= len(query.x):
        return query
    rows = np.minimum(np.arange(query.batch), len(query.x) - 1)
    return query.rows(rows)


def fed_floats(query: OfItems) -> OfItems:
    """The question with its items as real numbers."""
    if not isinstance(query, Peek) and query.items is not None:
        return replace(query, items=query.items.astype(np.float32))
    return replace(query, x=query.x.astype(np.float32))


def place_free(forward: Callable[[torch.Tensor], torch.Tensor], item: tuple[int, ...], rows: int) -> bool:
    """Whether scores and gradients of a row have the same bits wherever it stands in a batch of ``rows``."""
    x = np.random.default_rng(0).normal(size=(rows, *item)).astype(np.float32)

    def run(batch: Array) -> list[Array]:
        given = torch.from_numpy(np.ascontiguousarray(batch)).requires_grad_()
        scores = forward(given)
        weights = torch.linspace(-1, 1, scores.shape[1], dtype=scores.dtype)
        (gradient,) = torch.autograd.grad((scores * weights).sum(), given)
        return [to_numpy(scores), to_numpy(gradient)]

    try:
        with torch.inference_mode(False), torch.enable_grad():
            here = run(x)
            for shift in (1, rows // 2 + 1):
                moved = run(np.roll(x, shift, axis=0))
                if not all(np.array_equal(np.roll(a, shift, axis=0), b) for a, b in zip(here, moved, strict=True)):
                    return False
    except Exception:  # a module may take whole numbers alone, or have no gradient: then rows go one by one
        return False
    return True
