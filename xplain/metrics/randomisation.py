"""Whether a map depends on what the model has learnt: its weights are drawn anew, and the map must change.

``xplain.measure.randomisation`` draws them, in the ONNX file itself, and makes the maps; here is what is said of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Positive
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, View
from xplain.core.target import label
from xplain.metrics.maps import flat, mean_ranks, of_view, pearson, ratio
from xplain.metrics.stability import Again

__all__ = ["efficient_mprt", "likeness", "mprt", "random_logit"]


@metric(
    "mprt",
    better="small",
    needs="models",
    unit="rank correlation",
    range=(-1.0, 1.0),
    paper=Paper("Adebayo 2018", "arXiv:1810.03292"),
    aliases=("model-parameter-randomisation",),
)
def mprt(stages: Array) -> Array:
    """How alike maps stay while more and more of the model's weights are drawn anew: the mean over the stages.

    ``1 / (K - 1) sum_{k >= 1} spearman(|a_k|, |a_0|)``, ``a_k`` the map by the k-th model. Smooth MPRT is the same of
    maps that are averaged over noise on the item.

    Args:
        stages: Maps of the same items, ``[K, N, *map]``: by the model itself, then by models that were changed.

    Returns:
        ``[N]``, -1..1. 0 is not to be reached: all maps of one item share its borders and its object, so read it beside
        the likeness of maps of different items. NaN where a map is constant.

    Differs from the paper:
        Sizes are ranked, so that a flipped sign is no change; the mean over stages is one number per item.

    Cost:
        An explanation of every item per stage.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018; smooth: Hedström et al., arXiv:2401.06465.
    """
    return np.nanmean(likeness(stages), axis=1) if len(stages) > 1 else np.full(np.shape(stages)[1], np.nan)


@metric(
    "efficient-mprt",
    better="large",
    needs="models",
    unit="relative rise of entropy",
    paper=Paper("Hedstrom 2024", "arXiv:2401.06465"),
)
def efficient_mprt(stages: Array, *, bins: Positive = 100) -> Array:
    """How much more complex the map gets when all weights are drawn anew: ``(H(a_last) - H(a_0)) / H(a_0)``.

    H is the entropy of the histogram of a map's values in ``bins`` equal bins from its smallest to its largest. A map
    that reads the model turns to noise, and its histogram spreads; one that reads the picture stays as it was.

    Args:
        stages: Maps of the same items, ``[K, N, *map]``: by the model itself first, by the one that was changed in
            full last.
        bins: Bins of the histogram.

    Returns:
        ``[N]``; NaN where the entropy of the map itself is 0.

    Cost:
        An explanation of every item by one changed model, whatever the number of layers.

    Source:
        Hedström et al., Sanity Checks Revisited, 2024, section 4.2.
    """
    first, last = (np.array([_entropy(row, bins) for row in flat(np.asarray(stages)[k])]) for k in (0, -1))
    return ratio(last - first, first)


@metric(
    "random-logit",
    better="small",
    needs="maps",
    unit="rank correlation",
    range=(-1.0, 1.0),
    paper=Paper("Sixt 2020", "arXiv:1912.09818"),
)
def random_logit(view: View, values: Array, again: Again) -> Flow:
    """How alike the map is to that of another class, drawn by chance: Spearman's correlation of the values.

    Args:
        view: The items and the target, which must be a class.
        values: Their explanation, ``[N, *map]``.
        again: Explains another target likewise.

    Returns:
        ``[N]``, -1..1; NaN where a map is constant.

    Differs from the paper:
        A rank correlation, where the paper takes the structural similarity of drawings.

    Cost:
        One explanation per item.

    Raises:
        UsageError: the target is no class, or there is no other.

    Source:
        Sixt, Granz and Landgraf, When Explanations Lie, ICML 2020, section 4.3.
    """
    of_view(view, values)
    leaf, classes = view.target.selectable, view.outline.scores.classes
    if leaf is None or classes is None or classes < 2:
        raise UsageError(
            f"random-logit compares with another class's map, but the target is {view.target.name!r} of {classes} "
            "classes; accepted: one class of two or more."
        )
    own = [leaf.index[n if leaf.per_item else 0][0] % classes for n in range(len(view.x))]
    drawn = [int(rng.integers(classes - 1)) for rng in view.rngs("random logit")]
    other = [k + (k >= one) for k, one in zip(drawn, own, strict=True)]
    maps = yield from again(replace(view, target=label(other)))
    return Reading(pearson(mean_ranks(flat(maps)), mean_ranks(flat(values))))


def likeness(stages: Array) -> Array:
    """Spearman's correlation of the sizes of every later stage's maps with the first's, ``[N, K - 1]``."""
    ranks = [mean_ranks(np.abs(flat(one))) for one in np.asarray(stages)]
    found = [pearson(one, ranks[0]) for one in ranks[1:]]
    return np.stack(found, axis=1) if found else np.zeros((len(ranks[0]), 0))


def _entropy(row: Array, bins: int) -> float:
    if not np.isfinite(row).all() or np.ptp(row) == 0:
        return 0.0 if np.isfinite(row).all() else float("nan")
    counts = np.histogram(row, bins)[0]
    shares = counts[counts > 0] / len(row)
    return float(-(shares * np.log(shares)).sum())
