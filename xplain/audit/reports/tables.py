"""The tables of a report, each one query over the records: what grows with the items stays in the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xplain.audit.plans.classes import same_answer
from xplain.audit.reports.readers import MEANS, Reads, literal, mean_sql, rows_of, wilson
from xplain.core.edits import Array
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane
from xplain.report.audit.told import Column, Histogram, Table

__all__ = ["SHOWN_CLASSES", "class_table", "decile_table", "failure_table", "histograms", "lane_table", "twin_table"]

SHOWN_CLASSES = 1000
"""Rows of a table of classes that the page prints; files hold all."""
_REASONS = 40
_BINS = 40
_TELL = {
    "score": "mean score of the answer, as the model gives it",
    "margin": "mean lead of the best score over the second",
    "gini": "mean concentration of the map: 0 spread evenly, towards 1 in one place",
    "border": "mean share of the map in the outer eighth of the picture; of a series or text in its first and last",
    "positive": "mean share of the map that speaks for the target",
}


def measures(names: Sequence[str] = MEANS) -> tuple[Column, ...]:
    """The columns of means, with what they are."""
    return tuple(Column(name, "share" if name in ("border", "positive") else "number", _TELL[name]) for name in names)


_RIGHT = Column("right", "interval", "share of answers that are the item's label, and its 95 % interval (Wilson)")


def lane_table(audit: Reads) -> Table:
    """A row per lane."""
    found = {row["lane"]: row for row in rows_of(audit.sql(LANES_SQL))}
    rows = []
    for lane in audit.plan.lanes:
        one: Mapping[str, Any] = found.get(lane.name, {})
        shape = " x ".join(map(str, lane.native_shape))
        cells = (lane.name, lane.model, lane.method, str(lane.target), shape, one.get("n", 0), one.get("failed", 0))
        rows.append((*cells, wilson(one.get("right"), one.get("labelled")), *(one.get(name) for name in MEANS)))
    heads = (
        *(Column("lane", "text"), Column("model", "text"), Column("method", "text"), Column("target", "text")),
        Column("cells of a map", "text", "the map's true resolution: nothing smaller than a cell can be placed"),
        *(Column("items", "count"), Column("not explained", "count"), _RIGHT, *measures()),
    )
    return Table("lanes", "Lanes", "One model, explained by one method for one kind of target.", heads, tuple(rows))


LANES_SQL = f"""select lane, count(*) as n, count(*) filter (status <> 'ok') as failed,
  count(correct) as labelled, count(*) filter (correct) as "right", {mean_sql()}
from records group by lane"""


def classes_sql(lane: str) -> str:
    """A row per class that a lane answers."""
    return f"""select coalesce(p.class, l.class) as class, p.* exclude (class), l.given, l.recalled from
  (select predicted as class, any_value(predicted_name) as name, count(*) as n, count(correct) as labelled,
    count(*) filter (correct) as "right", {mean_sql()}
   from records where lane = {literal(lane)} and status = 'ok' group by predicted) p
  full join
  (select label_class as class, count(*) as given, count(*) filter (correct) as recalled
   from records where lane = {literal(lane)} and status = 'ok' and label_class is not null group by label_class) l
  on p.class = l.class"""


def class_table(
    audit: Reads, lane: Lane, number: int, maps: Mapping[int, Array], twin: str | None, graded: str | None
) -> Table:
    """A row per class, the worst first.

    Args:
        audit: The audit.
        lane: Its lane.
        number: Which of the plan's lanes it is, from 1.
        maps: Mean map of a class, of those that have one.
        twin: Lane of another model with the same method and target, or None.
        graded: A metric that the items were judged by, or None.
    """
    found = rows_of(audit.sql(classes_sql(lane.name)))
    agreed = _agreement(audit, lane.name, twin) if twin else {}
    grades = _grades(audit, lane.name, graded) if graded else {}
    names = audit.plan.model(lane.model)
    listed = []
    for one in found:
        index = one["class"]
        right, recall = wilson(one["right"], one["labelled"]), wilson(one["recalled"], one["given"])
        name = one["name"] or (names.class_name(index) if index is not None else "no class")
        cells = [name, maps.get(index), one["n"] or 0, right, recall, *(one[m] for m in MEANS)]
        cells += [agreed.get(index)] if twin else []
        cells += [grades.get(index)] if graded else []
        listed.append((_badness(right, one["margin"]), str(name), tuple(cells)))
    listed.sort(key=lambda row: row[:2])
    heads = [
        Column("class", "text"),
        Column("mean map", "map", "mean of the maps of items answered with this class, each divided by its sum"),
        Column("items", "count", "items that are answered with this class"),
        _RIGHT,
        Column("found", "interval", "share of items with this label that are answered with it, and its 95 % interval"),
        *measures(),
    ]
    heads += [Column("same as twin", "share", f"share of these items that {twin} answers with the same class")] * bool(
        twin
    )
    heads += [Column(f"mean {graded}", "number", f"mean of {graded} over this class's items in the sample")] * bool(
        graded
    )
    order = "those whose share of right answers is surely low first" if any(r[2][3] for r in listed) else (
        "those with the smallest mean margin first, for no item has a label that the model knows")  # fmt: skip
    caption = f"A row per answered class, {order}."
    kept, rows = _used(heads, [row[2] for row in listed])
    title = f"{lane.name}: {counted(len(rows), 'class', 'classes')}"
    return Table(f"classes-{number}", title, caption, kept, rows, sortable=True, shown=SHOWN_CLASSES)


def _badness(right: tuple[float, float, float] | None, margin: float | None) -> tuple[int, float]:
    if right is not None:
        return 0, right[2]  # the upper bound: a class of three items is not the worst by chance
    return 1, float("inf") if margin is None else margin


def _used(heads: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> tuple[tuple[Column, ...], tuple[Any, ...]]:
    """Columns of which some cell holds something."""
    kept = [k for k in range(len(heads)) if k == 0 or any(row[k] is not None for row in rows)]
    return tuple(heads[k] for k in kept), tuple(tuple(row[k] for k in kept) for row in rows)


def _agreement(audit: Reads, lane: str, twin: str) -> dict[int, float]:
    query = f"""select a.predicted as class, avg({same_answer(audit.plan, lane, twin)}::int) as same
