"""Dissection: which concept each unit of a layer fits best, held against masks or labelled folders."""

from __future__ import annotations

import zipfile
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.arrays import enlarge
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Fraction, Positive
from xplain.core.declaring.registry import Paper, lens
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import brief_layer, counted
from xplain.core.lenses.cells import Cell, Cells, cells
from xplain.core.lenses.fold import TopK
from xplain.core.lenses.kept_vectors import KeptVectors
from xplain.core.lenses.scene import Again, More, Scene, Seeing, Some, handle
from xplain.core.query import Peek
from xplain.explainers.cam.layers import MapLayer, map_layer
from xplain.explainers.see.crops import seen_as_picture
from xplain.explainers.see.kept import asked_for
from xplain.explainers.see.layers import short_name
from xplain.explainers.see.vectors import folder_of

__all__ = ["MasksOf", "dissect"]

_AT_ONCE, _UNITS, _DEALT = 16, 64, 20
_MOST_BYTES = 2**31


@dataclass(frozen=True)
class MasksOf:
    """Masks by concept: a mapping from its name to bool or 0/1 ``[N, H, W]``, or an .npz file of such arrays."""

    accepts: str = "a mapping from concepts to masks [N, H, W], one per item, or an .npz file of such arrays"
    invalid: tuple[Any, ...] = (3, "no-such-file.npz")
    names_files: bool = True

    def read(self, value: Any) -> dict[str, Array]:
        """The masks, bool. Raises ValueError when refused."""
        if isinstance(value, (str, Path)):
            value = _from_file(Path(value))
        if not isinstance(value, Mapping) or not value:
            raise ValueError
        found = {str(name): np.asarray(masks) for name, masks in value.items()}
        if any(one.ndim != 3 or one.dtype.kind not in "biuf" for one in found.values()):
            raise ValueError
        return {name: one != 0 for name, one in found.items()}


