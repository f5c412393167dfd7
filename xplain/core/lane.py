"""A lane of an audit: one model, one method with its options, one rule for targets, and every choice of the way there.

What a call would choose by itself (the layer, how many rows go at once, whether a compiled graph answers) is chosen
once, when the audit is planned, and stands here; so the same item has the same bits whoever asks, and how often.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

import numpy as np

from xplain.core.edits import Array

__all__ = ["CHANNELS", "PREDICTED", "Lane", "LaneAnswer", "LaneRows", "rank_of"]

PREDICTED = "predicted"
"""The rule that explains of each item what is predicted. Others: ``label``, ``runner-up``, and ``top:K``."""

CHANNELS = 64
"""Numbers per item that a relevance vector has at most."""


_TOP = re.compile(r"top:([1-9][0-9]{0,5})")


def rank_of(rule: Any) -> int | None:
    """The rank of the class that a rule explains, 1 for the best; 0 for the label's; None for any other target."""
    if not isinstance(rule, str):
        return None
    found = _TOP.fullmatch(rule)
    return int(found[1]) if found else {"label": 0, PREDICTED: 1, "runner-up": 2}.get(rule)


@dataclass(frozen=True, slots=True)
class Lane:
    """One model x one method x one rule for targets, and how it is answered.

    Args:
        name: What records call it.
        model: What the plan calls the model.
        model_sha256: The model's digest, as its outline says it.
        method: The method's name.
        options: Its options, the layer among them where the method would have chosen one.
        target: ``predicted``, ``label`` (the class of the item's own), ``runner-up``, ``top:K`` (the class of rank K),
            or a class, a label's name or a target in words, the same for every item.
        engine: ``"graph"``: one compiled file answers scores and map; ``"drive"``: the engine asks the model.
        why: Why the engine asks, where the method could be compiled.
        rows: Rows of a batch; the last one of a shard is filled up.
        item: Shape of an item as the model takes it.
        native_shape: Shape of a map as the method makes it, before it would be enlarged.
        classes: Scores per item; 0 where the model has no classes.
        relevance: Numbers of a relevance vector.
        scores: The compiled file's output that holds the scores.
        file: sha256 of the compiled file; empty where there is none.
        seed: Root of all randomness.
        threads: Threads of one model call.
        layout: How the axes of items are named, as it was read.
        card: The preprocessing card in TOML; empty where items are tensors.
        unit: What one unit of the map is.
        score: What one unit of a score is.
        batch: Rows of a model call, at most, where the engine asks, so that a machine with more cores cuts no other
            batches; 0 where whoever answers decides.
    """

    name: str
    model: str
    model_sha256: str
    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    target: Any = PREDICTED
    engine: Literal["graph", "drive"] = "drive"
    why: str = ""
    rows: int = 1
    item: tuple[int, ...] = ()
    native_shape: tuple[int, ...] = ()
    classes: int = 0
    relevance: int = 0
    scores: str = ""
    file: str = ""
    seed: int = 0
    threads: int = 1
    layout: str = ""
    card: str = ""
    unit: str = ""
    score: str = ""
    batch: int = 0

    @property
    def map_axes(self) -> str:
        """Letters of its maps' axes, such as ``HW`` or ``CT``; empty where a map has other axes than the items."""
        letters = self.layout[1:]
        if len(letters) != len(self.native_shape):
            letters = letters.replace("C", "")
        return letters if len(letters) == len(self.native_shape) else ""

    @property
    def is_series(self) -> bool:
        """Whether its maps go over time alone, each channel for itself or all at once."""
        return "T" in self.map_axes and not set(self.map_axes) - set("CT")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as JSON takes it."""
        told = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """What ``to_dict`` made, also after a journey through JSON."""
        shapes = {name: tuple(raw[name]) for name in ("item", "native_shape")}
        return cls(**{**raw, **shapes})

    def projection(self, channels: int) -> Array | None:
        """The fixed matrix ``[C, R]`` of plus and minus 1 / sqrt(R) that projects C channels; None where C is R.

        Distances are kept up to about 1 / sqrt(R). Its signs are bits of SHA-256, so that no library draws them.

        Source:
            Achlioptas, Database-friendly random projections, 2003.
        """
        if channels == self.relevance:
            return None
        wanted = channels * self.relevance
        blocks = (hashlib.sha256(f"{self.seed}/relevance/{k}".encode()).digest() for k in range(-(-wanted // 256)))
        bits = np.unpackbits(np.frombuffer(b"".join(blocks), np.uint8))[:wanted]
        signs = np.where(bits, 1.0, -1.0) / np.sqrt(self.relevance)
        return np.asarray(signs.reshape(channels, self.relevance))


@dataclass(frozen=True, slots=True, eq=False)
class LaneRows:
    """One batch of a lane.

    Args:
        x: ``[rows, *item]``; rows that hold no item are zeros.
        real: Which rows hold one, bool ``[rows]``.
        keys: What each draws under.
        labels: The class of each one's label, int64 ``[rows]``; -1 where it has none, or one that the model lacks.
        given: What each is as a person gives it, where the model reads items by a door of its own: a table's row as a
            mapping, or a text; None for a row that holds no item. Empty where ``x`` is all that there is.
    """

    x: Array
    real: Array
    keys: tuple[str, ...]
    labels: Array
    given: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LaneAnswer:
    """What a lane says of a batch; rows that hold no item, or failed, are NaN, and -1 as a target.

    Args:
        scores: float64 ``[rows, K]``.
        targets: The class that was explained, int64 ``[rows]``; -1 where the target is no class.
        values: The target's value, float64 ``[rows]``.
        maps: float32 ``[rows, *native]``.
        error: Standard error of each value of the map, the same shape; None for a method that states none.
        relevance: float32 ``[rows, R]``.
        why: Rows that failed, and what was wrong with each.
        words: What is explained of all items, where the target is no class.
        extents: Positions that each row's map has of its own, int64 ``[rows]``, where maps are filled up with zeros, as
            a short text's are; None where all are as large.
    """

    scores: Array
    targets: Array
    values: Array
    maps: Array
    error: Array | None
    relevance: Array
    why: dict[int, str]
    words: str = ""
    extents: Array | None = None

    @classmethod
    def blank(cls, lane: Lane, rows: int, errors: bool) -> LaneAnswer:
        """An answer in which every row is missing."""

        def missing(*shape: int, dtype: Any = np.float64) -> Array:
            return np.full((rows, *shape), np.nan, dtype)

        shape, single = lane.native_shape, np.float32
        return cls(
            missing(lane.classes),
            np.full(rows, -1, np.int64),
            missing(),
            missing(*shape, dtype=single),
            missing(*shape, dtype=single) if errors else None,
            missing(lane.relevance, dtype=single),
            {},
        )

    def fail(self, row: int, why: str) -> None:
        """Say that a row has no answer, and why."""
        self.why[row] = why
        self.clear(row)

    def clear(self, row: int) -> None:
        """Take the answer of a row away."""
        every = (self.scores, self.values, self.maps, self.relevance, self.error)
        for one in (one for one in every if one is not None):
            one[row] = np.nan
        self.targets[row] = -1
