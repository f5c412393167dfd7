"""DeepMDS: a learned map to few dimensions that keeps distances, and how well few dimensions still verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.analyses.vectors import checked
from xplain.core.edits import Array
from xplain.core.errors import UsageError

__all__ = ["DistanceMap", "deep_mds", "distance_correlation", "verification"]

_MOST = 1500
"""Vectors whose pairs are judged; of more, so many are drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class _Stage:
    """One stage: an affine map by principal components, and a net beside it that starts at zero."""

    weights: dict[str, Array]

    def forward(self, x: Array) -> tuple[Array, Array]:
        """Values ``[N, out]`` and the rectified hidden layer."""
        w = self.weights
        hidden = np.maximum(x @ w["in"] + w["in bias"], 0)
        return x @ w["linear"] + w["bias"] + hidden @ w["out"], hidden

    def backward(self, x: Array, hidden: Array, up: Array) -> tuple[dict[str, Array], Array]:
        """Gradients of the weights and of ``x``, for those of the values."""
        w = self.weights
        inner = up @ w["out"].T * (hidden > 0)
        grads = {
            "linear": x.T @ up,
            "bias": up.sum(axis=0),
            "out": hidden.T @ up,
            "in": x.T @ inner,
            "in bias": inner.sum(axis=0),
        }
        return grads, up @ w["linear"].T + inner @ w["in"].T


@dataclass(frozen=True, slots=True, eq=False)
class DistanceMap:
    """A map from vectors ``[N, D]`` to ``[N, d]``; ``map(vectors)`` maps others too.

    Args:
        mean: Of the vectors that it was learnt from.
        scale: Their common scale.
        stages: What is applied in order.
        facts: ``widths`` of the stages, ``loss`` before (principal components) and after, ``epochs``.
    """

    mean: Array
    scale: float
    stages: tuple[_Stage, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, vectors: Array) -> Array:
        """The vectors mapped, in their own unit of distance."""
        x = (np.asarray(vectors, np.float64) - self.mean) / self.scale
        for stage in self.stages:
            x, _ = stage.forward(x)
        return np.asarray(x * self.scale)


