"""Pictures that were made for a model: what they are, how they came about, and what it and its judges say of them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.keeping.files import whole_file
from xplain.core.keeping.plain import counted
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.result import ARRAY_PER_ITEM, BESIDE, Result

__all__ = ["Picture"]

_TOLD = ("painted within", "learnt", "as a generator")
"""Facts of the whole run that a person should read first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture(Result):
    """N pictures that a recipe made; the recipe is ``method``.

    What models say is said of the picture as it is saved, in whole numbers of 0..255: a picture that convinces only
    as long as it is held in floating point convinces nobody.

    Args:
        picture: float32 ``[N, C, H, W]`` in 0..1: RGB, or one channel for grey.
        state: What was moved, ``[N, *state]``, for those who want to go on.
        trace: The objective at each step, float64 ``[N, T]``.
        judges: Who was asked: first the model itself, then those of ``judge=``.
        judged: Of each judge (share, rank) for the class that was aimed at, in the whole picture, in its middle three
            quarters and in its middle half, float64 ``[N, J, 3, 2]``: share is its probability, or its score where no
            more is known; rank 0 is the best. NaN where there is no such class.
        value: The target's value on the saved picture, float64 ``[N]``; NaN without a target.
        frames: The way in small pictures, uint8 ``[N, F, h, w, 3]``; or None.
        original: What each picture was made of, uint8 ``[N, h, w, 3]``; None where it was made of nothing.
        files: What a recipe made besides, such as a trained net, by the name of its file; ``save`` leaves it out.
    """

    what: ClassVar[str] = "picture"
    checks: ClassVar[Mapping[str, Check]] = {"judges": ("a list of texts", list_of(text))}

    picture: Array = field(metadata=ARRAY_PER_ITEM)
    state: Array = field(metadata=ARRAY_PER_ITEM)
    trace: Array = field(metadata=ARRAY_PER_ITEM)
    judged: Array = field(metadata=ARRAY_PER_ITEM)
    value: Array = field(metadata=ARRAY_PER_ITEM)
    judges: tuple[str, ...] = ()
    frames: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    original: Array | None = field(default=None, metadata=ARRAY_PER_ITEM)
    files: Mapping[str, bytes] = field(default_factory=dict, metadata=BESIDE)

    @property
    def recipe(self) -> str:
        """Name of the recipe."""
        return self.method

    @property
    def pixels(self) -> Array:
        """The pictures as they are saved, uint8 ``[N, H, W, 3]``."""
        whole = np.rint(np.clip(self.picture, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
        return np.ascontiguousarray(np.broadcast_to(whole, (*whole.shape[:3], 3)))

    @property
    def shares(self) -> Array:
        """What each judge gives the class aimed at in the whole picture, ``[N, J]``; the model itself is the first."""
        whole: Array = self.judged[:, :, 0, 0]
        return whole

    @property
    def ranks(self) -> Array:
        """The class' best rank among the three crops, for each judge, ``[N, J]``; 0 is the first."""
        best: Array = self.judged[..., 1].min(axis=2)
        return best

    def strip(self, **options: Any) -> Any:
        """All pictures side by side, with what was found of each, as an image with ``save``; see renderer ``strip``."""
        return self.render("strip", **options)

    def gif(self, path: str | os.PathLike[str], **options: Any) -> Path:
        """The way as an animation, written whole or not at all; see the renderer ``gif``.

        Raises:
            OutputError: the place cannot be written.
            UsageError: no frames were kept.
        """
        content: bytes = self.render("gif", **options)
        with whole_file(path) as file:
            file.write(content)
        return Path(path)

    def __repr__(self) -> str:
        return f"<Picture {self.recipe} {list(self.picture.shape)}, {self.cost.sweeps} sweeps>"

    def __str__(self) -> str:
        made, swept = counted(len(self), "picture"), counted(self.cost.sweeps, "sweep")
        lines = [f"{self.recipe}: {made} of {self.provenance.source} ({swept})"]
        lines += [f"  {told}: {self.facts[told]}" for told in _TOLD if told in self.facts]
        for n in range(len(self)):
            told = []
            for judge, share, rank in zip(self.judges, self.shares[n], self.ranks[n], strict=True):
                if not np.isnan(rank):
                    told.append(f"{judge} {share:.3f} (best rank {int(rank)})")
            value = f", target {self.value[n]:.4g}" if not np.isnan(self.value[n]) else ""
            facts = [f"{name} {_short(entries[n])}" for name, entries in self.each.items()]
            called = self.name_of(n) or f"picture {n}"
            lines.append(f"  {called}{value}{': ' if told or facts else ''}{'; '.join([*told, *facts])}")
        return "\n".join([*lines, *(f"  ! {said}" for said in self.said)])

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """A result with these fields; those of this kind alone are still as JSON has them."""
        return cls(**{**given, "judges": tuple(given.get("judges", ()))})

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of pictures; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        if absent := sorted(set(cls.arrays()) - {"frames", "original"} - arrays.keys()):
            raise Fault(f"it holds no {absent[0]}")
        picture = arrays["picture"]
        if picture.ndim != 4 or picture.dtype.kind != "f" or not len(picture) or picture.shape[1] not in (1, 3):
            raise Fault(
                f"its picture is {picture.dtype} {list(picture.shape)}; real numbers [N, 1 or 3, H, W] are needed"
            )
        count, judges = len(picture), len(meta.get("judges", ()))
        shapes = {"judged": (count, judges, 3, 2), "value": (count,)}
        for name in ("state", "trace", "judged", "value"):
            one = arrays[name]
            if one.dtype.kind != "f" or one.ndim < 1 or len(one) != count or one.shape != shapes.get(name, one.shape):
                raise Fault(f"its {name} is {one.dtype} {list(one.shape)}, which does not fit {count} pictures")
        frames = arrays.get("frames")
        if frames is not None and (frames.ndim != 5 or frames.dtype != np.uint8 or len(frames) != count):
            raise Fault(f"its frames are {frames.dtype} {list(frames.shape)}; uint8 [N, F, H, W, 3] are needed")
        first = arrays.get("original")
        if first is not None and (first.ndim != 4 or first.dtype != np.uint8 or len(first) != count):
            raise Fault(f"its original is {first.dtype} {list(first.shape)}; uint8 [N, H, W, 3] is needed")
        return count


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
