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

from xplain.core.items import Items
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane, LaneRows
from xplain.core.price import Price
from xplain.core.query import Model
from xplain.session import Request, Session
from xplain.session.lane import opened

__all__ = ["Estimate", "LaneCost", "counts", "measured", "shard_rows"]

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
class Estimate:
    """What an audit will take, without its metrics.

    Args:
        items: How many.
        lanes: What one item takes in each.
        reading: Seconds to read and decode one item, once for each model.
        currency: Of the money.
    """

    items: int
    lanes: tuple[LaneCost, ...]
    reading: float
    currency: str = ""

    @property
    def evaluations(self) -> int:
        """Of all items in all lanes."""
        return round(self.items * sum(one.evaluations for one in self.lanes))

    @property
    def sweeps(self) -> int:
        """Of all items in all lanes."""
        return round(self.items * sum(one.sweeps for one in self.lanes))

    @property
    def asked(self) -> int:
        """Evaluations and sweeps of all items in the lanes that ask the model; a compiled file asks nobody."""
        driven = [one for one in self.lanes if one.engine != "graph"]
        return round(self.items * sum(one.evaluations + one.sweeps for one in driven))

    @property
    def money(self) -> Decimal | None:
        """Of all items in all lanes; None where nothing is billed."""
        billed = [one.money for one in self.lanes if one.money is not None]
        return self.items * sum(billed, Decimal(0)) if billed else None

    @property
    def seconds(self) -> float | None:
        """One item's, in all lanes; None where a lane was not measured."""
        known = [one.seconds for one in self.lanes if one.seconds is not None]
        return self.reading + sum(known) if len(known) == len(self.lanes) else None

    @property
    def hours(self) -> float | None:
        """All items', by one process on this machine."""
        return None if self.seconds is None else self.items * self.seconds / 3600

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        told = asdict(self)
        for one in told["lanes"]:
            one["money"] = None if one["money"] is None else str(one["money"])
        whole = {"evaluations": self.evaluations, "sweeps": self.sweeps, "hours": self.hours}
        return {**told, **whole, "money": None if self.money is None else str(self.money)}

    def __str__(self) -> str:
        lines = []
        for one in self.lanes:
            each = [counted(round(one.evaluations), "evaluation")] if one.evaluations else []
            each += [counted(round(one.sweeps), "sweep")] if one.sweeps else []
            took = "not measured" if one.seconds is None else f"{1000 * one.seconds:.3g} ms"
            why = f" ({one.why})" if one.why else ""
            lines.append(f"  {one.lane}: {', '.join(each) or 'nothing asked'} an item, {took}, {one.engine}{why}")
        total = [counted(self.evaluations, "evaluation"), counted(self.sweeps, "sweep")]
        total += [] if self.hours is None else [f"about {_spoken(self.hours)} by one process on this machine"]
        total += (
            [] if self.money is None else [f"{Price(currency=self.currency).show(self.money)}, retries not counted"]
        )
        return "\n".join([*lines, f"  all: {'; '.join(total)}; metrics and analyses not counted"])


def counts(model: Model, items: Items, lane: Lane) -> tuple[float, float, Decimal | None]:
    """Evaluations, sweeps and money that one item takes, counted without asking the model."""
    request = Request({lane.method: dict(lane.options)}, target=_stand_in(lane.target), seed=lane.seed)
    with Session(model, request) as session:
        plan = session.plan(session.part(model, items[:1]), lane.method)
    return float(plan.queries), float(plan.sweeps), plan.money


def measured(lane: Lane, model: Model, content: bytes | None, items: Items) -> float:
    """Seconds that one item takes in a lane: batches that grow until they take half a second.

    A lane that is a graph is asked for whole batches, for it answers no other.
    """
    count = len(items) if lane.engine == "graph" else 1
    with opened(lane, model, content) as answering:
        while True:
            count = min(count, lane.rows, len(items))
            batch = _batch(lane, items, count)
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


def _batch(lane: Lane, items: Items, count: int) -> LaneRows:
    x = np.zeros((lane.rows, *lane.item), items.x.dtype)
    x[:count] = items.x[:count]
    real = np.asarray(np.arange(lane.rows) < count)
    return LaneRows(x, real, tuple(map(str, range(lane.rows))), np.zeros(lane.rows, np.int64))


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
