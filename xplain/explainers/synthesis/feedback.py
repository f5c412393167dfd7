"""What a target's own units see of a picture, look by look: the picture of feedback's gradient, and its film."""

from __future__ import annotations

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import NonNegative, Positive, Share
from xplain.core.declaring.registry import Paper, Source, recipe
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.synthesis.commission import Commission, Painted, Painting
from xplain.explainers.gradient.feedback import Looks, looked, without
from xplain.explainers.synthesis.features import as_pixels

__all__ = ["feedback"]


@recipe(
    "feedback",
    paper=Paper("Cao 2015", "doi:10.1109/ICCV.2015.338"),
    aliases=("look-and-think-twice",),
    target="needed",
    sources=(Source("x", "pictures to look at twice", needed=True, fitted=True),),
    judged=False,
    trial={"rounds": 2},
)
def feedback(
    commission: Commission, *, rounds: Positive = 2, penalty: NonNegative = 0.0, clip: Share = 0.999
) -> Painting:
    """What a target's own units see of a picture once all others are shut, with every look on the way as a film.

    The gradient of the target by the picture's colours, through the gates of method ``feedback``, around grey: brighter
    where more of a colour would raise the target. The first frame is the net's plain gradient, then comes one a round.

    Args:
        rounds: Rounds at most; about ten until the gates stay as they are.
        penalty: What an open gate costs, as a multiple of its layer's mean positive rise; the larger, the more shut.
        clip: Share of the colours' slopes that fit between black and white.

    Returns:
        One picture per given picture, beside it. ``score`` is the net's as it is, ``through the gates`` what no picture
        has, ``shut`` the share of the units with a say that were shut. The same as a map, with its checks, is method
        ``feedback`` of ``xplain explain``.

    Cost:
        Up to ``rounds + 1`` sweeps per picture.

    Differs from the paper:
        Gates are 0 or 1 and shut greedily; see method ``feedback``.

    Source:
        Cao et al., Look and Think Twice: Capturing Top-Down Visual Attention with Feedback Convolutional Neural
        Networks, ICCV 2015.
    """
    given, aimed = commission.stacked("x"), commission.aimed
    parts: list[Looks] = []
    warnings: list[Caveat] = []
    for n, picture in enumerate(given):  # by themselves: gates of every layer are held
        parts.append(Looks(films=True))
        x = np.ascontiguousarray(commission.ink.apply(picture[None].astype(np.float32)), np.float32)
        try:
            yield from looked(parts[n], x, aimed.take(np.array([n])), rounds, penalty)
        except BudgetError as spent:
            if not parts[n].scores:
                if not n:
                    raise
                parts.pop()
                text = (
                    f"The budget was spent after {n} of {len(given)} pictures; the others were not looked at: {spent}"
                )
                warnings.append(Caveat(text, "budget"))
                break
            warnings.append(Caveat(f"The looking ended after {len(parts[n].scores)} looks: {spent}", "budget", n))
    looks = max(len(one.scores) for one in parts)
    films = [_shown(commission, one, clip, looks) for one in parts]
    picture = np.stack([film[-1] for film in films])
    trace = np.full((looks, len(parts)), np.nan)
    for n, one in enumerate(parts):
        trace[: len(one.scores), n] = np.concatenate(one.scores)
    each = {
        "score": [float(one.scores[0][0]) for one in parts],
        "through the gates": [float(one.scores[-1][0]) for one in parts],
        "shut": [float(one.shut[0]) for one in parts],
        "rounds": [int(one.rounds[0]) for one in parts],
    }
    return Painted(
        picture,
        np.concatenate([one.gradients[-1] for one in parts]).astype(np.float32),
        trace,
        tuple(commission.names["x"][: len(parts)]),
        notes={"gated layers": parts[0].layers},
        each=each,
        warnings=(*without(parts[0]), *warnings),
        frames=np.stack([as_pixels(film) for film in films]),
        original=as_pixels(given[: len(parts)]),
    )


def _shown(commission: Commission, found: Looks, clip: float, looks: int) -> Array:
    """The slopes by a picture's colours at each look, around grey, float32 ``[looks, C, H, W]``; the last one stays."""
    made = []
    for gradient in found.gradients:
        slope = commission.ink.back(gradient)[0]
        largest = float(np.quantile(np.abs(slope), clip)) or float(np.abs(slope).max())
        made.append(0.5 + 0.5 * np.clip(slope / largest, -1, 1) if largest > 0 else np.full(slope.shape, 0.5))
    return np.stack(made + made[-1:] * (looks - len(made))).astype(np.float32)
