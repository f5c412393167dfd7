"""What each operator does to what positions see; one function per family.

Operators that work element by element, and those that only pack elements anew, are known by their facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from onnx import ModelProto, NodeProto

from xplain.core.edits import Array
from xplain.core.lenses.fields import Group, Product
from xplain.graph.intake.bounds import Known
from xplain.graph.naming import reads
from xplain.graph.nodes import attribute, attributes_of
from xplain.graph.operators import channels_last, facts_of
from xplain.graph.outline.sees import (
    UNIONS,
    Seen,
    any_of,
    cut_out,
    grouped,
    joined,
    mixed,
    one_group,
    pieces_of,
    repacked,
    slid,
    union,
)
from xplain.graph.resampled import resamplings, scales_of
from xplain.graph.stated import cuts_of, pads_of, reduced_axes
from xplain.graph.windows import windows_of

__all__ = ["Step", "seen_after"]


@dataclass(frozen=True, eq=False)
class Step:
    """A node, and what is known where it stands.

    Args:
        node: The node.
        model: The graph that it is of.
        known: Shapes and small constants.
        seen: Tensors that descend from the item.
    """

    node: NodeProto
    model: ModelProto
    known: Known
    seen: Mapping[str, Seen]

    @property
    def first(self) -> Seen:
        """The first input that descends from the item."""
        return next(self.seen[name] for name in self.node.input if name in self.seen)

    @property
    def out(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return tuple(self.known.shapes[self.node.output[0]])

    @property
    def weights(self) -> str:
        """The input that holds weights; operators on integers have scales in front of it."""
        return str(self.node.input[1 if facts_of(self.node).scale is None else 3])

    def everything(self, shape: Sequence[int]) -> Seen:
        """A bound: every element sees whatever any element of any input sees."""
        names = [name for name in reads(self.node) if name in self.seen]
        products = [p for name in names for g in self.seen[name].groups for p in g.products]
        whole, _ = union(tuple(any_of(along) for along in product) for product in products)
        why = f"{self.node.op_type} is not followed position by position"
        return Seen(tuple(shape), None, (None,) * len(whole[0]), (Group(0, 1, whole),), why)


Rule: TypeAlias = "Callable[[Step, Seen], list[Seen | None]]"


def seen_after(step: Step) -> list[Seen | None]:
    """What the outputs of a node see; None, or none at all, where that is not known."""
    node = step.node
    facts = facts_of(node)
    op = facts.like or node.op_type
    rule = _RULES.get(op)
    if rule is not None:
        return rule(step, step.first)
    plain = facts_of(NodeProto(op_type=op))
    if facts.elementwise or plain.elementwise:
        some = [step.seen[name] for name in dict.fromkeys(node.input) if name in step.seen]
        return [joined(some, step.out)] * len(node.output)
    if op.startswith(("Reduce", "Global")):
        return [_reduced(step, step.first)]
    if facts.repacks or facts.rounds or facts.scale is not None:
        return [repacked(step.first, step.out)]
    return []


def _conv(step: Step, part: Seen) -> list[Seen | None]:
    out = step.out
    weight = step.known.shapes[step.weights]
    return [_through(step, part, out, weight[2:], int(attribute(step.node, "group", 1)))]


def _pool(step: Step, part: Seen) -> list[Seen | None]:
    out = step.out
    return [_through(step, part, out, attribute(step.node, "kernel_shape"), None)] * len(step.node.output)


def _through(step: Step, part: Seen, out: Sequence[int], kernel: Sequence[int], groups: int | None) -> Seen | None:
    """Windows of a convolution (of so many groups) or a pool (None: each channel by itself)."""
    last = channels_last(step.node)
    channel = len(out) - 1 if last else 1
    first = 1 if last else 2
    extents = part.shape[first : first + len(kernel)]
    lies = windows_of(attributes_of(step.node), kernel, extents)
    if lies is None or part.channel not in (None, channel):
        return None
    if any(axis is not None and not first <= axis < first + len(kernel) for axis in part.places):
        return None

    def along(k: int, seen: Array) -> Array:
        axis = part.places[k]
        if axis is None:
            return seen
        i = axis - first
        seen = np.broadcast_to(seen, (part.shape[axis], seen.shape[1]))
        return slid(seen, lies.kernel[i], lies.strides[i], lies.dilations[i], lies.before[i], out[axis])

    found = replace(part.by(along, out), channel=channel)
    if groups is None:
        return found
    inside, outside = part.extent // groups, out[channel] // groups
    if groups == 1 or len(part.groups) == 1:
        return replace(found, groups=one_group(found, out[channel]))
    pieces = []
    for q in range(groups):
        over = [g for g in found.groups if g.first < (q + 1) * inside and g.last > q * inside]
        pieces.append((q * outside, (q + 1) * outside, [p for g in over for p in g.products]))
    made, exact = grouped(pieces)
    return replace(found, groups=made, why=found.why or ("" if exact else UNIONS))


def _deconv(step: Step, part: Seen) -> list[Seen | None]:
    """A transposed convolution: position o sees those i with ``o = i * stride - before + k * dilation``."""
    out, weight = step.out, step.known.shapes[step.node.input[1]]
    given = attributes_of(step.node)
    n = len(weight) - 2
    strides, dilations = given.get("strides") or [1] * n, given.get("dilations") or [1] * n
    if given.get("group", 1) != 1 and len(part.groups) > 1:
        return []
    auto = given.get("auto_pad") or "NOTSET"
    reach = [dilations[i] * (weight[2 + i] - 1) + 1 for i in range(n)]
    if auto == "NOTSET" and not given.get("output_shape"):
        before = list(given.get("pads") or [0] * 2 * n)[:n]
    elif auto == "VALID":
        before = [0] * n
    else:
        whole = [strides[i] * (part.shape[2 + i] - 1) + reach[i] - out[2 + i] for i in range(n)]
        before = [v // 2 if auto == "SAME_UPPER" else v - v // 2 for v in whole]

    def along(k: int, seen: Array) -> Array:
        axis = part.places[k]
        if axis is None:
            return seen
        i = axis - 2
        found = np.zeros((out[axis], seen.shape[1]), bool)
        seen = np.broadcast_to(seen, (part.shape[axis], seen.shape[1]))
        for tap in range(weight[axis]):
            at = np.arange(len(seen)) * strides[i] - before[i] + tap * dilations[i]
            inside = (at >= 0) & (at < out[axis])
            np.logical_or.at(found, at[inside], seen[inside])
        return found

    made = replace(part.by(along, out), channel=1)
    return [replace(made, groups=one_group(made, out[1]))]


def _reduced(step: Step, part: Seen) -> Seen | None:
    """A sum, mean or maximum over some axes, and pools over all positions."""
    out, rank = step.out, len(part.shape)
    if step.node.op_type.startswith("Reduce"):
        axes = reduced_axes(step.node, rank, step.known.content.get)
        if axes is None:
            return None
        some = axes
    else:
        some = set(range(1, rank)) - {rank - 1 if channels_last(step.node) else 1}
    kept = [1 if axis in some else extent for axis, extent in enumerate(part.shape)]
    found = mixed(part, some, kept)
    if len(out) == rank:
        return found
    left = [axis for axis in range(rank) if axis not in some]
    places = tuple(None if axis is None or axis in some else left.index(axis) for axis in found.places)
    channel = None if found.channel is None or found.channel in some else left.index(found.channel)
    return replace(found, shape=tuple(out), places=places, channel=channel)


def _concat(step: Step, part: Seen) -> list[Seen | None]:
    out = step.out
    axis = int(attribute(step.node, "axis", 1)) % len(out)
    shapes = {name: step.known.shapes.get(name, ()) for name in step.node.input}
    parts = [(step.seen.get(name), shapes[name]) for name in step.node.input if len(shapes[name]) == len(out)]
    some = [one for one, _ in parts if one is not None]
    if any(one.channel != part.channel or one.places != part.places for one in some):
        return []
    why = next((one.why for one in some if one.why), "")
    if axis == part.channel:
        pieces: list[tuple[int, int, list[Product]]] = []
        at = 0
        for one, shape in parts:
            if one is not None:
                pieces += [(at + g.first, at + g.last, list(g.products)) for g in one.groups]
            else:  # a constant sees nothing
                none = tuple(np.zeros_like(along[:1]) for along in part.groups[0].products[0])
                pieces.append((at, at + shape[axis], [none]))
            at += shape[axis]
        groups, exact = grouped(pieces)
        return [replace(part, shape=tuple(out), groups=groups, why=why or ("" if exact else UNIONS))]
    if axis not in part.places or len(some) < len(parts):
        return []
    k = part.places.index(axis)
    starts = np.cumsum([0, *(shape[axis] for _, shape in parts)])
    spread = []
    for n, one in enumerate(some):

        def along(m: int, seen: Array, n: int = n, one: Seen = one) -> Array:
            if m != k:
                return seen
            found = np.zeros((out[axis], seen.shape[1]), bool)
            found[starts[n] : starts[n + 1]] = seen
            return found

        spread.append(one.by(along, out).groups)
    groups, exact = grouped(pieces_of(spread))
    return [replace(part, shape=tuple(out), groups=groups, why=why or ("" if exact else UNIONS))]


def _split(step: Step, part: Seen) -> list[Seen | None]:
    axis, at = int(attribute(step.node, "axis", 0)) % len(part.shape), 0
    found: list[Seen | None] = []
    for name in step.node.output:
        shape = step.known.shapes[name]
        found.append(cut_out(part, axis, np.arange(at, at + shape[axis]), shape))
        at += shape[axis]
    return found


def _slice(step: Step, part: Seen) -> list[Seen | None]:
    cuts = cuts_of(step.node, part.shape, step.known.content.get)
    if cuts is None:
        return []
    for axis, taken in cuts.items():
        shape = [len(taken) if k == axis else extent for k, extent in enumerate(part.shape)]
        part = cut_out(part, axis, np.array(taken, np.int64), shape)
    return [part]


def _pad(step: Step, part: Seen) -> list[Seen | None]:
    out, pads = step.out, pads_of(step.node, len(part.shape), step.known.content.get)
    mode = attribute(step.node, "mode", "constant")
    if pads is None:
        return []
    if part.channel is not None and out[part.channel] != part.shape[part.channel]:
        return []

    def along(k: int, seen: Array) -> Array:
        axis = part.places[k]
        if axis is None:
            return seen
        at = np.arange(out[axis]) - pads.get(axis, (0, 0))[0]
        seen = np.broadcast_to(seen, (part.shape[axis], seen.shape[1]))
        inside = (at >= 0) & (at < len(seen))
        if mode == "edge":
            return np.asarray(seen[np.clip(at, 0, len(seen) - 1)])
        if mode == "reflect":
            period = max(1, 2 * (len(seen) - 1))
            folded = np.abs((at + period * (1 + np.abs(at).max() // period)) % period)
            return np.asarray(seen[np.minimum(folded, period - folded)])
        found = np.zeros((len(at), seen.shape[1]), bool)
        found[inside] = seen[at[inside]]
        return found

    return [part.by(along, out)] if mode in ("constant", "edge", "reflect") else []


def _resize(step: Step, part: Seen) -> list[Seen | None]:
    out = step.out
    given, name = scales_of(step.node)
    scales = step.known.content.get(name) if given is None else np.asarray(given)
    if len(out) != len(part.shape) or (part.channel is not None and out[part.channel] != part.shape[part.channel]):
        return []
    sizes = step.known.content.get(step.node.input[3]) if len(step.node.input) > 3 else None
    stated = None if scales is None else scales.ravel().tolist(), None if sizes is None else sizes.ravel().tolist()
    found = resamplings(step.node.op_type, attributes_of(step.node), stated, (part.shape, out), step.model)
    if found is None:
        return []

    def along(k: int, seen: Array) -> Array:
        axis = part.places[k]
        if axis is None or axis not in found:
            return seen
        seen = np.broadcast_to(seen, (part.shape[axis], seen.shape[1]))
        return _through_matrix(found[axis] != 0, seen)

    return [part.by(along, out)]


def _through_matrix(which: Array, seen: Array) -> Array:
    """What positions see that are made of others, ``which`` bool ``[new, old]``."""
    reach: Array = which.astype(np.float32) @ seen.astype(np.float32)
    return np.asarray(reach.astype(bool))


def _transpose(step: Step, part: Seen) -> list[Seen | None]:
    order = [int(n) for n in attribute(step.node, "perm") or range(len(part.shape))[::-1]]
    channel = None if part.channel is None else order.index(part.channel)
    places = tuple(None if axis is None else order.index(axis) for axis in part.places)
    return [replace(part, shape=tuple(part.shape[k] for k in order), channel=channel, places=places)]


def _dense(step: Step, part: Seen) -> list[Seen | None]:
    """A product with a matrix of weights mixes the last axis; of two that both see the item, everything."""
    out = step.out
    if step.node.input[0] not in step.seen or step.weights in step.seen:
        return []
    rank = len(part.shape)
    found = mixed(part, [rank - 1], out)
    if part.places.count(rank - 1):
        found = replace(found, places=tuple(None if axis == rank - 1 else axis for axis in found.places))
    if rank == 2:  # all that there is of the item was mixed: the bound is what is seen
        everything = step.everything(out)
        return [replace(everything, channel=1, groups=one_group(everything, out[1]), why="")]
    return [found if part.channel in (None, rank - 1) else None]


def _normed(step: Step, part: Seen) -> list[Seen | None]:
    """A norm, or shares, over axes that the node states: those are mixed."""
    rank, op = len(part.shape), step.node.op_type
    if op == "BatchNormalization":
        return [part]
    if op == "InstanceNormalization":
        return [mixed(part, range(2, rank), part.shape)]
    if op == "LRN":
        return [mixed(part, [1], part.shape)]
    axis = int(attribute(step.node, "axis", -1)) % rank
    return [mixed(part, range(axis, rank) if op == "LayerNormalization" else [axis], part.shape)]


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvInteger"), _conv),
    **dict.fromkeys(("MaxPool", "AveragePool", "LpPool"), _pool),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    **dict.fromkeys(("MatMul", "Gemm"), _dense),
    **dict.fromkeys(
        ("BatchNormalization", "InstanceNormalization", "LRN", "LayerNormalization", "Softmax", "LogSoftmax"), _normed
    ),
    "ConvTranspose": _deconv,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Transpose": _transpose,
}
