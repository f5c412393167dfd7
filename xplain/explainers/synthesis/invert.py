"""Inversion: a picture that a layer cannot tell from a given one shows what the layer keeps of it."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.option_names import Layers
from xplain.core.declaring.options import NonNegative, Positive, PositiveReal
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.synthesis.canvas import Cosines
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.terms import Distance, Magnitude, Variation
from xplain.explainers.synthesis.climb import Climb, How, gone
from xplain.explainers.synthesis.features import as_pixels, features_of, layers_named
from xplain.explainers.synthesis.optimisers import Adam

__all__ = ["invert", "psnr", "relative"]

_QUIET = 0.01

_ALPHA = 6.0
"""The exponent of the alpha norm, the paper's."""


@recipe(
    "invert",
    paper=Paper("Mahendran 2015", "arXiv:1412.0035"),
    target="none",
    sources=(Source("x", "pictures to invert", needed=True, fitted=True),),
    trial={"layers": ("first", "second"), "steps": 3},
)
def invert(
    commission: Commission,
    *,
    layers: Layers = ("",),
    steps: Positive = 110,
    rate: PositiveReal = 0.08,
    tv: NonNegative = 0.0,
    beta: PositiveReal = 1.5,
    alpha: NonNegative = 0.0,
    decay: NonNegative = 1.0,
    optimiser: How = "adam",
) -> Painting:
    """A picture that gives a layer the same values as a given one: what differs between the two, the layer forgets.

    ``min over z of |f(x(z)) - f(x0)|^2 / |f(x0)|^2 + tv TV_beta(x(z)) + alpha mean |x(z) - 1/2|^6``, on a canvas of
    cosines.

    Args:
        layers: The layers, one strip of pictures for all; on a command line parted by commas.
        steps: Steps for each layer.
        rate: Most that a coefficient moves in a step; 0.4 of it after half of the steps, 0.1 after four fifths.
        tv: Weight of the total variation.
        beta: Its exponent: 2 is smooth, 1 allows edges.
        alpha: Weight of the alpha norm: how far colours are from grey, to the sixth power, on average.
        decay: How fast the canvas' weights fall with frequency.
        optimiser: ``lbfgs`` for scipy's L-BFGS, which takes no ``rate``; ``steps`` are then its evaluations.

    Returns:
        A picture for each layer and given picture. ``distance`` is what was made small, relative and squared, NaN
        where the budget was spent before it was read; ``PSNR`` (dB) is how near the colours are, which deep layers do
        not hold: there grey would score higher than a picture.

    Cost:
        ``steps`` sweeps per picture and layer, and one forward pass.

    Differs from the paper:
        Cosines and Adam where the paper has pixels and momentum, and no prior unless one is asked for: at equal steps
        distances are smaller (feasibility study: fire5 of SqueezeNet .031 against .147 for pixels with L-BFGS).

    Source:
        Mahendran and Vedaldi, Understanding Deep Image Representations by Inverting Them, CVPR 2015.
    """
    wanted = commission.stacked("x")
    names = layers_named(commission, layers)
    references = yield from features_of(commission, wanted, names)
    canvas = Cosines((wanted.shape[2], wanted.shape[3]), commission.channels, decay=decay)
    rows: dict[str, list[Array]] = {"picture": [], "state": [], "trace": [], "distance": []}
    caveats: list[Caveat] = []
    for k, name in enumerate(names):
        terms = Objective((Distance(tensor=name, reference=references[name], weight=-1.0),))
        if tv:
            terms = terms + Variation(beta=beta, weight=-tv)
        if alpha:
            terms = terms + Magnitude(power=_ALPHA, weight=-alpha)
        start = np.stack([rng.normal(0, _QUIET, canvas.state) for rng in commission.rngs("start")])
        way = Climb(canvas, terms, lambda factor: Adam(rate * factor), steps, rate=_falling, stage=f"invert/{k}")
        found = yield from gone(optimiser, commission, way, start)
        picture = np.clip(canvas.drawn(found.state), 0, 1)
        distance = np.full(len(picture), np.nan)
        with suppress(BudgetError):  # the way has said that it is spent
            told = (yield from features_of(commission, picture, (name,)))[name]
            distance = relative(told, references[name])
        rows["picture"].append(picture)
        rows["state"].append(found.state)
        rows["trace"].append(_as_long(found.trace, steps))
        rows["distance"].append(distance)
        caveats += found.caveats
    picture, state = np.concatenate(rows["picture"]), np.concatenate(rows["state"])
    called = tuple(f"{one} from {name}" for name in names for one in commission.names["x"])
    near = psnr(picture, np.concatenate([wanted] * len(names)))
    each = {"distance": np.concatenate(rows["distance"]), "PSNR": near}
    trace = np.concatenate(rows["trace"], axis=1)
    said = tuple(dict.fromkeys(caveats))
    first = as_pixels(np.concatenate([wanted] * len(names)))
    return Painted(picture, state, trace, called, each=each, warnings=said, original=first)


def _falling(done: float) -> float:
    return 1.0 if done < 0.5 else 0.4 if done < 0.8 else 0.1


def _as_long(trace: Array, steps: int) -> Array:
    """A trace of so many steps; those that were not made are NaN."""
    return np.concatenate([trace, np.full((max(0, steps - len(trace)), trace.shape[1]), np.nan)])[:steps]


def relative(found: Array, wanted: Array) -> Array:
    """Squared distance of features, relative to the size of those that are wanted, ``[N]``."""
    apart = ((found - wanted) ** 2).reshape(len(found), -1).sum(axis=1)
    return np.asarray(apart / np.maximum((wanted**2).reshape(len(wanted), -1).sum(axis=1), 1e-12), np.float64)


def psnr(one: Array, other: Array) -> Array:
    """Peak signal to noise ratio of pictures in 0..1, in decibels, ``[N]``."""
    error = ((one - other) ** 2).reshape(len(one), -1).mean(axis=1)
    return np.asarray(-10 * np.log10(np.maximum(error, 1e-12)), np.float64)
