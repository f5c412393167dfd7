"""Baselines from a command line that are pictures: ``--baseline black.png``, ``--baseline folder/``, ``x.npy``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xplain.core.declaring import registry
from xplain.core.declaring.options import Reference
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there
from xplain.core.query import Model
from xplain.results.attribution import Attribution

__all__ = ["read_baselines", "with_names"]

_ARRAYS = ".npy"


def read_baselines(methods: Mapping[str, Mapping[str, Any]], model: Model) -> dict[str, dict[str, Any]]:
    """The methods' options, where the name of a file or folder stands for the tensors of its pictures.

    Pictures go through the model's preprocessing card, as the items do: ``[B, *item]``.

    Raises:
        UsageError: an array that cannot be read.
        PictureError: a picture that cannot be read.
        CardError: the model has no card.
    """
    found = {}
    for name, options in methods.items():
        kinds = {option: one.kind for option, one in registry.find(name).options.items()}
        found[name] = {
            option: _tensors(value, model) if isinstance(kinds[option], Reference) and _is_path(value) else value
            for option, value in options.items()
        }
    return found


def with_names(one: Attribution, given: Mapping[str, Any]) -> Attribution:
    """The attribution with baselines called as on the command line: a background would fill every file it writes."""
    named = {option: value for option, value in given.items() if isinstance(one.options.get(option), np.ndarray)}
    return one.with_provenance(options={**one.options, **named}) if named else one


def _is_path(value: Any) -> bool:
    return isinstance(value, str) and (value.endswith(_ARRAYS) or there(value) != "" or "*" in value)


def _tensors(value: str, model: Model) -> Any:
    if not value.endswith(_ARRAYS):
        from xplain.render import pictures
        from xplain.session.items import items_of

        return items_of(model, pictures.collect([value])).x
    try:
        return np.load(value, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"--baseline {value}: the file cannot be read: {error}.") from None
