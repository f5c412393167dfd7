"""Multifaceted pictures: a unit that likes several kinds of things gets a picture for each of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import gaussian_filter

from xplain.core.declaring.options import Fraction, NonNegative, Positive, PositiveReal, Together
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.synthesis.canvas import Cosines, Pixels
from xplain.core.synthesis.commission import Commission, Painting
from xplain.core.synthesis.objective import Aimed, Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.views import Transforms
from xplain.explainers.synthesis.climb import Climb, climbed, painted
from xplain.explainers.synthesis.features import layers_named
from xplain.explainers.synthesis.optimisers import Adam

__all__ = ["clusters_of", "facets"]

_BLUR = 4 / 224  # sigma of the start's blur, in sides of the picture
_FAINT = 0.8  # share of the mean picture's coefficients that a way starts from
_CENTRE = 0.2  # share of the room that views use in the first half
_ROUNDS = 100


@recipe(
    "facets",
    paper=Paper("Nguyen 2016", "arXiv:1602.03616"),
    target="needed",
    sources=(Source("photographs", "photographs among which some excite the target", needed=True, fitted=True),),
    trial={"layer": "last", "facets": 2, "steps": 2, "views": 2},
)
def facets(
    commission: Commission,
    *,
    layer: str = "",
    facets: Together = 4,
    keep: Positive = 64,
    steps: Positive = 96,
    rate: PositiveReal = 0.05,
    views: Together = 4,
    smallest: Fraction = 0.35,
    jitter: NonNegative = 8.0,
    decay: NonNegative = 1.3,
) -> Painting:
    """Several pictures of a target: one for each kind of photograph that excites it, begun from that kind's mean.

    The photographs with the highest value are parted by k-means of what a layer holds of them: means over positions,
    less those of all, at length 1. The blurred mean of each cluster is where a picture of cosines begins; in the first
    half of the way views keep to its middle, so that one thing grows there and not several.

    Args:
        layer: The layer whose features tell kinds apart, best a late one.
        facets: Pictures for each target, at most as many as there are photographs.
        keep: Photographs that are used for each target: those with its highest values.
        steps: Steps uphill.
        rate: Most that a coefficient moves in a step.
        views: Views of the picture in each step; each costs a sweep.
        smallest: Side of the smallest view, as a share of the picture.
        jitter: Further shift of a view, at most, in pixels.
        decay: How fast the canvas' weights fall with frequency.

    Returns:
        The first facet of each target, then the second ones, and so on; the first has the most photographs.
        ``photographs`` is how many began a picture.

    Cost:
        ``steps * views`` sweeps per facet, and a forward pass per target and photograph.

    Differs from the paper:
        Features are centred and compared by direction, without PCA and t-SNE before k-means; the mean is over the
        whole cluster, where the paper takes the 15 photographs nearest its centre; cosines for pixels.

    Raises:
        UsageError: fewer photographs than facets.

    Source:
        Nguyen, Yosinski and Clune, Multifaceted Feature Visualization, 2016.
    """
    (name,) = layers_named(commission, (layer,))
    photographs, aimed = commission.stacked("photographs"), commission.aimed
    if len(photographs) < facets:
        accepted = f"at most as many as there are photographs, {len(photographs)}"
        raise UsageError(option="facets", got=facets, accepted=accepted)
    starts: list[tuple[int, int, Array]] = []  # facet, target, photographs
    for n in range(commission.count):
        term = Aimed(target=aimed.take(np.full(len(photographs), n)))
        canvas = Pixels((photographs.shape[2], photographs.shape[3]), commission.channels)
        found: Sloped = yield Slope(
            photographs, canvas, Objective((term,)), ink=commission.ink, taps=(name,), gradient=False
        )
        best = np.argsort(-found.value, kind="stable")[: max(keep, facets)]
        held = found.taps[name].reshape(len(photographs), found.taps[name].shape[1], -1).mean(axis=2)[best]
        groups = clusters_of(held, facets, commission.rng("clusters", commission.keys[n]))
        starts += [(k, n, best[group]) for k, group in enumerate(groups)]
    starts.sort(key=lambda one: one[:2])
    whose = np.array([n for _, n, _ in starts])
    own = replace(commission, keys=tuple(f"{commission.keys[n]}/facet {k}" for k, n, _ in starts))
    drawn = Cosines(commission.size, commission.channels, decay=decay)
    target = aimed.take(whose)
    way = Climb(
        drawn,
        Objective((Aimed(target=target),)),
        lambda factor: Adam(rate * factor),
        steps,
        transforms=lambda done: Transforms(views, (smallest, 1.0), jitter, centre=_CENTRE if done < 0.5 else 1.0),
    )
    begun = np.stack([_mean(photographs[group]) for _, _, group in starts])
    climb = yield from climbed(own, way, np.float32(_FAINT) * drawn.start(begun))
    called = tuple(f"{aimed.of_item(n).name} facet {k + 1}" for k, n, _ in starts)
    each = {"photographs": [len(group) for _, _, group in starts]}
    return painted(drawn, climb, names=called, target=target, notes={"layer": name}, each=each)


def clusters_of(features: Array, count: int, rng: np.random.Generator) -> list[Array]:
    """Rows ``[M, D]`` in groups by k-means of their directions from the mean, the largest group first.

    Begins as k-means++ does (Arthur and Vassilvitskii, 2007). Fewer than ``count`` where rows are alike.
    """
    apart = np.asarray(features, np.float64) - features.mean(axis=0)
    rows = apart / np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), 1e-12)
    centres = rows[rng.integers(len(rows))][None]
    while len(centres) < count:
        far = ((rows[:, None] - centres) ** 2).sum(axis=2).min(axis=1)
        if far.sum() < 1e-9:
            break
        centres = np.concatenate([centres, rows[rng.choice(len(rows), p=far / far.sum())][None]])
    nearest = np.full(len(rows), -1)
    for _ in range(_ROUNDS):
        now = ((rows[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        if np.array_equal(now, nearest):
            break
        nearest = now
        centres = np.stack(
            [rows[nearest == k].mean(axis=0) if (nearest == k).any() else c for k, c in enumerate(centres)]
        )
    groups = [np.flatnonzero(nearest == k) for k in range(len(centres))]
    return sorted((group for group in groups if len(group)), key=lambda group: (-len(group), int(group[0])))


def _mean(pictures: Array) -> Array:
    """The mean of pictures ``[M, C, H, W]``, blurred."""
    sigma = _BLUR * min(pictures.shape[2:])
    return np.asarray(gaussian_filter(pictures.mean(axis=0), (0, sigma, sigma)), np.float32)
