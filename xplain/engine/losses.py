"""The nodes behind values that do not add up, named in the warning: one more sweep, only where they miss by far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import Sentence
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.keeping.plain import plain
from xplain.core.query import Flow, Model, Reading, Sweep

__all__ = ["with_nodes"]

_MOST = 3
_SHARE = 0.1
"""A node that keeps less than this share of what the worst one keeps is not named."""
_LONGEST = 80


def with_nodes(
    readings: Sequence[Reading], start: Callable[[], Sequence[Flow]], model: Model, items: int
) -> list[Reading]:
    """The readings with the nodes where the worst item's values get lost, or are made, in the warning that says so.

    Costs nothing where ``broken`` is None. Else one sweep of one item that also reports sums, and the building of its
    graph, once per reading: about what the method's first sweep of one item costs, whatever the number of items; it is
    not counted in ``cost``. With a background the first of its rows is followed.

    Args:
        readings: What a method returned, one per target.
        start: Starts the method anew for each; only first questions are looked at.
        model: The model; one without nodes leaves the readings as they are, as does one that cannot report.
        items: How many items were explained.
    """
    balance = abilities_of(model).balance
    if balance is None or all(one.broken is None for one in readings):
        return list(readings)
    return [_with_nodes(one, flow, balance, items) for one, flow in zip(readings, start(), strict=True)]


def _with_nodes(reading: Reading, flow: Flow, balance: Callable[[Sweep], Any], items: int) -> Reading:
    item = reading.broken
    if item is None:
        return reading
    query = next(flow)
    flow.close()
    if not isinstance(query, Sweep) or query.x.shape[1] != 1:
        return reading
    row = np.arange(item, item + 1)  # with a background, baseline by baseline: the first one
    reference = None if query.baseline is None else np.asarray(query.baseline)[row]
    try:
        nodes, received, passed = balance(
            replace(query, x=query.x[row], target=query.target.take(row), baseline=reference)
        )
    except XplainError:  # what was asked for is there; that it cannot be told more of is no reason to lose it
        return reading
    found = _told(nodes, received - passed)
    place = next(
        (k for k, one in enumerate(reading.warnings) if one.kind == "incomplete" and one.item in (None, item)), None
    )
    if not found or place is None:
        return reading
    warnings = list(reading.warnings)
    of = f" in item {item}" if items > 1 and warnings[place].item is None else ""
    text = Sentence(warnings[place].text, f" Most of the miss{of} is at: {found}.")
    warnings[place] = replace(warnings[place], text=text)
    return replace(reading, warnings=tuple(warnings))


def _told(nodes: tuple[str, ...], kept: Array) -> str:
    """The nodes that keep most, worst first, each with how much."""
    size = np.abs(kept)
    if not size.size or not np.isfinite(size).all() or size.max() == 0:
        return ""
    worst = [k for k in np.argsort(-size, kind="stable")[:_MOST] if size[k] >= _SHARE * size.max()]
    return ", ".join(
        f"{plain(nodes[k], one_line=True)[:_LONGEST]} {'keeps' if kept[k] > 0 else 'adds'} {size[k]:.3g}" for k in worst
    )
