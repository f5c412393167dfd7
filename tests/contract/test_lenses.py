"""What every lens keeps, of files and modules: it runs, says what it is, refuses what it cannot use, is repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.declaring.registry import LENSES, RENDERERS, Lens
from xplain.core.errors import CapabilityError, UnknownName, UsageError
from xplain.results import load

from .conftest import ITEM, small_network, smooth_formula

EVERY = list(LENSES)
ITEMS = np.random.default_rng(3).normal(size=(9, *ITEM)).astype(np.float32)


def module() -> Any:
    """The small network as a torch module, with other weights."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    convolutions = [torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(4, 5, 3, padding=1)]
    head = [torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(5, 3)]
    return torch.nn.Sequential(*convolutions, *head).eval()


def looked(entry: Lens, model: Any, items: Any = ITEMS, **more: Any) -> Any:
    """What a lens sees with the options of its trial."""
    given = None if entry.items == "none" else items
    return xplain.see(model, entry.name, given, **{**entry.trial, **more})


def same(one: Any, other: Any) -> None:
    """Two results are the same to the bit."""
    assert type(one) is type(other)
    for name in one.arrays():
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name in one.per_item():
        if name not in one.arrays():
            assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize("make", [small_network, module], ids=["file", "torch"])
@pytest.mark.parametrize("lens", EVERY, ids=lambda one: one.name)
def test_a_lens_runs_and_its_result_is_drawn_and_kept(lens, make, tmp_path):
    found = looked(lens, make())
    assert len(found)
    assert found.method == lens.name
    assert set(found.options) == set(lens.options)
    same(found, load(found.save(tmp_path / "found.npz")))
    same(found[-1:], load(found[-1:].save(tmp_path / "some.npz")))
    for one in RENDERERS:
        if one.draws == found.what:
            assert found.render(one.name) is not None


@pytest.mark.parametrize("lens", EVERY, ids=lambda one: one.name)
def test_a_lens_and_each_of_its_options_is_documented(lens):
    assert {"summary", "returns", "cost", "source"} <= set(lens.sections)
    assert lens.summary.endswith(".")
    assert [name for name, option in lens.options.items() if not option.doc] == []


@pytest.mark.parametrize("lens", EVERY, ids=lambda one: one.name)
def test_what_an_option_does_not_accept_is_refused_before_anything_is_asked(lens):
    model = xplain.load(small_network())
    for name, option in lens.options.items():
        for value in option.kind.invalid:
            with pytest.raises(UsageError, match=name):
                looked(lens, model, **{name: value})
    with pytest.raises(UnknownName, match="no_such"):
        looked(lens, model, no_such=1)


@pytest.mark.parametrize("lens", [one for one in EVERY if one.items != "none"], ids=lambda one: one.name)
def test_neither_chunks_nor_the_form_of_a_source_change_a_bit(lens):
    model = xplain.load(small_network())
    whole = looked(lens, model)
    same(whole, looked(lens, model, list(ITEMS)))
    same(whole, looked(lens, model, iter(ITEMS)))
    same(whole, looked(lens, model, iter([ITEMS[:2], ITEMS[2:7], ITEMS[7:]])))


@pytest.mark.parametrize("lens", [one for one in EVERY if one.items == "must"], ids=lambda one: one.name)
def test_an_item_that_cannot_be_used_is_told_and_the_others_go_on(lens):
    model, told = xplain.load(small_network()), []
    broken = [*ITEMS[:4], np.full(ITEM, np.nan, np.float32), *ITEMS[4:]]
    found = looked(lens, model, broken, failed=lambda place, _item, error: told.append((place, error)))
    whole = looked(lens, model)
    for name in found.arrays():
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
    assert [one["item"] for one in found.facts["failures"]] == ["4"]
    assert [place for place, _ in told] == [4]
    assert any("could not be read" in text for text in found.said)


@pytest.mark.parametrize("lens", EVERY, ids=lambda one: one.name)
def test_items_are_given_where_they_are_needed_and_nowhere_else(lens):
    if lens.items == "must":
        with pytest.raises(UsageError, match="none are given"):
            xplain.see(small_network(), lens.name, **lens.trial)
        with pytest.raises(UsageError, match="the list of items is empty|no item"):
            looked(lens, small_network(), [])
    if lens.items == "none":
        with pytest.raises(UsageError, match="leave the items out"):
            xplain.see(small_network(), lens.name, ITEMS, **lens.trial)


@pytest.mark.parametrize("lens", [one for one in EVERY if one.needs], ids=lambda one: one.name)
def test_a_model_that_shows_nothing_of_its_inside_says_so(lens):
    with pytest.raises(CapabilityError, match="only an ONNX file or a torch module"):
        looked(lens, smooth_formula())


def test_an_unknown_lens_is_told_with_the_nearest():
    with pytest.raises(UnknownName, match="activations"):
        xplain.see(small_network(), "activation", ITEMS)
