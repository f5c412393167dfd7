"""Explaining many pictures: in groups, so that batches are full and memory is bounded, and failures one by one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

from xplain import api
from xplain.cli.backgrounds import read_baselines, with_names
from xplain.cli.console import problem
from xplain.cli.loading import Asking
from xplain.cli.predictions import best
from xplain.cli.remarks import notes_of, told_warnings
from xplain.core.aim import needs_scores
from xplain.core.attribution import Attribution, Cost
from xplain.core.errors import CardError, NonFinite, PictureError, UsageError
from xplain.core.query import Model

__all__ = ["Keeper", "Order", "Run", "estimate", "explain_pictures"]

_AT_ONCE = 8
"""Pictures explained together: batches are full, and what is lost by an interruption is small."""

_OF_ONE_PICTURE = (PictureError, NonFinite)
"""Errors that say nothing of the other pictures."""

_OF_A_GROUP = (*_OF_ONE_PICTURE, CardError)
"""Errors that a picture alone may not have: a card may leave pictures at different sizes."""


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
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.started

    def document(self) -> dict[str, Any]:
        """The same as plain values."""
        cost = {"queries": self.queries, "sweeps": self.sweeps, "seconds": round(self.seconds, 3)}
        return {"pictures": self.pictures, "failures": self.failures, "cost": cost}


class Keeper(Protocol):
    """Writes explanations down."""

    def keep(self, picture: str, found: Sequence[Attribution]) -> list[dict[str, str]]:
        """Write the explanations of one picture; the names of the files of each, by kind."""


def explain_pictures(
    model: Model, pictures: Sequence[str], order: Order, run: Run, keeper: Keeper, progress: Callable[[int], None]
) -> None:
    """Explain every picture and hand the results to ``keeper``.

    A picture that cannot be read, or that gives scores that are no numbers, is noted in ``run.failures``.

    Args:
        model: A loaded model.
        pictures: Paths.
        order: What is asked.
        run: Filled as the work goes on, so that an interruption finds what was done.
        keeper: Writes each picture's explanations.
        progress: Called with the evaluations and sweeps done.

    Raises:
        XplainError: what concerns all pictures.
    """
    given, order = order.methods, replace(order, methods=read_baselines(order.methods, model))
    waiting = [list(pictures[k : k + _AT_ONCE]) for k in range(0, len(pictures), _AT_ONCE)]
    share = None if order.asking.max_queries is None else order.asking.max_queries // len(pictures)
    if share is not None and share < 1:
        raise UsageError(
            f"max_queries is {order.asking.max_queries} for {len(pictures)} pictures; accepted: at least one each."
        )
    while waiting:
        group = waiting.pop(0)
        try:
            _explain_group(model, group, order, given, share, run, keeper, progress)
        except _OF_A_GROUP as error:
            if len(group) > 1:  # each alone, to find the one
                waiting = [[picture] for picture in group] + waiting
            elif isinstance(error, _OF_ONE_PICTURE):
                run.failures.append({"picture": group[0], "error": problem(error)})
            else:
                raise


def estimate(model: Model, pictures: Sequence[str], order: Order) -> tuple[int, int]:
    """(evaluations, sweeps) that explaining all pictures takes, as planned on the first that can be read."""
    methods = read_baselines(order.methods, model)
    for picture in pictures:
        try:
            plans = [
                api.plan(model, picture, name, target=order.target, cache=order.asking.cache, **options)
                for name, options in methods.items()
            ]
        except _OF_ONE_PICTURE:
            continue
        # one more evaluation per picture says what is predicted
        return len(pictures) * (1 + sum(p.queries for p in plans)), len(pictures) * sum(p.sweeps for p in plans)
    return 0, 0


def _explain_group(
    model: Model,
    group: list[str],
    order: Order,
    given: Mapping[str, Mapping[str, Any]],
    share: int | None,
    run: Run,
    keeper: Keeper,
    progress: Callable[[int], None],
) -> None:
    looks = needs_scores(order.target, model.outline)
    scores = api.predict(model, group, batch_size=order.asking.batch_size, cache=order.asking.cache) if looks else None
    queries, sweeps = len(group) * looks, 0
    found: list[Attribution] = []
    for name, options in order.methods.items():
        before = run.queries + run.sweeps + queries + sweeps
        answers = api.explain_many(
            model,
            group,
            name,
            target=order.target,
            seed=order.seed,
            batch_size=order.asking.batch_size,
            max_queries=None if share is None else max(1, share * len(group) - queries),
            cache=order.asking.cache,
            sentinel=order.sentinel,
            progress=partial(_forward, progress, before),
            **options,
        )
        found += answers
        queries += answers[0].cost.queries
        sweeps += answers[0].cost.sweeps
    for n, picture in enumerate(group):
        each = [with_names(_alone(one, n), given.get(one.method, {})) for one in found]
        files = keeper.keep(picture, each)
        explanations = [_told(one, names) for one, names in zip(each, files, strict=True)]
        predictions = [] if scores is None else best(scores[n : n + 1], model.outline)[0]
        run.pictures.append({"picture": picture, "predictions": predictions, "explanations": explanations})
    run.queries += queries
    run.sweeps += sweeps
    progress(run.queries + run.sweeps)


def _forward(progress: Callable[[int], None], before: int, done: int, _asked: int) -> None:
    progress(before + done)


def _alone(one: Attribution, n: int) -> Attribution:
    """The explanation of one picture: its own target's name, and its share of the cost."""
    cut, cost = one[n], one.cost
    share = Cost(cost.queries // len(one), cost.sweeps // len(one), cost.reused // len(one), cost.seconds / len(one))
    return replace(cut, cost=share)


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
        "warnings": told_warnings(one),
        "notes": notes_of(one),
        "files": files,
    }
