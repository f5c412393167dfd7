"""Functions that targets are made of, each written once over the array API: numpy, torch and graphs all compute it.

What a function is given: its arguments, arrays ``[R, ...]`` of whatever kind, and its numbers, ``[R, ...]`` where each
item has its own and ``[1, ...]`` where all share them. It returns one number per row, ``[R]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from xplain.core.errors import UsageError

__all__ = ["DETECTIONS", "FORMATS", "FUNCTIONS", "Function"]

Compute: TypeAlias = "Callable[[Any, Sequence[Any], Sequence[Any], tuple[str, ...]], Any]"

FORMATS = ("xyxy", "xywh", "cxcywh")
"""What the four numbers of a box are: two corners; a corner and the size; the centre and the size."""

DETECTIONS = frozenset({"detected", "kept"})
"""Functions that are 0 where a box is found no more."""

_TINY = 1e-12
_NEVER = -1e30
"""What stands for elements that a maximum leaves out."""


@dataclass(frozen=True)
class Function:
    """A function of a target.

    Args:
        compute: Called with the array functions, the arguments, the numbers, and the words that say how.
        text: What a person reads; ``{0}`` is the first argument's text, ``{words}`` the words.
        open: Whether what it reads is chosen at the item and then held fast: ``xplain.core.targets.formulas`` freezes
        it.
    """

    compute: Compute
    text: str
    open: bool = False


def _flat(xp: Any, x: Any) -> Any:
    """``[R, P]``: all that is behind the batch as one axis."""
    if len(x.shape) == 2:
        return x
    first = x.shape[0]
    return xp.reshape(x, (first if isinstance(first, int) else None, -1))


def _total(xp: Any, x: Any) -> Any:
    axes = tuple(range(1, len(x.shape)))
    return xp.sum(x, axis=axes) if axes else x


def _weights(x: Any, numbers: Sequence[Any]) -> Any:
    """The weights of a part's elements, which must be as many.

    Raises:
        UsageError: they are of another shape.
    """
    weights = numbers[0]
    here, given = tuple(x.shape[1:]), tuple(weights.shape[1:])
    if all(isinstance(n, int) for n in (*here, *given)) and here != given:
        raise UsageError(
            f"A mask is {list(given)}, but what it is laid over is {list(here)}. Give one of that size, or the name of "
            "a picture, which is resized."
        )
    return weights


def _sum(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    (x,) = args
    return _total(xp, x * _weights(x, numbers) if numbers else x)


def _mean(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    (x,) = args
    if numbers:  # weights that add up to 1
        return _total(xp, x * _weights(x, numbers))
    axes = tuple(range(1, len(x.shape)))
    return xp.mean(x, axis=axes) if axes else x


def _counted(xp: Any, x: Any, numbers: Sequence[Any]) -> Any:
    """The elements of a part, ``[R, P]``, those that weigh nothing out of the way of a maximum."""
    if not numbers:
        return _flat(xp, x)
    return _flat(xp, xp.where(_weights(x, numbers) > 0.0, x, _NEVER))


def _max(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    return xp.max(_counted(xp, args[0], numbers), axis=1)


def _logsumexp(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    x = _counted(xp, args[0], numbers)
    top = xp.max(x, axis=1, keepdims=True)
    return xp.squeeze(xp.log(xp.sum(xp.exp(x - top), axis=1, keepdims=True)) + top, axis=1)


def _length(xp: Any, x: Any) -> Any:
    return xp.sqrt(xp.sum(x * x, axis=-1) + _TINY * _TINY)


def _similarity(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    x = _flat(xp, args[0])
    other = _flat(xp, _weights(args[0], numbers) if numbers else args[1])
    return xp.sum(x * other, axis=-1) / (_length(xp, x) * _length(xp, other))


def _distance(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    gap = args[0] - (_weights(args[0], numbers) if numbers else args[1])
    return _total(xp, gap * gap)


def _column(x: Any, k: int) -> Any:
    """One number of each row along the last axis, which is kept."""
    return x[(*[slice(None)] * (len(x.shape) - 1), slice(k, k + 1))]


def _corners(x: Any, form: str) -> tuple[Any, Any, Any, Any]:
    """Left, top, right and bottom, each ``[..., 1]``."""
    a, b, c, d = (_column(x, k) for k in range(4))
    if form == "xyxy":
        return a, b, c, d
    if form == "xywh":
        return a, b, a + c, b + d
    return a - c * 0.5, b - d * 0.5, a + c * 0.5, b + d * 0.5


def _overlap(xp: Any, boxes: Any, one: Any, form: str) -> Any:
    """Intersection over union of boxes ``[R, (M,) 4]`` with one ``[R or 1, (1,) 4]``, ``[R, (M,) 1]``."""
    left, top, right, bottom = _corners(boxes, form)
    left1, top1, right1, bottom1 = _corners(one, form)
    wide = xp.maximum(xp.minimum(right, right1) - xp.maximum(left, left1), 0.0)
    high = xp.maximum(xp.minimum(bottom, bottom1) - xp.maximum(top, top1), 0.0)
    both = wide * high
    return both / ((right - left) * (bottom - top) + (right1 - left1) * (bottom1 - top1) - both + _TINY)


def _iou(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    (box,) = args
    return xp.squeeze(_overlap(xp, box, _weights(box, numbers), words[0]), axis=-1)


def _shares(xp: Any, x: Any, link: str) -> Any:
    """Classes' numbers ``[R, M, C]`` as probabilities."""
    if link == "softmax":
        grown = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return grown / xp.sum(grown, axis=-1, keepdims=True)
    return 1.0 / (xp.exp(-x) + 1.0) if link == "sigmoid" else x


