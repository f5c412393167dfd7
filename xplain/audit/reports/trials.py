"""Tests of the explanations: each metric beside what maps without knowledge score on the same items, passed or not.

The condition is fixed here, not chosen by who reads: a metric is passed where the explanation is better than every
baseline on average, that is, where the 95 % interval of each paired difference lies above zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from xplain.audit.plans.plan import Plan
from xplain.audit.reports.readers import Reads
from xplain.audit.shards.judging import SHARE
from xplain.core.edits import Array
from xplain.report.audit.told import Trial

__all__ = ["BASELINES", "Known", "trials"]

BASELINES = ("random", "centre", "edge", "gradient")
_ENOUGH = 20
"""Items from which on a test is judged."""
_DRAWS, _BOOTSTRAPPED = 1000, 4000
"""Repetitions of the bootstrap, and items up to which it is asked; a mean of more is normal by itself."""
_CONDITION = "Passed if better than each of: {names} (95 % interval of the mean difference above zero)."

Known = Callable[[str], tuple[str, str] | None]
"""Of a metric by its name: ``higher`` or ``lower``, whichever is better, and what it asks in a sentence."""


def trials(audit: Reads, known: Known) -> tuple[Trial, ...]:
    """A test per lane and metric that the records hold, in the plan's order.

    Args:
        audit: The audit.
        known: What a metric's name stands for; None for one that is not known here, which is shown and not judged.
    """
    table = audit.sql("select * from metrics order by lane, metric, item")
    lanes, metrics = np.asarray(table["lane"].to_pylist(), object), np.asarray(table["metric"].to_pylist(), object)
    columns = {name: np.asarray(table[name].to_numpy(), np.float64) for name in ("value", *BASELINES)}
    found = []
    for lane, metric in _pairs(audit.plan, lanes, metrics):
        if metric == SHARE:  # of what is known, not of an explanation
            continue
        own = (lanes == lane) & (metrics == metric)
        told = _test(lane, metric, {name: one[own] for name, one in columns.items()}, known(metric), audit.plan.seed)
        found += [] if told is None else [told]
    return tuple(found)


def _pairs(plan: Plan, lanes: Array, metrics: Array) -> Sequence[tuple[str, str]]:
    there = set(zip(lanes.tolist(), metrics.tolist(), strict=True))
    by_lane = {lane.name: k for k, lane in enumerate(plan.lanes)}
    planned = [*plan.grading.names, *(() if plan.truth is None else plan.truth.names)]
    by_name = {name: k for k, name in enumerate(planned)}
    return sorted(there, key=lambda one: (by_lane.get(one[0], 99), by_name.get(one[1], 99), one))


def _test(
    lane: str, metric: str, columns: Mapping[str, Array], known: tuple[str, str] | None, seed: int
) -> Trial | None:
    values = columns["value"]
    valued = np.isfinite(values)
    if not valued.any():
        return None
    middle, *bounds = _mean(values[valued], seed)
    better, question = known or ("", "")
    sign = -1.0 if better == "lower" else 1.0
    baselines: list[tuple[str, float, float, float]] = []
    beaten: list[str] = []
    unsure: list[str] = []
    worse: list[str] = []
    for name in BASELINES:
        both = valued & np.isfinite(columns[name])
        if not both.any():
            continue
        _, low, high = _mean(sign * (values[both] - columns[name][both]), seed)
        baselines.append((name, float(columns[name][both].mean()), low, high))
        (beaten if low > 0 else worse if high < 0 else unsure).append(name)
    count = int(valued.sum())
    passed, why = _verdict(count, bool(better), beaten, unsure, worse)
    condition = _CONDITION.format(names=", ".join(name for name, *_ in baselines)) if baselines else "no condition"
    return Trial(
        lane, metric, question, condition, middle, (bounds[0], bounds[1]), tuple(baselines), count, passed, why
    )


def _verdict(
    count: int, directed: bool, beaten: Sequence[str], unsure: Sequence[str], worse: Sequence[str]
) -> tuple[bool | None, str]:
    if not beaten and not unsure and not worse:
        return None, "Nothing stands beside it, so it is shown and not judged."
    if not directed:
        return None, "It says how a map looks, not whether it is true, so it is shown and not judged."
    if count < _ENOUGH:
        return None, f"{count} items are too few to judge: at least {_ENOUGH} are needed."
    said = [f"Worse than: {', '.join(worse)}."] * bool(worse)
    said += [f"Not surely better than: {', '.join(unsure)}."] * bool(unsure)
    return not said, " ".join(said)


def _mean(values: Array, seed: int) -> tuple[float, float, float]:
    """A mean and its 95 % bounds: by bootstrap over items (percentiles of 1,000 means), of many by the normal law."""
    middle, n = float(values.mean()), len(values)
    if n < 2:
        return middle, -np.inf, np.inf
    if n > _BOOTSTRAPPED:
        reach = 1.959964 * float(values.std(ddof=1)) / n**0.5
        return middle, middle - reach, middle + reach
    draw = np.random.default_rng([seed, n])
    means = np.array([values[draw.integers(0, n, n)].mean() for _ in range(_DRAWS)])
    low, high = np.quantile(means, [0.025, 0.975])
    return middle, float(low), float(high)
