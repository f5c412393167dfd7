"""Preferred pictures on canvases that are built as photographs are: cosines under a falling spectrum, and MACO."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from xplain.core.declaring.option_names import Layers
from xplain.core.declaring.options import AtLeastOne, Fraction, NonNegative, Positive, PositiveReal, Together
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.errors import UsageError
from xplain.core.synthesis.canvas import Canvas, Cosines, Phases
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Aimed, Objective
from xplain.core.synthesis.terms import Diversity
from xplain.core.synthesis.views import Transforms
from xplain.core.target import Target
from xplain.core.targets.leaves import Leaf
from xplain.explainers.synthesis.beside import best_patches
from xplain.explainers.synthesis.climb import Climb, Climbed, climbed, painted, side_by_side
from xplain.explainers.synthesis.features import layers_named
from xplain.explainers.synthesis.optimisers import Adam
from xplain.explainers.synthesis.region import REGION, inlaid, inside, region_told
from xplain.explainers.synthesis.spectra import magnitude_of

__all__ = ["aimed_at", "board_of", "fourier", "grid", "maco", "whole"]

_ROOM = 1.2857  # sides of what the model takes: 288 pixels for 224
_QUIET = 0.02  # standard deviation of the first coefficients: nearly grey, and no layer is shut


def board_of(size: tuple[int, int], room: float) -> tuple[int, int]:
    """The extent of a canvas that is larger than what the model takes by a factor."""
    return (max(1, round(size[0] * room)), max(1, round(size[1] * room)))


def aimed_at(commission: Commission) -> Objective:
    """The target, and nothing else."""
    return Objective((Aimed(target=commission.aimed),))


@recipe(
    "fourier",
    paper=Paper("Olah 2017", "doi:10.23915/distill.00007"),
    target="needed",
    sources=REGION,
    trial={"steps": 3, "views": 2},
)
def fourier(
    commission: Commission,
    *,
    steps: Positive = 96,
    rate: PositiveReal = 0.05,
    views: Together = 4,
    smallest: Fraction | None = None,
    jitter: NonNegative = 8.0,
    rotate: NonNegative = 0.0,
    decay: NonNegative = 1.3,
    room: AtLeastOne | None = None,
    variants: Together = 1,
    diversity: NonNegative = 0.0,
    layer: str = "",
) -> Painting:
    """A picture of cosines that must please the target in several views of it at once, anywhere and at any scale.

    ``max over z of mean over views v of f_c(v(sigmoid(L B_y (w z) B_x^T)))``: coefficients z weighted as the spectra of
    photographs fall (``w = frequency^-decay``), in colours that vary independently; views are drawn anew in each step.

    Args:
        steps: Steps uphill.
        rate: Most that a coefficient moves in a step.
        views: Views of the picture in each step; each costs a sweep.
        smallest: Side of the smallest view, as a share of the picture; the largest is all of it. None: 0.35, and 0.75
            in a photograph, whose region smaller views would miss.
        jitter: Further shift of a view, at most, in pixels.
        rotate: Greatest angle of a view to either side, in degrees.
        decay: How fast weights fall with frequency; more is smoother.
        room: The picture's side in sides of what the model takes; none: 1.2857, and 1 in a photograph.
        variants: Pictures of each target.
        diversity: Weight of how alike those of a target are, which then is made small: the mean cosine of the Gram
            matrices of ``layer``. Scores of a class want a weight about as large as they are.
        layer: The layer in which they are to differ.

    Returns:
        ``variants`` for each target, larger than what the model takes by ``room``. With ``diversity`` each is told its
        ``likeness``, the mean cosine with the others of its target; they are then moved together. With ``on`` and
        ``within`` a photograph as the model sees it, one region of which is painted; ``target before`` is the target's
        value on the photograph.

    Cost:
        ``steps * views`` sweeps per picture.

    Raises:
        UsageError: a photograph without a region, or with ``room`` or ``variants``.

    Differs from the paper:
        Real cosines for complex exponentials, so a view is evaluated where it lies, without interpolation; several
        views of wide scales in each step, which is what makes other models agree.

    Source:
        Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017.
    """
    framed = inside(commission)
    for name, got, alone in (("room", room, None), ("variants", variants, 1)):
        if framed and got != alone:
            raise UsageError(option=name, got=got, accepted="nothing beside a photograph, whose size the picture keeps")
    board = board_of(commission.size, room or (1.0 if framed else _ROOM))
    canvas = inlaid(commission, Cosines(commission.size, commission.channels, waves=board, decay=decay))
    way = Climb(
        canvas,
        aimed_at(commission),
        lambda factor: Adam(rate * factor),
        steps,
        transforms=lambda _: Transforms(views, (smallest or (0.75 if framed else 0.35), 1.0), jitter, rotate),
    )
    if variants > 1:
        (name,) = layers_named(commission, (layer,)) if diversity else ("",)
        return (yield from _several(commission, way, variants, Diversity(tensor=name, weight=-diversity)))
    if diversity:
        raise UsageError(option="diversity", got=diversity, accepted="0 where a target has one picture alone")
    start = np.stack([rng.normal(0, _QUIET, canvas.state) for rng in commission.rngs("start")])
    told = yield from region_told(commission)
    return whole(canvas, (yield from climbed(commission, way, start)), **told)


def _several(commission: Commission, way: Climb, variants: int, apart: Diversity) -> Painting:
    """Several pictures of each target, whatever targets are made beside it: one way for those of each."""
    aimed, found, likeness = commission.aimed, list[Climbed](), list[float]()
    for n, key in enumerate(commission.keys):
        own = replace(commission, keys=tuple(f"{key}/picture {k}" for k in range(variants)))
        goal = Objective((Aimed(target=aimed.take(np.full(variants, n))),))
        start = np.stack([rng.normal(0, _QUIET, way.canvas.state) for rng in own.rngs("start")])
        one = replace(way, objective=goal + apart if apart.weight else goal, stage=f"fourier {key}")
        found.append((yield from climbed(own, one, start)))
        told = None if found[-1].last is None else found[-1].last.terms.get(apart.name)
        likeness += [float("nan")] * variants if told is None else told.tolist()
    whose = np.repeat(np.arange(commission.count), variants)
    called = tuple(f"{aimed.of_item(int(n)).name} {k % variants + 1}" for k, n in enumerate(whose))
    each = {"likeness": likeness} if apart.weight else {}
    return whole(way.canvas, side_by_side(found), names=called, target=aimed.take(whose), each=each)


@recipe(
    "maco",
    paper=Paper("Fel 2023", "arXiv:2306.06805"),
    target="needed",
    sources=(Source("photographs", "photographs whose spectrum the picture is to have", needed=True),),
    trial={"steps": 3, "views": 2},
)
def maco(
    commission: Commission,
    *,
    steps: Positive = 96,
    rate: PositiveReal = 0.3,
    views: Together = 4,
    smallest: Fraction = 0.35,
    jitter: NonNegative = 4.0,
    noise: NonNegative = 0.0,
    contrast: PositiveReal = 1.2,
    room: AtLeastOne = 1.143,
) -> Painting:
    """A picture that has the spectrum of photographs, of which only the phases are moved.

    ``max over phi of mean over views of f_c(v(sigmoid(L standardised(Re IDFT(m e^(i phi))))))``, with the
    magnitudes m of given photographs.

    Args:
        steps: Steps uphill.
        rate: Most that a phase moves in a step, in radians.
        views: Views of the picture in each step; each costs a sweep.
        smallest: Side of the smallest view, as a share of the picture.
        jitter: Further shift of a view, at most, in pixels.
        noise: Standard deviation of noise that views are shown with.
        contrast: Standard deviation of the planes behind the colours.
        room: The picture's side in sides of what the model takes.

    Returns:
        One picture per target.

    Cost:
        ``steps * views`` sweeps per picture.

    Differs from the paper:
        The magnitudes are those of the caller's photographs, in colours that vary independently; Adam, and four views
        of wide scales where the paper has NAdam and six of a fifth.

    Source:
        Fel et al., Unlocking Feature Visualization for Deeper Networks with MAgnitude Constrained Optimization, 2023.
    """
    side = board_of(commission.size, room)
    magnitude = magnitude_of(commission.pictures["photographs"], side)
    canvas = Phases(commission.size, commission.channels, magnitude=magnitude, contrast=contrast)
    way = Climb(
        canvas,
        aimed_at(commission),
        lambda factor: Adam(rate * factor),
        steps,
        transforms=lambda _: Transforms(views, (smallest, 1.0), jitter, noise=noise),
    )
    start = np.stack([rng.normal(0, 1, canvas.state) for rng in commission.rngs("start")])
    return whole(canvas, (yield from climbed(commission, way, start)))


@recipe(
    "grid",
    paper=Paper("Olah 2017", "doi:10.23915/distill.00007"),
    target="none",
    sources=(Source("photographs", "photographs whose patches that excite a channel stand beside it", fitted=True),),
    trial={"layer": "second", "units": "0,2", "steps": 2},
)
def grid(
    commission: Commission,
    *,
    layer: str = "",
    units: Layers = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"),
    steps: Positive = 64,
    rate: PositiveReal = 0.05,
    jitter: NonNegative = 8.0,
    decay: NonNegative = 1.3,
    patches: Together = 2,
) -> Painting:
    """A page of a layer's channels: for each the picture of cosines that excites its mean most.

    Beside it stand, where photographs are given, the patches of these that excite the channel most.

    Args:
        layer: The layer.
        units: Numbers of its channels; on a command line parted by commas.
        steps: Steps uphill for each.
        rate: Most that a coefficient moves in a step.
        jitter: Shift of the view in each step, at most, in pixels.
        decay: How fast the canvas' weights fall with frequency.
        patches: Patches beside each picture, of as many photographs.

    Returns:
        One picture per channel, in the size that the model takes. A patch is what one position of the channel sees;
        ``largest`` is the channel's largest value in a photograph. ``xplain see patches`` goes through a folder of any
        size.

    Cost:
        ``steps`` sweeps per channel, and an evaluation per photograph.

    Raises:
        UsageError: a unit that is no number.

    Source:
        Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017.
    """
    (name,) = layers_named(commission, (layer,))
    if not all(one.isdecimal() for one in units):
        raise UsageError(option="units", got=",".join(units), accepted="numbers of channels, such as 0,5,17")
    index = tuple((int(one),) for one in units)
    called = tuple(f"{layer}[{one}]" for one in units)
    target = Target(((1.0, Leaf("channel", name, index, per_item=True, names=called)),))
    own = replace(commission, keys=called)
    canvas = Cosines(commission.size, commission.channels, decay=decay)
    way = Climb(
        canvas,
        Objective((Aimed(target=target),)),
        lambda factor: Adam(rate * factor),
        steps,
        transforms=lambda _: Transforms(side=(0.9, 1.0), jitter=jitter),
    )
    start = np.stack([rng.normal(0, _QUIET, canvas.state) for rng in own.rngs("start")])
    found = yield from climbed(own, way, start)
    more: dict[str, Any] = {}
    if commission.pictures.get("photographs"):
        beside, largest = yield from best_patches(commission, name, [one for (one,) in index], patches)
        more = {"original": beside, "each": {"largest": largest}}
    return whole(canvas, found, target=target, names=called, **more)


def whole(canvas: Canvas, found: Any, **more: Any) -> Painted:
    """What a way ended with, drawn in the canvas' own extent."""
    return painted(canvas.resized(canvas.extent), found, **more)
