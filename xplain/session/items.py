"""From what a person gives to the model's tensors: pictures by the card, arrays as they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.card import Card, load_card
from xplain.core.edits import Array
from xplain.core.errors import ItemError, UsageError
from xplain.core.items import Items
from xplain.core.keeping.content import checksums, keys_of
from xplain.core.outline import Outline
from xplain.core.positions.coordinates import UNSTATED, Coordinates
from xplain.core.positions.layout import Axes, Doubt, Layout
from xplain.core.query import Model
from xplain.session.checked import against, check_tensor, named_axes, rank_of, resolved
from xplain.session.pictured import is_picture, pictures_together

__all__ = ["digests_of", "item_keys", "items_of", "sounds"]


def items_of(model: Model, source: Any, card: Any = None, layout: str | None = None, out: Array | None = None) -> Items:
    """Turn what a person gives into the model's tensors.

    Floating and integer arrays (also torch tensors) are tensors in the model's own layout, with or without the batch
    axis, and are used as they are; recorded sound (the path or the bytes of a WAV file) becomes one. Other
    paths, the bytes of files, PIL pictures and uint8 arrays are pictures ``[H, W]`` or ``[H, W, 3]`` and go through
    the preprocessing card.

    What a card states of the axes (``Coordinates``) goes with tensors too.

    The layout is resolved here, once: ``layout`` if it is given, else what is known of the model, else what the sizes
    of an item say, or a ``Doubt`` (``xplain.core.positions.layout``).

    The tensor of a picture that comes alone is written to ``out`` where it has that shape.

    Raises:
        CardError: pictures for a model without a card.
        PictureError: a picture that cannot be read.
        UsageError: no items, or ones that do not go together.
        ItemError: a tensor of the wrong rank, shape or type.
        NonFinite: a tensor that holds NaN or infinity.
    """
    many = isinstance(source, (list, tuple))
    given = list(source) if many else [source]
    if not given:
        raise UsageError("There is nothing to explain: the list of items is empty.")
    carded = model.outline.card if card is None else load_card(card)
    named = named_axes(model.outline, carded, layout)
    given = [_heard(one, model.outline, carded, named) for one in given]
    if all(is_picture(one) for one in given):
        return pictures_together(model, given, card, named, out)
    if any(is_picture(one) for one in given):
        raise UsageError("The items mix pictures and tensors; give all as pictures or all as arrays.")
    tensors = [_tensor(one) for one in given]
    rank = rank_of(model, named)
    if many:
        empty = [n for n, t in enumerate(tensors) if 0 in t.shape]
        if empty:
            raise ItemError(
                f"Item {empty[0]} is {list(tensors[empty[0]].shape)}: there is nothing to explain. Leave it out."
            )
        tensors = [t[None] if rank is not None and t.ndim == rank - 1 else t for t in tensors]
        if rank is None:
            tensors = [t[None] for t in tensors]
        if len({t.shape[1:] for t in tensors}) > 1:
            raise UsageError(
                f"The items have different shapes: {sorted({t.shape for t in tensors})}. Items of one call make one "
                "batch: cut or pad them alike, or give each alone, with xplain.explain_stream."
            )
        x = np.concatenate(tensors) if len(tensors) > 1 else tensors[0]
    else:
        x = tensors[0][None] if rank is not None and tensors[0].ndim == rank - 1 else tensors[0]
        look = abilities_of(model).look
        x = _batched(x, look) if rank is None and look is not None and 0 not in x.shape else x
    check_tensor(x, model, rank if model.outline.named is not None or named is None else None)
    x = np.ascontiguousarray(x)
    found = resolved(model, x, named)
    told = UNSTATED if carded is None else carded.coordinates
    names = tuple(str(n) for n in range(len(x)))
    return Items(x, names, _seen(x, found, told), layout=found, warnings=against(found), coordinates=told)


def _heard(one: Any, outline: Outline, card: Card | None, named: Axes | None) -> Any:
    """Recorded sound, a WAV file's path or bytes, as its samples; anything else as it is.

    Raises:
        ItemError: it cannot be read, or is not what the card states.
    """
    if not isinstance(one, (str, Path, bytes)):
        return one
    from xplain.render.sound import read_sound, samples_of

    told, known = None if card is None else card.coordinates, named or outline.named
    axes = None if known is None else known.letters
    if not sounds(one):
        return one
    if isinstance(one, bytes):
        return samples_of(one, "The sound", told, axes, outline.called)
    return read_sound(Path(one), told, axes, outline.called)


def sounds(one: Any) -> bool:
    """Whether something is recorded sound: the path or the bytes of a WAV file."""
    from xplain.render.sound import WAVES, is_sound

    if isinstance(one, bytes):
        return is_sound(one)
    return isinstance(one, (str, Path)) and str(one).lower().endswith(WAVES)


def _seen(x: Array, layout: Layout | Doubt, told: Coordinates) -> Array | None:
    """Tensors as pictures to look at, where the card says how: bands in false colours, a spectrogram in grey.

    Raises:
        CardError: the card's coordinates contradict the items' axes.
    """
    if isinstance(layout, Doubt) or not told.stated:
        return None
    told.check(layout)
    from xplain.render import bands

    if told.kind == "spectrogram":
        alone = told.frequency == "C" or layout.channel_axis is None
        return bands.grey(x if alone else x.mean(axis=layout.channel_axis))
    which = told.colours(layout.channels)
    if which is None or not layout.is_picture or layout.channel_axis is None:
        return None
    return bands.false_colours(np.moveaxis(x, layout.channel_axis, -1)[..., list(which)])


def _batched(x: Array, look: Callable[[Array], None]) -> Array:
    """One item without a batch axis as a batch of one: what the model takes so, and takes as a batch in no way."""
    try:
        look(x)
    except Exception as error:
        try:
            look(x[None])
        except Exception:
            raise error from None
        return x[None]
    return x


def _tensor(one: Any) -> Array:
    if hasattr(one, "detach"):  # a torch tensor, without importing torch
        one = one.detach().cpu()
        one = one.float() if str(one.dtype) == "torch.bfloat16" else one  # which numpy does not have
        one = one.numpy()
    array = np.asarray(one)
    array = array.astype(np.int64) if array.dtype.kind == "b" else array
    if array.dtype.kind == "c":
        raise ItemError(
            f"An item is {list(array.shape)} of {array.dtype.name}; models take real numbers. Give its magnitude and "
            "phase, or its real and imaginary parts, as channels of the model's own layout."
        )
    if array.dtype.kind not in "fiuSUO" or array.ndim == 0:
        raise ItemError(
            f"An item is {type(one).__name__}; accepted: a path, the bytes of a picture's file, a PIL picture, a uint8 "
            "array (pictures), or a numeric array in the model's own layout."
        )
    return array


def item_keys(items: Items) -> tuple[str, ...]:
    """What each item draws under: its content as a person gave it, for a text's or a row's codes depend on the rest."""
    if items.texts:
        return keys_of([passage.text for passage in items.texts])
    return keys_of(items.columns.values if items.columns is not None and items.columns.values else items.x)


def digests_of(items: Items) -> tuple[str, ...]:
    """Each item's content as 32 hex digits, equal for equal items: what a result says it is of."""
    if items.texts or (items.columns is not None and items.columns.values) or items.x.dtype.kind not in "fiub":
        return tuple(key.partition("+")[0] for key in item_keys(items))
    return checksums(items.x)