from records a join records b on a.item = b.item
where a.lane = {literal(lane)} and b.lane = {literal(twin)} and a.status = 'ok' and b.status = 'ok' group by 1"""
    return {row["class"]: row["same"] for row in rows_of(audit.sql(query))}


def _grades(audit: Reads, lane: str, metric: str) -> dict[int, float]:
    query = f"""select r.predicted as class, avg(m.value) as grade from metrics m
join records r on m.item = r.item and m.lane = r.lane
where m.lane = {literal(lane)} and m.metric = {literal(metric)} and isfinite(m.value) and r.status = 'ok' group by 1"""
    return {row["class"]: row["grade"] for row in rows_of(audit.sql(query))}


def decile_table(audit: Reads, lane: Lane, number: int) -> Table | None:
    """Items of a lane in tenths by their margin; None where scores have no second."""
    means = [name for name in MEANS if name != "margin"]
    query = f"""select d, count(*) as n, min(margin) as low, max(margin) as high, count(correct) as labelled,
  count(*) filter (correct) as "right", {mean_sql(means)} from
  (select *, ntile(10) over (order by margin, item) as d from records
   where lane = {literal(lane.name)} and status = 'ok' and isfinite(margin)) group by d order by d"""
    found = rows_of(audit.sql(query))
    if len(found) < 10:
        return None
    rows = [
        (
            f"{'closest' if one['d'] == 1 else 'surest' if one['d'] == 10 else one['d']}",
            *(one["n"], one["low"], one["high"], wilson(one["right"], one["labelled"]), *(one[name] for name in means)),
        )
        for one in found
    ]
    heads = (
        *(Column("tenth", "text"), Column("items", "count"), Column("margin from"), Column("margin to"), _RIGHT),
        *measures(means),
    )
    kept, cells = _used(heads, rows)
    caption = "The items in ten parts of one size, the closest decisions first."
    return Table(f"deciles-{number}", f"{lane.name}, in tenths by margin", caption, kept, cells)


def twin_table(audit: Reads, lanes: Sequence[Lane]) -> Table | None:
    """A row per two lanes that are worth comparing; None for one lane."""
    pairs = [(a, b) for k, a in enumerate(lanes) for b in lanes[k + 1 :] if _comparable(a, b)]
    rows = []
    for a, b in pairs[:_MOST_PAIRS]:
        query = f"""select count(*) as n, avg({same_answer(audit.plan, a, b)}::int) as same,
  corr(a.value, b.value) as together, avg(abs(a.value - b.value)) as apart,
  count(*) filter (a.correct and not b.correct) as lost, count(*) filter (b.correct and not a.correct) as won,
  avg((abs(a.peak_y - b.peak_y) < 0.1 and abs(a.peak_x - b.peak_x) < 0.1)::int) as peak,
  avg(a.border) - avg(b.border) as border
