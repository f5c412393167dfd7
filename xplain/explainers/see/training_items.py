"""Training items as the last layer sees them: vectors at one checkpoint or several, labels, pictures to be drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lenses.kept_vectors import KeptVectors
from xplain.core.lenses.scene import Again, Beside, More, Scene, Some
from xplain.core.outline import Outline
from xplain.explainers.see.kept import asked_for
from xplain.explainers.see.kept import pictures_of as kept_pictures
from xplain.explainers.see.last_layer import LastLayer, last_layer
from xplain.explainers.see.tiles import tiles_of
from xplain.explainers.see.vectors import (
    asked,
    beside,
    called,
    finite,
    folder_of,
    item_name,
    named_outline,
    with_labels,
)

__all__ = ["Others", "Training", "foretold", "kept_training", "others", "pictures_of", "read_others", "training"]

_AT_ONCE = 16
_MOST_SAID = 5


@dataclass(eq=False)
class Training:
    """What was read of all training items.

    Args:
        outline: What is known of the model, with the names of its classes.
        models: None for the model itself, then the other checkpoints.
        lasts: The last layer of each.
        names: What items are called.
        given: What reads each once more, a file's path; None for what is no file.
        folders: The folder that each lies in.
        features: For each model what enters its last layer, ``[N, D]``.
        thumbnails: Small pictures of items that are no files, by place.
        left_out: Items for which a layer holds NaN or infinity.
        kept: The vectors that stand in for the items; None where these were read.
        told: What must be known of the pictures.
    """

    outline: Outline
    models: tuple[Any, ...]
    lasts: list[LastLayer]
    names: list[str] = field(default_factory=list)
    given: list[Any] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    features: list[Array] = field(default_factory=list)
    thumbnails: dict[int, Array] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    kept: KeptVectors | None = None
    told: tuple[Caveat, ...] = ()

    def labels(self, given: Sequence[str] | None) -> Array:
        """The class of each item, int64 ``[N]``: as it is given, or the folder that it lies in.

        Raises:
            UsageError: an item has no label, or one that is no class; all such are counted.
        """
        count = len(self.names)
        if given is not None and len(given) != count:
            raise UsageError(
                f"There are {len(given)} labels for the {count} items that could be read. Give one for each, in their "
                "order, and leave out what cannot be read.",
                option="labels",
            )
        words = self.folders if given is None else list(given)
        _labelled(self.names, words)
        return _classes(self.outline, words)

    @property
    def warnings(self) -> tuple[Caveat, ...]:
        """What must be known of the vectors."""
        if not self.left_out:
            return self.told
        more = f" and {len(self.left_out) - 1} more" if len(self.left_out) > 1 else ""
        return (
            Caveat(f"The layer holds NaN or infinity for {self.left_out[0]}{more}, left out here.", "input"),
            *self.told,
        )


def foretold(scene: Scene, given: Sequence[str] | None, label: str) -> None:
    """Refuse, before the model is asked, labels that ``Training.labels`` would refuse, as far as items are listed.

    Args:
        scene: Knows the model, and the files or kept vectors, where there are some.
        given: The label of each item, or None for its folder.
        label: The class that is asked about; empty for none.

    Raises:
        UsageError: as ``Training.labels``; or the class is none.
    """
    outline = with_labels(scene.outline, scene.card)
    if not outline.scores.classes:
        return
    if label:
        outline.label_index(label, outline.scores.classes)
    listed = scene.kept[0].names if scene.kept else [str(one) for one in scene.listed]
    words = [folder_of(one) for one in listed] if given is None else list(given)
    if given is None:
        _labelled(listed, words)
    elif listed and len(words) > len(listed):
        raise UsageError(
            f"There are {counted(len(words), 'label')} for {counted(len(listed), 'item')}. Give one for each, in their "
            "order.",
            option="labels",
        )
    _classes(outline, words)


def _labelled(names: Sequence[str], words: Sequence[str]) -> None:
    """Refuse items without a label."""
    missing = [name for name, word in zip(names, words, strict=True) if not word]
    if missing:
        raise UsageError(
            f"{len(missing)} of {counted(len(names), 'item')} have no label, such as {missing[0]!r}: they lie in no "
            "folder. Give ",
            option("labels"),
            ", one for each item.",
            option="labels",
        )


def _classes(outline: Outline, words: Sequence[str]) -> Array:
    """The class that each label names, int64 ``[N]``; labels that name none are counted and refused."""
    classes, strange = {}, Counter[str]()
    times = Counter(words)
    for word in times:
        try:
            if word.startswith("-"):  # the last class in Python, and no class of data
                raise UsageError(f"{word!r} is no class.")
            classes[word] = outline.label_index(word, outline.scores.classes or 0)
        except UsageError:
            strange[word] = times[word]
    if strange:
        known = ", ".join(outline.labels[:_MOST_SAID]) or f"0 to {(outline.scores.classes or 1) - 1}"
        told = ", ".join(f"{word!r} ({many})" for word, many in strange.most_common(_MOST_SAID))
        raise UsageError(
            f"{sum(strange.values())} of {counted(len(words), 'item')} have a label that is no class of the model: "
            f"{told}. Its classes are {known}{' ...' if len(outline.labels) > _MOST_SAID else ''}.",
            option="labels",
        )
    return np.array([classes[word] for word in words], np.int64)


def training(models: Sequence[Any], layer: str, positions: str | None, side: int) -> Generator[Any, Any, Training]:
    """All items, one part after another, each read by every checkpoint.

    Args:
        models: The other checkpoints.
        layer: What enters the last layer of weights; see ``last_layer``.
        positions: As for ``vector_reader``.
        side: Pixels of the small pictures that are kept of items that are no files.
    """
    found: Training | None = None
    parts: list[list[Array]] = []
    while (part := (yield More())) is not None:
        views = [part]
        for model in models:
            views.append((yield Beside(model, Again(part.given, part.view.x))))
        if found is None:
            lasts = [(yield from last_layer(part.view, layer, positions))]
            for model, some in zip(models, views[1:], strict=True):
                lasts.append((yield from beside(model, last_layer(some.view, layer, positions))))
            classes = [len(one.head.bias) for one in lasts]
            if len(set(classes)) > 1:
                raise UsageError(f"Checkpoints of one training have the same classes; these have {classes}.")
            found = Training(named_outline(part), (None, *models), lasts)
            parts = [[] for _ in lasts]
        rows = yield from _vectors(found, views)
        fine = finite(rows)
        for own, one in zip(parts, rows, strict=True):
            own.append(one[fine])
        drawn = None if all(map(_is_path, part.given)) else tiles_of(part, side)
        for n, name in enumerate(called(part)):
            if not fine[n]:
                found.left_out.append(name)
                continue
            given = part.given[n] if _is_path(part.given[n]) else None
            if given is None and drawn is not None:
                found.thumbnails[len(found.names)] = drawn[n]
            found.names.append(name)
            found.given.append(given)
            found.folders.append(folder_of(part.given[n]))
    assert found is not None  # there are items
    found.features = [np.concatenate(own) for own in parts]
    return found


def kept_training(scene: Scene, layer: str, positions: str | None) -> Generator[Any, Any, Training]:
    """All items of a folder of vectors, which stay on the disk; one picture is read, to ask the model for its weights.

    Raises:
        UsageError: no picture of theirs lies where it did.
    """
    (kept,) = asked_for(scene, [layer], positions)
    path = next((there for n in range(len(kept)) if (there := kept.picture(n)) is not None), None)
    if path is None:
        raise UsageError(
            f"{kept.source} holds vectors of pictures none of which lies where it did, and the weights behind the "
            "layer are asked for with one of them. Give the pictures themselves."
        )
    some: Some = yield Again((path,))
    how = kept.about.get("positions")
    last = yield from last_layer(some.view, kept.layer, None if how == "none" else how)
    found = Training(named_outline(some), (None,), [last], kept=kept)
    found.names = [item_name(name, name) for name in kept.names]
    found.given, found.folders = list(kept.names), [folder_of(name) for name in kept.names]
    found.features = [kept.vectors]
    return found


def _vectors(found: Training, views: Sequence[Some]) -> Generator[Any, Any, list[Array]]:
    """What enters the last layer of each model for some items."""
    rows = []
    for model, last, some in zip(found.models, found.lasts, views, strict=True):
        flow = asked(some, [last.read])
        answer = yield from (flow if model is None else beside(model, flow))
        rows.append(last.read.vectors(answer[last.read.layer]))
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Others:
    """Items that are asked about: names, what enters the last layer of each model ``[A, D]``, and small pictures."""

    names: tuple[str, ...]
    features: tuple[Array, ...]
    thumbnails: Array | None


def read_others(models: Sequence[Any], given: Sequence[Any]) -> Generator[Any, Any, list[Some]]:
    """Items that are asked about, as each model takes them; read before any of them is asked anything.

    Args:
        models: The other checkpoints.
        given: The items; of none there is nothing to read.
    """
    if not len(given):
        return []
    again = Again(tuple(given))
    views: list[Some] = [(yield again)]
    for model in models:
        views.append((yield Beside(model, again)))
    return views


def others(found: Training, views: Sequence[Some], side: int) -> Generator[Any, Any, Others]:
    """What the models say of the items that are asked about."""
    if not views:
        return Others((), tuple(np.zeros((0, one.shape[1]), np.float32) for one in found.features), None)
    rows = yield from _vectors(found, views)
    if not finite(rows).all():
        raise UsageError("The layer holds NaN or infinity for an item that is asked about.", option="asked")
    return Others(tuple(called(views[0])), tuple(rows), tiles_of(views[0], side))


def pictures_of(found: Training, places: Array, side: int) -> Generator[Any, Any, Array | None]:
    """Small pictures of some training items, uint8 ``[S, s, s, 3]``; None where one has none."""
    if found.kept is not None:
        again = yield from kept_pictures(found.kept, places.tolist(), side)
        found.told += again.warnings
        return again.thumbnails
    made: dict[int, Array] = {n: found.thumbnails[n] for n in places.tolist() if n in found.thumbnails}
    wanted = [n for n in places.tolist() if n not in made and found.given[n] is not None]
    for first in range(0, len(wanted), _AT_ONCE):
        some_places = wanted[first : first + _AT_ONCE]
        some: Some = yield Again(tuple(found.given[n] for n in some_places))
        drawn = tiles_of(some, side)
        if drawn is None:
            return None
        made |= dict(zip(some_places, drawn, strict=True))
    return np.stack([made[n] for n in places.tolist()]) if len(made) == len(places) and len(places) else None


def _is_path(given: Any) -> bool:
    return isinstance(given, str) or hasattr(given, "__fspath__")
