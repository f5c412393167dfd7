"""What ends an attack early keeps what there is, and what cannot be attacked is told so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import xplain
from xplain.core.errors import UsageError

from .conftest import linear
from .test_pgd import CARD


def test_an_interruption_returns_what_was_found(weights, pictures):
    w = weights.astype(np.float32)
    asked = []

    def scores(x):
        asked.append(len(x))
        if len(asked) == 40:
            raise KeyboardInterrupt
        return x.reshape(len(x), -1) @ w + np.array([30.0, -30.0], np.float32)

    found = xplain.attack(xplain.load(scores, card=CARD), pictures, "square", epsilon="2/255", queries=500)
    assert found.facts["interrupted"]
    assert any("interrupted" in said for said in found.said)
    assert (found.queries > 0).all()
    first = xplain.predict(lambda x: x.reshape(len(x), -1) @ w, list(found.before), card=CARD)
    now = xplain.predict(lambda x: x.reshape(len(x), -1) @ w, list(found.after), card=CARD)
    assert (np.abs(now[:, 0] - now[:, 1]) < np.abs(first[:, 0] - first[:, 1])).any() or found.fooled.any()


def test_a_score_that_is_no_number_ends_one_item_alone_with_its_last_good_picture(weights, pictures):
    w = weights.astype(np.float32)
    sick = pictures[1].copy()
    sick[0, 0] = 7  # the item whose scores break once it is changed enough

    def scores(x):
        found = x.reshape(len(x), -1) @ w + np.array([40.0, -40.0], np.float32)
        broken = np.abs(x[:, 0, 0, 0] * 255 - 7) < 5
        moved = np.abs(x[:, 0, 0, 0] * 255 - 7) > 0.5
        found[broken & moved] = np.nan
        return found

    model = xplain.load(scores, card=CARD)
    found = xplain.attack(model, [pictures[0], sick], "square", epsilon="3/255", queries=30)
    assert any("no number" in said for said in found.said)
    assert np.isfinite(found.margin).all()
    assert found.queries[0] >= 30
    assert np.isfinite(xplain.predict(model, list(found.after))).all()


def test_whole_numbers_that_stand_for_something_are_refused():
    model = xplain.load(lambda x: np.asarray(x, float)[:, :2])
    with pytest.raises(UsageError, match="stands for something else"):
        xplain.attack(model, np.array([[1, 2, 3]]), "square", epsilon=1)


def test_words_are_refused_as_what_they_are():
    with pytest.raises(UsageError, match="The items are texts"):
        xplain.attack(xplain.text(lambda texts: [[len(t), 3] for t in texts]), "a good film", "square", epsilon=1)


def test_an_attack_that_was_paid_for_costs_nothing_again(tmp_path, weights, pictures):
    model = xplain.load(linear(weights, np.array([4.0, -4.0])), card=CARD)
    asked = {"epsilon": "6/255", "queries": 40, "cache": tmp_path / "answers", "explain": None}
    first, second = (xplain.attack(model, pictures, "square", **asked) for _ in range(2))
    assert first.cost.queries > 40
    assert second.cost.queries == 0
    assert np.array_equal(first.after, second.after)


def test_a_model_of_one_score_has_no_class_to_be_taken_for(pictures):
    model = xplain.load(lambda x: x.reshape(len(x), -1)[:, :1], card=CARD)
    with pytest.raises(UsageError, match="one score per item"):
        xplain.attack(model, pictures, "square")


def test_a_model_that_rounds_its_input_is_attacked_by_scores_though_not_by_gradients(pictures):
    """uint8 inside: rounding has no gradient, and the result says so; square needs none."""

    class Rounding(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(192, 2)
            self.head.weight.data = torch.tensor(np.random.default_rng(0).normal(size=(2, 192)), dtype=torch.float32)
            self.head.weight.data -= self.head.weight.data.mean(1, keepdim=True)

        def forward(self, x):
            return self.head(torch.round(255 * x).flatten(1) / 255)

    model = xplain.load(Rounding().eval(), card=CARD)
    flat = xplain.attack(model, pictures[:1], "pgd", epsilon="16/255", steps=6, explain=None)
    assert flat.fooled[0] or any("No gradient reaches" in said for said in flat.said)
    found = xplain.attack(model, pictures[:1], "square", epsilon="16/255", queries=200, explain=None)
    assert found.fooled[0]


@pytest.mark.parametrize("kind", ["pgd", "decision", "square", "minimal"])
def test_an_item_that_is_of_the_target_class_is_said_apart_and_neither_attacked_nor_counted(kind, weights, pictures):
    """The second picture is of class 0 from the start; the first and the third are taken to it or hold."""
    model = xplain.load(linear(weights, np.zeros(2)), card=CARD)
    signs = np.sign(weights[:, 0]).reshape(3, 8, 8).transpose(1, 2, 0)
    likely, unlike = ((128 + size * signs).astype(np.uint8) for size in (40, -40))
    ask = {"target": 0, "epsilon": "60/255", "norm": "linf", "explain": None}
    ask |= {} if kind in ("pgd", "minimal") else {"queries": 300}
    found = xplain.attack(model, [unlike, likely, unlike], kind, **ask)
    assert found.already.tolist() == [False, True, False]
    assert not found.fooled[1]
    assert found.queries[1] == 0
    assert np.array_equal(found.before[1], found.after[1])
    alone = xplain.attack(model, [unlike], kind, **ask)
    assert found.fooled.tolist() == [bool(alone.fooled[0]), False, bool(alone.fooled[0])]
    np.testing.assert_array_equal(found.after[0], alone.after[0])
    assert found.rates == alone.rates
    assert found.curve == alone.curve
    assert found.verdict == f"{kind}: {2 * int(alone.fooled[0])} of 2 items fooled into 0; 1 is already of that class"
    assert "already of that class, not attacked" in str(found)
    (only,) = [xplain.attack(model, [likely], kind, **ask)]
    assert only.rates == only.curve == {}
    assert f"{kind}: 0 of 0 items fooled into 0; 1 is already of that class" in str(only)


def test_a_patch_is_neither_made_nor_tried_on_items_of_its_class():
    w = np.zeros((3, 8, 8, 2))
    w[0, ..., 1], w[1, ..., 1] = 1.0, -1.0
    model = xplain.load(linear(w.reshape(-1, 2), np.array([3.0, 0.0])), card=CARD)
    grey, red = np.full((8, 8, 3), 120, np.uint8), np.full((8, 8, 3), 60, np.uint8)
    red[..., 0] = 220
    ask = {"target": 1, "side": 5, "steps": 6, "explain": None, "held_out": 0.5}
    found = xplain.attack(model, [red, grey, grey + 1], "patch", **ask)
    assert found.already.tolist() == [True, False, False]
    assert np.isnan(found.each["share of placements"][0])
    assert found.each["share of placements"][1:].tolist() == [1.0, 1.0]
    assert found.each["held out"].sum() == 1
    assert not found.each["held out"][0]
    assert found.shared.shape == (5, 5, 3)
    assert xplain.attack(model, [red], "patch", **ask).shared is None


def test_a_decision_attack_towards_a_class_needs_a_start_of_it(weights, pictures):
    model = xplain.load(linear(weights, np.array([90.0, 0.0])), card=CARD)
    found = xplain.attack(model, pictures, "decision", target=1, queries=50, explain=None)
    assert not found.fooled.any()
    assert any("give a picture of it among the items" in said for said in found.said)


@pytest.mark.parametrize("given", ["2/0", "much", -1, True, float("nan"), "1/255,none"])
def test_sizes_that_are_none_are_refused(given, weights, pictures):
    model = xplain.load(linear(weights, np.zeros(2)), card=CARD)
    with pytest.raises(UsageError, match="a size above 0"):
        xplain.attack(model, pictures, "pgd", epsilon=given)


def test_no_picture_is_more_than_white_from_black(weights, pictures):
    model = xplain.load(linear(weights, np.zeros(2)), card=CARD)
    with pytest.raises(UsageError, match="at most 1, from black to white"):
        xplain.attack(model, pictures, "pgd", epsilon="300/255")


def test_a_decision_attack_asks_no_more_than_it_may_though_no_start_is_found(pictures):
    model = xplain.load(lambda x: np.tile([1.0, 0.0], (len(x), 1)), card=CARD)
    found = xplain.attack(model, pictures[:1], "decision", queries=20, explain=None)
    assert found.queries.tolist() == [20]
    assert any("no start" in said for said in found.said)


def test_maps_that_cannot_be_made_are_said_and_the_attack_stands(weights, pictures):
    model = xplain.load(linear(weights, np.zeros(2)), card=CARD)
    found = xplain.attack(model, pictures, "pgd", epsilon="8/255", explain="grad-cam")
    assert found.maps is None
    assert any("no map of 'grad-cam'" in said for said in found.said)


def test_rows_with_a_column_of_words_are_refused_by_its_name():
    def scores(rows):
        return np.stack([np.asarray(rows["age"], float), -np.asarray(rows["age"], float)], 1)

    rows = {"age": [1.0, 2.0], "job": ["nurse", "clerk"]}
    model = xplain.table(scores, columns=rows)
    with pytest.raises(UsageError, match="Column 'job' holds words"):
        xplain.attack(model, rows, "square", epsilon=0.5)
