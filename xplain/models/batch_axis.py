"""Whether a model takes any number of rows: free as it is, set free with the same scores, or fixed for good."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError
from xplain.core.outline import Outline, TensorSpec
from xplain.graph.cut import free_batch, mixes_batch
from xplain.graph.load import Loaded

__all__ = ["settle_batch"]


def settle_batch(
    outline: Outline, loaded: Loaded, spec: TensorSpec, scores: Callable[[Outline, Any, Array], Array]
) -> tuple[Outline, Any]:
    """Whether rows can be asked in any number.

    Args:
        outline: What is known of the model.
        loaded: The model.
        spec: The explained input.
        scores: Runs a model on items ``[N, *item]`` as an outline says, and returns its scores ``[N, ...]``.

    Returns:
        The outline that says so, and the edited model where the batch was set free, else None.

    Raises:
        ModelError: the runtime refuses the model, or it fails.
    """
    batch = spec.shape[0] if spec.shape else None
    mixer = mixes_batch(loaded.model)
    if mixer:
        why = f"{mixer} looks at the whole batch, so items are asked {batch or 1} at a time."
        return replace(outline, batch="fixed", rows=batch or 1, quirks=(*outline.quirks, why)), None
    edited = None if batch is None else free_batch(loaded, spec.name)
    if batch is None or edited is None:
        return outline, None
    fixed = replace(outline, batch="fixed", rows=batch)
    if not _agree(fixed, loaded.model, edited, spec, batch, scores):
        why = f"The batch size {batch} is baked into the model, so items are asked {batch} at a time."
        return replace(fixed, quirks=(*outline.quirks, why)), None
    layers = tuple(
        replace(layer, shape=(None, *layer.shape[1:])) if layer.shape[:1] == (batch,) else layer
        for layer in outline.layers
    )
    why = f"The batch size was fixed to {batch}; it was set free, with the same scores."
    return replace(outline, batch="edited", layers=layers, quirks=(*outline.quirks, why)), edited


def _agree(
    fixed: Outline,
    model: Any,
    edited: Any,
    spec: TensorSpec,
    batch: int,
    scores: Callable[[Outline, Any, Array], Array],
) -> bool:
    """Whether the edited model gives several random items the scores that the model gives them batch by batch."""
    item = tuple(extent or 32 for extent in spec.shape[1:])
    x = np.random.default_rng(0).uniform(0, 255 if spec.dtype == "uint8" else 1, (2 * batch + 1, *item))
    x = x.astype(np.float32)
    expected = scores(fixed, model, x)
    try:
        got = scores(replace(fixed, rows=None), edited, x)
    except ModelError:
        return False
    if expected.shape != got.shape:
        return False
    close = 1e-2 if expected.dtype == np.float16 else 1e-4
    wide, other = expected.astype(np.float64), got.astype(np.float64)
    return bool(np.allclose(other, wide, rtol=0, atol=close * max(np.ptp(wide), 1e-6), equal_nan=True))
