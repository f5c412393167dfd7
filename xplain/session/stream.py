"""A source of any length, part by part: memory holds one part, results come as made, no failure stops the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from xplain.core.abilities import abilities_of
from xplain.core.edits import Array
from xplain.core.errors import (
    CardError,
    ItemError,
    ModelError,
    NonFinite,
    NoPath,
    NotExported,
    PictureError,
    UnsupportedOperator,
    UsageError,
    XplainError,
)
from xplain.core.items import Items
from xplain.core.query import Model
from xplain.engine import Plan
from xplain.results.attribution import Attribution
from xplain.session.entering import pictures_entered
from xplain.session.part import Part
from xplain.session.run import Session
from xplain.session.sources import Piece, pieces_of

__all__ = ["AT_ONCE", "Explained", "Read", "Stream", "may_be_of_one"]

AT_ONCE = 8
"""Items that are read together where nothing else is said."""

CHEAP = 32
"""Evaluations and sweeps of an item up to which a method is asked about several at once, so that batches are full; a
method that asks more fills them with one item, and is lost with no more than that one when it is interrupted."""

_OF_ONE = (PictureError, NonFinite, ItemError)
"""Errors of one item, which say nothing of the others."""

_OF_THE_MODEL = (UnsupportedOperator, NoPath, NotExported)
"""Errors of a model that fails on every item alike."""

_Tried = tuple[int, list[Any], Part | XplainError]
"""A place within a piece, what was given from there on, and what it became or why it cannot be read."""

Failed = Callable[[int, Any, XplainError], None]
"""Called with the place of an item that cannot be explained, what was given as that item, and why."""


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """One item by one method.

    Args:
        place: The item's place in the source, from 0.
        given: What was given as this item, such as a path; None where it was a row of an array or a table.
        method: The method's name.
        x: The item as the model takes it, ``[1, *item]``.
        size: Height and width of the picture as it was given; None for anything else.
        results: One attribution of this item alone per target.
        scores: The scores of the untouched item, float64 ``[K]``; None where the target does not depend on them.
    """

    place: int
    given: Any
    method: str
    x: Array
    size: tuple[int, int] | None
    results: list[Attribution]
    scores: Array | None


@dataclass(slots=True)
class Read:
    """Items that were read.

    Args:
        part: The items.
        given: What was given as each; None for a row of a table.
        spent: Evaluations that each has cost.
    """

    part: Part
    given: list[Any]
    spent: list[int] = field(default_factory=list)

    def each(self) -> list[Read]:
        """Every item by itself."""
        parts = enumerate(self.part.each())
        return [Read(part, self.given[n : n + 1], self.spent[n : n + 1]) for n, part in parts]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A piece of the source, the place of its first item, and what a reader is making of its items."""

    piece: Piece | None
    start: int
    tried: Future[list[_Tried]] | None = None


