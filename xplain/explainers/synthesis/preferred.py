"""Preferred pictures on canvases that are built as photographs are: cosines under a falling spectrum, and MACO."""

from __future__ import annotations

from typing import Any

import numpy as np

from xplain.core.canvas import Canvas, Cosines, Phases
from xplain.core.commission import Commission, Painted, Painting
from xplain.core.objective import Aimed, Objective
from xplain.core.options import AtLeastOne, Fraction, NonNegative, Positive, PositiveReal
from xplain.core.registry import Paper, Source, recipe
from xplain.core.views import Transforms
from xplain.explainers.synthesis.climb import Climb, climbed, painted
from xplain.explainers.synthesis.optimisers import Adam
from xplain.explainers.synthesis.spectra import magnitude_of

__all__ = ["aimed_at", "board_of", "fourier", "maco", "whole"]

_QUIET = 0.02  # standard deviation of the first coefficients: nearly grey, and no layer is shut


def board_of(size: tuple[int, int], room: float) -> tuple[int, int]:
    """The extent of a canvas that is larger than what the model takes by a factor."""
    return (max(1, round(size[0] * room)), max(1, round(size[1] * room)))


def aimed_at(commission: Commission) -> Objective:
    """The target, and nothing else."""
    return Objective((Aimed(target=commission.aimed),))


@recipe(
    "fourier", paper=Paper("Olah 2017", "doi:10.23915/distill.00007"), target="needed", trial={"steps": 3, "views": 2}
)
def fourier(
    commission: Commission,
    *,
    steps: Positive = 96,
    rate: PositiveReal = 0.05,
    views: Positive = 4,
    smallest: Fraction = 0.35,
    jitter: NonNegative = 8.0,
    rotate: NonNegative = 0.0,
    decay: NonNegative = 1.3,
    room: AtLeastOne = 1.2857,
) -> Painting:
    """A picture of cosines that must please the target in several views of it at once, anywhere and at any scale.

    ``max over z of mean over views v of f_c(v(sigmoid(L B_y (w z) B_x^T)))``: coefficients z weighted as the spectra of
    photographs fall (``w = frequency^-decay``), in colours that vary independently; views are drawn anew in each step.

    Args:
        steps: Steps uphill.
        rate: Most that a coefficient moves in a step.
        views: Views of the picture in each step; each costs a sweep.
        smallest: Side of the smallest view, as a share of the picture; the largest is all of it.
        jitter: Further shift of a view, at most, in pixels.
        rotate: Greatest angle of a view to either side, in degrees.
        decay: How fast weights fall with frequency; more is smoother.
        room: The picture's side in sides of what the model takes.

    Returns:
        One picture per target, larger than what the model takes by ``room``.

    Cost:
        ``steps * views`` sweeps per picture.

    Differs from the paper:
        Real cosines for complex exponentials, so a view is evaluated where it lies, without interpolation; several
        views of wide scales in each step, which is what makes other models agree.

    Source:
        Olah, Mordvintsev and Schubert, Feature Visualization, Distill 2017.
    """
    canvas = Cosines(commission.size, commission.channels, waves=board_of(commission.size, room), decay=decay)
    way = Climb(
        canvas,
        aimed_at(commission),
        lambda factor: Adam(rate * factor),
        steps,
        transforms=lambda _: Transforms(views, (smallest, 1.0), jitter, rotate),
    )
    start = np.stack([rng.normal(0, _QUIET, canvas.state) for rng in commission.rngs("start")])
    return whole(canvas, (yield from climbed(commission, way, start)))


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
    views: Positive = 4,
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


def whole(canvas: Canvas, found: Any, **more: Any) -> Painted:
    """What a way ended with, drawn in the canvas' own extent."""
    return painted(canvas.resized(canvas.extent), found, **more)
