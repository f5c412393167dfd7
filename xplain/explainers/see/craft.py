"""CRAFT: the concepts that the pictures of a class are made of inside a model, and how much each decides the score."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from xplain.analyses.factorisation import Factors, encoded, factorised
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Positive, Side, Size
from xplain.core.declaring.registry import Paper, lens
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.lenses.concepts import Concepts
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Peek, Score
from xplain.core.targets.units import noun
from xplain.explainers.estimation.sampling import Estimate
from xplain.explainers.perturbation.sobol import shades
from xplain.explainers.see.banks import Bottleneck, Worth, bottleneck, worth
from xplain.explainers.see.class_crops import OfClass, Wanted, of_class
from xplain.explainers.see.crops import alone, seen_as_picture, seen_in
from xplain.explainers.see.tiles import small
from xplain.explainers.see.vectors import with_labels

__all__ = ["craft"]

_CONCEPTS, _LEAST_DESIGNS = 10, 4
_SPLIT = 0.1
"""Share of the crops that a concept is split by: those that hold most of it, as in the paper."""
_PER_PART = 8
"""Crops for each part of a concept, at least, where there are so many."""
_MUCH = 0.5
"""Share of a layer's squares from which on it is said that the concepts leave it out."""


@lens(
    "craft",
    needs=(Peek, Score),
    paper=Paper("Fel 2023", "arXiv:2211.10154"),
    aliases=("concepts",),
    trial={"label": "1", "of": "all", "concepts": 3, "patch": 5, "designs": 4, "k": 2, "shown": 2},
)
def craft(
    scene: Scene,
    *,
    label: str = "",
    of: Literal["predicted", "folder", "all"] = "predicted",
    layer: str = "auto",
    concepts: Positive | None = None,
    patch: Size | None = None,
    stride: Size | None = None,
    designs: Positive = 32,
    most: Positive = 64,
    k: Positive = 8,
    several: bool = False,
    shown: Positive = 6,
    split: str = "none",
    below: str = "none",
    parts: Positive = 3,
    thumbnail: Side = 96,
) -> Seeing[Concepts]:
    """The concepts that a class's pictures are made of at a layer, found without labels, and what each decides.

    Crops of the pictures are shown to the model alone; their activations, means over positions, are written as sums
    ``A = U W`` of few directions, nothing below 0 (non-negative matrix factorisation). A row of W is a concept, and the
    crops with the largest U show what it is. Its importance is the total Sobol index of the score: each picture's layer
    is made anew as ``f(U diag(m) W)``, m one share per concept for all positions, and the index is the share of the
    score's variance that is lost where the concept's share is not known.

    Args:
        label: The class, by name or number.
        of: Which pictures are the class's: those that are ``predicted`` as it, those in a ``folder`` that is called
            so, or ``all`` that are given.
        layer: A layer that everything passes and that is never below 0; ``auto`` is the last one with positions.
        concepts: How many; none for 10, or as many as the layer's channels and the crops allow.
        patch: Side of crops in pixels, or height x width; none for 2/7 of the picture's, as 64 of 224.
        stride: From one crop to the next; none for 0.8 of the crop. The last one ends at the border.
        designs: Pairs of shares that importance is estimated with, for each picture; at least 4.
        most: Pictures that importance is estimated over; of more, so many are drawn.
        k: Crops that are shown of each concept.
        several: Let one picture give several crops to a concept, instead of its best alone.
        shown: Pictures that are shown in the concepts' colours.
        split: Concepts that are split at the layer ``below``, such as ``2`` or ``1,3``, by their numbers in a run
            without it; none for none.
        below: A layer before, which the concepts are split at; it may show as several what ``layer`` has joined.
        parts: How many each is split into.
        thumbnail: Side of the crops and pictures that are drawn.

    Returns:
        ``Concepts``, the most important first, with standard errors over the pictures (of one picture, over designs):
        importance is at least 0, and sums to 1 where concepts do not interact; effects are in the score's unit and have
        a sign. ``facts`` say what share of the activations is not in the concepts, for crops and for whole pictures,
        and the score with and without that.

    Cost:
        1 evaluation per crop and picture, and ``designs (concepts + 1) + concepts + 2`` of what lies behind the layer
        for each picture that importance is estimated over.

    Differs from the paper:
        Designs are a scrambled Sobol sequence
        of each picture's own; crops reach the border; a concept's signed effect stands beside its index.

    Raises:
        UsageError: no class is named or no picture is of it, the layer has values below 0 or part of the score does
            not pass it, or there are fewer crops than concepts.
        MissingDependency: scikit-learn is not installed.

    Source:
        Fel et al., CRAFT: Concept Recursive Activation FacTorization for Explainability, CVPR 2023.
    """
    numbers, below = _asked(scene, label, designs, split, below)
    seen = yield from of_class(label, of, layer, patch, stride, concepts or 1)
    rng = scene.rng("craft")
    pooled = np.concatenate(seen.pooled)
    count = concepts or min(_CONCEPTS, *pooled.shape)
    found = factorised(pooled, count, seed=int(rng.integers(2**31)))
    every = np.arange(len(seen.names))
    chosen = every if len(every) <= most else np.sort(rng.choice(every, most, replace=False))
    judged = yield from _judged(seen, seen.neck, found.bank, [(int(n), None) for n in chosen], designs)
    told = _told(seen.neck, found.bank, found.coefficients, judged, "concept ")
    if max(numbers, default=0) > len(told):
        raise UsageError(option="split", got=split, accepted=f"numbers of concepts, 1 to {len(told)}")
    splits = {}
    for number in numbers:
        of_this = next(one for one in told if one.name == f"concept {number}")
        more, splits[of_this.name] = yield from _split(seen, of_this, below, (parts, designs, most, scene.seed))
        place = told.index(of_this) + 1
        told[place:place] = more
    maps, sizes, pictures = yield from _maps(seen, told, [(int(n), None) for n in chosen[:shown]], thumbnail)
    best = np.stack([_best(one, seen, k, several) for one in told])
    crops = yield from _drawn(seen, best, thumbnail)
    return Concepts(
        names=tuple(one.name for one in told),
        layers=tuple(one.neck.name for one in told),
        importance=np.array([one.importance for one in told]),
        error=np.array([one.error for one in told]),
        effect=np.array([one.effect for one in told]),
        effect_error=np.array([one.effect_error for one in told]),
        bank=_bank(told),
        crops=crops,
        crop_values=np.stack(
            [np.where(some >= 0, one.strength[some], np.nan) for one, some in zip(told, best, strict=True)]
        ),
        crop_boxes=np.where(best[..., None] >= 0, seen.boxes[best], 0),
        crop_items=np.where(best >= 0, seen.pictures[best], -1),
        maps=maps,
        map_sizes=sizes,
        shown=pictures,
        shown_items=chosen[:shown].astype(np.int64),
        items=tuple(seen.names),
        unit=f"delta {noun(scene.outline, seen.neck.target)} when taken away",
        facts=_facts(seen, found, judged, splits),
        warnings=tuple(_warnings(count, found, judged)),
    )


