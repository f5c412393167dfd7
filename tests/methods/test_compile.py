"""A compiled file says what ``explain`` says, with onnxruntime alone."""

from __future__ import annotations

import io
import warnings

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest

import xplain
from xplain.core.errors import CapabilityError, UnknownName, UsageError

torch = pytest.importorskip("torch", reason="the net is written in torch")

CLASSES = 5


@pytest.fixture(scope="module")
def content() -> bytes:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(8, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(16, CLASSES),
        torch.nn.Softmax(1),
    ).eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, torch.zeros(1, 3, 12, 14), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}}
        )
    return file.getvalue()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(1).normal(size=(3, 3, 12, 14)).astype(np.float32)


def session_of(compiled):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(compiled.SerializeToString(), options, providers=["CPUExecutionProvider"])


def traceable():
    return [m.name for m in xplain.methods() if m.traceable]


def close(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("method", traceable())
def test_every_method_that_says_it_can_be_compiled(method, content, x):
    model = xplain.load(content)
    compiled = xplain.compile(model, method)
    session = session_of(compiled)
    assert [v.name for v in session.get_inputs()] == ["x"]
    options = dict(next(m for m in xplain.methods() if m.name == method).traced_with)
    scores, found = session.run(None, {"x": x})
    close(found, xplain.explain(model, x, method, **options).values)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    found = session.run(["attribution"], {"x": x, "target": np.array([0, 3, 4])})[0]
    close(found, xplain.explain(model, x, method, target=[0, 3, 4], **options).values)
    found = session.run(["attribution"], {"x": x, "target": np.array([2])})[0]
    close(found, xplain.explain(model, x, method, target=2, **options).values)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("lrp", {"rule": "alpha-beta", "alpha": 3.0, "bias": False}),
        ("lrp", {"rule": "epsilon", "epsilon": 0.5}),
        ("lrp", {"rule": "epsilon-gamma-box", "low": -3, "high": 3, "gamma": 1.0, "channels": True}),
        ("deeplift", {"baseline": 0.5, "channels": True}),
        ("integrated-gradients", {"baseline": np.full((3, 12, 14), 0.25, np.float32), "steps": 5}),
        ("grad-cam", {"signed": True}),
    ],
)
def test_options_are_built_in(method, options, content, x):
    model = xplain.load(content)
    compiled = xplain.compile(model, method, **options)
    fixed = dict(next(m for m in xplain.methods() if m.name == method).traced_with)
    found = session_of(compiled).run(["attribution"], {"x": x})[0]
    close(found, xplain.explain(model, x, method, **options, **fixed).values)
    plain = session_of(xplain.compile(model, method)).run(["attribution"], {"x": x})[0]
    assert plain.shape != found.shape or np.abs(plain - found).max() > 1e-3 * np.abs(plain).max()
    stated = {entry.key: entry.value for entry in compiled.metadata_props}["xplain.options"]
    assert all(f'"{name}"' in stated for name in options)


def test_a_target_that_is_no_class_is_built_in(content, x):
    model = xplain.load(content)
    layer = [one.name for one in model.outline.layers if len(one.shape) == 4 and 1 not in one.shape][-1]
    for target in (
        "1 - 4",
        xplain.channel(layer, 3),
        xplain.neuron(layer, 3, 2, 5),
        0.5 * xplain.label(2) + xplain.label(0),
    ):
        session = session_of(xplain.compile(model, "saliency", target=target))
        close(session.run(["attribution"], {"x": x})[0], xplain.explain(model, x, "saliency", target=target).values)
    default = session_of(xplain.compile(model, "saliency", target=4))
    close(default.run(["attribution"], {"x": x})[0], xplain.explain(model, x, "saliency", target=4).values)


def test_the_input_target_may_be_left_out_must_be_fed_or_is_not_there(content, x):
    model = xplain.load(content)
    predicted, chosen = (xplain.explain(model, x, "saliency", target=t).values for t in (None, 4))
    required = session_of(xplain.compile(model, "saliency", target_input="required"))
    assert [v.name for v in required.get_inputs()] == ["x", "target"]
    close(required.run(["attribution"], {"x": x, "target": np.array([-1])})[0], predicted)
    close(required.run(["attribution"], {"x": x, "target": np.array([4])})[0], chosen)
    for target, expected in ((None, predicted), (4, chosen)):
        compiled = xplain.compile(model, "saliency", target=target, target_input="none")
        assert {v.name for v in compiled.graph.input} == {"x"}
        assert "target" not in {t.name for t in compiled.graph.initializer}
        close(session_of(compiled).run(["attribution"], {"x": x})[0], expected)
    with pytest.raises(UsageError, match="target_input is 'never'; accepted: 'optional', 'required', 'none'"):
        xplain.compile(model, "saliency", target_input="never")


