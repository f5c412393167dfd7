"""The analyses that read records and maps alone, a shard at a time: memory does not grow with the audit.

Each turns what is stored into the arrays of one of ``xplain.analyses``, and names the lane in what it found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.analyses.clusters import clusters
from xplain.analyses.drift import drift
from xplain.analyses.duplicates import copies, difference_hash, hash_pairs, near_copies, verified
from xplain.analyses.enough import drawn, percent, too_few
from xplain.analyses.groups import grouped
from xplain.analyses.mass import REGIONS, mass_on
from xplain.analyses.shares import pooled, shares
from xplain.analyses.subgroups import subgroups
from xplain.analyses.twins import contradictions, rank_correlation, twins, unrelated
from xplain.audit.opening import Audit
from xplain.audit.plans.classes import pairs_of
from xplain.audit.reports.readers import Reads, literal
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError, XplainError
from xplain.core.finding import Finding
from xplain.core.lane import Lane

__all__ = [
    "drifts",
    "duplicated",
    "grouped_maps",
    "leaning",
    "mapped",
    "named",
    "parts",
    "pictured",
    "twinned",
    "worded",
]

_OWN = ("number", "name", "bytes", "sha256", "label", "split")
_CLASS = 5000
"""Items of a class whose maps are put into groups."""
_CLASSES = 20
"""Classes, the largest first, whose maps are put into groups."""
_LEARNT = 20000
"""Items that the groups of all maps are learnt from; every item is then told its group."""
_LOOKED = 4000
"""Pictures that are read again to be compared with one another."""
_TEXTS, _WORDS = 2000, 40
"""Texts that are read again for their words, and words that are looked at, those with most of the mass first."""
_LIMITS = (
    "A small p-value says that the class differs from the others, not that it is wrong: it may be what it is about.",
    "Mass is where the explanation lies, not what the model would do without it: change it and ask again.",
)
_VALUES = 8
"""Values of a column up to which it is taken for sites or dates."""


def named(found: list[Finding], lane: Lane) -> list[Finding]:
    """Findings with the lane that they are about."""
    return [replace(one, evidence={**one.evidence, "lane": lane.name}) for one in found]


def pictured(audit: Audit) -> list[Lane]:
    """The lanes whose maps lie over a plane and explain one class per item; one of each model and method."""
    return [lane for lane in audit.lanes if len(lane.native_shape) == 2]


def mapped(audit: Audit) -> list[Lane]:
    """The lanes whose maps compare place by place: pictures, and rows of a table by their columns."""
    return [lane for lane in audit.lanes if len(lane.native_shape) == 2 or _is_rows(audit, lane)]


def _is_rows(audit: Audit, lane: Lane) -> bool:
    return audit.plan.model(lane.model).items == "rows" and len(lane.native_shape) == 1


def columns(audit: Reads, names: str, lane: Lane) -> dict[str, Array]:
    """Columns of a lane's records that hold an explanation, by item; texts as objects."""
    query = f"select {names} from records where lane = {literal(lane.name)} and status = 'ok' order by item"
    table = audit.sql(query)
    return {name: table[name].to_numpy() for name in table.column_names}


def leaning(audit: Audit) -> list[Finding]:
    """Attribution on border and corners, on columns of rows, on words of texts: by predicted class."""
    found = []
    for lane in audit.lanes:
        if audit.plan.model(lane.model).door:
            found += named(_on_columns(audit, lane) if _is_rows(audit, lane) else _on_words(audit, lane), lane)
    for lane in pictured(audit):
        told = columns(audit, "item, predicted_name, border, corner0, corner1, corner2, corner3", lane)
        places = {name: told[k] for name, k in zip(REGIONS, ("border", *(f"corner{n}" for n in range(4))), strict=True)}
        made = mass_on(places, told["predicted_name"].tolist(), items=told["item"], seed=audit.plan.seed)
        found += named(made, lane)
    return found


def _on_columns(audit: Audit, lane: Lane) -> list[Finding]:
    """The share of each row's magnitude on each column, by predicted class."""
    told = columns(audit, "item, predicted_name", lane)
    names = audit.plan.model(lane.model).columns
    if not len(told["item"]) or len(names) != lane.native_shape[0]:
        return []
    maps = audit.maps(lane.name, told["item"])
    held = shares(np.abs(maps), maps.shape[1]).reshape(len(maps), -1)
    places = {f"column {name}": held[:, k] for k, name in enumerate(names)}
    made = mass_on(places, told["predicted_name"].tolist(), items=told["item"], seed=audit.plan.seed)
    return [replace(one, limits=_LIMITS) if one.standing == "candidate" else one for one in made]


