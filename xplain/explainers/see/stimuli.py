"""Stimuli: the regions of pictures that a unit answers to most, each region shown to the model by itself."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Fraction, Positive
from xplain.core.declaring.registry import Paper, lens
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.fold import Max
from xplain.core.lenses.scene import Again, More, Scene, Seeing, Some, handle
from xplain.core.positions.grid import Grid
from xplain.core.query import Answer, Peek, Query, View
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.see.crops import alone, cut, seen_as_picture
from xplain.explainers.see.layers import only_channels, short_name
from xplain.explainers.see.patches import no_unit, numbers_of
from xplain.explainers.see.regions import Box, Regions, apart, proposed, told_of
from xplain.explainers.see.tops import ties

__all__ = ["stimuli"]


@lens(
    "stimuli",
    needs=Peek,
    paper=Paper("Girshick 2014", "arXiv:1311.2524"),
    trial={"layer": "auto", "units": "0,2", "k": 3, "regions": 4, "proposals": "grid"},
)
def stimuli(
    scene: Scene,
    *,
    layer: str = "auto",
    units: str = "6",
    k: Positive = 8,
    regions: Positive = 24,
    proposals: Literal["grid", "superpixels", "selective-search"] = "grid",
    boxes: Regions | None = None,
    overlap: Fraction = 0.3,
) -> Seeing[Cells]:
    """The regions of a folder that excite a unit most, each shown to the model by itself, enlarged to its input.

    Regions are proposed without the model, as R-CNN does; each is cut out, resized and scored by the unit's largest
    value; of regions of one picture that overlap only the best stays. A part that excites the unit in its context but
    not alone is not found: ``patches`` shows those.

    Args:
        layer: The layer's name, or ``auto`` for the last one with positions.
        units: Numbers such as ``0,5,12``, or how many: those whose best region stands out most from the others.
        k: Regions per unit.
        regions: Regions that are tried per picture, the largest ones first.
        proposals: How they are found: a ``grid`` of squares of three sizes, ``superpixels`` (SLIC) with neighbours
            joined, or ``selective-search`` (OpenCV with its contrib modules).
        boxes: Your own regions instead: ``[y0, x0, y1, x1]``, in pixels of the picture as the model sees it, a list of
            them for each item in order, or by the items' names; on a command line a JSON file of the same.
        overlap: Intersection over union from which the weaker of two regions of one picture is dropped.

    Returns:
        A gallery with a row per unit; values are the unit's largest value in the region alone, boxes are the regions.

    Cost:
        ``regions`` evaluations per item.

    Raises:
        UsageError: a unit that the layer does not have, or items that are no pictures.
        MissingDependency: selective search without OpenCV's contrib modules.

    Source:
        Girshick, Donahue, Darrell and Malik, Rich Feature Hierarchies, CVPR 2014, section 3.1.
    """
    asked = numbers_of(units)
    best: dict[int, list[tuple[float, int, Box]]] = {}
    given: dict[int, Any] = {}
    names: dict[int, str] = {}
    name, place, total, peak, count = layer, 0, np.zeros(0), np.zeros(0), 0
    while (part := (yield More())) is not None:
        if not part.view.layout.is_picture:
            raise UsageError(f"Regions are of pictures; the items are of layout {part.view.layout.axes}.")
        name, channel = _channel(part.view, layer)
        for n in range(len(part)):
            picture = seen_as_picture(part, n)
            if boxes is None:
                tried = proposed(picture, proposals, regions)
            else:
                tried = told_of(boxes, (part.names[n], place), (picture.shape[0], picture.shape[1]))
            given[place], names[place] = handle(part, n), part.names[n]
            place += 1
            if not tried:
                continue
            values = yield from _alone(part.view, n, tried, name, channel)
            if asked and max(asked) >= values.shape[1]:
                raise no_unit(name, max(asked), values.shape[1])
            total = total + values.sum(axis=0) if total.size else values.sum(axis=0)
            peak = np.maximum(peak, values.max(axis=0)) if peak.size else values.max(axis=0)
            count += len(tried)
            for c in asked or range(values.shape[1]):
                found = [(float(values[r, c]), tried[r]) for r in apart(values[:, c], tried, overlap)[:k]]
                kept = [*best.get(c, []), *((value, place - 1, box) for value, box in found if value > 0)]
                best[c] = sorted(kept, key=lambda one: (-one[0], one[1], one[2]))[:k]
        wanted = {item for some in best.values() for _, item, _ in some}
        given = {item: one for item, one in given.items() if item in wanted}
    if not count:
        accepted = f"boxes of the items, such as {names[0]!r}" if names else "boxes of the items"
        raise UsageError(option="boxes", got=list(boxes or ())[:3], accepted=accepted)
    stands_out = peak / np.where(total > 0, total / max(count, 1), np.inf)
    alive = [c for c in best if best[c]]
    most = len(alive) if asked or units == "all" else int(units)
    shown = asked or sorted(alive, key=lambda c: (-stands_out[c], c))[:most]
    cells_of = yield from _cells(name, shown, best, given, names)
    silent = [c for c in shown if not best.get(c)]
    warnings = [Caveat(f"No region excites unit {', '.join(map(str, silent))}.", "empty")] if silent else []
    warnings += ties([(best[c][0][0], best[c][1][0]) for c in shown if len(best.get(c, [])) > 1])
    return cells(
        cells_of,
        f"Regions that excite {short_name(name)} most by themselves, of {counted(place, 'picture')}",
        "largest activation of the unit in the region alone",
        form="rows",
        facts={"layer": name, "regions": count},
        warnings=tuple(warnings),
    )


def _channel(view: View, layer: str) -> tuple[str, int]:
    """The layer's name and the axis of its channels, batch in front."""
    if layer != "auto":
        view.outline.layer(layer)
        lineage = view.lineage
        grid = None if lineage is None else lineage.grid(layer, view.layout)
        alone = only_channels(view.outline.extents(layer, view.layout.item))
        if not isinstance(grid, Grid) and alone is not None:
            return layer, alone + 1
    found = map_layer(view, layer)
    return found.name, found.grid.channel + 1


def _alone(view: View, n: int, boxes: list[Box], layer: str, channel: int) -> Generator[Query, Answer, Array]:
    """The largest value of each unit for each region of one item, enlarged to the whole: ``[R, C]``."""
    answer = yield Peek(alone(view, n, boxes), (layer,), Max(channel))
    return np.asarray(answer[layer], np.float64)


def _cells(
    layer: str,
    shown: list[int],
    best: dict[int, list[tuple[float, int, Box]]],
    given: dict[int, Any],
    names: dict[int, str],
) -> Generator[Any, Any, list[Cell]]:
    """A cell per region, the items read once more."""
    pictures: dict[int, Array] = {}
    wanted = sorted({item for c in shown for _, item, _ in best.get(c, [])})
    for first in range(0, len(wanted), 16):
        some_items = wanted[first : first + 16]
        some: Some = yield Again(tuple(given[item] for item in some_items))
        pictures |= {item: seen_as_picture(some, n) for n, item in enumerate(some_items)}
    short = short_name(layer)
    return [
        Cell(
            f"{short}[{c}]",
            value,
            cut(pictures[item], box),
            name=names[item],
            caption=f"{value:.3g}\n{Path(names[item].removeprefix('skimage:')).stem}",
            box=box,
            section=brief_layer(layer),
        )
        for c in shown
        for value, item, box in best.get(c, [])
    ]
