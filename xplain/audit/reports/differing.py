"""``xplain.audit.diff``: what changed from one audit to another: scores, explanations, metrics, classes, items."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.analyses.drift import drift
from xplain.analyses.shares import shares
from xplain.audit.canonical import canonical, differing
from xplain.audit.plans.classes import pairs_of
from xplain.audit.plans.plan import ModelFacts
from xplain.audit.reports.beside import Beside, Pairs, changed_classes, changed_lanes, changed_metrics, matched
from xplain.audit.reports.examples import Album
from xplain.audit.reports.mean_maps import mean_maps
from xplain.audit.reports.readers import Reads, literal, rows_of
from xplain.core.edits import Array
from xplain.core.finding import Finding
from xplain.core.keeping.plain import counted
from xplain.core.keeping.strict import strict
from xplain.core.lane import Lane
from xplain.report.audit import Compared
from xplain.report.audit.told import Column, Example, Fact, Found, Lead, Table

__all__ = ["compared"]

_SIDE = 2000
"""Items of a side that drift is tested on, drawn by the later plan's seed."""
_GROUPS = 8
"""Classes that drift is tested for by themselves; the others are one group."""
_CLASS_LANES = 3
_UNPAIRED = (
    "they are paired by name, else by method and target where each audit has one such lane left; "
    "plan both with the same names, NAME=FILE for a model"
)
_SHOWN = 6


def compared(before: Reads, after: Reads, folders: Sequence[str | os.PathLike[str]]) -> Compared:
    """All that is said of two audits.

    Args:
        before: The earlier one.
        after: The later one.
        folders: Where both lie.
    """
    pairs = matched(before.plan, after.plan)
    classes = [pairs_of(*_models(before, after, pair)) for pair in pairs]
    with Beside(folders, pairs, classes) as beside:
        return _compared(before, after, pairs, classes, beside)


def _compared(
    before: Reads, after: Reads, pairs: Sequence[tuple[Lane, Lane]], classes: Sequence[Pairs], beside: Beside
) -> Compared:
    key, shared = beside.key, beside.shared
    lanes = changed_lanes(beside, pairs)
    findings = [one for pair, some in zip(pairs, classes, strict=True) for one in _drift(before, after, pair, some)]
    albums = {b.name: Album(after, b, 60) for _, b in pairs}
    found = tuple(Found(one, albums[one.evidence["lane"]].of(one.members[:_SHOWN])) for one in findings)
    return Compared(
        title=f"From {_called(before)} to {_called(after)}: what changed",
        roots=(before.root, after.root),
        facts=(*_facts(before, after, pairs, key, shared), *_of_classes(before, after, pairs)),
        leads=_leads(lanes, findings, shared, _unpaired(before.plan.lanes, after.plan.lanes)),
        findings=found,
        cannot=_cannot(pairs, shared, lanes),
        plan=_plan(before, after),
        lanes=lanes,
        metrics=changed_metrics(beside),
        classes=_classes(beside, before, after, pairs, classes),
        examples=_examples(beside, before, after, pairs[0]) if pairs and shared else (),
    )


def _called(audit: Reads) -> str:
    return " and ".join(model.name for model in audit.plan.models)


def _models(before: Reads, after: Reads, pair: tuple[Lane, Lane]) -> tuple[ModelFacts, ModelFacts]:
    """The models of two lanes that stand for each other."""
    return before.plan.model(pair[0].model), after.plan.model(pair[1].model)


def _facts(before: Reads, after: Reads, pairs: Sequence[tuple[Lane, Lane]], key: str, shared: int) -> tuple[Fact, ...]:
    told = "the same content" if key == "sha256" else "the same name, for none have the same content"
    left = [[lane.name for lane in one.plan.lanes] for one in (before, after)]
    for a, b in pairs:
        left[0].remove(a.name)
        left[1].remove(b.name)
    named = "; ".join(a.name if a.name == b.name else f"{a.name} with {b.name}" for a, b in pairs)
    facts = [
        Fact("Before", f"{before.plan.items.count:,} items, {counted(len(before.plan.lanes), 'lane')}"),
        Fact("After", f"{after.plan.items.count:,} items, {counted(len(after.plan.lanes), 'lane')}"),
        Fact("Items in both", f"{shared:,}", f"by {told}" if shared else "the audits share no item"),
        Fact("Lanes compared", named or "none"),
    ]
    for side, names in zip(("before", "after"), left, strict=True):
        if names:
            facts.append(Fact(f"Lanes {side} alone", ", ".join(names)))
    return tuple(facts)


