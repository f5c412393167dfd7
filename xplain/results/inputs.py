"""A result of several inputs cut up: one attribution per input, each with its own map, picture or columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.items import Columns
from xplain.core.segments import INPUTS, Segment, picture_of, segments_of, values_of

__all__ = ["cut_up", "given_of"]


def cut_up(whole: Any) -> dict[str, Any]:
    """One attribution per input, by its name; empty for a result of one input.

    A picture's channels, and a token's vector, are collapsed: gradients and relevance are summed over them; where
    players were switched, all of a position show its player's value, and it is taken once.

    Raises:
        UsageError: the result does not say what its rows hold.
    """
    if INPUTS not in whole.facts:
        return {}
    segments = segments_of(whole.facts, int(np.prod(whole.values.shape[1:])))
    repeated = "feature_values" in whole.each or "feature_values" in whole.facts
    rows = whole.values.reshape(len(whole), -1)
    errors = None if whole.error is None else whole.error.reshape(len(whole), -1)
    own = {name for one in segments for name in (picture_of(one.name), values_of(one.name))}
    facts = {name: fact for name, fact in whole.facts.items() if name != INPUTS}
    each = {name: fact for name, fact in whole.each.items() if name not in own}
    found = {}
    for one in segments:
        pictures = whole.each.get(picture_of(one.name))
        found[one.name] = replace(
            whole,
            values=one.map_of(rows, repeated),
            error=None if errors is None else one.map_of(errors, True),
            rows=None,
            columns=_columns(one, whole.each.get(values_of(one.name))),
            pictures=_fitting(one, pictures),
            signals=None,
            facts=facts,
            each=each,
        ).with_provenance(layout=one.letters if one.pictured else "NS" if len(one.places) == 1 else "")
    return found


def _columns(one: Segment, values: Any) -> Columns | None:
    """The numbers of an input as columns with names, where it is a row of them."""
    if len(one.places) != 1:
        return None
    word = "token " if one.looked_up else ""
    names = one.columns or tuple(f"{word}{k}" for k in range(one.places[0]))
    known = isinstance(values, (list, tuple)) and all(len(row) == len(names) for row in values)
    return Columns(names, tuple(tuple(map(str, row)) for row in values) if known else ())


def _fitting(one: Segment, pictures: Any) -> Array | None:
    """The pictures that were given, where they are as large as the map."""
    sound = isinstance(pictures, np.ndarray) and pictures.dtype == np.uint8 and pictures.ndim == 4
    return pictures if sound and pictures.shape[1:] == (*one.places, 3) else None


def given_of(whole: Any) -> frozenset[str]:
    """Names of those facts that say what was given of each of several inputs, and are shown as pictures and bars."""
    if INPUTS not in whole.facts:
        return frozenset()
    segments = segments_of(whole.facts, int(np.prod(whole.values.shape[1:])))
    return frozenset({INPUTS, *(name for one in segments for name in (picture_of(one.name), values_of(one.name)))})