# ---------------------------------------------------------------------- what is asked


def _asked(scene: Scene, label: str, designs: int, split: str, below: str) -> tuple[list[int], str]:
    """The numbers of the concepts that are split, and the whole name of the layer where."""
    if not label:
        raise UsageError("Concepts are those of a class. Name it, by ", option("label"), ", as a name or a number.")
    outline = with_labels(scene.outline, scene.card)
    if outline.scores.classes:
        outline.label_index(label, outline.scores.classes)
    if designs < _LEAST_DESIGNS:
        raise UsageError(option="designs", got=designs, accepted=f"at least {_LEAST_DESIGNS}")
    words = [] if split == "none" else [word.strip() for word in split.split(",") if word.strip()]
    if not all(word.isdecimal() and 0 < int(word) < 10**6 for word in words):
        raise UsageError(option="split", got=split, accepted="none, or numbers of concepts such as 2 or 1,3")
    if bool(words) != (below != "none"):
        raise UsageError(
            "A concept is split at a layer before its own: give ", option("split"), " and ", option("below"), " both."
        )
    if words:
        below = scene.outline.layer_meant(below)
        scene.outline.layer(below)  # says which there are, before anything is asked
    return list(dict.fromkeys(map(int, words))), below


# ---------------------------------------------------------------------- what concepts are worth


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """What the concepts of one bank are worth, over some pictures; arrays ``[K]`` with standard errors."""

    importance: Array
    error: Array
    effect: Array
    effect_error: Array
    scores: Array
    remade: Array
    lost: float


