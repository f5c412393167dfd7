"""Operators that only move elements: dy moves back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xplain.graph.build.tracer import Value, known
from xplain.graph.operators import backward, facts
from xplain.graph.ops.call import NodeCall
from xplain.graph.ops.resampling import along
from xplain.graph.stated import pads_of

facts("Reshape Flatten Squeeze Unsqueeze", repacks=True, axes="moved", steps=(0, 1), linear="first", free=True)
facts("Transpose DepthToSpace SpaceToDepth", axes="moved", steps=(0, 1))
facts("Expand Split Pad Tile Trilu ReverseSequence", axes="same", linear="first")
facts("Expand Split Pad Tile ReverseSequence", steps=(0, 1))
facts("Expand Pad Tile", grows=True)
facts("Transpose", linear="first")
facts("Concat", axes="same", steps=(0, None), linear="all")


@backward("Reshape", "Flatten", "Squeeze", "Unsqueeze", kind="move", flow=(0,))
def reshape(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` in the input's shape."""
    return [call.t.reshape_like(g, call.x)]


@backward("Expand", kind="move", flow=(0,))
def expand(call: NodeCall, g: Value) -> list[Value | None]:
    """The sum of dy over copies."""
    return [call.shaped(g, 0)]


@backward("Transpose", kind="move")
def transpose(call: NodeCall, g: Value) -> list[Value | None]:
    """The inverse order of axes."""
    perm = call.attribute("perm") or list(range(call.x.rank))[::-1]
    return [call.t.permute(g, [int(p) for p in np.argsort(perm)])]


@backward("DepthToSpace", kind="move")
def depth_to_space(call: NodeCall, g: Value) -> list[Value | None]:
    """Space back to depth; the column order (CRD) by a reshape."""
    t, block = call.t, call.attribute("blocksize")
    if call.attribute("mode", "DCR") == "DCR":
        return [t.SpaceToDepth(g, blocksize=block)]
    dims = call.y.shape
    if dims is None or not known(dims[1:]):
        raise call.refuse("mode CRD needs known channels, height and width")
    _, channels, height, width = (int(d) if isinstance(d, int) else 0 for d in dims)
    cut = t.reshape(g, [0, channels, height // block, block, width // block, block])
    return [t.reshape_like(t.permute(cut, [0, 1, 3, 5, 2, 4]), call.x)]


@backward("SpaceToDepth", kind="move")
def space_to_depth(call: NodeCall, g: Value) -> list[Value | None]:
    """Depth back to space."""
    return [call.t.DepthToSpace(g, blocksize=call.attribute("blocksize"), mode="DCR")]


@backward("Concat", kind="move")
def concat(call: NodeCall, g: Value) -> list[Value | None]:
    """``dy`` cut into pieces."""
    t, axis = call.t, call.attribute("axis")
    pieces = [call.need(k) for k in range(len(call.inputs))]
    dims = [v.shape[axis] if v.shape is not None else None for v in pieces]
    if known(dims):
        return list(t.split(g, [int(d or 0) for d in dims], axis))
    return list(t.split(g, t.Concat(*(t.extent(v, axis) for v in pieces), axis=0), axis))


@backward("Split", kind="move", every=True, flow=(0,))
def split(call: NodeCall, g: Sequence[Value | None]) -> list[Value | None]:
    """The pieces put together; a piece that nobody used is zero."""
    t = call.t
    given = next(v for v in g if v is not None)
    pieces = [
        v if v is not None else t.zeros_like(t.value(name), given.dtype)
        for v, name in zip(g, call.node.output, strict=True)
    ]
    return [t.Concat(*pieces, axis=call.attribute("axis", 0))]


@backward("Pad", kind="move", flow=(0,))
def pad(call: NodeCall, g: Value) -> list[Value | None]:
    """Constant: crop. Reflect, edge, wrap: each source gets the sum of its copies, by one matrix per axis."""
    t, x = call.t, call.need(0)
    pads = pads_of(call.node, x.rank, t.constants.get)
    mode = call.attribute("mode", "constant")
    if pads is None:
        if mode != "constant" or call.has(3) or not call.has(1):
            raise call.refuse("amounts known only at run time need mode constant")
        return [t.Pad(g, t.Neg(call.need(1)))]
    before, after = ([pads.get(axis, (0, 0))[k] for axis in range(x.rank)] for k in (0, 1))
    if mode == "constant":
        out = t.pad(g, [-p for p in before], [-p for p in after])
        t.shapes[out.name] = x.shape or ()
        return [out]
    for axis in range(x.rank):
        if before[axis] or after[axis]:
            extent = (x.shape or ())[axis]
            if not isinstance(extent, int):
                raise call.refuse(f"mode {mode} needs known extents")
            source = np.arange(extent)[max(0, -before[axis]) : extent - max(0, -after[axis])]  # what is cut goes first
            source = np.pad(source, (max(0, before[axis]), max(0, after[axis])), mode=mode)
            g = along(t, g, axis, np.eye(extent)[source])
    return [g]


@backward("Tile", kind="move", flow=(0,))
def tile(call: NodeCall, g: Value) -> list[Value | None]:
    """The sum of dy over copies."""
    t, x = call.t, call.x
    repeats = t.unsqueeze(call.need(1), [1])
    dims = t.reshape(t.Concat(repeats, t.unsqueeze(t.shape_of(x), [1]), axis=1), [-1])
    apart = t.emit("Reshape", g, dims, shape=(None,) * (2 * x.rank))
    return [t.reshape_like(t.sum(apart, list(range(0, 2 * x.rank, 2)), keepdims=False), x)]


@backward("Trilu", kind="move", flow=(0,))
def trilu(call: NodeCall, g: Value) -> list[Value | None]:
    """The same triangle of dy."""
    more = [call.need(1)] if call.has(1) else []
    return [call.t.Trilu(g, *more, upper=call.attribute("upper", 1))]


@backward("ReverseSequence", kind="move", flow=(0,))
def reverse_sequence(call: NodeCall, g: Value) -> list[Value | None]:
    """Reversing again."""
    axes = {k: call.attribute(k, d) for k, d in (("batch_axis", 1), ("time_axis", 0))}
    return [call.t.ReverseSequence(g, call.need(1), **axes)]