from records a join records b on a.item = b.item
where a.lane = {literal(a.name)} and b.lane = {literal(b.name)} and a.status = 'ok' and b.status = 'ok'"""
        one = rows_of(audit.sql(query))[0]
        names = ("n", "same", "lost", "won", "together", "apart", "peak", "border")
        rows.append((f"{a.name} and {b.name}", *(one[name] for name in names)))
    if not rows:
        return None
    heads = (
        *(Column("lanes", "text"), Column("items", "count")),
        Column("same answer", "share", "share of items that both answer with the same class"),
        Column("right in the first only", "count"),
        Column("right in the second only", "count"),
        Column("values together", "number", "correlation of the explained values, 1 for the same order and spacing"),
        Column("values apart", "number", "mean difference of the explained values, without sign"),
        Column("same peak", "share", "share of items whose maps have their peaks within a tenth of the picture"),
        Column("border, difference", "signed", "share of the map on the border: the first's less the second's"),
    )
    more = len(pairs) - len(rows)
    caption = "Two lanes on the same items. Whether their maps agree place by place, the findings of kind twins say."
    return Table("twins", "Lanes beside each other", caption, heads, tuple(rows), left_out=max(0, more))


_MOST_PAIRS = 15


def _comparable(a: Lane, b: Lane) -> bool:
    """Twins of a model, or methods on one model, for the same kind of target."""
    return a.target == b.target and (a.method == b.method or a.model == b.model)


def failure_table(audit: Reads) -> Table | None:
    """Reasons why items were not explained; None where all were."""
    # an item's own name and numbers make every text another one: reasons are told apart without them
    query = """select reason, lane, count(*) as n, min(item) as first, arg_min(name, item) as name from
  (select lane, item, name,
     regexp_replace(replace(coalesce(error, 'not said'), name, '…'), '[0-9]+', 'N', 'g') as reason
   from records where status <> 'ok') group by reason, lane order by n desc, reason, lane"""
    found = rows_of(audit.sql(query))
    if not found:
        return None
    rows = tuple((one["reason"][:400], one["lane"], one["n"], one["first"], one["name"]) for one in found[:_REASONS])
    heads = (
        *(Column("reason", "text", "N stands for a number, … for the item's name"), Column("lane", "text")),
        *(Column("items", "count"), Column("first item", "count"), Column("its name", "text")),
    )
    caption = "Items that have no explanation, by reason. They are in no other table."
    return Table("failures", "Items that were not explained", caption, heads, rows, left_out=len(found) - len(rows))


def histograms(audit: Reads, lane: Lane, even_border: float) -> list[Histogram]:
    """How the numbers of a lane are spread."""
    line = len(lane.map_axes.replace("C", "")) == 1
    outer, ends = ("first and last eighth", ("start", "end")) if line else ("outer eighth", ("left", "right"))
    said = {
        "score": "the score of the answer",
        "margin": "how far the best score leads",
        "gini": "how concentrated the map is: 0 evenly spread, towards 1 in one place",
        "border": f"share of the map in the {outer}; an even map has {even_border:.2f}",
        "peak_x": f"where the map peaks: 0 at the {ends[0]}, 1 at the {ends[1]}",
        "peak_y": "where the map peaks: 0 at the top, 1 at the bottom",
    }
    where = f"from records where lane = {literal(lane.name)} and status = 'ok'"
    asked = ", ".join(
        f"min({n}) filter (isfinite({n})) as {n}_low, max({n}) filter (isfinite({n})) as {n}_high,"
        f" quantile_disc({n}, 0.5) filter (isfinite({n})) as {n}_middle,"
        f" count({n}) filter (isfinite({n})) as {n}_count"
        for n in said
    )
    (spread,) = rows_of(audit.sql(f"select {asked} {where}"))
    found = []
    for name, about in said.items():
        low, high, count = (spread[f"{name}_{end}"] for end in ("low", "high", "count"))
        if not count:
            continue
        if name not in ("score", "margin"):
            low, high = 0.0, 1.0
        span = (high - low) or 1.0
        query = (
            f"select least({_BINS - 1}, greatest(0, floor(({name} - {low!r}) / {span!r} * {_BINS})))::int as bin,"
            f" count(*) as n {where} and isfinite({name}) group by 1"
        )
        counts = np.zeros(_BINS, np.int64)
        for row in rows_of(audit.sql(query)):
            counts[row["bin"]] = row["n"]
        bars = tuple(int(one) for one in counts)
        middle = float(spread[f"{name}_middle"])
        found.append(Histogram(lane.name, name, about, float(low), float(low + span), bars, middle, int(count)))
    return found
