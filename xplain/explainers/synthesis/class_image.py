"""Class images on plain pixels: what a score likes, held back by priors on the colours alone."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from xplain.core.declaring.options import Natural, NonNegative, Positive, PositiveReal, Share
from xplain.core.declaring.registry import Paper, recipe
from xplain.core.edits import Array
from xplain.core.synthesis.canvas import Pixels
from xplain.core.synthesis.commission import Commission, Painting
from xplain.core.synthesis.objective import Aimed
from xplain.core.synthesis.terms import Magnitude
from xplain.core.synthesis.views import Transforms
from xplain.explainers.synthesis.climb import Climb, climbed, painted
from xplain.explainers.synthesis.optimisers import Ascent
from xplain.explainers.synthesis.region import REGION, inlaid, region_told

__all__ = ["class_image", "yosinski"]

_GREY, _NOISE = 0.5, 0.01


def _grey(commission: Commission, canvas: Pixels) -> Array:
    """Grey with a little noise, without which whole layers may be shut."""
    noise = [rng.normal(0, _NOISE, canvas.state) for rng in commission.rngs("start")]
    return np.asarray(_GREY + np.stack(noise), np.float32)


@recipe("class", paper=Paper("Simonyan 2014", "arXiv:1312.6034"), target="needed", sources=REGION, trial={"steps": 3})
def class_image(
    commission: Commission, *, steps: Positive = 96, rate: PositiveReal = 0.01, l2: NonNegative = 0.001
) -> Painting:
    """The picture with the highest score, less ``l2`` times the squared distance from grey.

    ``argmax over x of f_c(x) - l2 |x - grey|^2``, by steps along the gradient divided by its root mean square.

    Args:
        steps: Steps uphill.
        rate: Length of a step: how far colours of 0..1 move, in the root of the mean square.
        l2: Weight of the squared distance from grey, summed over pixels and channels.

    Returns:
        One picture per target. The model is always very sure of it, and no other model is: it shows that a score can
        be raised, hardly what by. With ``on`` and ``within`` a photograph with the region painted, a step as long there
        as it would be in all of the picture; ``target before`` is the target's value on the photograph.

    Cost:
        ``steps`` sweeps per picture.

    Differs from the paper:
        The start is grey with a little noise, and steps have a fixed length, where the paper's have that of the
        gradient.

    Source:
        Simonyan, Vedaldi and Zisserman, Deep Inside Convolutional Networks, 2014, section 2.
    """
    plain = Pixels(commission.size, commission.channels)
    objective = Aimed(target=commission.aimed) + Magnitude(weight=-l2 * float(np.prod(plain.state)))
    told = yield from region_told(commission)
    seen = float(np.sqrt(commission.pictures["within"][0].mean())) if told else 1.0  # the rest of a step is not seen
    canvas = inlaid(commission, plain)
    way = Climb(
        canvas,
        objective,
        lambda factor: Ascent(rate * seen * factor),
        steps,
        settle=lambda x, _g, _k: np.clip(x, 0, 1),
    )
    return painted(canvas, (yield from climbed(commission, way, _grey(commission, plain))), **told)


@recipe("yosinski", paper=Paper("Yosinski 2015", "arXiv:1506.06579"), target="needed", trial={"steps": 3})
def yosinski(
    commission: Commission,
    *,
    steps: Positive = 96,
    rate: PositiveReal = 0.03,
    decay: Share = 0.0,
    blur: NonNegative = 0.5,
    every: Positive = 4,
    clip_norm: Share = 0.5,
    clip_contribution: Share = 0.0,
    jitter: Natural = 0,
) -> Painting:
    """A class image kept plain by four habits: colours fade, are blurred, and pixels that say little go back to grey.

    After each step: ``d <- (1 - decay) d``; every so often a Gaussian blur; then pixels whose norm ``|d|``, or whose
    contribution ``|d . g|``, is below a quantile of the picture's become grey; d is the distance from grey.

    Args:
        steps: Steps uphill.
        rate: Length of a step, in the root of the mean square.
        decay: Share of d that fades in each step.
        blur: Sigma of the blur, in pixels; 0 for none.
        every: Steps from one blur to the next.
        clip_norm: Share of pixels, those with the smallest norm, that become grey.
        clip_contribution: Share of pixels, those with the smallest contribution, that become grey.
        jitter: Shift of the picture before each step, at most, in pixels.

    Returns:
        One picture per target.

    Cost:
        ``steps`` sweeps per picture.

    Differs from the paper:
        Steps have a fixed length; the last one clips nothing, so that the picture has no holes.

    Source:
        Yosinski, Clune, Nguyen, Fuchs and Lipson, Understanding Neural Networks Through Deep Visualization, 2015,
        section 3.1.
    """
    canvas = Pixels(commission.size, commission.channels)

    def settle(x: Array, gradient: Array, k: int) -> Array:
        d = (x - _GREY) * (1 - decay)
        if blur and k % every == every - 1:
            d = gaussian_filter(d, (0, 0, blur, blur), mode="nearest")
        for share, worth in (
            (clip_norm, np.sqrt((d**2).sum(axis=1))),
            (clip_contribution, np.abs(d * gradient).sum(axis=1)),
        ):
            if share and k < steps - 1:
                least = np.quantile(worth, share, axis=(1, 2), keepdims=True)
                d = d * (worth >= least)[:, None]
        return np.asarray(_GREY + np.clip(d, -_GREY, _GREY), np.float32)

    way = Climb(
        canvas,
        Aimed(target=commission.aimed) + Magnitude(weight=0.0),
        lambda factor: Ascent(rate * factor),
        steps,
        transforms=lambda _: Transforms(jitter=jitter),
        settle=settle,
    )
    return painted(canvas, (yield from climbed(commission, way, _grey(commission, canvas))))
