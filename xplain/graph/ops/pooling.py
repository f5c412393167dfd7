"""Pooling over windows and over whole planes."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto, helper

from xplain.graph.build.tracer import Tracer, Value
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.convolution import Geometry, blocked, conv_data_vjp, geometry, nearest, spatial
from xplain.graph.ops.finite import may_be_infinite, without_infinity

_MANY = 16
"""Windows side by side of more taps than this are unfolded: 49 Convs take as long and are a long graph."""


facts("MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool MaxUnpool", axes="channels")
facts("AveragePool GlobalAveragePool", linear="first", adds=True)
facts("MaxPool GlobalMaxPool", steps=(0, 1))
facts("NhwcMaxPool", axes="same", steps=(0, 1), like="MaxPool")


@backward("MaxPool", kind="choice")
def max_pool(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` goes to the first element of each window that equals the maximum (ties as in torch on a CPU).

    Three formulations, fastest first: windows that tile the plane, one-hot unfolding, and scattering to ``Indices``,
    which only the last asks for: MaxPool with indices takes 21 ms where it takes 1.1 ms without.
    """
    t, x, y = call.t, call.need(0), call.y
    if x.dtype != g.dtype:  # pooling on integers of a quantised model
        x, y = t.cast(x, g.dtype), t.cast(y, g.dtype)
    x, y = without_infinity(call, x, y)  # the unfolding multiplies by zeros
    geo = geometry(call, call.attribute("kernel_shape"))
    ceil = bool(call.attribute("ceil_mode", 0))
    channels = (x.shape or (None, None))[1]
    tiles = geo.strides == geo.kernel and len(geo.kernel) == 2 and not geo.padded and not ceil
    if isinstance(channels, int) and spatial(x) is not None:
        tiles = tiles and geo.extent == geo.kernel and 1 < math.prod(geo.kernel) <= _MANY
        return [(_pool_tiles if tiles else _pool_unfold)(t, g, x, y, geo, channels)]
    return [_pool_scatter(call, g, geo)]


def _pool_tiles(t: Tracer, g: Value, x: Value, y: Value, geo: Geometry, channels: int) -> Value:
    """Windows side by side: count the taps before the first that equals the maximum, and repeat dy there.

    Tap k is below the maximum where y - x_k > 0, and x_k is what a depthwise Conv of stride k picks; the number of the
    first that is not is u0 + u0 u1 + u0 u1 u2 ... All of it has the size of y and stays in ONNX Runtime's blocked
    layout; only the number and dy are repeated. For 8 x 64 planes of 112 x 112 and windows of 2 x 2 it takes two thirds
    of the time of unfolding.
    """
    whole, windows = spatial(x) or (), spatial(y) or ()
    covered = [n * k for n, k in zip(windows, geo.kernel, strict=True)]
    part = x if list(whole) == covered else t.slice(x, [0, 0], covered, [2, 3])
    number: Value | None = None
    below: Value | None = None
    for tap in np.ndindex(*geo.kernel):
        if all(i == k - 1 for i, k in zip(tap, geo.kernel, strict=True)):
            break
        pick = np.zeros([i + 1 for i in tap])
        pick[tap] = -1
        picks = t.Tile(t.const(pick[None, None], g.dtype), t.ints(channels, 1, 1, 1))
        under = t.between(t.Conv(part, picks, strides=list(geo.strides), group=channels, shape=y.shape) + y, 0.0)
        below = under if below is None else below * under
        number = below if number is None else number + below
    assert number is not None
    # tiled by a node, which the runtime folds: the file keeps the small pattern
    taps = t.const(np.arange(math.prod(geo.kernel)).reshape(1, 1, *geo.kernel), g.dtype)
    pattern = t.Tile(taps, t.ints(1, 1, *windows))
    chosen = t.step(nearest(t, number, geo.kernel).equal(pattern), g.dtype)
    out = chosen * nearest(t, g, geo.kernel)
    rest = [a - b for a, b in zip(whole, covered, strict=True)]
    return t.pad(out, [0, 0, 0, 0], [0, 0, *rest])


