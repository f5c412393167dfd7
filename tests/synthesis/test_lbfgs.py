"""L-BFGS is scipy's, to the bit, and recipes end as if scipy had called the model itself."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der

import xplain
from tests.contract.test_recipes import file
from tests.synthesis.test_making import Stop
from xplain.core.synthesis.canvas import Pixels
from xplain.core.synthesis.commission import Commission
from xplain.core.synthesis.ink import PLAIN
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.slope import Sloped
from xplain.explainers.synthesis.climb import Climb, gone
from xplain.explainers.synthesis.optimisers import Adam, Lbfgs

PICTURE = np.random.default_rng(1).integers(60, 200, (12, 10, 3), np.uint8)
HOW: dict[str, Any] = {"size": (12, 10), "frames": 0, "optimiser": "lbfgs"}


def test_places_are_those_that_scipy_calls_its_function_at():
    wanted = []

    def seen(x: Any) -> tuple[float, Any]:
        wanted.append(x.copy())
        return rosen(x), rosen_der(x)

    start = np.array([-1.2, 1.0, 0.3])
    minimize(seen, start, jac=True, method="L-BFGS-B", options={"ftol": 0.0, "gtol": 0.0})
    way, places = Lbfgs(start), []
    while way.place is not None:
        places.append(way.place)
        way.tell(rosen(way.place), rosen_der(way.place))
    assert np.array_equal(places, wanted)
    np.testing.assert_allclose(places[-1], 1, atol=1e-6)


def test_a_search_that_is_stopped_leaves_no_thread_behind():
    before = threading.active_count()
    way = Lbfgs(np.zeros(3))
    way.tell(1.0, np.ones(3))
    way.stop()
    way.stop()
    assert way.place is None
    assert threading.active_count() == before


def _bowl(n: int, x: Any) -> tuple[float, Any]:
    """A quartic valley, another one for each state, at the float32 numbers that a state has."""
    x = x.astype(np.float32).astype(np.float64)
    scale, apart = np.linspace(1, 30 + 9 * n, x.size), x - 0.3 * (n + 1)
    return float((scale * apart**4 + apart**2).sum()), scale * 4 * apart**3 + 2 * apart


def test_several_states_each_go_the_way_that_scipy_goes_with_one():
    canvas = Pixels((3, 2), 1)
    commission = Commission(file().outline, PLAIN, (3, 2), ("a", "b"))
    way = Climb(canvas, Objective(()), Adam, steps=30)
    start = np.random.default_rng(0).normal(size=(2, 1, 3, 2)).astype(np.float32)
    flow, ended = gone("lbfgs", commission, way, start), []

    def kept() -> Any:
        ended.append((yield from flow))

    asking = kept()
    told: Any = None
    with suppress(StopIteration):
        while True:
            query = asking.send(told)
            each = [_bowl(n, one.ravel()) for n, one in enumerate(query.state)]
            told = Sloped(np.array([-v for v, _ in each]), np.stack([-g for _, g in each]).reshape(start.shape))
    (found,) = ended
    for n in range(2):
        seen: list[Any] = []

        def asked(x: Any, n: int = n, seen: list[Any] = seen) -> tuple[float, Any]:
            seen.append((_bowl(n, x)[0], x.astype(np.float32)))
            return _bowl(n, x)

        options = {"ftol": 0.0, "gtol": 0.0}
        minimize(asked, start[n].ravel().astype(float), jac=True, method="L-BFGS-B", options=options)
        best = min(seen[:30], key=lambda one: one[0])
        assert np.array_equal(found.state[n].ravel(), best[1])
        np.testing.assert_array_equal(-found.trace[: len(seen), n], np.minimum.accumulate([v for v, _ in seen])[:30])


def test_the_same_seed_gives_the_same_bits_and_more_steps_are_never_worse():
    model = file()
    found = xplain.make(model, "invert", PICTURE, layers="first", steps=40, **HOW)
    again = xplain.make(model, "invert", PICTURE, layers="first", steps=40, **HOW)
    assert np.array_equal(found.state, again.state)
    assert (np.diff(found.trace) >= 0).all()
    np.testing.assert_allclose(-found.trace[:, -1], found.each["distance"], rtol=1e-3)
    adam = xplain.make(model, "invert", PICTURE, layers="first", steps=40, size=(12, 10), frames=0)
    assert found.each["distance"][0] < adam.each["distance"][0]


@pytest.mark.parametrize("recipe", ["texture", "style"])
def test_statistics_come_near_by_lbfgs(recipe):
    other = {"style": [255 - PICTURE]} if recipe == "style" else {}
    found = xplain.make(file(), recipe, [PICTURE], steps=25, **HOW, **other)
    assert found.trace[0, -1] > 0.5 * found.trace[0, 0]


def test_a_resumed_way_goes_on_from_the_best_state_and_says_so(tmp_path):
    kept, asked = tmp_path / "way.npz", {"layers": "first", "steps": 20}
    first = xplain.make(file(), "invert", PICTURE, **asked, **HOW, preview=Stop(9), resume=kept)
    found = xplain.make(file(), "invert", PICTURE, **asked, **HOW, resume=kept)
    assert any("learnt the curvature anew" in said for said in found.said)
    assert found.trace[0, -1] > first.trace[0, -1]
    assert found.trace.shape == (1, 20)


def test_a_spent_budget_keeps_the_best_state_and_ends_the_search():
    before = threading.active_count()
    found = xplain.make(file(), "invert", PICTURE, layers="first", steps=40, max_queries=12, **HOW)
    assert any("The way up ended after" in said for said in found.said)
    assert np.isfinite(found.trace).sum() > 1
    assert np.isfinite(found.picture).all()
    assert threading.active_count() == before


def test_numbers_that_are_none_end_one_search_at_its_best():
    canvas, start = Pixels((3, 2), 1), np.ones((1, 1, 3, 2), np.float32)
    way = Climb(canvas, Objective(()), Adam, steps=5)
    flow, asked = gone("lbfgs", Commission(file().outline, PLAIN, (3, 2), ("a",)), way, start), 0
    told: Any = None
    try:
        while True:
            flow.send(told)
            value = np.nan if asked else -1.0
            told, asked = Sloped(np.array([value]), np.full(start.shape, 0.5)), asked + 1
    except StopIteration as end:
        found = end.value
    assert asked == 2
    assert np.array_equal(found.state, start)
    assert any("no number any more" in one.text for one in found.caveats)
    assert found.trace[:, 0].tolist() == [-1.0, -1.0]
