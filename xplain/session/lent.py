"""What a recipe is given besides the model: pictures as its sources want them, and other models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from xplain.core.card import Card
from xplain.core.declared import Recipe, Source
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.query import Model
from xplain.core.wording import option
from xplain.render import pictures
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
        if sources[name].model:
            continue
        many = list(one) if isinstance(one, (list, tuple)) else [one]
        files = [each for each in many if isinstance(each, (str, Path))]
        many = pictures.collect(files) if len(files) == len(many) else many
        if sources[name].single and len(many) != 1:
            raise UsageError(f"Recipe {recipe.name!r} takes one {name}; {len(many)} were given.")
        found[name] = tuple(_read(sources[name], each, shown) for each in many)
        names[name] = tuple(Path(e).stem if isinstance(e, (str, Path)) else str(n) for n, e in enumerate(many))
    for source in recipe.sources:
        if source.needed and not found.get(source.name) and given.get(source.name) is None:
            what = "pictures behind the model" if source.name == "x" else None
            python = "'FILE'" if source.model else "[...]"
            raise UsageError(
                f"Recipe {recipe.name!r} needs {source.doc}. Give ",
                option(source.name, python=python, shell="FILE") if what is None else what,
                ".",
            )
    return found, names


def lent(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, Model]:
    """The other models that a recipe is given, loaded, by the name of their source."""
    wanted = [one.name for one in recipe.sources if one.model and given.get(one.name) is not None]
    return {name: load(given[name]) for name in wanted}


def _read(source: Source, one: Any, shown: Shown) -> Array:
    card, size, side = shown
    pixels = pictures.read(one)
    if source.fitted:
        _, pixels = pictures.prepare(replace(card, layout="NHWC").sized(*size), pixels)
    elif max(pixels.shape[:2]) > side:
        short = max(1, round(min(pixels.shape[:2]) * side / max(pixels.shape[:2])))
        _, pixels = pictures.prepare(Card(mode="RGB", resize_short=short), pixels)
    planes = np.ascontiguousarray(pixels.transpose(2, 0, 1), np.float32) / 255
    return planes if card.channels == 3 else planes.mean(axis=0, keepdims=True)


def _no_source(recipe: Recipe, name: str, given: Any) -> UsageError:
    if name == "x":
        return UsageError(f"Recipe {recipe.name!r} begins with no picture; leave {str(given)[:100]!r} out.")
    known = [*recipe.options, *(one.name for one in recipe.sources if one.name != "x")]
    return unknown(f"option of recipe {recipe.name!r}:", name, known)
