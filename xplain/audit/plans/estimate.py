"""What an audit will take: questions counted by the session's plan, hours measured on a trial batch, money by tariff.

Hours are this machine's and stand in the log, never under a hash.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from xplain.audit.plans.trial import Trial
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane, LaneRows
from xplain.core.price import Price
from xplain.core.query import Model
from xplain.session import Part, Request, Session
from xplain.session.entering import entered
from xplain.session.lanes.lane import opened

__all__ = [
    "AnalysisCost",
    "Estimate",
    "GradeCost",
    "LaneCost",
    "batch_of",
    "counts",
    "measured",
    "one_of",
    "shard_rows",
]

_LONG_ENOUGH = 0.5
"""Seconds of a trial after which it is not made longer."""


@dataclass(frozen=True, slots=True)
class LaneCost:
    """What one item takes in a lane.

    Args:
        lane: Its name.
        evaluations: Model evaluations.
        sweeps: Reverse sweeps.
        money: What they are billed; None for a model without a price.
        seconds: Measured; None where it was not, as for a model that is billed.
        engine: ``graph`` or ``drive``.
        why: Why a lane that might be a graph is none.
    """

    lane: str
    evaluations: float
    sweeps: float
    money: Decimal | None = None
    seconds: float | None = None
    engine: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class GradeCost:
    """What one item takes for one metric in a lane, beside what was asked before it.

    Args:
        lane: The lane's name.
        metric: The metric's.
        evaluations: Model evaluations.
        sweeps: Reverse sweeps.
        money: What they are billed; None for a model without a price.
    """

    lane: str
    metric: str
    evaluations: float
    sweeps: float = 0.0
    money: Decimal | None = None


@dataclass(frozen=True, slots=True)
class AnalysisCost:
    """What an analysis asks the models at most.

    Args:
        name: The analysis.
        evaluations: Model evaluations, of all items together.
        seconds: What that takes here; None where an evaluation was not measured.
        money: What that is billed; None for models without a price.
    """

    name: str
    evaluations: int
    seconds: float | None = None
    money: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an audit will take: explanations of all items, metrics of the sampled ones, and analyses that ask.

    Args:
        items: How many.
        lanes: What one item takes in each.
        reading: Seconds to read and decode one item, once for each model.
        currency: Of the money.
        sampled: Items that metrics are asked for.
        grades: What one of these takes, by lane and metric.
        grading: Seconds that the metrics of one of these take in all lanes; None where that was not measured.
        analyses: What the analyses ask when they are made, at most.
    """

    items: int
    lanes: tuple[LaneCost, ...]
    reading: float
    currency: str = ""
    sampled: int = 0
    grades: tuple[GradeCost, ...] = ()
    grading: float | None = None
    analyses: tuple[AnalysisCost, ...] = ()

    @property
    def evaluations(self) -> int:
        """Of a run: of all items in all lanes, and of the metrics of those that are sampled."""
        each = self.sampled * sum(one.evaluations for one in self.grades)
        return round(self.items * sum(one.evaluations for one in self.lanes) + each)

    @property
    def sweeps(self) -> int:
        """The same, of reverse sweeps."""
        each = self.sampled * sum(one.sweeps for one in self.grades)
        return round(self.items * sum(one.sweeps for one in self.lanes) + each)

    @property
    def asked(self) -> int:
        """Evaluations and sweeps of a run that the models are asked for; a compiled file asks nobody."""
        driven = [one for one in self.lanes if one.engine != "graph"]
        graded = self.sampled * sum(one.evaluations + one.sweeps for one in self.grades)
        return round(self.items * sum(one.evaluations + one.sweeps for one in driven) + graded)

    @property
    def money(self) -> Decimal | None:
        """What a run is billed; None where nothing is."""
        billed = [one.money for one in self.lanes if one.money is not None]
        graded = [one.money for one in self.grades if one.money is not None]
        return self.items * sum(billed, Decimal(0)) + self.sampled * sum(graded, Decimal(0)) if billed else None

    @property
    def seconds(self) -> float | None:
        """One item's of a run, its share of the metrics with it; None where a lane was not measured."""
        known = [one.seconds for one in self.lanes if one.seconds is not None]
        if len(known) < len(self.lanes) or (self.grades and self.grading is None):
            return None
        return self.reading + sum(known) + (self.grading or 0.0) * self.sampled / max(1, self.items)

    @property
    def hours(self) -> float | None:
        """A run's, by one process on this machine."""
        return None if self.seconds is None else self.items * self.seconds / 3600

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        told = asdict(self)
        for one in (*told["lanes"], *told["grades"], *told["analyses"]):
            one["money"] = None if one["money"] is None else str(one["money"])
        whole = {"evaluations": self.evaluations, "sweeps": self.sweeps, "hours": self.hours}
        return {**told, **whole, "money": None if self.money is None else str(self.money)}

    def __str__(self) -> str:
        lines = []
        for one in self.lanes:
            took = "not measured" if one.seconds is None else f"{1000 * one.seconds:.3g} ms"
            why = f" ({one.why})" if one.why else ""
            asked = _asked(one.evaluations, one.sweeps) or "nothing asked"
            lines.append(f"  {one.lane}: {asked} an item, {took}, {one.engine}{why}")
        lines += self._of_grades()
        total = [_asked(self.evaluations, self.sweeps) or "nothing asked"]
        total += [] if self.hours is None else [f"about {_spoken(self.hours)} by one process on this machine"]
        total += [] if self.money is None else [f"a bill of {self._billed(self.money)}, retries not counted"]
        lines.append(f"  a run in all: {'; '.join(total)}")
        for each in self.analyses:
            told = [f"at most {counted(each.evaluations, 'evaluation')}"]
            told += [] if each.seconds is None else [_spoken(each.seconds / 3600)]
            told += [] if each.money is None else [self._billed(each.money)]
            lines.append(f"  the analysis {each.name}, when it is made: {', '.join(told)}")
        return "\n".join(lines)

    def _of_grades(self) -> list[str]:
        """A line for each metric, of all lanes together."""
        found: dict[str, list[GradeCost]] = {}
        for one in self.grades:
            found.setdefault(one.metric, []).append(one)
        lines = []
        for name, several in found.items():
            each = _asked(sum(one.evaluations for one in several), sum(one.sweeps for one in several))
            billed = [one.money for one in several if one.money is not None]
            bill = f", {self._billed(sum(billed, Decimal(0)))}" if billed else ""
            lines.append(f"  metric {name}: {each or 'nothing asked'} in all lanes for an item that is sampled{bill}")
        if self.grades:
            took = "" if self.grading is None else f"; all metrics take {1000 * self.grading:.3g} ms an item"
            lines.append(f"  {counted(self.sampled, 'item')} sampled{took}")
        return lines

    def _billed(self, money: Decimal) -> str:
        return Price(currency=self.currency).show(money)


