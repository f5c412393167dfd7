"""The terms of objectives, besides targets: what a layer says as a whole, how near it is to another, and priors.

| term | of each view or canvas |
|---|---|
| ``Direction`` | mean over positions of ``<f, v>``, times the cosine between them to a power |
| ``Energy`` | ``1/2 mean f^2``: what is there already, more of it (DeepDream) |
| ``Guide`` | mean over positions of ``max over guides q of <f, q>``: the guide's parts, wherever they fit best |
| ``Distance`` | ``|f - f*|^2 / |f*|^2`` |
| ``Gram`` | ``|C - C*|^2 / |C*|^2 + |m - m*|^2 / |m*|^2`` of covariances and means over positions and views |
| ``Diversity`` | mean cosine between the Gram matrices of this canvas and of the others |
| ``Margin`` | a class's score less the best other one's |
| ``LogProbability`` | ``log softmax`` of a class |
| ``Magnitude`` | mean ``|x - grey|^power`` of the picture, or of the state |
| ``Variation`` | mean ``(dx^2 + dy^2)^(beta/2)`` of the picture |

Those that a distance or a prior measures are to be made small: give them a weight below 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from xplain.core.arrays import namespace, one_hot
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.synthesis.objective import ARRAY, Seen, Term, over_views, rows_of
from xplain.core.targets.leaves import SCORES

__all__ = [
    "Direction",
    "Distance",
    "Diversity",
    "Energy",
    "Gram",
    "Guide",
    "LogProbability",
    "Magnitude",
    "Margin",
    "Variation",
    "gram_of",
]

_LEAST = 1e-12


def _inside(values: Any) -> tuple[int, ...]:
    return tuple(range(1, len(values.shape)))


def _mean(values: Any) -> Any:
    rest = _inside(values)
    return namespace(values).mean(values, axis=rest) if rest else values


def _total(values: Any) -> Any:
    rest = _inside(values)
    return namespace(values).sum(values, axis=rest) if rest else values


def _planes(values: Any) -> Any:
    """``[R, C, ...]`` as ``[R, C, P]``."""
    xp, shape = namespace(values), values.shape
    return xp.reshape(values, (shape[0], shape[1], int(np.prod(shape[2:], dtype=np.int64))))


def _fits(tensor: str, values: Any, wanted: tuple[int, ...], what: str) -> None:
    if tuple(values.shape[1:]) != tuple(wanted):
        raise UsageError(
            f"Tensor {tensor!r} is {list(values.shape[1:])} for each picture; the {what} is {list(wanted)}. Both "
            "must be read at one size."
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Direction(Term):
    """A direction of a layer's channels: ``mean over positions of <f, v> cos(f, v)^power``.

    Args:
        tensor: The layer, ``[C, ...]``.
        vector: ``[N, C]``.
        power: 0 is the plain inner product; more asks for nothing but the direction.
    """

    tensor: str
    vector: Array = field(metadata=ARRAY)
    power: int = 0

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The mean."""
        values = seen.values[self.tensor]
        xp = namespace(values)
        _fits(self.tensor, values, (given["vector"].shape[1], *values.shape[2:]), "direction")
        planes = _planes(values) if len(values.shape) > 2 else xp.expand_dims(values, axis=-1)
        vector = xp.expand_dims(rows_of(given["vector"], seen), axis=-1)
        dot = xp.sum(planes * vector, axis=1)
        if self.power:
            sizes = xp.sqrt(xp.sum(planes * planes, axis=1) * xp.sum(vector * vector, axis=1) + _LEAST)
            cosine = xp.maximum(dot / sizes, 0.0 * dot + 0.1)  # below it nothing would pull any more (Olah 2017)
            for _ in range(self.power):
                dot = dot * cosine
        return over_views(_mean(dot), seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Energy(Term):
    """``1/2 mean f^2``: its derivative by a layer is the layer itself, so what is seen there becomes more so.

    Args:
        tensor: The layer.
    """

    tensor: str

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The mean."""
        values = seen.values[self.tensor]
        return over_views(_mean(values * values), seen) * 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Guide(Term):
    """Each position is led to the guide's feature that it is most like: ``mean over p of max over q of <f_p, g_q>``.

    Args:
        tensor: The layer, ``[C, ...]``.
        guides: ``[N, Q, C]``: features of another picture at its positions.
    """

    tensor: str
    guides: Array = field(metadata=ARRAY)

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The mean."""
        values = seen.values[self.tensor]
        xp = namespace(values)
        match = xp.matmul(rows_of(given["guides"], seen), _planes(values))  # [R, Q, P]
        return over_views(_mean(xp.max(match, axis=1)), seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Distance(Term):
    """Relative squared distance to given features: ``|f - f*|^2 / |f*|^2``.

    Args:
        tensor: The layer.
        reference: ``[N, *tensor]``.

    ``scale`` is what makes it relative, ``[N, 1]``.
    """

    tensor: str
    reference: Array = field(metadata=ARRAY)
    scale: Array = field(init=False, repr=False, metadata=ARRAY)

    def __post_init__(self) -> None:
        flat = np.asarray(self.reference, np.float64).reshape(len(self.reference), -1)
        scale = 1.0 / np.maximum((flat**2).sum(axis=1, keepdims=True), _LEAST)
        object.__setattr__(self, "reference", np.asarray(self.reference, np.float32))
        object.__setattr__(self, "scale", scale.astype(np.float32))

    def take(self, items: Array) -> Distance:
        """The term for some of the canvases; the scale is not computed anew, which takes as long as a small layer."""
        found = copy(self)
        object.__setattr__(found, "reference", self.reference[items])
        object.__setattr__(found, "scale", self.scale[items])
        return found

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The distance."""
        values = seen.values[self.tensor]
        xp = namespace(values)
        _fits(self.tensor, values, tuple(given["reference"].shape[1:]), "reference")
        apart = values - rows_of(given["reference"], seen)
        return over_views(_total(apart * apart), seen) * xp.reshape(given["scale"], (seen.items,))


def gram_of(values: Any, centred: bool = True) -> tuple[Any, Any]:
    """Of a layer ``[R, C, ...]``: ``F F^T / P`` over positions, ``[R, C, C]``, of F less its means, and these."""
    xp, planes = namespace(values), _planes(values)
    means = xp.mean(planes, axis=2, keepdims=True)
    planes = planes - means if centred else planes
    gram = xp.matmul(planes, xp.permute_dims(planes, (0, 2, 1))) * (1.0 / planes.shape[2])
    return gram, xp.reshape(means, (means.shape[0], means.shape[1]))


@dataclass(frozen=True, kw_only=True, eq=False)
class Gram(Term):
    """Relative distance of second-order statistics: covariances and means of channels over positions.

    Averaged over the views of a canvas before they are compared, so views at several pixel phases keep a first layer
    with a stride from leaving a pattern of its own period. Gatys 2015, arXiv:1505.07376, centred.

    Args:
        tensor: The layer.
        gram: ``[N, C, C]``, from ``gram_of``.
        means: ``[N, C]``.
        centred: Whether means were taken off first.
    """

    tensor: str
    gram: Array = field(metadata=ARRAY)
    means: Array = field(metadata=ARRAY)
    centred: bool = True

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The distance."""
        xp = namespace(seen.state)
        found = gram_of(seen.values[self.tensor], self.centred)
        total = None
        for values, wanted in zip(found, (given["gram"], given["means"]), strict=True):
            apart = over_views(values, seen) - wanted
            size = xp.maximum(_total(wanted * wanted), 0.0 * _total(wanted) + _LEAST)
            part = _total(apart * apart) / size
            total = part if total is None else total + part
        return total


@dataclass(frozen=True, kw_only=True, eq=False)
class Diversity(Term):
    """How alike the canvases are: mean cosine between this one's Gram matrix and each other's. Weigh it below 0.

    Args:
        tensor: The layer.
    """

    tensor: str

    @property
    def joint(self) -> bool:
        """It compares canvases with one another."""
        return True

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The mean cosine, 0 for a canvas alone."""
        xp = namespace(seen.state)
        gram = over_views(gram_of(seen.values[self.tensor], centred=False)[0], seen)
        flat = xp.reshape(gram, (seen.items, gram.shape[1] * gram.shape[2]))
        flat = flat / xp.sqrt(xp.sum(flat * flat, axis=1, keepdims=True) + _LEAST)
        alike = xp.matmul(flat, xp.permute_dims(flat, (1, 0)))
        return (xp.sum(alike, axis=1) - 1.0) * (1.0 / max(1, seen.items - 1))


def _of_class(seen: Seen, given: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The scores ``[R, K]``, 1 at each row's class and 0 elsewhere, and the namespace of both."""
    scores = seen.values[SCORES]
    return scores, one_hot(rows_of(given["label"], seen), scores.shape[1], scores), namespace(scores)


@dataclass(frozen=True, kw_only=True, eq=False)
class Margin(Term):
    """The score of a class less the largest other score; of a mean over views.

    Args:
        label: The class of each canvas, int ``[N]``.
    """

    label: Array = field(metadata=ARRAY)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The scores."""
        return (SCORES,)

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The margin."""
        scores, hot, xp = _of_class(seen, given)
        return over_views(xp.sum(scores * hot, axis=1) - xp.max(scores - hot * 1e9, axis=1), seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class LogProbability(Term):
    """``log softmax(scores)`` of a class; the mean over views.

    Args:
        label: The class of each canvas, int ``[N]``.
    """

    label: Array = field(metadata=ARRAY)

    @property
    def tensors(self) -> tuple[str, ...]:
        """The scores."""
        return (SCORES,)

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The logarithm."""
        scores, hot, xp = _of_class(seen, given)
        lifted = scores - xp.max(scores, axis=1, keepdims=True)
        return over_views(xp.sum(lifted * hot, axis=1) - xp.log(xp.sum(xp.exp(lifted), axis=1)), seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Magnitude(Term):
    """How far colours are from grey, or a state from 0: ``mean |x - x0|^power``.

    Args:
        power: 2 is Simonyan's L2, 6 the alpha norm of Mahendran.
        of: The ``picture`` (x0 is 1/2) or the ``state`` (x0 is 0).
    """

    power: float = 2.0
    of: Literal["picture", "state"] = "picture"

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The mean."""
        xp = namespace(seen.state)
        apart = seen.state if self.of == "state" else seen.picture - 0.5
        powered = apart * apart if self.power == 2 else xp.pow(xp.abs(apart) + _LEAST, self.power)
        return _mean(powered) if self.of == "state" else over_views(_mean(powered), seen)


@dataclass(frozen=True, kw_only=True, eq=False)
class Variation(Term):
    """Total variation: ``mean over pixels and channels of (dx^2 + dy^2)^(beta / 2)``. Mahendran 2015.

    Args:
        beta: 2 is smooth everywhere; less allows edges.
    """

    beta: float = 2.0

    def read(self, seen: Seen, given: Mapping[str, Any]) -> Any:
        """The mean."""
        x = seen.picture
        xp, (high, wide) = namespace(x), x.shape[2:]
        here = x[:, :, 0 : high - 1, 0 : wide - 1]
        down, right = x[:, :, 1:high, 0 : wide - 1] - here, x[:, :, 0 : high - 1, 1:wide] - here
        square = down * down + right * right
        rough = square if self.beta == 2 else xp.pow(square + 1e-6, self.beta / 2)
        return over_views(_mean(rough), seen)