def _detected(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    """max_j IoU(b, b_j) cos(p, p_j) o_j, of D-RISE; ``words``: the boxes' format, and what makes probabilities."""
    boxes, scores = args[0], args[1]
    box, wanted = numbers
    found = xp.squeeze(_overlap(xp, boxes, xp.expand_dims(box, axis=1), words[0]), axis=-1)
    p, q = _shares(xp, scores, words[1]), xp.expand_dims(wanted, axis=1)
    found = found * (xp.sum(p * q, axis=-1) / (_length(xp, p) * _length(xp, q)))
    if len(args) > 2:
        return xp.max(found * args[2], axis=1)
    before, behind = int(words[2]), int(words[3])
    sure = xp.max(p[:, :, before : p.shape[-1] - behind] if before or behind else p, axis=-1)
    return xp.max(found * sure, axis=1)


def _kept(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    """The same for rows of one confidence and one class each: max_j IoU(b, b_j) [k = k_j] o_j."""
    boxes, sure, kinds = args
    box, kind = numbers
    found = xp.squeeze(_overlap(xp, boxes, xp.expand_dims(box, axis=1), words[0]), axis=-1)
    same = xp.where(xp.abs(kinds - xp.expand_dims(kind, axis=1)) < 0.5, xp.squeeze(sure, axis=-1), 0.0)
    return xp.max(found * same, axis=1)


def _logit(xp: Any, args: Sequence[Any], numbers: Sequence[Any], words: tuple[str, ...]) -> Any:
    p = xp.minimum(xp.maximum(args[0], 1e-7), 1.0 - 1e-7)
    return xp.log(p / (1.0 - p))


FUNCTIONS: dict[str, Function] = {
    "sum": Function(_sum, "sum of {0}"),
    "mean": Function(_mean, "mean of {0}"),
    "max": Function(_max, "max of {0}"),
    "peak": Function(_max, "peak of {0}", open=True),
    "first": Function(lambda xp, args, *_: xp.squeeze(_flat(xp, args[0])[:, 0:1], axis=1), "first of {0}"),
    "logsumexp": Function(_logsumexp, "logsumexp of {0}"),
    "similarity": Function(_similarity, "similarity of {all}"),
    "distance": Function(_distance, "squared distance of {all}"),
    "iou": Function(_iou, "overlap of {0}"),
    "detected": Function(_detected, "detection in {0}"),
    "kept": Function(_kept, "detection in {0}"),
    "total": Function(lambda xp, args, *_: args[0], "{0}"),
    "log": Function(lambda xp, args, *_: xp.log(args[0]), "log({0})"),
    "exp": Function(lambda xp, args, *_: xp.exp(args[0]), "exp({0})"),
    "sigmoid": Function(lambda xp, args, *_: 1.0 / (xp.exp(-args[0]) + 1.0), "sigmoid({0})"),
    "logit": Function(_logit, "logit of {0}"),
    "product": Function(lambda xp, args, *_: args[0] * args[1], "{0} * {1}"),
    "quotient": Function(lambda xp, args, *_: args[0] / args[1], "{0} / {1}"),
}
