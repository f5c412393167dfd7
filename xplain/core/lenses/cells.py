"""What lenses return that show pictures: cells, each a unit of the model beside what excites it, or what it holds.

A cell holds raw numbers; how they become colours is decided when they are drawn, and can be chosen then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.edits import Array

__all__ = ["Cell", "Cells", "Contrast", "Form", "Look", "cells"]

Form: TypeAlias = Literal["grid", "rows"]
Contrast: TypeAlias = Literal["cell", "unit", "shared"]
Look: TypeAlias = Literal["grey", "heat", "colour", "signed", "line"]


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One cell.

    Args:
        unit: What it shows, such as ``"fire5[12]"``.
        value: How strongly; NaN where there is no such number.
        picture: uint8 ``[H, W, 3]``: a photograph, or what the unit sees of it; or None.
        maps: Raw numbers ``[h, w, d]``, d = 1 or 3 (red, green, blue), one array for each of ``Cells.map_names``, all
            of one shape.
        name: The item that it comes from; empty where it comes from the model alone.
        caption: What stands below it.
        box: (y0, x0, y1, x1), half open: where it lies in the item's picture, in pixels as the model sees it.
        section: Cells of one section follow one another below a common heading, such as their layer's name.
    """

    unit: str
    value: float = float("nan")
    picture: Array | None = None
    maps: tuple[Array, ...] = ()
    name: str = ""
    caption: str = ""
    box: tuple[int, int, int, int] = (0, 0, 0, 0)
    section: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What a lens returns: N cells, their arrays padded to one size; see ``xplain.results.Gallery`` for the fields."""

    title: str
    unit: str
    units: tuple[str, ...]
    values: Array
    names: tuple[str, ...]
    captions: tuple[str, ...]
    sections: tuple[str, ...]
    boxes: Array
    pictures: Array | None
    sizes: Array
    maps: Array | None
    map_sizes: Array
    map_names: tuple[str, ...] = ()
    form: Form = "grid"
    look: Look = "grey"
    boxed: bool = False
    overlaid: bool = False
    contrast: Contrast = "cell"
    about: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()


def cells(found: Sequence[Cell], title: str, unit: str, **more: Any) -> Cells:
    """Cells of any sizes as one ``Cells``.

    Args:
        found: The cells, in order.
        title: What a person reads above them.
        unit: What one unit of value means.
        more: Fields of ``Cells`` that are of all: ``map_names``, ``form``, ``look``, ``about``, ``facts`` ...
    """
    pictures, sizes = _padded([one.picture for one in found])
    names = tuple(more.get("map_names", ()))
    by_map = [_padded([one.maps[k] if one.maps else None for one in found]) for k in range(len(names))]
    maps = [array for array, _ in by_map if array is not None]
    return Cells(
        title=title,
        unit=unit,
        units=tuple(one.unit for one in found),
        values=np.array([one.value for one in found], np.float64),
        names=tuple(one.name for one in found),
        captions=tuple(one.caption for one in found),
        sections=tuple(one.section for one in found),
        boxes=np.array([one.box for one in found], np.int64).reshape(len(found), 4),
        pictures=pictures,
        sizes=sizes,
        maps=np.stack(maps, axis=1) if maps and len(maps) == len(names) else None,
        map_sizes=by_map[0][1] if by_map else np.zeros((len(found), 2), np.int64),
        **more,
    )


def _padded(arrays: Sequence[Array | None]) -> tuple[Array | None, Array]:
    """Arrays ``[h, w, d]`` as one ``[N, H, W, D]``, filled up with zeros, and the size of each; None where none is."""
    sizes = np.array([(0, 0) if one is None else one.shape[:2] for one in arrays], np.int64).reshape(len(arrays), 2)
    there = [one for one in arrays if one is not None]
    if not there:
        return None, sizes
    depth = max(one.shape[2] for one in there)
    whole = np.zeros((len(arrays), *sizes.max(axis=0), depth), there[0].dtype)
    for n, one in enumerate(arrays):
        if one is not None:
            whole[n, : one.shape[0], : one.shape[1]] = one
    return whole, sizes