def _pool_unfold(t: Tracer, g: Value, x: Value, y: Value, geo: Geometry, channels: int) -> Value:
    """Unfold by a one-hot depthwise Conv, choose, fold by the ConvTranspose with the same kernel."""
    n, taps = len(geo.kernel), math.prod(geo.kernel)
    whole, windows = spatial(x) or (), spatial(y) or ()
    single = np.eye(taps).reshape(taps, 1, *geo.kernel)
    one_hot = t.Tile(t.const(single, g.dtype), t.ints(channels, *[1] * (n + 1)))
    after = [
        (windows[i] - 1) * geo.strides[i] + geo.extent[i] - whole[i] - geo.before[i] for i in geo.axes
    ]  # negative where the last rows are in no window
    # finite, because it is multiplied by the zeros of the one-hot kernel
    lowest = float(np.finfo(helper.tensor_dtype_to_np_dtype(g.dtype)).min)
    padded = t.pad(x, [0, 0, *geo.before], [0, 0, *after], lowest)
    how = {"strides": list(geo.strides), "dilations": list(geo.dilations), "group": channels}
    unfolded = t.reshape(t.Conv(padded, one_hot, **how), [0, channels, taps, *windows])
    numbers = t.const(np.arange(taps, 0, -1).reshape(taps, *[1] * n), g.dtype)
    code = t.step(unfolded.equal(t.unsqueeze(y, [2])), g.dtype) * numbers
    chosen = t.step(code.equal(t.max(code, [2])), g.dtype)
    spread = t.reshape(chosen * t.unsqueeze(g, [2]), [0, channels * taps, *windows])
    out = t.ConvTranspose(spread, one_hot, **how)
    out = t.pad(out, [0, 0, *(-p for p in geo.before)], [0, 0, *(-p for p in after)])
    t.shapes[out.name] = x.shape or ()
    return out


def _pool_scatter(call: NodeCall, g: Value, geo: Geometry) -> Value:
    """Extents known only at run time: scatter dy to the indices of the maxima."""
    t, x = call.t, call.need(0)
    if t.opset < 16:
        raise call.refuse("height and width that are known only at run time need opset 16")
    indices = call.extra_output(1, TensorProto.INT64)
    size = t.reshape(t.Size(x), [1])
    if may_be_infinite(call):  # a window of -inf alone has no index
        g, indices = (t.where(indices >= 0, v, zero) for v, zero in ((g, 0.0), (indices, 0)))
    overlaps = any(s < e for s, e in zip(geo.strides, geo.extent, strict=True))
    flat = t.ScatterElements(
        t.filled(size, 0.0, g.dtype),
        t.reshape(indices, [-1]),
        t.reshape(g, [-1]),
        axis=0,
        **({"reduction": "add"} if overlaps else {}),
    )
    return t.emit("Reshape", flat, t.shape_of(x), shape=x.shape)


