"""Attacks by gradient: what is found is in the ball, on whole numbers, and what the model itself says of it."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import torch

import xplain
from xplain.core.errors import CapabilityError, UsageError

from .conftest import linear, loaded

CARD = {"mode": "RGB", "scale": 1 / 255}


def margin_of(weights, bias, picture):
    """The first class's score less the second's, of a picture in 0..1."""
    flat = picture.transpose(2, 0, 1).reshape(-1) / 255
    scores = flat @ weights + bias
    return scores[0] - scores[1]


def test_a_linear_model_falls_where_its_margin_is_below_epsilon_times_the_sum_of_its_weights(weights, pictures):
    """``|margin| < epsilon ||w0 - w1||_1`` decides, exactly; FGSM finds it, and BIM finds nothing more."""
    fall = np.abs(weights[:, 0] - weights[:, 1]).sum() / 255
    for share, falls in ((2.9, True), (3.1, False)):
        bias = np.array([share * fall - margin_of(weights, np.zeros(2), pictures[0]), 0.0])
        model = xplain.load(linear(weights, bias), card=CARD)
        for kind, options in (("fgsm", {}), ("pgd", {"start": False})):
            found = xplain.attack(model, pictures[:1], kind, epsilon="3/255", **options)
            assert bool(found.fooled[0]) is falls
            assert found.sizes[0, 0] == pytest.approx(3 / 255)
            assert found.after.dtype == np.uint8


@pytest.mark.parametrize("norm", ["linf", "l2", "l1", "l0"])
def test_what_is_found_lies_in_the_ball_on_whole_numbers_and_is_what_the_model_says(norm, weights, pictures):
    epsilon = {"linf": 8 / 255, "l2": 0.5, "l1": 4.0, "l0": 12}[norm]
    model = xplain.load(linear(weights, np.array([0.3, 0.0])), card=CARD)
    found = xplain.attack(model, pictures, "pgd", epsilon=epsilon, norm=norm, steps=12, seed=3)
    change = found.after.astype(int) - found.before.astype(int)
    size = {
        "linf": np.abs(change).max(axis=(1, 2, 3)) / 255,
        "l2": np.sqrt((change**2).sum(axis=(1, 2, 3))) / 255,
        "l1": np.abs(change).sum(axis=(1, 2, 3)) / 255,
        "l0": (change != 0).any(axis=3).sum(axis=(1, 2)),
    }[norm]
    assert (size <= epsilon + 1e-9).all()
    np.testing.assert_allclose(found.sizes[:, ["linf", "l2", "l1", "l0"].index(norm)], size, atol=1e-12)
    said = xplain.predict(model, list(found.after)).argmax(axis=1)
    assert np.array_equal(said, found.became)
    assert np.array_equal(found.fooled, said != np.array(found.labels))
    assert found.fooled.any()


def test_smaller_sizes_come_first_and_decide_what_is_reported(weights, pictures):
    bias = np.array([0.0, 0.0])
    model = xplain.load(linear(weights, bias), card=CARD)
    found = xplain.attack(model, pictures, "pgd", epsilon=["8/255", "1/255", "2/255"], explain=None)
    assert found.epsilons == pytest.approx((1 / 255, 2 / 255, 8 / 255))
    assert (np.diff(found.success.astype(int), axis=1) >= 0).all()
    first = [row.argmax() for row in found.success]
    for n, k in enumerate(first):
        if found.fooled[n]:
            assert found.sizes[n, 0] <= found.epsilons[k] + 1e-9
    assert list(found.rates) == ["1/255", "2/255", "8/255"]
    assert set(found.curve) <= {"0", "1"}


def test_a_target_is_reached_or_not_counted():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(192, 4))
    weights -= weights.mean(axis=0)
    model = xplain.load(linear(weights, np.zeros(4)), card=CARD)
    picture = rng.integers(100, 150, (8, 8, 3)).astype(np.uint8)
    before = int(xplain.predict(model, picture).argmax())
    for wanted in set(range(4)) - {before}:
        found = xplain.attack(model, picture, "pgd", epsilon=8 / 255, target=wanted, explain=None)
        assert found.fooled[0] == (found.became[0] == wanted)
        assert found.goals == (wanted,)
        assert found.fooled[0]


def test_an_item_that_ends_in_a_third_class_is_not_said_to_hold():
    """Its own class is left on the way to one that is too far."""
    w = np.zeros((192, 3))
    w[:, 1], w[:, 2] = 0.02, 0.025
    model = xplain.load(linear(w, np.array([4.0, 1.2, -9.0])), card=CARD)
    picture = np.full((8, 8, 3), 128, np.uint8)
    found = xplain.attack(model, picture, "pgd", epsilon="60/255", target=2, explain=None)
    assert found.labels == (0,)
    assert found.became.tolist() == [1]
    assert not found.fooled[0]
    assert found.verdict == "pgd: 0 of 1 item fooled into 2"
    assert found.verdict_of(0) == "not taken for 2"
    assert "-> 1 " in str(found)
    assert "not taken for 2" in str(found)


def test_the_same_seed_gives_the_same_bits_in_any_company(weights, pictures):
    model = xplain.load(linear(weights, np.array([5.0, -5.0])), card=CARD)
    ask = {"kind": "pgd", "epsilon": "3/255", "seed": 5, "explain": None, "steps": 2, "step": 0.3}
    together, alone = xplain.attack(model, pictures, **ask), xplain.attack(model, pictures[1], **ask)
    assert np.array_equal(together.after[1], alone.after[0])
    other = xplain.attack(model, pictures[1], **{**ask, "seed": 6})
    assert not np.array_equal(other.after, alone.after)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_the_smallest_change_of_an_item_is_no_affair_of_the_others(norm):
    """The balls that are grown around an item are its own: an item that is near its border changes no other's."""
    items = np.random.default_rng(0).random((3, 3, 16, 16)).astype(np.float32)
    items[1] = 0.5
    model = xplain.load(nets.cnn())
    ask = {"norm": norm, "low": 0.0, "high": 1.0, "explain": None, "epsilon": 0.1}
    together = xplain.attack(model, items, "minimal", **ask)
    for n, item in enumerate(items):
        alone = xplain.attack(model, item[None], "minimal", **ask)
        assert np.array_equal(together.after[n], alone.after[0])


