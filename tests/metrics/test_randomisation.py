"""Weights are drawn anew in the graph itself, and what changes is what was learnt."""

from __future__ import annotations

import nets
import numpy as np
import pytest
from onnx import numpy_helper

import xplain
from xplain.core.errors import CapabilityError, UsageError
from xplain.graph.build.redrawn import redrawn, weighted
from xplain.measure import agreement, randomisation, relearned
from xplain.metrics.agreement import rank_agreement, sign_agreement, topk_agreement
from xplain.metrics.randomisation import efficient_mprt, likeness, mprt
from xplain.session.measures.grading import grade
from xplain.testing import linear

X = np.random.default_rng(1).random((6, 3, 16, 16)).astype(np.float32)


def weights_of(model):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


@pytest.mark.parametrize("make", [nets.cnn, nets.quantised])
def test_layers_and_their_weights_are_found(make):
    found = weighted(make())
    assert len(found) >= 1
    names = {one for tensors in found.values() for one in tensors}
    assert names <= set(weights_of(make()))
    if make is nets.cnn:
        assert found == {"conv1": ("w1", "b1"), "conv2": ("w2", "b2"), "logits": ("w3", "b3")}


def test_numbers_are_put_in_another_order_and_the_rest_stays():
    model = nets.cnn()
    made, _ = redrawn(model, {}, ["w2", "b3"], 0, "shuffle")
    before, after = weights_of(model), weights_of(made)
    for name, values in before.items():
        np.testing.assert_array_equal(np.sort(after[name].ravel()), np.sort(values.ravel()))
        assert (name in ("w2", "b3")) == (not np.array_equal(after[name], values))
    normal = weights_of(redrawn(model, {}, ["w2"], 0, "normal")[0])["w2"]
    assert normal.std() == pytest.approx(before["w2"].std(), rel=0.1)
    assert not np.isin(normal, before["w2"]).any()
    again = weights_of(redrawn(model, {}, ["w1", "w2"], 0, "shuffle")[0])
    np.testing.assert_array_equal(again["w2"], after["w2"], err_msg="drawn alike whichever others are")


