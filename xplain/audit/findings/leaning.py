"""On what classes lean: border and corners of pictures, ends and channels of series, columns of rows, words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xplain.analyses.enough import drawn
from xplain.analyses.inside import inside_own
from xplain.analyses.mass import REGIONS, mass_on
from xplain.analyses.shares import pooled, shares
from xplain.audit.findings.kinds import columns, is_rows, pictured, planes, timed
from xplain.audit.opening import Audit
from xplain.audit.reports.readers import Reads
from xplain.audit.shards.figures import inner
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.finding import Finding
from xplain.core.lane import Lane

__all__ = ["leaning", "named", "worded"]

_TEXTS, _WORDS = 2000, 40
"""Texts that are read again for their words, and words that are looked at, those with most of the mass first."""
_MASKED = 1000
"""Items whose maps are held against the masks of all of them."""
_CHANNELS = 40
"""Channels that are looked at, those with most of the mass first."""
_LIMITS = (
    "A small p-value says that the class differs from the others, not that it is wrong: it may be what it is about.",
    "Mass is where the explanation lies, not what the model would do without it: change it and ask again.",
)


def named(found: list[Finding], lane: Lane) -> list[Finding]:
    """Findings with the lane that they are about."""
    return [replace(one, evidence={**one.evidence, "lane": lane.name}) for one in found]


def leaning(audit: Audit) -> list[Finding]:
    """Attribution on border and corners, on ends and channels, on columns, on words: by predicted class."""
    found = []
    for lane in audit.lanes:
        if audit.plan.model(lane.model).door:
            found += named(_on_columns(audit, lane) if is_rows(audit, lane) else _on_words(audit, lane), lane)
    for lane in pictured(audit):
        told = columns(audit, "item, predicted_name, border, corner0, corner1, corner2, corner3", lane)
        places = {name: told[k] for name, k in zip(REGIONS, ("border", *(f"corner{n}" for n in range(4))), strict=True)}
        made = mass_on(places, told["predicted_name"].tolist(), items=told["item"], seed=audit.plan.seed)
        found += named(made, lane)
        found += named(_inside(audit, lane), lane)
    for lane in timed(audit):
        found += named(_on_ends(audit, lane), lane)
    return found


def _inside(audit: Audit, lane: Lane) -> list[Finding]:
    """Mass inside what is known to be in each item, beside the masks of other items; nothing without a truth."""
    truth = audit.truth
    if truth is None:
        return []
    told = columns(audit, "item, predicted_name, target", lane)
    known = np.isin(told["item"], truth.facts.sample)
    told = {name: values[known] for name, values in told.items()}
    some = drawn(np.zeros(len(told["item"])), _MASKED, audit.plan.seed)
    model, kept, masks = audit.plan.model(lane.model), [], []
    for row in some.tolist():
        target = told["target"][row]
        mask = truth.mask(int(told["item"][row]), model, -1 if target is None or target != target else int(target))
        if mask is not None and mask.any():
            kept.append(row)
            masks.append(pooled(mask[None], (lane.native_shape[0], lane.native_shape[1]))[0])
    if not kept:
        return []
    items, groups = told["item"][kept], told["predicted_name"][kept].tolist()
    return inside_own(audit.maps(lane.name, items), np.stack(masks), groups, items=items, seed=audit.plan.seed)


def _on_ends(audit: Audit, lane: Lane) -> list[Finding]:
    """The share of each series' magnitude on its first and last eighth and on each channel, by predicted class."""
    told = columns(audit, "item, predicted_name", lane)
    rows: list[Array] = []
    numbers: list[Array] = []
    for items, maps in audit.batches(lane.name):
        mass = np.abs(planes(lane, maps).astype(np.float64))
        with np.errstate(invalid="ignore", divide="ignore"):
            mass /= mass.sum(axis=(1, 2), keepdims=True)
        line = mass.sum(axis=1)
        half = line.shape[1] // 2
        outer = line * (1 - inner(line.shape[1]))
        ends = [outer[:, :half].sum(axis=1), outer[:, half:].sum(axis=1)]
        rows.append(np.concatenate([np.stack(ends, axis=1), mass.sum(axis=2)], axis=1))
        numbers.append(items)
    if not len(told["item"]):
        return []
    held, every = np.concatenate(rows), np.concatenate(numbers)
    held = held[np.searchsorted(every, told["item"])]
    places = {"first eighth of the time": held[:, 0], "last eighth of the time": held[:, 1]}
    if held.shape[1] > 3:  # more than one channel has values of its own
        names = audit.plan.model(lane.model).axes.names(held.shape[1] - 2)
        most = np.argsort(-np.nansum(held[:, 2:], axis=0), kind="stable")[:_CHANNELS]
        places |= {_channel(names[k]): held[:, 2 + k] for k in most}
    made = mass_on(places, told["predicted_name"].tolist(), items=told["item"], seed=audit.plan.seed)
    return [replace(one, limits=_LIMITS) if one.standing == "candidate" else one for one in made]


def _channel(name: str) -> str:
    return name if name.startswith("channel ") else f"channel {name}"


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
