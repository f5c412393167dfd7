"""Patches: for each unit of a layer, the parts of a folder's pictures that excite it most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import Paper, lens
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.fold import TopK
from xplain.core.lenses.scene import Again, More, Scene, Seeing, Some
from xplain.core.positions.grid import Grid
from xplain.core.query import Peek, View
from xplain.core.target import SCORES
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.see.crops import Sight, cut, field_of, projected, seen_in
from xplain.explainers.see.layers import before_clipping, only_channels, short_name
from xplain.explainers.see.tops import ByClass, Tops, ties
from xplain.explainers.see.vectors import folder_of
from xplain.rules.guided import DECONVNET, GUIDED

__all__ = ["patches"]

_AT_ONCE = 16
_TABLES = {"deconvnet": DECONVNET, "guided backpropagation": GUIDED}
_BESIDE = {"none": (), "deconvnet": ("deconvnet",), "guided": ("guided backpropagation",), "both": tuple(_TABLES)}


@lens(
    "patches",
    needs=Peek,
    paper=Paper("Zeiler & Fergus 2014", "arXiv:1311.2901"),
    trial={"layer": "auto", "k": 3, "units": "0,2", "classes": "none"},
)
def patches(
    scene: Scene,
    *,
    layer: str = "auto",
    k: Positive = 9,
    units: str = "12",
    several: bool = False,
    beside: Literal["none", "deconvnet", "guided", "both"] = "none",
    classes: Literal["auto", "folder", "predicted", "none"] = "auto",
) -> Seeing[Cells]:
    """For each unit of a layer the parts of a folder's pictures that excite it most: what it has learnt to look for.

    A patch is what the unit can see of the picture: its receptive field at the place of its largest value, exact by the
    graph. The folder streams; what is kept is k values per unit.

    Args:
        layer: The layer's name, or ``auto`` for the last one with positions. Units may also be those of a dense layer
            or of one behind a global pool, which see the whole picture.
        k: Patches per unit.
        units: Which are shown: numbers such as ``0,5,12``, ``all``, or how many as ``n``: ``12`` shows the twelve most
            selective ones, or with one class those whose largest values stand out most. One number with a comma behind
            it, ``5,``, is that unit.
        several: Let one picture give several patches to a unit, at different positions, instead of its best alone.
        beside: What is projected back from the unit to its patch: ``deconvnet``, ``guided`` backpropagation, or both.
        classes: What the classes of items are, for selectivity and shares: the ``folder`` a picture lies in, the class
            that is ``predicted``, or ``none``; ``auto`` takes folders where there are several.

    Returns:
        A gallery with a row per unit; values are the unit's, in units of the layer, boxes are where the patches lie.
        Beside a unit stand its selectivity, ``(m - r) / (|m| + |r|)`` of its mean over the class that excites it most
        and over all others, and the classes among its patches. ``facts`` hold the same of all units.

    Cost:
        1 evaluation per item; with ``beside`` 1 sweep per patch that is shown, and projection.

    Raises:
        UsageError: a unit that the layer does not have, or a layer without channels.

    Source:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, figure 2; receptive fields
        are read from the graph; selectivity of Morcos, Barrett, Rabinowitz and Botvinick, ICLR 2018.
    """
    asked = numbers_of(units)
    tops, by_class, best = Tops(k, asked), {"folder": ByClass(), "predicted": ByClass()}, np.zeros(0)
    known: _Layer | None = None
    total = np.zeros(0)
    while (part := (yield More())) is not None:
        known = known or _layer(part.view, layer)
        predicts = classes in ("auto", "predicted") and part.view.outline.scores.classes is not None
        taps = (known.name, SCORES) if predicts else (known.name,)
        answer = yield Peek(part.view.x, taps, TopK(k if several else 1, known.channel + 1), many=True)
        top = answer[known.name]
        if asked and max(asked) >= top.values.shape[1]:
            raise no_unit(known.name, max(asked), top.values.shape[1])
        tops.add(part, top)
        largest = np.asarray(top.values[:, :, 0], np.float64)
        for one in largest:
            best, total = (np.maximum(best, one), total + one) if best.size else (one.copy(), one.copy())
        if classes in ("auto", "folder"):
            by_class["folder"].add([folder_of(one) for one in part.given], largest)
        if predicts:
            scores = answer[SCORES].values[..., 0]
            by_class["predicted"].add([part.view.outline.label_name(int(c)) for c in scores.argmax(axis=1)], largest)
    assert known is not None  # there are items
    groups = _classes(by_class, classes)
    index, favourite = (None, []) if groups is None else groups.selectivity()
    silent = np.flatnonzero(best <= 0)
    shown = asked or _shown(units, index, best, total / max(tops.count, 1), silent)
    found, about = yield from _rows(scene, known, tops, shown, _BESIDE[beside])
    _describe(about, known, shown, (index, favourite), groups, tops)
    warnings = list(_warnings(known, silent, shown))
    if tops.values.shape[1] > 1:
        warnings += ties([(float(tops.values[c, 0]), float(tops.values[c, 1])) for c in shown])
    return cells(
        found,
        f"Patches that excite {short_name(known.name)} most, of {counted(tops.count, 'item')}",
        "activation of the unit",
        map_names=_BESIDE[beside],
        form="rows",
        look="colour",
        about=about,
        facts=_facts(known, tops, index, favourite, silent),
        warnings=tuple(warnings),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """The layer whose units are looked at: where its channels lie, counted without the batch, and what they see."""

    name: str
    source: str
    shape: tuple[int, ...]
    channel: int
    sight: Sight
    why: str


def _layer(view: View, layer: str) -> _Layer:
    """The layer that is meant.

    Raises:
        UsageError: it has no one axis of channels; the message names layers that have.
    """
    lineage = view.lineage
    name = map_layer(view, "auto").name if layer == "auto" else layer
    if layer != "auto":
        view.outline.layer(layer)
    grid = None if lineage is None else lineage.grid(name, view.layout)
    shape = view.outline.extents(name, view.layout.item)
    alone = only_channels(shape)
    if isinstance(grid, Grid):
        channel, shape = grid.channel, grid.shape
    elif alone is not None:
        channel = alone
    else:
        found = map_layer(view, name)  # which says why it has none
        channel, shape = found.grid.channel, found.grid.shape
    field = field_of(view, name, shape)
    why = "" if field is None or field.exact else field.why
    return _Layer(name, before_clipping(view, name), shape, channel, Sight(name, view.layout, field), why)


def numbers_of(units: str) -> list[int] | None:
    """The units that are named one by one; None where they are chosen later."""
    words = [word.strip() for word in units.split(",") if word.strip()]
    if not words or not all(word.isdecimal() and len(word) < 9 for word in words):
        if units != "all":
            raise UsageError(option="units", got=units, accepted="'all', how many, such as 12, or numbers: 0,5,12")
        return None
    return list(dict.fromkeys(map(int, words))) if "," in units else None


def no_unit(layer: str, unit: int, count: int, name: str = "units") -> UsageError:
    """The error for a unit that a layer does not have."""
    accepted = f"numbers of layer {layer!r}, 0 to {count - 1}"
    return UsageError(option=name, got=unit, accepted=accepted)


def _classes(by_class: dict[str, ByClass], wanted: str) -> ByClass | None:
    """What items are grouped by."""
    if wanted == "none":
        return None
    folder = by_class["folder"]
    if wanted == "folder" or (wanted == "auto" and len(set(folder.of) - {""}) > 1):
        return folder
    return by_class["predicted"] if by_class["predicted"].of else None


def _shown(units: str, index: Array | None, best: Array, mean: Array, silent: Array) -> list[int]:
    """The units that are shown where none is named: the most selective ones, in that order."""
    alive = [c for c in range(len(best)) if c not in set(silent.tolist())]
    if units == "all":
        return alive
    stands_out = best / np.where(mean > 0, mean, np.inf) if index is None else index
    return sorted(alive, key=lambda c: (-stands_out[c], c))[: int(units.strip(" ,"))]


def _rows(
    scene: Scene, layer: _Layer, tops: Tops, shown: Sequence[int], beside: Sequence[str]
) -> Generator[Any, Any, tuple[list[Cell], dict[str, str]]]:
    """The cells of the units that are shown, their items read once more."""
    short, section = short_name(layer.name), brief_layer(layer.name)
    wanted: dict[int, list[tuple[int, int]]] = {}
    for c in shown:
        for rank in range(tops.values.shape[1]):
            if tops.values[c, rank] > 0 or rank == 0:
                wanted.setdefault(int(tops.items[c, rank]), []).append((c, rank))
    made: dict[tuple[int, int], Cell] = {}
    items = sorted(wanted, key=lambda item: tops.names[item])
    for first in range(0, len(items), _AT_ONCE):
        some_items = items[first : first + _AT_ONCE]
        some: Some = yield Again(tuple(tops.given[item] for item in some_items))
        jobs = [(n, c, rank) for n, item in enumerate(some_items) for c, rank in wanted[item]]
        maps: list[Array] = []
        for table in beside:
            view = some.view.of(np.array([n for n, _, _ in jobs]))
            places = [layer.sight.unit(c, int(tops.places[c, r]), layer.shape, layer.channel) for _, c, r in jobs]
            maps.append((yield from projected(view, layer.source, places, _TABLES[table], some.card or scene.card)))
        for job, (n, c, rank) in enumerate(jobs):
            box = layer.sight.box(c, int(tops.places[c, rank]))
            value, name = float(tops.values[c, rank]), tops.names[some_items[n]]
            made[c, rank] = Cell(
                f"{short}[{c}]",
                value,
                seen_in(some, n, box, layer.sight.size(c)),
                tuple(cut(one[job], box, layer.sight.size(c), 0) for one in maps),
                name=name,
                caption=f"{value:.3g}\n{Path(name.removeprefix('skimage:')).stem}",
                box=box,
                section=section,
            )
    order = [(c, rank) for c in shown for rank in range(tops.values.shape[1]) if (c, rank) in made]
    return [made[one] for one in order], {f"{short}[{c}]": "" for c in shown}


def _describe(
    about: dict[str, str],
    layer: _Layer,
    shown: Sequence[int],
    selective: tuple[Array | None, list[str]],
    groups: ByClass | None,
    tops: Tops,
) -> None:
    """What stands beside each unit: its selectivity, the classes among its patches, and how much it sees."""
    index, favourite = selective
    for unit, c in zip(about, shown, strict=True):
        lines = []
        if index is not None:
            lines.append(f"selectivity {index[c]:.2f} for {_brief(favourite[c])}")
        if groups is not None and len(set(groups.of)) > 1:
            items = tops.items[c][tops.values[c] > 0]
            shares = Counter(groups.of[item] for item in items).most_common(2)
            lines += [f"{_brief(label)}: {count} of {len(items)}" for label, count in shares]
        rows, columns = layer.sight.size(c)
        whole = layer.sight.field is None or (rows, columns) == layer.sight.plane[-2:]
        seen = f"{rows} x {columns} px" if len(layer.sight.plane) > 1 else f"{columns} positions"
        lines.append("sees the whole picture" if whole else f"sees {seen}")
        about[unit] = "\n".join(lines)


def _brief(label: str) -> str:
    """The first of a label's synonyms, for a column that is narrow."""
    return label.split(",")[0] or "in no folder"


def _warnings(layer: _Layer, silent: Array, shown: Sequence[int]) -> list[Caveat]:
    told = []
    if len(silent):
        one = "unit never fires" if len(silent) == 1 else "units never fire"
        some = ", ".join(map(str, silent[:8].tolist())) + (f" and {len(silent) - 8} more" if len(silent) > 8 else "")
        told.append(Caveat(f"{len(silent)} {one} on these items: {some}.", "empty"))
    if layer.why:
        told.append(Caveat(f"Receptive fields are upper bounds: {layer.why}.", "other"))
    return told


def _facts(layer: _Layer, tops: Tops, index: Array | None, favourite: list[str], silent: Array) -> dict[str, Any]:
    told: dict[str, Any] = {"layer": layer.name, "largest": tops.values[:, 0].copy(), "never fire": silent.tolist()}
    if index is not None:
        told |= {"selectivity": index, "class": favourite}
    return told
