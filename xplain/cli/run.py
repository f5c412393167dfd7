"""Explaining many pictures: batches are full, memory is bounded, each result is kept at once, failures are apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeAlias

from xplain import api
from xplain.cli.backgrounds import read_baselines, with_names
from xplain.cli.bill import Bill, Planned
from xplain.cli.book import whole
from xplain.cli.loading import Asking
from xplain.cli.notes import notes_of, told_warnings
from xplain.cli.predictions import best
from xplain.core.abilities import abilities_of
from xplain.core.cost import Cost
from xplain.core.errors import CardError, NonFinite, PictureError, UsageError, XplainError
from xplain.core.query import Model
from xplain.core.target_parser import needs_scores
from xplain.core.wording import Words, in_python, named
from xplain.results.attribution import Attribution

__all__ = ["Keeper", "Order", "Run", "estimate", "explain_pictures"]

_AT_ONCE = 8
"""Pictures that are read together."""

_CHEAP = 32
"""Evaluations and sweeps of a picture up to which a method is asked about several at once, so that batches are full; a
method that asks more fills them with one picture, and is lost with no more than that one when it is interrupted."""

_OF_ONE_PICTURE = (PictureError, NonFinite)
"""Errors that say nothing of the other pictures."""

_OF_A_GROUP = (*_OF_ONE_PICTURE, CardError)
"""Errors that a picture alone may not have: a card may leave pictures at different sizes."""


Numbered: TypeAlias = tuple[int, str]
"""A picture's place among all, and its path."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of every picture.

    Args:
        methods: Method to its options.
        target: As ``xplain.explain`` takes it.
        seed: Root of all randomness.
        asking: Rows per call, evaluations for all pictures together, and the folder of answers.
        sentinel: Evaluations between two looks at whether the model was replaced, or None.
    """

    methods: Mapping[str, Mapping[str, Any]]
    target: str | None = None
    seed: int = 0
    asking: Asking = field(default_factory=Asking)
    sentinel: int | None = None


@dataclass(slots=True)
class Run:
    """What was done: one entry per picture, failures apart, and the cost."""

    pictures: list[dict[str, Any]] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    queries: int = 0
    sweeps: int = 0
    bill: Bill | None = None
    words: Words = in_python
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    def document(self) -> dict[str, Any]:
        """The same as plain values."""
        cost = {"queries": self.queries, "sweeps": self.sweeps, "seconds": round(self.seconds, 3)}
        cost |= self.bill.document() if self.bill is not None else {}
        return {"pictures": self.pictures, "failures": self.failures, "cost": cost}


class Keeper(Protocol):
    """Writes explanations down."""

    def keep(self, picture: str, found: Sequence[Attribution]) -> list[dict[str, str]]:
        """Write the explanations of one picture by one method; the names of the files of each, by kind."""


def explain_pictures(
    model: Model,
    pictures: Sequence[str],
    order: Order,
    run: Run,
    keeper: Keeper,
    progress: Callable[[int], None],
    kept: Callable[[], None] = lambda: None,
) -> None:
    """Explain every picture and hand each result to ``keeper`` as soon as it is there.

    A picture that cannot be read, or that gives scores that are no numbers, is noted in ``run.failures``.

    Args:
        model: A loaded model.
        pictures: Paths.
        order: What is asked.
        run: Filled as the work goes on, so that an interruption finds what was done.
        keeper: Writes each picture's explanations.
        progress: Called with the evaluations and sweeps done.
        kept: Called after every result that was written.

    Raises:
        XplainError: what concerns all pictures.
    """
    share = None if order.asking.max_queries is None else order.asking.max_queries // len(pictures)
    if share is not None and share < 1:
        raise UsageError(
            named("max_queries"),
            f" is {order.asking.max_queries} for {len(pictures)} pictures",
            option="max_queries",
            got=order.asking.max_queries,
            accepted="at least one each",
        )
    given, order = order.methods, replace(order, methods=read_baselines(order.methods, model))
    run.bill = run.bill or Bill(model)
    work = _Work(model, order, given, share, run, keeper, progress, kept)
    numbered = list(enumerate(pictures))
    for start in range(0, len(numbered), _AT_ONCE):
        group = numbered[start : start + _AT_ONCE]
        predicted = work.in_parts(group, len(group), work.predict)
        for name, options in order.methods.items():
            size = 1 if work.asks_much(name, options, predicted) else len(predicted)
            work.in_parts(predicted, size, partial(work.explain, name, options))


@dataclass(slots=True)
class _Work:
    """What is asked of the pictures, and what was done so far; a numbered picture is (place, path)."""

    model: Model
    order: Order
    given: Mapping[str, Mapping[str, Any]]
    share: int | None
    run: Run
    keeper: Keeper
    progress: Callable[[int], None]
    kept: Callable[[], None]
    spent: dict[int, int] = field(default_factory=dict)
    predictions: dict[int, Any] = field(default_factory=dict)
    told: dict[int, dict[str, Any]] = field(default_factory=dict)

    def in_parts(self, pictures: Sequence[Numbered], size: int, do: Callable[[list[Numbered]], None]) -> list[Numbered]:
        """Do something to so many pictures at a time, to each alone where several fail; those that did not fail."""
        done: list[Numbered] = []
        waiting = [list(pictures[k : k + size]) for k in range(0, len(pictures), max(1, size))]
        while waiting:
            part = waiting.pop(0)
            try:
                do(part)
                done += part
            except _OF_A_GROUP as error:
                if len(part) > 1:  # each alone, to find the one
                    waiting = [[one] for one in part] + waiting
                elif isinstance(error, _OF_ONE_PICTURE):
                    self.run.failures.append({"picture": part[0][1], "error": error.fields(self.run.words)})
                else:
                    raise
        return done

    def predict(self, part: list[Numbered]) -> None:
        """What is predicted of the pictures; nothing is asked where the target does not depend on it."""
        for place, _ in part:
            self.predictions[place], self.spent[place] = [], 0
        if not needs_scores(self.order.target, self.model.outline):
            return
        asking = self.order.asking
        paths = [path for _, path in part]
        scores = api.predict(self.model, paths, batch_size=asking.batch_size, cache=asking.cache)
        for k, (place, _) in enumerate(part):
            self.predictions[place] = best(scores[k : k + 1], self.model.outline)[0]
            self.spent[place] = 1
        self.run.queries += len(part)

    def asks_much(self, name: str, options: Mapping[str, Any], pictures: Sequence[Numbered]) -> bool:
        """Whether one picture alone fills batches."""
        if len(pictures) < 2:
            return False
        try:
            plan = api.plan(self.model, pictures[0][1], name, target=self.order.target, **options)
        except XplainError:  # which explaining will say
            return False
        return plan.queries + plan.sweeps > _CHEAP

    def explain(self, name: str, options: Mapping[str, Any], part: list[Numbered]) -> None:
        """Explain the pictures by one method, and write each down."""
        order, run = self.order, self.run
        left = None if self.share is None else sum(self.share - self.spent[place] for place, _ in part)
        answers = api.explain_many(
            self.model,
            [path for _, path in part],
            name,
            target=order.target,
            seed=order.seed,
            batch_size=order.asking.batch_size,
            max_queries=None if left is None else max(1, left),
            cache=order.asking.cache,
            sentinel=order.sentinel,
            progress=partial(_forward, self.progress, run.queries + run.sweeps),
            **options,
        )
        cost = answers[0].cost
        run.queries += cost.queries
        run.sweeps += cost.sweeps
        for k, (place, path) in enumerate(part):
            self.spent[place] += cost.queries // len(part)
            each = [with_names(_alone(one, k), self.given.get(one.method, {})) for one in answers]
            with whole():
                self._keep(place, path, each)
            self.kept()
        self.progress(run.queries + run.sweeps)

    def _keep(self, place: int, path: str, found: list[Attribution]) -> None:
        files = self.keeper.keep(path, found)
        if place not in self.told:
            self.told[place] = {"picture": path, "predictions": self.predictions[place], "explanations": []}
            self.run.pictures.append(self.told[place])
        self.told[place]["explanations"] += [_told(one, names) for one, names in zip(found, files, strict=True)]


def estimate(model: Model, pictures: Sequence[str], order: Order) -> Planned:
    """What explaining all pictures takes, as planned on the first that can be read; calls as its groups make them."""
    methods = read_baselines(order.methods, model)
    looks, size = needs_scores(order.target, model.outline), order.asking.batch_size
    plan = partial(api.plan, model, target=order.target, cache=order.asking.cache, batch_size=size)
    wired = abilities_of(model).rows_per_request is not None
    for k, picture in enumerate(pictures):
        groups = _groups(pictures[k:], len(pictures)) if wired else [(len(pictures), [picture])]
        try:
            parts = []
            for name, options in methods.items():
                one = plan(picture, name, **options)
                alone = not wired or one.queries + one.sweeps > _CHEAP
                if alone:
                    parts.append((len(pictures), one))
                else:
                    parts += [(times, plan(group, name, **options)) for times, group in groups]
            # one more evaluation per picture says what is predicted
            first = [(times, api.plan_look(model, group, size)) for times, group in groups] if looks else []
        except _OF_ONE_PICTURE:
            continue
        return Planned.of([*first, *parts])
    return Planned()


def _groups(pictures: Sequence[str], count: int) -> list[tuple[int, list[str]]]:
    """Groups as pictures are explained in, each by one that is like it, and how many there are of it."""
    whole, rest = divmod(count, _AT_ONCE)
    some = list(pictures[:_AT_ONCE])
    found = [(whole, (some * _AT_ONCE)[:_AT_ONCE])] if whole else []
    return [*found, (1, (some * _AT_ONCE)[:rest])] if rest else found


def _forward(progress: Callable[[int], None], before: int, done: int, _asked: int) -> None:
    progress(before + done)


def _alone(one: Attribution, n: int) -> Attribution:
    """The explanation of one picture: its own target's name, and its share of the cost."""
    cut, cost = one[n], one.cost
    share = Cost(cost.queries // len(one), cost.sweeps // len(one), cost.reused // len(one), cost.seconds / len(one))
    return cut.with_provenance(cost=share)


def _told(one: Attribution, files: dict[str, str]) -> dict[str, Any]:
    return {
        "method": one.method,
        "options": one.meta()["options"],
        "target": one.target,
        "class": one.labels[0] if one.labels else None,
        "score": float(one.scores[0]),
        "base": None if one.base is None else float(one.base[0]),
        "unit": one.unit,
        "shape": list(one.values.shape[1:]),
        "resolution": one.resolution,
        "layout": one.layout,
        "warnings": told_warnings(one),
        "notes": notes_of(one),
        "files": files,
    }
