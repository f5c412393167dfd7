"""Wishes about outputs that are no scores of classes: regions, likeness, words, forecasts, anomalies, key points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.outline import Outline
from xplain.core.target import Target
from xplain.core.targets.formulas import Formula
from xplain.core.targets.heads import head_of
from xplain.core.targets.parts import INPUT, Part
from xplain.core.targets.target_parser import Aim
from xplain.core.targets.wish import At, Wish, called, element, formula, need, proposed

__all__ = ["Anomaly", "Horizon", "Point", "Region", "Similar", "Words"]

_CROSS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
"""A place and its four neighbours."""


@dataclass(frozen=True)
class Region(Wish):
    """The mean of a class's map over a region, which is held fast.

    Args:
        of: The class, a number or a name; ``best`` for the one that is predicted at most places.
        mask: The region: an array ``[H, W]`` or ``[N, H, W]``, the name of a picture, or None for where the class is
            predicted.
        border: Only along its border: one place to either side of it.
    """

    of: int | str
    mask: Any = None
    border: bool = False

    @property
    def word(self) -> str:
        """What it is called."""
        return "border" if self.border else "region"

    @property
    def masks(self) -> tuple[str, ...]:
        """The picture that is named."""
        return (self.mask,) if isinstance(self.mask, str) else ()

    @property
    def settled(self) -> bool:
        """Whether nothing is chosen at the item."""
        return self.mask is not None and self.of != "best"

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The maps."""
        return (need(outline, ("map", "points", "picture"), self.word).tensor,)

    def aims(self, at: At) -> list[Aim]:
        """One target, with a region for each item."""
        maps = at.values[at.head.tensor]
        if maps.ndim != 4:
            raise UsageError(f"Tensor {at.head.tensor!r} is {list(maps.shape)}; a region is of maps [N, C, H, W].")
        k = self._class(at, maps)
        masks = np.stack([self._shaped(one) for one in self._places(at, maps, k)])
        counts = masks.reshape(len(masks), -1).sum(axis=1)
        if not counts.all():
            self._refuse(at, maps, k, int(np.flatnonzero(counts == 0)[0]))
        name = at.outline.label_name(k)
        names = tuple(f"{name} in its {self.word} of {int(n)} places" for n in counts)
        return [Aim(formula("mean", [Part(at.head.tensor, (k,))], [masks / counts[:, None, None]], names=names))]

    def _class(self, at: At, maps: Array) -> int:
        if self.of == "best" and not at.outline.has_label("best"):
            return int(np.bincount(maps.argmax(axis=1).ravel()).argmax())
        return at.outline.label_index(self.of, maps.shape[1])

    def _places(self, at: At, maps: Array, k: int) -> Array:
        """Where the region is in each item, ``[N, H, W]`` of truth."""
        if self.mask is not None:
            given = at.masks[self.mask] if isinstance(self.mask, str) else np.asarray(self.mask)
            if given.ndim not in (2, 3) or given.shape[-2:] != maps.shape[2:]:
                raise UsageError(
                    f"The mask is {list(given.shape)}, but the maps of {at.head.tensor!r} are {list(maps.shape[2:])}. "
                    "Give one of that size, or the name of a picture, which is resized."
                )
            return np.broadcast_to(given > 0, (len(maps), *maps.shape[2:]))
        if maps.shape[1] == 1:
            return np.asarray(maps[:, 0] > (0.5 if at.outline.scores.kind == "probabilities" else 0.0))
        return np.asarray(maps.argmax(axis=1) == k)

    def _shaped(self, mask: Array) -> Array:
        """The region, or the region dilated by one place less the same eroded by one."""
        if not self.border:
            return mask.astype(np.float64)
        wide = np.pad(mask.astype(bool), 1, mode="edge")
        around = [wide[1 + dy : 1 + dy + len(mask), 1 + dx : 1 + dx + mask.shape[1]] for dy, dx in _CROSS]
        return np.asarray(np.logical_or.reduce(around) & ~np.logical_and.reduce(around), dtype=np.float64)

    def _refuse(self, at: At, maps: Array, k: int, n: int) -> None:
        name = at.outline.label_name(k)
        if self.mask is not None:
            raise UsageError("The mask says nowhere: all of it is 0. Give one that is not 0 somewhere.")
        there = [at.outline.label_name(int(j)) for j in np.unique(maps[n].argmax(axis=0))]
        raise UsageError(
            f"Class {name!r} is predicted nowhere in item {n}, so it has no region there; predicted are "
            f"{', '.join(there[:8])}. Name one of these, give a mask, or explain the mean of the whole map: ",
            option("target", f"{at.head.tensor}[{k}]"),
            ".",
        )


