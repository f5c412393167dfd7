"""The map of one item over its picture, as arrays: what is drawn where, without any text.

Everything that could mislead is decided here: one limit for both signs, zero in the neutral colour, what is clipped,
what is noise, and that a pixel of the map lies exactly on the pixel of the picture that it speaks of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.render.colormap import Colormap
from xplain.render.geometry import Box
from xplain.render.shown import Shown

__all__ = ["CLIP", "TOP", "Map", "Style", "border", "cells", "limit_of", "map_of", "overlay", "top_region"]

CLIP = 99.0
"""Percentile of |value| at which colours saturate."""

TOP = 10.0
"""Per cent of positions that the line encloses."""

_TWO_SIDED = 1.96  # 95 % of a normal distribution
_HATCH = 6  # pixels from line to line
_FEW = 0.03  # a region below this share of the map is always worth a line
_SCATTERED = 0.15  # share of a region's positions without a neighbour in it, from which it is no region


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """One item's map, ready to be drawn.

    Args:
        values: float64 ``[H, W]``, or ``[D, H, W]`` of a volume or video.
        noise: bool of the same shape: the 95 % interval contains zero; None where there is no standard error.
        picture: uint8 ``[H, W, 3]`` or None.
        signed: Whether the sign carries meaning.
    """

    values: Array
    noise: Array | None
    picture: Array | None
    signed: bool


@dataclass(frozen=True, slots=True)
class Style:
    """How a map is laid over its picture.

    Args:
        alpha: Opacity of the strongest colour, 0 to 1; weaker values let more of the picture through.
        zoom: Each position becomes ``zoom x zoom`` pixels.
        line: Enclose the ``TOP`` per cent of positions with the highest values.
        hatch: Grey out and hatch positions that are noise.
    """

    alpha: float = 0.8
    zoom: int = 1
    line: bool = True
    hatch: bool = True


def map_of(attribution: Shown, item: int, native_resolution: bool = False) -> Map:
    """The map ``[H, W]`` of one item of a picture attribution, ``[D, H, W]`` of a volume's; channels are summed.

    Args:
        attribution: Values with or without channels, in the order of the items' own axes.
        item: Which item; negative counts from the end.
        native_resolution: Show the true cells behind an enlarged map, each the mean over its area.

    Raises:
        UsageError: there is no such item, or its values are no map.
        NonFinite: the values hold NaN or infinity.
    """
    one = attribution[item]
    picture = None if one.pictures is None else np.asarray(one.pictures[0])
    plane = None if picture is None else picture.shape[:2]
    values = np.asarray(one.values[0], np.float64)
    axis = _channel_axis(values.shape, plane, one.layout.partition(" ")[0])
    error = None if one.error is None or axis is not None else np.asarray(one.error[0], np.float64)
    if axis is not None:
        values = values.sum(axis=axis)
    if not np.isfinite(values).all():
        raise NonFinite(
            f"The map of {one.method!r} holds {int((~np.isfinite(values)).sum())} values that are not finite, so it "
            "is not drawn. Look at attribution.values and attribution.notes."
        )
    if plane is not None and plane != values.shape:
        raise UsageError(f"The map is {list(values.shape)} and the picture {list(plane)}: they do not fit together.")
    noise = None if error is None else (np.abs(values) <= _TWO_SIDED * error) & (error > 0)
    if native_resolution and one.resolution is not None:
        if error is not None:  # values inside a cell move together, so the cell's error is their mean, not less
            averaged = cells(error, one.resolution)
            noise = (np.abs(cells(values, one.resolution)) <= _TWO_SIDED * averaged) & (averaged > 0)
        values = cells(values, one.resolution)
    return Map(values, noise, picture, one.signed)


def _channel_axis(shape: tuple[int, ...], plane: tuple[int, ...] | None, axes: str) -> int | None:
    """Which axis of a map is the channels: as the items were read; where that is not recorded, what the sizes say."""
    positions = len(axes.replace("C", "")) - 1
    if len(shape) == 2 or (len(shape) == positions == 3):
        return None
    if "C" in axes and len(shape) == len(axes) - 1:
        axis = axes.index("C") - 1
        if plane is None or (*shape[:axis], *shape[axis + 1 :]) == plane:
            return axis
    if len(shape) == 3:
        if plane is not None:
            return 2 if shape[:2] == plane and shape[1:] != plane else 0
        return 2 if shape[2] <= 4 < min(shape[:2]) else 0
    raise UsageError(
        f"Values of shape {list(shape)} per item cannot be drawn as a map; accepted: [H, W], [C, H, W], [H, W, C]."
    )


def cells(values: Array, resolution: tuple[int, ...]) -> Array:
    """``values`` ``[H, W]`` replaced by the mean over each of ``resolution`` = (rows, columns) cells, same shape."""
    for axis, wanted in enumerate(resolution):
        extent = values.shape[axis]
        edges = np.unique(np.arange(wanted) * extent // wanted)  # more cells than pixels: a pixel each
        counts = np.diff(np.append(edges, extent))
        sums = np.add.reduceat(values, edges, axis=axis)
        values = np.repeat(
            sums / counts.reshape([-1 if k == axis else 1 for k in range(values.ndim)]), counts, axis=axis
        )
    return values


def limit_of(*values: Array) -> float:
    """The value at which colours saturate: the ``CLIP``-th percentile of |value| over all arrays.

    A map that is zero almost everywhere has a percentile of zero; its largest |value| is taken instead, and zero is
    returned only where everything is zero.
    """
    sizes = np.concatenate([np.abs(np.asarray(v, np.float64)).ravel() for v in values])
    return float(np.percentile(sizes, CLIP)) or float(sizes.max(initial=0.0))


def top_region(drawn: Map) -> Array:
    """The ``TOP`` per cent of positions with the highest positive values, as bool ``[H, W]``; noise left out.

    Where many positions share the highest value, all of them. Nothing where all positions are alike, or where the
    highest ones are so scattered, as in a plain gradient, that a line around them would hide the map.
    """
    values = drawn.values if drawn.noise is None else np.where(drawn.noise, np.minimum(drawn.values, 0), drawn.values)
    bar = max(float(np.percentile(values, 100.0 - TOP)), 0.0)
    region: Array = values > bar
    if not region.any() and values.max() > 0:
        region = values >= values.max()
    scattered = region.mean() > _FEW and _alone(region).sum() > _SCATTERED * region.sum()
    return np.zeros_like(region) if region.all() or scattered else region


def overlay(drawn: Map, limit: float, colormap: Colormap, style: Style) -> Array:
    """The map over its grey picture.

    Args:
        drawn: The map.
        limit: Value of the last colour.
        colormap: Colours.
        style: Opacity, zoom and marks.

    Returns:
        uint8 ``[H * zoom, W * zoom, 3]``; position ``(y, x)`` of the map fills rows ``y * zoom`` to
        ``(y + 1) * zoom - 1`` and columns likewise.
    """
    base = np.full(drawn.values.shape, 235.0) if drawn.picture is None else _grey(drawn.picture)
    strength = np.clip(np.abs(drawn.values) / limit, 0, 1) if limit > 0 else np.zeros(drawn.values.shape)
    # without a picture there is nothing to see through the colours
    weight = np.ones_like(strength) if drawn.picture is None else style.alpha * (0.25 + 0.75 * strength)
    noise = drawn.noise if style.hatch else None
    if noise is not None:
        weight = np.where(noise, 0.0, weight)
    colours = colormap.paint(drawn.values, limit).astype(np.float64)
    mixed = (1 - weight[..., None]) * base[..., None] + weight[..., None] * colours
    big = _zoomed(np.rint(mixed).astype(np.uint8), style.zoom)
    if noise is not None:
        _hatch(big, _zoomed(noise, style.zoom))
    if style.line:
        _enclose(big, _zoomed(top_region(drawn), style.zoom))
    return big


def border(big: Array, boxes: Sequence[Box], colour: tuple[int, int, int], zoom: int) -> None:
    """Draw the borders of boxes into an overlay: lines just inside their edges, with a dark one inside that.

    Args:
        big: What ``overlay`` gave; it is changed.
        boxes: (y0, x0, y1, x1) in positions of the map; what lies outside it is left out.
        colour: Of the lines.
        zoom: The overlay's.
    """
    height, width = big.shape[:2]
    rows, columns = np.arange(height)[:, None], np.arange(width)
    for box in boxes:
        y0, x0, y1, x1 = (edge * zoom for edge in box)
        depth = np.minimum(np.minimum(rows - y0, y1 - 1 - rows), np.minimum(columns - x0, x1 - 1 - columns))
        big[depth == 2] = 30
        big[(depth == 0) | (depth == 1)] = colour


def _grey(picture: Array) -> Array:
    """Luma of a picture, lifted so that colours laid over its dark parts stay readable."""
    luma = picture.astype(np.float64) @ [0.299, 0.587, 0.114]
    lifted: Array = 50.0 + luma * (205.0 / 255.0)
    return lifted


def _zoomed(array: Array, zoom: int) -> Array:
    return array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _hatch(big: Array, noise: Array) -> None:
    """Thin diagonal lines where the values are noise."""
    height, width = noise.shape
    lines = noise & ((np.arange(height)[:, None] + np.arange(width)) % _HATCH == 0)
    big[lines] = (big[lines] * 0.72).astype(np.uint8)


def _enclose(big: Array, region: Array) -> None:
    """A white line around the region with a dark one around that: seen on every colour, by every eye.

    Both lie outside the region, so that even a region of one pixel keeps its colour.
    """
    inner = _grown(region) & ~region
    outer = _grown(_grown(region)) & ~region & ~inner
    big[outer] = 30
    big[inner] = 255


def _alone(region: Array) -> Array:
    """Positions of the region with no neighbour in it to the left, right, above or below."""
    padded = np.pad(region, 1)
    beside = padded[1:-1, :-2] | padded[1:-1, 2:] | padded[:-2, 1:-1] | padded[2:, 1:-1]
    alone: Array = region & ~beside
    return alone


def _grown(region: Array) -> Array:
    """The region and its eight neighbours."""
    padded = np.pad(region, 1)
    across = padded[:, :-2] | padded[:, 1:-1] | padded[:, 2:]
    grown: Array = across[:-2] | across[1:-1] | across[2:]
    return grown
