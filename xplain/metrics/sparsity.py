"""How few positions an explanation needs: sparseness, complexity. Nothing is asked of the model.

They say how easily a map is read, not whether it is true: a map of one random pixel is the sparsest there is.
"""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import Share
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array
from xplain.metrics.maps import flat, ratio

__all__ = ["complexity", "effective_complexity", "sparseness"]


@metric(
    "sparseness",
    better="large",
    needs="map",
    unit="Gini index",
    range=(0.0, 1.0),
    paper=Paper("Chalasani 2020", "arXiv:1810.06583"),
    aliases=("gini",),
)
def sparseness(values: Array) -> Array:
    """The Gini index of the sizes: 0 where all positions count alike, near 1 where one counts alone.

    With the sizes ``|a|`` in ascending order, ``a_1 .. a_P``: ``G = sum_i (2 i - P - 1) a_i / (P sum_i a_i)``, which is
    ``1 - 1 / P`` at most.

    Args:
        values: Maps ``[N, *map]``.

    Returns:
        ``[N]``, 0..1; NaN for a map of zeros.

    Cost:
        Nothing is asked.

    Source:
        Chalasani et al., Concise Explanations of Neural Networks using Adversarial Training, ICML 2020, section 5.
    """
    sizes = np.sort(np.abs(flat(values)), axis=1)
    count = sizes.shape[1]
    places = 2.0 * np.arange(1, count + 1) - count - 1
    return ratio(sizes @ places, count * sizes.sum(axis=1))


@metric(
    "complexity",
    better="small",
    needs="map",
    unit="nats",
    range=(0.0, np.inf),
    paper=Paper("Bhatt 2020", "arXiv:2005.00631"),
)
def complexity(values: Array) -> Array:
    """The entropy of how the sizes are shared out: 0 where one position counts alone, ``ln P`` where all count alike.

    ``H = - sum_i p_i ln p_i`` with ``p_i = |a_i| / sum |a|``.

    Args:
        values: Maps ``[N, *map]``.

    Returns:
        ``[N]`` in nats; NaN for a map of zeros.

    Cost:
        Nothing is asked.

    Source:
        Bhatt, Weller and Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020, definition 6.
    """
    sizes = np.abs(flat(values))
    shares = ratio(sizes, sizes.sum(axis=1, keepdims=True))
    return -np.asarray((shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=1))


@metric(
    "effective-complexity",
    better="small",
    needs="map",
    unit="share of positions",
    range=(0.0, 1.0),
    paper=Paper("Nguyen 2020", "arXiv:2007.07584"),
)
def effective_complexity(values: Array, *, least: Share = 0.05) -> Array:
    """The share of positions whose size is above ``least`` of the map's largest.

    Args:
        values: Maps ``[N, *map]``.
        least: Share of the largest size from which a position counts.

    Returns:
        ``[N]``, 0..1; NaN for a map of zeros.

    Differs from the paper:
        Its number is the least count of positions with which the model's loss stays below a bound, which is found by
        asking; this one reads the map alone, as is common, and gives a share so that maps of different sizes compare.

    Cost:
        Nothing is asked.

    Source:
        Nguyen and Martinez, On quantitative aspects of model interpretability, 2020, section 2.3.
    """
    sizes = np.abs(flat(values))
    top = sizes.max(axis=1, keepdims=True)
    counted = (sizes > least * top).mean(axis=1)
    return np.where((top[:, 0] > 0) & np.isfinite(top[:, 0]), counted, np.nan)
