"""Whether a module puts the items of a batch together, so that the answer for one follows from the others beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from xplain.core.positions.axes import Axis
from xplain.models.torch.axis_call import Call

__all__ = ["alone_as_among_others", "goes_over_items"]

_REDUCE = (
    "mean sum nansum amax amin max min argmax argmin aminmax var std var_mean std_mean logsumexp norm any all prod "
    "linalg_vector_norm median nanmedian"
)
_ALONG = "mode kthvalue cumsum cumprod cummax cummin logcumsumexp softmax log_softmax safe_softmax sort topk argsort"
_KINDS = {
    **dict.fromkeys(_REDUCE.split(), "all"),  # without an axis: over all of them
    **dict.fromkeys(_ALONG.split(), "last"),
    **dict.fromkeys(("flip", "roll", "fft_c2c", "fft_r2c"), "all"),
}
"""Operators that go over axes which they are told of, or else over these, by their names without underscores around."""

_PRODUCTS = ("mm", "bmm", "matmul", "addmm", "baddbmm")
_CLOSE = 1e-3
"""What a score may change beside another item, in units of the scores' range, where it is the same: two batches of
different sizes are added up in different orders."""


def goes_over_items(call: Call) -> bool:
    """Whether an operator goes over the axis of the items; said too often where that axis is folded into others."""
    op = call.op.strip("_")
    if "batch_norm" in op:
        return bool(call.given.get("training")) and any(_items(axis) for k, axis in enumerate(call.own) if k != 1)
    if op in _PRODUCTS:
        one, two = [call.given[name] for name in call.given if isinstance(call.given[name], torch.Tensor)][-2:]
        left, right = call.axes(one), call.axes(two)
        return bool(left and right and _items(left[-1]) and _items(right[max(len(right) - 2, 0)]))
    kind = _KINDS.get(op)
    if kind is None or "other" in call.given:  # the larger or smaller of two
        return False
    dims = call.given.get("dim", call.given.get("dims"))
    if dims is None or dims == []:
        dims = range(len(call.own)) if kind == "all" else -1
    places = dims if isinstance(dims, (list, tuple, range)) else [dims]
    return any(_items(call.own[int(k)]) for k in places if -len(call.own) <= int(k) < len(call.own))


def _items(axis: Axis) -> bool:
    return any(part.base.kind == "items" for part in axis)


def alone_as_among_others(call: Callable[[torch.Tensor], Any], batch: torch.Tensor, alone: torch.Tensor) -> bool:
    """Whether an item's scores are the same among three others, which have less in them.

    Args:
        call: Gives the scores of a batch.
        batch: One item.
        alone: Its scores.
    """
    turned = batch.flip(tuple(range(1, batch.ndim)))
    before, after = (turned / 2, turned / 4) if batch.is_floating_point() else (turned, torch.zeros_like(batch))
    try:
        found = call(torch.cat([before, batch, after, after]))  # it is not in the middle, where a flip leaves it
    except Exception:  # it takes one item alone
        return False
    if found.ndim == 0 or found.shape[0] != 4:
        return False
    one, among = alone.double().reshape(-1), found[1].double().reshape(-1)
    if one.shape != among.shape:
        return False
    spread = max(float(found.double().max() - found.double().min()), float(one.abs().max()), 1e-30)
    return bool(torch.allclose(one, among, rtol=0.0, atol=_CLOSE * spread, equal_nan=True))
