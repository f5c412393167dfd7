"""Vectors of items, one part after another, from one pass of the model over each, with what is known of each item."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any, TypeAlias, TypeVar

import numpy as np

from xplain.core.card import Card
from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.lenses.fold import Mean
from xplain.core.lenses.kept_vectors import KeptVectors
from xplain.core.lenses.scene import Beside, More, Scene, Some
from xplain.core.outline import Outline
from xplain.core.query import Answer, Peek
from xplain.core.target import SCORES
from xplain.explainers.see.kept import asked_for, labelled_by, left_aside, pictures_of, read_of
from xplain.explainers.see.positions import Read, vector_reader
from xplain.explainers.see.tiles import pixels_of, tiles_of

__all__ = ["Gathered", "asked", "beside", "best", "called", "class_asked", "finite", "folder_of", "gathered"]
__all__ += ["item_name", "named_outline", "true_class", "with_labels"]

R = TypeVar("R")


@dataclass(slots=True)
class Gathered:
    """What was read of all items.

    Args:
        reads: How each layer is read.
        names: What the items are called.
        vectors: Layer to vectors ``[N, D]``.
        predicted: The class of each that the model predicts; empty where its scores are no vector of classes.
        confidence: The largest score of each, float64 ``[N]``; NaN where there is none.
        truth: The folder that each lies in, where folders are labels.
        thumbnails: Small pictures, ``[N, s, s, 3]``, or None.
        pixels: Pixels ``[N, P]`` that neighbours are found among; None where they were not asked for.
        left_out: Items for which a layer holds NaN or infinity.
        strange: True classes that the model does not have.
        source: What is told of where the vectors come from, where they were kept before.
        told: What else must be known.
    """

    reads: dict[str, Read] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    vectors: dict[str, Array] = field(default_factory=dict)
    predicted: list[str] = field(default_factory=list)
    confidence: list[float] = field(default_factory=list)
    truth: list[str] = field(default_factory=list)
    thumbnails: Array | None = None
    pixels: Array | None = None
    left_out: list[str] = field(default_factory=list)
    strange: set[str] = field(default_factory=set)
    source: dict[str, Any] = field(default_factory=dict)
    told: tuple[Caveat, ...] = ()

    @property
    def warnings(self) -> tuple[Caveat, ...]:
        """What must be known of the vectors."""
        if not self.left_out:
            return self.told
        more = f" and {len(self.left_out) - 1} more" if len(self.left_out) > 1 else ""
        said = f"The layer holds NaN or infinity for {self.left_out[0]}{more}, left out here."
        return (Caveat(said, "input"), *self.told)

    @property
    def facts(self) -> dict[str, Any]:
        """What a result says of how the vectors were read."""
        told = {name: read.how for name, read in self.reads.items()}
        strange = {"classes that the model does not have": sorted(self.strange)} if self.strange else {}
        strange |= self.source
        if len(told) == 1:
            ((name, how),) = told.items()
            width = self.vectors[name].shape[1] if name in self.vectors else 0
            return {"layer": name, "width": width, **({"positions": how} if how else {}), **strange}
        return {"layers": list(told), "positions": {name: how for name, how in told.items() if how}, **strange}


Layers: TypeAlias = "str | Sequence[str]"


def gathered(
    scene: Scene,
    layers: Sequence[str],
    positions: str | None,
    *,
    labelled: bool = False,
    thumbnail: int = 0,
    pixels: int = 0,
) -> Generator[Any, Answer, Gathered]:
    """Vectors of every item at some layers, from one pass of the model over them, or those that were kept of them.

    Args:
        scene: The items.
        layers: Whole names, or ``auto``.
        positions: As for ``vector_reader``, of all layers.
        labelled: Whether an item's folder is its true class.
        thumbnail: Pixels of a small picture's side; 0 for none.
        pixels: Pixels of the side at which pictures are compared; 0 for none. What is no picture is compared whole.

    Raises:
        UsageError: as ``vector_reader``, or the vectors that were kept are of something else.
    """
    if scene.kept:
        return (yield from _from_kept(scene, asked_for(scene, layers, positions), labelled, (thumbnail, pixels)))
    found = Gathered()
    parts: dict[str, list[Array]] = {}
    small_ones: list[Array] = []
    flat: list[Array] = []
    while (some := (yield More())) is not None:
        if not found.reads:
            found.reads = {read.layer: read for read in (vector_reader(some.view, one, positions) for one in layers)}
            parts = {name: [] for name in found.reads}
        answer = yield from asked(some, list(found.reads.values()))
        rows = {name: read.vectors(answer[name]) for name, read in found.reads.items()}
        kept = finite(rows.values())
        found.left_out += [name for name, fine in zip(some.names, kept, strict=True) if not fine]
        for name in rows:
            parts[name].append(rows[name][kept])
        outline = named_outline(some)
        predicted, confidence = best(answer.get(SCORES), outline)
        found.predicted += [one for one, fine in zip(predicted, kept, strict=False) if fine]
        found.confidence += [one for one, fine in zip(confidence, kept, strict=False) if fine]
        found.names += [one for one, fine in zip(called(some), kept, strict=True) if fine]
        classes = [true_class(one, outline) for one in some.given] if labelled else []
        found.truth += [name for (name, _), fine in zip(classes, kept, strict=False) if fine]
        found.strange |= {name for name, known in classes if not known}
        drawn = tiles_of(some, thumbnail) if thumbnail else None
        if drawn is not None:
            small_ones.append(drawn[kept])
        if pixels:
            flat.append(pixels_of(some, pixels)[kept])
    found.vectors = {name: np.concatenate(rows) for name, rows in parts.items()}
    whole = len(small_ones) and sum(map(len, small_ones)) == len(found.names)
    found.thumbnails = np.concatenate(small_ones) if whole else None
    found.pixels = np.concatenate(flat) if flat else None
    return found


def _from_kept(
    scene: Scene, kept: Sequence[KeptVectors], labelled: bool, sides: tuple[int, int]
) -> Generator[Any, Answer, Gathered]:
    """The same of vectors that were kept; pictures are read once more, for drawing and comparing them."""
    first = kept[0]
    outline = with_labels(scene.outline, scene.card)
    classes = labelled_by(first, true_class, outline) if labelled else []
    pictures = yield from pictures_of(first, range(len(first)), *sides)
    sources = [one.source for one in kept]
    return Gathered(
        reads={one.layer: read_of(one) for one in kept},
        names=[item_name(name, name) for name in first.names],
        vectors={one.layer: one.vectors for one in kept},
        predicted=list(first.predicted),
        confidence=first.confidence.tolist(),
        truth=[name for name, _ in classes],
        thumbnails=pictures.thumbnails,
        pixels=pictures.pixels,
        strange={name for name, known in classes if not known},
        source={"kept in": sources[0] if len(sources) == 1 else sources, "items": len(first)},
        told=(*left_aside(scene.kept, first), *pictures.warnings),
    )


def asked(some: Some, reads: Iterable[Read]) -> Generator[Any, Answer, Mapping[str, Array]]:
    """The values of some layers, and the scores, of one pass; a mean is taken by the model where it can be."""
    listed = list(reads)
    taps = tuple(dict.fromkeys(read.layer for read in listed))
    scored = _scored(some.view.outline)
    with_scores = (*taps, SCORES) if scored and SCORES not in taps else taps
    if all(read.folds for read in listed):
        found: Mapping[str, Array] = yield Peek(some.view.x, with_scores, Mean(), many=True)
        shapes = {read.layer: read.grid.shape for read in listed if read.grid is not None}
        return {
            tap: values.reshape(*values.shape, *(1,) * (len(shapes[tap]) - 1)) if tap in shapes else values
            for tap, values in found.items()
        }
    answer: Mapping[str, Array] = yield Peek(some.view.x, with_scores, many=True)
    return answer


def beside(model: Any, flow: Generator[Any, Answer, R]) -> Generator[Any, Answer, R]:
    """The same flow, its questions asked of another model."""
    answer = None
    while True:
        try:
            question = flow.send(answer)
        except StopIteration as stop:
            returned: R = stop.value
            return returned
        answer = yield Beside(model, question)


def _scored(outline: Outline) -> bool:
    return outline.scores.classes is not None


def best(scores: Array | None, outline: Outline) -> tuple[list[str], list[float]]:
    """The predicted class of each row of scores and its score; nothing where they are no vector of classes."""
    if scores is None:
        return [], []
    rows = np.asarray(scores).reshape(len(scores), -1).astype(np.float64)
    if rows.shape[1] != outline.scores.classes:
        return [], []
    top = rows.argmax(axis=1)
    return [outline.label_name(int(k)) for k in top], [float(v) for v in rows[np.arange(len(rows)), top]]


def finite(rows: Iterable[Array]) -> Array:
    """Which items have finite vectors at all layers, bool ``[N]``."""
    fine: Array = np.logical_and.reduce([np.isfinite(one).all(axis=1) for one in rows])
    return fine


def called(some: Some) -> list[str]:
    """What items are called: a file by its folder and name, for a folder per class has the same names in each."""
    return [item_name(one, name) for one, name in zip(some.given, some.names, strict=True)]


def item_name(given: Any, name: str) -> str:
    """What one item is called."""
    return "/".join(PurePath(given).parts[-2:]) if folder_of(given) else name


def named_outline(some: Some) -> Outline:
    """What is known of the model, with the class names of the card that is used, where it has none of its own."""
    return with_labels(some.view.outline, some.card)


def with_labels(outline: Outline, card: Card | None) -> Outline:
    """The same of any card."""
    labels = () if card is None else card.labels
    fits = not outline.labels and len(labels) == outline.scores.classes
    return replace(outline, labels=labels) if fits else outline


def class_asked(some: Some, wanted: str) -> tuple[int, str]:
    """The class that is called so, or has that number: its number, and its name.

    Raises:
        UsageError: there is none, or the model answers no vector of classes.
    """
    outline = named_outline(some)
    classes = outline.scores.classes
    if classes is None:
        raise UsageError("Concepts are asked of a class's score, and this model answers no vector of classes.")
    index = outline.label_index(int(wanted) if wanted.lstrip("-").isdecimal() else wanted, classes)
    return index, outline.label_name(index)


def true_class(given: Any, outline: Outline) -> tuple[str, bool]:
    """The class that a file's folder names, as the model calls it, and whether the model has it at all."""
    name = folder_of(given)
    if outline.scores.classes is None or not name:
        return name, False
    try:
        return outline.label_name(outline.label_index(name, outline.scores.classes)), True
    except UsageError:
        return name, False


def folder_of(given: Any) -> str:
    """The folder that a file lies in, which is its class where there is a folder per label; empty for none."""
    return PurePath(given).parent.name if isinstance(given, str) or hasattr(given, "__fspath__") else ""