def _from_file(path: Path) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(one.file_size for one in archive.infolist()) > _MOST_BYTES:
                raise ValueError
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (OSError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError from error


Masks: TypeAlias = Annotated[Any, MasksOf()]


@lens(
    "dissect",
    needs=Peek,
    kept="one",
    paper=Paper("Bau 2017", "arXiv:1704.05796"),
    trial={"layer": "auto", "units": 2, "k": 2, "masks": {"left": np.eye(12)[None].repeat(9, axis=0) > 0}},
)
def dissect(
    scene: Scene,
    *,
    layer: str = "auto",
    masks: Masks | None = None,
    units: Positive = 8,
    k: Positive = 5,
    share: Fraction = 0.005,
) -> Seeing[Cells]:
    """For each unit of a layer the concept that it fits best, and how well: the overlap of where it fires with masks.

    A unit fires where its map, enlarged to the item, is above the level that it passes at ``share`` of all positions.
    ``IoU = |fires and mask| / |fires or mask|`` over all items. Without masks the concepts are the folders that
    pictures lie in, each as a whole: a unit fires on its n best pictures, n those of the folder, on those equal to the
    last of them too, and on none where it is silent. Then it is also told how well the best unit fits when the folders
    are dealt out anew, which of a few pictures and many units is well. Vectors will do for that which ``embed`` has
    kept of the layer with the positions ``max``.

    Args:
        layer: The layer's name, or ``auto`` for the last one with positions.
        masks: Masks by concept, in the order of the items and as the model sees them (after resize and crop); none for
            the folders.
        units: How many units are shown, those with the largest IoU.
        k: Items shown of each unit, those where it fires most.
        share: Share of positions at which a unit fires.

    Returns:
        A gallery with a row per unit, its concept and IoU beside it; values are the unit's largest value in the item, a
        map over each picture shows where it fires. ``facts["units"]`` tells concept and IoU of every unit,
        ``facts["iou"]`` is the whole table ``[units, concepts]``.

    Cost:
        2 evaluations per item with masks, 1 without; and 1 per item that is shown.

    Raises:
        UsageError: masks of another number or size than the items, or neither masks nor several folders.

    Source:
        Bau, Zhou, Khosla, Oliva and Torralba, Network Dissection, CVPR 2017, section 2.
    """
    if scene.kept:
        return (yield from _of_kept(scene, layer, masks, units, k))
    given: list[Any] = []
    names: list[str] = []
    folders: list[str] = []
    tops: list[Array] = []
    best: list[Array] = []
    chosen: MapLayer | None = None
    kept, chance = 1, None
    while (part := (yield More())) is not None:
        chosen = chosen or map_layer(part.view, layer)
        positions = int(np.prod(chosen.grid.cells))
        kept = max(1, int(np.ceil(4 * share * positions)))  # an item may hold more than its share
        answer = yield Peek(part.view.x, (chosen.name,), TopK(kept, chosen.grid.channel + 1), many=True)
        values = np.asarray(answer[chosen.name].values, np.float32)
        tops.append(values)
        best.append(values[:, :, 0])
        given += [handle(part, n) for n in range(len(part))]
        names += part.names
        folders += [folder_of(one) for one in part.given]
    assert chosen is not None
    largest = np.concatenate(best)  # [N, C]
    if masks is None:
        concepts, table, chance = _by_folder(largest, folders, scene.seed)
    else:
        levels = _levels(tops, share, int(np.prod(chosen.grid.cells)))
        concepts, table = yield from _by_masks(chosen, given, masks, levels)
    alive = _alive(table, largest, units)
    found = yield from _shown(chosen.name, alive, largest, (given, names), k)
    return _told(chosen.name, (concepts, table, chance), found, alive, len(names))


def _of_kept(scene: Scene, layer: str, masks: Any, units: int, k: int) -> Seeing[Cells]:
    """The same by folders, of the largest values that were kept; what is shown is read and looked at once more."""
    if masks is not None:
        raise UsageError("Masks need the layer's maps: give the pictures instead of vectors that were kept.")
    (kept,) = asked_for(scene, [layer], "max")
    kept.require(positions="max")
    folders = [PurePath(name).parent.name for name in kept.names]
    concepts, table, chance = _by_folder(kept.vectors, folders, scene.seed)
    alive = _alive(table, kept.vectors, units)
    found = yield from _shown(kept.layer, alive, kept.vectors, (kept.names, kept.names), k, kept)
    if not found:
        raise UsageError("No picture lies where its vector says with the content that it had; give the pictures.")
    shown = {cell.name for cell in found}
    told = _told(kept.layer, (concepts, table, chance), found, alive, len(kept))
    wanted = {kept.names[n] for c in alive for n in _best(kept.vectors[:, c], k)}
    gone = Caveat(
        f"{len(wanted - shown)} of {len(wanted)} pictures do not lie where their vectors say with the content that "
        "they had; others are shown in their place.",
        "input",
    )
    return replace(
        told,
        facts={**told.facts, "kept in": kept.source, "items": len(kept)},
        warnings=(*told.warnings, *([gone] if wanted - shown else [])),
    )


def _alive(table: Array, largest: Array, units: int) -> list[int]:
    """The units that fit a concept best, of those that fire at all."""
    order = np.argsort(-table.max(axis=1), kind="stable")
    return [int(c) for c in order if largest[:, c].max() > 0][:units]


def _told(
    layer: str, fit: tuple[list[str], Array, float | None], found: list[Cell], alive: Sequence[int], count: int
) -> Cells:
    """What the lens says."""
    concepts, table, chance = fit
    short = short_name(layer)
    fits = table.argmax(axis=1)
    told = {f"{short}[{c}]": {"concept": concepts[fits[c]], "iou": float(table[c, fits[c]])} for c in range(len(table))}
    about = {f"{short}[{c}]": f"{concepts[fits[c]]}\nIoU {table[c, fits[c]]:.2f}" for c in alive}
    warnings = []
    if chance is not None and table.max() <= chance:
        warnings.append(
            Caveat(
                f"With the folders dealt out anew the best of {len(table)} units fits as well (IoU {chance:.2f}): "
                f"{counted(count, 'item')} are too few to tell which unit stands for a folder.",
                "other",
            )
        )
    weak = Caveat("No unit fits any concept: the largest IoU is below 0.04, where units are called detectors.", "empty")
    by_chance = {} if chance is None else {"best IoU by chance": chance}
    return cells(
        found,
        f"Concepts that units of {short} fit, of {len(concepts)}, over {counted(count, 'item')}",
        "largest activation of the unit in the item",
        map_names=("activation",),
        form="rows",
        look="heat",
        overlaid=True,
        about=about,
        facts={"layer": layer, "concepts": concepts, "units": told, "iou": table, **by_chance},
        warnings=(*warnings, *(() if table.max() >= 0.04 else (weak,))),
    )


def _levels(tops: Sequence[Array], share: float, positions: int) -> Array:
    """The level ``[C]`` that each unit passes at a share of all positions; from the largest values of every item."""
    values = np.concatenate([one.transpose(0, 2, 1).reshape(-1, one.shape[1]) for one in tops])  # [N m, C]
    count = sum(len(one) for one in tops) * positions
    place = min(max(1, round(share * count)), len(values))
    level: Array = -np.partition(-values, place - 1, axis=0)[place - 1]
    return np.maximum(level, np.finfo(np.float32).tiny)  # a unit that is silent fires nowhere


def _by_masks(
    layer: MapLayer, given: Sequence[Any], masks: Mapping[str, Array], levels: Array
) -> Generator[Any, Any, tuple[list[str], Array]]:
    """IoU of every unit with every concept, the items read once more."""
    concepts = sorted(masks)
    for name in concepts:
        if len(masks[name]) != len(given):
            accepted = f"one for each of the {len(given)} items"
            raise UsageError(option="masks", got=f"{len(masks[name])} of {name!r}", accepted=accepted)
    both = np.zeros((len(levels), len(concepts)))
    either = np.zeros_like(both)
    for first in range(0, len(given), _AT_ONCE):
        some: Some = yield Again(tuple(given[first : first + _AT_ONCE]))
        answer = yield Peek(some.view.x, (layer.name,))
        maps = np.asarray(layer.maps(answer[layer.name]), np.float32)  # [n, C, h, w]
        plane = some.view.layout.map_shape
        if len(plane) != 2 or any(masks[name].shape[1:] != plane for name in concepts):
            size = "x".join(map(str, plane))
            raise UsageError(
                option="masks", got=[list(masks[name].shape) for name in concepts], accepted=f"[N, H, W] of {size}"
            )
        for n in range(len(maps)):
            true = np.stack([masks[name][first + n].ravel() for name in concepts]).astype(np.float32)  # [K, HW]
            area = true.sum(axis=1)
            for c in range(0, maps.shape[1], _UNITS):
                fires = enlarge(maps[n, c : c + _UNITS], (plane[0], plane[1])) >= levels[c : c + _UNITS, None, None]
                flat = fires.reshape(len(fires), -1).astype(np.float32)
                shared = flat @ true.T
                both[c : c + _UNITS] += shared
                either[c : c + _UNITS] += flat.sum(axis=1)[:, None] + area - shared
    return concepts, both / np.maximum(either, 1)


def _by_folder(largest: Array, folders: Sequence[str], seed: int) -> tuple[list[str], Array, float]:
    """IoU of where each unit fires with each folder, and that of the best unit with the folders dealt out anew."""
    concepts = sorted(set(folders))
    if len(concepts) < 2:
        raise UsageError(
            "There is one folder of pictures, or none, so no concept to tell apart. Give pictures in a folder per "
            "concept, or ",
            option("masks"),
            ".",
        )
    rng = np.random.default_rng(seed)
    dealt = np.array([np.array(folders), *(rng.permutation(folders) for _ in range(_DEALT))])  # [1 + D, N]
    table = np.zeros((len(dealt), largest.shape[1], len(concepts)))
    for j, name in enumerate(concepts):
        inside = (dealt == name).astype(np.float32)
        count = int(inside[0].sum())
        level = -np.partition(-largest, count - 1, axis=0)[count - 1]
        fires = (largest >= np.maximum(level, np.finfo(np.float32).tiny)).astype(np.float32)  # [N, C]
        hits = inside @ fires
        table[:, :, j] = hits / (count + fires.sum(axis=0) - hits)
    chance = float(np.median(table[1:].max(axis=(1, 2))))
    return concepts, table[0], chance


def _best(values: Array, k: int, kept: KeptVectors | None = None) -> list[int]:
    """The items where a unit fires most; of those that were kept the ones whose picture is still there."""
    order = (int(n) for n in np.argsort(-values, kind="stable"))
    return list(islice(order if kept is None else (n for n in order if kept.picture(n) is not None), k))


def _shown(
    name: str,
    units: Sequence[int],
    largest: Array,
    source: tuple[Sequence[Any], Sequence[str]],
    k: int,
    kept: KeptVectors | None = None,
) -> Generator[Any, Any, list[Cell]]:
    """For each unit the items where it fires most, with its map."""
    given, names = source
    order = {c: _best(largest[:, c], k, kept) for c in units}
    wanted = sorted({item for items in order.values() for item in items})
    made: dict[tuple[int, int], Cell] = {}
    short, section = short_name(name), brief_layer(name)
    for first in range(0, len(wanted), _AT_ONCE):
        items = wanted[first : first + _AT_ONCE]
        some: Some = yield Again(tuple(given[item] for item in items))
        layer = map_layer(some.view, name)
        answer = yield Peek(some.view.x, (layer.name,))
        maps = np.asarray(layer.maps(answer[layer.name]), np.float32)
        for n, item in enumerate(items):
            picture = seen_as_picture(some, n)
            for c in units:
                if item in order[c]:
                    value = float(largest[item, c])
                    caption = f"{value:.3g}\n{Path(names[item].removeprefix('skimage:')).stem}"
                    one = maps[n, c].reshape(-1, maps.shape[-1])[..., None]
                    box = (0, 0, *picture.shape[:2])
                    made[c, item] = Cell(f"{short}[{c}]", value, picture, (one,), names[item], caption, box, section)
    return [made[c, item] for c in units for item in order[c]]
