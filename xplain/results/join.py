"""Results of some items and of others as one result of all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from xplain.core.caveat import joined as joined_caveats
from xplain.core.cost import Cost
from xplain.core.items import Columns
from xplain.core.keeping.content import fingerprint
from xplain.core.target import Target
from xplain.core.targets.formulas import together
from xplain.results.result import Result

__all__ = ["joined", "joined_calls"]

R = TypeVar("R", bound=Result)


def joined(parts: Sequence[R]) -> R:
    """One result of the items of all parts, in their order: of one kind, method and options.

    Costs are added. Facts of the run are kept where all parts agree on them, facts of items where all parts have them.
    """
    first = parts[0]
    own = {name: _behind([getattr(one, name) for one in parts]) for name in first.per_item()}
    facts = {
        name: fact
        for name, fact in first.facts.items()
        if all(name in one.facts and fingerprint(one.facts[name]) == fingerprint(fact) for one in parts)
    }
    shared = [name for name in first.each if all(name in one.each for one in parts)]
    each = {name: _behind([one.each[name] for one in parts]) for name in shared}
    origin = replace(
        first.provenance,
        cost=sum((one.cost for one in parts), Cost()),
        rows_per_call=joined_calls(*(one.provenance.rows_per_call for one in parts)),
    )
    target = _target([one.explained for one in parts], [len(one) for one in parts])
    warnings = joined_caveats([(one.warnings, len(one)) for one in parts])
    return replace(first, **own, explained=target, provenance=origin, facts=facts, each=each, warnings=warnings)


def _behind(values: Sequence[Any]) -> Any:
    """Entries of items, those of each part behind those of the part before; none where a part has none."""
    first = values[0]
    if isinstance(first, Columns):
        return Columns(first.names, tuple(row for one in values for row in one.values))
    if any(value is None or not len(value) for value in values):
        return () if isinstance(first, tuple) else None
    entries = [entry for value in values for entry in value]
    if isinstance(first, np.ndarray) and len({np.shape(entry) for entry in entries}) == 1:
        return np.stack(entries)
    return tuple(entries) if isinstance(first, tuple) else entries


def _target(targets: Sequence[Target | None], counts: Sequence[int]) -> Target | None:
    """The target of all items, each with its own place where they differ; None where it is not known of all."""
    first = targets[0]
    known = [one for one in targets if one is not None]
    if first is None or len(known) < len(targets):
        return None
    if all(one == first for one in known) and all(term.items is None for _, term in first.terms):
        return first
    if len({tuple(weight for weight, _ in one.terms) for one in known}) > 1:
        return None
    terms = []
    for number, (weight, _) in enumerate(first.terms):
        of = [(one.terms[number][1], count) for one, count in zip(known, counts, strict=True)]
        joined = together([term.of_item(n) for term, count in of for n in range(count)])
        if joined is None:
            return None
        terms.append((weight, joined))
    return Target(tuple(terms))


def joined_calls(*calls: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """Rows per model call, by kind of question, of several runs: each number once."""
    found: dict[str, list[int]] = {}
    for some in calls:
        for kind, rows in some.items():
            told = found.setdefault(kind, [])
            told += [size for size in rows if size not in told]
    return found
