"""Runs an audit: which shards are left, who makes them, what is done about a process that dies, and when to stop.

    run --> hold the folder --> workers, each in a process that a thread attends --> seals
                                  dies twice in a shard: a careful one names each item
                                  dies twice in a row at one item: that item becomes an error row

Whatever happens to any of these processes, what is sealed is done, and nothing else is: a run may be killed and begun
again as often as one likes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from xplain.audit.plans.budgeting import Allowed
from xplain.audit.plans.failing import refuse_no_share
from xplain.audit.plans.plan import Plan
from xplain.audit.shards.attending import in_processes
from xplain.audit.shards.guarding import planned_audit, refuse_changed
from xplain.audit.shards.progress import Progress
from xplain.audit.shards.working import Shop
from xplain.audit.shards.workload import Log, Told, Work
from xplain.audit.stores.home import Home, home_of
from xplain.audit.stores.where import Where
from xplain.core.errors import UsageError

__all__ = ["run"]


def run(
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    max_hours: float | None = None,
    max_cost: float | None = None,
    max_queries: int | None = None,
    shards: Iterable[int] | None = None,
    models: Mapping[str, Any] | None = None,
    items: Any = None,
    most_errors: float | None = None,
    told: Told | None = None,
) -> Progress:
    """Make the shards of an audit that are not sealed yet, and seal them.

    Args:
        out: The audit's folder, or its URL.
        workers: Processes that make shards; 0 makes them in this one, which is what models that were given as objects
            need, and is chosen for them, and for items that were moved.
        max_hours: Begin no shard that is not likely to end by then; None for no limit.
        max_cost: Begin no shard that could cost more than is left of this, for models that bill; None for no limit.
            What a killed run has paid for lies in ``answers/``, and is not paid again.
        max_queries: Evaluations that this audit may ask for in all, what was asked before included; None for what was
            stated when it was planned. No shard is begun that could ask for more than is left.
        shards: Numbers of the shards to make; None for all.
        models: Models by their names in the plan, where they can only be given, or lie elsewhere now.
        items: Another place of the items, where they were moved; each is held to the digest that was planned.
        most_errors: Share of error rows, of those of this run, beyond which it stops; None for what was stated when it
            was planned, a half where nothing was.
        told: Called after every shard.

    Returns:
        How far it is. SIGTERM and SIGINT let the shards under way be finished.

    Raises:
        UsageError: there is no audit, or it is not as it was planned.
        OutputError: another run holds the folder, or the disk is full.
        TooManyErrors: more than ``most_errors`` of the rows failed.
        WorkerDied: workers die before they have begun.
    """
    for name, value, good in (
        ("workers", workers, type(workers) is int and workers >= 0),
        ("max_hours", max_hours, max_hours is None or (_number(max_hours) and max_hours > 0)),
        ("max_cost", max_cost, max_cost is None or (_number(max_cost) and max_cost >= 0)),
        ("max_queries", max_queries, max_queries is None or (type(max_queries) is int and max_queries >= 1)),
    ):
        if not good:
            accepted = _ACCEPTED.get(name, "a number of at least 0")
            raise UsageError(option=name, got=value, accepted=accepted)
    if most_errors is not None:
        refuse_no_share(most_errors)
    home = home_of(out)
    folder, store = home.folder, home.store
    plan = planned_audit(folder)
    refuse_changed(plan, folder)
    with store.hold():
        store.tidy()
        allowed = Allowed.read(folder)
        allowed = allowed if max_queries is None else replace(allowed, most=max_queries)
        share = allowed.most_errors if most_errors is None else most_errors
        work = Work(plan, store, _wanted(plan, shards), max_hours, max_cost, share, told, folder, allowed)
        with Log(folder) as work.log, _signals(work):
            here = (
                not workers
                or bool(models)
                or items is not None
                or any(not one for one in Where.read(folder).models.values())
            )
            if not work.left:
                pass
            elif here:
                _inline(home, work, models, items)
            else:
                work.workers = min(workers, len(work.left))
                in_processes(home, work, min(workers, len(work.left)))
        if work.failure is not None:
            raise work.failure
        found = work.progress()
        if found.done:
            store.gc()  # what killed runs have left half-written; nobody works here now
    return found


_ACCEPTED = {"max_queries": "a whole number of at least 1, or none for no limit"}


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _wanted(plan: Plan, shards: Iterable[int] | None) -> list[int]:
    if shards is None:
        return list(range(len(plan.shards)))
    wanted = list(shards) if isinstance(shards, Iterable) else [-1]
    if not all(_number(one) and one in range(len(plan.shards)) for one in wanted):
        raise UsageError(option="shards", got=shards, accepted=f"numbers from 0 to {len(plan.shards) - 1}")
    return [int(one) for one in wanted]


def _inline(home: Home, work: Work, models: Mapping[str, Any] | None, items: Any) -> None:
    with Shop(home.out, models, items=items) as shop:
        while (shard := work.take()) is not None:
            if not work.affords(shard, *(shop.price(shard) if work.limited else (0.0, 0))):
                return
            work.done(shop.make(shard, most=work.granted(shard)), os.getpid())


@contextmanager
def _signals(work: Work) -> Iterator[None]:
    """SIGTERM and SIGINT end the run behind the shards under way; a second SIGINT ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, _: Any) -> None:
        if number == signal.SIGINT and work.why:
            raise KeyboardInterrupt
        work.why = work.why or f"it was asked to end by {signal.Signals(number).name}"

    before = {one: signal.signal(one, stop) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
