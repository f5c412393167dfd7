"""What metrics say, metric by metric: all items, the worst class and the worst tenth; and class by class.

Classes are those that a lane answers with, as in the tables of classes. The worst class is the one that is surely
worst: whose 95 % interval ends worst, so that a class of a few items is not the worst by chance.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from xplain.audit.reports.readers import Reads, literal, rows_of
from xplain.audit.reports.trials import BASELINES, Known
from xplain.audit.shards.judging import SHARE
from xplain.core.edits import Array
from xplain.core.intervals import LEAST, mean_of, worst_tenth
from xplain.core.lane import Lane
from xplain.report.audit.told import Column, Table

__all__ = ["class_grades", "grades_table", "sure", "truth_counts"]

_MANY, _ROUNDS = 4000, 1000
"""Items from which a mean is normal by itself, and resamples of fewer."""
_SHOWN = 400

Estimate: TypeAlias = tuple[float, float, float]
"""A mean and its 95 % bounds; NaN where they are not known."""


@dataclass(frozen=True, slots=True, eq=False)
class _Graded:
    """What one metric says of the items of a lane.

    Args:
        metric: Its name.
        better: ``higher``, ``lower``, or empty where it says nothing of truth.
        values: float64 ``[N]``.
        chance: What a random map scores, ``[N]``; NaN where nothing does.
        classes: The class of each item's answer.
    """

    metric: str
    better: str
    values: Array
    chance: Array
    classes: Array

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        return -1.0 if self.better == "lower" else 1.0

    def of(self, name: str) -> _Graded:
        """The same of one class."""
        own = self.classes == name
        return _Graded(self.metric, self.better, self.values[own], self.chance[own], self.classes[own])

    @property
    def ahead(self) -> Estimate | None:
        """How much better it is than chance, item by item; None where nothing is known of that."""
        apart = self.sign * (self.values - self.chance)
        return sure(apart) if self.better and np.isfinite(apart).any() else None

    @property
    def worst(self) -> float | None:
        """The mean of the worst tenth of the items; None of fewer than ten."""
        found = worst_tenth(self.values, self.better == "lower")[0] if self.better else math.nan
        return None if math.isnan(found) else found

    @property
    def badness(self) -> float:
        """The better end of the interval, turned so that the surely worst has the lowest."""
        mean, low, high = sure(self.values)
        good = high if self.sign > 0 else -low
        return math.inf if math.isnan(mean) or math.isnan(low) else good


def sure(values: Array) -> Estimate:
    """A mean and its 95 % bounds: by bootstrap over items, of many by the normal law; NaN of fewer than 5."""
    known = values[np.isfinite(values)]
    if len(known) <= _MANY:
        found = mean_of(known, rounds=_ROUNDS)
        return found.mean, found.low, found.high
    mean, reach = float(known.mean()), 1.959964 * float(known.std(ddof=1)) / len(known) ** 0.5
    return mean, mean - reach, mean + reach


def grades_table(audit: Reads, lanes: Sequence[Lane], known: Known) -> Table | None:
    """A row per lane and metric: all items, beside chance, the worst tenth, the worst class; None without metrics."""
    rows: list[tuple[Any, ...]] = []
    for lane in lanes:
        for one in _graded(audit, lane, known):
            bad = _worst_class(one)
            rows.append(
                (one.metric, lane.name, int(np.isfinite(one.values).sum()), sure(one.values), one.ahead, one.worst,
                 None if bad is None else bad[0], None if bad is None else sure(bad[1].values),
                 None if bad is None else int(np.isfinite(bad[1].values).sum()))
            )  # fmt: skip
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


def class_grades(audit: Reads, lane: Lane, number: int, known: Known) -> Table | None:
    """A row per metric and class, the surely worst class of each metric first; None where no item is judged.

    Args:
        audit: The audit.
        lane: Its lane.
        number: Which of the plan's lanes it is, from 1.
        known: What a metric's name stands for.
    """
    rows: list[tuple[Any, ...]] = []
    for one in _graded(audit, lane, known):
        found = []
        for name in dict.fromkeys(one.classes.tolist()):
            own = one.of(name)
            count = int(np.isfinite(own.values).sum())
            if count:
                chance = own.chance[np.isfinite(own.chance)]
                beside = float(chance.mean()) if len(chance) else None
                cells = (one.metric, name, count, sure(own.values), beside, own.ahead, own.worst)
                found.append((own.badness, one.sign * float(np.nanmean(own.values)), name, cells))
        rows += [row[-1] for row in sorted(found, key=lambda row: row[:3])]
    if not rows:
        return None
    heads = (
        *(Column("metric", "text"), Column("class", "text", "class that the item is answered with")),
        *(Column("items", "count"), Column("mean", "estimate"), Column("a random map", "number"), _AHEAD, _TENTH),
    )
    caption = (
        f"A row per metric and class, those that are surely worst first. Fewer than {LEAST} items have no interval."
    )
    title = f"{lane.name}: metrics per class"
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


def _graded(audit: Reads, lane: Lane, known: Known) -> list[_Graded]:
    """What each metric says of a lane's items, in the plan's order."""
    query = f"""select m.metric, m.value, m.random, r.predicted, r.predicted_name as class
from metrics m join records r on m.item = r.item and m.lane = r.lane
where m.lane = {literal(lane.name)} and r.status = 'ok' and m.metric <> {literal(SHARE)} order by m.metric, m.item"""
    table = audit.sql(query)
    metrics = np.asarray(table["metric"].to_pylist(), object)
    values, chance = (np.asarray(table[name].to_numpy(), np.float64) for name in ("value", BASELINES[0]))
    classes = np.asarray([one if one is not None else "no class" for one in table["class"].to_pylist()], object)
    planned = [*audit.plan.grading.names, *(() if audit.plan.truth is None else audit.plan.truth.names)]
    there = set(metrics.tolist())
    names = [name for name in planned if name in there] + sorted(there - set(planned))
    found = []
    for name in names:
        own = metrics == name
        if np.isfinite(values[own]).any():
            better = (known(name) or ("", ""))[0]
            found.append(_Graded(name, better, values[own], chance[own], classes[own]))
    return found


def _worst_class(one: _Graded) -> tuple[str, _Graded] | None:
    """The class that is surely worst, and what is said of it; None where none has enough items, or there is one."""
    names = list(dict.fromkeys(one.classes.tolist())) if one.better else []
    several = [(one.of(name), name) for name in names]
    enough = [
        (own.badness, one.sign * sure(own.values)[0], name, own) for own, name in several if own.badness < math.inf
    ]
    if len(names) < 2 or not enough:
        return None
    *_, name, own = min(enough, key=lambda row: row[:3])
    return name, own