@backward("AveragePool", kind="linear")
def average_pool(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` divided by how many elements each window counted, then the VJP of a convolution with ones."""
    t, x = call.t, call.need(0)
    geo = geometry(call, call.attribute("kernel_shape"))
    whole, windows = spatial(x), spatial(call.y)
    taps = math.prod(geo.kernel)
    include = bool(call.attribute("count_include_pad", 0))
    if whole is not None and whole == geo.kernel and not geo.padded:
        return [t.expand_like(g * (1.0 / taps), x)]
    if whole is None or windows is None:
        if call.attribute("ceil_mode", 0):
            raise call.refuse("ceil_mode needs a known height and width")
        share: Value = g * (1.0 / taps)
        if geo.padded and not include:  # how many elements each window holds: the same pooling of ones, zeros around
            ones = t.filled(t.shape_of(x), 1.0, g.dtype, x.shape)
            how = {name: list(getattr(geo, name)) for name in ("strides", "dilations")}
            if all(d == 1 for d in geo.dilations):
                del how["dilations"]  # which older opsets do not know
            pads = [*geo.before, *geo.after]
            share = share / t.AveragePool(ones, kernel_shape=list(geo.kernel), pads=pads, count_include_pad=1, **how)
    else:
        counts = _counts(geo, whole, windows, include)
        share = g * (1.0 / taps) if (counts == taps).all() else g * t.const(1.0 / counts, g.dtype)
        side_by_side = (
            geo.strides == geo.kernel and len(geo.kernel) == 2 and not geo.padded and geo.extent == geo.kernel
        )
        rest = [whole[i] - windows[i] * geo.strides[i] for i in geo.axes]
        if side_by_side and min(rest) >= 0:
            return [t.pad(nearest(t, share, geo.kernel), [0, 0, 0, 0], [0, 0, *rest])]
    channels = (x.shape or (None, None))[1]
    if not isinstance(channels, int):
        raise call.refuse("the number of channels is not known")
    ones = t.Tile(t.const(np.ones((1, 1, *geo.kernel)), g.dtype), t.ints(channels, *[1] * (len(geo.kernel) + 1)))
    return [conv_data_vjp(call, share, ones, x, geo, channels)]


def _counts(geo: Geometry, whole: tuple[int, ...], windows: tuple[int, ...], include: bool) -> np.ndarray:
    """How many elements each window averages over, ``[*windows]``; rows beyond the padding never count."""
    counts = np.ones(())
    for i in geo.axes:
        low, high = (-geo.before[i], whole[i] + geo.after[i]) if include else (0, whole[i])
        first = np.arange(windows[i])[:, None] * geo.strides[i] - geo.before[i]
        taps = first + np.arange(geo.kernel[i])[None, :] * geo.dilations[i]
        counts = counts[..., None] * ((taps >= low) & (taps < high)).sum(axis=1)
    return counts


@backward("Col2Im", kind="linear", flow=(0,))
def col_to_image(call: NodeCall, g: Value) -> list[Value | None]:
    """Blocks that were added into a picture: each gets what lies under it, by a one-hot Conv as in pooling."""
    t, x = call.t, call.need(0)
    kernel, channels = call.static(2, "block_shape"), (call.y.shape or (None, None))[1]
    if kernel is None or (not isinstance(channels, int) and not isinstance((x.shape or (None, None))[1], int)):
        raise call.refuse("blocks or channels that are known only at run time have no rule")
    kernel = [int(k) for k in kernel]
    taps, n = math.prod(kernel), len(kernel)
    planes = channels if isinstance(channels, int) else int((x.shape or (0, 0))[1] or 0) // taps
    single = np.eye(taps).reshape(taps, 1, *kernel)
    one_hot = t.Tile(t.const(single, g.dtype), t.ints(planes, *[1] * (n + 1)))
    how = {"strides": call.attribute("strides") or [1] * n, "dilations": call.attribute("dilations") or [1] * n}
    pads = call.attribute("pads") or [0] * 2 * n
    return [t.reshape(t.Conv(g, one_hot, pads=pads, group=planes, **how), [0, planes * taps, -1])]


@backward("GlobalAveragePool", kind="linear")
def global_average_pool(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` / (number of positions), everywhere."""
    axes = range(2, call.x.rank)
    share = g / call.t.count(call.x, g, list(axes))
    plane = spatial(call.x)
    inside = blocked(share)
    if inside is not share and plane is not None:  # Expand would leave that layout
        return [nearest(call.t, inside, plane, call.x.shape)]
    return [call.t.expand_like(share, call.x)]


@backward("GlobalMaxPool", kind="choice")
def global_max_pool(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` at the maximum, shared where several elements are equal."""
    t = call.t
    chosen = t.step(call.x.equal(call.y), g.dtype)
    return [chosen * (g / t.sum(chosen, list(range(2, call.x.rank))))]


@backward("LpPool", "GlobalLpPool", kind="joint")
def lp_pool(call: NodeCall, g: Value) -> list[Value | None]:
    """Y = (sum |x|^p)^(1/p): dx = sum over windows of dy y^(1-p), times |x|^(p-1) sign(x)."""
    t, x, p = call.t, call.x, call.attribute("p", 2)
    y = t.where(call.y.equal(0.0), 1.0, call.y)
    share = g / t.Pow(y, t.const(float(p - 1), g.dtype)) if p > 1 else g
    local = x if p == 2 else t.Sign(x) * t.Pow(t.Abs(x), t.const(float(p - 1), x.dtype))
    if call.op == "GlobalLpPool":
        return [local * share]
    channels = (x.shape or (None, None))[1]
    if not isinstance(channels, int):
        raise call.refuse("the number of channels is not known")
    geo = geometry(call, call.attribute("kernel_shape"))
    ones = t.Tile(t.const(np.ones((1, 1, *geo.kernel)), g.dtype), t.ints(channels, *[1] * (len(geo.kernel) + 1)))
    return [local * conv_data_vjp(call, share, ones, x, geo, channels)]


@backward("MaxUnpool", kind="move", flow=(0,))
def max_unpool(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` = dy at the stored indices."""
    t = call.t
    picked = t.GatherElements(t.reshape(g, [-1]), t.reshape(call.need(1), [-1]), axis=0)
    out = t.reshape_like(picked, call.x)
    return [out]
