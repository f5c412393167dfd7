"""The analyses that ask the models again, of items that the plan's seed draws: shortcuts, label errors, a control."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, Self

import numpy as np

from xplain.analyses.enough import drawn, too_few
from xplain.analyses.labels import label_errors
from xplain.audit.findings.kinds import columns, pictured, planes, timed
from xplain.audit.findings.leaning import named
from xplain.audit.opening import Audit
from xplain.audit.plans.costing import LABELLED, SHORTCUT_CLASSES
from xplain.audit.plans.models import opened_models
from xplain.audit.stores.where import Where
from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.finding import Finding
from xplain.core.items import Items
from xplain.core.keeping.plain import counted
from xplain.core.lane import PREDICTED, Lane
from xplain.core.positions.layout import stated
from xplain.core.query import Model
from xplain.session.entering import entered
from xplain.session.part import Part
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.session.shortcuts.finder import ENOUGH, Tried, explained, told_together, tried_class
from xplain.session.shortcuts.pasting import Paster
from xplain.session.shortcuts.planting import power_of

__all__ = ["Asks"]

_ROWS = 200
"""Items of a class, and of the others, that a class's shortcuts are looked for in: their pictures lie in memory."""
_BYTES = 2**28
"""Bytes of pictures that are held at once; larger pictures are fewer, but never fewer than a class needs."""


