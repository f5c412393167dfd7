"""Items of a model of several inputs: each input read for itself, then side by side in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import CardError, ItemError, UsageError
from xplain.core.items import Items
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.core.segments import INPUTS, Segment, picture_of, values_of
from xplain.models.joint import by_name, pictured, with_cards
from xplain.session.items import items_of
from xplain.session.pictured import is_picture

__all__ = ["side_by_side"]


@dataclass(frozen=True, slots=True)
class _Alone:
    """One input, as the model of pictures that reading asks about."""

    outline: Outline
    answers: frozenset[type[Any]] = frozenset()

    def answer(self, query: Any) -> Any:
        """Nobody asks."""
        raise NotImplementedError(query)


def side_by_side(model: Model, given: Any, card: Any) -> tuple[Model, Items]:
    """Items by the names of the inputs, or in their order, or as a list with a mapping for each item.

    Each part is what ``explain`` takes as items of that input: pictures through its card, or arrays.

    Args:
        model: A model whose outline says what its rows hold.
        given: The items.
        card: How pictures become tensors, instead of what the model says: one, or one by an input's name.

    Raises:
        UsageError: an input is missing, or unknown, or the inputs have different numbers of items.
        ItemError: items that an input does not take.
        CardError: pictures of an input without a card.
        PictureError: a picture that cannot be read.
    """
    outline = model.outline
    names = [one.name for one in outline.joined]
    segments = with_cards(outline.joined, card, outline)
    one_by_one = isinstance(given, list) and bool(given) and all(isinstance(one, Mapping) for one in given)
    if one_by_one:
        rows = [by_name(one, names, outline.source) for one in given]
        parts = {name: [row[name] for row in rows] for name in names}
    else:
        parts = by_name(given, names, outline.source)
    arrays: dict[str, Array] = {}
    each: dict[str, Any] = {}
    called: list[Sequence[str]] = []
    warnings: list[Caveat] = []
    for one in segments:
        part = parts[one.name]
        if _pictures(part):
            read = _read(one, part, outline)
            arrays[one.name], each[picture_of(one.name)] = read.x, read.pictures
            warnings += read.warnings
            called.append(read.names)
            continue
        found = (
            _stacked(one, part) if one_by_one else np.asarray(part.detach().cpu() if hasattr(part, "detach") else part)
        )
        arrays[one.name] = found
    reads = abilities_of(model).read
    if reads is None:
        raise UsageError(f"{outline.source} does not read items of several inputs.")
    model, items = reads(arrays)
    for one in segments:
        if len(one.places) == 1 and picture_of(one.name) not in each:
            rows_of = arrays[one.name].reshape(len(items), *one.extents).tolist()
            each[values_of(one.name)] = [[f"{n:.6g}" for n in row] for row in rows_of]
    told = tuple(" + ".join(dict.fromkeys(some)) for some in zip(*called, strict=True)) if called else items.names
    return model, replace(
        items,
        names=told,
        warnings=(*items.warnings, *warnings),
        facts={INPUTS: [one.told() for one in segments]},
        each=each,
    )


def _pictures(part: Any) -> bool:
    some = part if isinstance(part, (list, tuple)) else [part]
    return bool(some) and all(map(is_picture, some))


def _read(one: Segment, part: Any, outline: Outline) -> Items:
    if one.looked_up and any(isinstance(each, str) for each in (part if isinstance(part, (list, tuple)) else [part])):
        raise ItemError(
            f"Input {one.name!r} of {outline.source} takes token ids, [N, {', '.join(map(str, one.extents))}]: encode "
            "the text with its tokenizer, and give the numbers."
        )
    if not one.pictured:
        raise ItemError(
            f"Input {one.name!r} of {outline.source} takes items of {list(one.extents)}, no pictures; give an array."
        )
    try:
        return items_of(_Alone(pictured(outline, one)), part)
    except (CardError, ItemError) as error:  # of several inputs and cards, it is said which
        by = "" if one.card is None else f", prepared by card {one.card.name!r}"
        raise type(error)(f"Input {one.name!r}{by}: ", error) from None


def _stacked(one: Segment, parts: Sequence[Any]) -> Array:
    """Items that were given one by one, each with a batch axis of 1 or without."""
    arrays = [np.asarray(part.detach().cpu() if hasattr(part, "detach") else part) for part in parts]
    arrays = [array[None] if array.shape == one.extents else array for array in arrays]
    for array in arrays:
        if array.shape != (1, *one.extents):
            wanted = ", ".join(map(str, one.extents))
            raise ItemError(f"An item of input {one.name!r} is {list(array.shape)}; accepted: [{wanted}].")
    return np.concatenate(arrays)
