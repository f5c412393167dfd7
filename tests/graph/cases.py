"""Every operator that has a backward rule, in the forms that differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from finite import Case

_RNG = np.random.default_rng(0)


def r(*shape: int, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    """Real numbers, stored as float64 and used in the precision of the run."""
    return _RNG.uniform(low, high, shape)


def i(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def f32(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def convolutions() -> Iterator[Case]:
    forms = [
        ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1, (7, 6)),
        ((3, 3), (2, 2), (1, 1), (1, 1, 1, 1), 1, (7, 6)),
        ((3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 2, (8, 6)),
        ((1, 1), (2, 2), (1, 1), (0, 0, 0, 0), 1, (7, 6)),
        ((1, 1), (3, 3), (1, 1), (0, 0, 0, 0), 1, (9, 9)),
        ((5, 3), (2, 2), (1, 1), (2, 1, 2, 1), 4, (7, 8)),
        ((3, 3), (1, 1), (2, 2), (2, 2, 2, 2), 2, (7, 6)),
        ((3, 3), (2, 2), (2, 2), (2, 2, 2, 2), 1, (7, 8)),
        ((7, 7), (4, 4), (1, 1), (3, 3, 3, 3), 1, (9, 9)),
        ((4, 4), (4, 4), (1, 1), (0, 0, 0, 0), 1, (9, 8)),
        ((1, 1), (1, 1), (1, 1), (1, 1, 1, 1), 1, (4, 4)),
        ((3, 3), (3, 3), (1, 1), (0, 1, 1, 0), 1, (8, 8)),
        ((3, 3), (2, 1), (1, 1), (1, 1, 1, 1), 1, (7, 6)),
        ((3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 4, (7, 6)),
        ((3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 4, (8, 6)),
        ((3, 3), (2, 1), (2, 2), (2, 2, 2, 2), 4, (9, 7)),
        ((2, 3), (3, 3), (1, 1), (0, 0, 0, 0), 4, (9, 8)),
        ((3, 3), (2, 2), (1, 1), (3, 3, 3, 3), 4, (7, 6)),
    ]
    for kernel, strides, dilations, pads, group, (h, w) in forms:
        attributes = dict(kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads, group=group)
        label = f"k{kernel[0]}x{kernel[1]} s{strides} d{dilations[0]} p{pads} g{group}"
        yield Case("Conv", [r(2, 4, h, w), r(4, 4 // group, *kernel), r(4)], attributes=attributes, label=label)
        if group == 1:
            yield Case(
                "Conv",
                [r(2, 4, h, w), r(3, 4, *kernel), r(3)],
                (0, 1, 2),
                attributes=attributes,
                label=f"weights {label}",
            )
    yield Case("Conv", [r(1, 4, 9), r(6, 2, 3)], attributes=dict(strides=[2], pads=[1, 1], group=2), label="1d")
    yield Case("Conv", [r(1, 2, 5, 4, 4), r(3, 2, 3, 3, 3)], attributes=dict(strides=[2] * 3, pads=[1] * 6), label="3d")
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        for stride in (1, 2):
            attributes = dict(strides=[stride] * 2, auto_pad=mode)
            yield Case("Conv", [r(1, 2, 7, 8), r(3, 2, 4, 3)], attributes=attributes, label=f"{mode} s{stride}")
    transposed = [
        ([4, 3, 3, 3], dict(strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1])),
        ([4, 2, 3, 3], dict(strides=[1, 2], dilations=[2, 1], group=2)),
        ([4, 2, 3, 3], dict(strides=[2, 2], auto_pad="SAME_UPPER")),
        ([4, 2, 2, 2], dict(strides=[2, 2])),
    ]
    for k, (weights, attributes) in enumerate(transposed):
        yield Case("ConvTranspose", [r(1, 4, 4, 5), r(*weights)], attributes=attributes, label=str(k))


def dense() -> Iterator[Case]:
    for ta in (0, 1):
        for tb in (0, 1):
            a, b = r(*((5, 3) if ta else (3, 5))), r(*((4, 5) if tb else (5, 4)))
            attributes = dict(transA=ta, transB=tb, alpha=0.7, beta=1.3)
            yield Case("Gemm", [a, b, r(4)], (0, 1, 2), attributes, label=f"{ta}{tb}")
    yield Case("Gemm", [r(3, 5), r(4, 5), r(4)], attributes=dict(transB=1), label="constant weight")
    shapes = [
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((2, 1, 3, 4), (3, 4, 5)),
        ((3, 4), (2, 4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((2, 3, 4), (4,)),
        ((4,), (4,)),
    ]
    for a, b in shapes:
        yield Case("MatMul", [r(*a), r(*b)], (0, 1), label=f"{a}x{b}")
    yield Case("MatMul", [r(2, 3, 4), r(2, 4, 5)], (0, 1), free=False, label="batched")
    for equation, a, b in (("bij,bkj->bik", (2, 3, 4), (2, 5, 4)), ("bchw,bkc->bkhw", (2, 3, 2, 2), (2, 4, 3))):
        yield Case("Einsum", [r(*a), r(*b)], (0, 1), dict(equation=equation), label=equation)
    yield Case("Einsum", [r(2, 3)], (0,), dict(equation="ij->ji"), label="transpose")


def elementwise() -> Iterator[Case]:
    for op in ("Add", "Sub", "Mul", "Div"):
        pairs = [
            ((2, 3), (2, 3)),
            ((2, 3, 4), (4,)),
            ((2, 1, 4), (3, 1)),
            ((3,), (2, 3)),
            ((), (2, 3)),
            ((1, 1, 4), (2, 3, 4)),
        ]
        for a, b in pairs:
            yield Case(op, [r(*a, low=0.5), r(*b, low=0.5)], (0, 1), label=f"{a},{b}")
    yield Case("Mul", [r(2, 3, 4), r(2, 3, 4)], (0, 1), free=True, label="free batch")
    yield Case("Add", [r(1, 3, 4), r(2, 3, 4)], (0, 1), free=True, label="broadcast at run time")
    plain = (
        "Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Erf Gelu Mish Softplus Softsign Exp Abs Neg "
        "Sin Cos Identity ThresholdedRelu Shrink Atan Sinh Cosh Asinh Tan"
    )
    for op in plain.split():
        wide = 1.2 if op in ("Tan", "Sinh", "Cosh") else 4.0
        noisy = dict(step=1e-3) if op in ("Erf", "Gelu") else {}  # the reference computes erf in float32
        yield Case(op, [r(3, 7, low=-wide, high=wide)], **noisy)
    for op in ("Elu", "Celu", "LeakyRelu", "ThresholdedRelu"):
        yield Case(op, [r(3, 7)], attributes=dict(alpha=0.6), label="alpha")
    yield Case("Selu", [r(3, 7)], attributes=dict(alpha=1.2, gamma=0.8), label="alpha")
    yield Case("Gelu", [r(3, 5)], attributes=dict(approximate="tanh"), label="tanh")
    yield Case("Swish", [r(3, 5)], opset=24, attributes=dict(alpha=1.3))
    for op in ("Log", "Sqrt", "Reciprocal"):
        yield Case(op, [r(3, 5, low=0.3)])
    for op in ("Asin", "Acos", "Atanh"):
        yield Case(op, [r(3, 5, low=-0.9, high=0.9)])
    yield Case("Acosh", [r(3, 5, low=1.2, high=3.0)])
    yield Case("PRelu", [r(2, 3, 4), r(3, 1)], (0, 1))
    yield Case("Clip", [r(3, 5), np.array(-0.7), np.array(1.1)])
    yield Case("Clip", [r(3, 5), None, np.array(1.1)], label="max only")
    yield Case("Pow", [r(3, 4, low=0.3), np.array(2.0)], label="square")
    yield Case("Pow", [r(3, 4, low=0.3), np.array(-0.5)], label="-0.5")
    yield Case("Pow", [r(3, 4, low=0.3), r(4)], (0, 1), label="tensor")
    yield Case("Pow", [r(3, 4, low=0.3), np.array(3, dtype=np.int64)], label="integer")
    yield Case("Sum", [r(2, 3), r(3), r(1, 3)], (0, 1, 2))
    yield Case("Mean", [r(2, 3), r(2, 3), r(3)], (0, 1, 2))
    yield Case("Max", [r(2, 3), r(3)], (0, 1))
    yield Case("Min", [r(2, 3), r(3)], (0, 1))
    yield Case("Max", [r(2, 3), r(3), r(2, 1), r()], (0, 1, 2, 3), label="four")
    yield Case("Min", [r(2, 3), r(3), r(2, 3)], (0, 1, 2), label="three")
    yield Case("Where", [np.array([[True], [False]]), r(2, 3), r(3)], (1, 2))
    yield Case("Mod", [r(3, 4), np.array(0.7)], attributes=dict(fmod=1))
    yield Case("Dropout", [r(2, 3)])
    yield Case("Cast", [r(2, 3)], attributes=dict(to=1), label="same")


def pooling() -> Iterator[Case]:
    max_forms: list[Any] = [
        ((2, 2), (2, 2), (0,) * 4, 0, (6, 8)),
        ((2, 2), (2, 2), (0,) * 4, 0, (7, 7)),
        ((3, 3), (2, 2), (1,) * 4, 0, (7, 6)),
        ((3, 3), (2, 2), (0,) * 4, 1, (6, 6)),
        ((3, 3), (2, 2), (0,) * 4, 0, (8, 8)),
        ((3, 3), (1, 1), (1,) * 4, 0, (5, 5)),
        ((3, 2), (2, 2), (0, 0, 1, 1), 0, (7, 6)),
    ]
    for kernel, strides, pads, ceil, (h, w) in max_forms:
        attributes = dict(kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=ceil)
        yield Case(
            "MaxPool", [r(2, 3, h, w)], attributes=attributes, label=f"k{kernel} s{strides[0]} p{pads} c{ceil} {h}x{w}"
        )
    yield Case("MaxPool", [r(1, 2, 9)], attributes=dict(kernel_shape=[3], strides=[2]), label="1d")
    yield Case("MaxPool", [r(1, 2, 4, 5, 6)], attributes=dict(kernel_shape=[2, 3, 2], strides=[2, 2, 1]), label="3d")
    yield Case("MaxPool", [r(1, 2, 7, 7)], attributes=dict(kernel_shape=[2, 2], dilations=[2, 2]), label="dilated")
    average = [*max_forms, ((3, 3), (2, 2), (1,) * 4, 1, (6, 8)), ((7, 5), (1, 1), (0,) * 4, 0, (7, 5))]
    for include in (0, 1):
        for kernel, strides, pads, ceil, (h, w) in average:
            attributes = dict(
                kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=ceil, count_include_pad=include
            )
            label = f"k{kernel} s{strides[0]} p{pads} c{ceil} i{include} {h}x{w}"
            yield Case("AveragePool", [r(2, 3, h, w)], attributes=attributes, label=label)
    yield Case("GlobalAveragePool", [r(2, 3, 4, 5)], free=True)
    folds: list[Any] = [((2, 2), (4, 6), {}), ((3, 2), (5, 5), {"strides": [2, 1], "pads": [1, 0, 0, 1]})]
    folds += [((2, 2), (5, 6), {"dilations": [2, 1]}), ((3,), (7,), {"strides": [2]})]
    for block, image, how in folds:
        n = len(block)
        parts = zip(image, block, how.get("strides", [1] * n), how.get("dilations", [1] * n), range(n), strict=True)
        pads = how.get("pads", [0] * 2 * n)
        count = np.prod([(e + pads[k] + pads[n + k] - d * (b - 1) - 1) // s + 1 for e, b, s, d, k in parts])
        sizes = [np.array(image), np.array(block)]
        yield Case("Col2Im", [r(2, 3 * int(np.prod(block)), int(count)), *sizes], attributes=how, label=str(how))
    yield Case("GlobalMaxPool", [r(2, 3, 4, 5)])
    for p in (1, 2, 3):
        yield Case("LpPool", [r(1, 2, 6, 6)], attributes=dict(kernel_shape=[2, 2], strides=[2, 2], p=p), label=f"p{p}")
        yield Case("GlobalLpPool", [r(1, 2, 4, 4)], attributes=dict(p=p), label=f"p{p}")


def normalisations() -> Iterator[Case]:
    for axis in (-1, 1, 0):
        for op in ("Softmax", "LogSoftmax"):
            yield Case(op, [r(2, 3, 4)], attributes=dict(axis=axis), label=str(axis))
    yield Case("Softmax", [r(2, 3, 4)], attributes=dict(axis=1), opset=11, label="opset 11")
    yield Case("Hardmax", [r(2, 3, 4)])
    for size in (3, 5):
        yield Case("LRN", [r(2, 6, 3, 3)], attributes=dict(size=size, alpha=0.5, beta=0.75, bias=1.2), label=str(size))
    yield Case("BatchNormalization", [r(2, 3, 4, 4), r(3), r(3), r(3), r(3, low=0.5)])
    yield Case("InstanceNormalization", [r(2, 3, 4, 4), r(3), r(3)])
    yield Case("LayerNormalization", [r(2, 3, 8), r(8), r(8)])
    yield Case("LayerNormalization", [r(2, 3, 8), r(3, 8), r(3, 8)], attributes=dict(axis=1), label="axis 1")
    yield Case("GroupNormalization", [r(2, 4, 3, 3), r(4), r(4)], attributes=dict(num_groups=2), opset=21, step=1e-3)
    yield Case("RMSNormalization", [r(2, 3, 8), r(8)], opset=23)
    for p in (1, 2):
        yield Case("LpNormalization", [r(2, 6)], attributes=dict(axis=1, p=p), label=f"p{p}")
    yield Case("MeanVarianceNormalization", [r(2, 3, 4, 4)])
    yield Case("Attention", [r(1, 2, 3, 4), r(1, 2, 3, 4), r(1, 2, 3, 4)], (0, 1, 2), opset=23)


def reductions() -> Iterator[Case]:
    plain = "Mean Sum Max Min L2 SumSquare LogSumExp L1 LogSum Prod"
    for op in (f"Reduce{name}" for name in plain.split()):
        low = 0.3 if op in ("ReduceLogSum", "ReduceProd") else -2.0
        yield Case(op, [r(2, 3, 4, low=low), i(1, 2)], attributes=dict(keepdims=0), label="two axes")
        yield Case(op, [r(2, 3, 4, low=low), i(-1)], attributes=dict(keepdims=1), label="last axis")
        yield Case(op, [r(2, 3, low=low)], attributes=dict(keepdims=0), label="all")
    yield Case("ReduceMean", [r(2, 3, 4)], attributes=dict(axes=[2], keepdims=0), opset=13, label="opset 13")
    for exclusive in (0, 1):
        for reverse in (0, 1):
            attributes = dict(exclusive=exclusive, reverse=reverse)
            yield Case("CumSum", [r(2, 5), np.array(1)], attributes=attributes, label=f"{exclusive}{reverse}")


def movements() -> Iterator[Case]:
    yield Case("Concat", [r(2, 3, 4), r(2, 1, 4)], (0, 1), dict(axis=1))
    yield Case("Concat", [r(2, 3), r(1, 3)], (0, 1), dict(axis=0), free=True, label="free axis")
    yield Case("Split", [r(2, 6), i(2, 3, 1)], attributes=dict(axis=1), outputs=3)
    yield Case("Split", [r(6, 2)], attributes=dict(axis=0, num_outputs=3), outputs=3, label="num_outputs")
    yield Case("Reshape", [r(2, 6), i(3, -1)])
    yield Case("Flatten", [r(2, 3, 4)])
    yield Case("Transpose", [r(2, 3, 4)], attributes=dict(perm=[2, 0, 1]))
    yield Case("Transpose", [r(2, 3, 4)], label="reversed")
    yield Case("Squeeze", [r(2, 1, 3), i(1)])
    yield Case("Unsqueeze", [r(2, 3), i(0, 2)])
    yield Case("Expand", [r(2, 1, 3), i(4, 2, 5, 3)])
    yield Case("Tile", [r(2, 3), i(2, 3)])
    yield Case("Pad", [r(2, 3, 4), i(0, 1, 2, 0, 0, 1)])
    yield Case("Pad", [r(2, 3, 4), i(0, -1, 1, 0, 0, -1)], label="crop")
    yield Case("Pad", [r(2, 3, 4), i(1, 2), None, i(-1)], label="axes")
    yield Case("Pad", [r(2, 3), i(1, 0, 0, 2)], fed=(1,), label="run time")
    for mode in ("reflect", "edge", "wrap"):
        yield Case("Pad", [r(1, 2, 4, 5), i(0, 0, 1, 2, 0, 0, 2, 1)], attributes=dict(mode=mode), label=mode)
    for mode in ("DCR", "CRD"):
        yield Case("DepthToSpace", [r(1, 8, 2, 3)], attributes=dict(blocksize=2, mode=mode), label=mode)
    yield Case("SpaceToDepth", [r(1, 2, 4, 6)], attributes=dict(blocksize=2))
    yield Case("Trilu", [r(3, 4)], attributes=dict(upper=0))
    yield Case("Trilu", [r(2, 3, 4), np.array(1)], label="upper")
    yield Case("ReverseSequence", [r(4, 2), i(3, 4)])


def indexing() -> Iterator[Case]:
    yield Case("Slice", [r(3, 8), i(1), i(6), i(1)], label="unit")
    yield Case("Slice", [r(3, 8), i(1), i(99), i(-1), i(2)], label="step 2")
    yield Case("Slice", [r(3, 8), i(-1), i(-99), i(1), i(-1)], label="reverse")
    yield Case("Slice", [r(3, 8), i(0, -3), i(2, -1)], label="no axes")
    yield Case("Slice", [r(3, 4), i(0), i(2), i(1)], free=True, label="free batch")
    yield Case("Slice", [r(5, 4), i(1), i(4), i(0)], free=True, label="free axis")
    yield Case("Slice", [r(5, 7), i(1, 6), i(4, 0), i(0, 1), i(1, -2)], fed=(1, 2), label="run time")
    yield Case("Gather", [r(2, 5, 3), np.array(0)], attributes=dict(axis=1), label="scalar")
    yield Case("Gather", [r(2, 5, 3), i(4, 0, 2)], attributes=dict(axis=1), label="unique")
    yield Case("Gather", [r(2, 5, 3), i(4, 0, 0, -1)], attributes=dict(axis=1), label="repeats")
    yield Case("Gather", [r(5, 3), np.array([[1, 2], [2, 0]])], label="matrix")
    yield Case("Gather", [r(5, 3), i(1, 1, 3)], fed=(1,), label="run time 0")
    yield Case(
        "Gather", [r(2, 5, 3), np.array([[1, 1], [3, -1]])], attributes=dict(axis=1), fed=(1,), label="run time 1"
    )
    yield Case("Gather", [r(2, 5, 3), np.array(2)], attributes=dict(axis=2), fed=(1,), label="run time scalar")
    yield Case("GatherElements", [r(3, 4), np.array([[0, 1, 0, 2], [2, 2, 1, 0]])], attributes=dict(axis=0))
    yield Case("GatherND", [r(3, 4), np.array([[0, 1], [2, 3], [0, 1]])])
    places = np.array([[0, 1, 2, 1], [2, 0, 1, 0]])
    for reduction in ("none", "add", "mul", "max", "min"):
        attributes = dict(axis=0, reduction=reduction)
        low = 0.3 if reduction == "mul" else -2.0
        inputs = [r(3, 4, low=low), places, r(2, 4, low=low)]
        yield Case("ScatterElements", inputs, (0, 2), attributes, label=reduction)
        rows = np.array([[2], [0]])
        inputs = [r(3, 4, low=low), rows, r(2, 4, low=low)]
        yield Case("ScatterND", inputs, (0, 2), dict(reduction=reduction), label=reduction)
    twice = np.array([[0, 1, 2, 1], [0, 0, 2, 0]])  # two updates of one element
    for reduction in ("mul", "max", "min"):
        attributes, low = dict(axis=0, reduction=reduction), 0.3 if reduction == "mul" else -2.0
        inputs = [r(3, 4, low=low), twice, r(2, 4, low=low)]
        yield Case("ScatterElements", inputs, (0, 2), attributes, label=f"{reduction} twice")
    yield Case("Compress", [r(4, 3), np.array([True, False, True, True])], attributes=dict(axis=0))
    yield Case("TopK", [r(3, 6), i(2)], outputs=2)
    yield Case("TopK", [r(6, 3), i(2)], attributes=dict(axis=0, largest=0), outputs=2, label="smallest")


def resampling() -> Iterator[Case]:
    for mode in ("nearest", "linear", "cubic"):
        for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
            attributes = dict(mode=mode, coordinate_transformation_mode=rule)
            yield Case(
                "Resize", [r(1, 2, 4, 5), None, None, i(1, 2, 8, 10)], attributes=attributes, label=f"{mode} {rule}"
            )
        scales = f32(1, 1, 0.5, 1.6)
        yield Case("Resize", [r(1, 2, 6, 5), None, scales], attributes=dict(mode=mode), label=f"{mode} scales")
    attributes = dict(mode="linear", antialias=1)
    yield Case("Resize", [r(1, 2, 8, 8), None, f32(1, 1, 0.5, 0.5)], attributes=attributes, label="antialias")
    floor = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    yield Case("Resize", [r(1, 2, 3, 4), None, f32(1, 1, 2, 3)], attributes=floor, label="repeat")
    yield Case("Resize", [r(2, 2, 3, 4), None, f32(1, 1, 2, 2)], attributes=floor, free=True, label="free batch")
    noisy = dict(step=1e-4, tolerance=2e-3)  # the reference places the grid in float32
    for outside in ("zeros", "border", "reflection"):
        for aligned in (0, 1):
            for mode in ("linear", "cubic", "nearest"):
                attributes = dict(align_corners=aligned, padding_mode=outside, mode=mode)
                wrt = (0,) if mode == "nearest" else (0, 1)
                inputs = [r(2, 3, 4, 6), between((2, 3, 5), (6, 4), aligned)]
                yield Case("GridSample", inputs, wrt, attributes, label=f"{mode} {outside} {aligned}", **noisy)
            attributes = dict(align_corners=aligned, padding_mode=outside)
            inputs = [r(1, 2, 3, 4, 5), between((1, 2, 3, 2), (5, 4, 3), aligned)]
            yield Case("GridSample", inputs, (0, 1), attributes, label=f"3d {outside} {aligned}", **noisy)
    inputs = [r(2, 1, 4, 4), between((2, 2, 2), (4, 4), 0)]
    yield Case("GridSample", inputs, (0, 1), dict(mode="bilinear"), opset=16, label="opset 16", **noisy)


def between(shape: tuple[int, ...], extents: tuple[int, ...], aligned: int) -> np.ndarray:
    """A grid whose points lie inside cells, some outside the picture: at the edges of cells the slope jumps."""
    axes = []
    for n in extents:
        at = _RNG.integers(-2, n + 1, shape) + _RNG.uniform(0.15, 0.4, shape)
        axes.append(2 * at / (n - 1) - 1 if aligned else (2 * at + 1) / n - 1)
    return np.stack(axes, axis=-1)


def recurrences() -> Iterator[Case]:
    t, n, d, h = 4, 2, 3, 5
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for direction in ("forward", "reverse", "bidirectional"):
            ways = 2 if direction == "bidirectional" else 1
            inputs = [r(t, n, d), r(ways, gates * h, d), r(ways, gates * h, h), r(ways, 2 * gates * h)]
            attributes = dict(hidden_size=h, direction=direction)
            yield Case(op, inputs, attributes=attributes, outputs=3 if op == "LSTM" else 2, label=direction)
    before = dict(hidden_size=h, linear_before_reset=1)
    yield Case(
        "GRU",
        [r(t, n, d), r(1, 3 * h, d), r(1, 3 * h, h), r(1, 6 * h)],
        attributes=before,
        outputs=2,
        label="reset after",
    )
    start = [r(t, n, d), r(1, 4 * h, d), r(1, 4 * h, h), None, None, r(1, n, h), r(1, n, h)]
    yield Case("LSTM", start, (0, 5, 6), attributes=dict(hidden_size=h), outputs=3, label="initial state")


def odd_extents() -> Iterator[Case]:
    """Forms whose extents alone do not tell where positions come from."""
    floor = dict(mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    none = np.zeros(0, np.float32)
    odd = f32(1, 1, 2.3, 2), f32(1, 1, 1.15, 2), f32(1, 1, 1, 1.15)  # extents of whole factors that scales are not
    for opset, region in ((11, none), (13, None), (19, None)):
        for how in (floor, dict(mode="nearest"), dict(mode="linear"), dict(mode="cubic")):
            for k, scales in enumerate(odd):
                inputs, label = [r(1, 2, 3 if k == 0 else 5, 3), region, scales], f"odd {k} {len(how)} {how['mode']}"
                yield Case("Resize", inputs, attributes=how, opset=opset, label=f"{label} opset {opset}")
    yield Case("Resize", [r(1, 2, 4, 6), None, f32(2, 3)], attributes={**floor, "axes": [3, 2]}, label="axes")
    yield Case("Upsample", [r(1, 2, 3, 3), f32(1, 1, 2.3, 2)], opset=9, label="odd")
    yield Case("Upsample", [r(1, 2, 5, 5)], opset=8, attributes=dict(mode="linear", scales=[1.0, 1.0, 1.15, 2.0]))
    for policy in ("not_larger", "not_smaller"):
        for axes, sizes in (([2, 3], i(7, 8)), ([3, 2], i(8, 7)), ([2, 3], i(8, 11))):
            how = dict(mode="linear", axes=axes, keep_aspect_ratio_policy=policy)
            yield Case("Resize", [r(1, 2, 4, 6), None, None, sizes], attributes=how, label=f"{policy} {axes} {sizes}")
    for mode in ("reflect", "edge", "wrap"):
        yield Case("Pad", [r(1, 2, 4, 5), i(0, 0, -1, 2, 0, 0, 2, -1)], attributes=dict(mode=mode), label=f"{mode} cut")


def all_cases() -> list[Case]:
    families = (
        convolutions,
        dense,
        elementwise,
        pooling,
        normalisations,
        reductions,
        movements,
        indexing,
        resampling,
        recurrences,
        odd_extents,
    )
    return [case for family in families for case in family()]