class Asks:
    """The models of an audit, opened when the first analysis asks one; used in a ``with`` block.

    Args:
        audit: The audit.
        models: Name to another place of a model, or to the object.
        max_queries: Evaluations that may be spent by all analyses together; None for no limit.
    """

    def __init__(self, audit: Audit, models: Mapping[str, Any] | None, max_queries: int | None) -> None:
        self.audit, self._given, self._most = audit, models, max_queries
        self._models: dict[str, Model] = {}
        self._sessions: list[Session] = []
        self._apart = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._stack.close()
        for model in self._models.values():
            if (close := abilities_of(model).close) is not None:
                close()

    @property
    def spent(self) -> int:
        """Evaluations and sweeps that all analyses spent."""
        return self._apart + sum(one.spent.queries + one.spent.sweeps for one in self._sessions)

    def takes(self, count: int) -> None:
        """Set evaluations aside that are asked of other models than the audit's, as those with weights drawn anew are.

        Raises:
            BudgetError: more than may be spent.
        """
        if self._most is not None and self.spent + count > self._most:
            raise BudgetError(
                f"It would ask for {count:,} evaluations, and {max(0, self._most - self.spent):,} are left: ",
                option("max_queries", self._most),
                f". Allow {self.spent + count:,}.",
                left=max(0, self._most - self.spent),
            )
        self._apart += count

    def session(self, lane: Lane) -> Session:
        """A session of a lane's model and method, within what is left to spend."""
        if lane.model not in self._models:
            where = Where.read(self.audit.folder)
            self._models |= opened_models(self.audit.plan, where, self._given, [lane.model])
        left = None if self._most is None else max(0, self._most - self.spent)
        asked = Request(methods={lane.method: dict(lane.options)}, seed=self.audit.plan.seed, max_queries=left)
        made = self._stack.enter_context(Session(self._models[lane.model], asked))
        self._sessions.append(made)
        return made

    def part(self, session: Session, lane: Lane, items: Array) -> Part:
        """Items of the audit, read from their source again, as a part of a session."""
        if self.audit.plan.model(lane.model).door:
            return session.part(*entered(session.model, self.audit.given(items, lane.model), None))
        x = self.audit.x(items, lane.model)
        layout = stated(lane.layout).of(x.shape[1:]) if lane.layout else None
        return session.part(session.model, Items(x, tuple(str(int(n)) for n in items), layout=layout))

    # ------------------------------------------------------------------ shortcuts

    def shortcuts(self) -> list[Finding]:
        """Leads of the largest classes, tried at the model; of the first lane of pictures of each model."""
        found, seen = [], set()
        for facts in self.audit.plan.models:
            if facts.door:
                text = (
                    "Shortcuts are looked for by cutting places out of pictures, or stretches of time out of series; "
                    f"items of {facts.name} are {'rows of a table' if facts.items == 'rows' else 'texts'}, so none was "
                    "looked for."
                )
                limits = ("On what columns or words a class leans, the findings of kind mass say; none is confirmed.",)
                found.append(Finding("shortcuts", "", text, "too few", evidence={"needed": "pictures"}, limits=limits))
        placed = [lane for lane in pictured(self.audit) if "H" in lane.layout]
        for lane in [*placed, *timed(self.audit)]:
            if lane.model not in seen and lane.target == PREDICTED and lane.classes > 1:
                seen.add(lane.model)
                found += named(self._of_lane(lane), lane)
        return found

    def _maps(self, lane: Lane, items: Array) -> Array:
        """Maps ``[N, H, W]``; of series ``[N, 1, T]``, channels added up, for a stretch is cut out of all of them."""
        maps = planes(lane, self.audit.maps(lane.name, items))
        return maps.sum(axis=1, keepdims=True) if lane.is_series else maps

    def _of_lane(self, lane: Lane) -> list[Finding]:
        told = columns(self.audit, "item, predicted", lane)
        items, predicted = told["item"], told["predicted"]
        kinds, sizes = np.unique(predicted, return_counts=True)
        order = np.argsort(-sizes, kind="stable")
        names = self.audit.plan.model(lane.model).names
        size = int(np.prod(lane.item)) * 4
        rows = max(ENOUGH, min(_ROWS, _BYTES // (2 * size)))
        tried: list[Tried] = []
        short: list[tuple[str, int]] = []
        control: list[Finding] = []
        for kind in kinds[order][:SHORTCUT_CLASSES]:
            own, rest = (items[one] for one in (predicted == kind, predicted != kind))
            if min(len(own), len(rest)) < ENOUGH:
                short.append((names[kind] if len(names) else str(kind), min(len(own), len(rest))))
                continue
            seed = self.audit.plan.seed
            some = np.sort(np.concatenate([one[drawn(np.zeros(len(one)), rows, seed)] for one in (own, rest)]))
            session = self.session(lane)
            part = self.part(session, lane, some)
            paster, maps = Paster.of(session, part), self._maps(lane, some)
            if (there := explained(paster, maps, int(kind))) < ENOUGH:
                short.append((names[kind] if len(names) else str(kind), there))
                continue
            relevance = self.audit.relevance(lane.name, some) if "layer" in lane.options else None
            tried += tried_class(paster, maps, int(kind), relevance=relevance, numbers=some, seed=seed)
            if self.audit.plan.planted and not control:
                control = power_of(
                    paster, lane.method, maps, int(kind), self.audit.plan.planted, names=names, seed=seed
                )
        found = [*told_together(tried, names), *control]
        if short:
            worst = max(short, key=lambda one: one[1])
            where = counted(len(short), "class", "classes")
            found.append(too_few("shortcuts", "", worst[1], ENOUGH, f"items at most in {where}"))
        if len(kinds) > SHORTCUT_CLASSES:
            left = len(kinds) - SHORTCUT_CLASSES
            found.append(
                too_few("shortcuts", "", SHORTCUT_CLASSES, len(kinds), f"classes looked at ({left} smaller ones not)")
            )
        return found

    # ------------------------------------------------------------------ labels

    def labels(self) -> list[Finding]:
        """Label errors, of scores that are asked for; items outside the split ``train`` where there are such."""
        audit, table = self.audit, self.audit.items
        found, seen = [], set()
        splits = np.array([str(one or "") for one in table["split"].to_pylist()], dtype=object)
        for lane in audit.lanes:
            if lane.model in seen or lane.classes < 2:
                continue
            seen.add(lane.model)
            told = columns(audit, "item, label_class", lane)
            there = np.isfinite(told["label_class"].astype(np.float64))
            items, own = told["item"][there], told["label_class"][there].astype(np.int64)
            unseen = splits[items] != "train"
            outside = bool((splits[items] == "train").any() and unseen.any())
            if outside:
                items, own = items[unseen], own[unseen]
            if not len(items):
                found.append(too_few("labels", "", 0, 20, "items whose label the model knows"))
                continue
            some = drawn(own, max(20, LABELLED // lane.classes), audit.plan.seed)
            session = self.session(lane)
            scores = [
                session.look(self.part(session, lane, items[k])) for k in np.array_split(some, -(-len(some) // 64))
            ]
            chances = _chances(np.concatenate(scores), session.model.outline.scores.kind)
            names = audit.plan.model(lane.model).names
            made = label_errors(
                chances, own[some], names=names, items=items[some], trained_on=False if outside else None
            )
            found += named(made, lane)
        return found


def _chances(scores: Array, kind: str) -> Array:
    """Probabilities of scores: as they are, or by a softmax."""
    if kind == "probabilities":
        return scores
    away = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(away / away.sum(axis=1, keepdims=True))
