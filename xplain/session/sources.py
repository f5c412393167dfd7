"""A source as pieces that are read one after another: lists, frames and batches in slices, iterators as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
        single: Items that were given one by one.
        whole: Several items given as one thing, such as a batch or a frame; else None.
    """

    single: Sequence[Any] = ()
    whole: Any = None


def pieces_of(model: Model, source: Any, at_once: int) -> Iterator[Piece]:
    """A source in pieces.

    Args:
        model: Says what a batch is.
        source: Items as ``xplain.explain`` takes them, or an iterable of items and of chunks of items. A chunk is a
            list, a frame, or an array with the model's batch axis in front.
        at_once: Items that are read together.

    Raises:
        UsageError: there is nothing to explain, or a source that is neither.
    """
    if isinstance(source, np.ndarray) and _is_batch(model, source):
        return (Piece(whole=source[k : k + at_once]) for k in range(0, len(source), at_once))
    if _is_whole(source) or (abilities_of(model).read is not None and isinstance(source, (list, tuple))):
        return iter([Piece(whole=source)])
    if not isinstance(source, Iterable):
        return iter([Piece(single=[source])])
    if isinstance(source, Sequence) and not source:
        raise UsageError("There is nothing to explain: the list of items is empty.")
    return _grouped(model, source, at_once)


def _grouped(model: Model, source: Iterable[Any], at_once: int) -> Iterator[Piece]:
    single: list[Any] = []
    for one in source:
        if isinstance(one, (list, tuple)) or is_frame(one) or _is_batch(model, one):
            if single:
                yield Piece(single=single)
                single = []
            yield Piece(whole=one)
            continue
        single.append(one)
        if len(single) == at_once:
            yield Piece(single=single)
            single = []
    if single:
        yield Piece(single=single)


def _is_whole(source: Any) -> bool:
    """What is one item, or is read in one go."""
    return isinstance(source, (str, Path)) or is_rows(source) or hasattr(source, "detach") or _is_array(source)


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