def _asked(evaluations: float, sweeps: float) -> str:
    """Evaluations and sweeps in words; empty for none."""
    told = [counted(round(evaluations), "evaluation")] if evaluations else []
    return ", ".join(told + ([counted(round(sweeps), "sweep")] if sweeps else []))


def counts(model: Model, trial: Trial, lane: Lane) -> tuple[float, float, Decimal | None]:
    """Evaluations, sweeps and money that one item takes, counted without asking the model."""
    request = Request({lane.method: dict(lane.options)}, target=_stand_in(lane.target), seed=lane.seed)
    with Session(model, request) as session:
        plan = session.plan(one_of(session, trial), lane.method)
    return float(plan.queries), float(plan.sweeps), plan.money


def one_of(session: Session, trial: Trial) -> Part:
    """The first trial item as a part."""
    if trial.given:
        return session.part(*entered(session.model, list(trial.given[:1]), None))
    return session.part(session.model, trial.items[:1])


def measured(lane: Lane, model: Model, content: bytes | None, trial: Trial) -> float:
    """Seconds that one item takes in a lane: batches that grow until they take half a second.

    A lane that is a graph is asked for whole batches, for it answers no other.
    """
    items = trial.items
    count = len(items) if lane.engine == "graph" else 1
    with opened(lane, model, content) as answering:
        while True:
            count = min(count, lane.rows, len(items))
            batch = batch_of(lane, trial, count)
            start = time.perf_counter()
            answering.ask(batch)
            took = time.perf_counter() - start
            full = lane.engine == "graph" or count == min(lane.rows, len(items))
            if took >= _LONG_ENOUGH or full:
                break
            count *= 4
        if took < _LONG_ENOUGH:  # the first call of a runtime warms it up
            start = time.perf_counter()
            answering.ask(batch)
            took = time.perf_counter() - start
    return took / (lane.rows if lane.engine == "graph" else count)


def batch_of(lane: Lane, trial: Trial, count: int) -> LaneRows:
    """The first trial items as a batch of a lane."""
    items, real = trial.items, np.asarray(np.arange(lane.rows) < count)
    x = np.zeros((lane.rows, *lane.item), items.x.dtype)
    keys, labels = tuple(map(str, range(lane.rows))), np.zeros(lane.rows, np.int64)
    if trial.given:
        rest = [None] * (lane.rows - count)
        return LaneRows(x, real, keys, labels, (*trial.given[:count], *rest))
    x[:count] = items.x[:count]
    return LaneRows(x, real, keys, labels)


def _stand_in(target: Any) -> Any:
    """A target that costs what the rule does: a class by rank or label is one class."""
    return None if isinstance(target, str) and (target in _RULES or target.startswith("top:")) else target


_RULES = ("predicted", "label", "runner-up")


def _spoken(hours: float) -> str:
    if hours < 1 / 60:
        return f"{hours * 3600:.3g} seconds"
    return f"{hours * 60:.3g} minutes" if hours < 2 else f"{hours:.3g} hours"


def shard_rows(estimate: Estimate, lanes: Sequence[Lane], seconds: float) -> int:
    """Items of a shard that takes about so long here: whole batches of compiled files, doubled as often as it takes."""
    batch = max([lane.rows for lane in lanes if lane.engine == "graph"], default=1)
    each = estimate.seconds
    wanted = _UNKNOWN if each is None else seconds / max(each, 1e-6)
    doubled = np.clip(round(np.log2(max(wanted / batch, 1))), 0, 14)
    return int(batch * 2**doubled)


_UNKNOWN = 64.0
"""Items of a shard where nothing was measured."""