def test_tensors_are_attacked_in_their_own_units_without_rounding():
    weights = np.array([[1.0, -1.0], [-2.0, 2.0], [0.5, -0.5]])
    module = torch.nn.Linear(3, 2)
    module.weight.data, module.bias.data = torch.tensor(weights.T, dtype=torch.float32), torch.zeros(2)
    rows = np.array([[1.0, 0.1, 0.2]], np.float32)
    margin = float((rows @ (weights[:, 0] - weights[:, 1]))[0])
    exact = margin / np.abs(weights[:, 0] - weights[:, 1]).sum()
    model = xplain.load(module)
    for share, falls in ((0.99, False), (1.01, True)):
        found = xplain.attack(model, rows, "fgsm", epsilon=share * exact)
        assert bool(found.fooled[0]) is falls
        assert not found.whole
    bounded = xplain.attack(model, rows, "fgsm", epsilon=0.5, low=0.0, high=1.0)
    assert bounded.after.min() >= 0
    assert bounded.after.max() <= 1


def test_a_size_below_one_step_of_a_picture_is_refused(weights, pictures):
    model = xplain.load(linear(weights, np.zeros(2)), card=CARD)
    with pytest.raises(UsageError, match="at least 1/255"):
        xplain.attack(model, pictures, "pgd", epsilon=0.5 / 255)


def test_scores_alone_are_not_enough_and_the_message_says_what_is(pictures):
    model = xplain.load(lambda x: x.reshape(len(x), -1)[:, :2], card=CARD)
    with pytest.raises(CapabilityError, match="Sweep"):
        xplain.attack(model, pictures, "pgd")


def test_a_spent_budget_keeps_what_there_is(weights, pictures):
    model = xplain.load(linear(weights, np.array([900.0, 0.0])), card=CARD)
    found = xplain.attack(model, pictures, "pgd", epsilon="1/255", max_queries=20, explain=None)
    assert not found.fooled.any()
    assert any("ended early" in said for said in found.said)
    assert (found.queries > 0).all()


def test_a_flat_place_is_left_by_noise_or_said(pictures):
    """A saturated softmax as the only score: its gradient is zero in float32, around the item too."""
    rng = np.random.default_rng(1)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2), torch.nn.ReLU())
    module[1].weight.data = torch.tensor(rng.normal(size=(2, 192)), dtype=torch.float32) * 0.01
    module[1].bias.data = torch.tensor([-50.0, -40.0])  # both rectifiers are closed wherever a picture may go
    found = xplain.attack(xplain.load(module, card=CARD), pictures[:1], "pgd", explain=None)
    assert not found.fooled[0]
    assert any("No gradient reaches this item" in said for said in found.said)


def test_results_are_saved_and_read_back(tmp_path, weights, pictures):
    model = xplain.load(linear(weights, np.zeros(2)), card=CARD)
    found = xplain.attack(model, pictures, "pgd", epsilon=["1/255", "6/255"], explain="saliency")
    assert found.maps.shape == (3, 3, 8, 8)
    back = xplain.Attack.load(found.save(tmp_path / "a.npz"))
    for name in ("before", "after", "success", "became", "sizes", "maps", "confidence"):
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
    assert str(back) == str(found)
    assert back.options["epsilon"] == pytest.approx([1 / 255, 6 / 255])
    assert back[1].names == found.names[1:2]
    with np.load(tmp_path / "a.npz") as held:
        members = dict(held)
    members["meta"] = np.array(json.dumps({**json.loads(str(members["meta"])), "labels": []}))
    np.savez(tmp_path / "b.npz", **members)
    with pytest.raises(UsageError, match="0 labels for 3 items"):
        xplain.Attack.load(tmp_path / "b.npz")


def test_one_step_of_one_whole_number_fools_all_nine_pictures(mobilenet, photographs):
    """FGSM, and PGD of 10 steps, at 1/255; ONNX Runtime alone says so of the rounded pictures."""
    model = loaded(mobilenet)
    for kind, options in (("fgsm", {}), ("pgd", {"steps": 10})):
        found = xplain.attack(model, photographs, kind, epsilon="1/255", explain=None, **options)
        assert np.abs(found.after.astype(int) - found.before.astype(int)).max() == 1
        was, now = (mobilenet.scores(one).argmax(axis=1) for one in (found.before, found.after))
        assert np.array_equal(was, found.labels)
        assert np.array_equal(now, found.became)
        assert (was != now).sum() == 9


def test_two_whole_numbers_take_all_nine_pictures_to_a_class_drawn_at_random(mobilenet, photographs):
    wanted = np.random.default_rng(1).integers(1, 1001, 9).tolist()
    found = xplain.attack(loaded(mobilenet), photographs, "pgd", epsilon="2/255", target=wanted, explain=None)
    assert np.abs(found.after.astype(int) - found.before.astype(int)).max() <= 2
    assert (mobilenet.scores(found.after).argmax(axis=1) == wanted).sum() == 9
