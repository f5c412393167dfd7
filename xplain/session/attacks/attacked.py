"""From a finished attack to its result: a plain run of what was found, its sizes, and what the explanation did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.cost import Cost
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline
from xplain.core.query import Flow, Reading, Score
from xplain.core.synthesis.attack import NORMS, Board, Goal, Norm
from xplain.core.synthesis.space import Space
from xplain.core.target import every_score
from xplain.core.targets.target_parser import ranking
from xplain.core.targets.units import confidence
from xplain.engine.memo import Memo
from xplain.explainers.attacks.balls import size_of
from xplain.results.attack import Attack
from xplain.session.attacks.moving import moved
from xplain.session.items import digests_of
from xplain.session.part import Part
from xplain.session.results import provenance
from xplain.session.run import Session

__all__ = ["Allowed", "Case", "Origin", "attacked"]

_ATTACKED = "the picture as the model sees it, after resize and crop"


@dataclass(frozen=True, slots=True)
class Allowed:
    """How far an attack may go, and what it is after.

    Args:
        norm: How changes are measured; None for the attack's usual one.
        epsilons: Sizes to try; empty for the usual one.
        target: The class to reach, as ``xplain.explain`` takes it; None: any other than the one that is said.
        low: Smallest value that an item which is no picture may have; None for no limit.
        high: Largest.
    """

    norm: Norm | None = None
    epsilons: tuple[float, ...] = ()
    target: Any = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, norm: str | None, epsilon: Any, target: Any, low: float | None, high: float | None) -> Allowed:
        """The same from what a person gives.

        Raises:
            UsageError: a norm or a size that is none.
        """
        if norm is not None and norm not in NORMS:
            raise UsageError(option="norm", got=norm, accepted=", ".join(NORMS))
        given = [] if epsilon is None else epsilon.split(",") if isinstance(epsilon, str) else epsilon
        many = given if isinstance(given, (list, tuple, np.ndarray)) else [given]
        if low is not None and high is not None and not low < high:
            raise UsageError(option="low", got=low, accepted=f"a number below high, {high}")
        return cls(norm, tuple(_size(one) for one in many), target, low, high)


def _size(given: Any) -> float:
    """A size: a number above 0, or a text such as ``2/255``."""
    above, slash, below = str(given).partition("/")
    try:
        if isinstance(given, (bool, np.bool_)):
            raise ValueError
        found = float(above) / (float(below) if slash else 1.0)
    except (ValueError, ZeroDivisionError):
        found = np.nan
    if not 0 < found < np.inf:
        raise UsageError(option="epsilon", got=given, accepted="a size above 0, such as 0.5 or '2/255', or several")
    return found


@dataclass(frozen=True, slots=True)
class Origin:
    """What a result says of how it was asked for.

    Args:
        kind: Name of the attack.
        options: Its options, all of them.
        norm: How changes were measured.
        target: The class that was to be reached, as a person gave it.
    """

    kind: str
    options: Mapping[str, Any]
    norm: Norm | None
    target: Any


@dataclass(slots=True, eq=False)
class Case:
    """The items of a part under attack.

    Args:
        part: The items.
        space: The values that they may have.
        values: Their values.
        scores: What the model says of them, ``[N, K]``.
        goal: What counts as a success.
        epsilons: Sizes that are tried, the smallest first.
        boards: What was found, batch after batch.
        spent: What it cost so far.
        interrupted: Whether a person ended it.
    """

    part: Part
    space: Space
    values: Array
    scores: Array
    goal: Goal
    epsilons: tuple[float, ...]
    boards: list[Board]
    spent: Cost
    interrupted: bool = False

    @property
    def reached(self) -> Array:
        """Items that are of the class to be reached from the start, bool ``[N]``: there is nothing to attack."""
        said = ranking(self.scores, self.part.model.outline)[:, 0]
        return np.asarray(self.goal.targeted & (said == self.goal.labels))

    def known(self) -> int:
        """Items whose boards are there."""
        return sum(len(one.margin) for one in self.boards)


def attacked(session: Session, origin: Origin, case: Case, board: Board) -> Attack:
    """The result: what a plain run of the model says of what was found, its sizes, and what the maps did."""
    space, outline = case.space, case.part.model.outline
    now, cost, calls = _plain_run(session, case, board.values)
    started, before = case.values, case.scores
    if board.origin is not None:
        started = board.origin
        before, more, _ = _plain_run(session, case, started)
        cost += more
    was, became = (ranking(one, outline)[:, 0] for one in (before, now))
    margin = case.goal.margin(now)
    sizes = np.stack([size_of(board.values - started, norm, space.layout) for norm in NORMS], axis=1)
    sizes /= np.array([1.0 if norm == "l0" else space.unit for norm in NORMS])
    own = sizes[:, NORMS.index(origin.norm)] if origin.norm else np.zeros(len(sizes))
    won = (margin > 0) & ~(case.reached if board.origin is None else np.zeros(len(margin), bool))
    success = [won & (own <= epsilon * (1 + 1e-6) + 1e-9) for epsilon in case.epsilons]
    each: dict[str, Any] = {"class before": _names(outline, was), "class after": _names(outline, became), **board.each}
    each |= {"class to reach": _names(outline, case.goal.labels)} if case.goal.targeted else {}
    facts: dict[str, Any] = {"attacked": _ATTACKED} if space.whole else {}
    facts |= {"held out": told} if (told := _held_out(each, won, case.reached)) else {}
    facts |= {"interrupted": True} if case.interrupted else {}
    facts |= {"made of": "noise"} if board.origin is not None else {}
    maps, warnings = None, [*outline.warnings, *case.part.items.warnings, *board.caveats]
    spent = case.part.take_bill() + case.spent + cost
    if session.methods and not case.interrupted:
        found = moved(session, case.part, space, (started, board.values), (was, became))
        maps, spent = found.maps, spent + found.cost
        warnings += found.warnings
        each |= found.each()
        facts |= {"map": next(iter(session.methods))} if maps is not None else {}
        facts |= {"what moved first": told} if (told := found.sentence(was, won)) else {}
    return Attack(
        before=_shown(space, started),
        after=_shown(space, board.values),
        norm=origin.norm or "",
        epsilons=case.epsilons,
        success=np.stack(success, axis=1) if success else np.zeros((len(margin), 0), bool),
        became=became.astype(np.int64),
        goals=tuple(case.goal.labels.tolist()) if case.goal.targeted else (),
        margin=margin,
        sizes=sizes,
        confidence=np.stack([confidence(before, was, outline), confidence(now, became, outline)], axis=1),
        steps=board.steps.astype(np.int64),
        queries=board.queries.astype(np.int64),
        whole=space.whole,
        maps=maps,
        shared=board.shared,
        names=case.part.items.names,
        digests=digests_of(case.part.items),
        labels=tuple(was.tolist()),
        targets=tuple(each["class before"]),
        warnings=tuple(warnings),
        facts=facts,
        each=each,
        provenance=provenance(
            case.part,
            origin.kind,
            {**origin.options, "norm": origin.norm, "epsilon": list(case.epsilons), "target": origin.target},
            cost=spent,
            seed=session.request.seed,
            rows_per_call=calls,
        ),
    )


def _held_out(each: Mapping[str, Any], won: Array, reached: Array) -> str:
    """What a change of all items does to those that it was made on, and to the others; empty for other attacks."""
    if "held out" not in each:
        return ""
    told = []
    share = each.get("share of placements")
    for which, items in (("made on", ~each["held out"] & ~reached), ("held out", each["held out"])):
        if not items.any():
            continue
        found = f"{int(won[items].sum())} fooled" if share is None else f"wins {share[items].mean():.0%} of placements"
        told.append(f"{which} {counted(int(items.sum()), 'item')}: {found}")
    return "; ".join(told)


def _plain_run(session: Session, case: Case, values: Array) -> tuple[Array, Cost, Any]:
    """The scores of items, asked as anybody would ask who has only the finished items."""
    settings = replace(session.settings(case.part), memo=Memo())
    score = Score(case.space.tensor(values), Untouched(), every_score, layout=case.space.layout)
    (reading,), cost = session.ask([_asking(score)], case.part.model, settings)
    return np.asarray(reading.values, np.float64)[:, 0], cost, settings.calls


def _asking(score: Score) -> Flow:
    return Reading((yield score))


def _names(outline: Outline, labels: Array) -> list[str]:
    return [outline.label_name(int(label)) for label in labels]


def _shown(space: Space, values: Array) -> Array:
    """Items as a result keeps them."""
    pictures = space.pictures(values)
    return np.asarray(values, np.float32) if pictures is None else pictures
