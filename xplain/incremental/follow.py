"""Walk an ONNX graph forwards from its input and say, operator by operator, how a change of a window goes on.

An operator that cannot be followed ends the walk there: what it makes is computed by the runtime, as is everything that
depends on it. Its reason is kept, so that a person can see why a model gains little.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from xplain.core.edits import Array
from xplain.graph.nodes import Model, Node, attribute, numbers
from xplain.graph.resampled import scales_of
from xplain.graph.stated import cuts_of, pads_of, reduced_axes, stated
from xplain.incremental.products import Product
from xplain.incremental.steps import Concat, Conv, Crop, Pair, Part, Plane, Pool, Resize, Scale, Single
from xplain.incremental.walk import Followed, Mean, Rule, Stop, Walk
from xplain.incremental.windows import kernel_of, resize_indices
from xplain.native.delta import Activation, Kernel

__all__ = ["follow"]


def follow(
    model: Model, source: str, item: tuple[int, ...], outside: Mapping[str, Array] | None = None
) -> Followed | None:
    """Follow a window of the input ``source``, items of shape ``item``, through the graph.

    Returns:
        None where the input is not a picture that the first operators read as one.
    """
    walk = Walk(model, source, item, outside or {})
    if not walk.enter():
        return None
    for node in model.graph.node:
        walk.visit(node, _RULES)
    return walk.found


# ---- rules ------------------------------------------------------------------------------------------------------


def _conv(walk: Walk, node: Node) -> None:
    source, before = walk.source(node)
    weight = walk.constant(node, 1)
    walk.constant(node, 2)
    out, plane = walk.result(node)
    if weight is None or weight.ndim != 4 or weight.dtype != np.float32:
        raise Stop("its weights are not float32 [O, I, kh, kw]")
    kernel = kernel_of(node, before.extent, weight.shape[2:])
    groups = int(attribute(node, "group", 1))
    _fits(kernel)
    walk.add(Conv(out, source, weight, groups, kernel, plane, before.channels))


def _fits(kernel: Kernel) -> None:
    if max(kernel.size) > 32:
        raise Stop("its kernel is larger than 32")


def _pool(walk: Walk, node: Node) -> None:
    source, before = walk.source(node)
    if len([name for name in node.output if name]) > 1:
        raise Stop("it gives indices")
    out, plane = walk.result(node)
    kernel = kernel_of(node, before.extent, numbers(node, "kernel_shape") or ())
    _fits(kernel)
    kind = "max"
    if node.op_type == "AveragePool":
        kind = "mean_all" if attribute(node, "count_include_pad", 0) else "mean_inside"
        if kind == "mean_all" and attribute(node, "ceil_mode", 0):
            raise Stop("runtimes disagree on means over padding with ceil_mode")
    walk.add(Pool(out, source, kind, kernel, plane, before, node.input[0]))


def _mean(walk: Walk, node: Node) -> None:
    source, before = walk.source(node)
    if node.op_type == "ReduceMean" and reduced_axes(node, 4, walk.content) != {2, 3}:
        raise Stop("it averages over other axes than the plane's")
    keep = node.op_type == "GlobalAveragePool" or bool(attribute(node, "keepdims", 1))
    shape = (before.channels, 1, 1) if keep else (before.channels,)
    factor = 1.0 / (before.height * before.width)
    walk.found.means[node.output[0]] = Mean(node.output[0], source, factor, before.channels, shape)


def _norm(walk: Walk, node: Node) -> None:
    source, plane = walk.source(node)
    if attribute(node, "training_mode", 0):
        raise Stop("it is in training mode")
    factor, shift, mean, variance = (_vector(walk.constant(node, k)) for k in range(1, 5))
    factor = factor / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    shift = shift - mean * factor
    out, _ = walk.result(node)
    walk.add(Scale(out, source, factor, plane, node.input[0], shift))


def _vector(value: Array | None) -> Array:
    if value is None:
        raise Stop("a parameter is missing")
    return value.astype(np.float64).ravel()


def _single(walk: Walk, node: Node) -> None:
    source, plane = walk.source(node)
    out, _ = walk.result(node)
    op, slope = node.op_type, None
    if op == "Relu":
        act = Activation("clip", 0.0, float("inf"))
    elif op == "Clip":
        low, high = (_number(stated(node, k, name, walk.content)) for k, name in ((1, "min"), (2, "max")))
        act = Activation("clip", -np.inf if low is None else low, np.inf if high is None else high)
    elif op == "LeakyRelu":
        act = Activation("leaky", float(attribute(node, "alpha", 0.01)))
        slope = np.full(plane.channels, act.low, np.float32)
    elif op == "PRelu":
        slope = _per_channel(_needed(walk.constant(node, 1)), plane)
        if slope is None:
            raise Stop("its slopes differ over the plane")
        act, slope = Activation("leaky", float("nan")), slope.astype(np.float32)
    elif op == "HardSigmoid":
        act = Activation("hard_sigmoid", float(attribute(node, "alpha", 0.2)), float(attribute(node, "beta", 0.5)))
    elif op == "Elu":
        act = Activation("elu", float(attribute(node, "alpha", 1.0)))
    elif op == "Selu":
        alpha = float(attribute(node, "alpha", 1.67326319217681884765625))
        act = Activation("selu", alpha, float(attribute(node, "gamma", 1.05070102214813232421875)))
    elif op == "Gelu" and attribute(node, "approximate", "none") != "none":
        raise Stop("it is approximate")
    else:
        act = Activation(_PLAIN[op])
    walk.add(Single(out, source, act, plane, node.input[0], slope=slope))


_PLAIN = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "HardSwish": "hard_swish",
    "Softplus": "softplus",
    "Gelu": "gelu",
    "Exp": "exp",
    "Erf": "erf",
    "Abs": "abs",
}


def _number(value: Array | float | None) -> float | None:
    return None if value is None else float(np.asarray(value).ravel()[0])


def _needed(value: Array | None) -> Array:
    if value is None:
        raise Stop("an operand is missing")
    return value


def _per_channel(value: Array, plane: Plane) -> Array | None:
    """``[C]`` of a constant that broadcasts against ``[N, C, H, W]`` and is the same all over the plane."""
    full = value.reshape((1,) * (4 - value.ndim) + value.shape) if value.ndim <= 4 else value
    if full.ndim != 4 or full.shape[0] != 1 or full.shape[2:] != (1, 1):
        return None
    return np.broadcast_to(full.ravel(), (plane.channels,)) if full.shape[1] in (1, plane.channels) else None


def _arithmetic(walk: Walk, node: Node) -> None:
    """Add, Sub, Mul, Div and Sum of two tensors, or of one and a constant."""
    if len(node.input) != 2:
        raise Stop("it has more than two operands")
    followed = [k for k in range(2) if walk.found.root(node.input[k])]
    if not followed:
        raise Stop("its operands are planes no longer")
    source, plane = walk.source(node, followed[0])
    out, result = walk.result(node)
    if result != plane:
        raise Stop("it enlarges its operand")
    if len(followed) == 2:
        other, second = walk.source(node, 1)
        functions = {"Add": "add", "Sum": "add", "Sub": "subtract", "Mul": "multiply"}
        if second != plane or node.op_type not in functions:
            raise Stop("its operands differ in extent, or it divides by the picture")
        walk.add(Pair(out, functions[node.op_type], source, other, plane, (node.input[0], node.input[1])))
        return
    value = _needed(walk.constant(node, 1 - followed[0]))
    mirrored = followed[0] == 1
    if node.op_type in ("Add", "Sum") or (node.op_type == "Sub" and not mirrored):
        walk.alias(out, source)
        return
    factor = _per_channel(value.astype(np.float64), plane)
    if node.op_type == "Sub":
        factor = np.full(plane.channels, -1.0)
    elif node.op_type == "Div":
        if mirrored or factor is None or not np.all(factor):
            raise Stop("it divides by the picture, by zero, or by a plane")
        factor = 1.0 / factor
    if factor is not None:
        shift = np.zeros(plane.channels) if node.op_type != "Sub" else None
        walk.add(Scale(out, source, np.ascontiguousarray(factor), plane, node.input[followed[0]], shift))
        return
    full = np.broadcast_to(value.astype(np.float32), (1, plane.channels, plane.height, plane.width))[0]
    values = (node.input[followed[0]], "")
    walk.add(Pair(out, "multiply", source, None, plane, values, np.ascontiguousarray(full)))


def _same(walk: Walk, node: Node) -> None:
    if node.op_type == "Dropout":
        training = walk.constant(node, 2)
        if (training is not None and bool(training)) or len([name for name in node.output if name]) > 1:
            raise Stop("it is random, or its mask is used")
    if node.input[0] in walk.found.flat and walk.vector(node.output[0]):
        walk.found.flat[node.output[0]] = walk.found.flat[node.input[0]]
        return
    source, _ = walk.source(node)
    walk.result(node)
    walk.alias(node.output[0], source)


def _flatten(walk: Walk, node: Node) -> None:
    source, plane = walk.source(node)
    if walk.vector(node.output[0]) != plane.size or plane.extent == (1, 1):
        raise Stop("it is not local")
    walk.found.flat[node.output[0]] = source


def _product(walk: Walk, node: Node) -> None:
    """Gemm and MatMul of a whole plane: a window changes a part of it, so only that part is multiplied."""
    source = walk.found.flat.get(node.input[0])
    weight = walk.constant(node, 1)
    outputs = walk.vector(node.output[0])
    if source is None or weight is None or weight.ndim != 2 or weight.dtype != np.float32 or outputs is None:
        raise Stop("it is not local")
    if any(
        attribute(node, name, default) != default for name, default in (("transA", 0), ("alpha", 1.0), ("beta", 1.0))
    ):
        raise Stop("it scales or transposes")
    bias = walk.constant(node, 2)
    plane = walk.found.planes[source]
    if plane.channels * outputs < _WORTH_A_CALL or plane.height * plane.width > _MOST_CALLS:
        raise Stop("it is too small to be taken apart")
    whole = (weight if attribute(node, "transB", 0) else weight.T).reshape(outputs, *plane.shape)
    out, kernel = node.output[0], Kernel(plane.extent)
    conv = Conv(out, source, whole, 1, kernel, Plane(outputs, 1, 1), plane.channels)
    shift = np.broadcast_to(np.zeros(1, np.float32) if bias is None else bias.ravel(), (outputs,))
    walk.found.products[out] = Product(conv, shift)


_WORTH_A_CALL = 1 << 18
"""Weights of one pixel from which on a call of their own costs little beside them."""
_MOST_CALLS = 1 << 10


def _concat(walk: Walk, node: Node) -> None:
    if attribute(node, "axis", 1) % 4 != 1:
        raise Stop("it joins along another axis than the channels")
    parts = [walk.source(node, k) for k in range(len(node.input))]
    out, plane = walk.result(node)
    walk.add(Concat(out, tuple(name for name, _ in parts), tuple(p.channels for _, p in parts), plane))


def _split(walk: Walk, node: Node) -> None:
    source, _ = walk.source(node)
    if attribute(node, "axis", 0) % 4 != 1:
        raise Stop("it splits along another axis than the channels")
    first = 0
    parts = [walk.result(node, k) for k in range(len(node.output))]
    for name, plane in parts:
        walk.add(Part(name, source, first, plane))
        first += plane.channels


def _slice(walk: Walk, node: Node) -> None:
    source, before = walk.source(node)
    out, plane = walk.result(node)
    cuts = cuts_of(node, (1, *before.shape), walk.content)
    if cuts is None or any(taken.step != 1 for taken in cuts.values()):
        raise Stop("it steps over elements")
    batch, first, top, left = (cuts.get(axis, range(1)).start for axis in range(4))
    if batch:
        raise Stop("it cuts the batch")
    if plane.extent == before.extent:
        walk.add(Part(out, source, first, plane))
    elif plane.channels == before.channels:
        walk.add(Crop(out, source, (-top, -left), plane))
    else:
        raise Stop("it cuts channels and plane at once")


def _pad(walk: Walk, node: Node) -> None:
    source, before = walk.source(node)
    out, plane = walk.result(node)
    if attribute(node, "mode", "constant") != "constant":
        raise Stop("it pads with the picture's own values")
    pads = pads_of(node, 4, walk.content)
    if pads is None:
        raise Stop("its amounts are missing")
    batch, channels, top, left = (pads.get(axis, (0, 0))[0] for axis in range(4))
    if batch or channels or plane.channels != before.channels:
        raise Stop("it pads batch or channels")
    walk.add(Crop(out, source, (top, left), plane))


def _resize(walk: Walk, node: Node) -> None:
    source, before = walk.source(node)
    out, plane = walk.result(node)
    if plane.channels != before.channels or attribute(node, "axes") is not None:
        raise Stop("it resizes channels, or names its axes")
    stated, name = scales_of(node)
    scales = np.asarray(stated) if stated is not None else walk.content(name) if name else None
    if name and scales is None:
        raise Stop("its scales are known only at run time")
    picked = resize_indices(node, before.extent, plane.extent, scales, walk.model)
    if picked is None:
        raise Stop("it interpolates")
    walk.add(Resize(out, source, *picked, plane))


_RULES: dict[str, Rule] = {
    "Conv": _conv,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": _mean,
    "ReduceMean": _mean,
    "BatchNormalization": _norm,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Resize": _resize,
    "Flatten": _flatten,
    "Reshape": _flatten,
    "Gemm": _product,
    "MatMul": _product,
    "Upsample": _resize,
    **dict.fromkeys(("Relu", "Clip", "LeakyRelu", "PRelu", "HardSigmoid", "Elu", "Selu", *_PLAIN), _single),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Sum"), _arithmetic),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), _same),
}
