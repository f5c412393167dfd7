"""What each operator does to the axes of the explained item; one function per family.

Operators that work element by element are known by their facts. One that is not known here has no rule, and the axes
behind it are unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from xplain.core.edits import Array
from xplain.core.positions import axes as ax
from xplain.core.positions.axes import Axes, Axis
from xplain.graph.operators import facts_of
from xplain.graph.outline.axis_call import Call
from xplain.graph.stated import cuts_of, pads_of, reduced_axes

__all__ = ["axes_after"]

Found: TypeAlias = "list[Axes | None]"
Handler: TypeAlias = "Callable[[Call], Found]"


def axes_after(call: Call) -> Found:
    """The axes of each output of a node; None, or none at all, where they are not known."""
    handler = _HANDLERS.get(call.op)
    if handler is not None or call.op.startswith("Reduce"):
        return (handler or _reduce)(call)
    facts = facts_of(call.node)
    if facts.elementwise or facts.axes in ("same", "channels"):
        return _same(call)
    return []


def _same(call: Call) -> Found:
    """Every output with the axes of the inputs, which broadcast; other extents are new features."""
    found: Found = []
    for name in call.node.output:
        shape = call.trail.known.shapes.get(name)
        if shape is None:
            found.append(None)
            continue
        wide = [axes for axes in call.live if len(axes) <= len(shape)]
        fits = all(
            n in (1, m) for axes in wide for n, m in zip(reversed(ax.shape_of(axes)), reversed(shape), strict=False)
        )
        found.append(ax.merged(wide, shape) if wide and fits else None)
    return found


def _softmax(call: Call) -> Found:
    axes, place = call.axes(0), call.given("axis", -1)
    if axes is not None and place % len(axes) == len(axes) - 1 > 1 and ax.mixes(axes[-1]):
        call.trail.mixing.add(call.node.output[0])
    return _same(call)


def _attention(call: Call) -> Found:
    """Attention as one operator, which shows no matrix."""
    out, name = call.node.output[0], f"{call.node.output[0]}/matrix"
    call.trail.parents[name] = call.trail.parents[out]
    call.trail.parents[out] = (*call.trail.parents[out], name)
    call.trail.mixing.add(name)
    axes = call.own
    return [(*axes[:-1], ax.features(call.out[-1]))]


def _window(call: Call) -> Found:
    """Convolutions and pools: positions keep their ground in another number; a convolution makes new channels."""
    axes, out, last = call.axes(0), call.out, call.last
    if axes is None or len(axes) != len(out):
        return []
    channel = len(axes) - 1 if last else 1
    found: list[Axis] = []
    for k, axis in enumerate(axes):
        if k == channel:
            found.append(ax.features(out[k]) if "Conv" in call.op else axis)
        elif k == 0:
            found.append(axis)
        else:
            found.append(ax.windowed(axis, out[k]))
    return [tuple(found)] * len(call.node.output)


def _whole(call: Call) -> Found:
    """Pools over all positions."""
    axes = call.own
    channel = len(axes) - 1 if call.last else 1
    return [tuple(axis if k in (0, channel) else () for k, axis in enumerate(axes))] * len(call.node.output)


def _resize(call: Call) -> Found:
    axes = call.own
    return [tuple(ax.resized(a, n) for a, n in zip(axes, call.out, strict=True))]


def _transpose(call: Call) -> Found:
    axes = call.own
    order = call.given("perm") or list(range(len(axes)))[::-1]
    return [tuple(axes[k] for k in order)]


def _reshape(call: Call) -> Found:
    axes = call.own
    return [ax.reshaped(axes, call.out)]


def _squeeze(call: Call) -> Found:
    axes, gone = call.axes(0), call.numbers(1, "axes")
    if axes is None:
        return []
    if gone is None:
        gone = [k for k, axis in enumerate(axes) if ax.extent_of(axis) == 1]
    return [ax.picked(axes, gone)]


def _unsqueeze(call: Call) -> Found:
    axes, new = call.axes(0), call.numbers(1, "axes")
    if axes is None or new is None:
        return []
    rank = len(axes) + len(new)
    places, waiting = {k % rank for k in new}, iter(axes)
    return [tuple(() if k in places else next(waiting) for k in range(rank))]


def _expand(call: Call) -> Found:
    axes = call.own
    return [ax.merged([axes], call.out)]


def _tile(call: Call) -> Found:
    axes = call.own
    pairs = zip(axes, call.out, strict=True)
    return [tuple(a if ax.extent_of(a) == n else ax.features(n) if not a else ax.unknown([n])[0] for a, n in pairs)]


def _concat(call: Call) -> Found:
    out, place = call.out, call.given("axis", 0) % len(call.out)
    inputs = [
        k for k in range(len(call.node.input)) if call.axes(k) is not None or len(call.shape(k) or ()) == len(out)
    ]
    parts = [None if (axes := call.axes(k)) is None else axes[place] for k in inputs]
    extents = [(call.shape(k) or out)[place] for k in inputs]
    rest = ax.merged(
        [(*axes[:place], (), *axes[place + 1 :]) for axes in call.live], (*out[:place], 1, *out[place + 1 :])
    )
    return [(*rest[:place], ax.concat(parts, extents), *rest[place + 1 :])]


def _split(call: Call) -> Found:
    axes = call.own
    place, at = call.given("axis", 0) % len(axes), 0
    found: Found = []
    for name in call.node.output:
        count = call.trail.known.shapes[name][place]
        found.append((*axes[:place], ax.sliced(axes[place], at, count), *axes[place + 1 :]))
        at += count
    return found


def _slice(call: Call) -> Found:
    axes = call.axes(0)
    cuts = None if axes is None else cuts_of(call.node, ax.shape_of(axes), call.trail.known.content.get)
    if axes is None or cuts is None:
        return []
    found = list(axes)
    for place, taken in cuts.items():
        found[place] = ax.sliced(axes[place], taken.start, len(taken), taken.step)
        if ax.extent_of(found[place]) == 1 < ax.extent_of(axes[place]):
            call.note(place, taken.start)
    return [tuple(found)]


def _gather(call: Call) -> Found:
    axes, indices, place = call.axes(0), call.content(1), call.given("axis", 0)
    chosen = call.axes(1)
    if axes is None:  # a table of embeddings, looked up by tokens
        table = call.shape(0)
        if chosen is None or table is None:
            return []
        place %= len(table)
        fixed = [ax.features(n) for n in table]
        return [(*fixed[:place], *chosen, *fixed[place + 1 :])]
    place %= len(axes)
    shape = call.shape(1)
    if shape is None or chosen is not None:
        return []
    return [(*axes[:place], *_chosen(call, axes[place], place, indices, shape), *axes[place + 1 :])]


def _chosen(call: Call, axis: Axis, place: int, indices: Array | None, shape: Sequence[int]) -> Axes:
    """What stands for an axis of which elements are gathered."""
    extent = ax.extent_of(axis)
    if indices is None:
        return ax.unknown(shape)
    numbers = np.where(indices < 0, indices + extent, indices)
    if numbers.size == 1:
        if extent > 1:
            call.note(place, int(numbers.ravel()[0]))
        return ((),) * len(shape)
    if numbers.ndim == 1:
        return (ax.gathered(axis, numbers.tolist()),)
    if numbers.ndim == 2:
        found = ax.strided(axis, numbers.tolist())
        if found is not None:
            return found
    return ax.unknown(shape) if ax.positional(axis) else tuple(ax.features(n) for n in shape)


def _pad(call: Call) -> Found:
    axes = call.axes(0)
    if axes is None:
        return []
    pads = pads_of(call.node, len(axes), call.trail.known.content.get)
    if pads is None:
        return [tuple(ax.resized(a, n) for a, n in zip(axes, call.out, strict=True))]
    found = list(axes)
    for place, (before, after) in pads.items():
        found[place] = ax.resized(axes[place], call.out[place], before=before, after=after)
    return [tuple(found)]


def _matmul(call: Call) -> Found:
    second = 3 if call.node.op_type == "QLinearMatMul" else 1
    one, two, rows, columns = call.axes(0), call.axes(second), call.shape(0), call.shape(second)
    if rows is None or columns is None:
        return []
    if call.given("transA", 0):
        one, rows = _turned(one), _turned(rows)
    if call.given("transB", 0):
        two, columns = _turned(two), _turned(columns)
    return [ax.contracted(one, two, rows, columns)]


def _turned(axes: Any) -> Any:
    return None if axes is None else (*axes[:-2], axes[-1], axes[-2])


def _gemm(call: Call) -> Found:
    axes, second = call.axes(0), call.axes(3 if call.node.op_type == "QGemm" else 1)
    if axes is None or second is not None:
        return _matmul(call) if second is not None else []
    rows = axes[1] if call.given("transA", 0) else axes[0]
    return [(rows, ax.features(call.out[1]))]


def _einsum(call: Call) -> Found:
    equation = call.given("equation").replace(" ", "")
    inside, arrow, result = equation.partition("->")
    terms = inside.split(",")
    if not arrow or "." in equation:
        return []
    found: dict[str, list[Axes]] = {letter: [] for letter in result}
    for k, term in enumerate(terms):
        for letter, axis in zip(term, call.axes(k) or (), strict=False):
            if letter in found:
                found[letter].append((axis,))
    return [tuple(ax.merged(found[letter], (n,))[0] for letter, n in zip(result, call.out, strict=True))]


def _reduce(call: Call) -> Found:
    axes = call.own
    gone = reduced_axes(call.node, len(axes), call.trail.known.content.get)
    if gone is None:
        return []
    for k in gone:
        call.note(k, None)
    if call.given("keepdims", 1):
        return [tuple(() if k in gone else axis for k, axis in enumerate(axes))]
    return [ax.picked(axes, gone)]


def _blocks(call: Call) -> Found:
    axes, out = call.axes(0), call.out
    if axes is None:
        return []
    return [(axes[0], ax.features(out[1]), *(ax.resized(a, n) for a, n in zip(axes[2:], out[2:], strict=True)))]


def _recurrent(call: Call) -> Found:
    """``Y [T, directions, N, H]``, or batch first with ``layout``; the last states have no time."""
    axes = call.own
    first = call.given("layout", 0)
    time, items = (axes[1], axes[0]) if first else (axes[0], axes[1])
    found: Found = []
    for k, name in enumerate(call.node.output):
        shape = call.trail.known.shapes.get(name) if name else None
        if shape is None:
            found.append(None)
            continue
        hidden = ax.features(shape[-1])
        ways = ax.features(shape[2 if first and k == 0 else 1 if first or k == 0 else 0])
        inner = [items, time, ways, hidden] if first else [time, ways, items, hidden]
        if k > 0:
            inner = [items, ways, hidden] if first else [ways, items, hidden]
        found.append(tuple(inner))
    return found


def _first(call: Call) -> Found:
    """The first input's axes where extents agree, and what is new elsewhere."""
    axes = call.own
    shapes = [call.trail.known.shapes.get(name) for name in call.node.output]
    return [axes if shape == ax.shape_of(axes) else None for shape in shapes]


