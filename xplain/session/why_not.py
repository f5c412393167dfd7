"""Why not another class: what speaks for and against it, and which regions would have to go for the model to say it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.edits import Array, Coalitions
from xplain.core.errors import UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import Model, Score, View
from xplain.core.target import every_score, label
from xplain.explainers.design.game import Game, set_up
from xplain.results.attribution import Attribution
from xplain.session.request import Request
from xplain.session.run import Session

__all__ = ["Change", "Enough", "WhyNot", "why_not"]

METHOD = "ablation"
"""Leaves one region out at a time: what each does alone."""
_ENOUGH = "sufficient"
"""Finds few regions that, shown alone, keep the class that is said."""


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The fewest regions found whose hiding makes the model say the class, or how near hiding comes.

    Args:
        hidden: bool ``[*plane]``, what is hidden.
        regions: Numbers of the hidden regions, those that were the most against it first.
        of: How many regions there are.
        lead: The class's score less the largest other one, with these hidden; above 0 where the model says it.
        says: The class that the model says then.
        warnings: None; a flow's answer has them.
    """

    hidden: Array
    regions: tuple[int, ...]
    of: int
    lead: float
    says: int
    warnings: tuple[Caveat, ...] = ()

    @property
    def found(self) -> bool:
        """Whether the model says the class then."""
        return self.lead > 0


@dataclass(frozen=True, slots=True, eq=False)
class Enough:
    """The fewest regions found that, shown alone, leave the model at the class that it says.

    Args:
        shown: bool ``[*plane]``, what is shown.
        regions: Their numbers; none where the baseline alone is taken for that class.
        margin: The class's score less the largest other one, with these alone shown.
    """

    shown: Array
    regions: tuple[int, ...]
    margin: float


@dataclass(frozen=True, slots=True, eq=False)
class WhyNot:
    """Why a class was not said of one item.

    Args:
        said: The class that the model says.
        wanted: The class that was asked about.
        margin: Its score less that of the class that is said, below 0.
        scores: All scores of the item, ``[K]``.
        map: What each region does to that margin: positive speaks for the wanted class, negative against it.
        change: What would have to go.
        chosen: Whether no class was named, so that the runner-up is asked about.
        enough: What alone keeps the class that is said; None where that was not asked.
        cost: Evaluations of all of it.
    """

    said: int
    wanted: int
    margin: float
    scores: Array
    map: Attribution
    change: Change
    chosen: bool = False
    enough: Enough | None = None
    cost: int = 0


def why_not(model: Model, items: Any, wanted: int | str | None, request: Request, *, enough: bool = False) -> WhyNot:
    """What speaks against a class, and the fewest regions without which the model would say it.

    Each region is left out by itself; those whose leaving raises ``score[wanted] - score[said]`` are then hidden
    together, the strongest first, until the model says the wanted class, and each that turns out not to be needed is
    shown again. The model is asked at every step, so what is told is what it says.

    Args:
        model: A loaded model.
        items: One item, as ``xplain.explain`` takes it.
        wanted: The class, by number or name; without one, the runner-up.
        request: How it is asked, and with which options of ``METHOD``: ``features``, ``baseline``.
        enough: Also find the fewest regions that alone keep the class that is said.

    Cost:
        2 + S evaluations for S regions, then at most S, and one for each pair of those that are hidden. ``enough``:
        some 5 S more, and one for each pair of those that are shown.

    Differs from the paper:
        The regions' order is found once, not anew after each; and what is not needed is shown again.

    Raises:
        UsageError: several items, one score, or the class that the model says anyway.

    Source:
        Vermeire, Brughmans, Goethals, Mazzine and Martens, Explainable image classification with evidence
        counterfactual, Pattern Analysis and Applications 2022 (SEDC-T).
    """
    with Session(model, replace(request, target=None)) as before:
        part = before.read(items)
        if len(part) != 1:
            raise UsageError(f"Why not is asked of one item; got {len(part)}. Ask of each by itself.")
        scores, outline = before.look(part)[0], part.model.outline
    if len(scores) < 2:
        raise UsageError("The model has one score, so there is no other class. Ask 'xplain explain' what moves it.")
    said, second = (int(one) for one in np.argsort(-scores, kind="stable")[:2])
    asked = second if wanted is None else outline.label_index(wanted, len(scores))
    if said == asked:
        raise UsageError(
            f"{outline.label_name(said)!r} is what the model says of this item. Ask about a class that it does not "
            f"say, such as the runner-up: {outline.label_name(second)!r}."
        )
    options = request.methods.get(METHOD, {})
    alike = {name: options[name] for name in ("features", "baseline") if name in options}
    alone = {_ENOUGH: {**alike, "samples": 0, "exhaustive": 0}} if enough else {}
    methods = {METHOD: options, **alone}
    with Session(model, replace(request, methods=methods, target=f"{asked} - {said}")) as session:
        (found,) = session.explain(part, METHOD)
        _, options, _ = session.options(part, METHOD)
        view = View(part.items.x, label(asked), outline, request.seed, read=part.items.layout)
        (game,) = set_up(view, options["features"], options["baseline"]).games
        effects = np.asarray(found.each["feature_values"][0])
        (change,), _ = session.ask([_changed(game, effects, asked)], part.model, session.settings(part))
        kept = _enough(session.explain(part, _ENOUGH)[0], game) if enough else None
    margin, cost = float(scores[asked] - scores[said]), before.spent + session.spent
    return WhyNot(said, asked, margin, scores, found, change, wanted is None, kept, cost.queries)


def _enough(found: Attribution, game: Game) -> Enough:
    regions = tuple(int(one) for one in found.each["set"][0])
    return Enough(np.isin(game.labels, regions), regions, float(found.each["margin"][0]))


def _changed(game: Game, effects: Array, wanted: int) -> Generator[Score, Any, Change]:
    """The fewest regions that, hidden, let the wanted class win; a flow."""
    layout = game.view.found if isinstance(game.view.found, Layout) else None  # columns and elements need none

    def leads(keep: Array) -> Generator[Score, Any, tuple[Array, Array]]:
        edits = Coalitions(game.labels, np.ascontiguousarray(keep, np.uint8), game.fills, game.whole)
        scores = np.asarray((yield Score(game.view.x, edits, every_score, layout=layout)), np.float64)[0]
        return scores[:, wanted] - np.delete(scores, wanted, axis=1).max(axis=1), scores.argmax(axis=1)

    against = [int(one) for one in np.argsort(effects, kind="stable") if effects[one] < 0]
    hidden: list[int] = []
    lead, says = -np.inf, -1
    if against:
        keep = np.ones((len(against), game.players), np.uint8)
        for count in range(len(against)):
            keep[count, against[: count + 1]] = 0
        found, classes = yield from leads(keep)
        reached = np.flatnonzero(found > 0)
        count = int(reached[0]) if len(reached) else int(found.argmax())
        hidden, lead, says = against[: count + 1], float(found[count]), int(classes[count])
    while lead > 0 and len(hidden) > 1:  # what is not needed is shown again
        keep = np.ones((len(hidden), game.players), np.uint8)
        for place in range(len(hidden)):
            keep[place, [one for one in hidden if one != hidden[place]]] = 0
        found, classes = yield from leads(keep)
        idle = int(found.argmax())
        if found[idle] <= 0:
            break
        lead, says = float(found[idle]), int(classes[idle])
        del hidden[idle]
    return Change(np.isin(game.labels, hidden), tuple(hidden), game.players, lead, says)
