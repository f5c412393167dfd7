"""What a report says, computed from an audit: queries over its records, maps read a shard at a time, few examples.

Memory does not grow with the items: what does stays in the database or passes by.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xplain.audit.findings.subgroups import subgroup_tables
from xplain.audit.plans.classes import same_answer
from xplain.audit.plans.plan import Plan
from xplain.audit.reports.examples import Album
from xplain.audit.reports.features import feature_table
from xplain.audit.reports.grades import class_grades, graded_of, grades_table, truth_counts
from xplain.audit.reports.mean_maps import mean_maps
from xplain.audit.reports.own_axes import LEGEND, has_own_axes
from xplain.audit.reports.readers import Reads, literal, rows_of
from xplain.audit.reports.redrawn import agreement_table, redrawn_trials
from xplain.audit.reports.saying import asked, cannot, provenance
from xplain.audit.reports.tables import (
    LANES_SQL,
    class_table,
    classes_sql,
    decile_table,
    failure_table,
    histograms,
    lane_table,
    twin_table,
)
from xplain.audit.reports.trials import Known, trials
from xplain.audit.shards.figures import geometry
from xplain.core.errors import UsageError
from xplain.core.finding import Finding
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane
from xplain.report.audit.told import Example, Found, Lead, Table, Told, Trial

__all__ = ["told"]

_LANES = 6
"""Lanes that have tables of classes and distributions of their own."""
_MEMBERS = 6
_PICTURED = 30
"""Findings whose members are shown."""


def told(
    audit: Reads,
    findings: Sequence[Finding] | None,
    sealed: tuple[int, int],
    known: Known,
    reviewer: str = "",
) -> Told:
    """All that a report says of an audit.

    Args:
        audit: The audit.
        findings: What the analyses found; None where they have not been run on this root.
        sealed: Shards that are sealed, and shards of the plan.
        known: What a metric's name stands for, see ``trials``.
        reviewer: Who reviews it.

    Raises:
        UsageError: no shard is sealed, so that there is nothing to tell.
    """
    plan = audit.plan
    done, of = sealed
    if not done:
        raise UsageError(
            f"None of the audit's {counted(of, 'shard')} is sealed, so there is nothing to report. Run "
            "'xplain audit run' first."
        )
    lanes = plan.lanes[:_LANES]
    first = lanes[0]
    graded = trials(audit, known)
    tests = (*graded, *redrawn_trials(findings))
    lane_rows = lane_table(audit)
    classes, sampled_maps = _classes(audit, lanes, graded)
    groups, times, left = subgroup_tables(audit, first)
    twins = twin_table(audit, plan.lanes)
    judged = {lane.name: graded_of(audit, lane, known) for lane in plan.lanes}
    grades = [grades_table(judged)]
    grades += [class_grades(lane.name, judged[lane.name], number) for number, lane in enumerate(lanes, 1)]
    worst = _worst(audit, first, graded, _twin_of(plan, first))
    failures = failure_table(audit)
    partial = _partial(audit, done, of)
    analysed = findings is not None
    return Told(
        title=f"Audit of {_and([model.name for model in plan.models])}",
        root=audit.root,
        partial=partial,
        asked=asked(plan),
        leads=_leads(audit, lane_rows, tests, findings, twins),
        findings=_found(audit, findings or ()),
        analysed=analysed,
        cannot=cannot(plan, lane_rows, tests, partial, analysed, left, sampled_maps),
        tests=tests,
        lanes=lane_rows,
        histograms=tuple(one for lane in lanes for one in histograms(audit, lane, _even_border(lane))),
        deciles=tuple(t for k, lane in enumerate(lanes, 1) if (t := decile_table(audit, lane, k)) is not None),
        worst=worst,
        classes=classes,
        twins=twins,
        subgroups=groups,
        over_time=times,
        failures=failures,
        features=tuple(one for k, lane in enumerate(lanes, 1) if (one := feature_table(audit, lane, k)) is not None),
        provenance=provenance(plan, audit.root, done, of),
        legend=_legend(plan, lanes),
        truth=truth_counts(audit, plan.lanes),
        grades=tuple(one for one in grades if one is not None),
        agreement=agreement_table(findings),
        reviewer=reviewer,
        sql=(("Lanes", LANES_SQL), (f"Classes of {first.name}", classes_sql(first.name))),
    )


def _legend(plan: Plan, lanes: Sequence[Lane]) -> str:
    """How examples are read; empty for pictures, whose maps are explained by their colours alone."""
    models = [plan.model(lane.model) for lane in lanes]
    said = [_LEGENDS[kind] for kind in _LEGENDS if any(one.items == kind for one in models)]
    own = any(has_own_axes(lane, model) for lane, model in zip(lanes, models, strict=True))
    return " ".join([*said, *([LEGEND] if own else [])])


_LEGENDS = {
    "rows": "A bar to the right, in red, spoke for the answer, one to the left, in blue, against it; 1 is the longest "
    "of its row.",
    "texts": "Marked words counted: red and underlined in one line for the answer, blue and underlined in dots against "
    "it; the darker, the more.",
}


def _even_border(lane: Lane) -> float:
    """What the border of an even map holds, of a lane's cells."""
    return float(geometry(np.ones((1, *(lane.native_shape or (1,)))), lane.map_axes)["border"][0])


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _partial(audit: Reads, done: int, of: int) -> str:
    if done == of:
        return ""
    (row,) = rows_of(audit.sql("select count(distinct item) as n from records"))
    return (
        f"{done:,} of {counted(of, 'shard')} are sealed, that is {row['n']:,} of "
        f"{counted(audit.plan.items.count, 'item')}. Every number is of these items alone. They are "
        "no random draw: shards follow the order of the names."
    )


