"""From what a person asks for as a target to ``Target`` values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import NonFinite, UsageError
from xplain.core.keeping.plain import counted
from xplain.core.outline import Outline
from xplain.core.target import SCORES, Target, channel, neuron
from xplain.core.targets.leaves import Leaf
from xplain.core.targets.parts import INPUT, Part

__all__ = ["Aim", "aim", "check_items", "classes_for", "needs_scores", "ranking", "ranks"]

_TOP = re.compile(r"top[-:]?([0-9]{1,9})", re.IGNORECASE)
_MOST_SIDES = 33
_INNER = re.compile(r"(?P<tensor>.+)\[(?P<index>-?[0-9]{1,18}(\s*,\s*-?[0-9]{1,18})*)\]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Aim:
    """One target to explain, and the class it stands for per item (empty for a target that is no class)."""

    target: Target
    labels: tuple[int, ...] = ()


def needs_scores(wanted: Any, outline: Outline) -> bool:
    """Whether a target depends on the items' scores; a place inside the model, or in a map, does not."""
    if isinstance(wanted, Target):
        return SCORES in wanted.tensors
    return not (isinstance(wanted, str) and not outline.has_label(wanted) and _INNER.fullmatch(wanted.strip()))


def ranks(wanted: Any, outline: Outline) -> int:
    """How many of the predicted classes a target stands for, the best first; 0 where it states what it reads.

    1 also for a list that leaves some items' classes open, which a ranking settles one by one.
    """
    if wanted is None:
        return 1
    if isinstance(wanted, (list, tuple, np.ndarray)):
        return int(any(one is None for one in wanted))
    top = _TOP.fullmatch(wanted.strip()) if isinstance(wanted, str) and not outline.has_label(wanted) else None
    return int(top[1]) if top else 0


def classes_for(wanted: Any) -> int:
    """How many classes a model must have for a target to mean something, where nothing else is known of it."""
    if isinstance(wanted, Target):
        read = [leaf for leaf in wanted.leaves if leaf.tensor == SCORES and leaf.way.flat]
        return max((place[0] + 1 for leaf in read for place in leaf.index), default=1)
    if isinstance(wanted, (list, tuple, np.ndarray)):
        return max(map(classes_for, wanted), default=1)
    if isinstance(wanted, (int, np.integer)):
        return max(1, int(wanted) + 1, -int(wanted))
    if not isinstance(wanted, str):
        return 1
    if top := _TOP.fullmatch(wanted.strip()):
        return max(1, int(top[1]))
    return max((int(number) + 1 for number in re.findall(r"[0-9]{1,9}", wanted)), default=1)


def aim(wanted: Any, scores: Array | None, outline: Outline) -> list[Aim]:
    """The targets that ``wanted`` stands for.

    Args:
        wanted: None (each item's predicted class), a class number, a label's name, ``"a - b"`` (a difference of two
            classes), ``"layer[12]"`` (a channel's mean), ``"layer[12, 6, 6]"`` (one neuron), ``"topK"`` (K targets:
            each item's best, second best, ...), a list with one class per item, or a ``Target``, used as it is.
        scores: Scores of the untouched items, ``[N, K]``; None for a target that ``needs_scores`` says needs none.
        outline: Knows the labels.

    Raises:
        UsageError: out of range, or not understood.
        UnknownName: no such label or layer; the message names the nearest.
        NonFinite: the predicted class is asked for, but the scores are not finite.
    """
    if scores is None or not needs_scores(wanted, outline):
        unit = wanted if isinstance(wanted, Target) else _unit(wanted, outline)
        _check_layers(unit, outline)
        return [Aim(unit)]
    classes = scores.shape[1]
    text = wanted.strip() if isinstance(wanted, str) else ""
    named = isinstance(wanted, str) and outline.has_label(wanted)
    if not named and (top := _TOP.fullmatch(text)):
        count = int(top[1])
        if not 1 <= count <= classes:
            raise UsageError(
                f"Target {wanted!r} asks for {counted(count, 'class', 'classes')}; the model has {classes}."
            )
        order = ranking(scores, outline)
        return [_labels(order[:, k].tolist(), outline) for k in range(count)]
    if isinstance(wanted, Target):  # with classes among its terms
        _check(wanted, classes, len(scores))
        _check_layers(wanted, outline)
        terms = ((weight, term.among(classes)) for weight, term in wanted.terms)
        return [Aim(Target(tuple(terms)))]
    if isinstance(wanted, (list, tuple, np.ndarray)):
        if len(wanted) != len(scores):
            raise UsageError(
                f"The target is a list of {len(wanted)} for {counted(len(scores), 'item')}; give one per item."
            )
        best = ranking(scores, outline, 1)[:, 0].tolist() if any(w is None for w in wanted) else []
        return [_labels([best[n] if w is None else _index(w, classes, outline) for n, w in enumerate(wanted)], outline)]
    if wanted is None:
        return [_labels(ranking(scores, outline, 1)[:, 0].tolist(), outline)]
    if not named and " - " in text:
        left, right = _sides(text, classes, outline)
        return [Aim(outline.label_target([left]) - outline.label_target([right]))]
    return [_labels([_index(wanted, classes, outline)] * len(scores), outline)]


