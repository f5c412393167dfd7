"""Fields: what each unit can see of a picture, by the graph, and what of it really moves the unit."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Natural, Positive, Whole
from xplain.core.declaring.registry import Paper, lens
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.fields import Field, Group
from xplain.core.lenses.scene import More, Scene, Seeing
from xplain.core.positions.grid import Grid
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Query, Sweep, View
from xplain.core.rules import Rules
from xplain.core.target import inner
from xplain.explainers.cam.layers import map_layer
from xplain.explainers.see.crops import in_picture, seen_as_picture
from xplain.explainers.see.layers import short_name
from xplain.explainers.see.patches import no_unit

__all__ = ["fields"]

_ENOUGH = 0.95  # share of the squared gradient that the effective field holds


@dataclass(frozen=True)
class PlaceOf:
    """A place in a layer, counted from 0: ``3x7`` of a picture, ``4x3x7`` of a volume, ``12`` of a series."""

    accepts: str = "a place counted from 0, such as 3x7 or (3, 7)"
    invalid: tuple[Any, ...] = ("3x", "-1x2", "here", 2.5, ())

    def read(self, value: Any) -> tuple[int, ...]:
        """The place, a number per axis. Raises ValueError when refused."""
        if isinstance(value, str):
            value = tuple(value.lower().split("x"))
        given = tuple(value) if isinstance(value, (tuple, list)) else (value,)
        if not given:
            raise ValueError
        return tuple(Whole(0).read(one) for one in given)


Place: TypeAlias = Annotated[tuple[int, ...], PlaceOf()]


@lens(
    "fields",
    needs=Sweep,
    items="may",
    paper=Paper("Luo 2016", "arXiv:1701.04128"),
    aliases=("receptive-fields",),
    trial={"layer": "auto", "pictures": 2},
)
def fields(
    scene: Scene,
    *,
    layer: str = "all",
    unit: Natural | None = None,
    at: Place | None = None,
    pictures: Positive = 8,
) -> Seeing[Cells]:
    """What the units of a layer can see of a picture, and which part of that moves them.

    The receptive field is the set of positions that reach a unit, by the graph alone: exact, per group of channels,
    with every form of padding. The effective one is where the gradient of the unit really is, on average over
    pictures: most of a field's border hardly counts.

    Args:
        layer: The layer's name, ``auto`` for the last one with positions, ``all`` for every layer with positions.
        unit: The channel whose effective field is shown; none for all that see alike, together.
        at: The unit's place in the layer, such as ``3x7`` for row 3, column 7; none for the middle.
        pictures: How many of the first items the effective field is averaged over.

    Returns:
        A gallery with a cell per layer and group of channels that see alike. Without items its map is the field (1
        where the unit sees); with items the box of the field is drawn on the first picture and the map is the root
        mean square of the gradient of these channels, or of ``unit``, at that place. Values are the field's longer side
        in positions; ``facts`` tell sizes, and how many positions across hold 95 % of the squared gradient.

    Cost:
        None without items; else 1 sweep per item, layer and group.

    Raises:
        UsageError: a layer without positions, a place or unit that it does not have, or a model whose item size is not
            known and no item.

    Source:
        Luo, Li, Urtasun and Zemel, Understanding the Effective Receptive Field, NeurIPS 2016; the sets are read from
        the graph.
    """
    known, first, views = scene.outline.layout, None, []
    left = pictures
    while left > 0 and (part := (yield More())) is not None:
        first = first or part
        views.append(part.view if len(part) <= left else part.view.of(np.arange(left)))
        left -= len(part)
    layout = known if not views else views[0].layout
    if layout is None:
        raise UsageError(
            f"{scene.outline.source} takes items of any size, so what a unit sees depends on it. Give one item."
        )
    found: list[Cell] = []
    told: dict[str, Any] = {}
    warnings: list[Caveat] = []
    for name in _layers(scene, views, layout, layer):
        field = None if scene.outline.fields is None else scene.outline.fields(name, layout)
        if field is None or field.channel is None or not any(axis is not None for axis in field.places):
            continue
        if not field.exact:
            warnings.append(Caveat(f"The fields of {short_name(name)} are upper bounds: {field.why}."))
        place = _place(field, name, at)
        for group in _groups(field, name, unit):
            seen = field.mask(group.first, place)
            size = field.size(group)
            called = f"{short_name(name)}[{group.first if unit is not None else f'{group.first}:{group.last}'}]"
            lines = [short_name(name), _channels(group, field), " x ".join(map(str, size)) + " px"]
            if field.whole:
                lines[-1] = "the whole picture"
            told[called] = {"layer": name, "size": list(size), "channels": [group.first, group.last]}
            shown, picture = seen[..., None].astype(np.float32), None
            if views:
                total, count = 0.0, 0
                for view in views:
                    each = yield from _effective(view, name, field, group, place)
                    total, count = total + (each.astype(np.float64) ** 2).sum(axis=0), count + len(each)
                effective = np.sqrt(total / count)
                shown = effective[..., None].astype(np.float32)
                across = _across(effective)
                lines.append(f"effective {' x '.join(map(str, across))}")
                told[called]["effective"] = across
                picture = seen_as_picture(first, 0) if first is not None else None
            found.append(
                Cell(
                    called,
                    float(max(size)),
                    picture,
                    (in_picture(shown)[..., :1],),
                    name=first.names[0] if first is not None else "",
                    caption="\n".join(lines),
                    box=_box(field.box(group.first, place)),
                )
            )
    if not found:
        raise UsageError(
            f"What the units of layer {layer!r} see could not be followed. Look at another ", option("layer"), "."
        )
    what = "effective receptive field" if views else "receptive field"
    return cells(
        found,
        f"What units see of {' x '.join(map(str, layout.map_shape))} positions, layer by layer",
        "longer side of the receptive field",
        map_names=(what,),
        look="heat",
        boxed=bool(views),
        facts={"fields": told},
        warnings=tuple(warnings),
    )


def _layers(scene: Scene, views: list[View], layout: Layout, layer: str) -> list[str]:
    """The layers that are meant."""
    if layer not in ("all", "auto"):
        scene.outline.layer(layer)
        return [layer]
    blank = np.zeros((1, *layout.item), np.float32)
    view = views[0] if views else View(blank, inner("", np.zeros(1)), scene.outline, read=layout)
    if layer == "auto":
        return [map_layer(view, "auto").name]
    lineage = view.lineage
    grids = [] if lineage is None else [(s.name, lineage.grid(s.name, layout), s.op) for s in scene.outline.layers]
    windows = [(name, op) for name, grid, op in grids if isinstance(grid, Grid)]
    some = [name for name, op in windows if _changes(op)]
    return some or [name for name, _ in windows]


def _groups(field: Field, layer: str, unit: int | None) -> tuple[Group, ...]:
    """The channels that see alike, or the one that is asked for.

    Raises:
        UsageError: the layer does not have it.
    """
    if unit is None:
        return tuple(field.groups)
    last = max(group.last for group in field.groups)
    if unit >= last:
        raise no_unit(layer, unit, last, "unit")
    return tuple(replace(one, first=unit, last=unit + 1) for one in field.groups if one.first <= unit < one.last)


def _changes(op: str) -> bool:
    """Whether an operator looks at several positions, or joins what does, by its name: others see what it sees."""
    return any(word in op.lower() for word in ("conv", "pool", "concat", "add"))


def _place(field: Field, layer: str, at: tuple[int, ...] | None) -> tuple[int, ...]:
    """The unit's place along the layer's axes, channels left out: the one that is stated, or the middle."""
    extents = [extent for axis, extent in enumerate(field.shape) if axis != field.channel]
    if at is None:
        return tuple(extent // 2 for extent in extents)
    if len(at) != len(extents) or any(n >= extent for n, extent in zip(at, extents, strict=True)):
        accepted = f"a place in layer {layer!r}, below {'x'.join(map(str, extents))}"
        raise UsageError(option="at", got="x".join(map(str, at)), accepted=accepted)
    return at


def _effective(
    view: View, layer: str, field: Field, group: Group, place: tuple[int, ...]
) -> Generator[Query, Answer, Array]:
    """Per item the gradient of the group's channels at one place: its size over the channels, ``[N, *plane]``."""
    seed = np.zeros(field.shape, np.float32)
    index: list[Any] = list(place)
    assert field.channel is not None
    index.insert(field.channel, slice(group.first, group.last))
    # channels of random signs: what they share and what they do not counts alike
    seed[tuple(index)] = view.rng("fields", layer).choice([-1.0, 1.0], group.last - group.first)
    answer: Any = yield Sweep(view.x[:, None], inner(layer, seed), Rules())
    gradient = np.asarray(answer["input"][1], np.float64)
    channel = view.layout.channel_axis
    return np.abs(gradient) if channel is None else np.sqrt((gradient**2).sum(axis=channel))


def _across(effective: Array) -> list[int]:
    """Positions along each axis around the middle of the squared gradient that hold 95 % of it."""
    found = []
    power = effective.astype(np.float64) ** 2
    for axis in range(power.ndim):
        along = power.sum(axis=tuple(k for k in range(power.ndim) if k != axis))
        whole = along.sum()
        if whole <= 0:
            found.append(0)
            continue
        order = np.argsort(-along, kind="stable")
        enough = int(np.searchsorted(np.cumsum(along[order]), _ENOUGH * whole)) + 1
        kept = order[:enough]
        found.append(int(kept.max() - kept.min()) + 1)
    return found


def _channels(group: Group, field: Field) -> str:
    if group.last == group.first + 1:
        return f"channel {group.first}"
    whole = len(field.groups) == 1
    return f"all {group.last} channels" if whole else f"channels {group.first} to {group.last - 1}"


def _box(found: tuple[int, ...]) -> tuple[int, int, int, int]:
    n = len(found) // 2
    low, high = (0, *found[:n])[-2:], (1, *found[n:])[-2:]
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
