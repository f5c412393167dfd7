"""A lens at work: items read part by part as it asks for them, one memo, and what it returns told as a result."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.card import Card, load_card
from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.declaring.registry import LENSES, Lens
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, PictureError, UsageError, XplainError
from xplain.core.flows import through
from xplain.core.items import Items
from xplain.core.keeping.files import there
from xplain.core.lenses.scene import Again, Beside, More, Scene, Some
from xplain.core.query import Answer, Flow, Model, Query, Reading, View
from xplain.core.target import Target, label
from xplain.core.versions import versions
from xplain.engine.memo import Memo
from xplain.explainers.see.layers import with_positions
from xplain.models.outlines import attach_card
from xplain.results import kind_of
from xplain.results.provenance import Provenance
from xplain.results.result import Result
from xplain.session.array_files import ArrayFile, ArrayRow, array_items, arrays_below, is_array, with_card
from xplain.session.items import digests_of, item_keys
from xplain.session.lenses.kept import check_kept, kept_vectors
from xplain.session.part import Part
from xplain.session.run import Session
from xplain.session.stream import Stream

__all__ = ["AT_ONCE", "Failed", "layers_shown", "lenses", "seen"]

AT_ONCE = 32
"""Items that are read together: as many as share a call of a small model."""

Failed = Callable[[int, Any, XplainError], None]
"""Called with the place of an item that cannot be read, what was given as it, and why."""

_MOST_SAID = 5
"""Different remarks on items that a result repeats."""


def layers_shown(model: Model, item: tuple[int, ...]) -> list[str]:
    """The layers that ``activations`` shows of an item of this shape, by name; none where none has positions."""
    blank = np.broadcast_to(np.zeros((), np.float32), (1, *item))  # never stored
    try:
        return [layer.name for layer in with_positions(View(blank, label(0), model.outline))]
    except UsageError:
        return []


def lenses() -> list[Lens]:
    """All lenses, by name: our own, and those of installed plugins."""
    return list(LENSES)


def seen(
    session: Session, what: str, options: Mapping[str, Any], items: Any = None, failed: Failed | None = None
) -> Result:
    """What a lens sees.

    Args:
        session: The model and how it is asked; opened, if it has a cache.
        what: The lens's name.
        options: Its options, as they were given.
        items: What ``xplain.explain`` takes as items, folders and globs too, or an iterator of such; None for none.
        failed: Called for each item that cannot be read; all are named in the result in any case.

    Raises:
        XplainError: every error on purpose is one of its kinds.
    """
    entry = LENSES.find(what)
    values = entry.read_options(options)
    _require(entry, session.model, items is not None)
    kept = kept_vectors(items)
    if kept:  # whatever is read once more, to be drawn, is read as it was
        card = check_kept(entry, kept, session.model, session.request.card)
        session.request = replace(session.request, card=card)
    source = _Source(session, None if kept else items, failed)
    model = session.model if source.first is None else source.first.model
    settings = session.settings(source.first)
    card = _card(model, session.request.card) if source.card is None else source.card
    scene = Scene(model.outline, session.request.seed, items is not None, card, kept, source.listed)
    try:
        flow = through(entry.start(scene, values), partial(source.ask, settings.memo))
        (returned,), cost = session.ask([flow], model, settings)
    except Exception as error:
        error.add_note(f"while looking at {model.outline.source} through lens {entry.name!r}")
        raise
    finally:
        source.close()
    outline, layout = model.outline, source.layout
    card_text = "" if source.card is None else source.card.to_toml(labels=False)
    if kept:
        card_text, layout = (str(kept[0].about.get(name, "")) for name in ("card", "layout"))
    origin = Provenance(
        method=entry.name,
        options=values,
        model=outline.digest,
        source=outline.called,
        card=card_text,
        layout=layout,
        versions=versions(),
        cost=cost + source.beside,
        seed=session.request.seed,
        rows_per_call=settings.calls,
    )
    facts = {**source.facts, **returned.facts}
    warnings = tuple(dict.fromkeys((*outline.warnings, *source.warnings, *returned.warnings)))
    return kind_of(returned).of(returned, provenance=origin, facts=facts, warnings=warnings)


def _require(entry: Lens, model: Model, any_items: bool) -> None:
    """Check that a model answers what a lens asks, and that there are items if it needs any."""
    missing = entry.needs - model.answers
    if missing:
        wanted = " and ".join(sorted(kind.__name__ for kind in missing))
        raise CapabilityError(
            f"Lens {entry.name!r} needs {wanted}, but {model.outline.source} answers only "
            f"{', '.join(sorted(kind.__name__ for kind in model.answers))}: only an ONNX file or a torch module shows "
            "what it has inside."
        )
    if entry.items == "must" and not any_items:
        raise UsageError(f"Lens {entry.name!r} looks at pictures or other items, and none are given.")
    if entry.items == "none" and any_items:
        raise UsageError(f"Lens {entry.name!r} looks at the model alone; leave the items out.")


def _card(model: Model, card: Any) -> Card | None:
    return model.outline.card if card is None else attach_card(model.outline, load_card(card)).card


def _found(model: Model, items: Any, card: Any) -> Any:
    """Items with folders and globs as the files in them, where a model does not read its items itself."""
    from xplain.render import pictures

    spec = model.outline.explained
    if abilities_of(model).read is not None or (spec is not None and spec.dtype == "str"):
        return items
    given = [items] if isinstance(items, (str, os.PathLike)) else items
    if not (isinstance(given, (list, tuple)) and given and all(isinstance(one, (str, os.PathLike)) for one in given)):
        return items
    files = pictures.collect([file for one in given for file in _arrays_of(one) or [one]])
    return array_items(files, model, _card(model, card)) if any(map(is_array, files)) else files


def _arrays_of(folder: str | os.PathLike[str]) -> list[str]:
    """The arrays in a folder that holds no picture; none in any other place."""
    from xplain.render import pictures

    if there(folder) != "folder":
        return []
    try:
        pictures.collect([folder])
    except PictureError:
        return arrays_below(Path(folder))
    return []


def _drawn(items: Items, side: int) -> Array | None:
    """Items that are no pictures as small squares; see ``xplain.render.squares``."""
    from xplain.render.squares import squares

    return squares(items, side)


def _array(given: Any) -> bool:
    """Whether something is the name of an array's file, which a folder of vectors has kept."""
    return isinstance(given, str) and is_array(given)


