"""Which training items speak for a score, by the last layer alone: representer points and TracIn, in closed form.

    grad of the loss by the last layer's weights = (p - y) h^T

h what enters the layer, p the probabilities, y the label as a vector of 0 and 1: so every product of two gradients is
``(p - y) . (p' - y') <h, h'>``, and nothing has to be differentiated. Features are read in blocks and may be mapped
from a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["Head", "Link", "Refit", "Step", "discovered", "flipped", "refit", "removal", "representer"]
__all__ += ["representer_self", "tracin", "tracin_self"]

Link: TypeAlias = Literal["softmax", "sigmoid"]

_ROWS = 4096
_STEPS = 5000


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A last layer, ``z = W h + b``, and what makes probabilities of z.

    Args:
        weights: W ``[K, D]``.
        bias: b ``[K]``.
        link: ``softmax``, with the cross-entropy as its loss, or ``sigmoid`` of each class by itself, likewise.
    """

    weights: Array
    bias: Array
    link: Link = "softmax"

    def scores(self, features: Array) -> Array:
        """z, float64 ``[N, K]``."""
        return np.asarray(features, np.float64) @ self.weights.T + self.bias

    def probabilities(self, features: Array) -> Array:
        """p, float64 ``[N, K]``."""
        return _probabilities(self.scores(features), self.link)

    def residuals(self, features: Array, labels: Array) -> Array:
        """``p - y``: the gradient of the loss by z, float64 ``[N, K]``."""
        found = self.probabilities(features)
        found[np.arange(len(found)), labels] -= 1.0
        return found


def _probabilities(scores: Array, link: Link) -> Array:
    if link == "sigmoid":
        return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _blocks(features: Array) -> Iterator[tuple[slice, Array]]:
    for first in range(0, len(features), _ROWS):
        some = slice(first, min(first + _ROWS, len(features)))
        yield some, np.asarray(features[some], np.float64)


