"""What findings add to the tests and tables of a report: weights drawn anew as a test, agreement as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.audit.findings.agreement import METRICS
from xplain.core.finding import Finding
from xplain.report.audit.told import Column, Table, Trial

__all__ = ["agreement_table", "redrawn_trials"]

_QUESTION = "Does the map change when what the model has learnt is drawn anew?"
_CONDITION = (
    "Passed if maps keep a rank correlation of at most one half on average while more and more layers are drawn anew, "
    "or are no more alike than maps of different items."
)
_FAILED = "They hardly change as the model forgets: they show the picture rather than what was learnt."


def redrawn_trials(findings: Sequence[Finding] | None) -> list[Trial]:
    """A test per lane whose model was drawn anew."""
    found = []
    for one in findings or ():
        told = one.evidence
        if one.kind != "randomisation" or "changes" not in told or one.effect is None:
            continue
        passed = {"yes": True, "no": False}.get(str(told["changes"]))
        low, high = one.interval if one.interval is not None else (-np.inf, np.inf)
        apart = np.asarray(told["less alike than these by"], np.float64)
        null = told["maps of different items"]
        beside = () if null is None or not np.isfinite(apart).all() else (
            ("different items", float(null), float(apart[1]), float(apart[2])),)  # fmt: skip
        why = "The maps are constant, so nothing can be said." if passed is None else "" if passed else _FAILED
        found.append(
            Trial(
                *(str(told["lane"]), "mprt", _QUESTION, _CONDITION, float(one.effect), (float(low), float(high))),
                *(beside, one.count, passed, why),
            )
        )
    return found


def agreement_table(findings: Sequence[Finding] | None) -> Table | None:
    """A row per two methods and way of comparing them; None where there are not two."""
    rows: list[tuple[Any, ...]] = []
    for one in findings or ():
        told = one.evidence
        for name in METRICS if one.kind == "agreement" else ():
            if name not in told:
                continue
            blind = told[f"{name}, maps of different items"]
            worst = told.get(f"{name}, worst class"), _triple(told.get(f"{name}, of worst class"))
            tenth = told[f"{name}, worst tenth"]
            rows.append((told["lanes"], name, one.count, _triple(told[name]), blind, tenth, *worst))
    if not rows:
        return None
    heads = (
        *(Column("lanes", "text"), Column("compared by", "text"), Column("items", "count"), Column("mean", "estimate")),
        Column("different items", "number", "the same of maps of different items: what two maps have in common anyhow"),
        Column("worst tenth", "number", "mean of the tenth of items that agree least"),
        *(Column("worst class", "text"), Column("its mean", "estimate")),
    )
    caption = "Two methods on the same items, with 95 % intervals. That they agree does not make them right."
    return Table("agreement", "Agreement between methods", caption, heads, tuple(rows))


def _triple(value: Any) -> tuple[float, float, float] | None:
    """A mean with its bounds."""
    if value is None:
        return None
    mean, low, high = (float(one) for one in np.asarray(value, np.float64))
    return mean, low, high
