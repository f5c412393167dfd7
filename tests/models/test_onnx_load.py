"""The front door for ONNX models: inputs, batches, cards, devices, refusals of the runtime, loops."""

from __future__ import annotations

import tracemalloc

import nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.edits import Untouched, Windows
from xplain.core.errors import CardError, MissingDependency, ModelError, NonFinite, UnknownName, UsageError
from xplain.core.query import Score
from xplain.core.target import every_score, label
from xplain.graph.safety import Limits
from xplain.models.onnx import session

FLOAT = TensorProto.FLOAT


def scores(model, x):
    return model.answer(Score(np.asarray(x), Untouched(), every_score))


@pytest.fixture
def two_inputs(tmp_path):
    onnx.save(nets.two_inputs(), tmp_path / "two.onnx")
    return tmp_path / "two.onnx"


# ------------------------------------------------------------------ several inputs


def test_one_input_is_explained_and_the_others_are_fixed(two_inputs):
    x = np.random.default_rng(0).random((3, 1, 4, 4)).astype(np.float32)
    for given in ([1, 2], [[1.0, 2.0]], np.array([1, 2], np.float64)):
        model = xplain.load(two_inputs, input="picture", fixed={"extra": given})
        expected = np.stack([(x.reshape(3, 16) * w).sum(1) for w in (np.arange(16), np.arange(16)[::-1])], axis=1)
        assert np.allclose(scores(model, x), expected + np.array([10, 20]), rtol=1e-6)
    assert xplain.load(two_inputs, fixed={"extra": [1, 2]}).outline.input == "picture"
    other = xplain.load(two_inputs, fixed={"picture": np.zeros((1, 4, 4))})
    assert other.outline.input == "extra"
    assert np.allclose(scores(other, [[1, 2], [3, 4]]), [[10, 20], [30, 40]])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, UsageError, r"has 2 inputs: 'picture' \['\?', 1, 4, 4\] float32, 'extra' \['\?', 2\].*Say which"),
        ({"input": "picture"}, UsageError, r"also needs 'extra' .*no value is assumed. Give fixed="),
        (
            {"input": "pictur", "fixed": {"extra": [1, 2]}},
            UnknownName,
            "Unknown input of .*'pictur'. Did you mean 'pic",
        ),
        ({"fixed": {"extra": [1, 2, 3]}}, UsageError, r"fixed\['extra'\] is \[3\]; accepted: one value of \[2\]"),
        ({"fixed": {"extra": np.zeros((3, 2))}}, UsageError, r"fixed\['extra'\] is \[3, 2\]"),
        ({"input": "extra", "fixed": {"extra": [1, 2]}}, UsageError, "to be explained and fixed at once"),
    ],
)
def test_inputs_that_are_not_settled(two_inputs, options, error, message):
    with pytest.raises(error, match=message):
        xplain.load(two_inputs, **options)


def test_a_model_without_inputs():
    model = nets.model([helper.make_node("Neg", ["c"], ["y"])], {}, {"y": (FLOAT, [1, 2])}, {"c": np.ones((1, 2), "f")})
    with pytest.raises(ModelError, match="has no input, so there is nothing to explain"):
        xplain.load(model)


# ------------------------------------------------------------------ batches


@pytest.mark.parametrize(
    ("batch", "frozen", "state", "rows"),
    [
        ("N", False, "free", None),
        (1, False, "edited", None),
        (4, False, "edited", None),
        (1, True, "fixed", 1),
        (4, True, "fixed", 4),
    ],
)
def test_fixed_batches_are_freed_where_that_keeps_the_scores(batch, frozen, state, rows):
    model = xplain.load(nets.cnn() if batch == "N" else nets.fixed_batch(batch, frozen))
    assert (model.outline.batch, model.outline.rows) == (state, rows)
    x = np.random.default_rng(0).random((6, 3, 16, 16)).astype(np.float32)
    assert np.allclose(scores(model, x), scores(xplain.load(nets.cnn()), x), atol=1e-6)
    said = " ".join(model.outline.quirks)
    assert {"free": said == "", "edited": "it was set free" in said, "fixed": "is baked into the model" in said}[state]
    assert {layer.shape[0] for layer in model.outline.layers if layer.name == "relu1"} == {rows}


