"""Convolution and its transpose. Which formulation is fast in ONNX Runtime was measured; see each function."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from xplain.core.rules import Kind
from xplain.graph.build.tracer import Shape, Tracer, Value, known
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.windows import Geometry, windows_of

__all__ = ["Geometry", "blocked", "conv_data_vjp", "geometry", "nearest", "spatial", "transposed"]

_LARGEST_BLOCK = 16
"""Channels that ONNX Runtime keeps side by side, at most."""


def _kind(call: NodeCall) -> Kind:
    return "product" if sum(call.active[:2]) > 1 else "linear"


def spatial(v: Value) -> tuple[int, ...] | None:
    """Spatial extents, or None where they are not all known."""
    dims = v.shape[2:] if v.shape is not None else None
    return tuple(int(d or 0) for d in dims) if dims is not None and known(dims) else None


def geometry(call: NodeCall, kernel: Sequence[int]) -> Geometry:
    """Read the geometry of a convolution or pooling node; ``auto_pad`` becomes numbers."""
    found = windows_of(call.attributes, kernel, spatial(call.need(0)))
    if found is None:
        raise call.refuse(f"auto_pad {call.attribute('auto_pad')} with a stride needs a known height and width")
    return found


def blocked(x: Value) -> Value:
    """The same values, from here on in ONNX Runtime's blocked layout: the maximum over windows of one position.

    Products and sums stay in that layout when all their operands are in it, and Conv needs it, but only Conv and
    pooling bring a tensor into it. A cotangent that enters a residual trunk outside would keep all of the trunk outside
    and take every branch's part out of the layout and back (a ResNet-50 with it: 0.92 of the processor time).
    """
    channels = x.shape[1] if x.shape is not None and x.rank == 4 else None
    if x.dtype != TensorProto.FLOAT or not isinstance(channels, int) or channels % _LARGEST_BLOCK:
        return x
    return x.tracer.MaxPool(x, kernel_shape=[1, 1], shape=x.shape)


def flipped(call: NodeCall, w: Value, group: int, n: int) -> Value:
    """Weights ``[O, I/g, *k]`` as those of the backward convolution ``[I, O/g, *k]``: transposed, taps reversed.

    Nodes, not a copy: the runtime folds them when it loads the file, and the file keeps one set of weights.
    """
    t, shape = call.t, w.shape or ()
    out_channels, in_channels = int(shape[0] or 0), int(shape[1] or 0)
    kernel = [int(d or 0) for d in shape[2:]]
    if group > 1:
        w = t.reshape(w, [group, out_channels // group, in_channels, *kernel])
        w = t.permute(w, [0, 2, 1, *range(3, 3 + n)])
    else:
        w = t.permute(w, [1, 0, *range(2, 2 + n)])
    axes = [2 + i + (group > 1) for i in range(n) if kernel[i] > 1]
    if axes:
        w = t.slice(w, [-1] * len(axes), [-(2**31)] * len(axes), axes, [-1] * len(axes))
    return t.reshape(w, [group * in_channels, out_channels // group, *kernel]) if group > 1 else w


def conv_data_vjp(call: NodeCall, g: Value, w: Value, x: Value, geo: Geometry, group: int) -> Value:
    """``dx`` of y = Conv(x, w).

    Stride 1: a convolution with flipped weights, whose padding does not depend on the extents and which is 1.2 to 12
    times faster than ConvTranspose. Other strides: ConvTranspose. ``w`` is ``[O, I/g, *k]`` with known extents. At a
    single position it is a matrix product, or a row of ``w``.
    """
    t, n = call.t, len(geo.kernel)
    if group == 1 and not geo.padded and known(w.shape) and spatial(x) == spatial(g) == geo.kernel == (1,) * n:
        return _at_one_position(call, g, w, x)
    if all(s == 1 for s in geo.strides) and known(w.shape):
        before = [e - 1 - p for e, p in zip(geo.extent, geo.before, strict=True)]
        after = [e - 1 - p for e, p in zip(geo.extent, geo.after, strict=True)]
        if min((*before, *after)) < 0:  # padding wider than the kernel reaches: outer rows of dy have no source
            crop = [(max(0, -b), max(0, -a)) for b, a in zip(before, after, strict=True)]
            g = t.slice(g, [b for b, _ in crop], [-a if a else 2**31 - 1 for _, a in crop], range(2, 2 + n))
        pads = [max(0, p) for p in (*before, *after)]
        return t.Conv(
            g,
            flipped(call, w, group, n),
            group=group,
            dilations=list(geo.dilations),
            pads=pads,
            kernel_shape=list(geo.kernel),
            shape=x.shape,
        )
    return transposed(call, g, w, x, geo, group)


def _at_one_position(call: NodeCall, g: Value, w: Value, x: Value) -> Value:
    """``dx [N, I, 1, 1]`` of a classifier that is written as a convolution: dy ``[N, O]`` times ``w`` ``[O, I]``.

    Where dy is a class, the row of that class: MobileNetV2's 1001 x 1280 weights are not read at all, which as a
    convolution takes 0.29 of the 4.7 ms of a class activation map (onnxruntime 1.31, one thread).
    """
    t, out_channels, in_channels = call.t, *(int(d or 0) for d in (w.shape or ())[:2])
    rows, label = t.reshape(w, [out_channels, in_channels]), _label(t, g)
    if label is not None:
        return t.reshape_like(t.emit("Gather", rows, label, axis=0), x)
    return t.reshape_like(t.MatMul(t.reshape(g, [0, out_channels]), rows), x)


def _label(t: Tracer, g: Value) -> Value | None:
    """The class ``[N]`` of each row, where dy ``[N, O, 1, 1]`` is 1 for it and 0 for all others; None elsewhere."""
    hot = g
    while True:
        origin, perm = t.turned(hot)
        wide = [extent for extent in (origin.shape or (None, None, None))[1:] if extent != 1]
        if origin is not hot and (perm[0] != 0 or len(wide) > 1):
            return None  # elements change their order
        made = t.maker(origin, "Reshape", added=True)
        if made is None:
            found = t.maker(origin, "OneHot", added=True)
            alike = found is not None and g.shape is not None and found[0].shape == g.shape[:1]
            return found[0] if found is not None and alike else None
        hot = made[0]


def transposed(call: NodeCall, g: Value, w: Value, x: Value, geo: Geometry, group: int) -> Value:
    """``dx`` of a strided convolution or window: ConvTranspose, cut or filled to the extents of ``x``.

    Of a depthwise one: ``_depthwise``, where its form allows.
    """
    t, n = call.t, len(geo.kernel)
    to, of = spatial(x), spatial(g)
    if n == 2 and to and of and group > 1 and known(w.shape) and (w.shape or ())[:2] == (group, 1):
        spread = _depthwise(call, g, w, x, geo)
        if spread is not None:
            return spread
    common = {"strides": list(geo.strides), "dilations": list(geo.dilations), "group": group}
    if to is not None and of is not None:
        left = [to[i] - ((of[i] - 1) * geo.strides[i] + geo.extent[i] - geo.before[i] - geo.after[i]) for i in geo.axes]
        # windows that hang over the edge (ceil_mode) are cropped, rows that no window reached are filled
        pads = [*geo.before, *(p + max(0, -rest) for p, rest in zip(geo.after, left, strict=True))]
        fill = [max(0, rest) for rest in left]
        if all(f < max(s, d) for f, s, d in zip(fill, geo.strides, geo.dilations, strict=True)):
            return blocked(t.ConvTranspose(g, w, pads=pads, output_padding=fill, shape=x.shape, **common))
        whole = t.ConvTranspose(g, w, pads=pads, **common)
        out = t.pad(whole, [0] * (2 + n), [0, 0, *fill])
        t.shapes[out.name] = x.shape or ()
        return blocked(out)
    whole = t.ConvTranspose(g, w, pads=[*geo.before, *[0] * n], output_padding=[s - 1 for s in geo.strides], **common)
    ends = t.slice(t.shape_of(x), [2], [2 + n], [0])
    # after ceil_mode the whole is never smaller than x; without it s - 1 rows are enough to reach the end
    return t.emit("Slice", whole, t.ints(*[0] * n), ends, t.ints(*range(2, 2 + n)), shape=x.shape)


def nearest(t: Tracer, x: Value, factors: tuple[int, ...], shape: Shape | None = None) -> Value:
    """Repeat every position: Resize takes 0.3 ms where a 6-D Expand takes 33 ms.

    Counting from the middle of a pixel keeps ONNX Runtime from doing it in its blocked layout, out of which four times
    as many elements then have to be brought (VGG-16, 8 items: 40 ms of 2.2 s). A position is repeated either way: its
    copies lie within half a pixel of it, and the outermost of them 1 / (2 factor) from the next, which float32 tells
    apart on planes of up to two million pixels a side. Scales of the plane's axes alone would do the same, but ONNX
    Runtime 1.31 takes them for those of all axes when it moves a Transpose past them (HieraDet's saliency failed). Who
    goes on in the blocked layout says which shape comes out.
    """
    how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if len(factors) == 2 and shape is None:
        how = {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_floor"}
    return t.Resize(x, None, np.array([1, 1, *factors], dtype=np.float32), mode="nearest", shape=shape, **how)


def _depthwise(call: NodeCall, g: Value, w: Value, x: Value, geo: Geometry) -> Value | None:
    """``dx`` of a strided depthwise convolution: dy with zeros between its elements, then one of stride 1.

    ONNX Runtime has no blocked layout for ConvTranspose, and its depthwise form multiplies by nearly nothing but zeros
    too. Each element is repeated, all but the first taken away, and convolved with flipped weights: 0.56 of the time,
    measured with 96 channels of 56 x 56 and 0.46 with 576 of 7 x 7 (onnxruntime 1.31, one thread).

    Returns:
        None where windows hang over the edge.
    """
    t, to, of = call.t, spatial(x) or (), spatial(g) or ()
    before = [e - 1 - p for e, p in zip(geo.extent, geo.before, strict=True)]
    wide = [n * s for n, s in zip(of, geo.strides, strict=True)]
    after = [to[i] - wide[i] - before[i] + geo.extent[i] - 1 for i in geo.axes]
    if min((*before, *after)) < 0:
        return None
    first = np.zeros((1, 1, *wide), np.float32)
    first[:, :, :: geo.strides[0], :: geo.strides[1]] = 1.0
    return t.Conv(
        nearest(t, g, geo.strides) * t.const(first, g.dtype),
        flipped(call, w, int((w.shape or (0,))[0] or 0), 2),
        group=int((w.shape or (0,))[0] or 0),
        dilations=list(geo.dilations),
        pads=[*before, *after],
        kernel_shape=list(geo.kernel),
        shape=x.shape,
    )


facts("Conv ConvTranspose", axes="channels", linear="first")
facts("FusedConv", axes="channels", weighted=True)
facts("FusedConv NhwcConv NhwcFusedConv", like="Conv")
facts("Conv ConvTranspose FusedConv NhwcConv NhwcFusedConv", learnt=(1, 2))


@backward("Conv", kind=_kind, weight=1, bias=2)
def conv(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` by ``conv_data_vjp``; db is dy summed over items and positions; dw is the convolution of x with dy."""
    t, x, w = call.t, call.need(0), call.need(1)
    group = call.attribute("group", 1)
    kernel = call.attribute("kernel_shape") or [int(d or 0) for d in (w.shape or ())[2:]]
    geo = geometry(call, kernel)
    dx = conv_data_vjp(call, g, w, x, geo, group) if call.active[0] else None
    dw = _conv_weight_vjp(call, g, geo, group) if call.active[1] else None
    db = None
    if len(call.active) > 2 and call.active[2]:
        db = t.sum(g, [0, *range(2, g.rank)], keepdims=False)
    return [dx, dw, db]


def _conv_weight_vjp(call: NodeCall, g: Value, geo: Geometry, group: int) -> Value:
    """dw[o, i, k] = sum_n,p dy[n, o, p] x[n, i, s p + d k]: a convolution in which items and channels change place.

    Only models that compute a kernel from the input (dynamic convolution) need it.
    """
    t, x, w = call.t, call.need(0), call.need(1)
    if group != 1:
        raise call.refuse("the gradient of a grouped kernel that depends on the input")
    n = len(geo.kernel)
    swapped = t.Conv(
        t.permute(x, [1, 0, *range(2, 2 + n)]),
        t.permute(g, [1, 0, *range(2, 2 + n)]),
        pads=[*geo.before, *geo.after],
        strides=list(geo.dilations),
        dilations=list(geo.strides),
    )
    cut = t.slice(swapped, [0] * n, list(geo.kernel), range(2, 2 + n))
    out = t.permute(cut, [1, 0, *range(2, 2 + n)])
    t.shapes[out.name] = w.shape or ()
    return out


@backward("ConvTranspose", kind=_kind, weight=1, bias=2)
def conv_transpose(call: NodeCall, g: Value) -> list[Value | None]:
    """``dx`` of a transposed convolution is the convolution with the same weights."""
    t, x, w = call.t, call.need(0), call.need(1)
    if call.active[1]:
        raise call.refuse("the kernel depends on the input")
    kernel = call.attribute("kernel_shape") or [int(d or 0) for d in (w.shape or ())[2:]]
    n = len(kernel)
    strides, dilations = call.attribute("strides") or [1] * n, call.attribute("dilations") or [1] * n
    auto = call.attribute("auto_pad", "NOTSET") or "NOTSET"
    if auto not in ("NOTSET", "VALID") or call.attribute("output_shape"):
        of, to = spatial(x), spatial(call.y)
        if of is None or to is None:
            raise call.refuse("auto_pad or output_shape needs a known height and width")
        whole = [strides[i] * (of[i] - 1) + dilations[i] * (kernel[i] - 1) + 1 - to[i] for i in range(n)]
        before = [v // 2 if auto == "SAME_UPPER" else v - v // 2 for v in whole]
        after = [v - b for v, b in zip(whole, before, strict=True)]
    else:
        pads = list(call.attribute("pads") or [0] * 2 * n)
        extra = call.attribute("output_padding") or [0] * n
        before, after = pads[:n], [p - e for p, e in zip(pads[n:], extra, strict=True)]
    # rows beyond the reach of any window (output_padding, output_shape) come from no source: cropped
    g = t.pad(g, [0, 0, *(min(0, p) for p in before)], [0, 0, *(min(0, p) for p in after)])
    before, after = [max(0, p) for p in before], [max(0, p) for p in after]
    dx = t.Conv(
        g,
        w,
        strides=list(strides),
        dilations=list(dilations),
        group=call.attribute("group", 1),
        pads=[*before, *after],
        shape=x.shape,
    )
    db = t.sum(g, [0, *range(2, g.rank)], keepdims=False) if len(call.active) > 2 and call.active[2] else None
    return [dx, None, db]
