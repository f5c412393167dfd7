"""The score tensor, and the logits behind it, in every form that exporters write."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import ModelError, UnknownName
from xplain.graph.intake.inputs import inputs_of
from xplain.graph.intake.load import read
from xplain.graph.outline.layers import layers_of
from xplain.graph.outline.logits import find_scores

FLOAT = TensorProto.FLOAT


def tail(*nodes, rank=2, weights=(), opset=17):
    """A classifier whose logits [N, 5] go through these nodes to the output "out"."""
    model = nets.cnn(head="")
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.extend(nodes)
    extra = nets.model([], {}, {}, dict(weights)).graph.initializer
    model.graph.initializer.extend(extra)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("out", FLOAT, [None] * rank))
    return model


N = helper.make_node
TAILS = {
    "softmax": [N("Softmax", ["logits"], ["out"], axis=1)],
    "log-softmax": [N("LogSoftmax", ["logits"], ["out"], axis=-1)],
    "identity": [N("Softmax", ["logits"], ["p"]), N("Identity", ["p"], ["out"])],
    "dropout": [N("Softmax", ["logits"], ["p"]), N("Dropout", ["p"], ["out"])],
    "cast": [
        N("Softmax", ["logits"], ["p"]),
        N("Cast", ["p"], ["d"], to=TensorProto.DOUBLE),
        N("Cast", ["d"], ["out"], to=FLOAT),
    ],
    "flatten": [N("Softmax", ["logits"], ["p"]), N("Flatten", ["p"], ["out"])],
    "reshape": [N("Softmax", ["logits"], ["p"]), N("Reshape", ["p", "shape"], ["out"])],
    "squeeze": [
        N("Unsqueeze", ["logits", "axes"], ["wide"]),
        N("Softmax", ["wide"], ["p"], axis=1),
        N("Squeeze", ["p", "axes"], ["out"]),
    ],
    "quantised": [
        N("Softmax", ["logits"], ["p"]),
        N("QuantizeLinear", ["p", "scale", "zero"], ["q"]),
        N("DequantizeLinear", ["q", "scale", "zero"], ["out"]),
    ],
}
WEIGHTS = {
    "shape": np.array([-1, 5], np.int64),
    "axes": np.array([2], np.int64),
    "scale": np.float32(1 / 256),
    "zero": np.uint8(0),
}


@pytest.mark.parametrize("name", TAILS)
def test_the_logits_behind_a_softmax(name):
    found = find_scores(read(tail(*TAILS[name], weights=WEIGHTS))).scores
    assert found.tensor == ("wide" if name == "squeeze" else "logits")
    assert (found.classes, found.kind, found.link) == (5, "logits", "softmax")
    assert "what goes into" in found.found
    assert "output 'out'" in found.found


def test_the_logits_behind_a_sigmoid():
    found = find_scores(read(nets.cnn(head="Sigmoid", classes=1))).scores
    assert (found.tensor, found.classes, found.link) == ("logits", 1, "sigmoid")


def test_an_output_without_a_softmax_is_read_as_it_is():
    found = find_scores(read(nets.planted())).scores
    assert (found.tensor, found.link, found.found) == ("scores", "none", "output 'scores'; no softmax before it")


def test_a_softmax_inside_an_attention_is_not_looked_through():
    model = tail(
        N("Softmax", ["logits"], ["p"]), N("MatMul", ["p", "w"], ["out"]), weights={"w": np.eye(5, 3, dtype="f")}
    )
    found = find_scores(read(model)).scores
    assert (found.tensor, found.classes, found.link) == ("out", 3, "none")


def test_rounded_logits_are_looked_through_to_the_real_ones():
    for output in (True, False):
        found = find_scores(read(nets.quantised(output))).scores
        assert (found.tensor, found.link) == ("real_logits", "softmax")
        assert "before it is rounded to 8 bits" in found.found


def test_four_axes():
    found = find_scores(read(nets.four_dimensional())).scores
    assert (found.tensor, found.classes) == ("logits", 5)


def test_scikit_learn_tables():
    found = find_scores(read(nets.forest()))
    assert found.scores.found == "scores of LinearClassifier before its built-in softmax"
    assert found.labels == ("red", "green", "blue")
    assert len(found.nodes) == 1


def test_of_several_outputs_the_likeliest_is_read_and_any_can_be_asked_for():
    model = nets.cnn()
    for name, rank in (("relu2", 4), ("features", 2)):
        model.graph.output.append(helper.make_tensor_value_info(name, FLOAT, [None] * rank))
    found = find_scores(read(model))
    assert found.scores.tensor == "logits"
    assert "Of several outputs 'scores' is read; the others: 'features', 'relu2'" in found.quirks[0]
    assert find_scores(read(model), "features").scores.tensor == "features"
    with pytest.raises(UnknownName, match="Unknown output 'feature'"):
        find_scores(read(model), "feature")


def test_an_auxiliary_head_is_not_read_before_the_one_that_it_helps():
    model = tail(N("MatMul", ["logits", "w"], ["aux_logits"]), N("Identity", ["logits"], ["out"]))
    model.graph.initializer.append(numpy_helper.from_array(np.eye(5, dtype=np.float32), "w"))
    model.graph.output.insert(0, helper.make_tensor_value_info("aux_logits", FLOAT, [None, 5]))
    assert find_scores(read(model)).scores.tensor == "out"


def test_labels_alone_cannot_be_explained():
    model = tail(N("ArgMax", ["logits"], ["out"], axis=1))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    with pytest.raises(ModelError, match=r"no output of scores: 'out' \(int64\). A label alone cannot be explained"):
        find_scores(read(model))


def test_free_extents_are_told_from_fixed_ones():
    loaded = read(nets.cnn(size="H"))
    assert loaded.shape("picture") == (None, 3, None, None)
    assert loaded.shape("conv2") == (None, 12, None, None)
    assert loaded.shape("logits") == (None, 5)
    assert read(nets.fixed_batch()).shape("relu1") == (1, 8, 16, 16)


def test_layers_are_real_tensors_that_depend_on_the_input():
    layers = {layer.name: layer for layer in layers_of(read(nets.channels_last(nets.UINT8)))}
    assert list(layers)[:3] == ["float", "scaled", "picture"]
    assert layers["relu1"].shape == (None, 8, 16, 16)
    assert layers["relu1"].op == "Relu"
    assert layers["pooled"].shape == (None, 12, 1, 1)
    assert not {"w1", "scale"} & set(layers)
    quantised = {layer.name for layer in layers_of(read(nets.quantised()))}
    assert "w_dq" not in quantised
    assert {"x_dq", "flat", "real_logits"} <= quantised


def test_inputs_leave_out_weights_that_old_files_list():
    model = nets.cnn(opset=9)
    model.ir_version = 3
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, FLOAT, tensor.dims))
    assert [spec.name for spec in inputs_of(read(model))] == ["picture"]


def test_shape_arithmetic_of_exporters_is_followed():
    """Flatten written as Reshape(x, Concat(Gather(Shape(x), 0), -1)), the way torch exports x.view(n, -1)."""
    nodes = [
        N("Shape", ["logits"], ["shape"]),
        N("Gather", ["shape", "zero"], ["rows"], axis=0),
        N("Unsqueeze", ["rows", "first"], ["rows1"]),
        N("Concat", ["rows1", "rest"], ["wanted"], axis=0),
        N("Reshape", ["logits", "wanted"], ["out"]),
    ]
    weights = {"zero": np.int64(0), "first": np.array([0], np.int64), "rest": np.array([-1], np.int64)}
    loaded = read(tail(*nodes, weights=weights))
    assert loaded.shape("out") == (None, 5)
    assert loaded.known.guessed == []


# ---------------------------------------------------------------------- operators on integers


def integers(*nodes, shape=("N", 4), wide=False, opset=17):
    """A classifier on integers: ``x`` [N, 6] quantised, a product with its own scale (per class where ``wide``)."""
    rng = np.random.default_rng(5)
    weights = {
        "xs": np.float32(0.02), "xz": np.uint8(128), "w": rng.integers(-90, 90, (6, 4)).astype(np.int8),
        "ws": np.float32([0.01, 0.02, 0.03, 0.01] if wide else 0.01), "wz": np.zeros(4 if wide else (), np.int8),
        "ls": np.float32(0.05), "lz": np.uint8(100), "low": np.uint8(0), "ps": np.float32(1 / 256),
        "five": np.array([0, 4, 1, 1]), "map": np.array([-1, 2, 2]),
    }  # fmt: skip
    nodes = [N("QuantizeLinear", ["x", "xs", "xz"], ["q"]), *nodes]
    read_by = {name for node in nodes for name in node.input}
    kept = {name: value for name, value in weights.items() if name in read_by}
    inputs, outputs = {"x": (FLOAT, ["N", 6])}, {nodes[-1].output[0]: (FLOAT, shape)}
    return nets.model(nodes, inputs, outputs, kept, opset=opset, com_microsoft=1)


PRODUCT = N("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ls", "lz"], ["l"])
SOFTMAX = N("QLinearSoftmax", ["l", "ls", "lz", "ps", "low"], ["p"], domain="com.microsoft", axis=1, opset=13)
READ = N("DequantizeLinear", ["p", "ps", "low"], ["y"])


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("softmax", [True, False])
def test_scores_of_an_operator_on_integers_are_read_before_it_rounds(softmax, wide):
    tail = [SOFTMAX, READ] if softmax else [N("DequantizeLinear", ["l", "ls", "lz"], ["y"])]
    model = integers(PRODUCT, *tail, wide=wide)
    loaded = xplain.load(model)
    scores = loaded.outline.scores
    assert (scores.tensor, scores.classes, scores.link) == ("l.logits", 4, "softmax" if softmax else "none")
    assert "before it is rounded to 8 bits" in scores.found
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    stored = {t.name: numpy_helper.to_array(t).astype(np.float64) for t in model.graph.initializer}
    seen = np.rint(x / stored["xs"]).clip(-128, 127) * stored["xs"]
    np.testing.assert_allclose(xplain.predict(loaded, x), seen @ (stored["w"] * stored["ws"]), rtol=1e-5, atol=1e-6)
    # a score beyond the range of the integers has a gradient all the same
    far = 30 * np.sign(stored["w"][:, 2])[None].astype(np.float32)
    inside = np.abs(x) < 2.5
    gradient = xplain.explain(loaded, x, "saliency", target=2, signed=True, channels=True).values
    np.testing.assert_allclose(gradient, np.where(inside, (stored["w"] * stored["ws"])[:, 2], 0), rtol=1e-5)
    assert xplain.predict(loaded, far)[0, 2] == pytest.approx(
        2.54 * np.abs(stored["w"] * stored["ws"])[:, 2].sum(), rel=0.01
    )


def test_scores_stay_rounded_where_that_is_all_there_is():
    """A scale per class that the opset cannot write, a lower end that is a ReLU, a map that is no vector of scores."""
    old = find_scores(read(integers(PRODUCT, SOFTMAX, READ, wide=True, opset=12))).scores
    assert (old.tensor, "in 8 bits" in old.found) == ("l.logits", True)
    relu = N("QLinearMatMul", ["q", "xs", "xz", "w", "ws", "wz", "ls", "low"], ["l"])
    cut = find_scores(read(integers(relu, N("DequantizeLinear", ["l", "ls", "low"], ["y"])))).scores
    assert (cut.tensor, cut.found) == ("y", "output 'y'; no softmax before it")
    drawn = [N("Reshape", ["l", "map"], ["plane"]), N("DequantizeLinear", ["plane", "ls", "lz"], ["y"])]
    flat = find_scores(read(integers(PRODUCT, *drawn, shape=("N", 2, 2)))).scores
    assert flat.tensor == "l.logits"


def test_an_output_of_integers_is_read_as_real_numbers():
    model = integers(PRODUCT)
    model.graph.output[0].type.tensor_type.elem_type = nets.UINT8
    loaded = xplain.load(model)
    assert loaded.outline.scores.tensor == "l.logits"
    rounded = xplain.load(model, output="l")
    x = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    assert np.abs(xplain.predict(rounded, x) - xplain.predict(loaded, x)).max() <= 0.0251
    assert np.abs(xplain.explain(rounded, x, "saliency", target=1).values).max() > 0
