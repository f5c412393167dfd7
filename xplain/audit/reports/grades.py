"""What metrics say, metric by metric: all items, the worst class and the worst tenth; and class by class.

Classes are those that a lane answers with, as in the tables of classes. The worst class is the one that is surely
worst: whose 95 % interval ends worst, so that a class of a few items is not the worst by chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from xplain.audit.reports.readers import Reads, literal, rows_of
from xplain.audit.reports.trials import BASELINES, Known
from xplain.audit.shards.judging import SHARE
from xplain.core.edits import Array
from xplain.core.intervals import LEAST, mean_of, worst_tenth
from xplain.core.lane import Lane
from xplain.report.audit.told import Column, Table

__all__ = ["Graded", "class_grades", "graded_of", "grades_table", "sure", "truth_counts"]

_MANY, _ROUNDS = 4000, 1000
"""Items from which a mean is normal by itself, and resamples of fewer."""
_SHOWN = 400

Estimate: TypeAlias = tuple[float, float, float]
"""A mean and its 95 % bounds; NaN where they are not known."""


@dataclass(frozen=True, eq=False)
class Graded:
    """What one metric says of the items of a lane.

    Args:
        metric: Its name.
        better: ``higher``, ``lower``, or empty where it says nothing of truth.
        values: float64 ``[N]``.
        chance: What a random map scores, ``[N]``; NaN where nothing does.
        classes: Which of ``names`` each item is answered with, ``[N]``.
        names: Names of classes.
    """

    metric: str
    better: str
    values: Array
    chance: Array
    classes: Array
    names: tuple[str, ...]

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return -1.0 if self.better == "lower" else 1.0

    @cached_property
    def parts(self) -> Mapping[str, Graded]:
        """The same of each class that has a value."""
        rows = np.flatnonzero(np.isfinite(self.values))
        order = rows[np.argsort(self.classes[rows], kind="stable")]
        kinds, starts = np.unique(self.classes[order], return_index=True)
        return {
            self.names[kind]: replace(self, values=self.values[own], chance=self.chance[own], classes=self.classes[own])
            for kind, own in zip(kinds.tolist(), np.split(order, starts[1:]), strict=True)
        }

    @cached_property
    def count(self) -> int:
        """Items that have a value."""
        return int(np.isfinite(self.values).sum())

    @cached_property
    def mean(self) -> Estimate:
        """The mean with its bounds."""
        return sure(self.values)

    @cached_property
    def ahead(self) -> Estimate | None:
        """How much better it is than chance, item by item; None where nothing is known of that."""
        apart = self.sign * (self.values - self.chance)
        return sure(apart) if self.better and np.isfinite(apart).any() else None

    @property
    def tenth(self) -> float | None:
        """The mean of the worst tenth of the items; None of fewer than ten."""
        found = worst_tenth(self.values, self.better == "lower")[0] if self.better else math.nan
        return None if math.isnan(found) else found

    @property
    def rank(self) -> tuple[float, float]:
        """What orders classes, the surely worst first: the better end of the interval, then the mean."""
        mean, low, high = self.mean
        good = high if self.sign > 0 else -low
        return math.inf if math.isnan(low) else good, self.sign * mean

    @property
    def worst(self) -> tuple[str, Graded] | None:
        """The class that is surely worst; None where none has enough items, or there is one class."""
        enough = [(*own.rank, name, own) for name, own in self.parts.items() if own.rank[0] < math.inf]
        if not self.better or len(self.parts) < 2 or not enough:
            return None
        *_, name, own = min(enough, key=lambda row: row[:3])
        return name, own


def sure(values: Array) -> Estimate:
    """A mean and its 95 % bounds: by bootstrap over items, of many by the normal law; NaN of fewer than 5."""
    known = values[np.isfinite(values)]
    if len(known) <= _MANY:
        found = mean_of(known, rounds=_ROUNDS)
        return found.mean, found.low, found.high
    mean, reach = float(known.mean()), 1.959964 * float(known.std(ddof=1)) / len(known) ** 0.5
    return mean, mean - reach, mean + reach


def grades_table(graded: Mapping[str, Sequence[Graded]]) -> Table | None:
    """A row per lane and metric: all items, beside chance, the worst tenth, the worst class; None without metrics.

    Args:
        graded: Name of a lane to what each metric says of it.
    """
    rows: list[tuple[Any, ...]] = []
    for lane, several in graded.items():
        for one in several:
            cells = (one.metric, lane, one.count, one.mean, one.ahead, one.tenth)
            bad = one.worst
            rows.append((*cells, *((None,) * 3 if bad is None else (bad[0], bad[1].mean, bad[1].count))))
    if not rows:
        return None
    heads = (
        *(Column("metric", "text"), Column("lane", "text"), Column("items", "count"), Column("mean", "estimate")),
        _AHEAD,
        _TENTH,
        Column("worst class", "text", f"class whose interval ends worst, of those with {LEAST} items and more"),
        *(Column("its mean", "estimate"), Column("its items", "count")),
    )
    caption = "A row per metric and lane, with 95 % intervals over items (bootstrap)."
    return Table("metrics", "Metrics", caption, heads, tuple(rows))


_AHEAD = Column("better than chance by", "estimate", "mean difference from a random map, above 0 where it is better")
_TENTH = Column("worst tenth", "number", "mean of the tenth of items that score worst; of ten items and more")


def class_grades(lane: str, graded: Sequence[Graded], number: int) -> Table | None:
    """A row per metric and class, the surely worst class of each metric first; None where no item is judged.

    Args:
        lane: A lane's name.
        graded: What each metric says of it.
        number: Which of the plan's lanes it is, from 1.
    """
    rows: list[tuple[Any, ...]] = []
    for one in graded:
        for name, own in sorted(one.parts.items(), key=lambda part: (*part[1].rank, part[0])):
            chance = own.chance[np.isfinite(own.chance)]
            beside = float(chance.mean()) if len(chance) else None
            rows.append((one.metric, name, own.count, own.mean, beside, own.ahead, own.tenth))
    if not rows:
        return None
    heads = (
        *(Column("metric", "text"), Column("class", "text", "class that the item is answered with")),
        *(Column("items", "count"), Column("mean", "estimate"), Column("a random map", "number"), _AHEAD, _TENTH),
    )
    caption = f"A row per metric and class, those surely worst first. Fewer than {LEAST} items have no interval."
    title = f"{lane}: metrics per class"
    return Table(f"metrics-{number}", title, caption, heads, tuple(rows), sortable=True, shown=_SHOWN)


def truth_counts(audit: Reads, lanes: Sequence[Lane]) -> Table | None:
    """A row per lane: how many items maps were compared in, and why not in the others; None without a truth."""
    truth = audit.plan.truth
    if truth is None or not truth.names or audit.truth is None:
        return None
    table = audit.truth
    rows = []
    for lane in lanes:
        query = f"""select m.item, m.value from metrics m
