"""Attacks in a session: items read once, looked at, attacked in batches, verified by a plain run, and explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.card import load_card
from xplain.core.cost import Cost
from xplain.core.declaring.declared import AttackKind
from xplain.core.declaring.registry import ATTACKS
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, CapabilityError, NonFinite, UsageError
from xplain.core.items import Items
from xplain.core.positions.layout import Layout
from xplain.core.query import Score, Sweep, View
from xplain.core.synthesis.attack import AttackFlow, Board, Ended, Goal, Norm, Threat
from xplain.core.synthesis.space import Space
from xplain.core.targets.target_parser import aim, ranking
from xplain.engine.memo import Memo
from xplain.explainers.attacks.balls import size_of
from xplain.results.attack import Attack
from xplain.session.attacks.attacked import Allowed, Case, Origin, attacked
from xplain.session.attacks.defending import held_against
from xplain.session.items import item_keys
from xplain.session.part import Part
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.synthesis.judging import plane_of

__all__ = ["Attacker"]

_USUAL: Mapping[Norm, float] = {"linf": 2 / 255, "l2": 1.0, "l1": 20.0, "l0": 100.0}
"""Sizes that pictures are attacked with where nothing else is said."""

_NO_NUMBER = "A score on the way was no number, so the attack ended there; the last good candidate is kept."

_AT_ONCE = 16
"""Items whose candidates are held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Attacker:
    """One attack with its options, in a session; made by ``Attacker.named``.

    Args:
        session: The model, and what may be spent; its one method, if it has one, makes the maps.
        kind: The attack.
        options: Its options, all of them.
        allowed: How far it may go.
        defend: Defences that the attack is held against.
    """

    session: Session
    kind: AttackKind
    options: Mapping[str, Any]
    allowed: Allowed
    defend: tuple[str, ...] = ()

    @classmethod
    def named(cls, model: Any, request: Request, kind: str, options: Mapping[str, Any], allowed: Allowed) -> Attacker:
        """An attack by name; what does not depend on items is looked at.

        ``request.methods`` names the method whose maps are held against each other, ``auto`` for Grad-CAM where the
        model can be swept and none elsewhere; none where it is empty.

        Raises:
            UnknownName: no such attack or option.
            UsageError: an option, a norm or a target that the attack does not take.
            CapabilityError: the model cannot answer what the attack asks.
        """
        entry = ATTACKS.find(kind)
        values = entry.read_options(options)
        norm = allowed.norm or (entry.norms[0] if entry.norms else None)
        if norm is not None and norm not in entry.norms:
            accepted = f"of attack {entry.name!r} {', '.join(entry.norms) or 'none: it has no bound on changes'}"
            raise UsageError(option="norm", got=norm, accepted=accepted)
        if allowed.target is None and entry.goals == "targeted":
            raise UsageError(f"Attack {entry.name!r} has to be told which class to reach. Give ", option("target"), ".")
        if allowed.target is not None and entry.goals == "untargeted":
            raise UsageError(option="target", got=allowed.target, accepted=f"none: {entry.name!r} only leaves a class")
        bare = Session(model, replace(request, methods={}))
        if lacking := entry.needs - bare.model.answers:
            kinds = ", ".join(sorted(one.__name__ for one in lacking))
            score = [one.name for one in ATTACKS if one.needs == {Score}]
            raise CapabilityError(
                f"Attack {entry.name!r} asks {kinds}, which {bare.model.outline.source} cannot answer: it gives scores "
                f"alone. Attacks that need no more: {', '.join(score)}."
            )
        methods = dict(request.methods)
        if "auto" in methods:
            methods = {"grad-cam": {}} if Sweep in bare.model.answers else {}
        session = Session(bare.model, replace(request, methods=methods)) if methods else bare
        return cls(session, entry, values, replace(allowed, norm=norm))

    def attack(self, part: Part) -> Attack:
        """The result for all items of a part. What is found before an interruption or the end of a budget is kept.

        Raises:
            XplainError: what concerns all items: a target that is none, a size that no picture can have.
        """
        case = self._case(part)
        size = len(part) if self.kind.together else _AT_ONCE
        for start in range(0, len(part), size):
            some = np.arange(start, min(start + size, len(part)))
            board = Board.empty(case.values[some])
            case.boards.append(board)
            try:
                self._batch(case, some, board)
            except KeyboardInterrupt:
                board.say("The attack was interrupted; what was found until then is kept.", kind="budget")
                case.interrupted = True
                break
        left = np.arange(case.known(), len(part))
        if len(left):
            case.boards.append(Board.empty(case.values[left]))
        wanted = self.allowed.target
        wanted = wanted.tolist() if isinstance(wanted, np.ndarray) else wanted
        origin = Origin(self.kind.name, self.options, self.allowed.norm, wanted)
        found = attacked(self.session, origin, case, Board.joined(case.boards))
        if not self.defend or case.interrupted:
            return found
        told = held_against(self.session, part, self.space_of(part), found, self.defend, self._anew)
        return replace(found, facts={**found.facts, "defences": told}).with_provenance(cost=self.session.spent)

    def _anew(self, session: Session, part: Part) -> Attack:
        return replace(self, session=session, defend=()).attack(part)

    def invented(self) -> Any:
        """A grey picture of the model's size, for an attack that makes items of its own.

        Raises:
            UsageError: the attack changes items, and has none; or nothing says how large one is.
        """
        outline = self.session.model.outline
        if not self.kind.invents:
            raise UsageError(f"Attack {self.kind.name!r} changes items, and there is none. Give at least one.")
        given = self.session.request.card
        card = outline.card if given is None else load_card(given)
        if card is not None:
            return [np.full((*plane_of(outline, card), 3), 128, np.uint8)]
        shape = () if outline.explained is None else outline.explained.shape[1:]
        if not shape or None in shape:
            raise UsageError(
                f"{outline.source} takes items of any size. Give one, so that there is a size to work with."
            )
        return np.zeros((1, *(int(extent or 1) for extent in shape)), np.float32)

    def _case(self, part: Part) -> Case:
        """The items with their values, scores, goal and sizes; what can be refused is, before the model is asked."""
        outline = part.model.outline
        if part.items.x.dtype.kind != "f" or part.items.texts:
            what = "texts" if part.items.texts else part.items.x.dtype.name
            raise UsageError(
                f"The items are {what}: what stands for something else, as words and tokens do, has no small changes. "
                "Attack pictures (paths or uint8 arrays, with a card), or real numbers."
            )
        if (words := _worded(part.items)) is not None:
            raise UsageError(
                f"Column {words!r} holds words, which have no small changes, so rows of this table cannot be attacked. "
                "Attack a model of its columns of numbers, with this one fixed."
            )
        space = self.space_of(part)
        epsilons = self._epsilons(space)
        if self.allowed.target is not None and outline.scores.classes:
            self._goal(part, np.zeros((len(part), outline.scores.classes)))
        scores = self.session.look(part)
        if scores.ndim != 2 or scores.shape[1] < 2:
            raise UsageError(
                f"{outline.source} gives one score per item, so there is no other class to be taken for. An attack "
                "needs at least two: let the model return the scores of both classes."
            )
        values, goal = space.values(part.items.x), self._goal(part, scores)
        return Case(part, space, values, scores, goal, epsilons, [], Cost())

    def space_of(self, part: Part) -> Space:
        """The values that the items may have."""
        known = part.items.layout
        layout = known if isinstance(known, Layout) else Layout.flat(part.items.x.shape[1:])
        return Space.of(part.items, layout, self.allowed.low, self.allowed.high)

    def _goal(self, part: Part, scores: Array) -> Goal:
        """The classes that are to be left, or reached."""
        wanted = self.allowed.target
        if wanted is None:
            return Goal(ranking(scores, part.model.outline)[:, 0])
        aims = aim(part.wanted(wanted), scores, part.model.outline)
        if len(aims) != 1 or not aims[0].labels:
            raise UsageError(option="target", got=wanted, accepted="a class number, a label, or a list of one per item")
        return Goal(np.array(aims[0].labels), True)

    def _epsilons(self, space: Space) -> tuple[float, ...]:
        """The sizes that are tried, the smallest first."""
        norm, given = self.allowed.norm, self.allowed.epsilons
        if norm is None or (self.kind.smallest and not given):
            return ()
        if not given and not space.whole:
            raise UsageError(
                "The items are no pictures of 0..255, so how small a change is must be said in their own units. Give ",
                option("epsilon", 0.1),
                ".",
            )
        least, what = (1.0, "1, one position") if norm == "l0" else (1 / space.unit if space.whole else 0.0, "")
        what = what or ("1/255: an 8-bit picture has nothing in between" if space.whole else "above 0")
        for one in given:
            if one <= 0 or one < least - 1e-9:
                raise UsageError(option="epsilon", got=one, accepted=f"at least {what}" if least else what)
            if space.whole and norm == "linf" and one > 1:
                raise UsageError(option="epsilon", got=one, accepted="at most 1, from black to white")
        return tuple(sorted(set(given))) or (_USUAL[norm],)

    def _radius(self, epsilon: float, space: Space) -> float:
        """A size in the values of items; whole numbers where values are."""
        if self.allowed.norm == "l0":
            return float(int(epsilon))
        radius = epsilon * space.unit
        return float(int(radius + 1e-6)) if space.whole and self.allowed.norm == "linf" else radius

    def _batch(self, case: Case, some: Array, board: Board) -> None:
        """Attack those of some items that are not of the class to be reached from the start."""
        left = np.flatnonzero(~case.reached[some])
        if self.kind.invents or len(left) == len(some):
            self._sizes(case, some, board)
        elif len(left):
            own = board.of(left)
            try:
                self._sizes(case, some[left], own)
            finally:
                board.take(left, own)

    def _sizes(self, case: Case, some: Array, board: Board) -> None:
        """Attack some items with every size; those that were fooled by a smaller one are left."""
        each = case.epsilons if case.epsilons and not self.kind.smallest else (np.inf,)
        for epsilon in each:
            radius = epsilon if not np.isfinite(epsilon) else self._radius(epsilon, case.space)
            if board.done.all():
                return
            try:
                self._run(case, some, board, radius)
            except NonFinite as error:
                if len(some) == 1 or self.kind.together:
                    board.say(f"{_NO_NUMBER} {error}", 0 if len(some) == 1 else None)
                    return
                self._apart(case, some, board, radius)

    def _apart(self, case: Case, some: Array, board: Board, radius: float) -> None:
        """The same item by item, so that one without finite scores ends alone."""
        for k in np.flatnonzero(~board.done):
            own = board.of(np.array([k]))
            try:
                self._run(case, some[[k]], own, radius)
            except NonFinite as error:
                own.say(f"{_NO_NUMBER} {error}", 0)
            board.take(np.array([k]), own)

    def _run(self, case: Case, some: Array, board: Board, radius: float) -> None:
        part, session, norm = case.part, self.session, self.allowed.norm or "linf"
        x, keys = part.items.x[some], item_keys(part.items)
        left = session.budget.affordable(abilities_of(part.model).price)
        affordable = None if left is None else left - len(part)  # the last plain run is paid first
        if affordable is not None and affordable < 1:
            board.say("The budget pays for no more than one look at each item, so nothing was tried.", kind="budget")
            return
        settings = replace(session.settings(part, affordable, sentinel=part.sentinel), memo=Memo())
        goal = case.goal.of(some)
        target = goal.aim(goal.rival(case.scores[some]))
        view = View(
            x,
            target,
            part.model.outline,
            session.request.seed,
            affordable,
            read=part.items.layout,
            keys=tuple(keys[int(n)] for n in some),
        )
        threat = Threat(
            view,
            case.space,
            case.values[some],
            goal,
            norm,
            radius,
            case.scores[some],
            board,
            lambda change: size_of(change, norm, case.space.layout),
            _trainer() if self.kind.learns else None,
        )
        before = int(board.queries.sum())
        try:
            _, cost = session.ask([_within(self.kind.start(threat, self.options), board)], part.model, settings)
        except (NonFinite, KeyboardInterrupt):
            case.spent += Cost(queries=int(board.queries.sum()) - before)
            raise
        case.spent += cost


def _worded(items: Items) -> str | None:
    """The first column of a table that holds something else than numbers."""
    columns = items.columns
    for name, held in zip(columns.names, zip(*columns.values, strict=True), strict=False) if columns else ():
        for one in held:
            try:
                float(one)
            except ValueError:
                return name
    return None


def _trainer() -> Any:
    """What trains a substitute; None where torch is not installed."""
    try:
        from xplain.models.torch.substitute import trained
    except ImportError:
        return None
    return trained


def _within(flow: AttackFlow, board: Board) -> AttackFlow:
    """The same flow, ended by a spent budget with what it has."""
    try:
        return (yield from flow)
    except BudgetError as spent:
        board.say(f"The attack ended early, and what it had found is kept: {spent}", kind="budget")
        return Ended()