@dataclass(frozen=True)
class Similar(Wish):
    """The cosine between an item's embedding and another's.

    Args:
        to: The other: a picture's name, or its embedding ``[D]`` (``[N, D]`` one per item).
    """

    to: Any

    @property
    def pictures(self) -> tuple[str, ...]:
        """The picture that is named."""
        return (self.to,) if isinstance(self.to, str) else ()

    @property
    def settled(self) -> bool:
        """Whether nothing is chosen at the item."""
        return True

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The embedding."""
        head = need(outline, ("embedding", "classes", "regression"), "similar")
        return (head.tensor,)

    def aims(self, at: At) -> list[Aim]:
        """One target."""
        tensor = at.head.tensor
        own = at.values[tensor].reshape(len(at), -1).astype(np.float64)
        other = at.others[self.to] if isinstance(self.to, str) else np.asarray(self.to, dtype=np.float64)
        try:
            given = np.broadcast_to(other.reshape(-1, own.shape[1]), own.shape)
        except ValueError:
            raise UsageError(
                f"The reference is {list(other.shape)}; embeddings {tensor!r} have {own.shape[1]} numbers. Give one of "
                "that shape, or another item."
            ) from None
        length = np.linalg.norm(given, axis=1, keepdims=True)
        if not (length > 0).all():
            raise UsageError("The reference is all 0, which has no direction. Give another.")
        same = [n for n in range(len(own)) if np.array_equal(own[n], given[n])]
        if same and at.swept:
            raise UsageError(
                f"Item {same[0]} is compared with itself: its similarity cannot be larger, so its gradient is 0. "
                "Compare it with another, or use a method that hides parts: rise, occlusion, kernel-shap."
            )
        shape = at.values[tensor].shape
        to = PurePath(self.to).name if isinstance(self.to, str) else "what is given"  # folders are the reader's alone
        numbers = (given / length).reshape(shape)
        names = (f"similarity to {to}",) * len(own)
        return [Aim(formula("similarity", [Part(tensor)], [numbers], names=names))]


@dataclass(frozen=True)
class Words(Wish):
    """The log-probability of words, each given the places before it, added up: of a captioner or a language model.

    Args:
        ids: The words' numbers or labels, from the first place on; empty for the likeliest at every place, or at the
            last one.
        last: Whether it is the last place alone.
    """

    ids: tuple[int | str, ...] = ()
    last: bool = False

    @property
    def settled(self) -> bool:
        """Whether nothing is chosen at the item."""
        return bool(self.ids)

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The words' scores."""
        return (need(outline, ("sequence", "unknown"), "next" if self.last else "words").tensor,)

    def aims(self, at: At) -> list[Aim]:
        """One target: the sum over places t of ``z_t[y_t] - logsumexp(z_t)``."""
        tensor, outline = at.head.tensor, at.outline
        values = at.values[tensor]
        if values.ndim != 3:
            raise UsageError(f"Tensor {tensor!r} is {list(values.shape)}; words are of scores [N, places, words].")
        places = [values.shape[1] - 1] if self.last else list(range(len(self.ids) or values.shape[1]))
        if len(places) > values.shape[1]:
            raise UsageError(f"{len(places)} words are given for {values.shape[1]} places; give one for each at most.")
        target, told = Target(()), []
        for t, place in enumerate(places):
            best = [int(k) for k in values[:, place].argmax(axis=1)]
            ids = [outline.label_index(self.ids[t], values.shape[2])] * len(values) if self.ids else best
            told.append(ids)
            target = target + element(tensor, [(place, k) for k in ids])
            target = target - Target(((1.0, Formula("logsumexp", (Part(tensor, (place,)),))),))
        named = [" ".join(outline.label_name(ids[n]) for ids in told) for n in range(len(values))]
        return [Aim(called(target, [f"log-probability of {one}" for one in named]))]


