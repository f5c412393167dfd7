"""What a fold keeps of a layer's values, found on the device where they lie; only that is copied from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from xplain.core.edits import Array
from xplain.core.lenses.fold import Fold, Max, Mean, Top, channel_of, folded, rows_of
from xplain.models.torch.modes import to_numpy

__all__ = ["kept"]


def kept(
    values: Any, own: Callable[[torch.Tensor, int], Array], batch: int, fold: Fold | None, count: int
) -> Array | Top:
    """What a fold keeps of the first ``count`` items of a batch; without one, all of their values.

    Args:
        values: A tensor, or the items themselves.
        own: Values with a row per item, as numpy has them, of a layer whose items have several rows.
        batch: Rows of the batch, copies among them.
        fold: What is kept.
        count: Items.
    """
    if fold is None:
        return values[:count] if isinstance(values, np.ndarray) else own(values, batch)[:count]
    if not isinstance(values, torch.Tensor):
        return rows_of(folded(values, fold), count)
    if len(values) != batch or values.ndim < 2:
        return rows_of(folded(own(values, batch), fold), count)
    values = values[:count]
    values = values if values.is_floating_point() else values.float()
    channel = channel_of(fold, values.ndim)
    flat = values[:, None] if channel is None else values.movedim(channel, 1)
    flat = flat.reshape(*flat.shape[:2], -1)
    if isinstance(fold, Mean):
        return to_numpy(flat.mean(dim=2))
    if isinstance(fold, Max):
        return to_numpy(flat.amax(dim=2))
    if fold.count == 1:
        best, places = flat.max(dim=2, keepdim=True)
    else:  # of equal values the first: topk does not promise it
        best, places = flat.sort(dim=2, descending=True, stable=True)
    return Top(to_numpy(best[..., : fold.count]), places[..., : fold.count].cpu().numpy())
