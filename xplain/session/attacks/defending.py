"""What simple defences do: to pictures that were made without knowing of them, and to an attack through them.

A defence that undoes a finished attack says little: the attacker did not know of it. So the same attack is made once
more on the model behind the defence, its gradient passed straight through (BPDA, Athalye 2018, arXiv:1802.00420).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.abilities import Abilities, abilities_of
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CapabilityError, UsageError, unknown
from xplain.core.outline import Outline
from xplain.core.query import Answer, Model, Query, Score, Sweep
from xplain.core.synthesis.space import Space
from xplain.render.defences import DEFENCES, Defence
from xplain.results.attack import Attack
from xplain.session.part import Part
from xplain.session.run import Session

__all__ = ["Defended", "defences_named", "held_against"]


class Defended:
    """A model that sees each picture after a defence; to a sweep the defence is the identity.

    Args:
        model: The model.
        name: The defence.
        defence: What it does to pictures uint8 ``[N, H, W, 3]``.
        space: How tensors are pictures.
    """

    def __init__(self, model: Model, name: str, defence: Defence, space: Space) -> None:
        self._model, self._defence, self._space = model, defence, space
        self.answers = frozenset({Score, Sweep}) & model.answers
        self.abilities = Abilities(price=abilities_of(model).price)
        digest = model.outline.digest  # another model, as far as a cache of answers goes
        self.outline: Outline = replace(model.outline, digest=f"{digest}/{name}" if digest else "")

    def answer(self, query: Query) -> Answer:
        """The answer about defended pictures.

        Raises:
            CapabilityError: a question that hides something, or is none about pictures.
        """
        if isinstance(query, Score) and isinstance(query.edits, Untouched) and query.at == "input":
            return self._model.answer(replace(query, x=self.seen(query.x)))
        if isinstance(query, Sweep) and query.at == "input" and query.baseline is None:
            flat = np.asarray(query.x).reshape(-1, *query.x.shape[2:])
            return self._model.answer(replace(query, x=self.seen(flat).reshape(query.x.shape)))
        raise CapabilityError("A model behind a defence answers questions about whole pictures alone.")

    def seen(self, x: Array) -> Array:
        """Tensors of pictures as those of defended pictures."""
        pictures = self._space.pictures(self._space.values(x))
        if pictures is None:
            raise UsageError("Only pictures have defences here.")
        return self._space.tensor(self._space.valued(self._defence(pictures)))


def defences_named(given: Any) -> tuple[str, ...]:
    """The defences that a person names: a text with commas, a list, or ``all``.

    Raises:
        UnknownName: there is none of that name.
    """
    if given is None:
        return ()
    many = given.split(",") if isinstance(given, str) else list(given)
    many = [str(one).strip() for one in many]
    if many == ["all"]:
        return tuple(DEFENCES)
    for one in many:
        if one not in DEFENCES:
            raise unknown("defence:", one, [*DEFENCES, "all"])
    return tuple(dict.fromkeys(many))


def held_against(
    own: Session,
    part: Part,
    space: Space,
    found: Attack,
    names: Sequence[str],
    anew: Callable[[Session, Part], Attack],
) -> Mapping[str, dict[str, float]]:
    """What each defence does: to clean pictures, to those that were found, and to the attack made through it.

    A success is undone where the class before is said again, or, of an attack that reached for a class, not that class.
    Costs two evaluations per item and defence, and the attack once more for each.

    Args:
        own: The session of the attack, whose budget it is.
        part: The items.
        space: What their values are.
        found: What was found.
        names: The defences.
        anew: The same attack in another session, on the same items of another model.

    Raises:
        UsageError: the items are no pictures.
    """
    if not found.whole:
        raise UsageError("Defences are of pictures of 0..255, which these items are not.", option="defend")
    told: dict[str, dict[str, float]] = {}
    fooled = found.fooled
    for name in names:
        model = Defended(part.model, name, DEFENCES[name], space)
        session = Session(model, replace(own.request, methods={}))
        session.budget = own.budget
        ends = (found.before, found.after)
        said = [_said(session, Part(model, replace(part.items, x=space.tensor(space.valued(one))))) for one in ends]
        labels = np.asarray(found.labels)
        lost = said[1] != np.asarray(found.goals) if found.goals else said[1] == labels
        again = anew(session, Part(model, part.items))
        open_ = again.fooled[~again.already]
        told[name] = {
            "clean kept": float((said[0] == labels).mean()),
            "undone": float(lost[fooled].mean()) if fooled.any() else float("nan"),
            "fooled through": float(open_.mean()) if len(open_) else float("nan"),
        }
        own.spent += session.spent
    return told


def _said(session: Session, part: Part) -> Array:
    return np.asarray(session.look(part).argmax(axis=1))