def _asking(question: Query) -> Flow:
    """A flow of one question."""
    return Reading((yield question))


class _Source:
    """The items of a lens, part by part.

    Args:
        session: Reads them.
        items: What was given; None for none.
        failed: Called for each item that cannot be read.
    """

    def __init__(self, session: Session, items: Any, failed: Failed | None) -> None:
        self._session, self._failed, self._told = session, failed, dict[str, list[str]]()
        self.errors: list[tuple[str, XplainError]] = []
        self.beside = Cost()
        self.count, self.card, self.layout = 0, None, ""
        self._skip: Callable[[Any], bool] | None = None
        self._lost: Callable[[Any, XplainError], None] | None = None
        self._unread: list[tuple[Any, XplainError]] = []
        self._others: list[tuple[Any, Session]] = []
        able = abilities_of(session.model)
        alone = able.read is None and able.look is None  # a module looks at items as they are read, while it is asked
        self._reader = ThreadPoolExecutor(1, "read") if alone and items is not None else None
        given = None if items is None else _found(session.model, items, session.request.card)
        self.listed: tuple[Any, ...] = ()
        if isinstance(given, list) and all(isinstance(one, (str, os.PathLike)) for one in given):
            self.listed = tuple(given)
            given = filter(self._wanted, given)
        stream = partial(Stream, session, at_once=AT_ONCE, failed=self._fail, reader=self._reader)
        self._parts = iter(()) if given is None else stream(given).parts()
        self._next = next(self._parts, None)
        self.first = None if self._next is None else self._next.part
        if self.first is not None:
            self.card, self.layout = self.first.items.card, str(self.first.items.layout)
        elif items is not None:
            raise self.errors[0][1] if self.errors else UsageError("There is nothing to look at: no item is given.")

    def close(self) -> None:
        """Read nothing more."""
        if self._reader is not None:
            self._reader.shutdown(wait=True, cancel_futures=True)

    def _wanted(self, given: Any) -> bool:
        return self._skip is None or not self._skip(given)

    def ask(self, memo: Memo, question: Any) -> Generator[Query, Answer, Answer]:
        """The answer to a lens's question: items from here, the rest from the model."""
        if isinstance(question, More):
            memo.forget()
            return self._more(question)
        if isinstance(question, Again):
            return self._again(question)
        if isinstance(question, Beside):
            return self._beside(question)
        return (yield question)

    def _beside(self, question: Beside) -> Any:
        """What another model says; its evaluations are this session's."""
        own = self._session
        found = next((one for model, one in self._others if model is question.model), None)
        if found is None:
            found = Session(question.model, replace(own.request, methods={}))
            ours = own.request.card if own.request.card is not None else own.model.outline.card
            found.request = replace(found.request, card=ours if found.model.outline.card is None else None)
            found.budget = own.budget
            self._others.append((question.model, found))
        if isinstance(question.question, Again):
            return self._again(question.question, found)
        (reading,), cost = found.ask([_asking(question.question)], found.model, found.settings(None))
        self.beside += cost
        return reading.values

    def _more(self, question: More) -> Some | None:
        self._skip, self._lost = question.skip, question.lost
        if self._lost is not None:
            while self._unread:
                self._lost(*self._unread.pop(0))
        self.first = None  # who asks for more is done with it
        read = self._next if self._next is not None else next(self._parts, None)
        self._next = None
        if read is None:
            return None
        self.count += len(read.part)
        for one in read.part.items.warnings:
            name = "" if one.item is None else read.part.items.names[one.item]
            self._told.setdefault(one.text, []).append(name)
        given = tuple(read.given)
        if any(one is None for one in given) and abilities_of(read.part.model).read is None:
            given = tuple(read.part.items.x)  # an array that was read as a whole
        return self._some(read.part, given)

    def _again(self, question: Again, session: Session | None = None) -> Some:
        reader = self._session if session is None else session
        if question.x is not None and all(one is None for one in question.given):  # rows of one array
            return self._some(reader.read(question.x), question.given)
        if not question.given or any(one is None for one in question.given):
            raise UsageError("Rows of a table, and texts, are read together and cannot be read once more one by one.")
        if self._reader is not None:
            self._reader.submit(bool).result()  # it rests: one thread alone decodes
        outline = with_card(reader.model.outline, _card(reader.model, reader.request.card))
        read = [ArrayFile(Path(one), outline) if _array(one) else one for one in question.given]
        return self._some(reader.read(read), question.given)

    def _some(self, part: Part, given: tuple[Any, ...]) -> Some:
        items = part.items
        keys = cache(partial(item_keys, items))
        outline, seed = part.model.outline, self._session.request.seed
        names = [
            one.called if isinstance(one, (ArrayFile, ArrayRow)) else name
            for one, name in zip(given, items.names, strict=True)
        ]
        view = View(items.x, Target(()), outline, seed, read=items.layout, keys=keys)
        looks = items.pictures is None or items.coordinates.kind == "spectrogram"  # drawn otherwise than as they are
        return Some(
            view,
            tuple(names),
            part.place,
            given,
            items.pictures,
            items.card,
            partial(digests_of, items),
            partial(_drawn, items) if looks else None,
        )

    def _fail(self, place: int, given: Any, error: XplainError) -> None:
        name = os.fspath(given) if isinstance(given, (str, os.PathLike)) else str(place)
        self.errors.append((name, error))
        if self._lost is not None:
            self._lost(given, error)
        else:
            self._unread.append((given, error))
        if self._failed is not None:
            self._failed(place, given, error)

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the items: how many were seen, and which could not be read."""
        told: dict[str, Any] = {} if not self.count else {"items": self.count}
        if self.errors:
            told["failures"] = [{"item": name, "error": str(error)} for name, error in self.errors]
        return told

    @property
    def warnings(self) -> tuple[Caveat, ...]:
        """What must be known of the items, of all in one sentence each."""
        found = []
        for text, names in list(self._told.items())[:_MOST_SAID]:
            some = [name for name in names if name]
            about = "" if not some else f"{some[0]}: " if len(some) == 1 else f"{some[0]} and {len(some) - 1} more: "
            found.append(Caveat(f"{about}{text}", "input"))
        if self.errors:
            name, error = self.errors[0]
            others = len(self.errors) - 1
            several = f" and {others} more could not be read and are" if others else " could not be read and is"
            found.append(Caveat(f"{name}{several} left out: {error}", "input"))
        return tuple(found)
