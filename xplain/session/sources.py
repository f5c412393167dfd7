"""A source as pieces that are read one after another: lists, frames and batches in slices, iterators as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.errors import UsageError
from xplain.core.query import Model
from xplain.models.rows.dataframes import is_frame, is_rows

__all__ = ["Piece", "pieces_of"]


@dataclass(frozen=True, slots=True)
class Piece:
    """What is read next.

    Args:
        single: Its items one by one; empty where they cannot be told apart before they are read.
        together: The same as one thing that is read in one go, such as a batch or a frame; None where each is read
            for itself.
    """

    single: Sequence[Any] = ()
    together: Any = None


def pieces_of(model: Model, source: Any, at_once: int) -> Iterator[Piece]:
    """A source in pieces.

    Args:
        model: Says what a batch is, and whether it reads its items itself.
        source: Items as ``xplain.explain`` takes them, or an iterable of items and of chunks of items. A chunk is a
            list, a frame, or an array with the model's batch axis in front.
        at_once: Items that are read together.

    Raises:
        UsageError: there is nothing to explain: a list, an array or a table without items, which is a slip as it is in
            ``explain``. An iterator may end before its first item, for nobody can look into one before.
    """
    shape = getattr(source, "shape", None)
    counted = shape[:1] if shape is not None else (len(source),) if isinstance(source, (Sequence, Mapping)) else ()
    if 0 in counted and not isinstance(source, str):
        raise UsageError("There is nothing to explain: the list of items is empty.")
    if model.outline.joined and isinstance(source, (list, tuple, Mapping)):
        # a mapping for each item; else all items of each input, by name or in order
        one_by_one = isinstance(source, list) and all(isinstance(one, Mapping) for one in source)
        return _grouped(model, source, at_once) if one_by_one else iter([Piece(together=source)])
    if _is_batch(model, source):
        return (_batch(source[k : k + at_once]) for k in range(0, len(source), at_once))
    table = abilities_of(model).codes is not None  # what is typical of a table follows from all of its rows
    if _is_whole(source) or (table and isinstance(source, (list, tuple))):
        return iter([Piece(together=source)])
    if not isinstance(source, Iterable):
        return iter([Piece(single=[source])])
    return _grouped(model, source, at_once)


def _grouped(model: Model, source: Iterable[Any], at_once: int) -> Iterator[Piece]:
    """Single items in groups; chunks as they come."""
    reads = abilities_of(model).read is not None

    def several(items: list[Any]) -> Piece:
        return Piece(single=items, together=items if reads else None)

    waiting: list[Any] = []
    rest = iter(source)
    while True:
        try:
            one = next(rest)
        except StopIteration:
            break
        except Exception:
            if waiting:  # what was made before is explained before the error is told
                yield several(waiting)
            raise
        chunk = isinstance(one, (list, tuple)) or is_frame(one) or _is_batch(model, one)
        if chunk and waiting:
            yield several(waiting)
            waiting = []
        if chunk and not len(one):
            continue
        if isinstance(one, (list, tuple)):
            yield several(list(one))
        elif chunk:
            yield Piece(together=one) if is_frame(one) else _batch(one)
        else:
            waiting.append(one)
            if len(waiting) == at_once:
                yield several(waiting)
                waiting = []
    if waiting:
        yield several(waiting)


def _batch(rows: Any) -> Piece:
    return Piece(single=list(rows), together=rows)


def _is_whole(source: Any) -> bool:
    """What is one item, or is read in one go."""
    return isinstance(source, (str, Path, bytes)) or is_rows(source) or hasattr(source, "detach") or _is_array(source)


def _is_array(source: Any) -> bool:
    return isinstance(source, np.ndarray) or hasattr(source, "__array__")


def _is_batch(model: Model, one: Any) -> bool:
    """Whether an array has a batch axis, as far as the model says how many axes a batch has."""
    shape = getattr(one, "shape", None)
    if shape is None or (not _is_array(one) and not hasattr(one, "detach")) or str(one.dtype) == "uint8":
        return False
    outline = model.outline
    spec = outline.explained
    if outline.named is not None:
        return len(shape) == len(outline.named.letters)
    return spec is not None and len(spec.shape) > 1 and len(shape) == len(spec.shape)
