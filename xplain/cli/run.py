"""Items streamed through a session: each is read once, each result is kept as it comes, no failure stops the rest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from xplain.cli.asking.backgrounds import read_baselines, with_names
from xplain.cli.asking.loading import Asking
from xplain.cli.keeping.whole import whole
from xplain.cli.telling.bill import Bill, Planned
from xplain.cli.telling.console import Progress, note
from xplain.core.cost import Cost
from xplain.core.declaring.wording import Words, in_python, named
from xplain.core.errors import UsageError, XplainError
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.session import Explained, Request, Session, Stream
from xplain.session.predictions import best
from xplain.session.stream import AT_ONCE

__all__ = ["Keeper", "Order", "Run", "explain_items", "planned"]


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of every item.

    Args:
        methods: Method to its options, as the command line gives them.
        target: As ``xplain.explain`` takes it.
        seed: Root of all randomness.
        asking: Rows per call, evaluations for all items together, and the folder of answers.
        sentinel: Evaluations between two looks at whether the model was replaced, or None.
        each: Whether every item has an equal share of the evaluations, so that one cannot spend those of the others.
        look: Whether predictions are asked for even where the target does not follow from them.
        at_once: Items that are read together, or rows that are asked about together; None for the usual number.
        named: Whether items come without names of their own, so that results are called as the command line calls them.
        begins: A line for a person once it is known that it can be asked, such as which method was chosen.
    """

    methods: Mapping[str, Mapping[str, Any]]
    target: str | None = None
    seed: int = 0
    asking: Asking = field(default_factory=Asking)
    sentinel: int | None = None
    each: bool = True
    look: bool = False
    at_once: int | None = None
    named: bool = False
    begins: str = ""

    def tell(self) -> None:
        """Print the line that it begins with, if there is one."""
        if self.begins:
            note(f"xplain: {self.begins}")

    def share(self, count: int) -> int | None:
        """Evaluations for each of ``count`` items; None for no limit.

        Raises:
            UsageError: there is not one for each.
        """
        most = self.asking.max_queries
        if most is None or not self.each:
            return None
        if most < count:
            raise UsageError(
                named("max_queries"),
                f" is {most} for {counted(count, 'picture')}",
                option="max_queries",
                got=most,
                accepted="at least one each",
            )
        return most // count


class Keeper(Protocol):
    """Writes explanations down."""

    def keep(self, item: str, explained: Explained) -> list[dict[str, Any]]:
        """Write the explanations of one item by one method; what is told of each, with the names of its files."""


@dataclass(slots=True)
class Run:
    """What was done: one entry per item, failures apart, and the cost.

    Args:
        what: What an item is called in documents: ``picture`` or ``item``.
        words: How messages name options.
    """

    what: str = "picture"
    words: Words = in_python
    items: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    spent: Cost = field(default_factory=Cost)
    bill: Bill | None = None
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    def document(self) -> dict[str, Any]:
        """The same as plain values."""
        cost = {"queries": self.spent.queries, "sweeps": self.spent.sweeps, "seconds": round(self.seconds, 3)}
        cost |= self.bill.document() if self.bill is not None else {}
        return {f"{self.what}s": self.items, "failures": self.failures, "cost": cost}

    def entry(self, item: str, one: Explained, outline: Outline) -> dict[str, Any]:
        """A new entry for an item, which has no explanation yet."""
        predicted = [] if one.scores is None else best(one.scores[None], outline)[0]
        self.items.append({self.what: item, "predictions": predicted, "explanations": []})
        return self.items[-1]

    def fail(self, item: str, error: XplainError) -> None:
        """Note an item that cannot be explained."""
        self.failures.append({self.what: item, "error": error.fields(self.words)})


def explain_items(
    model: Model,
    source: Any,
    names: Sequence[str],
    order: Order,
    run: Run,
    keeper: Keeper,
    kept: Callable[[], None] = lambda: None,
) -> None:
    """Explain every item by every method, and hand each result to ``keeper`` as soon as it is there.

    An item that cannot be read, or that gives scores that are no numbers, is noted in ``run.failures``.

    Args:
        model: A loaded model.
        source: Paths, arrays, columns of a table, or texts.
        names: What each item is called.
        order: What is asked.
        run: Filled as the work goes on, so that an interruption finds what was done.
        keeper: Writes each item's explanations.
        kept: Called after every result that was written.

    Raises:
        XplainError: what concerns all items.
    """
    run.bill = run.bill or Bill(model)
    before, bars = run.spent, []  # type: tuple[Cost, list[Progress]]
    entries: dict[int, dict[str, Any]] = {}

    def onwards(done: int, _asked: int) -> None:
        for bar in bars:
            bar.to(done)

    with _stream(model, source, len(names), order, onwards, lambda k, error: run.fail(names[k], error)) as opened:
        session, stream = opened
        plans = stream.plans(len(names))  # aims at the first item, so a target that cannot be met is refused here
        order.tell()
        with Progress(Planned.of(plans).steps) as progress:
            bars.append(progress)
            for one in stream:
                run.spent = before + session.spent
                given = order.methods.get(one.method, {})
                results = [with_names(result, given).in_words(run.words) for result in one.results]
                name = names[one.place]
                if order.named:
                    results = [replace(result, names=(Path(name).name,)) for result in results]
                with whole():
                    told = keeper.keep(name, replace(one, results=results))
                    if one.place not in entries:
                        entries[one.place] = run.entry(name, one, model.outline)
                    entries[one.place]["explanations"] += told
                kept()
            run.spent = before + session.spent
            progress.to(session.spent.queries + session.spent.sweeps)


def planned(model: Model, source: Any, count: int, order: Order) -> Planned:
    """What explaining all items takes, as planned on the first that can be read."""
    with _stream(model, source, count, order, None, lambda _place, _error: None) as (_, stream):
        plans = stream.plans(count)
    order.tell()
    return Planned.of(plans)


@contextmanager
def _stream(
    model: Model,
    source: Any,
    count: int,
    order: Order,
    progress: Callable[[int, int], None] | None,
    failed: Callable[[int, XplainError], None],
) -> Iterator[tuple[Session, Stream]]:
    share = order.share(count)
    request = Request(
        read_baselines(order.methods, model),
        target=order.target,
        seed=order.seed,
        batch_size=order.asking.batch_size,
        max_queries=None if order.each else order.asking.max_queries,
        cache=order.asking.cache,
        sentinel=order.sentinel,
        progress=progress,
    )
    with Session(model, request) as session:
        how: dict[str, Any] = {"at_once": order.at_once or AT_ONCE, "each": share, "look": order.look}
        yield session, Stream(session, source, failed=lambda place, _, error: failed(place, error), **how)
