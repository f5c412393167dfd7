"""Two lanes on the same items: twins of two models, and methods that contradict one another about one."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from xplain.analyses.enough import drawn
from xplain.analyses.shares import pooled
from xplain.analyses.twins import contradictions, rank_correlation, twins, unrelated
from xplain.audit.findings.kinds import columns, is_texts, mapped, planes, sealed
from xplain.audit.findings.leaning import named
from xplain.audit.opening import Audit
from xplain.audit.plans.classes import pairs_of
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.finding import Finding
from xplain.core.lane import Lane

__all__ = ["twinned"]

_Maps: TypeAlias = "tuple[Array, Array, Array]"
"""Items, the rank correlation of their two maps, and that of maps of different items."""

_TEXTS = 10_000
"""Texts that are read again to know which of a map's numbers are their own."""
_FEATURES = 4
"""Features of a text below which ranks of its maps say nothing."""


def twinned(audit: Audit, kind: str) -> list[Finding]:
    """Pairs of lanes: of two models by one method (``twins``), or of one model by two methods (``triage``)."""
    over, found = mapped(audit), []
    for k, one in enumerate(audit.lanes):
        for other in audit.lanes[k + 1 :]:
            asked = (one.method, dict(one.options)) == (other.method, dict(other.options))
            same = {"twins": asked and one.model != other.model, "triage": one.model == other.model and not asked}
            if not same[kind] or one.target != other.target:
                continue
            texts = is_texts(audit, one) and is_texts(audit, other)
            if not texts and not (one in over and other in over):
                continue
            maps = (_of_texts if texts else _of_maps)(audit, one, other)
            if texts and not len(maps[0]):
                found.append(_not_compared(kind, one, other))
                continue
            found += named((_twins if kind == "twins" else _triage)(audit, one, other, maps), one)
    return found


def _triage(audit: Audit, one: Lane, other: Lane, maps: _Maps) -> list[Finding]:
    items, rho, chance = maps
    return contradictions(rho, chance, names=(one.name, other.name), items=items, seed=audit.plan.seed)


def _twins(audit: Audit, one: Lane, other: Lane, maps: _Maps) -> list[Finding]:
    items, rho, chance = maps
    answers = _answers(audit, one, other)
    if answers is None:
        return [_unlike(one, other)]
    shared, first, second = answers
    numbers, rows, place = np.intersect1d(shared, items, return_indices=True)
    how: dict[str, Any] = {"names": (one.model, other.model), "items": numbers, "chance": chance}
    return twins(rho[place], (first[rows], second[rows]), groups=first[rows].tolist(), seed=audit.plan.seed, **how)


def _answers(audit: Audit, one: Lane, other: Lane) -> tuple[Array, Array, Array] | None:
    """Items that both explained, and what each answers, in the first one's names; None where no class is comparable."""
    first, second = (columns(audit, "item, predicted, predicted_name", lane) for lane in (one, other))
    shared, a, b = np.intersect1d(first["item"], second["item"], return_indices=True)
    pairs = pairs_of(audit.plan.model(one.model), audit.plan.model(other.model))
    answers = second["predicted_name"][b]
    if pairs == {}:
        return None
    if pairs is not None:  # the other model's class by this one's name
        own = {theirs: audit.plan.model(one.model).class_name(ours) for ours, theirs in pairs.items()}
        answers = np.array([own.get(int(k)) for k in second["predicted"][b]], object)
    return shared, first["predicted_name"][a], answers


def _unlike(one: Lane, other: Lane) -> Finding:
    """What is said of models of which no class is known to be the same."""
    text = (
        f"{one.model} and {other.model} name their classes otherwise, and have other numbers of them, so it is not "
        "known which answers are the same: twins were not compared."
    )
    return Finding("twins", "", text, "too few", limits=("Nothing is known of it.",))


def _not_compared(kind: str, one: Lane, other: Lane) -> Finding:
    text = f"{one.model} and {other.model} cut no text into the same features, so {kind} was not made."
    return Finding(kind, "", text, "too few", limits=("Nothing is known of it.",))


def _of_maps(audit: Audit, one: Lane, other: Lane) -> _Maps:
    """Items, the rank correlation of both lanes' maps, and that of maps of different items, a shard at a time."""
    items, rho, chance = [], [], []
    for some in sealed(audit):
        a, b = (np.asarray(planes(lane, audit.maps(lane.name, some)), np.float64) for lane in (one, other))
        if a.shape != b.shape:
            if one.is_series and a.shape[1] != b.shape[1]:  # one has values for each channel, the other one for all
                a, b = (side.sum(axis=1, keepdims=True) for side in (a, b))
            cells = (min(a.shape[1], b.shape[1]), min(a.shape[2], b.shape[2]))
            a, b = pooled(a, cells), pooled(b, cells)
        items.append(some)
        rho.append(rank_correlation(a, b))
        chance.append(unrelated(a, b, audit.plan.seed) if len(a) > 1 else np.zeros(0))
    return np.concatenate(items), np.concatenate(rho), np.concatenate(chance)


def _of_texts(audit: Audit, one: Lane, other: Lane) -> _Maps:
    """The same of texts that the seed draws, feature by feature; by chance: maps of texts with as many features.

    A text that both do not cut alike, as two tokenizers may, is left out.
    """
    every = np.concatenate([np.zeros(0, np.int64), *sealed(audit)])
    some = every[drawn(np.zeros(len(every)), _TEXTS, audit.plan.seed)]
    extents = np.array([_shared(audit, int(n), one, other) for n in some], np.int64)
    some, extents = some[extents > 0], extents[extents > 0]
    rho, chance = np.full(len(some), np.nan), []
    for extent in np.unique(extents[extents >= _FEATURES]):
        rows = np.flatnonzero(extents == extent)
        a, b = (np.asarray(audit.maps(lane.name, some[rows])[:, :extent], np.float64) for lane in (one, other))
        rho[rows] = rank_correlation(a, b)
        if len(rows) > 1:
            chance.append(unrelated(a, b, audit.plan.seed))
    return some, rho, np.concatenate([np.zeros(0), *chance])


def _shared(audit: Audit, item: int, one: Lane, other: Lane) -> int:
    """Features of a text that both models cut alike; 0 where they do not, or the text is not read any more."""
    try:
        spans = audit.passage(item, one.model).spans
        return len(spans) if spans == audit.passage(item, other.model).spans else 0
    except XplainError:  # an error row too: verify says which
        return 0
