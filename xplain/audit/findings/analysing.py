"""``xplain.audit.analyse``: the analyses of an audit, by name, and what they found kept under its root."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from xplain.audit.findings.agreeing import twinned
from xplain.audit.findings.agreement import agreed
from xplain.audit.findings.asking_models import Asks
from xplain.audit.findings.copied import duplicated
from xplain.audit.findings.finding_store import keep, kept
from xplain.audit.findings.leaning import leaning
from xplain.audit.findings.questions import drifts, grouped_maps, parts
from xplain.audit.findings.redrawing import redrawn
from xplain.audit.opening import Audit, open_audit
from xplain.audit.plans.plan import ANALYSES
from xplain.core.errors import BudgetError, UsageError, unknown
from xplain.core.finding import Finding

__all__ = ["analyse"]


def analyse(
    out: str | os.PathLike[str],
    which: str | Sequence[str] = "planned",
    *,
    models: Mapping[str, Any] | None = None,
    items: Any = None,
    max_queries: int | None = None,
) -> list[Finding]:
    """Ask of an audit whether its models are right for the right reasons.

    Most analyses read records and maps alone. ``shortcuts``, ``randomisation``, ``labels`` and a planted control ask
    the models again, of items that the plan's seed draws. What the planned ones found is kept in
    ``findings/<root>.json`` and read from there the next time; an audit that has grown since has another root, and is
    analysed anew.

    Args:
        out: The audit's folder.
        which: ``"planned"``: those of the plan; ``"all"``; or names, with commas between or in a list: ``shortcuts``,
            ``mass``, ``clusters``, ``drift``, ``twins``, ``triage``, ``agreement``, ``randomisation``, ``duplicates``,
            ``subgroups``, ``labels``.
        models: Name to another place of a model, or to the object itself, where it was given as one.
        items: Another place of the same items, where they were moved.
        max_queries: Evaluations that may be spent; None for no limit. Where it is reached, the analyses that ask say
            so, and the others are told.

    Returns:
        The findings of each analysis in the order above; ``too few`` where there are not enough items to say anything.

    Raises:
        UsageError: no audit is there, nothing of it is sealed, or there is no such analysis.
    """
    several = which.split(",") if isinstance(which, str) else which
    if not isinstance(several, Sequence) or not all(isinstance(one, str) for one in several):
        raise UsageError(option="which", got=which, accepted=f"planned, all, {', '.join(ANALYSES)}")
    asked = [one.strip() for one in several if one.strip()]
    for name in asked:
        if name not in (*ANALYSES, "planned", "all"):
            raise unknown("analysis", name, ["planned", "all", *ANALYSES])
    with open_audit(out, items) as audit:
        meant = audit.plan.analyses
        planned = [*ANALYSES] if "standard" in meant else [name for name in ANALYSES if name in meant]
        names = [*ANALYSES] if "all" in asked else planned if "planned" in asked else asked
        if not audit.seals:
            raise UsageError("Nothing of this audit is sealed yet, so there is nothing to analyse. Run it first.")
        if names == planned:
            with suppress(UsageError):  # damaged: looked for again, and written anew
                found = kept(audit.folder, audit.root)
                if found is not None:
                    return found
        found = []
        with Asks(audit, models, max_queries) as asks:
            for name in names:
                found += _one(name, audit, asks)
        if names == planned and not any(one.evidence.get("not made") for one in found):
            keep(audit.folder, audit.root, found)
    return found


def _one(name: str, audit: Audit, asks: Asks) -> list[Finding]:
    """An analysis; one that reached the limit of evaluations says so, and stops no other."""
    try:
        return [_of_model(replace(one, kind=one.kind or name), audit) for one in _MADE_BY[name](audit, asks)]
    except BudgetError as error:
        text = f"The analysis {name} was not made: {error}"
        limits = ("It was not looked, so nothing is known of it.",)
        return [Finding(name, "", text, "too few", evidence={"not made": True}, limits=limits)]


def _of_model(one: Finding, audit: Audit) -> Finding:
    """A finding whose sentence says of which model and method it speaks, where there are several."""
    lane = next((lane for lane in audit.lanes if lane.name == one.evidence.get("lane")), None)
    if lane is None or lane.name in one.statement:
        return one
    said = [lane.model] if len(audit.plan.models) > 1 and lane.model not in one.statement else []
    methods = {other.method for other in audit.lanes if other.model == lane.model}
    told = len(methods) > 1 and one.kind in _OF_MAPS and one.standing != "too few"
    said += [lane.method] if told else []
    return replace(one, statement=f"{', '.join(said)}: {one.statement}") if said else one


_OF_MAPS = ("mass", "inside", "clusters", "scan", "again", "channel", "control", "twins")
"""Findings that speak of one method's explanations; others speak of answers alone, or of all maps at once."""


_MADE_BY: Mapping[str, Callable[[Audit, Asks], list[Finding]]] = {
    "shortcuts": lambda audit, asks: asks.shortcuts(),
    "mass": lambda audit, asks: leaning(audit),
    "clusters": lambda audit, asks: grouped_maps(audit),
    "drift": lambda audit, asks: drifts(audit),
    "twins": lambda audit, asks: twinned(audit, "twins"),
    "triage": lambda audit, asks: twinned(audit, "triage"),
    "agreement": lambda audit, asks: agreed(audit),
    "randomisation": lambda audit, asks: redrawn(asks),
    "duplicates": lambda audit, asks: duplicated(audit),
    "subgroups": lambda audit, asks: parts(audit),
    "labels": lambda audit, asks: asks.labels(),
}
"""What makes each of ``ANALYSES``."""
