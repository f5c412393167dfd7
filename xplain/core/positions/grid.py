"""Where the positions of a layer lie on the item: read off its axes, or stated by who knows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from xplain.core.keeping.plain import counted
from xplain.core.positions.axes import Axes, Axis, Base, Part, extent_of, shape_of
from xplain.core.positions.layout import Layout

__all__ = ["Grid", "Tokens", "describe", "grid_of", "layer_layout", "stated", "tokens_of"]

_LEAST, _MOST, _ASIDE = 0.55, 1.8, 0.2
"""Share of the item that a grid must cover and may reach beyond, and how far its middle may lie aside: unpadded
convolutions and padded windows keep inside, a crop does not."""


_LOST = "its axes could not be followed from the input"


@dataclass(frozen=True)
class Tokens:
    """A token axis: extra tokens in front, positions, extra tokens behind.

    Args:
        lead: Tokens in front that are no positions, such as a class token.
        cells: Number of positions along each axis of the item's positions.
        trail: Tokens behind.
    """

    lead: int
    cells: tuple[int, ...]
    trail: int = 0

    @property
    def count(self) -> int:
        """All tokens."""
        return self.lead + math.prod(self.cells) + self.trail


@dataclass(frozen=True)
class Grid:
    """How a layer's own values ``[N, ...]`` become maps ``[N, C, *cells]``.

    Args:
        shape: The layer's shape without the batch axis.
        channel: Its axis of channels, counted without the batch axis.
        cuts: For each axis the elements in front and behind that are no positions.
        split: The shape, batch left out, once these are cut off and axes of several positions are split.
        order: Axes of ``split`` in the order channels, then positions in the item's order.
        cells: Positions along each axis of the item's positions; 1 for one that the layer does not have.
    """

    shape: tuple[int, ...]
    channel: int
    cuts: tuple[tuple[int, int], ...]
    split: tuple[int, ...]
    order: tuple[int, ...]
    cells: tuple[int, ...]


def grid_of(axes: Axes, layout: Layout) -> Grid | str:
    """The grid of a layer; a clause that says why it has none.

    Args:
        axes: The layer's axes, batch first.
        layout: Of the explained item.
    """
    lost = any(part.base.kind == "unknown" for axis in axes for part in axis)
    if _kind(axes[0] if axes else (), layout) != "items":
        return _LOST if lost else "it has no batch axis in front, so it cannot be told which item a row belongs to"
    channels: list[int] = []
    cuts: list[tuple[int, int]] = []
    split: list[int] = []
    parts: list[tuple[Part, int]] = []  # with their places in ``split``
    empty: list[tuple[int, int]] = []
    for k, axis in enumerate(axes[1:]):
        found = _pieces(axis, layout)
        cuts.append((0, 0) if found is None else (found[0], found[2]))
        if found is None:
            channels.append(k)
            split.append(extent_of(axis))
        elif not found[1]:
            empty.append((k, len(split)))
            split.append(1)
        else:
            parts += [(part, len(split) + n) for n, part in enumerate(found[1])]
            split += [part.extent for part in found[1]]
    wanted = [k - 1 for k in layout.plane_axes]
    rows = {n: sorted((p for p in parts if p[0].base.axis == n), key=lambda p: -p[0].stride) for n in wanted}
    cells = tuple(math.prod(part.extent for part, _ in rows[n]) for n in wanted)
    if max(cells, default=1) < 2:
        return _LOST if lost else "it has none"
    for n in wanted:
        why = _uncovered(tuple(part for part, _ in rows[n]), layout)
        if why:
            return why
    if len(channels) > 1 or not (channels or empty):
        return "it has no one axis of channels" if channels else "it has no axis of channels"
    taken = channels[0] if channels else empty[0][0]
    places = [place for n in wanted for _, place in rows[n]]
    channel = _at(axes, taken, layout)
    rest = [k for k in range(len(split)) if k != channel and k not in places]
    return Grid(shape_of(axes)[1:], taken, tuple(cuts), tuple(split), (channel, *places, *rest), cells)


def _at(axes: Axes, channel: int, layout: Layout) -> int:
    """Where an axis comes to lie once those before it are split."""
    before = [_pieces(axis, layout) for axis in axes[1 : 1 + channel]]
    return sum(1 if found is None else max(len(found[1]), 1) for found in before)


def tokens_of(axis: Axis, layout: Layout) -> Tokens | None:
    """A token axis; None for one that is not, or whose positions are not in the item's order."""
    found = _pieces(axis, layout)
    if found is None:
        return None
    lead, parts, trail = found
    wanted = [k - 1 for k in layout.plane_axes]
    order = [part.base.axis for part in parts]
    if not order or order != [axis for axis in wanted if axis in order] or any(_uncovered((p,), layout) for p in parts):
        return None
    extents = {part.base.axis: part.extent for part in parts}
    return Tokens(lead, tuple(extents.get(axis, 1) for axis in wanted), trail)


def _pieces(axis: Axis, layout: Layout) -> tuple[int, Axis, int] | None:
    """Tokens in front, the positions, tokens behind; None for an axis of something else, or of several grids."""
    if not axis:
        return 0, (), 0
    if _kind(axis, layout) == "positions":
        return 0, axis, 0
    if len(axis) != 1 or axis[0].base.kind != "pieces" or not axis[0].whole:
        return None
    pieces = axis[0].base.pieces
    grids = [k for k, piece in enumerate(pieces) if _kind(piece, layout) == "positions"]
    if len(grids) != 1:
        return None
    (k,) = grids
    return sum(map(extent_of, pieces[:k])), pieces[k], sum(map(extent_of, pieces[k + 1 :]))


