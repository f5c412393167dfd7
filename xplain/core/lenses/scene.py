"""What a lens sees: the model's outline, and items that come part by part for as long as it asks for more.

    def patches(scene: Scene, *, layer: str, k: Positive = 9) -> Seeing[Cells]:
        best = ...                                             # of bounded size, whatever the folder
        while (part := (yield More())) is not None:            # a Some; None behind the last one
            answer = yield Peek(part.view.x, (layer,), TopK())
            best = merged(best, answer, part)
        chosen = yield Again(best.given)                       # some of them once more, to be drawn
        return cells(...)

``More``, ``Again`` and ``Beside`` are answered by the session, which reads items once, tells what cannot be read, and
lets go of a part before it reads the next; all other questions go to the model as those of every method.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np

from xplain.core.card import Card
from xplain.core.edits import Array
from xplain.core.errors import XplainError
from xplain.core.keeping.content import checksums
from xplain.core.lenses.kept_vectors import KeptVectors
from xplain.core.outline import Outline
from xplain.core.query import Answer, Query, Returned, View
from xplain.core.target import Target

__all__ = ["Again", "Beside", "More", "Scene", "Seeing", "Some", "handle"]

R = TypeVar("R", bound=Returned)


@dataclass(frozen=True, slots=True)
class More:
    """The next part of the items; the answer is a ``Some``, and None behind the last one.

    Args:
        skip: Whether an item, as it was given, need not be read from now on; None reads all. Of files alone.
        lost: Called from now on with an item as it was given and why it cannot be read, those before too.
    """

    skip: Callable[[Any], bool] | None = None
    lost: Callable[[Any, XplainError], None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Again:
    """Some of the items that came by, read once more; the answer is a ``Some``.

    Args:
        given: What was given as each: ``handle(some, n)``.
        x: The items as they were read, for what was not given one by one; None where that cannot be read again.
    """

    given: tuple[Any, ...]
    x: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """A question to another model: items as it takes them (``Again``), or what it answers to a question about them.

    Args:
        model: What ``xplain.load`` takes; its own card is used if it has one, else that of the items at hand.
        question: The question.
    """

    model: Any
    question: Query | Again


Seeing: TypeAlias = Generator[Query | More | Again | Beside, Answer, R]
"""A lens at work: what it returns becomes a result."""


@dataclass(frozen=True, slots=True, eq=False)
class Some:
    """Some items, read.

    Args:
        view: The items as a method sees them; their target is empty.
        names: What each is called.
        place: The place of the first one in the whole source.
        given: What was given as each, such as a path; None where it was a row of a table.
        pictures: uint8 ``[N, H, W, 3]``, what the model sees, or None.
        card: How pictures became tensors, or None.
        told_apart: Finds out ``digests``; None: they follow from the numbers of ``view.x``.
        drawn: Draws items that are no pictures as squares of a side, uint8 ``[N, side, side, 3]``, or says that they
            have no look; None where they are pictures, or nobody draws.
    """

    view: View
    names: tuple[str, ...]
    place: int
    given: tuple[Any, ...]
    pictures: Array | None = None
    card: Card | None = None
    told_apart: Callable[[], tuple[str, ...]] | None = None
    drawn: Callable[[int], Array | None] | None = None

    @property
    def digests(self) -> tuple[str, ...]:
        """Each item's content as 32 hex digits, equal for equal items, whatever stands beside them."""
        return checksums(self.view.x) if self.told_apart is None else self.told_apart()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What a lens begins with.

    Args:
        outline: What is known of the model, once the first items are read.
        seed: Root of all randomness.
        items: Whether there are any items.
        card: How pictures become tensors, or None.
        kept: Vectors that stand in for items, of this model, each of one layer; empty where items come part by part.
        listed: The files that items are read from, where they are known before; a file that cannot be read is one too.
    """

    outline: Outline
    seed: int = 0
    items: bool = True
    card: Card | None = None
    kept: tuple[KeptVectors, ...] = ()
    listed: tuple[Any, ...] = ()

    def rng(self, stream: str) -> np.random.Generator:
        """An independent, reproducible generator for the named purpose; see ``View.rng``."""
        return View(np.zeros((0, 1)), Target(()), self.outline, self.seed).rng(stream)


def handle(some: Some, n: int) -> Any:
    """What ``Again`` needs to read an item once more; an array is copied, so that it does not hold its whole batch."""
    one = some.given[n]
    return one.copy() if isinstance(one, np.ndarray) and one.base is not None else one