def _of_classes(before: Reads, after: Reads, pairs: Sequence[tuple[Lane, Lane]]) -> Iterator[Fact]:
    """How classes were compared, where the models do not number them alike; and which only one of them has."""
    told: set[tuple[str, str]] = set()
    for pair in pairs:
        was, now = _models(before, after, pair)
        same = pairs_of(was, now)
        if same is None or (was.name, now.name) in told:
            continue
        told.add((was.name, now.name))
        of = f"Classes of {was.name if was.name == now.name else f'{was.name} and {now.name}'}"
        if not same:
            yield Fact(of, "not compared: no name of the one is a name of the other")
            continue
        yield Fact(of, f"compared by name, for their numbers differ: {counted(len(same), 'class', 'classes')} of both")
        kept = set(same), set(same.values())
        for side, facts, both in zip(_WHEN, (was, now), kept, strict=True):
            names = [name for k, name in enumerate(facts.names) if k not in both]
            if names:
                more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
                yield Fact(f"{of}, {side} alone", f"{len(names):,}: {', '.join(names[:_NAMED])}{more}")


_NAMED = 12
"""Classes that are named one by one."""


def _unpaired(before: Sequence[Lane], after: Sequence[Lane]) -> str:
    """Why no lane stands for one of the other audit, and what to plan so that some do."""
    was, now = (list(dict.fromkeys(lane.method for lane in lanes)) for lanes in (before, after))
    if set(was) & set(now):
        return _UNPAIRED
    return (
        f"the methods are others, {', '.join(was)} before and {', '.join(now)} after, and what they say is not of one "
        f"kind; plan the later audit with method {was[0]} too (--method {was[0]})"
    )


def _leads(lanes: Table, findings: Sequence[Finding], shared: int, unpaired: str) -> tuple[Lead, ...]:
    leads = [Lead(f"{shared:,}", "items are in both audits")]
    if lanes.rows:
        row = dict(zip([c.name for c in lanes.columns], lanes.rows[0], strict=True))
        if row["same answer"] is not None:
            of = f"of {counted(row['items'], 'item')} that both explained are answered alike in {row['lane']}"
            leads.append(Lead(f"{100 * row['same answer']:.2f} %", of))
        if row["newly wrong"] is not None:
            leads.append(Lead(f"{row['newly wrong']:,}", f"are newly wrong, {row['newly right']:,} newly right"))
    else:
        leads.append(Lead("0", f"lanes are compared: {unpaired}"))
    if findings:
        moved = sum(one.standing == "candidate" for one in findings)
        leads.append(Lead(str(moved), f"of {counted(len(findings), 'test')} found scores or explanations moved"))
    return tuple(leads)


def _cannot(pairs: Sequence[tuple[Lane, Lane]], shared: int, lanes: Table) -> tuple[str, ...]:
    said = [
        "Which of two answers or explanations is the better one: a change is a change.",
        "Why it changed: data, model, method and software can each be the cause; see what differs between the plans.",
        f"Drift is tested on at most {_SIDE:,} items a side; a change of few items needs more to be seen.",
    ]
    if shared:
        said.append("Tests of drift take both sides as independent; of the same items they find less than there is.")
    else:
        said.append("What became of single items: the audits share none.")
    if not pairs:
        said.append("Anything of answers and explanations: no lane stands for one of the other audit.")
    if lanes.rows and all(row[2] is None for row in lanes.rows) and any(row[1] for row in lanes.rows):
        said.append("Whether answers stayed the same: the models name no class alike, and number them otherwise.")
    if all(row[3] is None for row in lanes.rows):
        said.append("Whether answers became better: no item of both has a label that both models know.")
    return tuple(said)


def _plan(before: Reads, after: Reads) -> Table | None:
    """What differs between the plans."""
    found = differing(strict(before.plan.to_json()), strict(after.plan.to_json()))
    if not found:
        return None
    rows = tuple((at, _brief(a), _brief(b)) for at, a, b in found[:_MOST])
    heads = (Column("choice", "text"), Column("before", "text"), Column("after", "text"))
    return Table("plan", "Plans", "A row per choice.", heads, rows, left_out=max(0, len(found) - _MOST))


_MOST = 60


def _brief(value: Any) -> str:
    text = "–" if value is None else canonical(value).decode()
    return text if len(text) <= 160 else f"{text[:150]} ..."


def _classes(
    beside: Beside, before: Reads, after: Reads, pairs: Sequence[tuple[Lane, Lane]], classes: Sequence[Pairs]
) -> tuple[Table, ...]:
    tables = []
    for number, ((a, b), same) in enumerate(zip(pairs[:_CLASS_LANES], classes[:_CLASS_LANES], strict=True), 1):
        maps = [mean_maps(side, lane)[0] for side, lane in ((before, a), (after, b))]
        if same is not None:
            maps[1] = {was: maps[1][now] for was, now in same.items() if now in maps[1]}
        model = before.plan.model(a.model)
        names = {k: model.class_name(k) for k in {*maps[0], *maps[1], *range(len(model.classes))}}
        tables.append(changed_classes(beside, (a, b), number, names, maps))
    return tuple(one for one in tables if one.rows)


