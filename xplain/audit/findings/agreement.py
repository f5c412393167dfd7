"""How far the methods of a run say the same of its items: rank order, most important places, and their signs.

Pairs of lanes of one model and target. Maps of unlike resolutions are compared in the cells that both have.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.analyses.enough import drawn, number, percent, too_few
from xplain.analyses.shares import pooled
from xplain.audit.findings.kinds import columns, mapped, planes
from xplain.audit.findings.leaning import named
from xplain.audit.opening import Audit
from xplain.core.edits import Array
from xplain.core.finding import Finding
from xplain.core.intervals import LEAST, mean_of, worst_tenth
from xplain.core.lane import Lane
from xplain.metrics.agreement import rank_agreement, sign_agreement, topk_agreement

__all__ = ["METRICS", "agreed"]

METRICS = {"rank-agreement": rank_agreement, "top-k-agreement": topk_agreement, "sign-agreement": sign_agreement}
"""What is asked of two maps."""

_MOST = 2000
"""Items whose maps are compared, drawn by class."""
_LIMITS = (
    "Maps of unlike resolutions are averaged, signs and all, in the cells of the coarser one: what alternates cancels.",
    "Methods that agree may share a fault: agreement is no proof.",
    "Methods that hide parts and methods that follow gradients ask different questions: some disagreement is honest.",
)


def agreed(audit: Audit) -> list[Finding]:
    """A finding for each two methods of one model and target."""
    over, found = mapped(audit), []
    for k, one in enumerate(over):
        for other in over[k + 1 :]:
            methods = [(lane.method, sorted(dict(lane.options).items(), key=str)) for lane in (one, other)]
            if one.model == other.model and one.target == other.target and methods[0] != methods[1]:
                found += named(_of_pair(audit, one, other), one)
    return found


def _of_pair(audit: Audit, one: Lane, other: Lane) -> list[Finding]:
    first, second = (columns(audit, "item, predicted_name", lane) for lane in (one, other))
    items, place, _ = np.intersect1d(first["item"], second["item"], return_indices=True)
    classes = np.array([str(name) for name in first["predicted_name"][place]], object)
    some = drawn(np.zeros(len(items)), _MOST, audit.plan.seed)
    items, classes = items[some], classes[some]
    if len(items) < LEAST:
        return [too_few("agreement", "", len(items), LEAST, "items that both methods explained")]
    a, b = _together(one, other, audit.maps(one.name, items), audit.maps(other.name, items))
    order = np.random.default_rng([audit.plan.seed, 0xA9]).permutation(len(items))
    values = {name: metric(a, b) for name, metric in METRICS.items()}
    chance = {name: metric(a[order], b[np.roll(order, 1)]) for name, metric in METRICS.items()}
    return [_told(one, other, values, chance, (items, classes))]


def _together(one: Lane, other: Lane, first: Array, second: Array) -> tuple[Array, Array]:
    """Both lanes' maps of the same items in one shape; mass is added up, so that signs stay."""
    a, b = (np.asarray(planes(lane, maps), np.float64) for lane, maps in ((one, first), (other, second)))
    if a.shape == b.shape:
        return a, b
    if one.is_series and a.shape[1] != b.shape[1]:  # one has values for each channel, the other one for all
        a, b = (side.sum(axis=1, keepdims=True) for side in (a, b))
    cells = (min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2]))
    return pooled(a, cells), pooled(b, cells)


def _told(
    one: Lane, other: Lane, values: dict[str, Array], chance: dict[str, Array], of: tuple[Array, Array]
) -> Finding:
    items, classes = of
    means = {name: mean_of(each) for name, each in values.items()}
    blind = {name: mean_of(each) for name, each in chance.items()}
    evidence: dict[str, Any] = {"lanes": f"{one.name} and {other.name}"}
    for name, each in values.items():
        evidence[name] = np.array([means[name].mean, means[name].low, means[name].high])
        evidence[f"{name}, maps of different items"] = blind[name].mean
        evidence[f"{name}, worst tenth"] = worst_tenth(each, False)[0]
        worst = _worst_class(each, classes)
        if worst is not None:
            evidence[f"{name}, worst class"], evidence[f"{name}, of worst class"] = worst
    rank, top = means["rank-agreement"], means["top-k-agreement"]
    text = (
        f"{one.name} and {other.name}: the ranks of their maps correlate at {number(rank.mean)} on average (maps of "
        f"different items: {number(blind['rank-agreement'].mean)}), and they share {percent(top.mean)} of the most "
        f"important tenth (of different items {percent(blind['top-k-agreement'].mean)})."
    )
    order = np.argsort(np.nan_to_num(values["rank-agreement"], nan=2.0), kind="stable")
    interval = None if np.isnan(rank.low) else (rank.low, rank.high)
    return Finding(
        *("agreement", "", text, "measured", rank.mean, "rank correlation of maps", interval, None, rank.count),
        members=items[order[:24]],
        evidence=evidence,
        limits=_LIMITS,
    )


def _worst_class(values: Array, classes: Array) -> tuple[str, Array] | None:
    """The class whose interval ends lowest, and its mean with bounds; None for fewer than two with enough items."""
    found = [(name, mean_of(values[classes == name])) for name in dict.fromkeys(classes.tolist())]
    enough = [(one.high, one.mean, name, one) for name, one in found if not np.isnan(one.low)]
    if len(found) < 2 or not enough:
        return None
    *_, name, worst = min(enough, key=lambda row: row[:3])
    return name, np.array([worst.mean, worst.low, worst.high])
