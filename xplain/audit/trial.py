"""Trial items: the few that a plan reads before it settles anything, spread over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xplain.audit.reading import Data
from xplain.core.errors import UsageError, XplainError
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.session.items import items_of

__all__ = ["Trial", "trial_items"]

_LOOKED_AT, _WANTED = 64, 32


@dataclass(frozen=True, slots=True)
class Trial:
    """What was read.

    Args:
        items: Items of one shape, 1 to 32 of them.
        looked: How many were looked at.
        failed: How many of them could not be used.
        why: Why the first of these could not.
    """

    items: Items
    looked: int
    failed: int
    why: str = ""


def trial_items(data: Data, model: Model) -> Trial:
    """Items that a model takes, the same ones whoever plans the same data.

    Raises:
        UsageError: none of those looked at can be used.
    """
    numbers = np.unique(np.linspace(0, len(data) - 1, _LOOKED_AT).astype(np.int64))
    found: list[Items] = []
    whys: list[str] = []
    looked = 0
    for item in data.planned(numbers.tolist()):
        looked += 1
        content = data.content(item)
        if isinstance(content, str):
            whys.append(f"{item.name}: {content}")
            continue
        try:
            one = items_of(model, [content])
        except XplainError as error:
            whys.append(f"{item.name}: {error}")
            continue
        if found and one.x.shape[1:] != found[0].x.shape[1:]:
            whys.append(f"{item.name}: It becomes {list(one.x.shape[1:])}; others are {list(found[0].x.shape[1:])}.")
            continue
        found.append(one)
        if len(found) == _WANTED:
            break
    if not found:
        raise UsageError(f"Of {looked} items that were tried, {model.outline.called} can take none. {_first(whys)}")
    return Trial(Items.joined(found), looked, len(whys), _first(whys))


def _first(whys: Sequence[str]) -> str:
    return whys[0] if whys else ""
