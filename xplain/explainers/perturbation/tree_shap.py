"""TreeSHAP: exact Shapley values of a sum of trees, read off its leaves."""

from __future__ import annotations

from collections.abc import Mapping
from math import factorial
from typing import Any, Literal

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.registry import Paper, method
from xplain.core.declaring.wording import option
from xplain.core.edits import Array, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Flow, Reading, Score, View
from xplain.core.targets.leaves import Leaf
from xplain.core.trees import Ensemble, Trees
from xplain.explainers.design.game import Background

__all__ = ["interventional", "path_dependent", "tree_shap"]

_AT_ONCE = 2**22
"""Numbers that are held at once."""
_MISSED = 1e-3
"""Share of the score by which the trees may miss what the model answers without a word."""


@method(
    "tree-shap",
    needs=(Ensemble, Score),
    paper=Paper("Lundberg 2020", "doi:10.1038/s42256-019-0138-9"),
    unit="delta {score} per feature",
    aliases=("treeshap", "tree-explainer"),
    complete=True,
    suits="trees",
    traceable=False,
    trial={"kind": "path-dependent"},
)
def tree_shap(
    view: View,
    *,
    kind: Literal["auto", "interventional", "path-dependent"] = "auto",
    background: Background | None = None,
) -> Flow:
    """Exact Shapley values of a tree model: what each column adds, averaged over all orders, without asking.

    A leaf is reached by a coalition when its splits on shown columns agree with the row, and those on hidden columns
    with what hides them. ``interventional``: hidden columns come from the background rows, and values are their mean;
    a leaf of worth v that needs p columns of the row and q of the other gives ``v (p-1)! q! / (p+q)!`` to each of the
    first and takes ``v p! (q-1)! / (p+q)!`` from each of the second. ``path-dependent``: at a hidden column both ways
    are gone, in the shares of the training rows that went there.

    Args:
        kind: What a hidden column means; ``auto``: interventional where there is a background, else path-dependent.
        background: Reference rows ``[B, S]``, or one row.

    Returns:
        In the shape of the items, signed, in units of what the trees add up to: the score itself, or its log-odds
        where the model turns the sum into probabilities; then a warning says so. They sum to that of the row less
        ``base``, the mean over the background, or over the training.

    Cost:
        No evaluation but that of the item itself; N B times the leaves and their depth, in numpy.

    Differs from the paper:
        Leaves in place of nodes: all with as many columns at once, by arrays; path-dependent values by exact
        quadrature of the product that a leaf is.

    Raises:
        CapabilityError: the model is no sum of trees.
        UsageError: the target reads something else than classes, the background does not fit, or path-dependent values
            are asked of a file that does not say how many rows went where.

    Source:
        Lundberg et al., From local explanations to global understanding with explainable AI for trees, 2020; Yu et al.,
        Linear TreeShap, 2022 (quadrature).
    """
    trees: Trees = yield Ensemble()
    weights = _weights(view, trees)  # [N, K]
    score = np.asarray((yield Score(view.x, Untouched(), view.target)))[:, 0]
    rows = view.x.reshape(len(view.x), -1)
    found = _kind(kind, background, trees)
    if found == "interventional":
        others = np.asarray(background, np.float32)
        others = others.reshape(-1, rows.shape[1]) if others.size % rows.shape[1] == 0 else others
        if others.ndim != 2 or others.shape[1] != rows.shape[1]:
            raise UsageError(f"The background has {others.size} numbers; accepted: rows of {rows.shape[1]} columns.")
        values = interventional(trees, rows, others, weights)
        base = (trees.outputs(others).mean(axis=0) * weights).sum(axis=1)
    else:
        values, middle = path_dependent(trees, rows, weights)
        base = (middle * weights).sum(axis=1)
    sums = trees.outputs(rows)
    margin = (sums * weights).sum(axis=1)
    said = (trees.linked(sums) * weights).sum(axis=1)
    own: dict[str, Any] = {"sum of the trees": margin}
    unit = None if trees.link == "identity" else "delta log-odds per feature"
    notes: Mapping[str, Any] = {"kind": found, "trees": len(trees.roots)}
    told = (*_linked(trees), *_differs(said, score, trees))
    return Reading(values.reshape(view.x.shape), base=base, notes=notes, each=own, unit=unit, warnings=told)


def _kind(kind: str, background: Array | None, trees: Trees) -> str:
    if kind == "auto":
        kind = "path-dependent" if background is None and trees.cover is not None else "interventional"
    if kind == "interventional" and background is None:
        raise UsageError(
            "The trees are averaged over rows that stand for what is hidden, and there are none: give ",
            option("background", python="rows", shell="rows.csv"),
            ".",
        )
    if kind == "path-dependent" and trees.cover is None:
        raise UsageError(
            "Path-dependent values need the number of training rows at each split, which this model does not keep. "
            "Give ",
            option("background", python="rows", shell="rows.csv"),
            ", or the fitted estimator itself.",
        )
    return kind


