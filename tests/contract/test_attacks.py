"""What every attack keeps: it runs with its trial, says what it is, stays in its bound, and is repeatable."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.declaring.registry import ATTACKS, RENDERERS, AttackKind
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.query import Sweep
from xplain.results import load

from .conftest import ITEM, small_network, smooth_formula

EVERY = list(ATTACKS)
ITEMS = np.random.default_rng(3).normal(size=(3, *ITEM)).astype(np.float32)
SIZE = {"linf": 0.5, "l2": 2.0, "l1": 9.0, "l0": 20}


def attacked(kind: AttackKind, model: Any, items: Any = ITEMS, **more: Any) -> Any:
    """What an attack finds with the options of its trial, towards class 0 where it has to be told one."""
    given = {"target": 0} if kind.goals == "targeted" else {}
    given |= {"epsilon": SIZE[kind.norms[0]]} if kind.norms and not kind.smallest else {}
    return xplain.attack(model, items, kind.name, explain=None, **{**given, **kind.trial, **more})


@pytest.mark.parametrize("kind", EVERY, ids=lambda one: one.name)
def test_an_attack_runs_and_its_result_is_true_of_the_model_drawn_and_kept(kind: AttackKind, tmp_path) -> None:
    model = small_network()
    found = attacked(kind, model)
    assert len(found) == len(ITEMS)
    assert found.method == kind.name
    assert set(kind.options) <= set(found.options)
    said = xplain.predict(model, found.after).argmax(axis=1)
    assert np.array_equal(said, found.became)
    if kind.norms and not kind.smallest:
        assert (found.sizes[:, ["linf", "l2", "l1", "l0"].index(kind.norms[0])] <= SIZE[kind.norms[0]] + 1e-6).all()
    back = load(found.save(tmp_path / "found.npz"))
    for name in found.arrays():
        np.testing.assert_array_equal(getattr(back, name), getattr(found, name))
    for one in RENDERERS:
        if one.draws == found.what:
            assert found.render(one.name) is not None


@pytest.mark.parametrize("kind", [one for one in EVERY if not one.together], ids=lambda one: one.name)
def test_an_item_gets_the_same_attack_in_any_company_of_its_seed(kind: AttackKind) -> None:
    model = small_network()
    together, alone = (attacked(kind, model, items, seed=4) for items in (ITEMS, ITEMS[1:2]))
    np.testing.assert_allclose(together.after[1], alone.after[0], atol=1e-6)


@pytest.mark.parametrize("kind", EVERY, ids=lambda one: one.name)
def test_an_attack_that_sweeps_refuses_a_formula_and_others_take_it(kind: AttackKind) -> None:
    if Sweep in kind.needs:
        with pytest.raises(CapabilityError, match="square"):
            attacked(kind, smooth_formula())
    else:
        assert len(attacked(kind, smooth_formula())) == len(ITEMS)


@pytest.mark.parametrize("kind", EVERY, ids=lambda one: one.name)
def test_an_attack_refuses_norms_and_goals_that_it_does_not_have(kind: AttackKind) -> None:
    model = small_network()
    for norm in {"linf", "l2", "l1", "l0"} - set(kind.norms):
        with pytest.raises(UsageError, match="norm"):
            attacked(kind, model, norm=norm)
    if kind.goals == "untargeted":
        with pytest.raises(UsageError, match="target"):
            attacked(kind, model, target=1)


@pytest.mark.parametrize("kind", EVERY, ids=lambda one: one.name)
def test_an_attack_says_what_a_person_must_know(kind: AttackKind) -> None:
    for section in ("summary", "returns", "cost", "source"):
        assert kind.sections.get(section), f"attack {kind.name} has no {section}"
