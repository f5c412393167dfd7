"""What every recipe keeps: it runs on files and modules, says what it is, is repeatable, and refuses what it cannot."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import xplain
from xplain.core.declaring.registry import RECIPES, RENDERERS, Recipe
from xplain.core.errors import BudgetError, CapabilityError, UnknownName, UsageError
from xplain.results import load

from .conftest import smooth_formula

EVERY = list(RECIPES)
CARD = {"mode": "RGB", "crop": [12, 10]}
RNG = np.random.default_rng(0)
PICTURES = [RNG.integers(0, 255, (12, 10, 3), np.uint8) for _ in range(3)]


def net() -> Any:
    """Two convolutions and three classes, of pictures of any size."""
    from onnx import TensorProto, helper, numpy_helper

    shapes = {"w1": (4, 3, 3, 3), "b1": (4,), "w2": (5, 4, 3, 3), "b2": (5,), "w3": (3, 5), "b3": (3,)}
    rng = np.random.default_rng(2)
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["first"], pads=[1, 1, 1, 1]),
        helper.make_node("Softplus", ["first"], ["soft"]),
        helper.make_node("Conv", ["soft", "w2", "b2"], ["second"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["second"], ["last"]),
        helper.make_node("GlobalAveragePool", ["last"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w3", "b3"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(rng.normal(0, 0.5, s).astype(np.float32), n) for n, s in shapes.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def file() -> Any:
    """The net, loaded with its card."""
    return xplain.load(net(), card=CARD)


def module() -> Any:
    """The same form as a torch module."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    parts = [("first", torch.nn.Conv2d(3, 4, 3, padding=1)), ("soft", torch.nn.Softplus())]
    parts += [("second", torch.nn.Conv2d(4, 5, 3, padding=1)), ("last", torch.nn.ReLU())]
    parts += [("mean", torch.nn.AdaptiveAvgPool2d(1)), ("flat", torch.nn.Flatten()), ("y", torch.nn.Linear(5, 3))]
    from collections import OrderedDict

    return xplain.load(torch.nn.Sequential(OrderedDict(parts)).eval(), card=CARD)


def generator() -> Any:
    """A file that makes pictures of five numbers."""
    from onnx import helper

    from tests.nets import FLOAT, model

    paints = RNG.normal(0, 0.5, (5, 3 * 12 * 10)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["code", "paints"], ["flat"])]
    nodes += [helper.make_node("Sigmoid", ["flat"], ["some"]), helper.make_node("Reshape", ["some", "shape"], ["made"])]
    given = {"paints": paints, "shape": np.array([-1, 3, 12, 10])}
    return xplain.load(model(nodes, {"code": (FLOAT, ["N", 5])}, {"made": (FLOAT, ["N", 3, 12, 10])}, given))


def painter() -> Any:
    """A file that makes pictures of pictures, for recipes whose model paints."""
    from onnx import helper

    from tests.nets import FLOAT, model

    made = model(
        [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Add", ["minus", "one"], ["made"])],
        {"x": (FLOAT, ["N", 3, "H", "W"])}, {"made": (FLOAT, ["N", 3, "H", "W"])}, {"one": np.ones(1, np.float32)},
    )  # fmt: skip
    return xplain.load(made, card={"mode": "RGB"})


def made(entry: Recipe, model: Any, **more: Any) -> Any:
    """What a recipe makes with the options of its trial."""
    if entry.paints and model.outline.kind in ("onnx", "torch"):
        model = painter()
    if entry.name == "decode":
        more = {"photographs": PICTURES[1:], **more}
    given: dict[str, Any] = {
        one.name: generator() if one.model else PICTURES[:1] if one.single else PICTURES[:2]
        for one in entry.sources
        if one.needed
    }
    x = more.pop("x", given.pop("x", None))
    target = {"needed": [0, 2]}.get(entry.target)
    return xplain.make(
        model, entry.name, x, **{"target": target, "size": (12, 10), "side": 24, **entry.trial, **given, **more}
    )


@pytest.mark.parametrize("make", [file, module], ids=["file", "torch"])
@pytest.mark.parametrize("recipe", EVERY, ids=lambda one: one.name)
def test_a_recipe_runs_and_its_result_is_drawn_and_kept(recipe, make, tmp_path):
    found = made(recipe, make())
    assert found.recipe == recipe.name
    assert set(found.options) == set(recipe.options)
    assert found.picture.dtype == np.float32
    assert (found.picture.min() >= 0) & (found.picture.max() <= 1)
    assert len(found.trace) == len(found.picture) == len(found)
    assert found.cost.sweeps + found.cost.queries > 0
    again = load(found.save(tmp_path / "found.npz"))
    for name in found.arrays():
        np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
    for one in RENDERERS:
        if one.draws == "picture" and not (one.name == "gif" and found.frames is None):
            assert found.render(one.name) is not None


@pytest.mark.parametrize("recipe", EVERY, ids=lambda one: one.name)
def test_a_seed_gives_the_same_bits_alone_and_among_others(recipe):
    model, given = file(), {one.name: generator() for one in recipe.sources if one.model and one.needed}
    whole = made(recipe, model, seed=3, **given)
    assert np.array_equal(made(recipe, model, seed=3, **given).picture, whole.picture)
    if recipe.target == "needed":
        own = {"x": PICTURES[1:2]} if any(one.name == "x" for one in recipe.sources) else {}
        alone = made(recipe, model, seed=3, target=[2], **own, **given)
        assert np.array_equal(alone.picture[0], whole.picture[1])


@pytest.mark.parametrize("recipe", EVERY, ids=lambda one: one.name)
def test_a_recipe_says_what_it_cannot_do(recipe):
    with pytest.raises(CapabilityError, match="follows gradients"):
        made(recipe, smooth_formula())
    with pytest.raises(UnknownName, match="recipe"):
        made(recipe, file(), stepss=3)
    if recipe.target == "needed":
        with pytest.raises(UsageError, match="target"):
            made(recipe, file(), target=None)
    for one in recipe.sources:
        if one.needed and not recipe.paints:
            with pytest.raises(UsageError, match="needs"):
                xplain.make(file(), recipe.name, target=[0], size=(12, 10))


@pytest.mark.parametrize("recipe", [one for one in EVERY if "steps" in one.options], ids=lambda one: one.name)
def test_a_spent_budget_keeps_what_there_is(recipe):
    try:
        found = made(recipe, file(), steps=50, max_queries=20, frames=0)
    except BudgetError:
        pytest.skip("its first question alone asks for more")
    if recipe.name == "decode":
        return  # it learns without asking
    assert any("The way up ended" in said for said in found.said)


def test_documentation_is_complete():
    for recipe in EVERY:
        assert {"returns", "cost", "source"} <= set(recipe.sections), recipe.name


def test_no_option_is_called_as_what_every_recipe_is_told():
    """It could not be given: the verb and the function take those names for themselves."""
    from xplain.cli.verbs.make import make as verb

    taken = {*inspect.signature(verb).parameters, *inspect.signature(xplain.make).parameters}
    for recipe in EVERY:
        assert not taken & {*recipe.options}, recipe.name
