"""Heads of models as people export them, tiny: what each answer is computed of is known.

A picture ``[N, 3, 16, 16]`` is cut into 4 x 4 patches. Anchor ``a`` lies at patch ``(a // 4, a % 4)`` and reads it
alone; its score of class ``c`` follows from the mean of channel ``c`` there. So a map of one box must be zero outside
one patch, and two boxes have maps that do not meet.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
PICTURE = ["N", 3, 16, 16]
ANCHORS = 16
CENTRES = np.array([[4 * (a % 4) + 2, 4 * (a // 4) + 2] for a in range(ANCHORS)], np.float32)
"""Of each anchor, x and y in pixels."""


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def const(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def made(nodes, outputs, constants=(), inputs=(("x", FLOAT, PICTURE),)) -> ModelProto:
    graph = helper.make_graph(
        nodes,
        "head",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def patch_of(anchor):
    """The rows and columns that an anchor reads."""
    return slice(4 * (anchor // 4), 4 * (anchor // 4) + 4), slice(4 * (anchor % 4), 4 * (anchor % 4) + 4)


def picture(**bright):
    """A picture, dark but for patches: ``a5=(1, 2.0)`` makes channel 1 of anchor 5's patch 2."""
    x = np.zeros((1, 3, 16, 16), np.float32)
    for anchor, (channel, level) in bright.items():
        x[(0, channel, *patch_of(int(anchor[1:])))] = level
    return x


def _boxes(form="xyxy", unit=False, transposed=False):
    size = 4.0
    corners = np.concatenate([CENTRES - size / 2, CENTRES + size / 2], axis=1)
    boxes = corners if form == "xyxy" else np.concatenate([CENTRES, np.full((ANCHORS, 2), size, np.float32)], axis=1)
    boxes = boxes / 16 if unit else boxes
    return (boxes.T if transposed else boxes)[None].astype(np.float32)


_MEANS = [
    node("AveragePool", "x", "means", kernel_shape=[4, 4], strides=[4, 4]),
    node("Reshape", "means by3", "raw"),  # [N, 3, 16]: classes first
]
_BY3 = const("by3", np.array([0, 3, ANCHORS]))


def _tiled(source, name):
    """A constant of one row, repeated for the batch."""
    return [
        node("Shape", "x", f"{name}_shape"),
        node("Gather", f"{name}_shape zero", f"{name}_n", axis=0),
        node("Concat", f"{name}_n {name}_one", f"{name}_dims", axis=0),
        node("Expand", f"{source} {name}_dims", name),
    ]


def _tile_constants(name, rank=3):
    return [const(f"{name}_one", np.ones(rank - 1, np.int64)), const("zero", np.array([0]))]


def segmenter() -> ModelProto:
    """A class map ``[N, 3, 16, 16]``: each pixel's classes are its own channels."""
    weight = np.array([[2.0, 0, 0], [0, 3.0, 0], [0, 0, 1.0]], np.float32)[..., None, None]
    return made([node("Conv", "x w", "mask")], [("mask", FLOAT, ["N", 3, 16, 16])], [const("w", weight)])


def yolo_v8() -> ModelProto:
    """``[N, 4 + 3, 16]``: boxes as centre and size in pixels, then classes behind a sigmoid, channels first."""
    nodes = [*_MEANS, node("Sigmoid", "raw", "cls"), *_tiled("box", "boxes")]
    nodes.append(node("Concat", "boxes cls", "output0", axis=1))
    return made(
        nodes,
        [("output0", FLOAT, ["N", 7, ANCHORS])],
        [_BY3, const("box", _boxes("cxcywh", transposed=True)), *_tile_constants("boxes")],
    )


def yolo_v5() -> ModelProto:
    """``[N, 16, 5 + 3]``: boxes, objectness, classes behind a sigmoid."""
    nodes = [
        *_MEANS,
        node("Transpose", "raw", "rows", perm=[0, 2, 1]),
        node("Sigmoid", "rows", "cls"),
        node("ReduceMax", "rows", "top", axes=[2], keepdims=1),
        node("Sigmoid", "top", "obj"),
        *_tiled("box", "boxes"),
        node("Concat", "boxes obj cls", "output0", axis=2),
    ]
    return made(
        nodes,
        [("output0", FLOAT, ["N", ANCHORS, 8])],
        [_BY3, const("box", _boxes("cxcywh")), *_tile_constants("boxes")],
    )


def ssd() -> ModelProto:
    """``boxes [N, 16, 4]`` in shares of the picture, ``scores [N, 16, 4]`` behind a softmax, class 0 is background."""
    nodes = [
        *_MEANS,
        node("Transpose", "raw", "rows", perm=[0, 2, 1]),
        node("Pad", "rows front", "padded"),
        node("Softmax", "padded", "scores", axis=-1),
        *_tiled("box", "boxes"),
    ]
    return made(
        nodes,
        [("boxes", FLOAT, ["N", ANCHORS, 4]), ("scores", FLOAT, ["N", ANCHORS, 4])],
        [
            _BY3,
            const("front", np.array([0, 0, 1, 0, 0, 0])),
            const("box", _boxes(unit=True)),
            *_tile_constants("boxes"),
        ],
    )


