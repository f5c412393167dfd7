"""Vectors that ``embed`` has kept, read by other lenses in place of items: the model is asked nothing.

Pictures are read once more only where they are drawn or compared, from where they lay; one that is gone, or whose
content is another by now, is told and left out, for the vector is not of it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.mapped import room
from xplain.core.lenses.kept_vectors import KeptVectors, aligned
from xplain.core.lenses.scene import Again, Scene, Some
from xplain.core.outline import Outline
from xplain.core.query import Answer
from xplain.explainers.see.positions import Read
from xplain.explainers.see.tiles import pixels_of, tiles_of

__all__ = ["Pictures", "asked_for", "labelled_by", "left_aside", "pictures_of", "read_of"]

_AT_ONCE = 32
MOST_DRAWN = 40_000
"""Pictures that are read once more: as many as a drawing or a page holds."""


def asked_for(scene: Scene, layers: Sequence[str], positions: str | None) -> tuple[KeptVectors, ...]:
    """The kept vectors of the layers that are asked for, of the items that all have; ``auto`` takes what there is.

    Raises:
        UsageError: they are of other layers, or other things became of their positions; the message says what differs.
    """
    kept = scene.kept
    for one in kept:
        if positions is not None and one.about.get("positions") != "none":
            one.require(positions=positions)
    names = [one.layer for one in kept]
    if list(layers) != ["auto"]:
        wanted = [one if one == "auto" else scene.outline.layer_meant(one) for one in layers]
        if len(kept) == len(wanted) == 1:
            kept[0].require(layer=wanted[0])
        missing = [one for one in wanted if one not in names]
        if missing:
            raise UsageError(
                f"No vectors of layer {missing[0]!r} are given; these are of {', '.join(map(repr, names))}. Keep them "
                "with 'xplain see embed', in a folder for each layer, and give all folders."
            )
        kept = tuple(kept[names.index(one)] for one in wanted)
    elif len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UsageError(f"Vectors of layer {twice!r} are given more than once. Give one folder for each layer.")
    return aligned(kept)


def read_of(kept: KeptVectors) -> Read:
    """How the layer became the vectors."""
    code = str(kept.about.get("positions", "none"))
    words = {"mean": "mean over its positions", "max": "largest value over its positions", "all": "all of its numbers"}
    token = f"token {code.partition(':')[2]}" if code.startswith("token:") else ""
    return Read(kept.layer, words.get(code, token), code)


def labelled_by(kept: KeptVectors, true_class: Callable[[Any, Outline], tuple[str, bool]], outline: Outline) -> Any:
    """The true class of each item, by the folder that it lies in, and whether the model has it."""
    known: dict[str, tuple[str, bool]] = {}
    found = []
    for name in kept.names:
        folder = PurePath(name).parent.name
        if folder not in known:
            known[folder] = true_class(name, outline)
        found.append(known[folder])
    return found


def left_aside(given: Sequence[KeptVectors], items: KeptVectors) -> tuple[Caveat, ...]:
    """What must be known where some items have no vector in one of the folders."""
    most = max(map(len, given))
    if most == len(items):
        return ()
    return (
        Caveat(f"{len(items)} of {most} items have a vector in all that is given; the others are left out.", "input"),
    )


@dataclass(slots=True)
class Pictures:
    """Pictures that were read once more.

    Args:
        thumbnails: uint8 ``[N, s, s, 3]``; grey where a picture is missing; None where none is there.
        pixels: ``[N, P]``, as ``pixels_of`` makes them; None where one is missing.
        warnings: What must be known of them.
    """

    thumbnails: Array | None = None
    pixels: Array | None = None
    warnings: tuple[Caveat, ...] = ()


def pictures_of(
    kept: KeptVectors,
    rows: Sequence[int],
    thumbnail: int,
    pixels: int = 0,
) -> Generator[Any, Answer, Pictures]:
    """The pictures of some items, small, read once more where they lay.

    Args:
        kept: The items.
        rows: Which of them.
        thumbnail: Side of those that are drawn; 0 for none.
        pixels: Side of those that are compared pixel by pixel; 0 for none.
    """
    count, found = len(rows), Pictures()
    if not (thumbnail or pixels):
        return found
    if count > MOST_DRAWN:
        said = f"Of {count:,} items no pictures are drawn or compared: up to {MOST_DRAWN:,} are read once more."
        found.warnings = (Caveat(said, "input"),)
        return found
    there = [(place, path) for place, row in enumerate(rows) if (path := kept.picture(row)) is not None]
    if len(there) < count:
        here = {place for place, _ in there}
        lost = next(kept.names[row] for place, row in enumerate(rows) if place not in here)
        what = (
            "No picture lies where its vector says"
            if not there
            else (f"{count - len(there)} of {count} pictures do not lie where their vectors say")
        )
        said = f"{what}, with the content that was read then; such as {lost!r:.200}."
        found.warnings = (Caveat(said, "input"),)
    if not there:
        return found
    if thumbnail:
        found.thumbnails = room((count, thumbnail, thumbnail, 3), np.uint8)
        found.thumbnails[:] = 128
    for first in range(0, len(there), _AT_ONCE):
        places = [place for place, _ in there[first : first + _AT_ONCE]]
        some: Some = yield Again(tuple(path for _, path in there[first : first + _AT_ONCE]))
        drawn = tiles_of(some, thumbnail) if thumbnail else None
        if drawn is None:
            found.thumbnails = None
        elif found.thumbnails is not None:
            found.thumbnails[places] = drawn
        if pixels and len(there) == count:
            flat = pixels_of(some, pixels)
            if found.pixels is None:
                found.pixels = room((count, flat.shape[1]), flat.dtype)
            found.pixels[places] = flat
    return found