def test_the_card_travels_with_the_file(content, x):
    compiled = xplain.compile(xplain.load(content, card={"mean": [0.25], "labels": list("abcde")}), "saliency")
    again = xplain.load(compiled)
    assert again.outline.card.mean == (0.25,)
    assert again.outline.labels == tuple("abcde")


def test_weights_from_other_files_are_taken_in(content, x, tmp_path):
    grown = onnx.load_from_string(content)
    wide = np.zeros((1, 3, 160, 160), np.float32)  # larger than what is taken in at loading
    grown.graph.initializer.append(onnx.numpy_helper.from_array(wide, "wide"))
    grown.graph.node.insert(0, onnx.helper.make_node("ReduceSum", ["wide"], ["none"], keepdims=0))
    grown.graph.node.insert(1, onnx.helper.make_node("Add", ["x", "none"], ["moved"]))
    grown.graph.node[2].input[0] = "moved"
    onnx.save(grown, tmp_path / "big.onnx", save_as_external_data=True, location="big.data", size_threshold=0)
    model = xplain.load(tmp_path / "big.onnx", allow_external_data=True)
    close(
        session_of(xplain.compile(model, "saliency")).run(["attribution"], {"x": x})[0],
        xplain.explain(content, x, "saliency").values,
    )


def test_weights_are_in_the_file_once():
    """Convolutions and matrix products read their weights in both directions, and the file holds one set of each."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 192, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(192, 192, 3),  # 1.3 MB
        torch.nn.Flatten(2),
        torch.nn.Linear(16, 1000, bias=False),  # several rows: MatMul
        torch.nn.ReLU(),
        torch.nn.Linear(1000, 300, bias=False),
        torch.nn.Flatten(),
        torch.nn.Linear(192 * 300, CLASSES),  # 1.2 MB, one row: Gemm
    ).eval()
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example, free = torch.zeros(1, 3, 8, 8), {"x": {0: "n"}}
        torch.onnx.export(net, (example,), file, dynamo=False, dynamic_axes=free, input_names=["x"])
    model = onnx.load_from_string(file.getvalue())
    assert {"Conv", "MatMul", "Gemm"} <= {node.op_type for node in model.graph.node}
    size = xplain.compile(file.getvalue(), "saliency").ByteSize()
    assert model.ByteSize() < size < 1.02 * model.ByteSize()


def test_the_file_is_standard_and_says_what_it_is(content, x):
    model = xplain.load(content)
    compiled = xplain.compile(model, "grad-cam", target=3, signed=True)
    onnx.checker.check_model(compiled, full_check=True)
    assert {node.domain for node in compiled.graph.node} <= {""}
    about = {entry.key: entry.value for entry in compiled.metadata_props}
    assert about["xplain.method"] == "grad-cam"
    assert '"signed": true' in about["xplain.options"]
    assert about["xplain.model"] == model.outline.digest
    assert compiled.ByteSize() < len(content) + 20_000  # weights are not copied


@pytest.mark.parametrize(("method", "convolutions"), [("grad-cam", 2), ("saliency", 4)])
def test_the_forward_pass_is_shared(content, method, convolutions):
    """The model's two convolutions, and one backwards for each that lies in front of the layer."""
    compiled = xplain.compile(content, method)
    whole = [node for node in compiled.graph.node if not any(a.name == "group" and a.i > 1 for a in node.attribute)]
    assert [node.op_type for node in whole].count("Conv") == convolutions  # depthwise ones pick elements for a maximum


def test_a_compiled_file_can_be_loaded_and_explained_again(content, x):
    again = xplain.load(xplain.compile(content, "saliency").SerializeToString())
    assert again.outline.scores.tensor == xplain.load(content).outline.scores.tensor
    close(xplain.explain(again, x, "occlusion").values, xplain.explain(content, x, "occlusion").values)


