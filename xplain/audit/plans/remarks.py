"""What must be known of a plan before it is run: labels that no model knows, items that cannot be read, and more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from xplain.audit.plans.failing import said_of, tried
from xplain.audit.plans.items import Listed
from xplain.audit.plans.models import Given
from xplain.audit.plans.plan import ModelFacts, Plan
from xplain.audit.plans.trial import Trial
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted

__all__ = ["remarks"]


class Settled(Protocol):
    """What was found of a model."""

    @property
    def given(self) -> Given:
        """As it was named."""

    @property
    def facts(self) -> ModelFacts:
        """As the plan has it."""

    @property
    def trial(self) -> Trial:
        """How its trial went."""

    @property
    def left(self) -> Mapping[str, str]:
        """Metrics that cannot be asked of such items, and why."""

    @property
    def doubtful(self) -> Mapping[str, tuple[int, ...]]:
        """Labels that stand for several classes, and for which."""


def remarks(listed: Listed, made: Plan, settled: Sequence[Settled]) -> list[str]:
    """Sentences.

    Args:
        listed: What was found of the items.
        made: The plan.
        settled: What was found of each model.

    Raises:
        UsageError: labels are to be explained, and there is none.
    """
    found = []
    for count, why in ((listed.unreadable, "cannot be read"), (listed.empty, "without a byte")):
        if count:
            found.append(f"{counted(count, 'item')} {why}: error rows, when it is run.")
    for one in settled:
        facts = one.facts
        found += _ambiguous(facts, one.doubtful)
        if facts.columns:
            found.append(
                f"Model {facts.name} is given the columns {', '.join(facts.columns)[:300]}; a hidden one becomes what "
                f"is typical of {counted(len(next(iter(facts.door['reference'].values()))), 'reference row')}, which "
                "stand in the plan."
            )
        for metric, why in one.left.items():
            if metric not in made.grading.names:
                found.append(f"Metric {metric} is left out, for it cannot be asked of these items: {why}")
        unknown = {label: count for label, count in facts.unknown.items() if label not in one.doubtful}
        if unknown:
            some = ", ".join(f"{label!r} ({count:,})" for label, count in list(unknown.items())[:5])
            which = f"{counted(len(unknown), 'label')} of {counted(sum(unknown.values()), 'item')}"
            found.append(
                f"Model {facts.name} does not know {which}, such as {some}: they are kept, and say nothing of whether "
                "it is right."
            )
        if not facts.sha256:
            found.append(f"Model {facts.name} has no digest, so nothing holds a later run to the same one.")
        if one.trial.failed:
            share = f"{one.trial.failed:,} ({one.trial.failed / one.trial.looked:.0%})"
            found.append(
                f"Of {tried(one.trial, listed.count)} model {facts.name} cannot take {share}: error rows, when "
                f"it is run. The first: {said_of(one.trial.wrong)}."
            )
        if not one.given.where:
            found.append(f"Model {facts.name} was given as an object: a run must be given it again.")
    bare = listed.count - sum(listed.labels.values())
    if made.items.labels and bare:
        which = "no item has one" if bare == listed.count else f"{bare:,} of {counted(listed.count, 'item')} have none"
        found.append(
            f"Labels come from {made.items.labels}, and {which}: whether an answer to them is right is not said."
        )
    alone = [label for label, count in listed.labels.items() if count == 1]
    if alone:
        few = f"{counted(len(alone), 'label')} of one item alone, such as {alone[0]!r}"
        found.append(f"{few}: nothing can be said of such a class.")
    if not listed.labels and any(lane.target == "label" for lane in made.lanes):
        raise UsageError("No item has a label, and the label's class is to be explained", option="labels")
    return found


def _ambiguous(facts: ModelFacts, doubtful: Mapping[str, tuple[int, ...]]) -> list[str]:
    """What is said of names that several classes have, once: of the classes, and of labels that such a name is."""
    found = []
    if facts.twice:
        name, classes = next(iter(facts.twice.items()))
        more = f" and {len(facts.twice) - 1} more" if len(facts.twice) > 1 else ""
        found.append(
            f"Model {facts.name} has several classes of one name: {name!r} is class {_or(classes)}{more}. They are "
            f"told apart by their numbers, as '{facts.names[classes[0]]}'."
        )
    for label, classes in list(doubtful.items())[:3]:
        found.append(
            f"Label {label!r} of {counted(facts.unknown[label], 'item')} may be class {_or(classes)} of model "
            f"{facts.name}, so nothing is said of whether it is right there. Label them by the class's number."
        )
    return found


def _or(classes: tuple[int, ...]) -> str:
    return f"{', '.join(map(str, classes[:-1]))} or {classes[-1]}"
