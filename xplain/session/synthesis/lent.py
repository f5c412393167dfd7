"""What a recipe is given besides the model: pictures as its sources want them, and other models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from xplain.core.card import Card
from xplain.core.declaring.declared import Recipe, Source
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.query import Model
from xplain.render import pictures
from xplain.render.films import frames_of
from xplain.session.run import load

__all__ = ["lent", "pictures_given"]

Shown: TypeAlias = tuple[Card, tuple[int, int], int]
"""The model's card, the size that it is shown, and the longer side that other pictures keep at most."""


def pictures_given(
    recipe: Recipe, given: Mapping[str, Any], shown: Shown
) -> tuple[dict[str, tuple[Array, ...]], dict[str, tuple[str, ...]]]:
    """The pictures of each source in 0..1, ``[C, H, W]``, and what they are called.

    Raises:
        UnknownName: a source that the recipe does not have.
        UsageError: one that it needs is missing, or several are given where it takes one.
    """
    sources = {one.name: one for one in recipe.sources}
    found: dict[str, tuple[Array, ...]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, one in given.items():
        if one is None:
            continue
        if name not in sources:
            raise _no_source(recipe, name, one)
        if sources[name].model or sources[name].region_of:
            continue
        many = list(one) if isinstance(one, (list, tuple)) else [one]
        files = [each for each in many if isinstance(each, (str, Path))]
        many = pictures.collect(files) if len(files) == len(many) else many
        if sources[name].single and len(many) != 1:
            raise UsageError(f"Recipe {recipe.name!r} takes one picture for {name!r}; {len(many)} were given.")
        called = [_called(each) if isinstance(each, (str, Path)) else str(n) for n, each in enumerate(many)]
        if sources[name].film:
            many, called = _frame_by_frame(many, called)
        found[name] = tuple(_read(sources[name], each, shown) for each in many)
        names[name] = tuple(called)
    for source in recipe.sources:
        if source.region_of and given.get(source.name) is not None:
            if given.get(source.region_of) is None:
                raise UsageError(
                    f"{source.name!r} is a region of a photograph, and there is none. Give ",
                    option(source.region_of, python="'FILE'", shell="FILE"),
                    ".",
                )
            found[source.name] = (_region(source, given, shown),)
        if source.needed and (given.get(source.name) is None if source.model else not found.get(source.name)):
            what = "pictures behind the model" if source.name == "x" else None
            python = "'FILE'" if source.model else "[...]"
            raise UsageError(
                f"Recipe {recipe.name!r} needs {source.doc}. Give ",
                option(source.name, python=python, shell="FILE") if what is None else what,
                ".",
            )
    return found, names


def _called(file: str | Path) -> str:
    """What a picture is called: its file's name, or that of one that scikit-image has."""
    return Path(file).stem.removeprefix("skimage:")


def lent(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Model]:
    """The other models that a recipe is given, loaded, by the name of their source."""
    wanted = [one.name for one in recipe.sources if one.model and given.get(one.name) is not None]
    return {name: load(given[name]) for name in wanted}


def _of_size(card: Card, size: tuple[int, int]) -> Card:
    """The card for what the model is shown: where a person says another size than its own, that is cropped to."""
    card = replace(card, layout="NHWC").sized(*size)
    if card.crop is None or card.crop == size:
        return card
    share = min(size) / min(card.crop)
    short = None if card.resize_short is None else max(min(size), round(card.resize_short * share))
    return replace(card, resize_short=short, resize=None if card.resize is None else size, crop=size)


def _frame_by_frame(many: list[Any], called: list[str]) -> tuple[list[Any], list[str]]:
    """The same with the frames of an animated file, each a picture of its own, in its place."""
    found: list[Any] = []
    names: list[str] = []
    for one, name in zip(many, called, strict=True):
        frames = frames_of(one) if isinstance(one, (str, Path)) else ()
        found += list(frames) or [one]
        names += [f"{name} frame {k:04d}" for k in range(len(frames))] or [name]
    return found, names


def _read(source: Source, one: Any, shown: Shown) -> Array:
    card, size, side = shown
    pixels = pictures.read(one)
    if source.fitted:
        _, pixels = pictures.prepare(_of_size(card, size), pixels)
    elif max(pixels.shape[:2]) > side:
        short = max(1, round(min(pixels.shape[:2]) * side / max(pixels.shape[:2])))
        _, pixels = pictures.prepare(Card(mode="RGB", resize_short=short), pixels)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / 255
    return planes if card.channels == 3 else planes.mean(axis=0, keepdims=True)


def _region(source: Source, given: Mapping[str, Any], shown: Shown) -> Array:
    """Where a photograph is painted, ``[1, H, W]`` in 0..1, resized and cropped as the photograph is.

    Raises:
        UsageError: no region of that photograph, or one that the model does not see.
    """
    card, size, _ = shown
    wanted, other = given[source.name], given[source.region_of]
    (other,) = other if isinstance(other, (list, tuple)) else (other,)
    high, wide = pictures.read(other).shape[:2]
    accepted = (
        f"'top,left,bottom,right' within the {high} rows and {wide} columns of the photograph, or a picture of its "
        "size, white where it is painted"
    )
    corners = _corners(wanted)
    if corners is not None and len(corners) != 4:
        raise UsageError(option=source.name, got=wanted, accepted=accepted)
    if corners is None:
        mask = wanted.astype(np.uint8) * 255 if isinstance(wanted, np.ndarray) and wanted.dtype.kind == "b" else wanted
        drawn = pictures.read(mask)
        if drawn.shape[:2] != (high, wide):
            got = f"a picture of {drawn.shape[0]} rows and {drawn.shape[1]} columns"
            raise UsageError(option=source.name, got=got, accepted=accepted)
    else:
        top, left, bottom, right = corners
        if not (0 <= top < bottom <= high and 0 <= left < right <= wide):
            raise UsageError(option=source.name, got=wanted, accepted=accepted)
        drawn = np.zeros((high, wide, 3), np.uint8)
        drawn[top:bottom, left:right] = 255
    _, seen = pictures.prepare(_of_size(card, size), drawn)
    found: Array = seen[None].astype(np.float32).mean(axis=3) / 255
    if not found.any():
        what = f"a region that lies outside of the {size[0]} x {size[1]} pixels that the model sees"
        raise UsageError(option=source.name, got=what, accepted="one that is not cropped off")
    return found


def _corners(given: Any) -> tuple[int, ...] | None:
    """A box's numbers, four of them where it is one; None for what is no numbers."""
    parts = given.split(",") if isinstance(given, str) else given
    try:
        found = tuple(int(one) for one in parts) if isinstance(parts, (list, tuple)) else ()
    except (ValueError, TypeError):
        return None
    return found or None


def _no_source(recipe: Recipe, name: str, given: Any) -> UsageError:
    if name == "x":
        return UsageError(f"Recipe {recipe.name!r} begins with no picture; leave {str(given)[:100]!r} out.")
    known = [*recipe.options, *(one.name for one in recipe.sources if one.name != "x")]
    return unknown(f"option of recipe {recipe.name!r}:", name, known)