# ---------------------------------------------------------------------- TracIn


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One checkpoint of a training.

    Args:
        features: h of the training items, ``[N, D]``.
        head: The last layer.
        rate: The learning rate that it was trained with there.
    """

    features: Array
    head: Head
    rate: float = 1.0


def tracin(steps: Sequence[Step], labels: Array, asked: Sequence[Array], classes: Array) -> Array:
    """How much a step along each training item's loss would bring the loss of other items down, ``[N, A]``.

    ``sum over steps of rate * (p - y) . (p' - y') <h, h'>``, of the weights of the last layer; above 0 for an item
    that speaks for the class, below 0 for one that speaks against it.

    Args:
        steps: Checkpoints.
        labels: Class of each training item, ``[N]``.
        asked: For each checkpoint the features of the items asked about, ``[A, D]``.
        classes: The class of each of these, ``[A]``.

    Source:
        Pruthi, Liu, Kale and Sundararajan, Estimating Training Data Influence by Tracing Gradient Descent, NeurIPS
        2020, restricted to the last layer; captum's TracInCPFast.
    """
    made = np.zeros((len(labels), len(classes)))
    for step, others in zip(steps, asked, strict=True):
        wide = np.asarray(others, np.float64)
        theirs = step.head.residuals(wide, classes)
        for some, rows in _blocks(step.features):
            own = step.head.residuals(rows, labels[some])
            made[some] += step.rate * (own @ theirs.T) * (rows @ wide.T)
    return made


def tracin_self(steps: Sequence[Step], labels: Array) -> Array:
    """The influence of each training item on its own loss, ``[N]``, at least 0: large where it had to be learnt alone.

    Source:
        As ``tracin``, section 5.2: mislabelled items are high in this order.
    """
    made = np.zeros(len(labels))
    for step in steps:
        for some, rows in _blocks(step.features):
            own = step.head.residuals(rows, labels[some])
            made[some] += step.rate * (own**2).sum(axis=1) * (rows**2).sum(axis=1)
    return made


# ---------------------------------------------------------------------- representer points


@dataclass(frozen=True, slots=True, eq=False)
class Refit:
    """A last layer that was fitted anew, with a penalty, so that it is a sum over its training items.

    Args:
        head: The layer.
        penalty: Lambda.
        count: n, the items that it was fitted to.
        gap: How far the sum over items is from the weights, relative to them: 0 at the exact minimum.
        steps: Steps of L-BFGS.
    """

    head: Head
    penalty: float
    count: int
    gap: float
    steps: int


def refit(features: Array, labels: Array, classes: int, *, link: Link = "softmax", l2: float = 0.001) -> Refit:
    """The last layer that fits given labels: ``argmin 1/n sum loss(W f_i, y_i) + lambda |W|^2``, convex and so exact.

    At the minimum ``W = sum_i alpha_i f_i^T`` with ``alpha_i = -(p_i - y_i) / (2 lambda n)``. f is h with a 1 behind
    it, whose weight is the bias.

    Args:
        features: h ``[N, D]``.
        labels: Class of each, ``[N]``.
        classes: K.
        link: As ``Head``.
        l2: Lambda as a share of the features' mean squared length.

    Cost:
        2 N D K products for each step of L-BFGS; memory for N K and K D numbers.

    Raises:
        UsageError: features that are all zero, or labels of one class alone.

    Source:
        Yeh, Kim, Yen and Ravikumar, Representer Point Selection for Explaining Deep Neural Networks, NeurIPS 2018,
        theorem 3.1.
    """
    from scipy.optimize import minimize

    count, width = features.shape
    square = sum(float((rows**2).sum()) for _, rows in _blocks(features)) / count
    if not square:
        raise UsageError("The features of all items are zero. Read another layer.")
    if len(np.unique(labels)) < 2:
        raise UsageError("All items have the same label, so nothing tells one class from another. Give items of two.")
    scale = np.sqrt(square / width)  # weights are sought in units in which features are about 1
    ridge = l2 * (square + 1.0)
    wide = np.append(np.full(width, 1.0 / scale), 1.0 / np.sqrt(1.0 + 2.0 * ridge))
    hot = np.zeros((count, classes))
    hot[np.arange(count), labels] = 1.0

    def value(flat: Array) -> tuple[float, Array]:
        weights = flat.reshape(classes, width + 1) * wide
        loss, slope = ridge * float((weights**2).sum()), 2 * ridge * weights
        for some, rows in _blocks(features):
            scores = rows @ weights[:, :-1].T + weights[:, -1]
            away = _probabilities(scores, link) - hot[some]
            if link == "softmax":
                top = scores.max(axis=1)
                loss += float((top + np.log(np.exp(scores - top[:, None]).sum(axis=1))).sum()) / count
            else:
                loss += float(np.logaddexp(0.0, scores).sum()) / count
            loss -= float((scores * hot[some]).sum()) / count
            slope[:, :-1] += away.T @ rows / count
            slope[:, -1] += away.sum(axis=0) / count
        return loss, (slope * wide).ravel()

    start = np.zeros(classes * (width + 1))
    steepest = float(np.abs(value(start)[1]).max())
    told = {"maxiter": _STEPS, "maxfun": 2 * _STEPS, "maxcor": 20, "ftol": 0.0, "gtol": 1e-8 * steepest}
    found: Any = minimize(value, start, jac=True, method="L-BFGS-B", options=told)
    weights = found.x.reshape(classes, width + 1) * wide
    left = value(found.x)[1].reshape(classes, width + 1) / wide
    gap = float(np.linalg.norm(left / (2 * ridge)) / max(np.linalg.norm(weights), np.finfo(float).tiny))
    return Refit(Head(weights[:, :-1], weights[:, -1], link), ridge, count, gap, int(found.nit))


def representer(fitted: Refit, features: Array, labels: Array, asked: Array, classes: Array) -> Array:
    """What each training item adds to a class's score of other items, ``[N, A]``: ``alpha_ic <f_i, f_t>``.

    A column sums to the refitted layer's score of that class; above 0 for items that speak for it.

    Args:
        fitted: Of ``refit`` with the same features and labels.
        features: h of the training items, ``[N, D]``.
        labels: Class of each, ``[N]``.
        asked: h of the items asked about, ``[A, D]``.
        classes: The class that is asked about of each, ``[A]``.
    """
    wide = np.asarray(asked, np.float64)
    made = np.zeros((len(labels), len(classes)))
    for some, rows in _blocks(features):
        own = fitted.head.residuals(rows, labels[some])
        made[some] = -own[:, classes] / (2 * fitted.penalty * fitted.count) * (rows @ wide.T + 1.0)
    return made


def representer_self(fitted: Refit, features: Array, labels: Array) -> Array:
    """What each training item adds to its own label's score, ``[N]``, at least 0: large where it stands alone."""
    made = np.zeros(len(labels))
    for some, rows in _blocks(features):
        own = fitted.head.residuals(rows, labels[some])[np.arange(len(rows)), labels[some]]
        made[some] = -own / (2 * fitted.penalty * fitted.count) * ((rows**2).sum(axis=1) + 1.0)
    return made