@pytest.mark.parametrize("target_input", ["optional", "required", "none"])
def test_a_compiled_file_is_explained_like_its_original(content, x, target_input):
    """Whatever its input ``target`` is: neither that nor the output ``attribution`` is part of the model."""
    compiled = xplain.compile(content, "grad-cam", target_input=target_input)
    original, again = xplain.load(content), xplain.load(compiled.SerializeToString())
    assert [spec.name for spec in again.outline.inputs] == ["x"]
    assert again.outline.scores == original.outline.scores
    assert not [quirk for quirk in again.outline.quirks if "attribution" in quirk]
    assert "an explanation by grad-cam" in again.outline.facts["built in"]
    for method in ("grad-cam", "saliency", "lrp", "occlusion"):
        for target in (None, 2):
            expected = xplain.explain(original, x, method, target=target)
            found = xplain.explain(again, x, method, target=target)
            close(found.values, expected.values)
            assert (found.unit, found.labels) == (expected.unit, expected.labels)
    with pytest.raises(UnknownName, match="attribution"):
        xplain.load(compiled, output="attribution")


def test_a_compiled_file_is_compiled_again(content, x):
    """By another method, as its original would be."""
    once = xplain.compile(content, "grad-cam")
    twice, expected = xplain.compile(once, "saliency"), xplain.compile(content, "saliency")
    assert len(twice.graph.node) == len(expected.graph.node)
    assert {entry.key: entry.value for entry in twice.metadata_props}["xplain.method"] == "saliency"
    close(session_of(twice).run(["attribution"], {"x": x})[0], session_of(expected).run(["attribution"], {"x": x})[0])


def test_what_cannot_be_compiled_says_what_can(content):
    with pytest.raises(
        UsageError, match="Method 'occlusion' cannot be compiled into a graph. Those that can: .*saliency"
    ):
        xplain.compile(content, "occlusion")
    with pytest.raises(UsageError, match="runs with tolerance None; leave tolerance out"):
        xplain.compile(content, "ig", tolerance=0.1)
    with pytest.raises(UsageError, match="A class per item cannot be compiled"):
        xplain.compile(content, "saliency", target=xplain.label([0]) + xplain.label([1]))
    for target in ("top3", "top1", [None]):
        with pytest.raises(UsageError, match=r"depends on the scores of each item, so it cannot be built into a file"):
            xplain.compile(content, "saliency", target=target)
    with pytest.raises(UsageError, match="Target 5 is out of range: the model has 5 classes, 0 to 4"):
        xplain.compile(content, "saliency", target=5)
    foreign = xplain.compile(content, "saliency", target_input="none")
    del foreign.metadata_props[:]  # so that nothing says what the output is
    with pytest.raises(UsageError, match="has an input or output 'attribution' already"):
        xplain.compile(foreign, "grad-cam")
    with pytest.raises(CapabilityError, match=r"saliency needs Sweep"):
        xplain.compile(lambda batch: batch.sum(axis=(1, 2, 3))[:, None], "saliency")


def in_half_precision(method):
    """What a compiled file says of two items, and what is explained without one."""
    x = np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)
    loaded = xplain.load(nets.half())
    expected = xplain.explain(loaded, x, method, target=1).values
    session = session_of(xplain.compile(loaded, method, target=1))
    found = session.run(["attribution"], {session.get_inputs()[0].name: x.astype(np.float16)})[0]
    return found, expected


@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++", "layer-cam", "hires-cam", "excitation-backprop"])
def test_a_map_of_a_layer_in_half_precision_is_compiled(method):
    """The map's arithmetic is in float32, as it is when it is explained."""
    found, expected = in_half_precision(method)
    np.testing.assert_allclose(found, expected, atol=2e-3 * max(np.abs(expected).max(), 1e-6))


@pytest.mark.parametrize("method", ["blur-integrated-gradients", "integrated-gradients", "saliency", "lrp"])
def test_a_map_of_the_input_in_half_precision_is_compiled(method):
    """What a method brings along, as blurring's matrices, takes the type that the model computes in."""
    found, expected = in_half_precision(method)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(found, expected, atol=2e-2 * np.abs(expected).max())
