"""What models say of pictures that were made: each is asked plainly about the picture as it is saved.

A model is shown the whole picture, its middle three quarters, and its middle half, each resized to what it takes: a
picture that is larger than the model's input, or that was made to please at several scales, is a fair one at any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.cost import Cost
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import CardError, NonFinite, UsageError, XplainError
from xplain.core.outline import Outline
from xplain.core.query import Flow, Model, Reading, Score
from xplain.core.target import EveryScore, Target, every_score
from xplain.core.targets.units import confidence
from xplain.engine import Settings, drive
from xplain.render import pictures

__all__ = ["CROPS", "Judge", "Verdict", "judge_of", "plane_of", "stated_plane"]

CROPS = (1.0, 0.75, 0.5)
"""Shares of a picture's sides that judges are shown."""


@dataclass(frozen=True, slots=True, eq=False)
class Judge:
    """A model with the way in which it is shown pictures.

    Args:
        model: The model.
        card: How colours become its input.
        size: Height and width that it takes.
    """

    model: Model
    card: Card
    size: tuple[int, int]

    def shown(self, pixels: Array, share: float = 1.0) -> Array:
        """A picture uint8 ``[H, W, 3]`` as the model's input, resized to its size without cutting anything off."""
        high, wide = (max(1, round(n * share)) for n in pixels.shape[:2])
        top, left = (pixels.shape[0] - high) // 2, (pixels.shape[1] - wide) // 2
        named = self.model.outline.named
        layout = named.letters if named is not None and named.letters in ("NCHW", "NHWC") else self.card.layout
        whole = replace(self.card, resize_short=None, resize=self.size, crop=None, layout=layout or "NCHW")
        tensor, _ = pictures.prepare(whole, pixels[top : top + high, left : left + wide])
        return tensor

    def asked(self, x: Array, what: Target | EveryScore) -> tuple[Array, Cost]:
        """The answer to a plain question about pictures, float64."""
        (reading,), cost = drive([_asking(Score(x, Untouched(), what))], self.model, Settings())
        return np.asarray(reading.values, np.float64)[:, 0], cost

    def value(self, pixels: Sequence[Array], target: Target) -> tuple[Array, Cost]:
        """A target's value on whole pictures, ``[N]``."""
        return self.asked(np.stack([self.shown(one) for one in pixels]), target)

    def verdict(self, pixels: Sequence[Array], labels: Sequence[int], names: Sequence[str]) -> Verdict:
        """What it says of pictures.

        Args:
            pixels: uint8 ``[H, W, 3]`` each.
            labels: The class of each in the model that they were made for; empty where none was aimed at.
            names: What that model calls it, by which this one's class is found.
        """
        outline, count = self.model.outline, len(pixels)
        crops = CROPS if len(labels) else CROPS[:1]
        x = np.stack([self.shown(one, share) for one in pixels for share in crops])
        told = Verdict(outline.called, np.full((count, len(CROPS), 2), np.nan), ["no number"] * count)
        try:
            scores, told.cost = self.asked(x, every_score)
        except NonFinite as error:  # what was made is not thrown away for it
            told.caveats.append(Caveat(f"{outline.called} judges nothing: {error}"))
            return told
        each = scores.reshape(count, len(crops), -1)
        told.best = [outline.label_name(int(k)) for k in each[:, 0].argmax(axis=1)]
        for n, (label, name) in enumerate(zip(labels, names, strict=True)):
            try:
                own = _class(outline, int(label), name, each.shape[2])
            except XplainError as error:
                told.caveats.append(Caveat(f"{outline.called} is no judge of {name!r}: {error}", "other", n))
                continue
            shares = confidence(each[n], np.full(len(crops), own), outline)
            ranks = (each[n] > each[n][:, own : own + 1]).sum(axis=1)
            told.found[n] = np.stack([shares, ranks], axis=1)
        return told


@dataclass(slots=True, eq=False)
class Verdict:
    """What one model says of N pictures.

    Args:
        judge: What it is called.
        found: (share, rank) of the class aimed at in each crop, ``[N, 3, 2]``; NaN where there is none.
        best: Its own first choice for each whole picture.
        cost: What it cost.
        caveats: What must be known.
    """

    judge: str
    found: Array
    best: list[str]
    cost: Cost = field(default_factory=Cost)
    caveats: list[Caveat] = field(default_factory=list)


def judge_of(model: Model) -> Judge:
    """A model as a judge of pictures.

    Raises:
        CardError: it is not known how a picture becomes its input.
        UsageError: it takes pictures of any size, and nothing says which.
    """
    outline = model.outline
    if outline.card is None:
        raise CardError(
            f"{outline.source} has no preprocessing card, so it cannot be shown a picture. Load it with one first: ",
            option("card", of="load"),
            ".",
        )
    return Judge(model, outline.card, plane_of(outline, outline.card))


def plane_of(outline: Outline, card: Card) -> tuple[int, int]:
    """Height and width that a model is shown: its own, else its card's.

    Raises:
        UsageError: neither says.
    """
    known = stated_plane(outline) or card.crop or card.resize
    if known is None:
        raise UsageError(
            f"{outline.source} takes pictures of any size. Say which: ", option("size", "224x224"), ", or in its card."
        )
    return (int(known[0]), int(known[1]))


def stated_plane(outline: Outline) -> tuple[int, int] | None:
    """Height and width that a model states; None where it takes any. It may be painted for at others, but not asked."""
    spec = outline.explained
    shape = () if spec is None or len(spec.shape) != 4 else spec.shape
    last = outline.named is not None and outline.named.letters == "NHWC"
    plane = [int(n) for n in (shape[1:3] if last else shape[2:4]) if n is not None]
    return (plane[0], plane[1]) if len(plane) == 2 else None


def _class(outline: Outline, label: int, name: str, classes: int) -> int:
    """The judge's class of this name; by number only where neither model has names."""
    for one in (name, *name.split(",")) if outline.labels else ():
        try:
            return outline.label_index(one.strip(), classes)
        except UsageError:
            continue
    if not outline.labels and name.isdecimal() and label < classes:
        return label
    raise UsageError(
        "none of its labels is this one, and numbers of different models need not mean the same. Give it a card with "
        "labels when it is loaded"
    )


def _asking(score: Score) -> Flow:
    return Reading((yield score))
