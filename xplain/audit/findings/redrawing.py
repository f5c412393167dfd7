"""Whether a lane's maps depend on what its model has learnt: the model's weights are drawn anew, layer by layer.

Once per run, on items that the seed draws by class: the answer is of a method on a model, not of an item.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.analyses.enough import too_few
from xplain.audit.findings.asking_models import Asks
from xplain.audit.findings.kinds import columns
from xplain.audit.findings.leaning import named
from xplain.audit.plans.costing import REDRAWN_STAGES, redrawn_items
from xplain.core.errors import BudgetError, CapabilityError, XplainError
from xplain.core.finding import Finding
from xplain.core.intervals import LEAST, mean_of
from xplain.core.lane import Lane
from xplain.core.target import label
from xplain.metrics.sampling import plan_sample
from xplain.session import Part, Request, Session
from xplain.session.measures.randomising import Randomisation, randomised, redrawable

__all__ = ["redrawn"]

_LIMITS = (
    "Maps that change as the model forgets may still be wrong: this test is necessary, not sufficient.",
    "Maps are compared by the order of their sizes in at most 14 x 14 cells; what lies finer is not seen.",
)


def redrawn(asks: Asks) -> list[Finding]:
    """A finding for each lane: how alike maps stay while the weights of more and more layers are drawn anew.

    Cost:
        Items times stages and one more, as many explanations each; ``xplain audit plan`` says how many.
    """
    found = []
    for lane in asks.audit.lanes:
        if not asks.audit.plan.model(lane.model).door:
            found += named(_of_lane(asks, lane), lane)
    return found


def _of_lane(asks: Asks, lane: Lane) -> list[Finding]:
    told = columns(asks.audit, "item, predicted_name, target", lane)
    if len(told["item"]) < LEAST:
        return [too_few("randomisation", "", len(told["item"]), LEAST, "explained items")]
    session = asks.session(lane)
    try:
        redrawable(session.model)
    except CapabilityError as error:
        limits = ("Whether its maps depend on what was learnt is not known.",)
        text = f"Weights of {lane.model} cannot be drawn anew: {error}"
        return [Finding("randomisation", "", text, "too few", evidence={"needed": "an ONNX graph"}, limits=limits)]
    plan = session.plan(asks.part(session, lane, told["item"][:1]), lane.method)
    each = plan.queries + plan.sweeps
    count = redrawn_items(each, len(told["item"]))
    asks.takes(round(each * count * (1 + REDRAWN_STAGES)))
    some = plan_sample([str(one) for one in told["predicted_name"]], count, asks.audit.plan.seed)
    part = asks.part(session, lane, told["item"][some])
    try:
        target: Any = _target(lane, told["target"][some], part)
        tested = randomised(
            part, lane.method, dict(lane.options), target, stages=REDRAWN_STAGES, seed=asks.audit.plan.seed
        )
    except BudgetError:
        raise
    except XplainError as error:
        limits = ("Whether its maps depend on what was learnt is not known.",)
        text = f"The test of {lane.name} with weights drawn anew was not made: {error}"
        return [Finding("randomisation", "", text, "too few", evidence={"needed": "another method"}, limits=limits)]
    return [_told(tested, np.asarray(told["item"][some]))]


def _target(lane: Lane, targets: Any, part: Part) -> Any:
    """What was explained of each item: the classes that the records name, else the lane's own target."""
    numbers = np.asarray(targets, np.float64)
    if np.isfinite(numbers).all():
        return label([int(n) for n in numbers])
    with Session(part.model, Request(target=lane.target, seed=lane.seed)) as session:
        return session.aim(part)[0].target


def _told(tested: Randomisation, items: Any) -> Finding:
    """The finding of a test."""
    mean, null = tested.mean, mean_of(tested.null)
    apart = mean_of(tested.null - np.nanmean(tested.alike, axis=1)) if null.count else null
    stages = [mean_of(tested.alike[:, k]) for k in range(len(tested.stages))]
    evidence = {
        "layers": len(tested.layers),
        "layers drawn anew": np.array(tested.stages),
        "likeness at each": np.array([one.mean for one in stages]),
        "its lower bounds": np.array([one.low for one in stages]),
        "its upper bounds": np.array([one.high for one in stages]),
        "maps of different items": null.mean if null.count else None,
        "less alike than these by": np.array([apart.mean, apart.low, apart.high]),
        "rise of entropy": mean_of(tested.entropy).mean,
        "changes": {True: "yes", False: "no", None: "not known"}[tested.forgets],
    }
    interval = None if np.isnan(mean.low) else (mean.low, mean.high)
    worst = np.argsort(-np.nan_to_num(np.nanmean(tested.alike, axis=1), nan=-2.0), kind="stable")
    return Finding(
        *("randomisation", "", tested.sentence(), "measured", mean.mean, "rank correlation", interval, None),
        count=len(items),
        members=items[worst[:24]],
        evidence=evidence,
        limits=_LIMITS,
    )
