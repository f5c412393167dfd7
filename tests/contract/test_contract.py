"""The contract that every registered method keeps; the tests are generated from the registry."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

import xplain
from xplain.cli.asking.loading import Asking, Loading
from xplain.cli.asking.reading import RowOptions
from xplain.cli.verbs.explain import explain as verb
from xplain.core.declaring.registry import Method
from xplain.core.errors import BudgetError, UnknownName, UsageError
from xplain.core.query import Score
from xplain.results.result import plain_values
from xplain.testing import Formula, constant, linear, product

from .conftest import quick, subject


def explain(entry: Method, model: Any, x: np.ndarray, **more: Any) -> xplain.Attribution:
    return xplain.explain(model, x, entry.name, **{"target": 0, **quick(entry), **more})


def test_shape_and_finiteness(entry: Method, x: np.ndarray) -> None:
    a = explain(entry, subject(entry), x)
    assert a.values.shape in {(3, 12, 12), (3, 2, 12, 12)}
    assert a.values.dtype == np.float32
    assert np.isfinite(a.values).all()
    assert np.abs(a.values).max() > 0
    assert a.unit
    assert entry.signed or a.values.min() >= 0


def test_sampled_methods_know_their_error(entry: Method, x: np.ndarray) -> None:
    a = explain(entry, subject(entry), x)
    if not entry.sampled:
        assert a.error is None
        return
    assert a.error is not None
    assert a.error.shape == a.values.shape
    assert np.isfinite(a.error).all()
    assert a.error.min() >= 0 < a.error.max()
    assert len(a.notes["effective"]) == len(a.notes["stability"]) == len(a.notes["top"]) == 3
    assert min(a.notes["effective"]) > 1
    assert all(0 <= probability <= 1 for probability in a.notes["stability"])
    assert min(a.notes["top"]) >= (not entry.adaptive)  # what is found may be nothing


def test_same_seed_same_bits_other_seed_other_draws(entry: Method, x: np.ndarray) -> None:
    first, again, other = (explain(entry, subject(entry), x, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.values, again.values)
    assert entry.sampled != np.array_equal(first.values, other.values)


@pytest.mark.parametrize("batch_size", [1, 7, 1000])
def test_batch_size_changes_last_bits_at_most(entry: Method, x: np.ndarray, batch_size: int) -> None:
    usual, cut = (explain(entry, subject(entry), x, batch_size=size) for size in (None, batch_size))
    if entry.needs == {Score}:
        assert np.array_equal(usual.values, cut.values)
        assert entry.sampled is False or np.array_equal(usual.error, cut.error)
    else:  # the runtime's own sums may depend on the batch in the last bits
        np.testing.assert_allclose(usual.values, cut.values, rtol=1e-4, atol=1e-5 * np.abs(usual.values).max())


def test_an_item_does_not_depend_on_its_batch(entry: Method, x: np.ndarray) -> None:
    whole = explain(entry, subject(entry), x)
    turned = explain(entry, subject(entry), x[[2, 0, 1]])
    alone = explain(entry, subject(entry), x[1:2])
    np.testing.assert_array_equal(turned.values, whole.values[[2, 0, 1]])
    np.testing.assert_array_equal(alone.values, whole.values[1:2])
    for other, items in ((turned, [2, 0, 1]), (alone, [1])):  # what is said to be the run's is not one item's
        assert plain_values(other.facts) == plain_values(whole.facts)
        assert list(other.each) == list(whole.each)
        for n, item in enumerate(items):
            found, wanted = other.notes_of(n), whole.notes_of(item)
            for name in whole.each:
                assert _alike(plain_values(found[name]), plain_values(wanted[name])), name


def _alike(found: Any, wanted: Any) -> bool:
    """Whether plain values are the same, numbers to the last bits."""
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_alike, found, wanted))
    return bool(found == (pytest.approx(wanted, rel=1e-5, abs=1e-6) if isinstance(wanted, float) else wanted))


def test_inputs_are_left_alone(entry: Method, x: np.ndarray) -> None:
    given = x.copy()
    given.setflags(write=False)
    explain(entry, subject(entry), given)
    assert np.array_equal(given, x)


def test_asks_exactly_what_it_declares(entry: Method, x: np.ndarray) -> None:
    model = subject(entry)
    explain(entry, model, x)
    asked = {type(query) for query in model.queries} - {Score}
    assert asked <= entry.needs if entry.adaptive else asked == entry.needs - {Score}


def test_the_plan_is_the_cost(entry: Method, x: np.ndarray) -> None:
    if entry.adaptive:
        pytest.skip("decides from the answers what to ask; its plan is the cost of a constant model")
    model = subject(entry)
    options = quick(entry)
    planned = xplain.plan(model, x, entry.name, target=0, **options)
    assert not model.queries
    spent = explain(entry, model, x).cost
    assert planned.sweeps == spent.sweeps
    # the plan does not count on answers that are reused: the untouched items are asked for the prediction already
    assert 0 <= planned.queries - spent.queries <= len(x)


def test_every_invalid_option_is_refused(entry: Method, x: np.ndarray) -> None:
    for option in entry.options.values():
        for value in option.kind.invalid:
            with pytest.raises(UsageError, match=f"option '{option.name}' is .*; accepted: "):
                xplain.explain(subject(entry), x, entry.name, **{option.name: value})


def test_every_option_can_be_given_on_the_command_line(entry: Method) -> None:
    own = {field.name for group in (Loading, Asking, RowOptions) for field in fields(group)}
    own |= set(inspect.signature(verb).parameters)
    shared = {"baseline", "background"}  # the verb reads rows for them
    assert not (set(entry.options) & own) - shared


def test_an_unknown_option_names_the_nearest(entry: Method, x: np.ndarray) -> None:
    if not entry.options:
        with pytest.raises(UnknownName, match=f"option of method '{entry.name}'"):
            xplain.explain(subject(entry), x, entry.name, sampels=3)
        return
    name = next(iter(entry.options))
    with pytest.raises(UnknownName, match=f"Did you mean .*'{name}'"):
        xplain.explain(subject(entry), x, entry.name, **{name + "e": 1})


def test_every_default_is_valid(entry: Method) -> None:
    for option in entry.options.values():
        assert option.default is None or option.kind.read(option.default) == option.default


def test_a_constant_model_gives_a_zero_map_with_zero_error(black_box: Method, x: np.ndarray) -> None:
    a = explain(black_box, constant(2.5), x)
    assert not a.values.any()
    assert a.error is None or not a.error.any()


@pytest.fixture
def table() -> np.ndarray:
    return np.array([[1.0, 2.0, -1.0, 0.5, 3.0], [0.5, -1.0, 2.0, 1.5, -2.0]], np.float32)


def test_completeness_on_a_table(shapley: Method, table: np.ndarray) -> None:
    factor = 0.0 if shapley.suits == "additive" else 1.0
    model = Formula(lambda rows: np.sin(rows.astype(float)).sum(axis=1) + factor * rows.astype(float).prod(axis=1))
    a = explain(shapley, model, table)
    np.testing.assert_allclose(a.values.sum(axis=1), a.scores - a.base, atol=1e-5)


def test_closed_forms_of_complete_methods(shapley: Method, table: np.ndarray) -> None:
    """Linear: weight times value. Product: half each, nothing elsewhere. A feature that is never read: exactly 0."""
    weights = np.array([2.0, -1.0, 0.0, 4.0, 0.5])
    a = explain(shapley, linear(weights, 7.0), table)
    np.testing.assert_allclose(a.values, weights * table, atol=1e-5)
    if shapley.suits == "additive":
        return
    b = explain(shapley, product(1, 4), table)
    half = table[:, 1] * table[:, 4] / 2
    np.testing.assert_allclose(b.values[:, [1, 4]], np.stack([half, half], axis=1), atol=1e-5)
    np.testing.assert_allclose(b.values[:, [0, 2, 3]], 0, atol=1e-6)


def test_a_budget_below_the_minimum_says_so(black_box: Method, x: np.ndarray) -> None:
    with pytest.raises(BudgetError, match="of max_queries.* are left"):
        explain(black_box, subject(black_box), x, max_queries=4)


def test_documentation_is_complete(entry: Method) -> None:
    sections = entry.sections
    assert {"returns", "cost", "source"} <= set(sections)
    assert len(entry.summary) > 30
    for option in entry.options.values():
        assert option.doc, f"{entry.name}: option {option.name} is not documented"
    assert inspect.isgeneratorfunction(entry.function)
