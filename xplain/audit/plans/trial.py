"""Trial items: the few that a plan reads before it settles anything, spread over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.audit.plans.doors import given_of
from xplain.audit.shards.reading import Data
from xplain.core.errors import ItemError, UsageError, XplainError
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.session.entering import entered
from xplain.session.items import items_of

__all__ = ["Trial", "trial_items"]

_LOOKED_AT, _WANTED = 64, 32
_TOLD = 3
"""Items that are told of those that cannot be used."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was read.

    Args:
        items: Items of one shape, 1 to 32 of them.
        looked: How many were looked at.
        failed: How many of them could not be used.
        wrong: The names of the first of these, each with why it could not.
        given: The items as a person gives them, where the model reads rows or texts by a door of its own.
    """

    items: Items
    looked: int
    failed: int
    wrong: Mapping[str, str] = field(default_factory=dict)
    given: tuple[Any, ...] = ()


def trial_items(data: Data, model: Model, kind: str = "") -> Trial:
    """Items that a model takes, the same ones whoever plans the same data; ``kind``: ``rows``, ``texts`` or neither.

    All that are looked at are read, also where fewer would do: how many of them fail says how many of all will.

    Raises:
        UsageError: none of those looked at can be used.
    """
    if kind:
        return _given(data, model, kind)
    numbers = np.unique(np.linspace(0, len(data) - 1, _LOOKED_AT).astype(np.int64))
    found: list[Items] = []
    wrong: dict[str, str] = {}
    looked = 0
    for item in data.planned(numbers.tolist()):
        looked += 1
        content = data.content(item)
        if isinstance(content, str):
            wrong[item.name] = content
            continue
        try:
            one = items_of(model, [content])
        except XplainError as error:
            wrong[item.name] = str(error)
            continue
        if found and one.x.shape[1:] != found[0].x.shape[1:]:
            wrong[item.name] = f"It becomes {list(one.x.shape[1:])}; others are {list(found[0].x.shape[1:])}."
            continue
        found.append(one)
    if not found:
        raise UsageError(f"Of {looked} items that were tried, {model.outline.called} can take none. {_first(wrong)}")
    return Trial(Items.joined(found[:_WANTED]), looked, len(wrong), _few(wrong))


def _given(data: Data, model: Model, kind: str) -> Trial:
    """Rows that are read together, or the one text of middle length among those looked at."""
    numbers = np.unique(np.linspace(0, len(data) - 1, _LOOKED_AT).astype(np.int64))
    found: list[tuple[int, Any]] = []
    wrong: dict[str, str] = {}
    for item in data.planned(numbers.tolist()):
        content = data.content(item)
        try:
            if isinstance(content, str):
                raise ItemError(content)
            given = given_of(content, kind)
            found.append((int(entered(model, [given], None)[1].x.shape[1]), given))
        except XplainError as error:
            wrong[item.name] = str(error)
    if not found:
        raise UsageError(
            f"Of {len(wrong)} items that were tried, {model.outline.called} can take none. {_first(wrong)}"
        )
    looked = len(found) + len(wrong)
    if kind == "rows":  # a model may say nothing of rows with gaps, which is no reason to plan nothing
        found.sort(key=lambda one: None in one[1].values())
    if kind == "texts":
        found = [sorted(found, key=lambda one: one[0])[len(found) // 2]]
    given = tuple(one for _, one in found[:_WANTED])
    return Trial(entered(model, list(given), None)[1], looked, len(wrong), _few(wrong), given)


def _first(wrong: Mapping[str, str]) -> str:
    return next((f"{name}: {why}" for name, why in wrong.items()), "")


def _few(wrong: Mapping[str, str]) -> dict[str, str]:
    return dict(list(wrong.items())[:_TOLD])