@pytest.mark.parametrize("others", [0, 1])
def test_no_trial_makes_up_gigabytes(others):
    """A small file declares an input of 512 MiB a row: what is tried on it after first contact stays small."""
    wide = 2**27
    free = {"also": (FLOAT, ["M", 1])} if others else {}
    model = nets.model(
        [
            helper.make_node("Slice", ["x", "start", "stop", "axis"], ["some"]),
            *([helper.make_node("Add", ["some", "also"], ["scores"])] if others else []),
        ],
        {"x": (FLOAT, ["N" if others else 3, wide]), **free},
        {"scores" if others else "some": (FLOAT, ["N" if others else 3, 3])},
        {"start": np.array([0]), "stop": np.array([3]), "axis": np.array([1])},
    )
    tracemalloc.start()
    fixed = {"fixed": {"also": np.ones((1, 1), np.float32)}, "input": "x"} if others else {}
    loaded = xplain.load(model, limits=Limits(contact_seconds=0), **fixed)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**28
    if not others:
        assert (loaded.outline.batch, loaded.outline.rows) == ("fixed", 3)
        assert "too large to try" in " ".join(loaded.outline.quirks)


def test_an_edit_that_changes_the_scores_is_not_used():
    """The batch mean is subtracted: any batch runs, but rows depend on each other."""
    model = nets.model(
        [
            helper.make_node("ReduceMean", ["x"], ["mean"], axes=[0]),
            helper.make_node("Sub", ["x", "mean"], ["centred"]),
            helper.make_node("Add", ["x", "centred"], ["scores"]),
        ],
        {"x": (FLOAT, [1, 3])},
        {"scores": (FLOAT, [1, 3])},
        {},
    )
    loaded = xplain.load(model)
    assert (loaded.outline.batch, loaded.outline.rows) == ("fixed", 1)
    assert np.array_equal(scores(loaded, [[1, 2, 3], [4, 5, 6]]), [[1, 2, 3], [4, 5, 6]])


def test_quantisation_that_looks_at_the_batch_is_asked_one_by_one():
    model = nets.model(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["scores"]),
        ],
        {"x": (FLOAT, ["N", 3])},
        {"scores": (FLOAT, ["N", 3])},
        {},
    )
    loaded = xplain.load(model)
    assert "DynamicQuantizeLinear (node 'q') looks at the whole batch" in loaded.outline.quirks[-1]
    x = np.array([[1, 2, 3], [100, 200, 300]], np.float32)
    assert np.array_equal(scores(loaded, x)[:1], scores(loaded, x[:1]))


# ------------------------------------------------------------------ element types


def test_integer_inputs_get_rounded_values():
    model = nets.model(
        [helper.make_node("Cast", ["ids"], ["scores"], to=FLOAT)],
        {"ids": (TensorProto.INT32, ["N", 3])},
        {"scores": (FLOAT, ["N", 3])},
        {},
    )
    x = np.array([[1.4, 2.6, -3e12]])
    assert np.array_equal(scores(xplain.load(model), x), [[1, 3, -(2**31)]])
    boxes = np.array([[0, 1, 1, 2]], np.int32)
    got = xplain.load(model).answer(Score(np.array([[5, 6, 7]]), Windows(boxes, np.full((1, 1), 9, "f")), every_score))
    assert np.array_equal(got, [[5, 9, 7]])


def test_double_inputs():
    model = nets.model(
        [helper.make_node("Neg", ["x"], ["scores"])],
        {"x": (TensorProto.DOUBLE, ["N", 3])},
        {"scores": (TensorProto.DOUBLE, ["N", 3])},
        {},
    )
    assert np.array_equal(scores(xplain.load(model), [[0.5, 1, 2]]), [[-0.5, -1, -2]])


# ------------------------------------------------------------------ cards and labels


CARD = """
mode = "RGB"
layout = "NCHW"
labels = ["a", "b", "c", "d", "e"]
"""


