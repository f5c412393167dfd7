"""The contract of what is registered besides methods: rule tables keep what they declare, features cut items wholly."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.declaring.registry import CATALOGUES, FEATURES, TABLES, Declared, Maker, Table
from xplain.core.errors import UsageError
from xplain.core.query import Sweep, View
from xplain.core.segments import Segment
from xplain.explainers.features.spec import partition
from xplain.testing import Formula

from .conftest import small_network, small_transformer

BOX = {"low": -6.0, "high": 6.0}
JOINED = Segment("left", (3, 1, 2), 0, extents=(3, 1, 2)), Segment("columns", (6,), 6, extents=(6,))
"""What a row of 12 numbers may hold of two inputs."""
ITEMS = {"NCHW": (3, 24, 20), "NCDHW": (1, 6, 8, 8), "NCT": (2, 40), "NT": (40,), "NS": (12,)}


@pytest.mark.parametrize("declared", [one for kind in CATALOGUES for one in kind], ids=lambda one: one.name)
def test_every_declaration_is_documented_and_refuses_what_its_options_do_not_take(declared: Declared) -> None:
    assert len(declared.summary) > 10
    for option in declared.options.values():
        assert option.doc, f"{declared.word} {declared.name}: option {option.name} is not documented"
        for value in option.kind.invalid:
            with pytest.raises(UsageError, match=f"{declared.word} '.*': option '{option.name}' is .*; accepted: "):
                declared.read_options({option.name: value})


@pytest.mark.parametrize("make", [small_network, small_transformer])
@pytest.mark.parametrize("table", list(TABLES), ids=lambda one: one.name)
def test_a_table_brings_back_what_it_says_it_means(table: Table, make: Any, x: np.ndarray) -> None:
    """Multipliers add up to the difference of the scores, shares are none below 0, all are finite and say something."""
    model, x = make(), np.abs(x)
    scores = xplain.predict(model, x)
    top = int(scores.mean(axis=0).argmax())  # something must argue for the class
    options = {name: value for name, value in {**BOX, "bias": False}.items() if name in table.options}
    rules = table.rules(**{**table.read_options({}), **options})
    baseline = np.zeros_like(x) if rules.reference else None
    answer = model.answer(Sweep(x[:, None], xplain.label(top), rules, baseline=baseline))
    found = np.asarray(answer["input"][1], dtype=np.float64)
    assert found.shape == x.shape
    assert np.isfinite(found).all()
    assert np.abs(found).max() > 0
    if rules.meaning == "multiplier":
        difference = scores[:, top] - xplain.predict(model, np.zeros_like(x))[:, top]
        np.testing.assert_allclose((found * x).sum(axis=(1, 2, 3)), difference, rtol=1e-3, atol=1e-4)
    if rules.meaning == "probability" and make is small_network:
        assert found.min() >= 0
        assert found.sum(axis=(1, 2, 3)).max() <= 1 + 1e-4


@pytest.mark.parametrize("maker", list(FEATURES), ids=lambda one: one.name)
def test_features_cut_what_they_take_wholly_wherever_an_item_stands(maker: Maker) -> None:
    taken = 0
    plain = [(axes, shape, ()) for axes, shape in ITEMS.items()]
    for axes, shape, joined in [*plain, ("NS", (12,), JOINED)]:
        x = np.random.default_rng(0).random((3, *shape)).astype(np.float32)
        outline = replace(Formula(lambda rows: rows, axes, shape).outline, joined=joined)
        views = [View(some, xplain.label(0), outline, 0) for some in (x, x[[2, 0, 1]])]
        try:
            parts, turned = (partition(view, maker.name) for view in views)
        except UsageError:
            continue  # features for another layout
        taken += 1
        cells = views[0].layout.map_shape
        for n, place in enumerate((1, 2, 0)):
            labels = parts.of(n)
            assert labels.shape == (shape if parts.whole else cells)
            assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
            assert np.array_equal(labels, turned.of(place))
    assert taken
