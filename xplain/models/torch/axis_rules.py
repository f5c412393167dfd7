"""What each operator of the dispatcher does to the axes of the explained item; see ``xplain.core.positions.axes``.

One that is not known here has no rule, and the axes behind it are unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from xplain.core.positions import axes as ax
from xplain.core.positions.axes import Axes
from xplain.models.torch.axis_call import Call
from xplain.models.torch.operators import facts_of

__all__ = ["axes_after"]

Found: TypeAlias = "list[Axes | None]"


def axes_after(call: Call) -> Found:
    """The axes of each result of an operator; None, or none at all, where they are not known."""
    handler = _HANDLERS.get(call.op)
    if handler is not None:
        return handler(call)
    if "scaled_dot_product" in call.op:
        return _attention(call)
    if "upsample" in call.op or "adaptive" in call.op or "pool" in call.op:
        return _window(call)
    if "conv" in call.op:
        return _convolution(call)
    if call.pointwise or facts_of(call.op).axes or "batch_norm" in call.op:
        return _same(call)
    return []


def _same(call: Call) -> Found:
    """Every result with the axes of the arguments, which broadcast."""
    found: Found = []
    for one in call.made:
        shape = tuple(one.shape)
        wide = [axes for axes in call.live if len(axes) <= len(shape)]
        fits = all(n in (1, m) for axes in wide for n, m in zip(ax.shape_of(axes)[::-1], shape[::-1], strict=False))
        found.append(ax.merged(wide, shape) if wide and fits else None)
    return found


def _convolution(call: Call) -> Found:
    own, out = call.own, call.out
    return [(own[0], ax.features(out[1]), *(ax.windowed(a, n) for a, n in zip(own[2:], out[2:], strict=True)))]


def _window(call: Call) -> Found:
    own, out = call.own, call.out
    return [(*own[:2], *(ax.windowed(a, n) for a, n in zip(own[2:], out[2:], strict=True)))] * len(call.made)


def _reshape(call: Call) -> Found:
    return [ax.reshaped(call.own, call.out)]


def _permute(call: Call) -> Found:
    own = call.own
    return [tuple(own[int(k)] for k in call.given["dims"])]


def _transpose(call: Call) -> Found:
    own = list(call.own)
    one, two = (0, 1) if call.op == "t" else (call.place("dim0"), call.place("dim1"))
    if len(own) > 1:
        own[one], own[two] = own[two], own[one]
    return [tuple(own)]


def _unsqueeze(call: Call) -> Found:
    own = call.own
    place = int(call.given["dim"]) % (len(own) + 1)
    return [(*own[:place], (), *own[place:])]


def _squeeze(call: Call) -> Found:
    own, dims = call.own, call.given.get("dim")
    places = (
        range(len(own))
        if dims is None
        else [int(k) % len(own) for k in (dims if isinstance(dims, (list, tuple)) else [dims])]
    )
    return [ax.picked(own, [k for k in places if ax.extent_of(own[k]) == 1])]


def _expand(call: Call) -> Found:
    return [ax.merged([call.own], call.out)]


def _repeat(call: Call) -> Found:
    own, out = call.own, call.out
    own = ((),) * (len(out) - len(own)) + own
    return [
        tuple(
            a if ax.extent_of(a) == n else ax.features(n) if not a else ax.unknown([n])[0]
            for a, n in zip(own, out, strict=True)
        )
    ]


def _cat(call: Call) -> Found:
    tensors = [one for one in call.first if one.ndim == call.made[0].ndim]
    place = int(call.given.get("dim") or 0) % len(call.out)
    each = [call.axes(one) for one in tensors]
    some = [(*axes[:place], (), *axes[place + 1 :]) for axes in each if axes is not None]
    rest = ax.merged(some, (*call.out[:place], 1, *call.out[place + 1 :]))
    joined = ax.concat([None if axes is None else axes[place] for axes in each], [int(t.shape[place]) for t in tensors])
    return [(*rest[:place], joined, *rest[place + 1 :])]


def _stack(call: Call) -> Found:
    place = int(call.given.get("dim") or 0) % len(call.out)
    some = [axes for one in call.first if (axes := call.axes(one)) is not None]
    rest = ax.merged(some, (*call.out[:place], *call.out[place + 1 :]))
    return [(*rest[:place], ax.features(call.out[place]), *rest[place:])]


def _split(call: Call) -> Found:
    own, place, at = call.own, call.place(), 0
    found: Found = []
    for one in call.made:
        count = int(one.shape[place])
        found.append((*own[:place], ax.sliced(own[place], at, count), *own[place + 1 :]))
        at += count
    return found


def _unbind(call: Call) -> Found:
    return [ax.picked(call.own, [call.place()])] * len(call.made)


def _select(call: Call) -> Found:
    own, place = call.own, call.place()
    extent = ax.extent_of(own[place])
    if extent > 1:
        call.note(place, int(call.given["index"]) % extent)
    return [ax.picked(own, [place])]


def _slice(call: Call) -> Found:
    own, place = call.own, call.place()
    extent = ax.extent_of(own[place])
    first, end, step = slice(call.given["start"], call.given["end"], call.given["step"]).indices(extent)
    count = len(range(first, end, step))
    if count == 1 < extent:
        call.note(place, first)
    return [(*own[:place], ax.sliced(own[place], first, count, step), *own[place + 1 :])]


def _index_select(call: Call) -> Found:
    own, place, index = call.own, call.place(), call.given["index"]
    if call.axes(index) is not None:
        return []
    return [(*own[:place], ax.gathered(own[place], index.reshape(-1).tolist()), *own[place + 1 :])]


def _index(call: Call) -> Found:
    """One tensor of numbers that indexes one axis; several, or masks, are not followed."""
    own = call.own
    used = [(k, one) for k, one in enumerate(call.given["indices"]) if one is not None]
    if len(used) != 1 or used[0][1].dtype == torch.bool or call.axes(used[0][1]) is not None:
        return []
    place, index = used[0]
    new = (ax.gathered(own[place], index.tolist()),) if index.ndim == 1 else ax.unknown(tuple(index.shape))
    if index.numel() == 1 < ax.extent_of(own[place]):
        call.note(place, int(index.reshape(-1)[0]))
    return [(*own[:place], *new, *own[place + 1 :])]


def _pad(call: Call) -> Found:
    own, given = list(call.own), call.given["pad" if "pad" in call.given else "padding"]
    pads = [int(n) for n in given]
    for k in range(len(pads) // 2):
        place = len(own) - 1 - k
        own[place] = ax.resized(own[place], call.out[place], before=pads[2 * k], after=pads[2 * k + 1])
    return [tuple(own)]


def _roll(call: Call) -> Found:
    own = list(call.own)
    for shift, dim in zip(call.given["shifts"], call.given["dims"], strict=True):
        extent = ax.extent_of(own[dim])
        at = (-int(shift)) % extent
        parts = [ax.sliced(own[dim], at, extent - at), ax.sliced(own[dim], 0, at)] if at else [own[dim]]
        own[dim] = ax.concat(parts, [extent - at, at] if at else [extent])
    return [tuple(own)]


def _product(call: Call) -> Found:
    names = {
        "addmm": ("mat1", "mat2"),
        "baddbmm": ("batch1", "batch2"),
        "bmm": ("self", "mat2"),
        "mm": ("self", "mat2"),
    }
    one, two = (
        call.given[name] for name in names.get(call.op.removeprefix("_").removesuffix("_activation"), ("self", "other"))
    )
    return [ax.contracted(call.axes(one), call.axes(two), tuple(one.shape), tuple(two.shape))]


def _linear(call: Call) -> Found:
    return [(*call.own[:-1], ax.features(call.out[-1]))]


def _reduce(call: Call) -> Found:
    if "other" in call.given:  # the larger or smaller of two
        return _same(call)
    own, dims = call.own, call.given.get("dim")
    if dims is None or dims == []:
        return [((),) * one.ndim for one in call.made]
    places = {int(k) % len(own) for k in (dims if isinstance(dims, (list, tuple)) else [dims])}
    for k in places:
        call.note(k, None)
    if call.given.get("keepdim"):
        return [tuple(() if k in places else axis for k, axis in enumerate(own))] * len(call.made)
    return [ax.picked(own, places)] * len(call.made)


def _im2col(call: Call) -> Found:
    """``[N, C, H, W]`` as windows ``[N, C k k, L]``."""
    own, out = call.own, call.out
    kernel, step, pad, dilation = (call.given[name] for name in ("kernel_size", "stride", "padding", "dilation"))
    counts = [
        (ax.extent_of(axis) + 2 * p - d * (k - 1) - 1) // s + 1
        for axis, k, s, p, d in zip(own[2:], kernel, step, pad, dilation, strict=True)
    ]
    rows = [ax.windowed(axis, n) for axis, n in zip(own[2:], counts, strict=True)]
    return [(own[0], ax.features(out[1]), tuple(part for axis in rows for part in axis))]


def _col2im(call: Call) -> Found:
    own, out = call.own, call.out
    windows = own[2]
    if len(windows) != len(out) - 2:
        return []
    return [(own[0], ax.features(out[1]), *(ax.windowed((part,), n) for part, n in zip(windows, out[2:], strict=True)))]


def _unfold(call: Call) -> Found:
    """``tensor.unfold``: windows along an axis, their elements behind all others."""
    own, place = call.own, int(call.given["dimension"]) % len(call.own)
    return [(*own[:place], ax.windowed(own[place], call.out[place]), *own[place + 1 :], ax.features(call.out[-1]))]


def _shuffle(call: Call) -> Found:
    own, out = call.own, call.out
    return [(*own[:-3], ax.features(out[-3]), *(ax.resized(a, n) for a, n in zip(own[-2:], out[-2:], strict=True)))]


def _embedding(call: Call) -> Found:
    indices = call.axes(call.given["indices"])
    return [] if indices is None else [(*indices, ax.features(call.out[-1]))]


def _attention(call: Call) -> Found:
    query, key, value = (call.given[name] for name in ("query", "key", "value"))
    q, k = (call.axes(one) or tuple(ax.features(n) for n in one.shape) for one in (query, key))
    call.matrix = (*q[:-1], k[-2])
    v = call.axes(value)
    return [(*q[:-1], v[-1] if v is not None else ax.features(int(value.shape[-1])))]


def _recurrent(call: Call) -> Found:
    own, hidden = call.own, call.out[-1]
    return [(*own[:-1], ax.features(hidden))]


def _flip(call: Call) -> Found:
    """Positions the other way round are not those of the item; channels are channels all the same."""
    own = list(call.own)
    for dim in call.given["dims"]:
        own[dim] = ax.unknown([ax.extent_of(own[dim])])[0] if ax.positional(own[dim]) else own[dim]
    return [tuple(own)]


def _halved(call: Call) -> Found:
    own, place = call.own, call.place()
    return [(*own[:place], ax.sliced(own[place], 0, call.out[place]), *own[place + 1 :])]


_HANDLERS: dict[str, Callable[[Call], Found]] = {
    **dict.fromkeys(["view", "_unsafe_view", "reshape", "flatten", "unflatten", "_reshape_alias", "view_as"], _reshape),
    **dict.fromkeys(["transpose", "t", "swapaxes", "swapdims"], _transpose),
    **dict.fromkeys(["split", "split_with_sizes", "unsafe_split", "unsafe_split_with_sizes", "chunk"], _split),
    **dict.fromkeys(
        [
            "constant_pad_nd",
            *(f"{how}_pad{n}d" for how in ("reflection", "replication", "circular") for n in (1, 2, 3)),
        ],
        _pad,
    ),
    **dict.fromkeys(["mm", "bmm", "matmul", "addmm", "baddbmm", "_addmm_activation"], _product),
    **dict.fromkeys(
        ["mean", "sum", "amax", "amin", "max", "min", "argmax", "argmin", "var", "std", "logsumexp"], _reduce
    ),
    **dict.fromkeys(["norm", "linalg_vector_norm", "any", "all", "prod", "var_mean", "std_mean", "median"], _reduce),
    **dict.fromkeys(["lstm", "gru", "rnn_tanh", "rnn_relu", "mkldnn_rnn_layer", "_cudnn_rnn"], _recurrent),
    **dict.fromkeys(["pixel_shuffle", "pixel_unshuffle"], _shuffle),
    **dict.fromkeys(["linear", "mkldnn_linear", "_linear"], _linear),
    "permute": _permute,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "expand": _expand,
    "repeat": _repeat,
    "cat": _cat,
    "stack": _stack,
    "unbind": _unbind,
    "select": _select,
    "slice": _slice,
    "index_select": _index_select,
    "index": _index,
    "roll": _roll,
    "im2col": _im2col,
    "col2im": _col2im,
    "unfold": _unfold,
    "embedding": _embedding,
    "flip": _flip,
    "glu": _halved,
}
"""What operators do to axes, by their names without an underscore behind."""
