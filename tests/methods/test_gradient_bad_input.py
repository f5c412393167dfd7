"""What gradient and relevance methods refuse or warn of, and that the messages help."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import helper

import xplain
from xplain.core.errors import ModelError, NonFinite, UnknownName, UnsupportedOperator, UsageError

F, INT64 = nets.FLOAT, nets.INT64
DRAWS = np.random.default_rng(0)


def weights(*shape):
    return DRAWS.normal(size=shape).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return xplain.load(nets.cnn())


@pytest.fixture
def x():
    return np.random.default_rng(1).random((2, 3, 16, 16)).astype(np.float32)


# ---------------------------------------------------------------------- layers and targets


@pytest.mark.parametrize("method", ["saliency", "grad-cam", "guided-backprop", "score-cam"])
def test_a_layer_that_does_not_exist(model, x, method):
    with pytest.raises(UnknownName, match=r"Unknown layer 'relu3'. Did you mean 'relu2' or 'relu1'\?"):
        xplain.explain(model, x, method, layer="relu3")


def test_a_layer_without_positions_for_a_cam(model, x):
    with pytest.raises(UsageError, match=r"Layer 'features' is \[N C:12\]: it has no positions.*pool1, conv2, relu2"):
        xplain.explain(model, x, "grad-cam", layer="features")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (7, "Target 7 is out of range: the model has 5 classes, 0 to 4"),
        (xplain.label(7), "'label 7' asks for class 7; the model has 5 classes"),
        ("relu2[99]", r"'relu2' is \[N, 12, 8, 8\]: it has no channel 99"),
        (xplain.channel("relu2", 99), "it has no channel 99"),
        (xplain.neuron("relu2", 0, 99, 0), r"it has no element \[0, 99, 0\]"),
        (xplain.inner("relu2", np.ones(3, np.float32)), r"the cotangent is \[3\]"),
        (xplain.channel("relu9", 0), "Unknown layer 'relu9'. Did you mean 'relu"),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_target_out_of_range(model, x, target, message, compiled):
    with pytest.raises(UsageError, match=message):
        xplain.compile(model, "saliency", target=target) if compiled else xplain.explain(
            model, x, "saliency", target=target
        )


# ---------------------------------------------------------------------- no path


def test_no_path_says_where_it_is_cut(x):
    cut = nets.model(
        [
            helper.make_node("Flatten", ["picture"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["votes"]),
            helper.make_node("ArgMax", ["votes"], ["best"], axis=1, keepdims=0, name="vote"),
            helper.make_node("Gather", ["table", "best"], ["scores"]),
        ],
        {"picture": (F, ["N", 3, 16, 16])},
        {"scores": (F, ["N", 4])},
        {"w": weights(768, 6), "table": weights(6, 4)},
    )
    with pytest.raises(ModelError, match=r"from tensor 'picture' to 'scores': it is cut at ArgMax \(node 'vote'\)"):
        xplain.explain(cut, x, "saliency")


def test_a_layer_behind_the_target(model, x):
    with pytest.raises(ModelError, match="no path from tensor 'relu2' to 'relu1': nothing that is computed from it"):
        xplain.explain(model, x, "saliency", target="relu1[0]", layer="relu2")


@pytest.fixture(scope="module")
def tokens():
    return xplain.load(
        nets.model(
            [
                helper.make_node("Gather", ["table", "ids"], ["embedded"]),
                helper.make_node("ReduceMean", ["embedded"], ["pooled"], axes=[1], keepdims=0),
                helper.make_node("MatMul", ["pooled", "w"], ["scores"]),
            ],
            {"ids": (INT64, ["N", 5])},
            {"scores": (F, ["N", 3])},
            {"table": weights(10, 6), "w": weights(6, 3)},
        )
    )


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "guided-backprop"])
@pytest.mark.parametrize("compiled", [False, True])
def test_token_ids_have_no_gradient_but_their_embedding_has(tokens, method, compiled):
    ids = np.array([[1, 2, 3, 4, 5]])
    with pytest.raises(
        UsageError, match=r"Input 'ids' \(int64\) .* integers, which have no gradient.*layer='embedded'"
    ):
        xplain.compile(tokens, method) if compiled else xplain.explain(tokens, ids, method)


def test_the_embedding_that_the_message_names_works(tokens):
    found = xplain.explain(tokens, np.array([[1, 2, 3, 4, 5]]), "saliency", layer="embedded", channels=True)
    assert found.values.shape == (1, 5, 6)
    assert np.abs(found.values).max() > 0


# ---------------------------------------------------------------------- operators


@pytest.fixture(scope="module")
def loop():
    boolean = 9
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Relu", ["state"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("count", INT64, []),
            helper.make_tensor_value_info("go", boolean, []),
            helper.make_tensor_value_info("state", F, None),
        ],
        [helper.make_tensor_value_info("on", boolean, []), helper.make_tensor_value_info("next", F, None)],
    )
    return xplain.load(
        nets.model(
            [
                helper.make_node("Flatten", ["picture"], ["flat"]),
                helper.make_node("MatMul", ["flat", "w"], ["first"]),
                helper.make_node("Loop", ["times", "", "first"], ["last"], body=body, name="again"),
                helper.make_node("MatMul", ["last", "v"], ["scores"]),
            ],
            {"picture": (F, ["N", 3, 16, 16])},
            {"scores": (F, ["N", 4])},
            {"w": weights(768, 6), "v": weights(6, 4), "times": np.array(3)},
        )
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_control_flow_names_the_node_and_what_still_works(loop, x, compiled):
    message = r"No backward rule for Loop \(node 'again'\) \(opset \d+\)\. Methods that still work: .*occlusion.*rise"
    with pytest.raises(UnsupportedOperator, match=message) as caught:
        xplain.compile(loop, "saliency") if compiled else xplain.explain(loop, x, "saliency")
    assert "saliency" not in str(caught.value)
    assert np.isfinite(xplain.explain(loop, x, "occlusion", patch=8, stride=8).values).all()


# ---------------------------------------------------------------------- numbers that are not finite


def awkward(*nodes):
    """A net with some nodes from ``picture`` to ``bent``, which is added to the picture before a linear head."""
    return xplain.load(
        nets.model(
            [
                *nodes,
                helper.make_node("Add", ["bent", "picture"], ["sum"]),
                helper.make_node("Flatten", ["sum"], ["flat"]),
                helper.make_node("MatMul", ["flat", "w"], ["scores"]),
            ],
            {"picture": (F, ["N", 3, 16, 16])},
            {"scores": (F, ["N", 4])},
            {"w": weights(768, 4), "zero": np.float32(0)},
        )
    )


@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "input-x-gradient"])
def test_a_derivative_that_is_not_finite_names_the_node(x, method):
    model = awkward(
        helper.make_node("Relu", ["picture"], ["open"], name="fine"),
        helper.make_node("Sub", ["open", "open"], ["none"]),
        helper.make_node("Sqrt", ["none"], ["bent"], name="root"),
    )
    message = r"arrives at 'input' for item 0 is not finite\. The derivative of Sqrt \(node 'root'\) is not finite"
    with pytest.raises(NonFinite, match=message):
        xplain.explain(model, x, method)


def test_the_forward_pass_may_be_the_cause(x):
    """The score is finite, because what is not is thrown away behind it."""
    model = awkward(
        helper.make_node("Div", ["picture", "zero"], ["infinite"], name="by-zero"),
        helper.make_node("Tanh", ["infinite"], ["one"], name="flat"),
        helper.make_node("Mul", ["infinite", "zero"], ["nothing"], name="none"),
        helper.make_node("IsNaN", ["nothing"], ["odd"]),
        helper.make_node("Where", ["odd", "one", "nothing"], ["bent"], name="mended"),
    )
    with pytest.raises(NonFinite, match=r"The derivative of Div \(node 'by-zero'\) is not finite") as caught:
        xplain.explain(model, x + 0.1, "saliency")
    assert "mended" not in str(caught.value)


def test_only_the_item_that_fails_is_named(x):
    model = awkward(helper.make_node("Sqrt", ["picture"], ["bent"], name="root"))
    x[1, 0, 3, 3] = 0
    x[0] += 0.5
    with pytest.raises(NonFinite, match="for item 1 is not finite"):
        xplain.explain(model, x, "saliency")


# ---------------------------------------------------------------------- rules and baselines


def test_guided_rules_on_a_net_without_relu_warn(x):
    linear = nets.planted(size=16, cell=(1, 1))
    for method in ("guided-backprop", "deconvnet"):
        found = xplain.explain(linear, x, method)
        assert "change nothing: this is the plain gradient" in found.warnings[0].text
        assert np.array_equal(found.values, xplain.explain(linear, x, "saliency", signed=True).values)


def test_guided_rules_on_a_net_with_relu_do_not_warn(model, x):
    assert not xplain.explain(model, x, "guided-backprop").warnings


def test_a_class_activation_map_of_nothing_warns(x):
    """Every feature argues against class 0 and for class 1."""
    model = nets.model(
        [
            helper.make_node("Relu", ["picture"], ["features"]),
            helper.make_node("GlobalAveragePool", ["features"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["scores"]),
        ],
        {"picture": (F, ["N", 3, 16, 16])},
        {"scores": (F, ["N", 2])},
        {"w": np.array([[-1, 1]] * 3, np.float32)},
    )
    found = xplain.explain(model, x, "grad-cam", target=[0, 1])
    assert not found.values[0].any()
    (empty,) = found.warnings
    assert "The map is zero: as this method weighs the layer, nothing argues for the target" in empty.text
    assert (empty.kind, empty.item) == ("empty", 0)
    assert not xplain.explain(model, x, "grad-cam", target=0, signed=True).warnings
    assert not xplain.explain(model, x, "grad-cam", target=1).warnings


@pytest.mark.parametrize("method", ["integrated-gradients", "expected-gradients"])
def test_a_baseline_of_the_wrong_shape(model, x, method):
    with pytest.raises(
        UsageError, match=r"baseline is an array of \[3, 8, 8\]; the items are \[2, 3, 16, 16\].*Accepted"
    ):
        xplain.explain(model, x, method, baseline=np.zeros((3, 8, 8), np.float32))


@pytest.mark.parametrize("method", ["deep-shap", "expected-gradients"])
def test_a_background_of_the_wrong_shape(model, x, method):
    message = (
        r"The background is an array of \[5, 3, 16, 8\]; the items are \[2, 3, 16, 16\]. Accepted: any number of "
        r"baselines, \[B, 3, 16, 16\], or one baseline"
    )
    with pytest.raises(UsageError, match=message):
        xplain.explain(model, x, method, baseline=np.zeros((5, 3, 16, 8), np.float32))


@pytest.mark.parametrize("baseline", ["mean", "blur:2", "noise"])
def test_a_baseline_that_cannot_be_compiled(model, baseline):
    with pytest.raises(UsageError, match=f"Baseline '{baseline}' is made from each item, which cannot be compiled"):
        xplain.compile(model, "integrated-gradients", baseline=baseline)


def test_a_baseline_of_the_wrong_shape_cannot_be_compiled(model):
    with pytest.raises(UsageError, match=r"The baseline is an array of \[3, 8, 8\]"):
        xplain.compile(model, "integrated-gradients", baseline=np.zeros((3, 8, 8), np.float32))