class Stream:
    """The items of a source, explained by every method of a session, one ``Explained`` after another.

    Every item is read once. Items that fit together are looked at together; a method that asks little is asked about
    all of them at once, one that asks much about each alone. Neither changes a value. What was read is let go before
    the next part is read.

    Args:
        session: What is asked; opened, if it has a cache.
        source: Pictures, tensors, rows or texts as ``xplain.explain`` takes them, or an iterator that makes them one
            by one or in chunks (a list, a frame, a batch).
        at_once: Items that are read together, of a source that gives them one by one.
        each: Evaluations that may be spent per item; None for no limit.
        look: Whether the scores of untouched items are asked for even where no target follows from them.
        failed: Called for an item that cannot be read, is of a size or type that the model does not take, or gives
            scores that are no numbers; the others go on. None raises the error.
        reader: Reads the next items while these are asked about, from the second part on; one thread alone, for what
            decodes pictures turns their libraries' warnings off for all threads meanwhile. Then two parts are held.
    """

    def __init__(
        self,
        session: Session,
        source: Any,
        *,
        at_once: int = AT_ONCE,
        each: int | None = None,
        look: bool = False,
        failed: Failed | None = None,
        reader: Executor | None = None,
    ) -> None:
        if isinstance(at_once, bool) or not isinstance(at_once, int) or at_once < 1:
            raise UsageError(option="at_once", got=at_once, accepted="a whole number of at least 1")
        self._session, self._each, self._look, self._failed = session, each, look, failed
        self._at_once = at_once
        self._pieces = pieces_of(session.model, source, at_once)
        self._ahead: list[Read] = []
        self._next = 0
        self._reader, self._begun = reader, _Begun(None, 0)

    def __iter__(self) -> Iterator[Explained]:
        for read in self.parts():
            yield from self._explained(read)
            del read  # before the next is read

    # ------------------------------------------------------------------ reading

    def parts(self) -> Iterator[Read]:
        """What is read, part by part; nothing here holds a part once it was handed over."""
        while True:
            while self._ahead:
                yield self._ahead.pop(0)
            if not self._read_more():
                return

    def _read_more(self) -> bool:
        """Read the next piece of the source; False at its end."""
        begun = self._begun if self._begun.piece is not None else self._begin()
        piece, start, self._begun = begun.piece, begun.start, _Begun(None, 0)
        if piece is None:
            return False
        if piece.together is None:
            tried = self._try_each(piece.single, start) if begun.tried is None else begun.tried.result()
            self._next += len(piece.single)
            if start and self._reader is not None:
                self._begun = self._begin()
            self._ahead += self._grouped(tried, start)
            return True
        try:
            part = self._session.read(piece.together, start)
        except XplainError as error:
            if self._failed is None or not piece.single or not may_be_of_one(error, self._session.model):
                raise
            self._ahead += self._grouped(self._try_each(piece.single, start), start)  # to find the one
            self._next += len(piece.single)
            return True
        if start:
            part.items = replace(part.items, names=_numbered(part.items, start))
        given = list(piece.single) if len(piece.single) == len(part) else [None] * len(part)
        rows = abilities_of(part.model).codes is not None  # a table is read whole, for what is typical of it
        for some in part.in_groups(self._at_once) if rows else [part]:
            first = some.place - start
            self._ahead.append(Read(some, given[first : first + len(some)], [0] * len(some)))
        self._next += len(part)
        return True

    def _begin(self) -> _Begun:
        """The next piece of the source; where there is a reader, it has begun to read it."""
        piece = next(self._pieces, None)
        if self._reader is None or piece is None or piece.together is not None:
            return _Begun(piece, self._next)
        return _Begun(piece, self._next, self._reader.submit(self._try_each, piece.single, self._next))

    def _try_each(self, single: Sequence[Any], start: int) -> list[_Tried]:
        """Items as what was given and what it became, or why it cannot be read: pictures in one go, else one by one."""
        lost: list[_Tried] = []

        def lose(place: int, error: XplainError) -> None:
            if not may_be_of_one(error, self._session.model):
                raise error
            lost.append((place, [single[place]], error))

        session, request = self._session, self._session.request
        batches = pictures_entered(session.model, single, request.card, request.layout, lose)
        if batches is not None:
            found: list[_Tried] = [
                (n, list(single[n : n + len(items)]), session.part(session.model, items, start + n))
                for n, items in batches
            ]
            return sorted([*found, *lost], key=itemgetter(0))
        found = []
        for n, one in enumerate(single):
            try:
                found.append((n, [one], self._session.read([one], start + n)))
            except XplainError as error:
                lose(n, error)
        return sorted([*found, *lost], key=itemgetter(0))

    def _grouped(self, tried: Sequence[_Tried], start: int) -> list[Read]:
        """Items that were read one by one, those that fit together as one part; what cannot be read is told."""
        groups: list[tuple[list[Items], Model, int, list[Any]]] = []
        for n, given, read in tried:
            place = start + n
            if isinstance(read, XplainError):
                self._fail(place, given[0], read)
            else:
                items = replace(read.items, names=_numbered(read.items, place))
                last = groups[-1] if groups else None
                follows = last is not None and last[1] is read.model and last[2] + len(last[3]) == place
                if last is not None and follows and last[0][0].alike(items):
                    last[0].append(items)
                    last[3].extend(given)
                else:
                    groups.append(([items], read.model, place, list(given)))
        return [
            Read(self._session.part(model, Items.joined(some), first), given, [0] * len(given))
            for some, model, first, given in groups
        ]

    # ------------------------------------------------------------------ explaining

    def _explained(self, read: Read) -> Iterator[Explained]:
        session = self._session
        for aimed in self._tried([read], self._aim):
            for name in session.methods:
                alone = len(aimed.part) > 1 and self._asks_much(aimed.part, name)
                waiting = aimed.each() if alone else [aimed]
                found: list[list[Explained]] = []

                def explain(one: Read, name: str = name, found: list[list[Explained]] = found) -> None:
                    found.append(self._explain(one, name))

                for _ in self._tried(waiting, explain):
                    yield from found.pop()

    def _tried(self, waiting: list[Read], do: Callable[[Read], None]) -> Iterator[Read]:
        """Do something to parts, to each item alone where several fail together; those that did not fail."""
        while waiting:
            one = waiting.pop(0)
            try:
                do(one)
            except XplainError as error:
                of_one = may_be_of_one(error, one.part.model)
                if len(one.part) > 1 and (of_one or isinstance(error, CardError)):
                    waiting[:0] = one.each()
                    continue
                if not of_one:
                    raise
                self._fail(one.part.place, one.given[0], error)
                continue
            yield one

    def _aim(self, read: Read) -> None:
        before = self._session.spent.queries
        if self._look and self._session.shows_classes(read.part):
            self._session.look(read.part)
        self._session.ready(read.part)
        spent = self._session.spent.queries - before
        read.spent = [had + spent // len(read.part) for had in read.spent]

    def _explain(self, read: Read, name: str) -> list[Explained]:
        session, part, count = self._session, read.part, len(read.part)
        most = None if self._each is None else max(1, self._each * count - sum(read.spent))
        before = session.spent.queries
        results = session.explain(part, name, most)
        read.spent = [had + (session.spent.queries - before) // count for had in read.spent]
        return [
            Explained(
                part.place + n,
                read.given[n],
                name,
                part.items.x[n : n + 1],
                part.items.sizes[n] if part.items.sizes else None,
                [one if count == 1 else one[n].with_provenance(cost=one.cost.share(n, count)) for one in results],
                None if part.scores is None else part.scores[n],
            )
            for n in range(count)
        ]

    def _asks_much(self, part: Part, name: str) -> bool:
        """Whether one item alone fills batches."""
        try:
            plan = self._session.plan(part.alone(0), name)
        except XplainError:  # which explaining will say
            return False
        return bool(plan.queries + plan.sweeps > CHEAP)

    def _fail(self, place: int, given: Any, error: XplainError) -> None:
        if self._failed is None:
            raise error
        self._failed(place, given, error)

    # ------------------------------------------------------------------ planning

    def plans(self, count: int) -> list[tuple[int, Plan]]:
        """What explaining ``count`` items like the first that can be read takes: plans, and how often each is paid.

        What is read for it is kept, and explained first. An endpoint's calls are cut as its groups make them.
        """
        while not self._ahead:
            if not self._read_more():
                return []
        session, part = self._session, self._ahead[0].part
        first = part.alone(0) if len(part) > 1 else part
        able = abilities_of(part.model)
        wired = able.rows_per_request is not None and able.narrowed is None
        groups = _groups(first, count) if wired else [(count, first)]
        looks = (self._look and session.shows_classes(first)) or session.looks(first)
        found = [(times, session.plan_look(group)) for times, group in groups] if looks else []
        for name in session.methods:
            one = session.plan(first, name, looked=looks)
            if not wired or one.queries + one.sweeps > CHEAP:
                found.append((count, one))
            else:
                found += [(times, session.plan(group, name, looked=looks)) for times, group in groups]
        return found


def may_be_of_one(error: XplainError, model: Model) -> bool:
    """Whether an error may be that of one item alone.

    A model that runs here and takes items of any size may fail on the size of one: too small for its pooling, say. One
    that is elsewhere may be gone, and would be for the next item too.
    """
    if isinstance(error, _OF_ONE):
        return True
    spec = model.outline.explained
    free = spec is None or not spec.shape or None in spec.shape[1:]
    here = abilities_of(model).batches is not None
    return free and here and isinstance(error, ModelError) and not isinstance(error, _OF_THE_MODEL)


def _groups(first: Part, count: int) -> list[tuple[int, Part]]:
    """Groups as items are explained in, each of items like the first, and how many there are of it."""
    whole, rest = divmod(count, AT_ONCE)
    sizes = [(whole, AT_ONCE)] if whole else []
    return [(times, _many(first, size)) for times, size in [*sizes, *([(1, rest)] if rest else [])]]


def _many(part: Part, size: int) -> Part:
    return Part(part.model, Items.joined([part.items] * size))


def _numbered(items: Items, start: int) -> tuple[str, ...]:
    """The items' names, where these are their numbers counted from the source's first."""
    plain = items.names == tuple(map(str, range(len(items))))
    return tuple(str(start + n) for n in range(len(items))) if plain else items.names