where m.lane = {literal(lane.name)} and m.metric = {literal(SHARE)} order by m.item"""
        found = rows_of(audit.sql(query))
        failed = [one["item"] for one in rows_of(audit.sql(_FAILED.format(literal(lane.name))))]
        states = Counter(_state(one["value"]) for one in found)
        shares = np.array([one["value"] for one in found if one["value"]], np.float64)
        boxes = sum(map(len, table.labels([one["item"] for one in found]))) if found else 0
        failures = len(set(failed) & set(truth.sample))
        rows.append(
            (lane.name, truth.states.get("known", 0), len(found) + failures, states["compared"], states["class"],
             states["unseen"], failures, boxes or None, float(shares.mean()) if len(shares) else None)
        )  # fmt: skip
    heads = (
        Column("lane", "text"),
        Column("known", "count", "items of which it is stated what is in them"),
        Column("asked", "count", "of these, the ones that were drawn, and whose shards are sealed"),
        Column("compared", "count"),
        Column("no box of the class", "count", "boxes have labels, and none is of the class that is explained"),
        Column("not seen", "count", "what is known lies in what the card's crop cuts off"),
        Column("not explained", "count"),
        Column("boxes", "count", "boxes of the items that were asked"),
        Column(
            "share of the map", "share", "mean share of the positions that lie in what is known: what an even map has"
        ),
    )
    of = ", ".join(f"{count:,} {_WORDS[name]}" for name, count in truth.states.items() if name != "known" and count)
    caption = f"What maps are compared with: {truth.says}." + (f" Of the other items, {of}." if of else "")
    return Table("truth", "What is known to be there", caption, heads, tuple(rows))


_FAILED = "select item from records where lane = {} and status <> 'ok'"
_WORDS: Mapping[str, str] = {
    "empty": "are stated to hold nothing",
    "none": "have nothing stated of them",
    "outside": "have all of it outside the picture",
    "size": "have a truth of another size",
    "unread": "cannot be read, or their truth cannot",
}


def _state(share: float | None) -> str:
    return "class" if share is None else "compared" if share > 0 else "unseen"


def graded_of(audit: Reads, lane: Lane, known: Known) -> list[Graded]:
    """What each metric says of a lane's items, in the plan's order.

    Args:
        audit: The audit.
        lane: Its lane.
        known: What a metric's name stands for.
    """
    query = f"""select m.metric, m.value, m.random, coalesce(r.predicted_name, 'no class') as class
from metrics m join records r on m.item = r.item and m.lane = r.lane
where m.lane = {literal(lane.name)} and r.status = 'ok' and m.metric <> {literal(SHARE)} order by m.metric, m.item"""
    table = audit.sql(query).combine_chunks()
    metrics, classes = (table[name].combine_chunks().dictionary_encode() for name in ("metric", "class"))
    values, chance = (np.asarray(table[name].to_numpy(), np.float64) for name in ("value", BASELINES[0]))
    kinds, codes = metrics.dictionary.to_pylist(), np.asarray(metrics.indices)
    own_class, names = np.asarray(classes.indices), tuple(classes.dictionary.to_pylist())
    planned = [*audit.plan.grading.names, *(() if audit.plan.truth is None else audit.plan.truth.names)]
    found = []
    for name in [*(name for name in planned if name in kinds), *sorted(set(kinds) - set(planned))]:
        own = codes == kinds.index(name)
        if np.isfinite(values[own]).any():
            better = (known(name) or ("", ""))[0]
            found.append(Graded(name, better, values[own], chance[own], own_class[own], names))
    return found
