"""Scores of edited items from ONNX models of every form, against the same rows written and run by hand."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper

import xplain
from xplain.core.edits import Coalitions, Full, Ranked, SoftGrid, Untouched, Windows
from xplain.core.errors import ModelError, UnknownName, UsageError
from xplain.core.positions.layout import Layout
from xplain.core.query import Score
from xplain.core.target import Stack, channel, every_score, inner, label, neuron
from xplain.native import reference

FORMS = {
    "cnn": nets.cnn,
    "fp16": nets.half,
    "NHWC": nets.channels_last,
    "uint8": lambda: nets.channels_last(nets.UINT8),
    "4-D scores": nets.four_dimensional,
    "QDQ": nets.quantised,
    "fixed batch": nets.fixed_batch,
    "fixed batch of 4": lambda: nets.fixed_batch(4),
    "frozen batch": lambda: nets.fixed_batch(1, frozen=True),
    "frozen batch of 4": lambda: nets.fixed_batch(4, frozen=True),
}


def items(model, count=3, seed=0):
    spec = model.outline.inputs[0]
    top = 255 if spec.dtype == "uint8" else 1
    return (np.random.default_rng(seed).random((count, *spec.shape[1:])) * top).astype(np.float32)


def edits_for(x, layout):
    height, width = layout.plane
    fill = np.zeros((1,) * x.ndim, np.float32)
    boxes = np.array([[0, 0, 3, 3], [2, 1, height, width], [0, 0, 0, 0]], np.int32)
    rank = np.random.default_rng(1).permutation(height * width).reshape(height, width).astype(np.int32)
    return {
        "untouched": Untouched(),
        "windows": Windows(boxes, fill),
        "soft grid": SoftGrid(5, 4, (3, 3), 0.5, fill),
        "coalitions": Coalitions((rank % 4).astype(np.int32), np.eye(4, dtype=np.uint8), fill),
        "ranked": Ranked(rank, np.array([0, 10, 40], np.int64), fill),
        "full": Full(np.linspace(0, 1, 2 * height * width, dtype=np.float32).reshape(2, height, width), fill),
    }


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_rows_written_by_hand(form):
    model = xplain.load(FORMS[form]())
    x = items(model)
    for name, edits in edits_for(x, model.outline.layout).items():
        rows = reference.fill(x, edits, model.outline.layout)
        expected = model.answer(Score(rows, Untouched(), every_score))
        got = model.answer(Score(x, edits, every_score))
        assert got.shape == (3 * edits.count, model.outline.scores.classes), name
        assert got.dtype == np.float64
        assert np.array_equal(got, expected), name


@pytest.mark.parametrize("form", FORMS)
def test_the_bits_do_not_depend_on_the_batch(form):
    model = xplain.load(FORMS[form]())
    x = items(model)
    query = Score(x, edits_for(x, model.outline.layout)["soft grid"], every_score)
    whole = model.answer(query)
    for step in (1, 2, 5, 7):
        parts = [
            model.answer(Score(query.x, query.edits, query.target, part=(start, min(start + step, 12))))
            for start in range(0, 12, step)
        ]
        assert np.array_equal(np.concatenate(parts), whole), step


def test_planted_cause_alone_moves_the_score():
    model = xplain.load(nets.planted(size=32, cell=(2, 1)))
    x = np.ones((1, 3, 32, 32), np.float32)
    boxes = np.array([[8 * r, 8 * c, 8 * r + 8, 8 * c + 8] for r in range(4) for c in range(4)], np.int32)
    scores = model.answer(Score(x, Windows(boxes, np.zeros((1, 1, 1, 1), np.float32)), label(0)))[:, 0]
    drop = 192 - scores
    assert drop[4 * 2 + 1] == 192
    assert np.count_nonzero(drop) == 1


def test_targets_inside_the_model_and_stacks():
    model = xplain.load(nets.cnn())
    x = items(model)
    cotangent = np.random.default_rng(2).random((12, 8, 8)).astype(np.float32)
    targets = (
        label([0, 1, 4]),
        channel("relu1", 3) - 2.0 * label(1),
        neuron("conv2", 5, 2, 3),
        inner("relu2", cotangent),
    )
    stacked = model.answer(Score(x, Untouched(), Stack(targets)))
    alone = np.concatenate([model.answer(Score(x, Untouched(), target)) for target in targets], axis=1)
    assert stacked.shape == (3, 4)
    assert np.allclose(stacked, alone, rtol=1e-6)
    scores = model.answer(Score(x, Untouched(), every_score))
    assert np.array_equal(stacked[:, 0], scores[np.arange(3), [0, 1, 4]])


def test_a_layer_that_is_not_there_names_the_nearest():
    model = xplain.load(nets.cnn())
    with pytest.raises(UnknownName, match=r"Unknown layer 'rulu1'. Did you mean 'relu1'"):
        model.answer(Score(items(model), Untouched(), channel("rulu1", 0)))


def test_the_tail_runs_from_an_inner_tensor():
    model = xplain.load(nets.cnn())
    x = items(model)
    inside = model.answer(xplain.core.query.Peek(x, ("pool1",)))["pool1"]
    got = model.answer(Score(inside, Untouched(), every_score, at="pool1"))
    assert np.array_equal(got, model.answer(Score(x, Untouched(), every_score)))
    fill = np.zeros((1, 1, 1, 1), np.float32)
    none = np.array([[0, 0, 8, 8]], np.int32)
    maps = Layout("NCHW", inside.shape[1:])
    hidden = model.answer(Score(inside, Windows(none, fill), every_score, at="pool1", layout=maps))
    assert np.array_equal(hidden, model.answer(Score(0 * inside, Untouched(), every_score, at="pool1")))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 16, 16), r"The input is \[3, 16, 16\]; net takes \[N, 3, 16, 16\] as 'picture'. Add the batch axis"),
        ((1, 4, 16, 16), r"\[1, 4, 16, 16\].*Check rank, channel order and size"),
        ((1, 16, 16, 3), r"takes \[N, 3, 16, 16\]"),
    ],
)
def test_items_of_the_wrong_shape(shape, message):
    with pytest.raises(UsageError, match=message):
        xplain.load(nets.cnn()).answer(Score(np.zeros(shape, np.float32), Untouched(), every_score))


def test_a_tensor_that_does_not_carry_everything_is_refused_as_a_start():
    model = nets.model(
        [
            nets.helper.make_node("Relu", ["x"], ["inside"]),
            nets.helper.make_node("Add", ["inside", "x"], ["scores"]),
            nets.helper.make_node("Neg", ["x"], ["aside"]),
        ],
        {"x": (nets.FLOAT, ["N", 3])},
        {"scores": (nets.FLOAT, ["N", 3]), "aside": (nets.FLOAT, ["N", 3])},
        {},
    )
    loaded, x = xplain.load(model, output="scores"), np.ones((2, 3), np.float32)
    with pytest.raises(UsageError, match="scores depend on the input also past tensor 'inside'"):
        loaded.answer(Score(x, Untouched(), every_score, at="inside"))
    with pytest.raises(ModelError, match="Nothing that 'scores' needs is computed from tensor 'aside'"):
        loaded.answer(Score(x, Untouched(), every_score, at="aside"))


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "occlusion"])
@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("y[9]", r"Tensor 'y' is \[N, 3\]: it has no channel 9, 0 to 2 are there"),
        ("y[9, 1]", r"Tensor 'y' is \[N, 3\]: it has no element \[9, 1\]. Accepted: one number .* up to \[2\]"),
    ],
)
def test_a_place_that_the_scores_do_not_have_is_refused_by_every_method(method, target, told):
    """A sweep fed it to the runtime, which spoke of place_0; others named the rows of a batch that was filled up."""
    weights = {"w": np.ones((4, 3), np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    net = nets.model(nodes, {"x": (nets.FLOAT, ["N", 4])}, {"y": (nets.FLOAT, ["N", 3])}, weights)
    with pytest.raises(UsageError, match=told):
        xplain.explain(net, np.ones((1, 4), np.float32), method, target=target)