def _on_words(audit: Audit, lane: Lane) -> list[Finding]:
    """The share of each text's magnitude on the words that hold most of it, by predicted class; of texts drawn."""
    told = columns(audit, "item, predicted_name", lane)
    items, words, held = worded(audit, lane, told["item"])
    if not len(items):
        return []
    names = dict(zip(told["item"].tolist(), told["predicted_name"].tolist(), strict=True))
    totals = held.sum(axis=0)
    places = {f"word '{words[k]}'": held[:, k] for k in np.argsort(-totals, kind="stable")[:_WORDS]}
    groups = [names[int(n)] for n in items]
    made = mass_on(places, groups, items=items, seed=audit.plan.seed)
    return [replace(one, limits=_LIMITS) if one.standing == "candidate" else one for one in made]


def worded(audit: Reads, lane: Lane, items: Array, signed: bool = False) -> tuple[Array, list[str], Array]:
    """Texts that the seed draws, the words in them, and how much of each text's map is on each word.

    Returns:
        Numbers of the texts ``[N]``, words in small letters ``[W]``, and ``[N, W]``: the share of the text's magnitude
        (``signed``: of its sum of magnitudes, with the sign) on all places of the word; 0 where it is not in it.
    """
    some = items[drawn(np.zeros(len(items)), _TEXTS, audit.plan.seed)]
    place: dict[str, int] = {}
    rows: list[dict[int, float]] = []
    kept: list[int] = []
    for n, values in zip(some.tolist(), audit.maps(lane.name, some) if len(some) else [], strict=True):
        try:
            features = audit.passage(n, lane.model).words
        except XplainError:
            continue
        own = np.asarray(values[: len(features)], np.float64)
        whole = float(np.abs(own).sum())
        if not whole > 0:
            continue
        row: dict[int, float] = {}
        for word, value in zip(features, own if signed else np.abs(own), strict=False):
            at = place.setdefault(word.casefold(), len(place))
            row[at] = row.get(at, 0.0) + float(value) / whole
        rows.append(row)
        kept.append(n)
    held = np.zeros((len(rows), len(place)), np.float32)
    for k, row in enumerate(rows):
        held[k, list(row)] = list(row.values())
    return np.array(kept, np.int64), list(place), held


def grouped_maps(audit: Audit) -> list[Finding]:
    """Groups of all maps by k-means, and of the largest classes by spectral clustering and HDBSCAN."""
    found = []
    for lane in mapped(audit)[:1]:
        told = columns(audit, "item, predicted_name", lane)
        if len(told["item"]) < 40:
            return [too_few("clusters", "", len(told["item"]), 40, "explained items")]
        names = dict(zip(told["item"].tolist(), told["predicted_name"].tolist(), strict=True))
        found += named(_all_groups(audit, lane, names), lane)
        groups, sizes = np.unique(told["predicted_name"].astype(str), return_counts=True)
        for group in groups[np.argsort(-sizes, kind="stable")][:_CLASSES]:
            rows = told["item"][told["predicted_name"].astype(str) == group]
            rows = rows[drawn(np.zeros(len(rows)), _CLASS, audit.plan.seed)]
            found += named(_class_groups(audit, lane, str(group), rows), lane)
    return found


def _all_groups(audit: Audit, lane: Lane, names: dict[int, str]) -> list[Finding]:
    """K-means learnt on a draw; each item is then told the nearest mean, a batch at a time."""
    every = np.array(sorted(names))
    some = every[drawn(np.zeros(len(every)), _LEARNT, audit.plan.seed)]
    cells = _flat(audit.maps(lane.name, some))
    good = np.isfinite(cells).all(axis=1)
    try:
        made = clusters(cells[good], [names[int(n)] for n in some[good]], seed=audit.plan.seed)
    except UsageError:  # all maps are equal
        return []
    means = np.stack([cells[good][one.items].mean(axis=0) for one in made])
    counts = np.zeros(len(means), np.int64)
    for _, maps in audit.batches(lane.name):
        rows = _flat(maps)
        rows = rows[np.isfinite(rows).all(axis=1)]
        far = (means**2).sum(axis=1)[None] - 2 * rows @ means.T
        counts += np.bincount(far.argmin(axis=1), minlength=len(means))
    told = []
    for k, one in enumerate(made):
        share = counts[k] / max(1, counts.sum())
        text = f"Of {len(made)} groups of maps, one of {counts[k]:,} items ({percent(share)}) is mostly {one.name}."
        medoid = some[good][one.items]
        near = ((cells[good][one.items] - means[k]) ** 2).sum(axis=1).argsort(kind="stable")[:24]
        told.append(
            Finding(
                *("clusters", one.name, text, "measured", float(share), "share of items"),
                count=int(counts.sum()),
                members=medoid[near],
                evidence={"mean map": means[k], "share of the class": one.share, "groups": len(made)},
                limits=("How many groups are made is a choice. A group is a habit of the model, not yet a fault.",),
            )
        )
    return told


