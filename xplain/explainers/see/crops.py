"""What a unit sees of an item: the part of its picture, and what is projected back into it."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from xplain.core.arrays import enlarge, shades
from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.lenses.fields import Field
from xplain.core.lenses.scene import Some
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Query, Sweep, View
from xplain.core.rules import Rules
from xplain.core.target import Target
from xplain.core.targets.leaves import Leaf

__all__ = ["Sight", "alone", "cut", "field_of", "in_picture", "projected", "seen_as_picture"]
__all__ += ["seen_in"]

Box = tuple[int, int, int, int]


class Sight:
    """Where the units of one layer look.

    Args:
        layer: The layer.
        layout: Of the item.
        field: What its units see; None where that is not known, and then they see all.
    """

    def __init__(self, layer: str, layout: Layout, field: Field | None) -> None:
        self.layer, self.layout, self.field = layer, layout, field
        self.plane = tuple(layout.item[axis - 1] for axis in layout.plane_axes)
        self._sizes: dict[int, tuple[int, int]] = {}  # by the first channel of a group

    def box(self, channel: int, place: int) -> Box:
        """(y0, x0, y1, x1) of what the unit sees; a series has one row, of a volume all slices are seen."""
        if self.field is None:
            found: tuple[int, ...] = (*(0,) * len(self.plane), *self.plane)
        else:
            found = self.field.box(channel, self.field.at(place))
            if not any(found):  # it sees padding alone
                found = (*(0,) * len(self.plane), *self.plane)
        n = len(self.plane)
        low, high = (0, *found[:n])[-2:], (1, *found[n:])[-2:]
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def size(self, channel: int) -> tuple[int, int]:
        """Rows and columns that a unit of a channel sees where no border cuts it."""
        if self.field is None:
            return (1, *self.plane)[-2], self.plane[-1]
        group = self.field.group(channel)
        if group.first not in self._sizes:
            found = (1, *self.field.size(group))
            self._sizes[group.first] = found[-2], found[-1]
        return self._sizes[group.first]

    def unit(self, channel: int, place: int, shape: Sequence[int], axis: int) -> tuple[int, ...]:
        """The unit's index in the layer ``[*shape]`` without the batch, whose channels lie along ``axis``."""
        rest = [extent for k, extent in enumerate(shape) if k != axis]
        found = [int(n) for n in np.unravel_index(place, rest)] if rest else []
        found.insert(axis, channel)
        return tuple(found)


def field_of(view: View, layer: str, shape: Sequence[int]) -> Field | None:
    """What the units of a layer see; None where the model does not tell, or tells of another tensor."""
    known = view.outline.fields
    field = None if known is None else known(layer, view.layout)
    return field if field is not None and tuple(field.shape) == tuple(shape) else None


def seen_as_picture(some: Some, n: int) -> Array:
    """An item as a picture uint8 ``[h, w, 3]``: the one that the model sees, or its numbers from black to white."""
    return np.asarray(some.pictures[n]) if some.pictures is not None else _shaded(some, n)


def seen_in(some: Some, n: int, box: Box, size: tuple[int, int] | None = None) -> Array:
    """The part of ``seen_as_picture`` in a box; see ``cut``. Nothing but that part is shaded."""
    if some.pictures is not None:
        return cut(np.asarray(some.pictures[n]), box, size)
    return _filled(_shaded(some, n, box), box, size, 255)


def _shaded(some: Some, n: int, box: Box | None = None) -> Array:
    """An item's numbers, or those in a box, as shades of what all of it holds."""
    layout = some.view.layout
    values = np.asarray(some.view.x[n])
    channel = layout.channel_axis
    values = values[..., None] if channel is None else np.moveaxis(values, channel - 1, -1)
    if values.shape[-1] not in (1, 3):
        values = values.mean(axis=-1, keepdims=True, dtype=np.float64)
    part = values
    if box is not None:
        y0, x0, y1, x1 = box
        part = values[x0:x1] if values.ndim == 2 else values[..., y0:y1, x0:x1, :]
    return in_picture(shades(part, values)).astype(np.uint8)


def in_picture(values: Array) -> Array:
    """Values ``[*plane, d]`` as ``[h, w, 3]``: a series is one row, of a volume the mean over its slices is taken."""
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 4:
        values = values.mean(axis=0)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def cut(picture: Array, box: Box, size: tuple[int, int] | None = None, blank: float = 255) -> Array:
    """The part of a picture in a box.

    Args:
        picture: ``[h, w, d]``.
        box: (y0, x0, y1, x1), inside the picture.
        size: Rows and columns that the unit would see away from the border; what lies outside is ``blank``.
        blank: What stands for what is no part of the picture.
    """
    y0, x0, y1, x1 = box
    return _filled(picture[y0:y1, x0:x1], box, size, blank)


def _filled(part: Array, box: Box, size: tuple[int, int] | None, blank: float) -> Array:
    """What was cut out of a picture, with ``blank`` for what the unit would see beyond the border; see ``cut``."""
    y0, x0, _, _ = box
    missing = [max(0, want - have) for want, have in zip(size or part.shape[:2], part.shape[:2], strict=True)]
    front = [gap if low == 0 else 0 for gap, low in zip(missing, (y0, x0), strict=True)]
    if not any(missing):
        return np.ascontiguousarray(part)
    whole = np.full((part.shape[0] + missing[0], part.shape[1] + missing[1], part.shape[2]), blank, part.dtype)
    whole[front[0] : front[0] + part.shape[0], front[1] : front[1] + part.shape[1]] = part
    return whole


def alone(view: View, n: int, boxes: Sequence[Box]) -> Array:
    """Parts of one item, each cut out and enlarged bilinearly to the whole: float32 ``[R, *item]``."""
    rows, columns = (axis - 1 for axis in view.layout.plane_axes)
    item = np.moveaxis(view.x[n], (rows, columns), (-2, -1)).astype(np.float32)
    size = item.shape[-2:]
    made = [np.moveaxis(enlarge(item[..., y0:y1, x0:x1], size), (-2, -1), (rows, columns)) for y0, x0, y1, x1 in boxes]
    return np.ascontiguousarray(np.stack(made), np.float32)


def projected(
    view: View, layer: str, units: Sequence[tuple[int, ...]], rules: Rules, card: Card | None
) -> Generator[Query, Answer, Array]:
    """What comes back at the items from one unit each, float32 ``[N, h, w, 3]``, in red, green and blue.

    Args:
        view: The items.
        layer: The layer.
        units: A unit of it for each item.
        rules: What rectifiers pass back.
        card: Undone, so that channels are the picture's.
    """
    target = Target(((1.0, Leaf("neuron", layer, tuple(units), per_item=True)),))
    answer: Any = yield Sweep(view.x[:, None], target, rules, ("input",))
    found = np.asarray(answer["input"][1], np.float64)
    channel = view.layout.channel_axis
    found = found[..., None] if channel is None else np.moveaxis(found, channel, -1)
    if found.shape[-1] == 3 and card is not None:
        found = found * (card.scale / np.broadcast_to(np.asarray(card.std, np.float64), 3))
        found = found[..., ::-1] if card.mode == "BGR" else found
    if found.shape[-1] not in (1, 3):
        found = found.sum(axis=-1, keepdims=True)
    return np.stack([in_picture(one) for one in found]).astype(np.float32)
