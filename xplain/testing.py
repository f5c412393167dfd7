"""Models whose explanation is known in closed form, and the contract that every method keeps; for plugins too.

    from xplain.testing import Formula, linear
    a = xplain.explain(linear(weights), x, method="kernel-shap")     # the answer is weights * x

A ``Formula`` is a model made of one line of numpy. It answers ``Score`` alone, counts what it was asked and keeps the
questions, so that a test can look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xplain import native
from xplain.api import explain, load, methods
from xplain.core.edits import Array
from xplain.core.outline import Outline, ScoreSpec, TensorSpec
from xplain.core.positions.layout import Layout
from xplain.core.query import Query, Score
from xplain.core.target import SCORES
from xplain.results.attribution import Attribution

__all__ = ["Formula", "additive", "check_method", "constant", "linear", "product", "xor"]


class Formula:
    """A model that is one function of a batch; it answers ``Score`` alone.

    Args:
        function: ``f(rows [R, *item]) -> scores [R, K]`` (or ``[R]``), the same for a row in any batch.
        axes: Names of the batch's axes, such as ``"NCHW"``; None leaves them to the items' sizes.
        item: Shape of one item; needed with ``axes``.
        classes: K.
        labels: Names of the classes.
        digest: Stands for the formula in stored answers; empty: they cannot be stored.
    """

    answers: frozenset[type[Any]] = frozenset({Score})

    def __init__(
        self,
        function: Callable[[Array], Array],
        axes: str | None = None,
        item: tuple[int, ...] = (),
        classes: int = 1,
        labels: Sequence[str] = (),
        digest: str = "",
    ) -> None:
        self.function = function
        self.queries: list[Query] = []
        self.rows: int = 0
        self.outline: Outline = Outline(
            source="formula",
            kind="function",
            digest=digest,
            inputs=(TensorSpec("x", (None, *item) if axes else (), "float32"),),
            input="x",
            layout=Layout(axes, item) if axes else None,
            scores=ScoreSpec("scores", classes, "logits", "none", "a formula's value"),
            labels=tuple(labels),
        )

    def answer(self, query: Score) -> Array:
        """The target's value for the rows asked, float64 ``[R, T]``."""
        self.queries.append(query)
        start, stop = query.rows
        x = np.ascontiguousarray(query.x, dtype=np.float32)
        rows = np.empty((stop - start, *x.shape[1:]), np.float32)
        native.fill(x, query.edits, start, stop, rows, query.layout_in(self.outline))
        scores = np.asarray(self.function(rows), dtype=np.float64).reshape(len(rows), -1)
        self.rows += len(rows)
        read = query.target.read({SCORES: scores}, np.arange(start, stop) // query.edits.count)
        return read.reshape(len(rows), -1)


def _flat(rows: Array) -> Array:
    return rows.reshape(len(rows), -1).astype(np.float64)


def linear(weights: Array, bias: float = 0.0) -> Formula:
    """``f(x) = sum of weights * x + bias``; with baseline 0 every element is worth ``weights * x``."""
    w = np.asarray(weights, dtype=np.float64).reshape(-1)
    return Formula(lambda rows: (_flat(rows) * w).sum(axis=1) + bias)


def product(first: int, second: int, factor: float = 1.0) -> Formula:
    """``f(x) = factor * x[first] * x[second]`` of flat elements; with baseline 0 each is worth half of f(x)."""
    return Formula(lambda rows: factor * _flat(rows)[:, first] * _flat(rows)[:, second])


def xor(first: int, second: int) -> Formula:
    """1 where exactly one of two elements is above 1/2; with x = (1, 1) and baseline 0 both are worth 0, yet matter."""

    def function(rows: Array) -> Array:
        on = _flat(rows) > 0.5
        return (on[:, first] ^ on[:, second]).astype(np.float64)

    return Formula(function)


def additive(functions: Sequence[Callable[[Array], Array]]) -> Formula:
    """``f(x) = sum over i of functions[i](x[i])``; i is worth ``functions[i](x[i]) - functions[i](baseline[i])``."""

    def function(rows: Array) -> Array:
        return np.asarray(sum(g(_flat(rows)[:, i]) for i, g in enumerate(functions)))

    return Formula(function)


def constant(value: float = 1.0) -> Formula:
    """``f(x) = value``: nothing matters, exactly."""
    return Formula(lambda rows: np.full(len(rows), value))


def check_method(name: str, model: Any, x: Array, **options: Any) -> Attribution:
    """Hold a method to the contract that every method keeps; for plugins.

    Checked: values and errors are finite and of the items' shape; a sampled method notes how far it can be trusted, as
    ``effective`` and ``stability``; the same seed gives the same bits; neither the batch
    size nor the other items of a batch change an item's values (to the last bits of the runtime); inputs are left
    alone; every option and the sections Returns, Cost and Source are documented.

    Args:
        name: The method's name.
        model: What ``xplain.load`` takes.
        x: At least two items.
        options: Options that make the method quick.

    Returns:
        The attribution, for further checks.

    Raises:
        AssertionError: says which part of the contract is broken.
    """
    known = {one.name: one for one in methods()}
    _hold(name in known, f"a method is called {name!r}")
    entry = known[name]
    _hold({"returns", "cost", "source"} <= set(entry.sections), "the sections Returns, Cost and Source are there")
    missing = [option.name for option in entry.options.values() if not option.doc]
    _hold(not missing, f"options {missing} are documented")
    loaded, before = load(model), x.copy()
    first = explain(loaded, x, name, target=0, seed=1, **options)
    _hold(np.array_equal(x, before), "the items are left alone")
    _hold(len(first.values) == len(x) and bool(np.isfinite(first.values).all()), "values are finite, one map per item")
    _hold(entry.sampled == (first.error is not None), "sampled methods, and no others, return an error")
    told = {"effective", "stability"} <= set(first.each)
    _hold(told or not entry.sampled, "sampled methods note the effective sample size and the stability of the top")
    again = explain(loaded, x, name, target=0, seed=1, **options)
    _hold(np.array_equal(first.values, again.values), "the same seed gives the same bits")
    scale = float(np.abs(first.values).max())
    for other, what in (
        (explain(loaded, x, name, target=0, seed=1, batch_size=1, **options).values, "the batch size"),
        (explain(loaded, x[::-1], name, target=0, seed=1, **options).values[::-1], "the order of the items"),
    ):
        _hold(
            bool(np.allclose(first.values, other, rtol=1e-4, atol=1e-5 * scale)), f"{what} does not change the values"
        )
    return first


def _hold(kept: bool, promise: str) -> None:
    if not kept:
        raise AssertionError(f"The contract of methods is broken: {promise}.")
