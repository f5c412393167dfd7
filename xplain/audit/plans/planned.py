"""What a person may set of an audit, and a plan as it is shown: its cost, its precision, what must be known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.plans.estimate import Estimate
from xplain.audit.plans.failing import MOST_ERRORS, refuse_no_share
from xplain.audit.plans.plan import Plan, TruthFacts
from xplain.audit.plans.sampling import Precision
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted

__all__ = ["Planned", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a person may set of an audit, but its models, items and place; see ``plan``."""

    methods: Any = None
    target: Any = None
    labels: Any = None
    metadata: Any = None
    card: Any = None
    metrics: Any = "cheap"
    analyses: Any = "standard"
    sample: int | None = 2000
    seed: int = 0
    shard_seconds: float = 45.0
    shard_rows: int | None = None
    planted: int = 0
    threads: int = 1
    item_column: str | None = None
    root: str | None = None
    max_queries: int | None = None
    rows: Any = None
    texts: Any = None
    series: Any = None
    batch_size: int | None = None
    truth: Any = None
    most_errors: float = MOST_ERRORS

    def __post_init__(self) -> None:
        _whole("seed", self.seed, 0)
        _whole("planted", self.planted, 0)
        _whole("threads", self.threads, 1)
        if self.shard_rows is not None:
            _whole("shard_rows", self.shard_rows, 1)
        if self.sample is not None:
            _whole("sample", self.sample, 0)
        for name in ("max_queries", "batch_size"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1)
        if not isinstance(self.shard_seconds, (int, float)) or not 0 < self.shard_seconds <= 86400:
            raise UsageError(option="shard_seconds", got=self.shard_seconds, accepted="seconds above 0, up to a day")
        refuse_no_share(self.most_errors)


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UsageError(option=name, got=value, accepted=f"a whole number of at least {least}")


@dataclass(frozen=True)
class Planned:
    """A plan, and what is known of it on this machine. ``str`` is what a person reads before running it.

    Args:
        plan: The plan.
        folder: Where it was written, a folder or a URL; None for a rehearsal.
        estimate: What it will take.
        power: How precise the sample is: for all items, then for each class, the least precise first.
        told: Sentences that must be known before it is run.
    """

    plan: Plan
    folder: Path | str | None
    estimate: Estimate
    power: tuple[Precision, ...] = ()
    told: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        plan, shards = self.plan, self.plan.shards
        numbers = [counted(plan.items.count, "item"), counted(len(plan.lanes), "lane")]
        numbers += [f"{counted(len(shards), 'shard')} of {plan.shard_rows:,}"]
        where = "nothing was written" if self.folder is None else f"in {self.folder}"
        lines = [
            f"audit {plan.identity[:16]} {where}",
            ", ".join(numbers),
            str(self.estimate),
        ]
        lines += [_precise(self.power, plan)] if self.power else []
        lines += [_known(plan.truth, plan.items.count)] if plan.truth is not None else []
        return "\n".join([*lines, *(f"warning: {one}" for one in self.told)])


def _known(truth: TruthFacts, count: int) -> str:
    """What maps are compared with."""
    known = f"  truth ({truth.says}) of {truth.states.get('known', 0):,} of {counted(count, 'item')}"
    asked = f"{', '.join(truth.names)} of {len(truth.sample):,} of them, nothing is asked for it"
    return f"{known}: {asked}" if truth.names else f"{known}: no metric compares with it"


def _precise(power: Sequence[Precision], plan: Plan) -> str:
    whole, worst = power[0], power[-1] if len(power) < 2 else power[1]
    told = (
        f"  metrics ({', '.join(plan.grading.names)}) of {counted(whole.items, 'item')}: a share of all is known to "
        f"{100 * whole.share:.2g} points"
    )
    return (
        told
        if worst is whole
        else f"{told}, of class {worst.group!r} ({counted(worst.items, 'item')}) to {100 * worst.share:.2g}"
    )