@dataclass(frozen=True)
class Horizon(Wish):
    """A forecast some steps ahead, in its own unit.

    Args:
        ahead: How many steps behind the first, from 0; None for the mean of all.
        quantile: Which of the numbers of a step, where each has several.
    """

    ahead: int | None = None
    quantile: int | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is chosen at the item."""
        return True

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The forecast."""
        return (head_of(outline).tensor,)

    def aims(self, at: At) -> list[Aim]:
        """One target."""
        tensor = at.head.tensor
        shape = at.values[tensor].shape
        if len(shape) not in (2, 3) or (len(shape) == 2 and self.quantile is not None):
            raise UsageError(f"Tensor {tensor!r} is {list(shape)}; a forecast is [N, steps] or [N, steps, quantiles].")
        if len(shape) == 3 and self.quantile is None and shape[2] > 1:
            raise UsageError(
                f"Each step of {tensor!r} has {shape[2]} numbers; say which: ",
                option("target", f"horizon:{self.ahead or 0},quantile:{shape[2] // 2}"),
                ".",
            )
        ahead = (None, None) if self.ahead is None else self.ahead
        part = Part(tensor, (ahead,) if len(shape) == 2 else (ahead, self.quantile or 0))
        part.check(shape)
        told = "the mean of all steps" if self.ahead is None else f"step {self.ahead}"
        told += "" if self.quantile is None else f", quantile {self.quantile}"
        return [Aim(Target(((1.0, Formula("mean", (part,), names=(told,))),)))]


@dataclass(frozen=True)
class Anomaly(Wish):
    """How far a reconstruction is from the item: the squared distance, over all elements."""

    @property
    def settled(self) -> bool:
        """Whether nothing is chosen at the item."""
        return True

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The reconstruction."""
        head = head_of(outline)
        item = () if outline.explained is None else outline.explained.shape
        if head.shape and item and head.shape[1:] != item[1:]:
            raise UsageError(
                f"'anomaly' compares the item {list(item[1:])} with what is made of it, but {head.tensor!r} is "
                f"{list(head.shape[1:])}. What fits it: ",
                *proposed(head),
                ".",
            )
        return (head.tensor,)

    def aims(self, at: At) -> list[Aim]:
        """One target."""
        names = ("squared distance from its reconstruction",)
        one = Formula("distance", (Part(at.head.tensor), Part(INPUT)), names=names)
        return [Aim(Target(((1.0, one),)))]


@dataclass(frozen=True)
class Point(Wish):
    """A key point: its heat where it is largest, a place that is held fast.

    Args:
        of: Which point, a number or a name.
    """

    of: int | str

    def reads(self, outline: Outline) -> tuple[str, ...]:
        """The heat maps."""
        return (need(outline, ("points", "map"), "point").tensor,)

    def aims(self, at: At) -> list[Aim]:
        """One target, with a place for each item."""
        tensor = at.head.tensor
        k = at.outline.label_index(self.of, at.values[tensor].shape[1])
        heat = at.values[tensor][:, k]
        places = [tuple(int(i) for i in np.unravel_index(int(one.argmax()), one.shape)) for one in heat]
        return [Aim(element(tensor, [(k, *place) for place in places]))]