def _judged(
    seen: OfClass, neck: Bottleneck, bank: Array, wanted: Sequence[Wanted], designs: int
) -> Generator[Any, Any, _Judged]:
    """Each concept's worth in each picture, or part of one, and the mean with its error."""
    found: dict[int, Worth] = {}
    for question, jobs in seen.again(wanted):
        some = yield question
        for n, place in jobs:
            box = wanted[place][1]
            shown = some.view.x[n : n + 1] if box is None else alone(some.view, n, [box])
            raw = (yield from neck.values(shown))[0]
            own = some.view.own_keys[n] if box is None else f"{some.view.own_keys[n]} {box}"
            pairs = shades(some.view.rng(f"craft {neck.name}", own), len(bank), designs)
            found[place] = yield from worth(neck, raw, bank, pairs)
    each = [found[place] for place in range(len(wanted))]
    indices, effects = (np.stack([getattr(one, name) for one in each]) for name in ("indices", "effect"))
    errors = each[0].error, np.zeros(len(bank))  # of one picture: over designs; its effects are exact
    if len(each) > 1:
        errors = Estimate.mean(indices).error, Estimate.mean(effects).error
    scores, remade = (np.array([getattr(one, name) for one in each]) for name in ("score", "remade"))
    lost = float(np.mean([one.lost for one in each]))
    return _Judged(indices.mean(axis=0), errors[0], effects.mean(axis=0), errors[1], scores, remade, lost)


@dataclass(frozen=True, slots=True, eq=False)
class _Concept:
    """One concept.

    Args:
        name: What it is called.
        neck: The layer that it is a direction of.
        bank: All concepts that it was found with, ``[K, C]``.
        place: Its row there.
        strength: float64 ``[crops]``: how much of it each crop holds; 0 for those that it was not sought in.
        importance: Total Sobol index; then its error, the effect and its error.
    """

    name: str
    neck: Bottleneck
    bank: Array
    place: int
    strength: Array
    importance: float
    error: float
    effect: float
    effect_error: float


def _told(neck: Bottleneck, bank: Array, strength: Array, judged: _Judged, name: str) -> list[_Concept]:
    """Concepts, the most important first; ``strength`` is ``[crops, K]``."""
    numbers = np.stack([judged.importance, judged.error, judged.effect, judged.effect_error], axis=1)
    order = np.argsort(-judged.importance, kind="stable")
    return [
        _Concept(f"{name}{rank}", neck, bank, int(c), strength[:, c], *map(float, numbers[c]))
        for rank, c in enumerate(order, 1)
    ]


def _split(
    seen: OfClass, concept: _Concept, below: str, how: tuple[int, int, int, int]
) -> Generator[Any, Any, tuple[list[_Concept], dict[str, Any]]]:
    """A concept as several of a layer before, by the crops that hold most of it.

    Args:
        seen: The pictures.
        concept: What is split.
        below: The layer.
        how: Parts, designs, pictures that importance is estimated over at most, and the seed.
    """
    parts, designs, most, seed = how
    held = np.flatnonzero(concept.strength > 0)
    count = min(len(held), max(int(np.ceil(_SPLIT * len(concept.strength))), _PER_PART * parts))
    some = held[np.argsort(-concept.strength[held], kind="stable")[:count]]
    wanted = [seen.crop(int(n)) for n in some]
    neck: Bottleneck | None = None
    pooled = np.zeros((0, 0))
    for question, jobs in seen.again(wanted):
        again = yield question
        neck = neck or (yield from bottleneck(again.view, below, concept.neck.target))
        for n, place in jobs:
            box = wanted[place][1]
            assert box is not None
            values = yield from neck.values(alone(again.view, n, [box]))
            rows = neck.rows(values).mean(axis=1, dtype=np.float32)
            pooled = pooled if pooled.size else np.zeros((len(wanted), rows.shape[1]), np.float32)
            pooled[place] = rows[0]
    assert neck is not None  # a concept that no crop holds is left out
    whole, found = factorised(pooled, 1, seed=seed), factorised(pooled, parts, seed=seed)
    judged = yield from _judged(seen, neck, found.bank, wanted[:most], designs)
    strength = np.zeros((len(concept.strength), len(found.bank)))
    strength[some] = found.coefficients
    facts = {
        "layer": neck.name,
        "crops": len(some),
        "share of squares that one concept leaves out": whole.lost,
        "share of squares that the parts leave out": found.lost,
    }
    return _told(neck, found.bank, strength, judged, f"{concept.name}."), facts


# ---------------------------------------------------------------------- what is drawn of them


