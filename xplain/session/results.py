"""What a method read, as a result: with its unit, target, scores, cost and everything needed to repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.declaring.registry import Method
from xplain.core.edits import Array
from xplain.core.errors import NonFinite
from xplain.core.items import Items
from xplain.core.positions.layout import Layout
from xplain.core.query import Model, Reading
from xplain.core.target import Target
from xplain.core.targets.units import noun, spelled, unlinked
from xplain.core.versions import versions
from xplain.results.attribution import Attribution
from xplain.results.provenance import Provenance
from xplain.session.items import digests_of
from xplain.session.part import Part

__all__ = ["Asked", "attribution", "provenance", "words_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What a method was asked and has read, before it is told.

    Args:
        method: The method, all its options with the values used, and what must be known of them.
        readings: What it read, one per target.
        cost: What that took.
        calls: Rows per model call, by kind of question.
    """

    method: tuple[Method, Mapping[str, Any], tuple[Caveat, ...]]
    readings: list[Reading]
    cost: Cost
    calls: Mapping[str, list[int]]


def attribution(
    entry: Method,
    options: Mapping[str, Any],
    part: Part,
    which: int,
    reading: Reading,
    *,
    way: Mapping[str, Any],
    told: tuple[Caveat, ...],
    **run: Any,
) -> Attribution:
    """The result of one method for one target of a part.

    Args:
        entry: The method.
        options: Its options, all of them, with the values used.
        part: The items, with their targets and scores.
        which: The place of the target among those of the part.
        reading: What the method returned.
        way: Facts on how the model was asked.
        told: What must be known of the options.
        run: ``cost``, ``seed`` and ``rows_per_call``.

    Raises:
        NonFinite: the method produced values that are not finite.
    """
    items, outline, one = part.items, part.model.outline, part.aims[which]
    values = np.asarray(reading.values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise NonFinite(f"Method {entry.name!r} produced values that are not finite on {outline.source}.")
    told = (*told, *unlinked(outline, part.scores))
    return Attribution(
        values=values,
        error=None if reading.error is None else np.asarray(reading.error, dtype=np.float32),
        base=None if reading.base is None else np.asarray(reading.base, dtype=np.float64).reshape(len(values)),
        unit=spelled(reading.unit or entry.unit, noun(outline, one.target, part.scores)),
        labels=one.labels,
        targets=words_of(one.target, len(values)),
        explained=one.target,
        names=items.names,
        digests=digests_of(items),
        scores=part.base[which],
        signed=entry.signed if reading.signed is None else reading.signed,
        resolution=reading.resolution,
        warnings=(*outline.warnings, *_of_scores(part.model), *items.warnings, *told, *reading.warnings),
        facts={**items.facts, **reading.notes, **way},
        each={**items.each, **reading.each},
        pictures=items.pictures,
        rows=items.x.astype(np.float64) if _are_rows(items, values) else None,
        columns=items.columns,
        texts=items.texts,
        signals=np.asarray(items.x, np.float32) if _are_signals(items) else None,
        coordinates=items.coordinates,
        provenance=provenance(part, entry.name, options, **run),
    )


def provenance(part: Part, method: str, options: Mapping[str, Any], **run: Any) -> Provenance:
    """Where a result of a part comes from; ``run``: cost, seed and rows per call."""
    items, outline = part.items, part.model.outline
    return Provenance(
        method=method,
        options=dict(options),
        model=outline.digest,
        source=outline.called,
        card="" if items.card is None else items.card.to_toml(labels=False),
        layout=str(items.layout) if isinstance(items.layout, Layout) else "",
        versions=versions(),
        **run,
    )


def words_of(target: Target, count: int) -> tuple[str, ...]:
    """What is explained of each item, in words."""
    own = any(term.items is not None for _, term in target.terms)
    return tuple(target.of_item(n).name for n in range(count)) if own else (target.name,) * count


def _are_rows(items: Items, values: Array) -> bool:
    """Whether each item is a row of numbers, one for each value; the codes of words are none."""
    return items.x.ndim == 2 and items.x.shape == values.shape and items.x.dtype.kind in "fiub" and not items.texts


_MOST_KEPT = 64 * 2**20
"""Bytes of an item that a result keeps for drawing."""


def _are_signals(items: Items) -> bool:
    """Whether items are kept to be drawn: series with channels, volumes and video; a plain series is kept as a row."""
    layout = items.layout
    if not isinstance(layout, Layout) or items.pictures is not None or items.texts or items.columns is not None:
        return False
    drawn = ("T" in layout.axes and layout.channel_axis is not None) or layout.is_volume
    return drawn and items.x.dtype.kind in "fiub" and items.x[:1].size * 4 <= _MOST_KEPT


def _of_scores(model: Model) -> tuple[Caveat, ...]:
    if model.outline.scores.kind != "decisions":
        return ()
    return (
        Caveat("The model only decides: values say how often hiding changes its decision, not by how much.", "units"),
    )
