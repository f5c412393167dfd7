"""What metrics and analyses will take: counted by a rehearsal that asks nothing, timed on one trial item."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from xplain.audit.plans.estimate import AnalysisCost, GradeCost, LaneCost, batch_of, one_of
from xplain.audit.plans.plan import ModelFacts
from xplain.audit.plans.trial import Trial
from xplain.core.abilities import abilities_of
from xplain.core.errors import XplainError
from xplain.core.lane import PREDICTED, Lane
from xplain.core.query import Model
from xplain.session import Memo, Request, Session
from xplain.session.lanes.lane import Driven
from xplain.session.measures.grading_cost import grading_costs

__all__ = [
    *("LABELLED", "REDRAWN_STAGES", "SHORTCUT_CLASSES"),
    *("analyses_cost", "graded_seconds", "grades_of", "labelled_most", "redrawn_items"),
]

LABELLED = 5000
"""Labelled items whose scores the analysis of labels asks for, about."""
SHORTCUT_CLASSES = 50
"""Classes whose shortcuts are looked for, the largest first."""
REDRAWN_STAGES = 4
"""At how many numbers of layers drawn anew maps are made, beside those of the model itself."""
_REDRAWN, _LEAST_REDRAWN, _REDRAWN_ASKS = 48, 10, 20_000
"""Items of a lane whose maps are made by models with weights drawn anew: so many, fewer where that asks for more than
the last, and never fewer than the second."""
_PER_CLASS = 400 + 4 * 1600
"""Evaluations that a class's shortcuts take at most: its own pictures and others, and four leads that are tried."""


def grades_of(
    model: Model, trial: Trial, lanes: Sequence[Lane], metrics: Mapping[str, Mapping[str, Any]]
) -> tuple[list[GradeCost], dict[str, str]]:
    """What an item's metrics cost in each lane of one model, and why some metrics cannot be asked of such items.

    Lanes of one target share what does not depend on their maps: it is counted for the first.
    """
    found: list[GradeCost] = []
    whys: dict[str, str] = {}
    memos: dict[str, Memo] = {}
    for lane in lanes:
        request = Request({lane.method: dict(lane.options)}, seed=lane.seed)
        with Session(model, request) as session:
            part = one_of(session, trial)
        memo = memos.setdefault(str(lane.target), Memo())
        for one in grading_costs(part, lane.method, lane.options, metrics, lane.native_shape, memo):
            if one.why:
                whys[one.metric] = one.why
            found.append(GradeCost(lane.name, one.metric, one.evaluations, one.sweeps, one.money))
    return found, whys


def graded_seconds(model: Model, trial: Trial, lane: Lane, metrics: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Seconds that an item's metrics take in a lane, of one trial item; None where that fails or is billed."""
    if abilities_of(model).price is not None or not metrics:
        return None
    driven = Lane.from_dict({**lane.to_dict(), "engine": "drive", "file": ""})
    batch = batch_of(driven, trial, 1)
    try:
        with Driven(driven, model) as engine:
            engine.ask(batch)
            start = time.perf_counter()
            part, found = engine.explained(batch, 0)
            engine.grade(part, found, metrics)
            return time.perf_counter() - start
    except XplainError:
        return None


def labelled_most(counts: Sequence[int], classes: int) -> int:
    """Items that the analysis of labels asks about, of so many labelled ones per class."""
    return sum(min(count, max(20, LABELLED // max(1, classes))) for count in counts)


def redrawn_items(each: float, count: int) -> int:
    """Items of which maps are made by models whose weights are drawn anew.

    Args:
        each: Evaluations and sweeps of one explanation.
        count: Items that there are.
    """
    affordable = int(_REDRAWN_ASKS // max(1.0, each * (1 + REDRAWN_STAGES)))
    return min(count, max(_LEAST_REDRAWN, min(_REDRAWN, affordable)))


def analyses_cost(
    names: Sequence[str],
    models: Sequence[tuple[ModelFacts, Sequence[Lane], Model]],
    labels: Mapping[str, int],
    count: int,
    costs: Sequence[LaneCost],
    planted: int,
) -> tuple[AnalysisCost, ...]:
    """What the analyses that ask will ask at most, of all models together; the others read what is stored.

    Args:
        names: The analyses that are meant.
        models: Each model as the plan has it, its lanes, and itself.
        labels: Label to the number of items that have it.
        count: Items.
        costs: What an item takes in each lane, to tell how long an evaluation takes here.
        planted: Items that are to carry a control.
    """
    asked: dict[str, list[tuple[int, Model, float | None]]] = {"shortcuts": [], "randomisation": [], "labels": []}
    took = {one.lane: one for one in costs}
    for facts, lanes, model in models:
        each = [_second(took[lane.name]) for lane in lanes if lane.name in took]
        second = min((one for one in each if one is not None), default=None)
        placed = [] if facts.door else [one for one in lanes if "H" in one.layout or one.is_series]
        first = next((one for one in placed if one.target == PREDICTED), None)
        if first is not None and first.classes > 1:
            tried = min(SHORTCUT_CLASSES, first.classes, count // 40)
            most = min(tried * _PER_CLASS, tried * (min(400, count) + 4 * 1600))
            if planted and tried:
                most += 160 + 4 * round(4 * planted + planted * (took[first.name].evaluations or 1) + 1600)
            asked["shortcuts"].append((most, model, second))
        redraws = abilities_of(model).redraws
        for lane in lanes if redraws is not None and redraws.weighted() and not facts.door else ():
            one = took[lane.name]
            maps = redrawn_items(one.evaluations + one.sweeps, count) * (1 + REDRAWN_STAGES)
            apart = None if one.seconds is None else one.seconds / max(1.0, one.evaluations + one.sweeps)
            asked["randomisation"].append((round(maps * (one.evaluations + one.sweeps)), model, apart))
        if lanes[0].classes > 1 and facts.known:
            known = [labels[label] for label in facts.known if label in labels]
            asked["labels"].append((labelled_most(known, lanes[0].classes), model, second))
    found = []
    for name in names:
        several = [one for one in asked.get(name, []) if one[0]]
        if not several:
            continue
        timed = [None if second is None else most * second for most, _, second in several]
        bills = [price.bill(most) for most, model, _ in several if (price := abilities_of(model).price) is not None]
        known_time = None if any(one is None for one in timed) else sum(one for one in timed if one is not None)
        found.append(
            AnalysisCost(name, sum(one[0] for one in several), known_time, sum(bills, Decimal(0)) if bills else None)
        )
    return tuple(found)


def _second(one: LaneCost) -> float | None:
    """Seconds of one evaluation, as a lane took them; a sweep counts as three."""
    asked = one.evaluations + 3 * one.sweeps
    return one.seconds / asked if one.seconds is not None and asked else None