def deep_mds(
    vectors: Array, width: int, *, epochs: int = 200, hidden: int = 128, rate: float = 2e-3, seed: int = 0
) -> DistanceMap:
    """Learn a map to ``width`` numbers after which distances are what they were before.

    The width is halved in stages; each new stage learns together with those before it, ``mean over pairs of (distance
    after - distance before)^2`` by Adam on batches of 256.

    Args:
        vectors: ``[N, D]``.
        width: Numbers that are left.
        epochs: Passes over the vectors in the last stage; a tenth of them in each before.
        hidden: Hidden units of a stage's net.
        rate: Of Adam.
        seed: Root of all randomness.

    Returns:
        A map for these vectors and others of their kind.

    Differs from the paper:
        Each stage is the linear map of principal components plus a net that starts at zero, without batch
        normalisation: so it starts as good as principal components, and distances in use are those of training. As
        published, with batch normalisation, it ended below them on vectors of MobileNetV2. It is a few products of
        matrices, so it needs no framework.

    Raises:
        UsageError: ``width`` is not between 1 and the numbers of a vector.

    Source:
        Gong, Boddeti and Jain 2019, On the Intrinsic Dimensionality of Image Representations, arXiv:1803.09672.
    """
    rows = checked(vectors, 10).astype(np.float64)
    if not 1 <= width < rows.shape[1]:
        raise UsageError(option="width", got=width, accepted=f"1 to {rows.shape[1] - 1}, below the width of a vector")
    mean, scale = rows.mean(axis=0), float(rows.std()) or 1.0
    x = (rows - mean) / scale
    rng = np.random.default_rng([seed, 0xD5])
    widths = []
    wide = min(x.shape)
    while wide // 2 > width:
        wide //= 2
        widths.append(wide)
    widths.append(width)
    stages: list[_Stage] = []
    losses = []
    values = x
    for number, out in enumerate(widths):
        stages.append(_started(values, out, hidden, rng))
        last = number == len(widths) - 1
        if last:
            losses.append(_stress(x, stages))
        _learn(x, stages, epochs if last else max(10, epochs // 10), rate, rng)
        values = x
        for stage in stages:
            values, _ = stage.forward(values)
    losses.append(_stress(x, stages))
    facts = {"widths": widths, "epochs": epochs, "stress before": losses[0], "stress after": losses[1]}
    return DistanceMap(mean, scale, tuple(stages), facts)


def _started(x: Array, out: int, hidden: int, rng: np.random.Generator) -> _Stage:
    """A stage that is the principal components of ``x`` until it learns."""
    mean = x.mean(axis=0)
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][:out]
    axes = np.pad(axes, ((0, out - len(axes)), (0, 0)))
    wide = x.shape[1]
    return _Stage(
        {
            "linear": axes.T.copy(),
            "bias": -axes @ mean,
            "in": rng.normal(size=(wide, hidden)) / np.sqrt(wide),
            "in bias": np.zeros(hidden),
            "out": np.zeros((hidden, out)),
        }
    )


def _learn(x: Array, stages: Sequence[_Stage], epochs: int, rate: float, rng: np.random.Generator) -> None:
    """Adam over all stages' weights, in place."""
    first = [{name: np.zeros_like(w) for name, w in stage.weights.items()} for stage in stages]
    second = [{name: np.zeros_like(w) for name, w in stage.weights.items()} for stage in stages]
    step = 0
    for _ in range(epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(x), 256):
            batch = order[start : start + 256]
            if len(batch) < 10:
                continue
            step += 1
            for k, grads in enumerate(_gradients(x[batch], stages)):
                for name, grad in grads.items():
                    first[k][name] += 0.1 * (grad - first[k][name])
                    second[k][name] += 0.001 * (grad**2 - second[k][name])
                    up = first[k][name] / (1 - 0.9**step)
                    stages[k].weights[name] -= rate * up / (np.sqrt(second[k][name] / (1 - 0.999**step)) + 1e-8)


def _gradients(x: Array, stages: Sequence[_Stage]) -> list[dict[str, Array]]:
    """The gradients of the mean squared change of a batch's distances, stage by stage."""
    seen, values = [], x
    for stage in stages:
        out, hidden = stage.forward(values)
        seen.append((values, hidden))
        values = out
    before, after = _apart(x), _apart(values)
    pull = np.divide(after - before, after, out=np.zeros_like(after), where=after > 1e-9) * (4 / len(x) ** 2)
    up = pull.sum(axis=1)[:, None] * values - pull @ values
    found: list[dict[str, Array]] = []
    for stage, (entering, hidden) in zip(reversed(stages), reversed(seen), strict=True):
        grads, up = stage.backward(entering, hidden, up)
        found.insert(0, grads)
    return found


def _apart(rows: Array) -> Array:
    """Euclidean distances of all to all."""
    lengths = (rows**2).sum(axis=1)
    squares = lengths[:, None] + lengths[None] - 2 * rows @ rows.T
    np.fill_diagonal(squares, 0)
    return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _some(count: int, seed: int) -> Array:
    rows = np.random.default_rng([seed, 0xD7]).permutation(count)[:_MOST]
    return np.sort(rows)


def _stress(x: Array, stages: Sequence[_Stage]) -> float:
    """The square root of the squared change of distances over the squared distances, of up to 1,500 vectors."""
    some = x[_some(len(x), 0)]
    values = some
    for stage in stages:
        values, _ = stage.forward(values)
    before, after = _apart(some), _apart(values)
    return float(np.sqrt(((after - before) ** 2).sum() / (before**2).sum()))


def distance_correlation(vectors: Array, mapped: Array, seed: int = 0) -> float:
    """The correlation between distances before and after a map, over the pairs of up to 1,500 vectors."""
    some = _some(len(vectors), seed)
    pairs = np.triu_indices(len(some), 1)
    before, after = (_apart(np.asarray(one, np.float64)[some])[pairs] for one in (vectors, mapped))
    return float(np.corrcoef(before, after)[0, 1])


def verification(vectors: Array, labels: Sequence[Any], rate: float = 0.01, seed: int = 0) -> float:
    """Of pairs of one label, the share nearer than all but ``rate`` of the pairs of two labels (true accept rate).

    What the paper reports of a lower dimension: whether two pictures are of one thing is told from their distance.

    Args:
        vectors: ``[N, D]``.
        labels: One per vector.
        rate: Share of wrong pairs that are let through (false accept rate).
        seed: Of the draw of 1,500 vectors, where there are more.

    Raises:
        UsageError: no two vectors share a label, or all do.
    """
    some = _some(len(vectors), seed)
    names = np.asarray([str(label) for label in labels])[some]
    pairs = np.triu_indices(len(some), 1)
    same = (names[:, None] == names[None])[pairs]
    if same.all() or not same.any():
        raise UsageError("Verification needs labels of which some are shared by two items, and some are not.")
    apart = _apart(np.asarray(vectors, np.float64)[some])[pairs]
    return float((apart[same] <= np.quantile(apart[~same], rate)).mean())
