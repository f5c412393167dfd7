"""What judging one explanation costs, metric by metric, counted without asking the model anything."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.errors import XplainError
from xplain.core.positions.layout import Layout
from xplain.core.query import Model
from xplain.core.target import label
from xplain.engine.memo import Memo
from xplain.engine.plan import Plan, stand_in
from xplain.results.attribution import Attribution
from xplain.results.provenance import Provenance
from xplain.session.measures.grading import grade
from xplain.session.part import Part
from xplain.session.request import Request
from xplain.session.run import Session

__all__ = ["MetricCost", "grading_costs"]


@dataclass(frozen=True, slots=True)
class MetricCost:
    """What one item takes for one metric, beside those that were asked before it.

    Args:
        metric: Its name.
        evaluations: Of the explanation and of the maps that know nothing.
        sweeps: Reverse sweeps, for metrics that explain again.
        money: What that is billed; None for a model without a price.
        why: Why it cannot be asked of these items; empty where it can.
    """

    metric: str
    evaluations: int
    sweeps: int = 0
    money: Decimal | None = None
    why: str = ""


def grading_costs(
    part: Part,
    method: str,
    options: Mapping[str, Any],
    metrics: Mapping[str, Mapping[str, Any]],
    cells: tuple[int, ...],
    memo: Memo | None = None,
) -> list[MetricCost]:
    """What each of several metrics costs for one explanation, in this order: questions that two share count once.

    Args:
        part: One item.
        method: What explains it.
        options: The method's options.
        metrics: Metrics, each with its options.
        cells: The map's true resolution.
        memo: What was counted for other explanations of the same item and target, which is asked once; added to.
    """
    real: Model = part.model
    classes = real.outline.scores.classes or len(real.outline.labels) or 2
    rehearsed = Part(stand_in(real, classes), part.items, memo or Memo(), keys=part.keys, basis=part.basis)
    layout = part.items.layout
    shape = layout.map_shape if isinstance(layout, Layout) else part.items.x.shape[1:]
    told = zlib.crc32(repr((method, sorted(options.items()), cells)).encode())  # no two methods have one map
    values = np.random.default_rng(told).standard_normal((1, *shape)).astype(np.float32)
    fits = len(cells) == len(shape) and all(a <= b for a, b in zip(cells, shape, strict=True))
    stated = Attribution(
        values=values, unit="", scores=np.zeros(1), labels=(0,), explained=label(0), names=part.items.names,
        resolution=cells if fits else None, provenance=Provenance(method=method, options=dict(options)),
    )  # fmt: skip
    found = []
    with Session(real, Request({method: dict(options)})) as session:
        for name, given in metrics.items():
            before = session.spent
            try:
                grade(session, rehearsed, stated, {name: given})
            except XplainError as error:
                found.append(MetricCost(name, 0, why=str(error)))
                continue
            spent = session.spent.since(before)
            rows = real.outline.rows if spent.calls else None
            bill = Plan(spent.queries, spent.sweeps, 0, abilities_of(real).price, spent.calls, rows)
            found.append(MetricCost(name, spent.queries, spent.sweeps, bill.money))
    return found
