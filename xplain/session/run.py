"""The pipeline that all ways in share: load, read, aim, settings, drive; one memo for what is asked of some items."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any, Self

import numpy as np

from xplain.core.abilities import abilities_of, is_model
from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.declaring.registry import Method
from xplain.core.edits import Array
from xplain.core.errors import ModelError, NoPath, NotExported, UnsupportedOperator
from xplain.core.items import Items
from xplain.core.query import Answer, Flow, Model, Query, R, Reading, Score, Sweep, View
from xplain.core.target import SCORES, Target, predicted
from xplain.core.targets.target_parser import Aim, aim, check_items, classes_for, needs_scores, ranks
from xplain.core.targets.wish import Wish
from xplain.core.targets.words import wish_of
from xplain.engine import Plan, Sentinel, Settings, Store, drive, probe
from xplain.engine import plan as plan_flows
from xplain.engine.budget import Budget
from xplain.engine.losses import with_nodes
from xplain.engine.memo import Memo
from xplain.engine.sentinel import Spread
from xplain.engine.sight import Sight, on_the_way
from xplain.engine.store import AnswerStore
from xplain.results.attribution import Attribution
from xplain.results.join import joined_calls
from xplain.session.choosing import AUTO, Choice, choose, entry_of
from xplain.session.entering import entered
from xplain.session.fitting import advise_others, named_methods, require
from xplain.session.hidden import as_codes, said_or_typical, without_rows
from xplain.session.items import item_keys
from xplain.session.part import Part, fresh, look
from xplain.session.request import Request
from xplain.session.results import Asked, attribution
from xplain.session.wishes import foretold, met, refuse_without_classes, stand_in, values_of

__all__ = ["Session", "load"]


def load(source: Any, **options: Any) -> Model:
    """The model behind ``source``; one that was loaded already is returned as it is. See ``xplain.load``."""
    from xplain import models
    from xplain.models.options import refuse

    if is_model(source):
        refuse(options)
        return source  # type: ignore[no-any-return]
    return models.load(source, **options)


class Session:
    """A model, what is asked of it, and what may be spent; parts of a source go through it one after another.

    Used in a ``with`` block, which holds the cache open.

    Args:
        model: What ``xplain.load`` takes, or a loaded model.
        request: What is asked.

    Raises:
        UnknownName: a method or an option that is not known.
        UsageError: an option with a value that is not accepted, or a source that is no model.
        CapabilityError: the model cannot answer what a method asks.
    """

    def __init__(self, model: Any, request: Request) -> None:
        self.request = request
        named = {name: options for name, options in request.methods.items() if name != AUTO}
        self.methods = {entry.name: (entry, options) for entry, options in named_methods(named)}
        self.chosen: dict[str, Choice] = {}
        self.model = load(model)
        for entry, options in self.methods.values():
            require(entry, entry.read_options(without_rows(options)), self.model)
        self.budget = Budget(request.max_queries, request.max_cost)
        self.store: AnswerStore | None = None
        self.spent = Cost()
        self.others: dict[str, Array] = {}  # what items that targets name gave
        self._opened: AbstractContextManager[AnswerStore | None] = nullcontext()

    def __enter__(self) -> Self:
        cache = self.request.cache
        self._opened = Store(cache) if isinstance(cache, (str, os.PathLike)) else nullcontext(cache)
        self.store = self._opened.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._opened.__exit__(*raised)

    # ------------------------------------------------------------------ read

    def read(self, source: Any, start: int | None = None) -> Part:
        """The items in ``source``, each read once, and the model that takes them.

        Args:
            source: What ``xplain.explain`` takes as items.
            start: The place of the first in a longer source; None where these are all that there is.

        Raises:
            XplainError: they cannot be read; see ``xplain.session.items.items_of``.
        """
        return self.part(*entered(self.model, source, self.request.card, self.request.layout), start)

    def part(self, model: Model, items: Items, start: int | None = None) -> Part:
        """Items that were read already, with a memo of their own; where no method was named, one is chosen for them."""
        if AUTO in self.request.methods and not self.chosen:
            self._choose(model, items)
        wanted = self.request.sentinel
        watch = Sentinel(wanted) if isinstance(wanted, int) else fresh(wanted) if start else wanted
        return Part(model, items, sentinel=watch, start=start)

    def _choose(self, model: Model, items: Items) -> None:
        given = self.request.methods[AUTO]
        choice = choose(model, given, items.x, items.layout)
        entry, options = entry_of(choice, given)
        require(entry, entry.read_options(without_rows(options)), self.model)
        self.chosen[entry.name] = choice
        self.methods.setdefault(entry.name, (entry, options))

    # ------------------------------------------------------------------ settings and drive

    def settings(self, part: Part | None, most: int | None = None, **how: Any) -> Settings:
        """How questions about a part, or none, are asked: within the session's limits, past what the part knows."""
        told = self.request.progress
        return Settings(
            self.request.batch_size,
            self.budget if most is None else Budget(most, whole=self.budget),
            memo=Memo() if part is None else part.memo,
            progress=None if told is None else partial(_onwards, told, self.spent.queries + self.spent.sweeps),
            store=self.store,
            **how,
        )

    def ask(
        self, flows: Sequence[Generator[Query, Answer, R]], model: Model, settings: Settings, lead: bool = False
    ) -> tuple[list[R], Cost]:
        """Drive flows to their ends; what they cost is counted."""
        returned, cost = drive(flows, model, settings, lead=lead)
        self.spent += cost
        return returned, cost

    # ------------------------------------------------------------------ aim

    def look(self, part: Part, together: bool = False) -> Array:
        """The scores of the untouched items, float64 ``[N, K]``, asked once.

        ``together``: a Python function may be asked about all items in one call, at the price of last bits.
        """
        if part.scores is None:
            refuse_without_classes(part.model.outline)
            settings = self.settings(part, calls=part.calls, together=together)
            (reading,), cost = self.ask([_asking(look(part.items))], part.model, settings)
            part.unbilled += cost
            part.know(np.asarray(reading.values)[:, 0])
        assert part.scores is not None
        return part.scores

    def aim(self, part: Part) -> list[Aim]:
        """The targets of a part's items, found once; the items are looked at where the targets depend on their scores.

        Raises:
            XplainError: a target that the model does not have, or that cannot be told; see ``target_parser.aim``.
        """
        if part.scores is None and part.sight is not None:
            part.scores = part.sight.scores
        if not part.aims and part.scores is None and self.needs(part):
            foretold(part.wanted(self.request.target), self.wish(part), part)
            self.look(part)
        self.aims(part)
        if not part.base:
            part.base = self._values(part, part.aims)
        return part.aims

    def aims(self, part: Part) -> list[Aim]:
        """The targets of a part, from what is known of its scores."""
        wish = None if part.aims else self.wish(part)
        if wish is not None:
            part.aims = wish.aims(met(self, part, wish))
        if not part.aims:
            seen = part.scores if part.sight is None or part.scores is not None else part.sight.scores
            part.aims = aim(part.wanted(self.request.target), seen, part.model.outline)
            check_items([one.target for one in part.aims], len(part))
        return part.aims

    def wish(self, part: Part) -> Wish | None:
        """What is asked for in words, to be met at the items; None for a target that says what it reads."""
        return wish_of(part.wanted(self.request.target), part.model.outline)

    def shows_classes(self, part: Part) -> bool:
        """Whether there are scores to look at, as far as that is known."""
        try:
            refuse_without_classes(part.model.outline)
        except ModelError:
            return False
        return True

    def needs(self, part: Part) -> bool:
        """Whether targets depend on the items' scores."""
        wish, outline = self.wish(part), part.model.outline
        if wish is not None:
            return SCORES in wish.reads(outline)
        return needs_scores(part.wanted(self.request.target), outline)

    def _turn(self, part: Part, entry: Method, given: Mapping[str, Any]) -> None:
        """Targets that gradients and edited items read otherwise are chosen for this method."""
        swept = Sweep in entry.needs_with(without_rows(given))
        if swept != part.swept and self.wish(part) is not None:
            part.aims, part.base = [], []
        part.swept = swept

    def ready(self, part: Part) -> None:
        """The targets of a part, or how they are found on the way.

        Where every method of the session sweeps and the model says what its sweeps read, nobody looks at the items
        before.
        """
        if not part.aims and not self.finds(part):
            self.aim(part)

    def looks(self, part: Part) -> bool:
        """Whether the untouched items of a part are looked at by themselves before methods ask."""
        trial = Part(part.model, part.items, sentinel=part.sentinel, start=part.start, scores=part.scores)
        return self.needs(part) and part.scores is None and not self.finds(trial)

    def finds(self, part: Part) -> bool:
        """Whether the methods find what is predicted, and what targets read, on their way; the part is prepared so.

        Not where a sentinel watches what a look says, where each item's class is ranked by itself, nor where no class
        is known: there a look finds what the model gives, and refuses what holds no score.
        """
        wanted, outline = part.wanted(self.request.target), part.model.outline
        finds, classes = abilities_of(part.model).finds, outline.scores.classes
        sweeps = all(Sweep in one.needs_with(without_rows(given)) for one, given in self.methods.values())
        count = ranks(wanted, outline)
        each = count > 0 and isinstance(wanted, (list, tuple, np.ndarray))
        watched = part.sentinel is not None or part.scores is not None
        if finds is None or not classes or not sweeps or each or watched or self.wish(part) is not None:
            return False

        part.open, part.sight = count, Sight(look(part.items), finds, outline)
        if not count:
            blank = np.zeros((len(part), classes)) if needs_scores(wanted, outline) else None
            part.aims = aim(wanted, blank, outline)
            check_items([one.target for one in part.aims], len(part))
        return True

    def _values(self, part: Part, aims: Sequence[Aim]) -> list[Array]:
        """Each target's value for each untouched item: read from the scores, or asked for where it reads a layer."""
        scores, rows = part.scores, np.arange(len(part))
        if scores is not None and all(one.target.tensors == (SCORES,) for one in aims):
            return [one.target.read({SCORES: scores}, rows) for one in aims]
        if part.sight is not None:
            known = [part.sight.value(one.target) for one in aims]
            if all(values is not None for values in known):
                return [values for values in known if values is not None]
        flows = [_asking(look(part.items, one.target)) for one in aims]
        readings, cost = self.ask(flows, part.model, self.settings(part, calls=part.calls))
        part.unbilled += cost  # the first look at a torch module, which says what it has inside
        return [np.asarray(reading.values)[:, 0] for reading in readings]

    # ------------------------------------------------------------------ what methods do

    def options(self, part: Part, name: str) -> tuple[Method, dict[str, Any], tuple[Caveat, ...]]:
        """A method, all its options for a part, and what must be known of them."""
        entry, given = self.methods[name]
        given = as_codes(given, part.model)
        values, told = said_or_typical(entry, given, entry.read_options(given), part.model, part.basis or part.items)
        return entry, values, told

    def flows(self, part: Part, entry: Method, values: Mapping[str, Any], budget: int | None = None) -> list[Flow]:
        """The method's flow for each target of a part; what is found on the way becomes known of the part."""
        items, outline = part.items, part.model.outline
        keys = part.keys or cache(partial(item_keys, part.items))
        sight = part.sight

        def start(target: Target) -> Flow:
            view = View(items.x, target, outline, self.request.seed, budget, read=items.layout, keys=keys)
            return entry.start(view, values)

        if sight is None:
            return [start(one.target) for one in part.aims]
        if sight.scores is not None or not part.open:
            return [on_the_way(start(one.target), sight, one.target, False) for one in part.aims]

        def later(k: int) -> Flow:  # begins when the first has been answered, and knows mostly what is predicted
            if sight.scores is None:
                sight.learn((yield sight.look)[:, 0])
            target = self.aims(part)[k].target
            return (yield from on_the_way(start(target), sight, target, False))

        found = predicted(len(part))
        first = on_the_way(start(found), sight, found, True)
        return [first, *(later(k) for k in range(1, part.open))]

    def explain(self, part: Part, name: str, most: int | None = None) -> list[Attribution]:
        """A part's items by one method: an attribution of all of them per target.

        ``most``: evaluations that this may take, of those that the session may spend; None for all of them.

        Raises:
            XplainError: every error on purpose is one of its kinds.
        """
        before = self._windows(part)
        asked = self.readings(part, name, most)
        after = self._windows(part)
        way: dict[str, Any] = {} if after is before or after is None else {"windows answered": str(after)}
        way |= {"method chosen": self.chosen[name].why} if name in self.chosen else {}
        return self.told(part, asked, way)

    def told(self, part: Part, asked: Asked, way: Mapping[str, Any] | None = None) -> list[Attribution]:
        """What was read of a part as results, one per target; ``way``: facts on how the model was asked."""
        run: dict[str, Any] = {
            "cost": part.take_bill() + asked.cost,
            "seed": self.request.seed,
            "rows_per_call": joined_calls(part.calls, asked.calls),
        }
        entry, values, told = asked.method
        found = enumerate(asked.readings)
        return [attribution(entry, values, part, k, one, way=way or {}, told=told, **run) for k, one in found]

    def _windows(self, part: Part) -> Any:
        """How the last question of hidden windows was answered."""
        windows = abilities_of(part.model).windows
        return None if windows is None else windows()

    def readings(self, part: Part, name: str, most: int | None = None) -> Asked:
        """What a method reads of a part's items, per target, before it is told as results; see ``explain``."""
        entry, values, told = self.options(part, name)
        self._turn(part, entry, self.methods[name][1])
        self.ready(part)
        model, leads = part.model, part.open > 1 and not part.aims
        settings = self.settings(part, sentinel=part.sentinel, most=most)
        affordable = settings.budget.affordable(abilities_of(model).price)
        try:
            readings, cost = self.ask(self.flows(part, entry, values, affordable), model, settings, lead=leads)
            self.aim(part)
            if not self.request.limited and most is None:  # it is more than what the method costs
                anew = partial(self.flows, part, entry, values)
                readings = with_nodes(readings, anew, model, len(part))
        except Exception as error:
            if isinstance(error, (UnsupportedOperator, NoPath, NotExported)):
                advise_others(error, model)
            error.add_note(f"while explaining with method {entry.name!r} on {model.outline.source}")
            raise
        return Asked((entry, values, told), readings, cost, settings.calls)

    def plan(self, part: Part, name: str, looked: bool = False) -> Plan:
        """What ``explain`` would cost; nothing is asked, and the cache is only read.

        ``looked``: the untouched items are asked about before, as for the first of several methods.
        """
        entry, values, _ = self.options(part, name)
        wanted, outline = part.wanted(self.request.target), part.model.outline
        trial, scores = (
            Part(part.model, part.items, sentinel=part.sentinel, start=part.start, basis=part.basis),
            part.scores,
        )
        size = self.request.batch_size
        if not looked and scores is None and self.finds(trial):
            flows = self.flows(trial, entry, values)
            return plan_flows(flows, part.model, self.store, size, lead=trial.open > 1)
        looks, wish = self.needs(part) and scores is None, self.wish(part)
        classes = outline.scores.classes or len(outline.labels) or classes_for(wanted)
        if looks:
            refuse_without_classes(outline)
            scores = np.zeros((len(part), classes))
        trial.aims = aim(wanted, scores, outline) if wish is None else stand_in(wish, outline)
        if scores is not None and (looked or not looks):
            trial.know(scores)
        first = [_asking(look(part.items))] if looks and not looked else []
        first += [] if wish is None else values_of(part, wish)
        flows = self.flows(trial, entry, values)
        if entry.adaptive:
            return plan_flows(first, part.model, self.store, size, trial.memo, apart=flows, classes=classes)
        return plan_flows([*first, *flows], part.model, self.store, size, trial.memo, classes=classes)

    def probe(self, part: Part, times: int) -> Spread:
        """Ask about the untouched items several times, past any memory, and see how much the answers differ."""
        return probe(part.model, part.items.x, times)

    def plan_look(self, part: Part) -> Plan:
        """What the look at the untouched items would cost."""
        return plan_flows([_asking(look(part.items))], part.model, None, self.request.batch_size)


def _asking(score: Score) -> Flow:
    """A flow of one question."""
    return Reading((yield score))


def _onwards(told: Any, before: int, done: int, asked: int) -> None:
    told(before + done, before + asked)