@pytest.mark.parametrize("make", [nets.cnn, lambda: nets.cnn(batch=1)])
def test_the_model_answers_as_a_file_with_those_weights_does(make):
    loaded = xplain.load(make())
    before = xplain.predict(loaded, X)
    changed = loaded.redrawn(["conv1", "logits"], 5)
    file = redrawn(make(), {}, ["w1", "b1", "w3", "b3"], 5, "shuffle")[0]
    np.testing.assert_allclose(xplain.predict(changed, X), xplain.predict(xplain.load(file), X), rtol=1e-5, atol=1e-6)
    sweeps = [xplain.explain(one, X, "saliency", target=0).values for one in (changed, xplain.load(file))]
    np.testing.assert_allclose(*sweeps, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(xplain.predict(loaded, X), before)
    assert changed.outline.digest != loaded.outline.digest
    with pytest.raises(UsageError, match="conv1"):
        loaded.redrawn(["conv"], 5)


def test_a_map_that_reads_the_model_changes_and_one_that_does_not_stays():
    """All layers are all layers from either end, one at a time says nothing of entropy, and noise is averaged away."""
    model = nets.cnn()
    found = randomisation(model, X, "saliency", stages=3)
    assert found.stages == (1, 2, 3)
    assert found.alike.shape == (6, 3)
    assert found.mean.mean < 0.6
    top = randomisation(model, X, "saliency", "independent")
    assert top.stages == (1, 2, 3)
    assert np.isnan(top.entropy).all()
    bottom = randomisation(model, X, "saliency", "bottom-up")
    np.testing.assert_allclose(bottom.alike[:, -1], found.alike[:, -1], rtol=1e-6, err_msg="all layers are all layers")
    smooth = randomisation(model, X[:2], "saliency", stages=1, smooth=3)
    assert smooth.stages == (3,)
    assert "3 of 3" in smooth.sentence()
    assert found.forgets is True
    assert "They change as the model forgets" in str(found)


def test_models_that_learnt_different_things_are_told_apart_by_what_reads_them():
    model, same, other = (xplain.load(nets.cnn()) for _ in range(3))
    found = relearned(model, other.redrawn(other.weighted(), 9), X, "saliency", target=0)
    assert found.tells_apart is True
    assert found.alike.max() < 0.9
    alike = relearned(model, same, X, "saliency", target=0)
    np.testing.assert_allclose(alike.alike, 1)
    assert alike.tells_apart is False
    assert "show the picture rather than what was learnt" in str(alike)


def test_what_is_said_of_stages():
    rng = np.random.default_rng(0)
    same = rng.random((4, 9, 9))
    np.testing.assert_allclose(mprt(np.stack([same, same, same])), 1)
    np.testing.assert_allclose(mprt(np.stack([same, -same])), 1, err_msg="a flipped sign is no change")
    np.testing.assert_allclose(mprt(np.stack([same, 1 - same])), -1)
    assert abs(mprt(np.stack([same, rng.random((4, 9, 9))])).mean()) < 0.2
    np.testing.assert_allclose(likeness(np.stack([same, same**2])), 1)
    two = np.zeros((1, 1, 8))
    two[..., :4] = 1
    four = np.arange(8.0).reshape(1, 1, 8) // 2
    np.testing.assert_allclose(efficient_mprt(np.stack([two, four]), bins=4), np.log(4) / np.log(2) - 1)
    assert np.isnan(efficient_mprt(np.stack([np.ones((1, 1, 8)), four]), bins=4))


def test_what_has_no_weights_says_so():
    with pytest.raises(CapabilityError, match="no ONNX graph whose weights"):
        randomisation(linear(np.ones(4)), np.ones((1, 4), np.float32), "occlusion")
    with pytest.raises(UsageError, match="'cascading', 'bottom-up', 'independent'"):
        randomisation(nets.cnn(), X, "saliency", "sideways")
    for name, value in (("draw", "dice"), ("smooth", -1), ("stages", True)):
        with pytest.raises(UsageError, match=f"{name} is"):
            randomisation(nets.cnn(), X, "saliency", **{name: value})
    with pytest.raises(UsageError, match="stages"):
        randomisation(nets.cnn(), X, "saliency", stages=0)
    with pytest.raises(UsageError, match="stands for 2 targets"):
        randomisation(nets.cnn(), X, "saliency", target="top2")


def test_agreement_is_of_order_of_the_top_and_of_signs():
    one = np.arange(20.0).reshape(1, 4, 5) - 5
    np.testing.assert_allclose(rank_agreement(one, one**3), 1)
    np.testing.assert_allclose(rank_agreement(one, -one), -1)
    np.testing.assert_allclose(topk_agreement(one, -one), 0)
    np.testing.assert_allclose(topk_agreement(one, one + 3), 1)
    np.testing.assert_allclose(sign_agreement(one, -one), 0)
    half = one.copy()
    half[0, 3, 4] *= -1
    np.testing.assert_allclose(sign_agreement(one, half), 0.5)
    assert np.isnan(rank_agreement(one, np.ones_like(one)))
    with pytest.raises(UsageError, match="the same items and positions"):
        rank_agreement(one, one[:, 1:])


def test_methods_are_held_against_one_another():
    model = xplain.load(nets.cnn())
    found = [xplain.explain(model, X, name, target=0) for name in ("saliency", "input-x-gradient", "saliency")]
    pairs = agreement(found)
    assert [(one.first, one.second) for one in pairs][1] == ("saliency", "saliency")
    np.testing.assert_allclose(pairs[1].values["rank-agreement"], 1)
    assert set(pairs[0].values) == {"rank-agreement", "top-k-agreement", "sign-agreement"}
    assert "saliency and input-x-gradient: rank-agreement" in str(pairs[0])
    with pytest.raises(UsageError, match="two or more"):
        agreement(found[:1])


@pytest.mark.parametrize(("name", "advice"), [("mprt", "randomisation"), ("rank-agreement", "agreement")])
def test_a_metric_of_more_than_one_map_names_who_asks_it(name, advice):
    session = xplain.session.run.Session(nets.cnn(), xplain.session.request.Request({"saliency": {}}))
    part = session.read(X)
    with pytest.raises(UsageError, match=f"Ask xplain.measure.{advice}"):
        grade(session, part, session.explain(part, "saliency")[0], name)