def detr() -> ModelProto:
    """``logits [N, 16, 4]``, the last of no object, and ``pred_boxes [N, 16, 4]``, centre and size in 0 .. 1."""
    nodes = [
        *_MEANS,
        node("Transpose", "raw", "rows", perm=[0, 2, 1]),
        node("Pad", "rows behind", "logits"),
        *_tiled("box", "pred_boxes"),
    ]
    return made(
        nodes,
        [("logits", FLOAT, ["N", ANCHORS, 4]), ("pred_boxes", FLOAT, ["N", ANCHORS, 4])],
        [
            _BY3,
            const("behind", np.array([0, 0, 0, 0, 0, 1])),
            const("box", _boxes("cxcywh", unit=True)),
            *_tile_constants("pred_boxes"),
        ],
    )


def end_to_end(keep=5) -> ModelProto:
    """``[N, 5, 6]``: the best rows, each a box, its confidence and its class: TopK and Gather lie inside."""
    nodes = [
        *_MEANS,
        node("Sigmoid", "raw", "cls"),
        node("ReduceMax", "cls", "conf", axes=[1], keepdims=0),
        node("ArgMax", "cls", "kind", axis=1, keepdims=0),
        node("TopK", "conf k", "best where", axis=1),
        *_tiled("box", "boxes"),
        node("Unsqueeze", "where last", "where3"),
        node("Expand", "where3 four", "where4"),
        node("GatherElements", "boxes where4", "best_boxes", axis=1),
        node("GatherElements", "kind where", "best_kind", axis=1),
        node("Cast", "best_kind", "kindf", to=FLOAT),
        node("Unsqueeze", "kindf last", "kind3"),
        node("Unsqueeze", "best last", "best3"),
        node("Concat", "best_boxes best3 kind3", "output0", axis=2),
    ]
    return made(
        nodes,
        [("output0", FLOAT, ["N", keep, 6])],
        [
            _BY3,
            const("k", np.array([keep])),
            const("last", np.array([2])),
            const("four", np.array([1, 1, 4])),
            const("box", _boxes()),
            *_tile_constants("boxes"),
        ],
    )


def suppressed() -> ModelProto:
    """SSD's boxes and scores with NonMaxSuppression behind them: ``selected [M, 3]``, M is known only at run time."""
    nodes = [
        *_MEANS,
        node("Sigmoid", "raw", "scores"),  # [N, 3, 16], as NonMaxSuppression takes them
        *_tiled("box", "boxes"),
        node("NonMaxSuppression", "boxes scores most iou least", "selected"),
    ]
    return made(
        nodes,
        [("selected", INT64, ["M", 3])],
        [
            _BY3,
            const("box", _boxes()),
            const("most", np.array([3])),
            const("iou", np.array([0.5], np.float32)),
            const("least", np.array([0.6], np.float32)),
            *_tile_constants("boxes"),
        ],
    )


def two_stage() -> ModelProto:
    """As torchvision's: one picture, ``boxes [M, 4]``, ``labels [M]``, ``scores [M]``, after NonMaxSuppression."""
    nodes = [
        *_MEANS,
        node("Sigmoid", "raw", "every"),
        *_tiled("box", "all_boxes"),
        node("NonMaxSuppression", "all_boxes every most iou least", "selected"),
        node("Slice", "selected two three axis", "place3"),
        node("Slice", "selected one three axis", "pair"),
        node("Squeeze", "place3 axis", "place"),
        node("Slice", "selected one two axis", "label1"),
        node("Squeeze", "label1 axis", "labels"),
        node("Squeeze", "all_boxes first", "flat_boxes"),
        node("Squeeze", "every first", "flat_every"),
        node("Gather", "flat_boxes place", "boxes", axis=0),
        node("GatherND", "flat_every pair", "scores"),
    ]
    return made(
        nodes,
        [("boxes", FLOAT, ["M", 4]), ("labels", INT64, ["M"]), ("scores", FLOAT, ["M"])],
        [
            _BY3,
            const("box", _boxes()),
            const("most", np.array([3])),
            const("iou", np.array([0.5], np.float32)),
            const("least", np.array([0.6], np.float32)),
            const("one", np.array([1])),
            const("two", np.array([2])),
            const("three", np.array([3])),
            const("axis", np.array([1])),
            const("first", np.array([0])),
            *_tile_constants("all_boxes"),
        ],
        inputs=(("x", FLOAT, [1, 3, 16, 16]),),
    )


def _embedded(x, out):
    """A picture's 16 x 3 patch means through a matrix, of length one."""
    return [
        node("AveragePool", x, f"{x}_means", kernel_shape=[4, 4], strides=[4, 4]),
        node("Flatten", f"{x}_means", f"{x}_flat"),
        node("MatMul", f"{x}_flat w", f"{x}_long"),
        node("LpNormalization", f"{x}_long", out, axis=1, p=2),
    ]


