"""From what a person gives to the model's tensors: pictures by the card, frames and texts by a door, arrays as is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.card import PRESETS, load_card
from xplain.core.edits import Array
from xplain.core.errors import CardError, NonFinite, UsageError
from xplain.core.items import Items, Reads
from xplain.core.query import Model
from xplain.models.frames import is_rows
from xplain.models.table import table
from xplain.models.text import text

__all__ = ["entered", "items_of"]


def entered(model: Model, x: Any, card: Any) -> tuple[Model, Items]:
    """The items as tensors, and the model that takes them: frames and texts are read by a door of their own."""
    if not isinstance(model, Reads):
        if is_rows(x):
            model = table(model)
        elif next((spec.dtype for spec in model.outline.inputs if spec.name == model.outline.input), "") == "str":
            model = text(model)
    return model.read(x) if isinstance(model, Reads) else (model, items_of(model, x, card))


def items_of(model: Model, source: Any, card: Any = None) -> Items:
    """Turn what a person gives into the model's tensors.

    Floating and integer arrays (also torch tensors) are tensors in the model's own layout, with or without the batch
    axis, and are used as they are. Paths, PIL pictures and uint8 arrays are pictures ``[H, W]`` or ``[H, W, 3]`` and go
    through the preprocessing card.

    Raises:
        CardError: pictures for a model without a card.
        PictureError: a picture that cannot be read.
        UsageError: a tensor of the wrong rank or shape, or of no items.
        NonFinite: a tensor that holds NaN or infinity.
    """
    many = isinstance(source, (list, tuple))
    given = list(source) if many else [source]
    if not given:
        raise UsageError("There is nothing to explain: the list of items is empty.")
    if all(_is_picture(one) for one in given):
        return _pictures(model, given, card)
    if any(_is_picture(one) for one in given):
        raise UsageError("The items mix pictures and tensors; give all as pictures or all as arrays.")
    tensors = [_tensor(one) for one in given]
    layout = model.outline.layout
    rank = None if layout is None else len(layout.axes)
    if many:
        tensors = [t[None] if rank is not None and t.ndim == rank - 1 else t for t in tensors]
        if rank is None:
            tensors = [t[None] for t in tensors]
        if len({t.shape[1:] for t in tensors}) > 1:
            raise UsageError(f"The items have different shapes: {sorted({t.shape for t in tensors})}.")
        x = np.concatenate(tensors)
    else:
        x = tensors[0][None] if rank is not None and tensors[0].ndim == rank - 1 else tensors[0]
    _check_tensor(x, model)
    return Items(np.ascontiguousarray(x), tuple(str(n) for n in range(len(x))))


def _is_picture(one: Any) -> bool:
    if isinstance(one, (str, Path)):
        return True
    if isinstance(one, np.ndarray):
        return bool(one.dtype == np.uint8)
    pil = sys.modules.get("PIL.Image")
    return bool(pil is not None and isinstance(one, pil.Image))


def _pictures(model: Model, given: Sequence[Any], card: Any) -> Items:
    from xplain.render import pictures

    outline = model.outline
    if outline.layout is not None and not outline.layout.is_picture:
        raise UsageError(
            f"{outline.source} takes items of {list(outline.layout.item)} ({outline.layout.axes}), no pictures. "
            "For rows of a table use xplain.table; else give an array in the model's own layout."
        )
    used = load_card(card) if card is not None else outline.card
    if used is None:
        raise CardError(
            f"{outline.source} has no preprocessing card, so it is not known how a picture becomes its input. Write "
            f"<model>.card.toml beside it, or give card= a file or a preset: {', '.join(PRESETS)}."
        )
    if outline.layout is not None and outline.layout.is_picture:
        used = used.sized(*outline.layout.plane)
    prepared = [pictures.prepare(used, pictures.read(one)) for one in given]
    shapes = {tensor.shape for tensor, _ in prepared}
    if len(shapes) > 1:
        raise CardError(f"The card gives pictures of different sizes {sorted(shapes)}; state resize or crop in it.")
    x = np.stack([tensor for tensor, _ in prepared])
    _check_tensor(x, model)
    names = tuple(Path(one).name if isinstance(one, (str, Path)) else str(n) for n, one in enumerate(given))
    return Items(x, names, np.stack([seen for _, seen in prepared]), used)


def _tensor(one: Any) -> Array:
    if hasattr(one, "detach"):  # a torch tensor, without importing torch
        one = one.detach().cpu().numpy()
    array = np.asarray(one)
    if array.dtype.kind not in "fiuSUO" or array.ndim == 0:
        raise UsageError(
            f"An item is {type(one).__name__}; accepted: a path, a PIL picture, a uint8 array (pictures), or a numeric "
            "array in the model's own layout."
        )
    return array


def _check_tensor(x: Array, model: Model) -> None:
    layout, source = model.outline.layout, model.outline.source
    if layout is not None and x.ndim != len(layout.axes):
        raise UsageError(
            f"The input is {list(x.shape)}, of rank {x.ndim}; {source} takes {layout.axes}, items of "
            f"{list(layout.item)}."
        )
    spec = next((s for s in model.outline.inputs if s.name == model.outline.input), None)
    expected = spec.shape[1:] if spec is not None and len(spec.shape) == x.ndim else x.shape[1:]
    if any(want not in (None, got) for want, got in zip(expected, x.shape[1:], strict=True)):
        raise UsageError(
            f"The input is {list(x.shape)}; {source} takes items of {['?' if n is None else n for n in expected]}."
        )
    if 0 in x.shape:
        raise UsageError(f"The input is {list(x.shape)}: there is nothing to explain.")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        where = [int(i) for i in np.argwhere(~np.isfinite(x))[0]]
        raise NonFinite(
            f"The input holds {x[tuple(where)]} at {where}. Explanations need finite inputs: mend or drop it."
        )
