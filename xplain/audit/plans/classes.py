"""Which class of one model is which of another: two models need not number, or name, their classes alike."""

from __future__ import annotations

from collections.abc import Mapping

from xplain.audit.plans.plan import ModelFacts, Plan
from xplain.core.class_names import class_pairs
from xplain.core.lane import Lane

__all__ = ["pairs_of", "same_answer", "same_class"]


def pairs_of(one: ModelFacts, other: ModelFacts) -> dict[int, int] | None:
    """A class of one model to the same class of another; None where they have the same numbers.

    Models whose classes have no names are taken at their numbers where they have equally many.
    """
    counts = [int(facts.scores.get("classes") or len(facts.classes)) for facts in (one, other)]
    if one.classes == other.classes and counts[0] == counts[1]:
        return None
    if one.classes and other.classes:
        return class_pairs(one.classes, other.classes)
    return None if counts[0] == counts[1] else {}


def same_answer(plan: Plan, one: Lane | str, other: Lane | str, names: tuple[str, str] = ("a", "b")) -> str:
    """An SQL expression for whether two lanes answer an item with the same class; NULL where no class is comparable.

    Args:
        plan: The plan.
        one: A lane, or its name.
        other: Another.
        names: What their rows are called in the query.
    """
    first, second = (plan.lane(lane) if isinstance(lane, str) else lane for lane in (one, other))
    pairs = pairs_of(plan.model(first.model), plan.model(second.model))
    return same_class(pairs, f"{names[0]}.predicted", f"{names[1]}.predicted")


def same_class(pairs: Mapping[int, int] | None, one: str, other: str) -> str:
    """An SQL expression for whether two columns hold the same class; NULL where no class is comparable.

    Args:
        pairs: As ``pairs_of`` says.
        one: A column of classes of the one model.
        other: One of the other's.
    """
    if pairs is None:
        return f"({one} = {other})"
    if not pairs:
        return "(null::boolean)"
    listed = ", ".join(f"({a}, {b})" for a, b in pairs.items())
    return f"(({one}, {other}) in (select * from (values {listed})))"