def _class_groups(audit: Audit, lane: Lane, group: str, items: Array) -> list[Finding]:
    cells = _flat(audit.maps(lane.name, items))
    good = np.isfinite(cells).all(axis=1)
    if good.sum() < 40:
        return [too_few("clusters", group, int(good.sum()), 40, "explained items")]
    try:
        ways = grouped(cells[good], seed=audit.plan.seed)
    except MissingDependency:
        raise
    except UsageError:  # all maps are equal
        return []
    sizes = {f"{one.way} {one.count}": np.bincount(one.own[one.own >= 0], minlength=1) for one in ways}
    shown = "; ".join(f"{name}: {', '.join(map(str, size))}" for name, size in sizes.items())
    smallest = ways[1].own
    members = items[good][smallest == smallest.max()][:24]
    return [
        Finding(
            *("clusters", group, f"Maps of {group} in groups, at several numbers of them: {shown}.", "measured"),
            count=int(good.sum()),
            members=members,
            evidence={**sizes, "eigengap would choose": int(ways[0].gaps[1:].argmax() + 2)},
            limits=(
                "No number of groups is the right one: the largest gap of eigenvalues chose 4, 3 and 8 on sets of two.",
                "The members are the smallest of four groups, which is where a shortcut would lie, not a proof of one.",
            ),
        )
    ]


def drifts(audit: Audit) -> list[Finding]:
    """Each value of a column of sites or dates against the others, scores and explanations apart."""
    table = audit.items
    found = []
    for lane in audit.lanes[:1]:
        told = columns(audit, "item, predicted_name, value, margin, entropy", lane)
        some = drawn(told["predicted_name"].astype(str), max(40, 20000 // max(1, lane.classes)), audit.plan.seed)
        told = {name: values[some] for name, values in told.items()}
        scores = np.stack([told[k].astype(np.float64) for k in ("value", "margin", "entropy")], axis=1)
        scores = scores[:, np.isfinite(scores).any(axis=0)]
        cells, own = None, audit.plan.model(lane.model).columns  # whose explanations differ by what they hold
        alike = lane in mapped(audit)
        for name in [one for one in table.column_names if one not in (*_OWN, *own)]:
            values = np.array([str(one) for one in table[name].to_pylist()], dtype=object)[told["item"]]
            kinds = sorted({str(one) for one in values} - {"None", "", "nan"})
            if not 2 <= len(kinds) <= _VALUES:
                continue
            cells = _flat(audit.maps(lane.name, told["item"])) if cells is None and alike else cells
            for kind in kinds[: 1 if len(kinds) == 2 else None]:
                inside = values == kind
                rest = ~inside & np.isin(values, kinds)
                groups = (told["predicted_name"][rest], told["predicted_name"][inside])
                said = (f"the other values of {name}", f"{name} {kind}")
                how: dict[str, Any] = {"items": told["item"][inside], "names": said, "seed": audit.plan.seed}
                found += drift(scores[rest], scores[inside], groups, what="scores", **how)
                if cells is not None:
                    found += drift(cells[rest], cells[inside], groups, what="explanations", **how)
        found = named(_once(found), lane)
    return found


def _once(found: list[Finding]) -> list[Finding]:
    """Findings without those that say the same once more, as of classes that are small whatever they are parted by."""
    kept: dict[tuple[str, str], Finding] = {}
    for one in found:
        kept.setdefault((one.group, one.statement), one)
    return list(kept.values())


def twinned(audit: Audit, kind: str) -> list[Finding]:
    """Pairs of lanes: of two models by one method (``twins``), or of one model by two methods (``triage``)."""
    lanes, found = mapped(audit), []
    apart = [lane for lane in audit.lanes if lane not in lanes]
    if len(apart) > 1 and not lanes:
        text = f"Maps of texts are as long as the texts, and are not compared place by place: {kind} was not made."
        return [Finding(kind, "", text, "too few", limits=("Nothing is known of it.",))]
    for k, one in enumerate(lanes):
        for other in lanes[k + 1 :]:
            asked = (one.method, dict(one.options)) == (other.method, dict(other.options))
            same = {"twins": asked and one.model != other.model, "triage": one.model == other.model and not asked}
            if not same[kind] or one.target != other.target:
                continue
            items, rho, chance = _agreement(audit, one, other)
            if kind == "triage":
                how: dict[str, Any] = {"items": items, "seed": audit.plan.seed}
                made = contradictions(rho, chance, names=(one.name, other.name), **how)
            else:
                first, second = (columns(audit, "item, predicted, predicted_name", lane) for lane in (one, other))
                shared, a, b = np.intersect1d(first["item"], second["item"], return_indices=True)
                place = np.searchsorted(items, shared)
                pairs = pairs_of(audit.plan.model(one.model), audit.plan.model(other.model))
                answers = second["predicted_name"][b]
                if pairs == {}:
                    found.append(_unlike(one, other))
                    continue
                if pairs is not None:  # the other model's class by this one's name
                    own = {theirs: audit.plan.model(one.model).class_name(ours) for ours, theirs in pairs.items()}
                    answers = np.array([own.get(int(k)) for k in second["predicted"][b]], object)
                predicted = (first["predicted_name"][a], answers)
                how = {"names": (one.model, other.model), "groups": predicted[0], "items": shared, "chance": chance}
                made = twins(rho[place], predicted, seed=audit.plan.seed, **how)
            found += named(made, one)
    return found


def _unlike(one: Lane, other: Lane) -> Finding:
    """What is said of models of which no class is known to be the same."""
    text = (
        f"{one.model} and {other.model} name their classes otherwise, and have other numbers of them, so it is not "
        "known which answers are the same: twins were not compared."
    )
    return Finding("twins", "", text, "too few", limits=("Nothing is known of it.",))


def _agreement(audit: Audit, one: Lane, other: Lane) -> tuple[Array, Array, Array]:
    """Items, the rank correlation of both lanes' maps, and that of maps of different items, a shard at a time."""
    items, rho, chance = [], [], []
    for some in _shards(audit):
        a, b = (np.asarray(audit.maps(lane.name, some), np.float64) for lane in (one, other))
        if a.shape != b.shape:
            cells = (min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2]))
            a, b = pooled(a, cells), pooled(b, cells)
        items.append(some)
        rho.append(rank_correlation(a, b))
        chance.append(unrelated(a, b, audit.plan.seed) if len(a) > 1 else np.zeros(0))
    return np.concatenate(items), np.concatenate(rho), np.concatenate(chance)


