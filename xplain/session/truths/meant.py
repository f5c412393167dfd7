"""Which boxes a class means, and what must be known of truths that are compared with maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.known_classes import known_classes
from xplain.core.outline import Outline
from xplain.session.truths.known import Known
from xplain.session.truths.reading import Truths

__all__ = ["Held", "beyond", "of_class", "unknown_labels"]


@dataclass(slots=True)
class Held:
    """Truths held against pictures as they come.

    Args:
        truths: What is known.
        pictures: The names of all pictures.
        outline: What is known of the model, with the names of its classes.
    """

    truths: Truths
    pictures: Sequence[str]
    outline: Outline
    labels: Mapping[str, int] = field(init=False)
    classes: Mapping[str, int] = field(init=False)
    cut: list[str] = field(init=False, default_factory=list)
    others: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.labels = self.truths.labels()
        self.classes = known_classes(self.outline, self.labels, len(self.outline.labels))[0]

    def of(self, picture: str, size: tuple[int, int]) -> Known | None:
        """What is known of a picture, of whichever class; None where nothing is stated of it.

        Raises:
            UsageError: it cannot be read, or cannot be of a picture of this height and width.
        """
        known = self.truths.of(self.pictures.index(picture))
        if known is None or not beyond(_fitting(known, size, picture), size):
            return known
        self.cut.append(picture)
        within, limits = _within(known, size), np.array([*size, *size], np.float64)
        labels = tuple(one for one, stays in zip(known.labels, within, strict=True) if stays)
        return replace(known, boxes=np.clip(known.boxes[within], 0, limits), labels=labels)

    def of_class(self, known: Known | None, explained: int, picture: str) -> Known | None:
        """The same of the class that is explained, as ``of_class`` says; None where it is nothing of this class."""
        meant = None if known is None else of_class(known, self.classes, explained)
        if known is not None and meant is None and picture not in self.others:
            self.others.append(picture)
        return meant

    def told(self) -> list[str]:
        """What must be known beside what they were compared with, in sentences."""
        found = list(self.truths.told())
        bare = [name for k, name in enumerate(self.pictures) if k not in self.truths.entries]
        if bare:
            found.append(f"Of {counted(len(bare), 'picture')} nothing is stated, such as {bare[0]}: not compared.")
        if self.others:
            many = counted(len(self.others), "picture")
            found.append(
                f"Of {many} only other classes than the explained one are stated, such as of {self.others[0]}: not "
                "compared."
            )
        if self.cut:
            many = counted(len(self.cut), "picture")
            found.append(f"Of {many} a box reaches beyond the picture and is cut, such as {self.cut[0]}.")
        return [*found, *unknown_labels(self.classes, self.labels, self.outline.called)]


def of_class(known: Known, classes: Mapping[str, int], explained: int) -> Known | None:
    """What is known of a class in an item.

    Of boxes that say what is in them, those of the class that is explained count, if the model knows any of the
    labels; what has no label always counts, and so does a mask.

    Args:
        known: All that is known.
        classes: Which class each label is that the model knows.
        explained: The class; -1 where none is explained, then all counts.

    Returns:
        None where it is nothing of this class.
    """
    if explained < 0 or not classes or not len(known.boxes):
        return known
    meant = np.array([not one or classes.get(one, -1) == explained for one in known.labels], bool)
    if not meant.any() and known.runs is None:
        return None
    labels = tuple(one for one, counts in zip(known.labels, meant, strict=True) if counts)
    return replace(known, boxes=known.boxes[meant], labels=labels)


def _fitting(known: Known, size: tuple[int, int], name: str) -> Known:
    """What is known of a picture, if it can be of it.

    Raises:
        UsageError: it is stated of another size, or lies outside.
    """
    for stated in (known.size, known.shape or None):
        if stated not in (None, size):
            raise UsageError(
                f"{name} is {size[0]} x {size[1]}, and its truth is of {stated[0]} x {stated[1]}; accepted: masks and "
                "boxes of the picture as it is, with EXIF's orientation applied.",
                option="truth",
            )
    if known.runs is None and len(known.boxes) and not _within(known, size).any():
        raise UsageError(
            f"{name} is {size[0]} x {size[1]}, and its box {known.boxes[0].tolist()} (y0, x0, y1, x1) lies outside.",
            option="truth",
        )
    return known


def beyond(known: Known, size: tuple[int, int]) -> bool:
    """Whether a box reaches beyond the picture: what does is cut."""
    limits = np.array([*size, *size], np.float64)
    return bool(((known.boxes < 0) | (known.boxes > limits)).any())


def _within(known: Known, size: tuple[int, int]) -> np.ndarray:
    inside = (known.boxes[:, 0] < size[0]) & (known.boxes[:, 1] < size[1])
    return np.asarray(inside & (known.boxes[:, 2:] > 0).all(axis=1))


def unknown_labels(known: Mapping[str, int], labels: Mapping[str, int], name: str) -> tuple[str, ...]:
    """What must be known of the labels of boxes: which are left out, or that none is known, in at most one sentence."""
    strange = [one for one in labels if one not in known]
    if not strange:
        return ()
    if not known:
        some = ", ".join(map(repr, list(labels)[:3]))[:120]
        all_count = "all boxes of an item count, whatever class is explained."
        return (f"Model {name} knows none of the labels of the boxes ({some}): {all_count}",)
    many, boxes = counted(len(strange), "label"), counted(sum(labels[one] for one in strange), "box", "boxes")
    return (f"Model {name} does not know {many} of boxes, such as {strange[0]!r}; not compared: {boxes}.",)
