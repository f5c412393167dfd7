"""What a recipe is told, and what it hands back: a commission, and what was painted."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.query import Answer, Query
from xplain.core.synthesis.ink import Ink
from xplain.core.target import Target

__all__ = ["Commission", "Painted", "Painting"]


@dataclass(frozen=True, slots=True, eq=False)
class Commission:
    """What is to be painted; never the model.

    Args:
        outline: What is known of the model.
        ink: How colours become its input.
        size: Height and width that the model takes.
        keys: What each of N pictures draws under: its target or source, and its number among those that are alike.
        target: What each picture is to excite, for N pictures; None for recipes that need none.
        pictures: Given pictures by the name of their source, each ``[C, H, W]`` in 0..1.
        names: What the given pictures are called, by source.
        seed: Root of all randomness.
        studio: What trains nets for recipes that do; see ``xplain.session.synthesis.studio``.
        others: What is known of other models that were given, by the name of their source.
        kept: What the flow itself put aside to go on from (``Slope.kept``); empty for a new start.
    """

    outline: Outline
    ink: Ink
    size: tuple[int, int]
    keys: tuple[str, ...]
    target: Target | None = None
    pictures: Mapping[str, tuple[Array, ...]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    seed: int = 0
    kept: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Outline] = field(default_factory=dict)
    studio: Any = None

    @property
    def count(self) -> int:
        """N."""
        return len(self.keys)

    @property
    def channels(self) -> int:
        """Channels of the pictures."""
        return self.ink.channels

    @property
    def aimed(self) -> Target:
        """The target, for recipes that need one.

        Raises:
            UsageError: none was given.
        """
        if self.target is None:
            raise UsageError(
                "There is nothing to excite: say which class, channel or unit with ",
                option("target", "LABEL"),
                ", such as a label's name, a class number, or 'LAYER[12]' for a channel.",
            )
        return self.target

    def rng(self, stream: str, key: str = "") -> np.random.Generator:
        """An independent, reproducible generator for a purpose and a picture (Philox, keyed by seed and names)."""
        digest = hashlib.sha256(f"{self.seed}/{stream}/{key}".encode()).digest()[:16]
        return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))

    def rngs(self, stream: str) -> list[np.random.Generator]:
        """A generator for each picture."""
        return [self.rng(stream, key) for key in self.keys]

    def stacked(self, source: str) -> Array:
        """The given pictures of one source, ``[M, C, H, W]``.

        Raises:
            UsageError: they have several sizes.
        """
        given = self.pictures[source]
        if len({one.shape for one in given}) > 1:
            raise UsageError(f"The pictures of {source!r} have several sizes; crop them to one.")
        return np.stack(given)


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """What a recipe returns.

    Args:
        picture: ``[N, C, H, W]`` in 0..1, float32.
        state: The states of the canvases, ``[N, *state]``.
        trace: The objective at each step, ``[T, N]``; NaN where a picture had no such step.
        names: What each picture is called; empty: by its target.
        target: What each picture excites, where the recipe chose it itself.
        notes: Facts of the whole run.
        each: Facts of single pictures, name to a list of N or an array ``[N, ...]``.
        warnings: What a person must know.
        frames: A film of its own, uint8 ``[N, F, h, w, 3]``; None for the pictures on the way.
        original: What each picture was made of, uint8 ``[N, h, w, 3]``, to be shown beside it; None for nothing.
        files: What was made besides, such as a trained net: a file's name to its content.
    """

    picture: Array
    state: Array
    trace: Array
    names: tuple[str, ...] = ()
    target: Target | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    each: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Caveat, ...] = ()
    frames: Array | None = None
    original: Array | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)


Painting: TypeAlias = Generator[Query, Answer, Painted]
"""A recipe's flow."""
