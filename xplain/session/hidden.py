"""What hidden parts of a row become: rows as a person holds them, and what is typical where nobody says.

For pictures and series 0 is what a baseline is unless told otherwise, as captum and zennit have it. A row of a table
has no such value: 0 years of age is no neutral person. So there the typical row of the known ones takes that place, and
the result says so; rows that come as bare arrays, which may be prepared already, keep 0, and the result says that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.caveat import Caveat
from xplain.core.declaring.registry import Method
from xplain.core.declaring.wording import Sentence, option, way
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.models.rows.dataframes import columns_of, is_rows, numbers_of

__all__ = ["as_codes", "said_or_typical", "without_rows"]

_ROWS = ("baseline", "background")


def without_rows(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that can be read before the model and the items are known."""
    return {k: v for k, v in options.items() if not (_stands_for_rows(k, v) or _is_module(v))}


def _is_module(value: Any) -> bool:
    return hasattr(value, "named_modules")


def _stands_for_rows(name: str, value: Any) -> bool:
    return name.replace("-", "_") in _ROWS and is_rows(value)


def as_codes(options: Mapping[str, Any], model: Model) -> dict[str, Any]:
    """A method's options, where frames, series and mappings stand for their rows, and a torch module for its name.

    Raises:
        UsageError: rows that the model does not take, or a module that is none of its layers.
    """
    options = {name: _name_of(value, model) if _is_module(value) else value for name, value in options.items()}
    return {name: _codes(value, model) if _stands_for_rows(name, value) else value for name, value in options.items()}


def _name_of(module: Any, model: Model) -> str:
    name_of = abilities_of(model).name_of
    found = None if name_of is None else name_of(module)
    if found is None:
        raise UsageError(
            f"The layer is {type(module).__name__}, a torch module that is none of {model.outline.source}'s. Give one "
            "of the module that is explained, or a layer's name: 'xplain inspect' lists them."
        )
    return found


def _codes(rows: Any, model: Model) -> Array:
    able = abilities_of(model).codes
    if able is not None:
        return able.codes(rows)
    try:
        return np.stack([numbers_of(values) for values in columns_of(rows).values()], axis=1).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"The rows hold something else than numbers ({error}), and {model.outline.source} takes arrays. Load it as "
            "a model of tables: ",
            way("columns", python="xplain.table(model, columns=rows)", shell="give a table (.csv)"),
            ".",
        ) from None


def said_or_typical(
    entry: Method, options: Mapping[str, Any], values: dict[str, Any], model: Model, items: Items
) -> tuple[dict[str, Any], tuple[Caveat, ...]]:
    """All options of a method, with what hidden parts of a row become where the person did not say it.

    Args:
        entry: The method.
        options: What the person gave.
        values: All options with their values.
        model: The model that the items were read for.
        items: The items.

    Returns:
        The options, and what must be known of them.

    Raises:
        UsageError: one row of a table, and nothing says what its hidden columns become.
    """
    said = {name.replace("-", "_") for name, value in options.items() if value is not None}
    unsaid = [name for name in _ROWS if name in entry.options]
    if not unsaid or said & set(unsaid) or values.get("kind") == "path-dependent":  # that hides nothing behind rows
        return values, ()
    able = abilities_of(model).codes
    if able is not None:
        if unsaid == ["background"]:  # replacements are drawn from it: of the typical row alone all would be one
            try:
                rows, sentence = able.known(items.x)
            except UsageError:
                if entry.suits != "trees":  # those may know how many rows of the training went where
                    raise
                return values, ()
            return {**values, "background": rows}, (Caveat(sentence, "baseline"),)
        row, sentence = able.typical(items.x)
        return {**values, "baseline": row}, (Caveat(sentence, "baseline"),)
    axes = getattr(items.layout, "axes", "")
    rows_of_numbers = items.x.ndim == 2 and items.x.dtype.kind == "f" and axes == "NS"
    if not rows_of_numbers or values.get("baseline") != 0 or model.outline.joined:
        return values, ()
    one = option("baseline", python="row", shell="row.csv")
    given = (option("background", python="rows", shell="rows.csv"), " or ", one) if "background" in unsaid else (one,)
    text = Sentence(
        "Hidden values become 0, which may be far from typical for a column. Give ",
        *given,
        ", or ",
        option("baseline", 0),
        " if 0 is meant.",
    )
    return values, (Caveat(text, "baseline"),)
