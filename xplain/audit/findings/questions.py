"""The analyses that read records and maps alone, a shard at a time: memory does not grow with the audit.

Each turns what is stored into the arrays of one of ``xplain.analyses``, and names the lane in what it found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.analyses.clusters import clusters
from xplain.analyses.drift import drift
from xplain.analyses.enough import drawn, percent, too_few
from xplain.analyses.groups import grouped
from xplain.analyses.subgroups import subgroups
from xplain.audit.findings.kinds import columns, flat, mapped
from xplain.audit.findings.leaning import named
from xplain.audit.opening import Audit
from xplain.core.edits import Array
from xplain.core.errors import MissingDependency, UsageError
from xplain.core.finding import Finding
from xplain.core.lane import Lane

__all__ = ["drifts", "grouped_maps", "parts"]

_OWN = ("number", "name", "bytes", "sha256", "label", "split")
_CLASS = 5000
"""Items of a class whose maps are put into groups."""
_CLASSES = 20
"""Classes, the largest first, whose maps are put into groups."""
_LEARNT = 20000
"""Items that the groups of all maps are learnt from; every item is then told its group."""
_VALUES = 8
"""Values of a column up to which it is taken for sites or dates."""


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
    cells = flat(lane, audit.maps(lane.name, some))
    good = np.isfinite(cells).all(axis=1)
    try:
        made = clusters(cells[good], [names[int(n)] for n in some[good]], seed=audit.plan.seed)
    except UsageError:  # all maps are equal
        return []
    means = np.stack([cells[good][one.items].mean(axis=0) for one in made])
    counts = np.zeros(len(means), np.int64)
    for _, maps in audit.batches(lane.name):
        rows = flat(lane, maps)
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
    cells = flat(lane, audit.maps(lane.name, items))
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
            cells = flat(lane, audit.maps(lane.name, told["item"])) if cells is None and alike else cells
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
