"""Attacks on a model behind a wire: no row leaves beyond the budget, and what was paid once is not asked again."""

from __future__ import annotations

import numpy as np
import pytest
from servers import V2Server

import xplain

SIDE = 6
CARD = {"mode": "RGB", "crop": [SIDE, SIDE], "labels": ["dark", "bright"]}
PICTURE = np.full((SIDE, SIDE, 3), 119, np.uint8)


def brightness(feeds):
    """Class 1 where the picture is brighter than 119.5 of 255 in the mean."""
    mean = feeds["x"].mean(axis=(1, 2, 3))
    return {"y": np.stack([119.5 / 255 - mean, mean - 119.5 / 255], axis=1).astype(np.float32)}


@pytest.fixture
def live(serve):
    handler = V2Server(brightness, {"x": ("FP32", [-1, 3, SIDE, SIDE])}, {"y": ("FP32", [-1, 2])})
    server = serve(handler)
    return handler, xplain.load(f"{server.url}/v2/models/m", card=CARD)


@pytest.mark.parametrize(("kind", "more"), [("square", {"epsilon": "4/255"}), ("decision", {})])
@pytest.mark.parametrize("budget", [9, 60])
def test_a_live_endpoint_gets_no_row_beyond_the_budget_and_what_was_found_is_kept(live, kind, more, budget):
    handler, model = live
    found = xplain.attack(model, [PICTURE], kind, max_queries=budget, queries=500, **more)
    assert 0 < sum(handler.batches) <= budget
    assert found.cost.queries == sum(handler.batches)
    assert found.queries[0] <= budget
    if found.fooled[0]:  # what is told is true of the picture, whoever asks
        assert brightness({"x": found.after.transpose(0, 3, 1, 2) / 255})["y"][0].argmax() == 1


@pytest.mark.parametrize(("kind", "more"), [("square", {"epsilon": "4/255"}), ("decision", {})])
def test_an_attack_that_is_made_again_asks_nothing_that_lies_in_the_cache(live, tmp_path, kind, more):
    handler, model = live
    first = xplain.attack(model, [PICTURE], kind, queries=40, cache=tmp_path / "answers", **more)
    paid = sum(handler.batches)
    assert paid > 0
    again = xplain.attack(model, [PICTURE], kind, queries=40, cache=tmp_path / "answers", **more)
    assert sum(handler.batches) == paid
    assert np.array_equal(first.after, again.after)
    assert np.array_equal(first.margin, again.margin)
