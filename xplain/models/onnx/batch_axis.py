"""Whether a model takes any number of rows: free as it is, set free with the same scores, or fixed for good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import ModelError, UsageError
from xplain.core.outline import Outline, TensorSpec
from xplain.graph.intake.load import Loaded
from xplain.graph.outline.together import puts_items_together
from xplain.graph.reverse.cut import free_batch, mixes_batch
from xplain.models.onnx.trials import item_of, small

__all__ = ["batch_axis", "goes_alone", "settle_batch"]


def batch_axis(spec: TensorSpec, explained: TensorSpec) -> int | None:
    """Which axis of another input goes with the rows of the explained one; None where it has the same value for all.

    An axis that has the name of the explained input's batch is it; where names differ, none is. Without names it is the
    first axis if that is free, or of the same extent, or else the only free one, as that of a recurrent state.
    """
    batch = explained.dims[0] if explained.dims else ""
    if batch and any(spec.dims):
        return spec.dims.index(batch) if batch in spec.dims else None
    free = [axis for axis, extent in enumerate(spec.shape) if extent is None]
    if spec.shape and explained.shape and (0 in free or spec.shape[0] == explained.shape[0]):
        return 0
    return free[0] if len(free) == 1 else None


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
    if batch is None and (mixed := _together(outline, loaded, spec, scores)):
        why = f"{mixed} puts the items of a batch together, so items are asked one at a time."
        return replace(outline, batch="fixed", rows=1, quirks=(*outline.quirks, why)), None
    edited = None if batch is None else free_batch(loaded, spec.name)
    if batch is None and len(outline.inputs) > 1:
        return _lone(outline, loaded, spec, scores), None
    if batch is None or edited is None:
        return outline, None
    fixed = replace(outline, batch="fixed", rows=batch)
    if not small(2 * batch + 1, spec):
        why = f"Its items are too large to try other numbers of rows, so they are asked {batch} at a time."
        return replace(fixed, quirks=(*outline.quirks, why)), None
    if not _agree(fixed, loaded.model, edited, spec, batch, scores):
        why = f"The batch size {batch} is baked into the model, so items are asked {batch} at a time."
        return replace(fixed, quirks=(*outline.quirks, why)), None
    layers = tuple(
        replace(layer, shape=(None, *layer.shape[1:])) if layer.shape[:1] == (batch,) else layer
        for layer in outline.layers
    )
    why = f"The batch size was fixed to {batch}; it was set free, with the same scores."
    return replace(outline, batch="edited", layers=layers, quirks=(*outline.quirks, why)), edited


def goes_alone(
    outline: Outline, explained: TensorSpec, others: Mapping[TensorSpec, Array], scores: Callable[[Array], Array]
) -> bool:
    """Whether other inputs go with no row though an axis of theirs looks like the batch, as prompts do; it is tried.

    Raises:
        UsageError: several values are given of an input that needs one for each row.
    """
    several = [
        (spec, axis)
        for spec, value in others.items()
        if (axis := batch_axis(spec, explained)) is not None and value.shape[axis] != 1 and spec.shape[axis] is None
    ]
    if (not several and outline.scores.classes is not None) or not small(3, explained):
        return False
    try:
        two, three = (scores(np.zeros((n, *item_of(explained)), np.float32)) for n in (2, 3))
    except ModelError as error:
        if not several:
            return False
        spec, axis = several[0]
        accepted = ["?" if n is None else n for k, n in enumerate(spec.shape) if k != axis]
        raise UsageError(
            f"fixed[{spec.name!r}] is {list(others[spec].shape)}; accepted: one value of {accepted} for all items."
        ) from error
    return two.shape[1:] != three.shape[1:]  # classes that grow with the rows: prompts, repeated for each


def _lone(
    outline: Outline, loaded: Loaded, spec: TensorSpec, scores: Callable[[Outline, Any, Array], Array]
) -> Outline:
    """One row at a time where another input, such as a recurrent state, is of one row and can be of no more."""
    if not small(2, spec):
        return outline
    x = np.zeros((2, *item_of(spec)), np.float32)
    one = replace(outline, batch="fixed", rows=1)
    try:
        scores(outline, loaded.model, x)
    except ModelError:
        try:
            scores(one, loaded.model, x)
        except ModelError:
            return outline  # it is not the rows: the first question says what it is
        why = "An input that is fixed is of one row, so items are asked one at a time."
        return replace(one, quirks=(*outline.quirks, why))
    return outline


def _together(
    outline: Outline, loaded: Loaded, spec: TensorSpec, scores: Callable[[Outline, Any, Array], Array]
) -> str:
    """The node that makes an item's scores follow from the others of its batch; empty where they do not.

    What a graph says is tried on real numbers: a mask that is the same for all may be reduced over all. Whole numbers
    and truth values mean what nobody knows here, such as tokens of a vocabulary, so there the graph's word counts.
    """
    found = puts_items_together(loaded, outline.scores.tensor, item_of(spec))
    real = "float" in spec.dtype or spec.dtype == "uint8"
    if not found or not real or not small(3, spec):
        return found
    alone = replace(outline, batch="fixed", rows=1)
    try:
        agree = _agree(alone, loaded.model, loaded.model, spec, 1, scores)
    except ModelError:
        return found
    return "" if agree else found


def _agree(
    fixed: Outline,
    model: Any,
    edited: Any,
    spec: TensorSpec,
    batch: int,
    scores: Callable[[Outline, Any, Array], Array],
) -> bool:
    """Whether the edited model gives several random items the scores that the model gives them batch by batch."""
    x = np.random.default_rng(0).random((2 * batch + 1, *item_of(spec)), np.float32)
    x *= 255 if spec.dtype == "uint8" else 1
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