def _best(concept: _Concept, seen: OfClass, k: int, several: bool) -> Array:
    """The crops that hold most of a concept, int64 ``[k]``, the best first; -1 behind the last one."""
    pictures, kept = seen.pictures, list[int]()
    taken: set[int] = set()
    for n in np.argsort(-concept.strength, kind="stable").tolist():
        if len(kept) == k or concept.strength[n] <= 0:
            break
        if several or int(pictures[n]) not in taken:
            kept.append(n)
            taken.add(int(pictures[n]))
    return np.array([*kept, *[-1] * (k - len(kept))], np.int64)


def _drawn(seen: OfClass, best: Array, side: int) -> Generator[Any, Any, Array]:
    """The crops as pictures, uint8 ``[K, B, s, s, 3]``; white where there is none."""
    places = np.argwhere(best >= 0)
    wanted = [seen.crop(int(best[one, rank])) for one, rank in places]
    made = np.full((*best.shape, side, side, 3), 255, np.uint8)
    for question, jobs in seen.again(wanted):
        some = yield question
        for n, place in jobs:
            _, box = wanted[place]
            assert box is not None
            made[tuple(places[place])] = small(seen_in(some, n, box)[None], side)[0]
    return made


def _maps(
    seen: OfClass, told: Sequence[_Concept], wanted: Sequence[Wanted], side: int
) -> Generator[Any, Any, tuple[Array, Array, Array]]:
    """How much of each concept every position of some pictures holds ``[K, P, h, w]``, their sizes, the pictures."""
    sizes = np.array([one.neck.layer.grid.cells for one in told], np.int64)
    maps = np.zeros((len(told), len(wanted), *sizes.max(axis=0)), np.float32)
    pictures = np.zeros((len(wanted), side, side, 3), np.uint8)
    for question, jobs in seen.again(wanted):
        some = yield question
        for n, place in jobs:
            pictures[place] = small(seen_as_picture(some, n)[None], side)[0]
            held: dict[int, Array] = {}
            for row, one in enumerate(told):
                if id(one.bank) not in held:
                    raw = yield from one.neck.values(some.view.x[n : n + 1])
                    held[id(one.bank)] = encoded(one.neck.rows(raw)[0], one.bank)
                height, width = sizes[row]
                maps[row, place, :height, :width] = held[id(one.bank)][:, one.place].reshape(height, width)
    return maps, sizes, pictures


def _bank(told: Sequence[_Concept]) -> Array:
    """Each concept's direction, float32 ``[K, D]``, filled up with zeros where layers differ."""
    found = np.zeros((len(told), max(one.bank.shape[1] for one in told)), np.float32)
    for row, one in enumerate(told):
        found[row, : one.bank.shape[1]] = one.bank[one.place]
    return found


def _facts(seen: OfClass, found: Factors, judged: _Judged, splits: Mapping[str, Any]) -> dict[str, Any]:
    y0, x0, y1, x1 = seen.each[0]
    told: dict[str, Any] = {
        "layer": seen.neck.name,
        "class": seen.label,
        "pictures of the class": len(seen.names),
        "crops": len(found.coefficients),
        "crop": f"{y1 - y0} x {x1 - x0} pixels",
        "share of squares not in the concepts, of crops": found.lost,
        "share of squares not in the concepts, of pictures": judged.lost,
        "score": float(judged.scores.mean()),
        "score of the concepts' sum": float(judged.remade.mean()),
        "importance estimated over": len(judged.scores),
    }
    return {**told, "splits": dict(splits)} if splits else told


def _warnings(asked: int, found: Factors, judged: _Judged) -> list[Caveat]:
    told = []
    if len(found.bank) < asked:
        told.append(Caveat(f"{asked} concepts were asked for, and {len(found.bank)} are all that crops hold.", "input"))
    if not found.converged:
        told.append(Caveat("The factors had not settled when their steps ran out; another seed may find others."))
    if judged.lost > _MUCH:
        text = (
            f"{judged.lost:.0%} of the layer's squares are not in the concepts, and importance says nothing of them. "
        )
        told.append(Caveat(Sentence(text, "Ask for more: ", option("concepts"), ".")))
    if len(judged.scores) == 1:
        told.append(Caveat("There is one picture of the class: intervals are over designs, and say nothing of others."))
    if not judged.importance.any():
        told.append(Caveat("The score does not change with any concept.", "empty"))
    return told