def duplicated(audit: Audit) -> list[Finding]:
    """Copies by digest among all items; near copies among pictures that the seed draws."""
    table = audit.items
    labels, splits = table["label"].to_pylist(), table["split"].to_pylist()
    labels, splits = (one if any(v is not None for v in one) else [] for one in (labels, splits))
    found = copies(table["sha256"].to_pylist(), labels=labels, splits=splits)
    digests = np.array(table["sha256"].to_pylist(), dtype=object)
    if audit.plan.models[0].door:
        return found  # rows and texts that are nearly alike are no copies of one another
    unlike = np.unique(digests, return_index=True)[1]  # copies are told already
    unlike = np.sort(unlike[digests[unlike] != ""])
    rows = unlike[drawn(np.zeros(len(unlike)), _LOOKED, audit.plan.seed)]
    grey, kept = [], []
    for n in rows:
        try:
            grey.append(pooled(audit.picture(int(n)).mean(axis=2)[None], (32, 36))[0])
            kept.append(n)
        except XplainError:  # it is no picture, or cannot be read any more: verify says which
            continue
    if len(kept) < 2:
        return found
    small, numbers = np.stack(grey), np.array(kept)
    pairs = verified(hash_pairs(difference_hash(small)), lambda some: small[some])
    how: dict[str, Any] = {"labels": [labels[n] for n in numbers] if labels else []}
    how["splits"] = [splits[n] for n in numbers] if splits else []
    return found + near_copies(pairs, of=len(numbers), items=numbers, **how)


def parts(audit: Audit) -> list[Finding]:
    """Subgroups of the metadata columns whose share of right answers differs; once per model."""
    table = audit.items
    values = {name: table[name].to_pylist() for name in table.column_names if name not in _OWN}
    if not values:
        return []
    found, seen = [], set()
    for lane in audit.lanes:
        if lane.model in seen:
            continue
        seen.add(lane.model)
        told = columns(audit, "item, correct", lane)
        here = {name: [one[n] for n in told["item"]] for name, one in values.items()}
        correct = [None if one is None or one != one else bool(one) for one in told["correct"]]
        found += named(subgroups(correct, here, items=told["item"]), lane)
    return found


def _shards(audit: Audit) -> Iterator[Array]:
    for seal in audit.seals.values():
        for start in range(seal.first, seal.first + seal.rows, 4096):
            yield np.arange(start, min(start + 4096, seal.first + seal.rows))


def _flat(maps: Array) -> Array:
    """Maps as shares of few cells; rows of a table by their columns, whose magnitudes count."""
    if maps.ndim == 2:
        return shares(np.abs(maps), maps.shape[1]).reshape(len(maps), -1)
    return shares(maps).reshape(len(maps), -1)
