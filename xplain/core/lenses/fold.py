"""What is kept of an inner tensor's positions: a folder of any size streams in the memory of a few numbers per channel.

    Peek(x, ("conv5",), fold=TopK(9))          # {"conv5": Top(values [N, C, 9], places [N, C, 9])}
    Peek(x, ("conv5",), fold=Mean())           # {"conv5": [N, C]}

A fold is data. A file's graph does it before anything is copied out, a torch module on its own device; ``folded`` is
its definition. It looks at one item alone, so neither chunks nor the copies that fill up a batch can change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from xplain.core.edits import Array

__all__ = ["Fold", "Max", "Mean", "Top", "TopK", "channel_of", "folded", "joined", "rows_of"]


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean over an item's positions, ``[N, C]``.

    Args:
        channel: The axis of channels, counted with the batch in front; None: all behind the batch are positions. Of
            a tensor ``[N, C]``, such as scores asked for beside a layer, it is the second one whatever is said.
    """

    channel: int | None = 1


@dataclass(frozen=True, slots=True)
class Max:
    """The largest value of an item's positions, ``[N, C]``; ``channel`` is as in ``Mean``."""

    channel: int | None = 1


@dataclass(frozen=True, slots=True)
class TopK:
    """The largest values of an item's positions, falling, and where they are: a ``Top``.

    Of equal values the one that comes first is taken first.

    Args:
        count: How many per channel; a layer with fewer positions gives all of them.
        channel: As in ``Mean``.
    """

    count: int = 1
    channel: int | None = 1


Fold: TypeAlias = Mean | Max | TopK


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """The answer to a ``TopK``.

    Args:
        values: ``[N, C, k]``, falling.
        places: int64 ``[N, C, k]``, counted through the tensor's own axes but batch and channels, the last one fastest.
    """

    values: Array
    places: Array


def channel_of(fold: Fold, axes: int) -> int | None:
    """The axis of channels of a tensor with so many axes, its batch among them; None where all are positions."""
    return fold.channel if axes > 2 or fold.channel is None else 1 if axes == 2 else None


def folded(values: Array, fold: Fold) -> Array | Top:
    """A tensor ``[N, ...]`` folded: the definition, for whatever does not fold by itself."""
    channel = channel_of(fold, values.ndim)
    flat = values[:, None] if channel is None else np.moveaxis(values, channel, 1)
    flat = flat.reshape(*flat.shape[:2], -1)
    if isinstance(fold, Mean):
        return np.asarray(flat.mean(axis=2))
    if isinstance(fold, Max):
        return np.asarray(flat.max(axis=2))
    if fold.count == 1:
        places = flat.argmax(axis=2)[..., None]
    else:
        places = np.argsort(-flat, axis=2, kind="stable")[..., : fold.count]
    return Top(np.take_along_axis(flat, places, axis=2), places.astype(np.int64))


def rows_of(answer: Array | Top, count: int) -> Array | Top:
    """The answer of the first ``count`` items: the rest are copies that filled up a batch."""
    return Top(answer.values[:count], answer.places[:count]) if isinstance(answer, Top) else answer[:count]


def joined(parts: Sequence[Array | Top]) -> Array | Top:
    """Answers about some items and others as one about all of them."""
    tops = [one for one in parts if isinstance(one, Top)]
    if tops:
        return Top(np.concatenate([one.values for one in tops]), np.concatenate([one.places for one in tops]))
    return np.concatenate([one for one in parts if not isinstance(one, Top)])