def _classes(audit: Reads, lanes: Sequence[Lane], tests: Sequence[Trial]) -> tuple[tuple[Table, ...], dict[str, int]]:
    """A table per lane, and how many items' maps its mean maps are of."""
    tables, read = [], {}
    for number, lane in enumerate(lanes, 1):
        maps, read[lane.name] = mean_maps(audit, lane)
        graded = next((one.metric for one in tests if one.lane == lane.name), None)
        tables.append(class_table(audit, lane, number, maps, _twin_of(audit.plan, lane), graded))
    return tuple(one for one in tables if one.rows), read


def _twin_of(plan: Plan, lane: Lane) -> str | None:
    """The first lane of another model with the same method and target."""
    others = (one for one in plan.lanes if one.model != lane.model)
    return next((one.name for one in others if (one.method, one.target) == (lane.method, lane.target)), None)


def _worst(
    audit: Reads, lane: Lane, tests: Sequence[Trial], twin: str | None
) -> tuple[tuple[str, tuple[Example, ...]], ...]:
    """Examples by several rules of what is worst; a rule that nothing meets is left out."""
    album = Album(audit, lane, 96)
    found = [
        ("Wrong and sure of it: the largest margins among wrong answers", album.worst("not correct", "margin desc")),
        ("Least sure: the smallest margins", album.worst("isfinite(margin)", "margin")),
    ]
    own = next((one for one in tests if one.lane == lane.name and one.passed is not None), None)
    if own is not None:
        # the difference in the direction in which more is worse, from the first baseline there is
        base = own.baselines[0][0]
        worse = (
            f"r.item in (select item from metrics where lane = {literal(lane.name)} and metric = {literal(own.metric)})"
        )
        gap = (
            f"(select any_value(m.value - m.{base}) from metrics m where m.lane = {literal(lane.name)}"
            f" and m.metric = {literal(own.metric)} and m.item = r.item)"
        )
        order = f"{gap} {'asc' if _rises(own) else 'desc'} nulls last"
        found.append((f"Maps that {own.metric} rates lowest beside {base}", album.worst(worse, order)))
    if twin is not None:
        other = (
            f"exists (select 1 from records b where b.lane = {literal(twin)} and b.item = r.item and b.status = 'ok'"
            f" and not {same_answer(audit.plan, lane, twin, ('r', 'b'))})"
        )
        found.append((f"Answered otherwise by {twin}, the surest first", album.worst(other, "margin desc")))
    return tuple((title, examples) for title, examples in found if examples)


def _rises(test: Trial) -> bool:
    """Whether more of a metric is better, as its own differences say."""
    _, mean, low, high = test.baselines[0]
    return (test.value - mean) * (low + high) >= 0


def _found(audit: Reads, findings: Sequence[Finding]) -> tuple[Found, ...]:
    """Findings with their members shown: of the lane that the finding is about, else of the first."""
    albums: dict[str, Album] = {}
    chances = [1.0 if one.p is None else one.p for one in findings]  # the order of the page
    by_weight = sorted(range(len(findings)), key=lambda k: (_WEIGHT.index(findings[k].standing), chances[k]))
    pictured = set(by_weight[:_PICTURED])
    made = []
    for k, one in enumerate(findings):
        name = next((lane.name for lane in audit.plan.lanes if lane.name in (one.group, one.evidence.get("lane"))), "")
        name = name or audit.plan.lanes[0].name
        album = albums.setdefault(name, Album(audit, audit.plan.lane(name), 120))
        some = [int(item) for item in one.members[:_MEMBERS]] if k in pictured else []
        made.append(Found(one, album.of(some)))
    return tuple(made)


_WEIGHT = ("confirmed", "candidate", "refuted", "measured", "too few")


def _leads(
    audit: Reads, lanes: Table, tests: Sequence[Trial], findings: Sequence[Finding] | None, twins: Table | None
) -> tuple[Lead, ...]:
    names = [column.name for column in lanes.columns]
    first = dict(zip(names, lanes.rows[0], strict=True))
    (row,) = rows_of(
        audit.sql("select count(distinct item) as n, count(distinct item) filter (status <> 'ok') as bad from records")
    )
    leads = [
        Lead(f"{row['n']:,}", "items were asked about"),
        Lead(f"{row['bad']:,}", "of them have no explanation in some lane, each with its reason"),
    ]
    if first["right"] is not None:
        of = f"right answers of {first['model']}, of items with a label that it knows"
        leads.append(Lead(f"{100 * first['right'][0]:.1f} %", of))
    judged = [one for one in tests if one.passed is not None]
    if judged:
        passed = sum(bool(one.passed) for one in judged)
        leads.append(Lead(f"{passed} of {len(judged)}", "tests of the explanations were passed"))
    if findings is not None:
        confirmed = sum(one.standing == "confirmed" for one in findings)
        candidates = sum(one.standing == "candidate" for one in findings)
        leads.append(Lead(str(confirmed), f"findings confirmed at the model, beside {candidates} to look at"))
    lane = audit.plan.lanes[0]  # two methods of one model answer alike by themselves: twins are two models
    twin = _twin_of(audit.plan, lane)
    same = {row[0]: row[2] for row in twins.rows} if twins is not None else {}
    if twin is not None and same.get(f"{lane.name} and {twin}") is not None:
        leads.append(Lead(f"{100 * same[f'{lane.name} and {twin}']:.2f} %", f"same answers of {lane.name} and {twin}"))
    return tuple(leads)