def _weights(view: View, trees: Trees) -> Array:
    """How much each output of the trees counts for each item's target, ``[N, K]``."""
    count, outputs = len(view.x), trees.values.shape[1]
    classes = view.outline.scores.classes or outputs
    weights: Array = np.zeros((count, max(classes, outputs)))
    for weight, leaf in view.target.terms:
        if not isinstance(leaf, Leaf) or leaf.kind != "label":
            raise UsageError(f"tree-shap explains classes, or sums of them; target {view.target.name!r} is none.")
        for n in range(count):
            weights[n, int(leaf.index[n if leaf.per_item else 0][0])] += weight
    if outputs == 1 and classes == 2:  # one number speaks for the second class, and as much against the first
        return weights[:, 1:2] - weights[:, :1]
    return weights[:, :outputs]


def _linked(trees: Trees) -> tuple[Caveat, ...]:
    if trees.link == "identity":
        return ()
    text = (
        f"The values are of what the trees add up to, log-odds, before the model's {trees.link} makes probabilities of "
        "them: there they add up. "
    )
    return (Caveat(text.strip(), "units"),)


def _differs(said: Array, score: Array, trees: Trees) -> tuple[Caveat, ...]:
    """Says so where the trees do not give what the model answered, so that nobody believes a misread file."""
    apart = np.abs(said - score) > _MISSED * np.maximum(np.abs(score), 1.0)
    if trees.link == "other" or not apart.any():
        return ()
    n = int(np.abs(said - score).argmax())
    text = (
        f"The trees add up to {said[n]:.6g} where the model answers {score[n]:.6g}: the values are not of this model."
    )
    return (Caveat(text, "model"),)


def interventional(trees: Trees, x: Array, background: Array, weights: Array) -> Array:
    """Shapley values ``[N, S]`` where hidden columns come from background rows ``[B, S]``, their mean."""
    shown, hidden = trees.says_yes(x), trees.says_yes(background)
    values = np.zeros(x.shape)
    for paths in trees.paths():
        depth = paths.columns.shape[1]
        if not depth:
            continue
        worth = paths.values @ weights.T  # [L, N]
        gains, losses = _shares(depth)
        own, other = paths.along(shown), paths.along(hidden)  # [N, L, d], [B, L, d]
        some = max(1, _AT_ONCE // (len(paths.columns) * depth))
        for n in range(len(x)):
            change = np.zeros(paths.columns.shape)
            for left in range(0, len(background), some):
                theirs = other[left : left + some]
                only, lacks = own[n] & ~theirs, ~own[n] & theirs
                reached = (own[n] | theirs).all(axis=2)
                p, q = only.sum(axis=2), lacks.sum(axis=2)
                gain, loss = np.where(reached, gains[p, q], 0.0), np.where(reached, losses[p, q], 0.0)
                change += np.einsum("bl,bld->ld", gain, only) - np.einsum("bl,bld->ld", loss, lacks)
            np.add.at(values[n], paths.columns, change * worth[:, n, None] / len(background))
    return values


def _shares(most: int) -> tuple[Array, Array]:
    """(p-1)! q! / (p+q)! and p! (q-1)! / (p+q)! for all p and q up to ``most``."""
    gains, losses = np.zeros((most + 1, most + 1)), np.zeros((most + 1, most + 1))
    for p in range(most + 1):
        for q in range(most + 1 - p):
            gains[p, q] = factorial(p - 1) * factorial(q) / factorial(p + q) if p else 0.0
            losses[p, q] = factorial(p) * factorial(q - 1) / factorial(p + q) if q else 0.0
    return gains, losses


def path_dependent(trees: Trees, x: Array, weights: Array) -> tuple[Array, Array]:
    """Shapley values ``[N, S]`` where both ways are gone at hidden columns, and the mean output ``[K]``.

    A leaf is worth ``v prod_j (x_j if shown else r_j)``, so feature i gets ``v (x_i - r_i) integral over u in [0, 1]
    of prod over j != i of (r_j (1 - u) + x_j u)``: a polynomial, which Gauss-Legendre nodes integrate exactly.
    """
    shown, values, middle = trees.says_yes(x), np.zeros(x.shape), trees.base.copy()
    for paths in trees.paths():
        assert paths.shares is not None
        depth = paths.columns.shape[1]
        middle = middle + (paths.shares.prod(axis=1)[:, None] * paths.values).sum(axis=0)
        if not depth:
            continue
        worth = paths.values @ weights.T  # [L, N]
        own = paths.along(shown).astype(np.float64)  # [N, L, d]
        at, share = np.polynomial.legendre.leggauss((depth + 1) // 2)
        for n in range(len(x)):
            whole = np.zeros(paths.columns.shape)
            for u, part in zip((at + 1) / 2, share / 2, strict=True):
                whole += part * _others(paths.shares * (1 - u) + own[n] * u)
            np.add.at(values[n], paths.columns, (own[n] - paths.shares) * whole * worth[:, n, None])
    return values, middle


def _others(factors: Array) -> Array:
    """The product of all factors ``[L, d]`` but each one; none is divided by, for it may be 0."""
    before = np.cumprod(np.concatenate([np.ones((len(factors), 1)), factors[:, :-1]], axis=1), axis=1)
    after = np.cumprod(np.concatenate([np.ones((len(factors), 1)), factors[:, :0:-1]], axis=1), axis=1)[:, ::-1]
    return np.asarray(before * after)