def test_the_card_beside_the_file_and_in_the_metadata(tmp_path):
    model = nets.cnn()
    onnx.save(model, tmp_path / "net.onnx")
    assert xplain.load(tmp_path / "net.onnx").outline.card is None
    (tmp_path / "net.card.toml").write_text(CARD)
    assert xplain.load(tmp_path / "net.onnx").outline.labels == ("a", "b", "c", "d", "e")
    helper.set_model_props(model, {"xplain.card": CARD.replace('"a"', '"A"')})
    loaded = xplain.load(model)
    assert loaded.outline.labels[0] == "A"
    assert loaded.outline.card.name == "in the model's metadata"
    assert xplain.load(model, card="unit").outline.card.name == "unit"


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"labels": ["a", "b"]}, "it has 2 labels, but net has 5 classes. A shifted list gives wrong names"),
        ({"mode": "L"}, r"it makes NCHW with 1 channel; net takes \['\?', 3, 16, 16\]"),
        ({"layout": "NHWC"}, r"it states NHWC, but net takes NCHW: the input goes into Conv\. Correct"),
    ],
)
def test_cards_of_another_model(card, message):
    with pytest.raises(CardError, match=message):
        xplain.load(nets.cnn(), card=card)


def test_the_card_settles_the_layout():
    assert xplain.load(nets.channels_last()).outline.layout.axes == "NHWC"
    small = nets.cnn(size=3)
    assert xplain.load(small, card="unit").outline.layout.axes == "NCHW"


# ------------------------------------------------------------------ the runtime


def test_an_opset_that_the_runtime_refuses():
    model = nets.cnn()
    model.opset_import[0].version = 99
    with pytest.raises(ModelError, match=r"ONNX Runtime refuses net: .*[Oo]pset 99.*Export it with an older opset"):
        xplain.load(model)


def test_an_operator_that_the_runtime_does_not_have():
    model = nets.model(
        [helper.make_node("LegacyPadding", ["x"], ["scores"], domain="com.microsoft")],
        {"x": (FLOAT, ["N", 3])},
        {"scores": (FLOAT, ["N", 3])},
        {},
        com_microsoft=1,
    )
    with pytest.raises(
        ModelError, match=r"LegacyPadding.* is not a registered function/op.*Install a newer onnxruntime"
    ):
        xplain.load(model)


def test_a_model_that_fails_while_it_runs():
    model = nets.model(
        [helper.make_node("Reshape", ["x", "shape"], ["scores"])],
        {"x": (FLOAT, ["N", 3])},
        {"scores": (FLOAT, [7, 1])},
        {"shape": np.array([7, 1], np.int64)},
    )
    with pytest.raises(ModelError, match="net failed while it ran: .*Reshape"):
        scores(xplain.load(model), np.ones((2, 3)))


def test_scores_without_a_batch_axis():
    model = nets.model(
        [helper.make_node("Reshape", ["x", "shape"], ["scores"])],
        {"x": (FLOAT, ["N", 3])},
        {"scores": (FLOAT, [1, None])},
        {"shape": np.array([1, -1])},
    )
    with pytest.raises(ModelError, match=r"Tensor 'scores' of net is \[1, 6\] for a batch of 2: it has no batch axis"):
        scores(xplain.load(model), np.ones((2, 3)))


def test_scores_that_are_maps():
    with pytest.raises(ModelError, match=r"Scores 'conv1' of net are \[1, 8, 16, 16\]; a classifier's are \[N, K\]"):
        scores(xplain.load(nets.cnn(), output="conv1"), np.zeros((1, 3, 16, 16)))


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_nan_scores_are_named(value):
    model = nets.model(
        [helper.make_node("Sqrt", ["x"], ["scores"])], {"x": (FLOAT, ["N", 3])}, {"scores": (FLOAT, ["N", 3])}, {}
    )
    loaded = xplain.load(model)
    with pytest.raises(NonFinite, match="score of class 1 for item 2 under edit 0 is NaN.*look at this input"):
        scores(loaded, [[1, 1, 1], [1, 1, 1], [1, value, 1]])
    with pytest.raises(NonFinite):
        xplain.explain(loaded, np.array([[1, -1, 1]], np.float32), target=1, patch=1, stride=1)


