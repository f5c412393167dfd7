"""Whether the values themselves are true: does the score change by what the explanation says, where it says so?

The questions depend on the item alone, so all explanations of it, and these metrics among themselves, share them.
"""

from __future__ import annotations

import numpy as np

from xplain.core.declaring.declared import Paper
from xplain.core.declaring.options import NonNegative, Positive, Share
from xplain.core.declaring.registry import metric
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, View
from xplain.metrics.asking import blank, clean, each_cell, random_cells, summed_by
from xplain.metrics.maps import flat, of_view, pearson, ratio

__all__ = ["completeness_gap", "faithfulness_correlation", "faithfulness_estimate", "infidelity", "non_sensitivity"]

_TRIAL = {"cells": 4, "runs": 8}


@metric(
    "faithfulness-correlation",
    better="large",
    needs="answers",
    unit="correlation",
    range=(-1.0, 1.0),
    paper=Paper("Bhatt 2020", "arXiv:2005.00631"),
    trial=_TRIAL,
)
def faithfulness_correlation(
    view: View, values: Array, fill: Array, *, cells: Positive = 14, runs: Positive = 100, share: Share = 0.1
) -> Flow:
    """Pearson's correlation, over random sets of cells, of what they are said to give and what hiding them takes.

    ``corr_S(sum_{i in S} a_i, f(x) - f(x without S))``, each S of ``share`` of the cells.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes.
        cells: Cells along each axis; more than there are positions takes every position by itself.
        runs: Sets.
        share: Share of the cells in each.

    Returns:
        ``[N]``, -1..1; NaN where the map, or the score, is the same for all sets.

    Differs from the paper:
        Cells instead of single positions, of which a model of pictures would not notice a few.

    Cost:
        ``runs`` + 1 evaluations per item, for all explanations of it and for ``infidelity`` together.

    Source:
        Bhatt, Weller and Moura, Evaluating and Aggregating Feature-based Model Explanations, IJCAI 2020, definition 3.
    """
    of_view(view, values)
    labels, hidden, falls = yield from random_cells(view, fill, cells, runs, share)
    return Reading(pearson(_said(values, labels, hidden), falls))


@metric(
    "infidelity",
    better="small",
    needs="answers",
    unit="score squared",
    range=(0.0, np.inf),
    paper=Paper("Yeh 2019", "arXiv:1901.09392"),
    trial=_TRIAL,
)
def infidelity(
    view: View,
    values: Array,
    fill: Array,
    *,
    cells: Positive = 14,
    runs: Positive = 100,
    share: Share = 0.1,
    scaled: bool = True,
    slopes: bool = False,
) -> Flow:
    """The mean squared difference between what hidden cells are said to give and what hiding them takes.

    ``E_S[(b sum_{i in S} a_i - (f(x) - f(x without S)))^2]``; with ``slopes``, ``a_i (x_i - x0_i)`` for ``a_i``.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes, ``x0``.
        cells: Cells along each axis.
        runs: Sets S.
        share: Share of the cells in each.
        scaled: Take the factor b that makes the mean smallest, so that maps in other units compare; else b is 1.
        slopes: The values are changes of the score per unit of the input, such as gradients, instead of shares of it.

    Returns:
        ``[N]``, 0 for an explanation that foretells every change.

    Differs from the paper:
        The change is hiding random cells; each set starts from the untouched item. Values of a map are shares of the
        score, so they are not multiplied by the change once more, unless ``slopes`` says so.

    Cost:
        As ``faithfulness-correlation``, which asks the same.

    Raises:
        UsageError: ``slopes`` of items with several channels, whose values were added up.

    Source:
        Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019, definition 2.1 and section 2.3.
    """
    of_view(view, values)
    if slopes:
        if view.layout.channels > 1:
            raise UsageError(
                "Infidelity of slopes needs one value per element, but the values of several channels were added up. "
                "Explain with input-x-gradient, whose values are shares of the score, and leave slopes out."
            )
        change = np.asarray(view.x, np.float64) - fill
        values = values * change.reshape(values.shape)
    labels, hidden, falls = yield from random_cells(view, fill, cells, runs, share)
    said = _said(values, labels, hidden)
    squares = (said * said).sum(axis=1)
    best = ratio((said * falls).sum(axis=1), squares) if scaled else np.ones(len(said))
    best = np.where(squares == 0, 0.0, best)
    return Reading(((best[:, None] * said - falls) ** 2).mean(axis=1))


