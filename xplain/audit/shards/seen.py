"""What a model sees of an item, from its content and the plan alone: no model is opened to look at an item again."""

from __future__ import annotations

import numpy as np

from xplain.audit.plans.plan import ModelFacts
from xplain.audit.sources import Content
from xplain.core.edits import Array
from xplain.core.errors import ItemError

__all__ = ["seen"]


def seen(content: Content, facts: ModelFacts) -> tuple[Array, Array | None]:
    """The model's input for one item, and the same pixels for a person.

    Args:
        content: The item.
        facts: What the plan says of the model.

    Returns:
        The tensor ``[*item]``; and uint8 ``[H, W, 3]``, None for an item that is no picture.

    Raises:
        PictureError, ItemError: the item cannot be read, or the model does not take it.
    """
    from xplain.render import bands, pictures, sound

    if facts.door:
        raise ItemError(f"It is of kind {facts.items}, which has no picture: given(items) reads it.")
    card, pixels = facts.preprocessing, None
    if isinstance(content, bytes) and sound.is_sound(content):
        x = sound.samples_of(content, "The sound", facts.axes, facts.layout or None, facts.name)
    elif isinstance(content, np.ndarray) and content.dtype != np.uint8:
        x = content
        x = x[0] if x.ndim == len(facts.item_shape) + 1 and len(x) == 1 else x
    elif card is None:
        raise ItemError(f"Model {facts.name!r} was planned without a card, so it is not known how it sees pictures.")
    elif card.mode == "BANDS":
        x, pixels = bands.prepare_bands(card, content)
    else:
        x, pixels = pictures.prepare(card, pictures.read(content, card.range))
    if x.shape != facts.item_shape:
        raise ItemError(f"It becomes {list(x.shape)}; planned are items of {list(facts.item_shape)}.")
    return np.ascontiguousarray(x), pixels