def ranking(scores: Array, outline: Outline, most: int | None = None) -> Array:
    """The classes of each item, the best first, ``[N, K]``, or the ``most`` best; of equal ones the first.

    Raises:
        NonFinite: a score is not finite, so no class is predicted.
    """
    if outline.scores.partial:  # a class that the model leaves out ranks behind all that it names
        some = np.isfinite(scores).any(axis=1, keepdims=True)
        scores = np.where(np.isnan(scores) & some, np.finfo(np.float64).min, scores)
    if np.isneginf(scores).any() and (scores.max(axis=1) > -np.inf).all():  # classes that the model masks
        scores = np.maximum(scores, np.finfo(np.float64).min)
    if not np.isfinite(scores).all():
        n, k = (int(i) for i in np.argwhere(~np.isfinite(scores))[0])
        if outline.suspect:
            raise NonFinite(f"The model's score of class {k} for item {n} is {scores[n, k]}. {outline.suspect}")
        raise NonFinite(
            f"The model's score of class {k} for item {n} is {scores[n, k]}, so no class is predicted. Look at the "
            "input and the preprocessing card, or name a target."
        )
    if most == 1:
        return np.asarray(np.argmax(scores, axis=1))[:, None]
    return np.argsort(-scores, axis=1, kind="stable")[:, :most]


def _index(wanted: Any, classes: int, outline: Outline) -> int:
    if isinstance(wanted, (int, np.integer)) and not isinstance(wanted, bool):
        return outline.label_index(int(wanted), classes)
    if isinstance(wanted, str):
        return outline.label_index(wanted, classes)
    raise UsageError(
        f"Target {wanted!r} is not understood; accepted: None, a class number, a label's name, 'a - b', 'top3', a list "
        "with one per item, or an xplain target such as label(3) - label(7)."
    )


def _sides(text: str, classes: int, outline: Outline) -> tuple[int, int]:
    """The two classes of ``"a - b"``; a label may hold `` - `` itself, so every place is tried.

    Raises:
        UsageError: no place makes two labels, or several do.
    """
    parts, fits, why = text.split(" - "), [], None
    if len(parts) > _MOST_SIDES:  # each place is looked up by all of the text: a long one would take hours
        raise UsageError(
            f"Target {text!r:.80} holds ' - ' {len(parts) - 1} times; accepted: up to {_MOST_SIDES - 1}. Say the two "
            "classes by number, such as '3 - 7'."
        )
    for k in range(1, len(parts)):
        sides = " - ".join(parts[:k]), " - ".join(parts[k:])
        try:
            fits.append((sides, tuple(_index(side, classes, outline) for side in sides)))
        except UsageError as error:
            why = why or error
    if not fits and why is not None:
        raise why
    if len(fits) > 1:
        shown = " and ".join(f"{left!r} minus {right!r}" for (left, right), _ in fits[:3])
        first = " - ".join(map(str, fits[0][1]))
        raise UsageError(f"Target {text!r} can be read as {shown}. Say the classes by number, such as {first!r}.")
    left, right = fits[0][1]
    return left, right


def _unit(wanted: str, outline: Outline) -> Target:
    """The channel or neuron that ``tensor[...]`` names."""
    inner = _INNER.fullmatch(wanted.strip())
    assert inner is not None
    numbers = [int(part) for part in inner["index"].split(",")]
    return channel(inner["tensor"], numbers[0]) if len(numbers) == 1 else neuron(inner["tensor"], *numbers)


def _labels(indices: Sequence[int], outline: Outline) -> Aim:
    return Aim(outline.label_target(list(indices)), tuple(int(i) for i in indices))


def _check(target: Target, classes: int, items: int) -> None:
    """Classes must be there, and as many as items where each has its own."""
    for term in target.leaves:
        if term.items not in (None, items) and term.kind == "label":
            raise UsageError(
                f"Target {target.name!r} names {counted(term.items, 'class', 'classes')} for {counted(items, 'item')}."
            )
        if term.items not in (None, items):
            raise UsageError(
                f"Target {target.name!r} is given for {counted(term.items, 'item')}; {items} are explained."
            )
        if term.tensor == SCORES and term.way.flat:
            term.check((items, classes))
    check_items([target], items)


def check_items(targets: Sequence[Target], items: int) -> None:
    """What is given for each item must be given for as many as there are.

    Raises:
        UsageError: it is given for more, or for fewer.
    """
    for target in targets:
        for _, term in target.terms:
            if term.items not in (None, items):
                raise UsageError(
                    f"Target {target.name!r} is given for {counted(term.items, 'item')}; {items} are explained."
                )


def _check_layers(target: Target, outline: Outline) -> None:
    """Terms inside the model must name a layer, or an output, and a place in it, as far as its shape is known."""
    if outline.kind != "onnx" and not any(layer.shape for layer in outline.layers):
        return  # a torch module that has seen no item, or a function: only the answer tells
    names = {layer.name for layer in outline.layers}
    reads: tuple[Leaf | Part, ...] = (*target.leaves, *target.parts)
    for read in reads:
        if read.tensor in (SCORES, INPUT) or read.tensor in {*outline.outputs, outline.scores.tensor} - names:
            continue
        shape = outline.layer(read.tensor).shape
        if isinstance(read, Part):
            read.check((1, *shape[1:]) if shape else (1, *[None] * len(read.place)))
            continue
        extents = [extent for extent in shape[1:] if extent is not None]
        if extents and len(extents) == len(shape) - 1:
            read.check((1, *extents))