@metric(
    "faithfulness-estimate",
    better="large",
    needs="answers",
    unit="correlation",
    range=(-1.0, 1.0),
    paper=Paper("Alvarez-Melis 2018", "arXiv:1806.07538"),
    trial={"cells": 4},
)
def faithfulness_estimate(view: View, values: Array, fill: Array, *, cells: Positive = 14) -> Flow:
    """Pearson's correlation, over single cells, of what each is said to give and what hiding it takes.

    ``corr_i(a_i, f(x) - f(x without i))``.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes.
        cells: Cells along each axis; every column of a table is one.

    Returns:
        ``[N]``, -1..1; NaN where the map, or the score, is the same for all cells.

    Cost:
        A cell's evaluation each, and 1, per item, for all explanations of it and for ``non-sensitivity`` together.

    Source:
        Alvarez-Melis and Jaakkola, Towards Robust Interpretability with Self-Explaining Neural Networks, NeurIPS 2018.
    """
    of_view(view, values)
    labels, falls = yield from each_cell(view, fill, cells)
    return Reading(pearson(summed_by(values, labels, falls.shape[1]), falls))


@metric(
    "non-sensitivity",
    better="small",
    needs="answers",
    unit="share of cells",
    range=(0.0, 1.0),
    paper=Paper("Nguyen 2020", "arXiv:2007.07584"),
    trial={"cells": 4},
)
def non_sensitivity(view: View, values: Array, fill: Array, *, cells: Positive = 14, least: NonNegative = 1e-3) -> Flow:
    """The share of cells for which the map and the model disagree on whether they matter at all.

    A cell matters to the map where ``|a_i| > least max |a|``, to the model where hiding it moves the score by more than
    ``least`` of the largest move. Counted are the cells that matter to one alone.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes.
        cells: Cells along each axis; every column of a table is one.
        least: Share of the largest below which a number counts as none.

    Returns:
        ``[N]``, 0..1; NaN for a map with NaN.

    Differs from the paper:
        A share instead of a count, cells instead of positions, and "none" up to rounding instead of exactly.

    Cost:
        As ``faithfulness-estimate``, which asks the same.

    Source:
        Nguyen and Martinez, On quantitative aspects of model interpretability, 2020, section 2.2.
    """
    of_view(view, values)
    labels, falls = yield from each_cell(view, fill, cells)
    said = np.abs(summed_by(values, labels, falls.shape[1]))
    moved = np.abs(falls)
    apart = _matter(said, least) != _matter(moved, least)
    return Reading(np.where(np.isfinite(said).all(axis=1), apart.mean(axis=1), np.nan))


@metric(
    "completeness-gap",
    better="small",
    needs="answers",
    unit="share of the score",
    range=(0.0, np.inf),
    paper=Paper("Sundararajan 2017", "arXiv:1703.01365"),
)
def completeness_gap(view: View, values: Array, fill: Array) -> Flow:
    """How far the values are from adding up to what they should explain: ``|sum a - d| / |d|``, ``d = f(x) - f(x0)``.

    A number, where others answer yes or no: a sum of float32 values is never exact.

    Args:
        view: The items and the target.
        values: An explanation of the view's items, ``[N, *map]``.
        fill: What a hidden position becomes: ``x0`` is the item with everything hidden.

    Returns:
        ``[N]``, 0 for a complete explanation; NaN where d is 0. Only methods that promise completeness are held to it.

    Cost:
        2 evaluations per item, which most others ask too.

    Source:
        Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017, proposition 1.
    """
    of_view(view, values)
    whole = (yield from clean(view)) - (yield from blank(view, fill))
    return Reading(ratio(np.abs(flat(values).sum(axis=1) - whole), np.abs(whole)))


def _said(values: Array, labels: Array, hidden: Array) -> Array:
    """What each set of cells is said to give, ``[N, M]``."""
    worth = summed_by(values, labels, hidden.shape[2])
    return np.asarray(np.einsum("ns,nms->nm", worth, hidden.astype(np.float64)))


def _matter(sizes: Array, least: float) -> Array:
    return np.asarray(sizes > least * sizes.max(axis=1, keepdims=True))
