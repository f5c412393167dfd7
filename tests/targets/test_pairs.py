"""Several inputs at once: one set of players, one path and one sweep over all, a map for each."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper, numpy_helper

import xplain
from tests.targets.heads import HEADS, made, node, picture
from xplain.core.errors import UnknownName, UsageError

RNG = np.random.default_rng(2)
LEFT, RIGHT = (RNG.random((2, 3, 16, 16)).astype(np.float32) for _ in range(2))
IDS = np.array([[1, 4, 2, 7], [0, 3, 3, 9]])


@pytest.fixture(scope="module")
def pair():
    return xplain.joint(HEADS["siamese"]().SerializeToString(), ["left", "right"])


@pytest.fixture(scope="module")
def captioned():
    return xplain.joint(HEADS["picture_and_text"]().SerializeToString(), ["pixel_values", "input_ids"])


def alone(name, explained, other, value):
    return xplain.load(HEADS[name]().SerializeToString(), input=explained, fixed={other: value})


def test_gradients_are_those_of_each_input_with_the_other_held(pair):
    maps = pair.maps(xplain.explain(pair, (LEFT, RIGHT), "input-x-gradient"))
    for n in range(2):
        for name, other, x, held in (("left", "right", LEFT, RIGHT), ("right", "left", RIGHT, LEFT)):
            expected = xplain.explain(alone("siamese", name, other, held[n : n + 1]), x[n : n + 1], "input-x-gradient")
            np.testing.assert_allclose(maps[name].values[n], expected.values[0], rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(maps[name].scores[n], expected.scores[0], rtol=1e-6)


def test_one_path_adds_up_over_all_inputs(pair):
    base = np.full(2 * 3 * 16 * 16, 0.1, np.float32)
    found = xplain.explain(pair, {"right": RIGHT, "left": LEFT}, "integrated-gradients", baseline=base)
    maps = pair.maps(found)
    total = sum(one.values.reshape(2, -1).sum(1) for one in maps.values())
    np.testing.assert_allclose(total, found.scores - found.base, atol=0.03 * np.abs(found.scores - found.base).max())
    assert maps["left"].values.shape == maps["right"].values.shape == (2, 16, 16)


@pytest.mark.parametrize("method", ["kernel-shap", "ablation"])
def test_one_set_of_players_sees_that_inputs_matter_together(pair, method):
    players = pair.players(cells=2)
    assert len(np.unique(players)) == 8
    options = {"kernel-shap": {"samples": 254}}.get(method, {})
    same = xplain.explain(pair, (LEFT, LEFT), method, features=players, baseline=0.1, **options)
    maps = pair.maps(same)
    np.testing.assert_allclose(maps["left"].values, maps["right"].values, atol=1e-4)  # a pair of equals is symmetric
    for one in maps.values():
        assert all(len(np.unique(np.round(m, 6))) <= 4 for m in one.values)
    if method == "kernel-shap":
        worth = np.asarray([[np.unique(m).sum() for m in one.values] for one in maps.values()]).sum(0)
        np.testing.assert_allclose(worth, same.scores - same.base, atol=1e-4)


def test_token_ids_are_explained_by_what_they_become(captioned):
    found = xplain.explain(captioned, (LEFT, IDS), "input-x-gradient")
    maps = captioned.maps(found)
    assert maps["input_ids"].values.shape == (2, 4)
    assert maps["pixel_values"].values.shape == (2, 16, 16)
    # the score is linear in the tokens' embeddings, so their values add up to it
    np.testing.assert_allclose(maps["input_ids"].values.sum(1), found.scores, rtol=1e-4)
    hidden = xplain.explain(captioned, (LEFT, IDS), "ablation", features=captioned.players(cells=4))
    np.testing.assert_allclose(
        captioned.maps(hidden)["input_ids"].values, maps["input_ids"].values, rtol=1e-3, atol=1e-5
    )


def test_scores_are_the_model_s_own(captioned):
    expected = np.asarray(xplain.predict(alone("picture_and_text", "pixel_values", "input_ids", IDS[:1]), LEFT[:1]))
    np.testing.assert_allclose(np.asarray(xplain.predict(captioned, (LEFT[:1], IDS[:1]))), expected, rtol=1e-5)


def test_results_are_saved_and_drawn(pair, tmp_path):
    from xplain.results import load

    one = pair.maps(xplain.explain(pair, (picture(a5=(1, 2.0)) + 0.1, RIGHT[:1]), "saliency"))["left"]
    one.save(tmp_path / "left.npz")
    np.testing.assert_array_equal(load(tmp_path / "left.npz").values, one.values)
    assert one.overlay(0).size[0] > 0


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ((LEFT,), "2 arrays"),
        (LEFT, "2 arrays"),
        ({"left": LEFT}, "right"),
        ((LEFT, RIGHT[:1]), "as many of each"),
        ({"left": LEFT, "right": RIGHT, "third": LEFT}, "Unknown input 'third'; accepted: left, right"),
        ((LEFT[:0], RIGHT[:0]), "have no items"),
        ((LEFT, RIGHT[:, :1]), r"\[N, 3, 16, 16\]"),
    ],
)
def test_items_that_are_no_pair_are_refused(pair, items, says):
    with pytest.raises(UsageError, match=says):
        xplain.explain(pair, items, "saliency")


def test_inputs_that_cannot_be_joined_are_refused(captioned):
    file = HEADS["siamese"]().SerializeToString()
    with pytest.raises(UsageError, match="at least two"):
        xplain.joint(file, ["left"])
    with pytest.raises(UnknownName, match="right"):
        xplain.joint(file, ["left", "rigth"])
    with pytest.raises(UsageError, match="whole numbers from 0 to 9"):
        xplain.explain(captioned, (LEFT, IDS + 5), "saliency")
    nodes = [node("Flatten", "x", "z"), node("Cast", "ids", "f", to=1), node("Mul", "z f", "y")]
    more = made(nodes, [("y", 1, ["N", 4])], inputs=(("x", 1, ["N", 4]), ("ids", 7, ["N", 4])))
    with pytest.raises(UsageError, match="go into Cast"):
        xplain.joint(more.SerializeToString(), ["x", "ids"])


def test_large_weights_stay_outside_the_graph():
    """A table of 40,000 words is taken out of the graph when it is loaded, and looked up all the same."""
    model = xplain.joint(HEADS["picture_and_text"](words=40_000).SerializeToString(), ["pixel_values", "input_ids"])
    ids = np.array([[39_999, 4, 2, 7]])
    found = xplain.explain(model, (LEFT[:1], ids), "input-x-gradient")
    np.testing.assert_allclose(model.maps(found)["input_ids"].values.sum(1), found.scores, rtol=1e-4)
    with pytest.raises(UsageError, match="whole numbers from 0 to 39999"):
        xplain.explain(model, (LEFT[:1], ids + 1), "saliency")


def test_a_file_made_for_one_item_is_asked_as_many_as_any():
    """torch's older exporter fixes the batch of both inputs, and shapes inside say so as well."""
    free, fixed = HEADS["siamese"](), HEADS["siamese"]()
    for entry in (*fixed.graph.input, *fixed.graph.output):
        entry.type.tensor_type.shape.dim[0].ClearField("dim_param")
        entry.type.tensor_type.shape.dim[0].dim_value = 1
    name = fixed.graph.output[0].name
    last = next(node for node in fixed.graph.node if name in node.output)
    last.output[list(last.output).index(name)] = "before"
    fixed.graph.initializer.append(numpy_helper.from_array(np.array([1, -1]), "once"))
    fixed.graph.node.append(helper.make_node("Reshape", ["before", "once"], [name]))
    one, other = xplain.joint(free, ["left", "right"]), xplain.joint(fixed, ["left", "right"])
    assert other.outline.batch == "edited"
    want = xplain.explain(one, {"left": LEFT, "right": RIGHT}, "integrated-gradients", steps=6, target=0)
    found = xplain.explain(other, {"left": LEFT, "right": RIGHT}, "integrated-gradients", steps=6, target=0)
    np.testing.assert_allclose(found.values, want.values, atol=1e-5)
