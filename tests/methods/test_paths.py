"""Paths between a baseline and an item: each against its paper written slowly, a peer's recorded values, or captum."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import xplain
from xplain.core.errors import UsageError

from . import smooth_net

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return smooth_net.items()


@pytest.fixture(scope="module")
def model() -> xplain.Model:
    return smooth_net.model()


def test_idgi_gives_out_each_rise_by_squared_gradients(model: xplain.Model, x: np.ndarray) -> None:
    steps, wanted = 12, np.zeros(x.shape)
    points = [0.25 + k / steps * (x.astype(np.float64) - 0.25) for k in range(steps + 1)]
    for left, right in itertools.pairwise(points):
        square = smooth_net.slope((left + right) / 2) ** 2
        rise = smooth_net.value(right) - smooth_net.value(left)
        wanted += square * (rise / square.sum(axis=(1, 2, 3)))[:, None, None, None]
    a = xplain.explain(model, x, "idgi", target=0, baseline=0.25, steps=steps, channels=True)
    np.testing.assert_allclose(a.values, wanted, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(a.values.sum(axis=(1, 2, 3)), a.scores - a.base, rtol=1e-4)
    assert np.all(np.asarray(a.each["without gradient"]) == 0)


def test_idgi_says_how_much_of_the_way_had_no_gradient() -> None:
    stairs = xplain.load(_clipped())
    a = xplain.explain(stairs, np.full((1, 4), 2.0, np.float32), "idgi", target=0, steps=8)
    assert a.values.sum() == pytest.approx(4.0 * (1 - a.each["without gradient"][0]), abs=1e-4)


def _clipped():
    """The sum of inputs clipped to [0, 1]: flat on the second half of the way to 2."""
    from onnx import TensorProto, helper, numpy_helper

    stored = {"low": np.float32(0), "high": np.float32(1), "w": np.ones((4, 1), np.float32)}
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "clipped",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        [numpy_helper.from_array(np.asarray(v), n) for n, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_guided_paths_are_those_of_saliency(model: xplain.Model, x: np.ndarray) -> None:
    wanted = np.load(GOLDEN / "guided_path.npy")
    a = xplain.explain(
        model, x, "guided-ig", target=0, steps=40, corridor=0.1, fraction=0.25, channels=True, baseline=0.0
    )
    np.testing.assert_allclose(a.values, wanted, rtol=1e-3, atol=2e-4 * np.abs(wanted).max())


def test_a_guided_path_without_a_corridor_is_the_straight_one(model: xplain.Model, x: np.ndarray) -> None:
    straight = xplain.explain(model, x, "ig", target=0, steps=400, tolerance=None, channels=True).values
    guided = xplain.explain(model, x, "guided-ig", target=0, steps=400, corridor=0.0, channels=True).values
    np.testing.assert_allclose(guided, straight, atol=0.02 * np.abs(straight).max())


def test_blur_steps_are_gradients_times_differences_of_blurred_items(model: xplain.Model, x: np.ndarray) -> None:
    def blurred(width: float) -> np.ndarray:
        return ndimage.gaussian_filter(x.astype(np.float64), (0, 0, width, width), mode="reflect")

    steps, wanted = 10, np.zeros(x.shape)
    for k in range(steps):
        wide, narrow = (3.0 * (1 - (k + j) / steps) ** 2 for j in (0, 1))
        middle = blurred(np.sqrt((wide**2 + narrow**2) / 2))
        wanted += smooth_net.slope(middle) * (blurred(narrow) - blurred(wide))
    a = xplain.explain(model, x, "blur-ig", target=0, sigma=3.0, steps=steps, channels=True)
    np.testing.assert_allclose(a.values, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
    fine = xplain.explain(model, x, "blur-ig", target=0, sigma=3.0, steps=200, channels=True)
    assert not fine.said
    assert np.abs(fine.each["completeness gap"]).max() < 0.02 * np.abs(fine.each["f(x) - f(blurred)"]).max()


def test_what_cannot_be_blurred_says_so() -> None:
    rows = np.ones((1, 4), np.float32)
    with pytest.raises(UsageError, match="no neighbours to blur"):
        xplain.explain(xplain.load(_clipped()), rows, "blur-ig", target=0, layout="NS")


@pytest.mark.parametrize(("ours", "theirs"), [("conductance", "LayerConductance"), ("internal-influence", "Internal")])
def test_units_inside_carry_what_captum_says(ours: str, theirs: str, x: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1),
        torch.nn.Tanh(),
        torch.nn.Conv2d(4, 3, 3),
        torch.nn.Softplus(),
        torch.nn.Flatten(),
        torch.nn.Linear(3 * 4 * 3, 2),
    ).eval()
    inside = net[1]
    peer = getattr(attr, theirs if theirs == "LayerConductance" else "InternalInfluence")(net, inside)
    wanted = peer.attribute(torch.tensor(x), baselines=0.5, target=1, n_steps=300).detach().numpy()
    a = xplain.explain(net, x, ours, target=1, layer="1", baseline=0.5, steps=150, channels=True)
    np.testing.assert_allclose(a.values, wanted, rtol=0.01, atol=0.01 * np.abs(wanted).max())
    if ours == "conductance":
        np.testing.assert_allclose(a.values.sum(axis=(1, 2, 3)), a.scores - a.base, rtol=5e-3)
        # captum's paths of a layer's own values are the option layer= of integrated gradients
        peer = attr.LayerIntegratedGradients(net, inside)
        wanted = peer.attribute(torch.tensor(x), baselines=0.5, target=1, n_steps=200).detach().numpy()
        found = xplain.explain(net, x, "ig", target=1, layer="1", baseline=0.5, steps=96, channels=True).values
        np.testing.assert_allclose(found, wanted, rtol=0.01, atol=0.01 * np.abs(wanted).max())


def test_conductance_at_the_input_is_integrated_gradients(model: xplain.Model, x: np.ndarray) -> None:
    own = xplain.explain(model, x, "conductance", target=0, layer="input", steps=32, channels=True).values
    usual = xplain.explain(model, x, "ig", target=0, steps=32, tolerance=None, channels=True).values
    np.testing.assert_allclose(own, usual, rtol=1e-4, atol=1e-5)
    deep = xplain.explain(model, x, "conductance", target=0, steps=32)  # no layer has positions: the last one before y
    assert deep.facts["layer"] == "units"


def test_a_path_of_few_steps_says_what_it_misses(model: xplain.Model, x: np.ndarray) -> None:
    for method, more in (("guided-ig", {}), ("blur-ig", {}), ("conductance", {"layer": "input"})):
        few = xplain.explain(model, 3 * x, method, target=0, steps=1, **more)
        assert any("miss the difference of the scores by" in text for text in few.said)
