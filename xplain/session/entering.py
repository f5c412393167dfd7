"""What a person gives as items, whatever it is: tensors and pictures, rows of a table, texts, or several inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import named
from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.models.rows.dataframes import is_rows
from xplain.models.table import table
from xplain.models.text import text
from xplain.session.items import items_of, sounds
from xplain.session.pictured import Lost, is_picture, pictures_apart
from xplain.session.several import side_by_side

__all__ = ["entered", "pictures_entered"]


def entered(model: Model, x: Any, card: Any, layout: str | None = None) -> tuple[Model, Items]:
    """The items as tensors with their layout, and the model that takes them; rows, texts and inputs in their own way.

    Raises:
        UsageError: the items or ``layout`` cannot be used; see ``items_of``.
    """
    if model.outline.joined:
        if layout is not None:
            raise UsageError(
                named("layout"), f" is {layout!r}, but inputs that stand in a row have none; leave it out."
            )
        return side_by_side(model, x, card)
    if abilities_of(model).read is None:
        if is_rows(x):
            model = table(model)
        elif next((spec.dtype for spec in model.outline.inputs if spec.name == model.outline.input), "") == "str":
            model = text(model)
    read = abilities_of(model).read
    if read is None:
        return model, items_of(model, x, card, layout)
    if layout is not None:
        raise UsageError(named("layout"), f" is {layout!r}, but rows of a table and texts have no other; leave it out.")
    model, items = read(x)
    return model, replace(items, layout=model.outline.layout_of(tuple(items.x.shape[1:])))


def pictures_entered(
    model: Model, given: Sequence[Any], card: Any, layout: str | None, lost: Lost
) -> list[tuple[int, Items]] | None:
    """Pictures that are read in one go, in batches of those that fit together; None for what is read otherwise.

    A module looks at each item as it is read, sound and what a model reads itself have their own ways.

    Args:
        model: The model.
        given: The items.
        card: How pictures become tensors, instead of what the model says.
        layout: How the axes are named, where a person says so.
        lost: Called for those that cannot be read.
    """
    able, spec = abilities_of(model), model.outline.explained
    alone = able.read is not None or able.look is not None or model.outline.joined or (spec and spec.dtype == "str")
    if alone or len(given) < 2 or not all(map(is_picture, given)) or any(map(sounds, given)):
        return None
    return pictures_apart(model, given, card, layout, lost)
