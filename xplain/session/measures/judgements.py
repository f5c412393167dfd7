"""``xplain.measure.judge``: an explanation under several metrics, beside maps that know nothing, as one result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from xplain.core.declaring.registry import METRICS
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.intervals import mean_of
from xplain.core.items import Items
from xplain.core.keeping.plain import counted
from xplain.results.attribution import Attribution
from xplain.results.judgement import BLIND, Judgement
from xplain.session.items import digests_of
from xplain.session.measures.grading import grade, target_of
from xplain.session.part import Part
from xplain.session.request import Cache, Request
from xplain.session.results import provenance, words_of
from xplain.session.run import Session

__all__ = ["Agreed", "agreement", "judge", "judged"]


def judge(
    model: Any,
    x: Any,
    attribution: Attribution,
    metrics: str | Sequence[str] | Mapping[str, Mapping[str, Any]] = "standard",
    *,
    target: Any = None,
    truth: Any = None,
    baseline: Any = None,
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    cache: Cache | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Judgement:
    """Judge an explanation by metrics, each beside what maps score that know nothing of the model.

        found = xplain.measure.judge(model, "cat.jpg", attribution, ["deletion", "sparseness"])
        print(found); found.bars().save("judged.png")

    Args:
        model: What ``xplain.load`` takes, or a loaded model.
        x: The items that were explained.
        attribution: Their explanation; values with channels are summed over them.
        metrics: ``"standard"`` (what reads the map alone, deletion, insertion, ROAD), ``"cheap"`` (the same without
            ROAD, in 8 steps), names, also with options as in
            ``"deletion:steps=16"``, or each name with its options. ``xplain.measure.metrics()`` lists them.
        target: What is scored, as ``explain`` takes it; None takes what the attribution explains.
        truth: For metrics that compare with what is there: masks ``[N, *map]``, or a list of boxes (y0, x0, y1, x1) for
            each item, in positions of what the model sees.
        baseline: What a hidden position becomes; the same as in the explanation is fairest. None: 0, or in a table the
            typical row.
        seed: Root of what is drawn.
        card: How pictures become tensors, if the model has no card of its own.
        layout: How the axes of the items are named, as in ``explain``.
        batch_size: Rows per model call, at most; another number may change last bits.
        max_queries: Model evaluations that may be spent.
        cache: A folder of answers, so that judging again costs nothing.
        progress: Called with (evaluations done, evaluations asked so far).

    Returns:
        Values per item, and ``.summary(name)``: means with 95 % intervals, how often it beats chance, per class, the
        worst tenth; ``.sentence(name)`` in words; ``.bars()`` as a drawing.

    Raises:
        UsageError: the explanation is of other items, or a metric is not known or needs what is not given.
    """
    request = Request(
        target=target,
        seed=seed,
        card=card,
        layout=layout,
        batch_size=batch_size,
        max_queries=max_queries,
        cache=cache,
        progress=progress,
    )
    with Session(model, request) as session:
        if not isinstance(attribution, Attribution):
            raise UsageError(option="attribution", got=attribution, accepted=_ONE)
        part = session.read(x)
        if len(part) != len(attribution):
            raise UsageError(f"Given: {counted(len(part), 'item')}; the explanation is of {len(attribution)}.")
        _refuse_others(attribution, digests_of(part.items), part.items, "The explanation is of other items")
        if target is not None:
            aims = session.aim(part)
            if len(aims) != 1:
                raise UsageError(f"Target {target!r} stands for {len(aims)} targets; a judgement is of one.")
            names = words_of(aims[0].target, len(part))
            attribution = replace(attribution, explained=aims[0].target, labels=aims[0].labels, targets=names)
        return judged(session, part, attribution, metrics, truth=truth, baseline=baseline)


def judged(
    session: Session,
    part: Part,
    attribution: Attribution,
    metrics: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    truth: Any = None,
    baseline: Any = None,
) -> Judgement:
    """The same for a part that was read, by its session, which knows what was asked of it before."""
    before = session.spent
    grades = grade(session, part, attribution, metrics, truth=truth, seed=session.request.seed, baseline=baseline)
    entries = [METRICS.find(name) for name in grades]
    gap = np.full(len(part), np.nan)

    def column(one: Array | None) -> Array:
        return gap if one is None else one

    blind = [[column(getattr(one, name)) for name in BLIND] for one in grades.values()]
    told = {"metrics": list(grades), "baseline": baseline}
    return Judgement(
        values=np.stack([one.values for one in grades.values()], axis=1),
        blind=np.moveaxis(np.array(blind), 2, 0),
        metrics=tuple(grades),
        better=tuple(one.better for one in entries),
        units=tuple(one.unit for one in entries),
        classes=attribution.targets if attribution.labels else (),
        names=part.items.names,
        digests=digests_of(part.items),
        labels=attribution.labels,
        targets=attribution.targets,
        explained=target_of(attribution),
        facts={"explanation": attribution.method},
        warnings=(*part.model.outline.warnings, *part.items.warnings),
        provenance=provenance(
            part, "judge", told, cost=session.spent.since(before), seed=session.request.seed, rows_per_call={}
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Agreed:
    """How far two methods say the same of the same items.

    Args:
        first: Name of a method.
        second: Name of the other.
        values: Metric to its value for each item, ``[N]``; NaN where a map is constant.
    """

    first: str
    second: str
    values: Mapping[str, Array]

    def __str__(self) -> str:
        told = ", ".join(f"{name} {mean_of(one)}" for name, one in self.values.items())
        return f"{self.first} and {self.second}: {told}"


def agreement(attributions: Sequence[Attribution], *, top: float = 0.1) -> list[Agreed]:
    """How far methods say the same of the same items: rank order, most important positions, signs; for every two.

    Args:
        attributions: Explanations of the same items and target, two or more; values with channels are summed over them
            by the layout that each says.
        top: Share of positions that counts as the most important ones.

    Returns:
        One entry per pair. That methods agree does not make them right: they may share a fault.

    Raises:
        UsageError: fewer than two, or maps of other items or positions.
    """
    if isinstance(attributions, Attribution) or not all(isinstance(one, Attribution) for one in attributions):
        raise UsageError(option="attributions", got=attributions, accepted=f"two or more in a list, each {_ONE}")
    for one in attributions[1:]:
        first = attributions[0]
        _refuse_others(one, first.digests, first, "The explanations are of different items")
    if len(attributions) < 2:
        raise UsageError(f"Agreement is between explanations; got {len(attributions)}, accepted: two or more.")
    maps = [_summed(one) for one in attributions]
    metrics = [one for one in METRICS if one.needs == "pair"]
    options = {one.name: one.read_options({"top": top} if "top" in one.options else {}) for one in metrics}
    return [
        Agreed(
            first.method,
            second.method,
            {one.name: one.function(maps[k], maps[j], **options[one.name]) for one in metrics},
        )
        for (k, first), (j, second) in combinations(enumerate(attributions), 2)
    ]


_ONE = "what xplain.explain returns for one method and target"


def _refuse_others(of: Attribution, digests: Sequence[str], given: Items | Attribution, what: str) -> None:
    """Refuse an explanation of other items than these.

    One that an older version has saved has no digests: then pictures and texts say it, if there are any.

    Raises:
        UsageError: what the model was given differs.
    """
    pairs: list[Any] = [(of.digests, digests)]
    if not of.digests or not digests:
        pairs = [([one.text for one in of.texts], [one.text for one in given.texts])]
        if of.pictures is not None and given.pictures is not None:
            pairs.append(([one.tobytes() for one in of.pictures], [one.tobytes() for one in given.pictures]))
    for own, others in pairs:
        alike = len(own) == len(others)
        differ = [k for k in range(len(own)) if alike and own[k] != others[k]]
        if differ:
            raise UsageError(
                f"{what}: item {differ[0]}, {of.name_of(differ[0])!r:.200}, is not what was explained. Give those that "
                "were explained, in the same order."
            )


def _summed(one: Attribution) -> Array:
    axes = one.layout.partition(" ")[0]
    values = np.asarray(one.values, np.float64)
    return values.sum(axis=axes.index("C")) if "C" in axes and values.ndim == len(axes) else values
