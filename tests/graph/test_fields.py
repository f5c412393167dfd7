"""Receptive fields equal the support of the gradient of the same wiring with positive weights and no rectifier."""

from __future__ import annotations

import nets
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from random_nets import Builder, random_net

import xplain
from xplain.core.positions.layout import Layout
from xplain.core.query import Sweep
from xplain.core.rules import Rules
from xplain.core.target import neuron
from xplain.graph.intake.load import read
from xplain.graph.outline.fields import fields

KEPT = {"Conv", "ConvTranspose", "AveragePool", "Concat", "Split", "Slice", "Pad", "Resize", "Transpose", "Flatten"}
KEPT |= {"Gemm", "GlobalAveragePool", "BatchNormalization", "Add", "ReduceMean", "Reshape", "Identity"}


def positive(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same wiring, where every path adds something: what reaches a unit is where its gradient is not zero."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    rng = np.random.default_rng(0)
    for tensor in made.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            values = rng.uniform(0.5, 1.0, tensor.dims).astype(np.float32) * 2 / np.prod(tensor.dims[1:])
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    for node in list(made.graph.node):
        if node.op_type == "MaxPool":
            node.op_type = "AveragePool"
            kept = [a for a in node.attribute if a.name not in ("dilations", "storage_order")]
            del node.attribute[:]
            node.attribute.extend(kept)
        elif node.op_type in ("Sub", "Mul", "Div"):
            node.op_type = "Add"
        elif node.op_type == "Softmax":  # over channels: each sees all of them
            total = f"{node.output[0]}/sum"
            axes = numpy_helper.from_array(np.array([1], np.int64), f"{total}/axes")
            made.graph.initializer.append(axes)
            at = list(made.graph.node).index(node)
            made.graph.node.insert(at, helper.make_node("ReduceSum", [node.input[0], axes.name], [total], keepdims=1))
            node.op_type = "Add"
            node.input.append(total)
            del node.attribute[:]
        elif node.op_type not in KEPT | {"AveragePool", "ReduceSum"}:
            node.op_type = "Identity"
            del node.input[1:]
            del node.attribute[:]
    return made


def agree(model: onnx.ModelProto, axes: str, item: tuple[int, ...], seed: int, units: int = 6) -> int:
    """Hold random units of a net to the support of their gradient; how many were held."""
    found = fields(read(model), Layout(axes, item))
    other = xplain.load(positive(model), layout=axes, engine="plain")
    rng = np.random.default_rng(seed)
    layers = [one.name for one in other.outline.layers if found(one.name) is not None]
    layers = [name for name in layers if found(name).exact]
    held = 0
    for _ in range(units):
        name = layers[int(rng.integers(len(layers)))]
        field = found(name)
        place = tuple(int(rng.integers(extent)) for extent in field.shape)
        if len(place) != 3:
            continue
        x = np.ones((1, 1, *item), np.float32)
        gradient = other.answer(Sweep(x, neuron(name, *place), Rules()))["input"][1][0]
        support = np.abs(gradient).sum(axis=axes.index("C") - 1) > 0
        channel = 0 if field.channel is None else place[field.channel]
        rest = tuple(n for k, n in enumerate(place) if k != field.channel)
        assert np.array_equal(field.mask(channel, rest), support), (seed, name, place)
        if not support.any():  # it sees nothing but padding
            assert field.box(channel, rest) == (0, 0, 0, 0)
            continue
        lines = [np.flatnonzero(support.any(axis=1 - k)) for k in (0, 1)]
        assert field.box(channel, rest) == (lines[0][0], lines[1][0], lines[0][-1] + 1, lines[1][-1] + 1)
        held += 1
    return held


@pytest.mark.parametrize("seed", range(12))
def test_fields_of_random_nets_are_the_support_of_the_gradient(seed):
    model, item = random_net(seed)
    assert agree(model, "NCHW", item, seed) >= 3


def test_transposed_resized_dilated_and_mirrored_layers_too():
    b = Builder(5, (20, 17))
    b.at = b.conv(b.at, 3, 6, (3, 3), dilation=(4, 2), pads=[4, 2, 4, 2], groups=3)
    b.at = b.add("Pad", b.at, b.constant(np.array([0, 0, 2, 3, 0, 0, 1, 2], np.int64)), mode="reflect")
    weight = b.weight(6, 4, 3, 2)
    b.at = b.add("ConvTranspose", b.at, weight, strides=[2, 3], pads=[1, 0, 0, 1], dilations=[1, 2])
    sizes = b.constant(np.array([1, 4, 30, 41], np.int64))
    b.at = b.add("Resize", b.at, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners")
    a = b.conv(b.at, 4, 3, (1, 7), pads=[0, 3, 0, 3])
    c = b.conv(b.at, 4, 3, (7, 1), pads=[3, 0, 3, 0])
    b.at = b.add("Concat", a, c, axis=1)  # together a cross, of which a box would be four times too much
    cross = b.at
    b.at, b.channels = b.conv(cross, 6, 5, (1, 1)), 5
    b.at = b.add("MaxPool", b.at, kernel_shape=[3, 2], strides=[2, 2], ceil_mode=1, auto_pad="NOTSET")
    b.at = b.add("Flatten", b.add("GlobalAveragePool", b.at), axis=1)
    b.nodes.append(helper.make_node("Gemm", [b.at, b.weight(5, 4), b.weight(4)], ["y"]))
    model = b.model(4)
    assert agree(model, "NCHW", b.item, 1, units=40) > 25
    found = fields(read(model), Layout("NCHW", b.item))
    groups = [(one.first, one.last) for one in found(cross).groups]
    assert groups == [(0, 3), (3, 6)]
    assert len(found("y").groups) == 1


def test_one_layer_has_units_that_see_differently_and_a_global_pool_sees_all_that_it_reads():
    b = Builder(1, (24, 24))
    squeeze = b.conv(b.at, 3, 4, (3, 3), stride=(2, 2), pads=[0, 0, 0, 0])
    b.at = b.add("Concat", b.conv(squeeze, 4, 2, (1, 1), pads=[0] * 4), b.conv(squeeze, 4, 3, (3, 3)), axis=1)
    joined = b.at
    pooled = b.add("GlobalAveragePool", joined)
    b.nodes.append(helper.make_node("Flatten", [pooled], ["y"]))
    found = fields(read(b.model(5)), Layout("NCHW", b.item))
    assert [(g.first, g.last, found(joined).size(g)) for g in found(joined).groups] == [(0, 2, (3, 3)), (2, 5, (7, 7))]
    assert found(pooled).box(0, (0, 0)) == (0, 0, 23, 23)  # stride 2 leaves the last row and column unread
    assert not found(pooled).whole
    assert found("y").box(4, ()) == (0, 0, 23, 23)


def test_what_cannot_be_followed_is_bounded_and_says_so():
    b = Builder(1, (8, 8))
    b.at = b.conv(b.at, 3, 4, (3, 3))
    mixed = b.add("CumSum", b.at, b.constant(np.int64(2)))
    b.at = b.add("GlobalAveragePool", mixed)
    b.nodes.append(helper.make_node("Flatten", [b.at], ["y"]))
    field = fields(read(b.model(4)), Layout("NCHW", b.item))(mixed)
    assert not field.exact
    assert "CumSum" in field.why
    assert field.mask(0, (0, 0)).all()


@pytest.mark.parametrize("make", [nets.channels_last])
def test_channels_last_nets_are_read_along_their_own_axes(make):
    model = make()
    loaded = xplain.load(model)
    found = fields(read(model), loaded.outline.layout)
    some = [found(one.name) for one in loaded.outline.layers if found(one.name) is not None and len(one.shape) == 4]
    assert some
    assert all(one.exact for one in some)
    assert {one.size(one.groups[0]) for one in some} >= {(3, 3)}