def _examples(
    beside: Beside, before: Reads, after: Reads, pair: tuple[Lane, Lane]
) -> tuple[tuple[str, tuple[Example, ...]], ...]:
    """Items that changed most, each as it was and as it is."""
    albums = Album(before, pair[0], 60), Album(after, pair[1], 60)
    rules = (
        ("Newly wrong, the surest first", "a_correct and not b_correct", "b_margin desc"),
        ("Newly right, the surest first", "b_correct and not a_correct", "b_margin desc"),
        ("Answered otherwise, the surest first", "not same and a_correct is null", "b_margin desc"),
        (
            "Answered alike for another reason: the peak moved furthest",
            "same and (abs(a_peak_y - b_peak_y) >= 0.1 or abs(a_peak_x - b_peak_x) >= 0.1)",
            "power(a_peak_y - b_peak_y, 2) + power(a_peak_x - b_peak_x, 2) desc",
        ),
    )
    told = []
    for title, where, order in rules:
        rows = beside.rows(
            f"select a_item, b_item from pairs where lane = {literal(pair[0].name)} and {where}"
            f" order by {order}, b_item limit {_SHOWN}"
        )
        was, now = (album.of([row[name] for row in rows]) for album, name in zip(albums, _ITEMS, strict=True))
        some = [one for a, b in zip(was, now, strict=True) for one in (_dated(a, "before"), _dated(b, "after"))]
        if some:
            told.append((title, tuple(some)))
    return tuple(told)


_WHEN, _ITEMS = ("before", "after"), ("a_item", "b_item")


def _dated(one: Example, when: str) -> Example:
    captions = (f"{when}: {one.captions[0]}", *one.captions[1:])
    return replace(one, captions=captions)


def _drift(before: Reads, after: Reads, pair: tuple[Lane, Lane], same: Pairs) -> list[Finding]:
    """Whether scores and explanations moved, of all items and of the most frequent classes."""
    seed = after.plan.seed
    model = before.plan.model(pair[0].model)
    called = {now: model.class_name(was) for was, now in (same or {}).items()}
    was, now = _drawn(before, pair[0], seed, {}), _drawn(after, pair[1], seed, called)
    frequent = {name for name, _ in Counter([*was.names, *now.names]).most_common(_GROUPS)}
    groups = _grouped(was.names, frequent), _grouped(now.names, frequent)
    used = np.isfinite(np.concatenate([was.numbers, now.numbers])).any(axis=0)  # one class alone leaves no margin
    sides = was.numbers[:, used], now.numbers[:, used]
    found = drift(*sides, groups, what="scores", items=now.items, names=_WHEN, seed=seed)
    if pair[0].native_shape == pair[1].native_shape and len(pair[0].native_shape) in (1, 2):
        maps = before.maps(pair[0].name, was.items.tolist()), after.maps(pair[1].name, now.items.tolist())
        told = shares(maps[0]), shares(maps[1])
        found += drift(*told, groups, what="explanations", items=now.items, names=_WHEN, seed=seed)
    kept = [one for one in found if one.standing != "too few" or not one.group]
    return [replace(one, evidence={"lane": pair[1].name, **one.evidence}) for one in kept]


def _grouped(names: Sequence[str], frequent: set[str]) -> list[str]:
    return [name if name in frequent else "other classes" for name in names]


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """Items that are tested: their numbers, answers, and score, margin and entropy ``[N, 3]``, NaN where missing."""

    items: Array
    names: list[str]
    numbers: Array


def _drawn(audit: Reads, lane: Lane, seed: int, called: Mapping[int, str]) -> _Drawn:
    """At most ``_SIDE`` explained items, in the order of their numbers.

    Args:
        audit: The audit.
        lane: Its lane.
        seed: What is drawn by.
        called: What the other audit calls some of the classes.
    """
    own = f"lane = {literal(lane.name)} and status = 'ok'"
    every = audit.sql(f"select item from records where {own} order by item")["item"].to_numpy()
    draw = np.random.default_rng([seed, len(every)])
    items = np.sort(draw.choice(every, min(_SIDE, len(every)), replace=False))
    listed = ", ".join(map(str, items.tolist())) or "-1"
    rows = rows_of(audit.sql(f"select * from records where {own} and item in ({listed}) order by item"))
    numbers = [[np.nan if row[n] is None else row[n] for n in ("score", "margin", "entropy")] for row in rows]
    names = [called.get(row["predicted"], str(row["predicted_name"])) for row in rows]
    return _Drawn(items, names, np.array(numbers, np.float64).reshape(len(rows), 3))