def _shuffled(_call: Call) -> Found:
    """Elements go where the data say: nothing is known of their places."""
    return []


_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(["Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool", "MaxUnpool", "DeformConv"], _window),
    **dict.fromkeys(["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"], _whole),
    **dict.fromkeys(["Resize", "Upsample"], _resize),
    **dict.fromkeys(["Reshape", "Flatten"], _reshape),
    **dict.fromkeys(["Squeeze"], _squeeze),
    **dict.fromkeys(["Unsqueeze"], _unsqueeze),
    **dict.fromkeys(["DepthToSpace", "SpaceToDepth"], _blocks),
    **dict.fromkeys(["LSTM", "GRU", "RNN"], _recurrent),
    **dict.fromkeys(["MatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"], _matmul),
    **dict.fromkeys(["ScatterElements", "Scatter", "ScatterND", "CumSum", "Trilu"], _first),
    **dict.fromkeys(["Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention"], _attention),
    "Softmax": _softmax,
    "Gemm": _gemm,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _gather,
    "Pad": _pad,
    "Einsum": _einsum,
    **dict.fromkeys(["ArgMax", "ArgMin"], _reduce),
    **dict.fromkeys(["TopK", "GatherElements", "GatherND", "ReverseSequence", "GridSample", "Compress"], _shuffled),
}
"""What operators do to axes, by their standard names."""
