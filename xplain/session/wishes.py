"""Wishes met at the items: the tensors that they must see are asked for, pictures and masks that they name are read."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Protocol

import numpy as np

from xplain.core.cost import Cost
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, ModelError
from xplain.core.outline import Outline
from xplain.core.query import Answer, Flow, Model, Peek, Query, R, Reading
from xplain.core.target import SCORES, Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.heads import head_of
from xplain.core.targets.parts import Part as Elements
from xplain.core.targets.target_parser import Aim, aim
from xplain.core.targets.wish import At, Wish, proposed
from xplain.engine import Settings
from xplain.session.part import Part

__all__ = ["foretold", "met", "refuse_without_classes", "stand_in", "values_of"]


class Asker(Protocol):
    """What a session does for a wish; see ``xplain.session.run.Session``."""

    others: dict[str, Array]

    def read(self, source: Any, start: int | None = None) -> Part:
        """The items in a source."""

    def look(self, part: Part, together: bool = False) -> Array:
        """The scores of the untouched items."""

    def settings(self, part: Part | None, most: int | None = None, **how: Any) -> Settings:
        """How questions about a part are asked."""

    def ask(
        self, flows: Sequence[Generator[Query, Answer, R]], model: Model, settings: Settings, lead: bool = False
    ) -> tuple[list[R], Cost]:
        """Drive flows to their ends."""


_FLAT = frozenset({"classes", "regression", "embedding", "unknown"})


def refuse_without_classes(outline: Outline) -> None:
    """A model that is known to have no classes has no scores to look at.

    Raises:
        ModelError: it is one; the message proposes targets.
    """
    if outline.kind not in ("onnx", "torch") or outline.scores.classes is not None:
        return
    head = head_of(outline)
    wide = [extent for extent in head.shape[1:] if extent != 1]
    if head.kind in _FLAT and len(wide) < 2:
        return
    raise ModelError(
        f"{outline.source} ends in {_ENDS.get(head.kind, 'no classes')}: {head.why}. It has no predicted class; say "
        "what is explained: ",
        *proposed(head),
        ".",
    )


_ENDS = {
    "map": "maps",
    "points": "heat maps",
    "picture": "a picture",
    "boxes": "boxes",
    "sequence": "a sequence",
    "forecast": "a forecast",
}


def foretold(wanted: Any, wish: Wish | None, part: Part) -> None:
    """Refuse, before the model is asked, a target that would be refused whatever the scores are.

    Args:
        wanted: The target of these items, as a person gives it; None for what is predicted.
        wish: What it stands for, where that is to be met at the items.
        part: The items.

    Raises:
        UsageError: as ``aim``; nothing where it is not known how many classes there are.
    """
    outline = part.model.outline
    if wanted is not None and wish is None and outline.scores.classes:
        aim(wanted, np.zeros((len(part), outline.scores.classes)), outline)


def _peek(part: Part, taps: tuple[str, ...]) -> Flow:
    return Reading((yield Peek(part.items.x, taps)))


def values_of(part: Part, wish: Wish) -> list[Flow]:
    """The flow that asks for the tensors which a wish must see, besides the scores; none where these are all."""
    taps = _taps(wish, part.model.outline)
    return [_peek(part, taps)] if taps else []


def _taps(wish: Wish, outline: Outline) -> tuple[str, ...]:
    return tuple(name for name in wish.reads(outline) if name != SCORES)


def met(session: Asker, part: Part, wish: Wish) -> At:
    """What a wish sees at the items of a part.

    Raises:
        CapabilityError: the model shows nothing but its scores.
        XplainError: a picture or a mask cannot be read.
    """
    outline = part.model.outline
    values = _seen(session, part, wish)
    first = next(iter(values.values()))
    others = {name: _other(session, name, wish) for name in wish.pictures}
    masks = {name: _mask(name, first.shape[-2:]) for name in wish.masks}
    return At(outline, values, part.swept, others, masks)


def _seen(session: Asker, part: Part, wish: Wish) -> dict[str, Array]:
    """The tensors that a wish must see, for the untouched items; each is asked for once."""
    outline = part.model.outline
    taps = tuple(name for name in _taps(wish, outline) if name not in part.values)
    if taps:
        if Peek not in part.model.answers:
            raise CapabilityError(
                f"{outline.source} answers scores alone, and this target is chosen by what else it gives. Name a "
                "class, or a place in what it answers."
            )
        (reading,), cost = session.ask([_peek(part, taps)], part.model, session.settings(part))
        part.unbilled += cost
        part.values |= {name: np.asarray(reading.values[name]) for name in taps}
    scores = {SCORES: session.look(part)} if SCORES in wish.reads(outline) else {}
    return {**scores, **{name: part.values[name] for name in _taps(wish, outline)}}


def _other(session: Asker, name: str, wish: Wish) -> Array:
    """What another item gives where a wish looks first, ``[...]``; read and asked for once."""
    if name not in session.others:
        values = _seen(session, session.read([name]), wish)
        session.others[name] = np.asarray(next(iter(values.values()))[0])
    return session.others[name]


def _mask(name: str, size: tuple[int, ...]) -> Array:
    """A picture as a mask of a size: where it is not black."""
    from xplain.render import pictures

    picture = pictures.read(name).max(axis=2) > 0
    rows, columns = (
        np.minimum((np.arange(n) + 0.5) * have / n, have - 1).astype(int)
        for n, have in zip(size, picture.shape, strict=True)
    )
    return np.asarray(picture[np.ix_(rows, columns)])


def stand_in(wish: Wish, outline: Outline) -> list[Aim]:
    """Targets that read what a wish's will, for a plan."""
    terms = tuple((1.0, Formula("mean", (Elements(name),))) for name in wish.reads(outline))
    return [Aim(Target(terms))] * getattr(wish, "count", 1)
