"""A lead: what an analysis names as a possible shortcut, and how a tried one is told to a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.analyses.enough import percent
from xplain.core.edits import Array
from xplain.core.finding import Finding, Standing
from xplain.session.shortcuts.pasting import Trial

__all__ = ["Lead", "told", "whereabouts"]

_LEANS = {
    "scan": "Explanations of {name} lie {where} more than those of other classes do.",
    "again": "What explanations of {name} point at looks alike in {count} {items}, wherever it lies.",
    "channel": "One of the model's channels parts {items} of {name} in two: {count} lean on it.",
    "clusters": "{count} {items} of {name} have explanations like one another, and unlike those of other classes.",
}
_LIMITS = (
    "It says that the model uses what lies there, not that it must not: only a person can tell a mark from {object}.",
    "A shortcut that no {item} lacks, or one that covers a whole {item}, is not told from the class by pasting.",
    "A pasted {patch} has edges, which a model may see; the controls have the same edges.",
)
_PICTURES = {"items": "pictures", "item": "picture", "patch": "rectangle", "object": "the object"}
_SERIES = {"items": "series", "item": "series", "patch": "stretch of time", "object": "what the class is about"}


@dataclass(frozen=True, slots=True, eq=False)
class Lead:
    """What an analysis names as a possible shortcut of a class.

    Args:
        kind: ``scan``, ``again``, ``channel`` or ``clusters``.
        target: The class.
        rows: Rows of the part that it names, best first.
        rest: Rows of the class that it names least.
        box: (y0, x0, y1, x1) in positions, where it names one place; None where each row's own peak is meant.
        p: Of the statistic, not corrected for the number of classes; None where it has none.
        evidence: What the analysis measured.
    """

    kind: str
    target: int
    rows: Array
    rest: Array
    box: Array | None = None
    p: float | None = None
    evidence: dict[str, Any] = field(default_factory=dict)


def whereabouts(box: Array, plane: tuple[int, int]) -> str:
    """A box in words: ``at the lower left``, ``in the middle``; of a series ``between 10 and 22 % of the time``."""
    if plane[0] == 1:
        return f"between {100 * box[1] / plane[1]:.0f} and {100 * box[3] / plane[1]:.0f} % of the time"
    middle = [(box[k] + box[k + 2]) / 2 / plane[k] for k in (0, 1)]
    down = "upper" if middle[0] < 0.4 else "lower" if middle[0] > 0.6 else ""
    across = "left" if middle[1] < 0.4 else "right" if middle[1] > 0.6 else ""
    if down and across:
        return f"at the {down} {across}"
    return f"at the {down or across} edge" if down or across else "in the middle"


def told(lead: Lead, trial: Trial, p: float, trials: int, names: Sequence[str], plane: tuple[int, int]) -> Finding:
    """The finding of a tried lead; its members are rows of the part.

    Args:
        lead: The lead.
        trial: What pasting it did.
        p: The trial's, corrected.
        trials: How many were made.
        names: Names of the classes.
        plane: Height and width of the pictures.
    """
    name = names[lead.target] if len(names) else str(lead.target)
    standing: Standing = trial.verdict(p, lead.box is not None)
    where = "" if lead.box is None else whereabouts(lead.box, plane)
    words = _PICTURES if plane[0] > 1 else _SERIES
    text = _LEANS[lead.kind].format(name=name, where=where, count=len(lead.rows), **words)
    turned = percent(trial.turned["flagged"])
    best = percent(trial.turned[trial.control])
    text += f" Pasted into {words['items']} of other classes, it turns {turned} of them into {name}; "
    text += f"the strongest control ({_CONTROLS[trial.control].format(**words)}) turns {best}. "
    text += _ENDS[standing].format(**words)
    limits = [one.format(**words) for one in _LIMITS]
    if standing == "candidate" and lead.box is None:
        chosen = f"its {words['items']} were chosen by what they show, as honest ones would be."
        limits.append(f"Pasting cannot confirm it: {chosen}")
    evidence = {
        **lead.evidence,
        **{f"way, {arm}": float(np.mean(way)) for arm, way in trial.way.items()},
        **{f"turned, {arm}": share for arm, share in trial.turned.items()},
        **{f"change of score, {arm}": rise for arm, rise in trial.change.items()},
        "control": trial.control,
        "p of the lead": lead.p,
        "trials": trials,
        "pasted": trial.pasted,
    }
    if lead.box is not None:
        evidence["box"] = np.asarray(lead.box) / np.array([*plane, *plane])
    return Finding(
        *(lead.kind, name, text, standing, trial.contrast, _UNIT, trial.interval, p, len(lead.rows), lead.rows[:24]),
        evidence=evidence,
        limits=tuple(limits),
    )


_UNIT = "share of the way to the class, above the strongest control"
_CONTROLS = {
    "unflagged": "the same place of other {items} of the class",
    "strongest of the rest": "what other {items} of the class lean on most",
    "others": "{items} of other classes",
    "elsewhere": "another place of the same {items}",
}
_ENDS = {
    "confirmed": "So the model takes it for the class: look at it.",
    "candidate": "Whether that is a mark or {object}, a person must say.",
    "refuted": "So it is no more than what the class shows elsewhere.",
}