def _kind(axis: Axis, layout: Layout) -> str:
    """What an axis as a whole runs over."""
    kinds = {_of(part.base, layout) for part in axis}
    return kinds.pop() if len(kinds) == 1 else "mixed"


def _of(base: Base, layout: Layout) -> str:
    return "features" if base.kind == "positions" and base.axis + 1 not in layout.plane_axes else base.kind


def _uncovered(parts: Axis, layout: Layout) -> str:
    """Why positions along one axis of the item are not all of it; empty where they are, or there are none."""
    for outer, inner in pairwise(parts):
        if outer.base != inner.base or outer.stride != inner.stride * inner.extent:
            return "its positions are split in a way that does not fit together"
    if not parts:
        return ""
    base = parts[0].base
    if parts[0].stride * parts[0].extent != base.extent:
        return "it has only some of the positions"
    size = layout.item[base.axis]
    low, high = float(base.low), float(base.high)
    aside = layout.is_picture and abs((low + high) / 2 - size / 2) > _ASIDE * size
    if _LEAST <= (high - low) / size <= _MOST and not aside:
        return ""
    return f"it covers only {max(low, 0):g} to {min(high, size):g} of the {size} along {_letter(base, layout)}"


def _letter(base: Base, layout: Layout) -> str:
    letter = layout.axes[base.axis + 1]
    return {"H": "height", "W": "width", "D": "depth", "T": "time"}.get(letter, letter)


def describe(axes: Axes | None, layout: Layout) -> str:
    """Axes as a person reads them: ``N C H:7 W:14``, ``N (1+H:8*W:18) C``, with ? for what could not be followed."""
    return "unknown" if axes is None else " ".join(_word(axis, layout) for axis in axes)


def _word(axis: Axis, layout: Layout) -> str:
    if not axis:
        return "1"
    if len(axis) == 1 and axis[0].base.kind == "pieces":
        pieces = axis[0].base.pieces
        return (
            f"({'+'.join(_word(p, layout) if _kind(p, layout) == 'positions' else str(extent_of(p)) for p in pieces)})"
        )
    kind = _kind(axis, layout)
    if kind == "positions":
        names = [f"{layout.axes[part.base.axis + 1]}:{part.extent}" for part in axis]
        return names[0] if len(names) == 1 else f"({'*'.join(names)})"
    return {"items": "N", "features": f"C:{extent_of(axis)}"}.get(kind, f"?:{extent_of(axis)}")


def stated(shape: Sequence[int], cells: tuple[int, ...], tokens: int, layout: Layout) -> Grid | str:
    """The grid that is stated of a layer of this shape (batch left out); a clause that says why it cannot be.

    Args:
        shape: The layer's.
        cells: Positions along each axis of the item's positions.
        tokens: Tokens in front of them that are no positions.
        layout: Of the explained item.
    """
    wanted = len(layout.plane_axes)
    if len(cells) != wanted:
        return (
            f"grid has {counted(len(cells), 'number')}, and the item has {counted(wanted, 'axis', 'axes')} of positions"
        )
    count = math.prod(cells) + tokens
    if len(shape) == len(cells) + 1 and not tokens:
        fits = [k for k in (0, len(shape) - 1) if (*shape[:k], *shape[k + 1 :]) == cells]
        if len(fits) == 1:
            places = [k for k in range(len(shape)) if k != fits[0]]
            none = ((0, 0),) * len(shape)
            return Grid(tuple(shape), fits[0], none, tuple(shape), (fits[0], *places), cells)
        if fits:
            return "both its first and its last axis could be the channels"
    fits = [k for k in (0, 1) if len(shape) == 2 and shape[k] == count]
    if len(fits) != 1:
        return "both its axes have so many elements" if fits else f"no axis has the {count} tokens that are stated"
    (place,) = fits
    cuts = tuple((tokens, 0) if k == place else (0, 0) for k in (0, 1))
    split = (*cells, shape[1]) if place == 0 else (shape[0], *cells)
    channel = len(cells) if place == 0 else 0
    order = (channel, *(k for k in range(len(split)) if k != channel))
    return Grid(tuple(shape), 1 - place, cuts, split, order, cells)


def layer_layout(axes: Axes | None, shape: tuple[int, ...], layout: Layout) -> Layout:
    """The layout of a layer's values; axes that could not be followed are kept apart, and none is called channels.

    Args:
        axes: The layer's axes, batch first; None where not known.
        shape: Of its values, without the batch axis.
        layout: Of the explained item.
    """
    if axes is None or len(axes) != len(shape) + 1:
        return Layout("N" + "X" * len(shape), shape)
    tokens = [_pieces(axis, layout) for axis in axes[1:]]
    others = [k for k, found in enumerate(tokens) if found is None]
    spare = [k for k, found in enumerate(tokens) if found is not None and not found[1]]
    letters = ["X"] * len(shape)
    for k, found in enumerate(tokens):
        if found is not None and found[1]:
            alone = len(found[1]) == 1 and not found[0] and not found[2]
            letters[k] = layout.axes[found[1][0].base.axis + 1] if alone else "T"
    some = any(letter != "X" for letter in letters)
    if some and len(others) == 1:
        letters[others[0]] = "C"
    elif some and not others and spare:
        letters[spare[0]] = "C"
    return Layout("N" + "".join(letters), shape)
