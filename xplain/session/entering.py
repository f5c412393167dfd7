"""What a person gives as items, whatever it is: tensors and pictures, rows of a table, texts, or several inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import named
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.models.rows.dataframes import is_rows
from xplain.models.table import table
from xplain.models.text import text
from xplain.session.items import items_of
from xplain.session.several import side_by_side

__all__ = ["entered"]


def entered(
    model: Model, x: Any, card: Any, layout: str | None = None, out: Array | None = None
) -> tuple[Model, Items]:
    """The items as tensors with their layout, and the model that takes them; rows, texts and inputs in their own way.

    The tensor of a picture that comes alone is written to ``out``, as ``items_of`` says.

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
        return model, items_of(model, x, card, layout, out)
    if layout is not None:
        raise UsageError(named("layout"), f" is {layout!r}, but rows of a table and texts have no other; leave it out.")
    model, items = read(x)
    return model, replace(items, layout=model.outline.layout_of(tuple(items.x.shape[1:])))