def _matrix(columns=6):
    return const("w", np.random.default_rng(0).normal(size=(48, columns)).astype(np.float32))


def embedder() -> ModelProto:
    """A face net's ``embedding [N, 6]``, of length one."""
    return made(_embedded("x", "embedding"), [("embedding", FLOAT, ["N", 6])], [_matrix()])


def siamese() -> ModelProto:
    """Two pictures to one similarity ``[N, 1]``."""
    nodes = [*_embedded("left", "e"), *_embedded("right", "f"), node("Mul", "e f", "both")]
    nodes.append(node("ReduceSum", "both one", "similarity", keepdims=1))
    return made(
        nodes,
        [("similarity", FLOAT, ["N", 1])],
        [_matrix(), const("one", np.array([1]))],
        inputs=(("left", FLOAT, PICTURE), ("right", FLOAT, PICTURE)),
    )


def picture_and_text(words=10, length=4) -> ModelProto:
    """A CLIP-like pair: ``pixel_values`` and ``input_ids [N, 4]`` to ``logits_per_image [N, 1]``."""
    table = np.random.default_rng(1).normal(size=(words, 6)).astype(np.float32)
    nodes = [
        *_embedded("pixel_values", "e"),
        node("Gather", "table input_ids", "tokens", axis=0),
        node("ReduceMean", "tokens", "t", axes=[1], keepdims=0),
        node("Mul", "e t", "both"),
        node("ReduceSum", "both one", "logits_per_image", keepdims=1),
    ]
    return made(
        nodes,
        [("logits_per_image", FLOAT, ["N", 1])],
        [_matrix(), const("table", table), const("one", np.array([1]))],
        inputs=(("pixel_values", FLOAT, PICTURE), ("input_ids", INT64, ["N", length])),
    )


def forecaster(past=12, ahead=4) -> ModelProto:
    """``history [N, 12, 2]`` to ``forecast [N, 4, 3]``: hours ahead, and the quantiles 0.1, 0.5, 0.9 of each."""
    weight = np.zeros((past * 2, ahead * 3), np.float32)
    for h in range(ahead):
        for q in range(3):
            weight[2 * (past - 1 - h), 3 * h + q] = 1.0 + q  # hour h of quantile q reads one moment of the first column
    nodes = [
        node("Flatten", "history", "flat"),
        node("MatMul", "flat w", "long"),
        node("Reshape", "long dims", "forecast"),
    ]
    return made(
        nodes,
        [("forecast", FLOAT, ["N", ahead, 3])],
        [const("w", weight), const("dims", np.array([-1, ahead, 3]))],
        inputs=(("history", FLOAT, ["N", past, 2]),),
    )


def captioner(words=5, length=3) -> ModelProto:
    """A picture to ``logits [N, 3, 5]``, word w of place t reads patch ``4 t + w``'s channel 0."""
    nodes = [
        *_MEANS,
        node("Slice", "raw start stop axis", "one"),
        node("Reshape", "one flat", "patches"),
        node("MatMul", "patches w", "long"),
        node("Reshape", "long dims", "logits"),
    ]
    weight = np.zeros((ANCHORS, length * words), np.float32)
    for t in range(length):
        for w in range(words):
            weight[4 * t + w, words * t + w] = 1.0
    return made(
        nodes,
        [("logits", FLOAT, ["N", length, words])],
        [
            _BY3,
            const("start", np.array([0])),
            const("stop", np.array([1])),
            const("axis", np.array([1])),
            const("flat", np.array([-1, ANCHORS])),
            const("w", weight),
            const("dims", np.array([-1, length, words])),
        ],
    )


def autoencoder() -> ModelProto:
    """What it has learnt is grey: the reconstruction is the mean of each patch."""
    nodes = [
        node("AveragePool", "x", "means", kernel_shape=[4, 4], strides=[4, 4]),
        node("Resize", "means none scales", "reconstruction", mode="nearest"),
    ]
    return made(
        nodes,
        [("reconstruction", FLOAT, PICTURE)],
        [const("none", np.zeros(0, np.float32)), const("scales", np.array([1, 1, 4, 4], np.float32))],
    )


def keypoints() -> ModelProto:
    """Heat maps ``[N, 3, 4, 4]``, one per key point: each cell reads its patch."""
    return made(
        [node("AveragePool", "x", "heatmaps", kernel_shape=[4, 4], strides=[4, 4])],
        [("heatmaps", FLOAT, ["N", 3, 4, 4])],
    )


HEADS = {
    one.__name__: one
    for one in (
        segmenter, yolo_v8, yolo_v5, ssd, detr, end_to_end, suppressed, two_stage, embedder, siamese, picture_and_text,
        forecaster, captioner, autoencoder, keypoints,
    )
}  # fmt: skip