# ---------------------------------------------------------------------- what would be without an item


def removal(fitted: Refit, features: Array, labels: Array, asked: Array, classes: Array) -> Array:
    """How much a class's score of other items would fall were the layer fitted without each training item, ``[N, A]``.

    One step of Newton's from the minimum: ``-1/n (p_i - y_i)^T S_t f_i``, ``H S_t = e_c f_t^T``, H the Hessian of what
    ``refit`` minimises. Exact up to second order in 1/n.

    Args:
        fitted: Of ``refit`` with the same features and labels.
        features: h of the training items, ``[N, D]``.
        labels: Class of each, ``[N]``.
        asked: h of the items asked about, ``[A, D]``.
        classes: The class that is asked about of each, ``[A]``.

    Cost:
        2 N D K products for each step of conjugate gradients, a few dozen to hundreds for each item asked about.

    Source:
        Koh and Liang, Understanding Black-box Predictions via Influence Functions, ICML 2017, of the last layer.
    """
    from scipy.sparse.linalg import LinearOperator, cg

    head, shape = fitted.head, (len(fitted.head.bias), features.shape[1] + 1)
    size = shape[0] * shape[1]

    def curved(flat: Array) -> Array:
        way = flat.reshape(shape)
        made = 2 * fitted.penalty * way
        for _, rows in _blocks(features):
            p, along = head.probabilities(rows), rows @ way[:, :-1].T + way[:, -1]
            along = p * (1 - p) * along if head.link == "sigmoid" else p * (along - (p * along).sum(axis=1)[:, None])
            made[:, :-1] += along.T @ rows / fitted.count
            made[:, -1] += along.sum(axis=0) / fitted.count
        return np.asarray(made.ravel())

    hessian = LinearOperator((size, size), matvec=curved, dtype=np.float64)
    made = np.zeros((len(labels), len(classes)))
    for t, (one, label) in enumerate(zip(np.asarray(asked, np.float64), classes, strict=True)):
        wanted = np.zeros(shape)
        wanted[label] = np.append(one, 1.0)
        solved = cg(hessian, wanted.ravel(), rtol=1e-6, maxiter=_STEPS)[0].reshape(shape)
        for some, rows in _blocks(features):
            own = head.residuals(rows, labels[some])
            made[some, t] = -(own * (rows @ solved[:, :-1].T + solved[:, -1])).sum(axis=1) / fitted.count
    return made


# ---------------------------------------------------------------------- how well an order finds what is planted


def flipped(labels: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Labels of which a share was exchanged for others that occur, and where: int64 ``[N]`` and ``[m]``, m > 0."""
    kinds = np.unique(labels)
    count = max(1, round(share * len(labels)))
    wrong = np.sort(rng.choice(len(labels), count, replace=False))
    made = np.array(labels, np.int64)
    for n in wrong:
        made[n] = rng.choice(kinds[kinds != labels[n]])
    return made, wrong


def discovered(worth: Array, wrong: Array) -> Array:
    """The share of wrong labels that the first n items of an order hold, n from 0 to N: float64 ``[N + 1]``.

    Args:
        worth: What items are put in order by, the largest first, ``[N]``.
        wrong: Rows whose label is wrong.
    """
    is_wrong = np.zeros(len(worth))
    is_wrong[wrong] = 1.0
    order = np.argsort(-worth, kind="stable")
    return np.concatenate([[0.0], np.cumsum(is_wrong[order])]) / max(len(wrong), 1)