def test_an_endless_loop_is_stopped():
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Identity", ["v"], ["w"])],
        "body",
        [
            helper.make_tensor_value_info("k", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", FLOAT, [None, 3]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("w", FLOAT, [None, 3]),
        ],
    )
    model = nets.model(
        [helper.make_node("Loop", ["", "yes", "x"], ["scores"], body=body)],
        {"x": (FLOAT, ["N", 3])},
        {"scores": (FLOAT, ["N", 3])},
        {"yes": np.array(True)},
    )
    loaded = xplain.load(model, limits=Limits(seconds=0.3))
    assert "loops: Loop: a run is stopped after 0.3 s." in loaded.outline.quirks
    with pytest.raises(ModelError, match="ran for more than 0.3 s and was stopped: it has loops"):
        scores(loaded, np.ones((1, 3)))


def test_external_weights_are_run_in_place(tmp_path):
    model = nets.planted(size=192)
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    x = np.random.default_rng(0).random((2, 3, 192, 192)).astype(np.float32)
    loaded = xplain.load(tmp_path / "net.onnx", allow_external_data=True)
    assert np.array_equal(scores(loaded, x), scores(xplain.load(nets.planted(size=192)), x))


# ------------------------------------------------------------------ distributions and providers


@pytest.mark.parametrize(
    ("installed", "message"),
    [
        (["onnxruntime", "onnxruntime-gpu"], "Both onnxruntime and onnxruntime-gpu .*Keep one: pip uninstall -y"),
        ([], r"No ONNX Runtime is installed; .*pip install 'xplain\[cpu\]', or pip install 'xplain\[gpu\]'"),
        (["onnxruntime"], "onnxruntime is installed but broken"),
    ],
)
def test_no_or_two_runtimes(monkeypatch, installed, message):
    monkeypatch.setattr(session, "_installed", lambda: installed)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match=message):
        xplain.load(nets.cnn())


def test_the_outline_says_what_was_found(tmp_path):
    onnx.save(nets.half(), tmp_path / "half.onnx")
    outline = xplain.load(tmp_path / "half.onnx", threads=1).outline
    assert outline.source == str(tmp_path / "half.onnx")
    assert outline.facts["opset"] == "ai.onnx 17"
    assert outline.facts["producer"] == "xplain-tests"
    assert outline.facts["providers"] == "CPUExecutionProvider"
    assert outline.facts["checked: external data"] == "none"
    assert any("fp16" in quirk for quirk in outline.quirks)
    assert outline.inputs[0].dtype == "float16"
    assert len(outline.digest) == 64
    assert label(0).read({"": np.ones((1, 5))}, np.zeros(1, int)) == 1


@pytest.mark.parametrize("op", ["RandomNormalLike", "Bernoulli", "none"])
def test_scores_that_are_drawn_by_chance_are_said_to_be(op):
    nodes = [helper.make_node(op, ["x"], ["drawn"], name="chance")] if op != "none" else []
    nodes += [helper.make_node("RandomNormalLike", ["x"], ["beside"])]  # which no score reads
    nodes += [helper.make_node("Add", ["x", "drawn" if op != "none" else "x"], ["y"])]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", FLOAT, ["N", 3])], [value("y", FLOAT, ["N", 3])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    a = xplain.explain(model, np.ones((1, 3), np.float32), "occlusion", target=0)
    said = [one.text for one in a.warnings if one.kind == "model"]
    assert len(said) == (op != "none")
    assert all(f"{op} (node 'chance') draws anew" in text for text in said)


@pytest.mark.parametrize(("ratio", "training", "told"), [(0.5, True, True), (0.0, True, False), (0.5, False, False)])
def test_dropout_that_was_left_on_is_said_to_draw_and_not_to_be_optimised_wrongly(ratio, training, told):
    stored = {"r": np.float32(ratio), "t": np.array(training), "w": np.ones((48, 3), np.float32)}
    ends = [helper.make_node("Flatten", ["d"], ["f"]), helper.make_node("MatMul", ["f", "w"], ["y"])]
    nodes = [helper.make_node("Dropout", ["x", "r", "t"], ["d"]), *ends]
    proto = nets.model(nodes, {"x": (FLOAT, ["N", 3, 4, 4])}, {"y": (FLOAT, ["N", 3])}, stored, opset=17)
    said = xplain.load(proto).outline.warnings
    assert len(said) == told
    assert all("Dropout (node 'd') draws anew" in one.text and "model.eval()" in one.text for one in said)
