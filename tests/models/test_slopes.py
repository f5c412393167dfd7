"""Slopes: every canvas, view and term has the gradient that finite differences say, and doors agree."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

import xplain
from tests.nets import FLOAT, cnn, model
from xplain.core.errors import BudgetError, ModelError, NoPath, UsageError
from xplain.core.synthesis.canvas import Canvas, Cosines, Phases, Pixels
from xplain.core.synthesis.canvas_within import Inlaid, Patch
from xplain.core.synthesis.ink import Ink
from xplain.core.synthesis.objective import Aimed, Objective, Term
from xplain.core.synthesis.slope import PICTURE, Slope, Sloped
from xplain.core.synthesis.terms import (
    Direction,
    Distance,
    Diversity,
    Energy,
    Gram,
    Guide,
    LogProbability,
    Magnitude,
    Margin,
    Variation,
)
from xplain.core.synthesis.views import Transforms, Views
from xplain.core.target import channel, inner, label, neuron
from xplain.engine import Settings, drive, plan
from xplain.engine.budget import Budget
from xplain.targets import exp, log, output, similarity

SIZE, ITEMS = (6, 5), 2
RNG = np.random.default_rng(0)
DOUBLE = TensorProto.DOUBLE


def double_net() -> Any:
    """A smooth net in float64, which the runtime computes exactly enough for finite differences: [N, 3, 6, 5] -> 4."""
    weights = {"w": RNG.normal(size=(90, 60)) / 5, "v": RNG.normal(size=(60, 4)) / 3, "to": np.array([0, 5, 4, 3])}
    return model(
        [
            helper.make_node("Flatten", ["x"], ["flat"]),
            helper.make_node("MatMul", ["flat", "w"], ["mixed"]),
            helper.make_node("Tanh", ["mixed"], ["bent"]),
            helper.make_node("Reshape", ["bent", "to"], ["hidden"]),
            helper.make_node("MatMul", ["bent", "v"], ["scores"]),
        ],
        {"x": (DOUBLE, ["N", 3, *SIZE])},
        {"scores": (DOUBLE, ["N", 4])},
        weights,
    )


@pytest.fixture(scope="module")
def net() -> Any:
    return xplain.load(double_net())


def views_of(canvas: Canvas, **how: Any) -> Views | None:
    rngs = [np.random.default_rng(k) for k in range(ITEMS)]
    return Transforms(**how).draw(rngs, canvas.extent, canvas.size)


CANVASES = {
    "pixels": Pixels(SIZE),
    "pixels, larger than the picture": Pixels(SIZE, board=(9, 8)),
    "cosines": Cosines(SIZE),
    "cosines, more waves": Cosines(SIZE, waves=(8, 7), decay=1.3),
    "phases": Phases(SIZE, magnitude=RNG.uniform(0.5, 2, (3, 8, 8))),
    "inlaid": Inlaid.of(Cosines(SIZE), RNG.uniform(0, 1, (3, *SIZE)), RNG.uniform(0, 1, (1, *SIZE)), ITEMS),
    "inlaid pixels, larger": Inlaid.of(
        Pixels(SIZE, board=(9, 8)), RNG.uniform(0, 1, (3, 9, 8)), RNG.uniform(0, 1, (1, 9, 8)), ITEMS
    ),
    "patch": Patch(SIZE, within=RNG.uniform(0, 1, (ITEMS, 2, 3, *SIZE)), board=(3, 3), shape=np.eye(3)),
}
VIEWS = {
    "whole": {},
    "scale, crop, jitter and noise": {"count": 2, "side": (0.4, 1.1), "jitter": 1.3, "noise": 0.1},
    "rotate": {"count": 2, "side": (0.6, 1.0), "rotate": 25.0},
}
TERMS: dict[str, Term] = {
    "label": Aimed(target=label([1, 3])),
    "difference": Aimed(target=label(1) - 0.5 * label(2)),
    "channel": Aimed(target=channel("hidden", 2)),
    "neuron": Aimed(target=neuron("hidden", 1, 2, 0)),
    "inner": Aimed(target=inner("hidden", RNG.normal(size=(5, 4, 3)))),
    "inner per item": Aimed(target=inner("hidden", RNG.normal(size=(ITEMS, 5, 4, 3)), per_item=True)),
    "formula": Aimed(target=log(exp(label([1, 3])) + exp(0.5 * channel("hidden", 1)))),
    "formula, where": Aimed(target=output("hidden")[1:3].logsumexp(where=RNG.random((2, 4, 3)) > 0.4)),
    "cosine": Aimed(target=similarity(output("hidden")[2], RNG.normal(size=(ITEMS, 4, 3)), per_item=True)),
    "direction": Direction(tensor="hidden", vector=RNG.normal(size=(ITEMS, 5))),
    "direction, cosine": Direction(tensor="hidden", vector=RNG.normal(size=(ITEMS, 5)), power=2),
    "energy": Energy(tensor="hidden"),
    "guide": Guide(tensor="hidden", guides=RNG.normal(size=(ITEMS, 4, 5))),
    "distance": Distance(tensor="hidden", reference=RNG.normal(size=(ITEMS, 5, 4, 3))),
    "gram": Gram(tensor="hidden", gram=RNG.normal(size=(ITEMS, 5, 5)), means=RNG.normal(size=(ITEMS, 5))),
    "diversity": Diversity(tensor="hidden"),
    "margin": Margin(label=np.array([0, 2])),
    "log-probability": LogProbability(label=np.array([0, 2])),
    "L2": Magnitude(),
    "alpha norm": Magnitude(power=6.0),
    "L2 of the state": Magnitude(of="state"),
    "variation": Variation(),
    "variation, edges": Variation(beta=1.5),
}


def holds(net: Any, query: Slope) -> None:
    """The gradient along a random direction is what values on either side say, in float64."""
    rng, step = np.random.default_rng(3), 1e-6
    way = rng.normal(size=query.state.shape)
    found = net.answer(query)
    assert found.gradient.dtype == np.float64
    ends = [net.answer(replace(query, state=query.state + sign * step * way, gradient=False)) for sign in (1, -1)]
    told = (found.gradient * way).reshape(len(way), -1).sum(axis=1)
    if query.objective.joint:  # the sum over canvases is what is differentiated
        told, ends = told.sum(), [replace(one, value=one.value.sum()) for one in ends]
    np.testing.assert_allclose(told, (ends[0].value - ends[1].value) / (2 * step), rtol=1e-5, atol=1e-7)
    assert np.abs(told).min() > 1e-7


def asked(canvas: Canvas, objective: Term | Objective, views: Views | None = None, **more: Any) -> Slope:
    state = np.random.default_rng(1).uniform(0.2, 0.8, (ITEMS, *canvas.state))
    whole = objective if isinstance(objective, Objective) else Objective((objective,))
    return Slope(state, canvas, whole, views, Ink((2.0, 1.0, 0.5), (-1.0, 0.0, 0.3), turned=True), **more)


@pytest.fixture(autouse=True)
def in_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """States stay float64 on their way into the graph, for finite differences."""
    given = Slope.given.fget
    monkeypatch.setattr(Slope, "given", property(lambda query: given(query) | {"state": np.asarray(query.state)}))


@pytest.mark.parametrize("name", TERMS)
def test_the_gradient_of_every_term_is_that_of_finite_differences(net: Any, name: str) -> None:
    canvas = CANVASES["cosines, more waves"]
    holds(net, asked(canvas, TERMS[name], views_of(canvas, count=2, side=(0.5, 1.0), jitter=0.5)))


@pytest.mark.parametrize("way", VIEWS)
@pytest.mark.parametrize("name", CANVASES)
def test_every_canvas_and_view_has_the_gradient_of_finite_differences_and_numpy_draws_the_same(
    net: Any, name: str, way: str
) -> None:
    canvas = CANVASES[name]
    views = views_of(canvas, **VIEWS[way])
    query = asked(canvas, TERMS["label"], views, taps=(PICTURE,))
    holds(net, query)
    np.testing.assert_allclose(net.answer(query).taps[PICTURE], canvas.drawn(query.state, views), atol=1e-6)


class Small(torch.nn.Module):
    """Two convolutions and a head that takes any size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = torch.nn.Conv2d(3, 6, 3, stride=2), torch.nn.Conv2d(6, 8, 3)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).mean((2, 3)))


@pytest.fixture(scope="module")
def twins() -> tuple[Any, Any]:
    """A torch module, and the same as a file that states a size of 16 x 16; both have a layer ``second``."""
    module = Small().eval()
    nodes = [
        helper.make_node("Conv", ["x", "first.weight", "first.bias"], ["first"], strides=[2, 2]),
        helper.make_node("Relu", ["first"], ["open"]),
        helper.make_node("Conv", ["open", "second.weight", "second.bias"], ["second"]),
        helper.make_node("Relu", ["second"], ["last"]),
        helper.make_node("GlobalAveragePool", ["last"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "head.weight", "head.bias"], ["scores"], transB=1),
    ]
    weights = {name: one.detach().numpy() for name, one in module.state_dict().items()}
    file = model(nodes, {"x": (FLOAT, ["N", 3, 16, 16])}, {"scores": (FLOAT, ["N", 5])}, weights)
    return xplain.load(module), xplain.load(file)


@pytest.mark.parametrize("size", [(16, 16), (24, 20)])
def test_a_torch_module_and_a_file_of_one_size_agree_at_any_size(twins: tuple[Any, Any], size: tuple[int, int]) -> None:
    canvas = Cosines(size, waves=(20, 18))
    views = views_of(canvas, count=2, side=(0.5, 1.0), rotate=10.0)
    terms = Aimed(target=label([1, 3])) + -0.1 * Variation() + 0.01 * Diversity(tensor="second")
    query = asked(canvas, terms, views, taps=("second",))
    one, other = (door.answer(replace(query, state=query.state.astype(np.float32))) for door in twins)
    np.testing.assert_allclose(one.value, other.value, rtol=1e-5)
    np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-5 * np.abs(one.gradient).max())
    np.testing.assert_allclose(one.taps["second"], other.taps["second"], atol=1e-5)
    assert list(one.terms) == list(other.terms) == ["per item: label 1 | label 3", "variation", "diversity"]


def test_a_file_that_has_its_size_fixed_behind_a_layer_says_so_and_takes_the_layer() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "c"], ["first"]),
        helper.make_node("Flatten", ["first"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["scores"]),
    ]
    weights = {"c": np.ones((2, 3, 3, 3), np.float32), "w": np.ones((24, 2), np.float32)}
    file = xplain.load(model(nodes, {"x": (FLOAT, ["N", 3, *SIZE])}, {"scores": (FLOAT, ["N", 2])}, weights))
    size, first = (12, 10), "first"
    state = np.full((1, 3, *size), 0.4, np.float32)
    with pytest.raises(ModelError, match="size"):
        file.answer(Slope(state, Pixels(size), Objective((Aimed(target=label(0)),))))
    found = file.answer(Slope(state, Pixels(size), Objective((Energy(tensor=first),))))
    assert np.isfinite(found.gradient).all()


def test_scores_of_any_shape_and_a_batch_that_is_fixed_are_read_as_rows() -> None:
    """A fixed batch of 2 is asked three views of two canvases in parts; scores [2, 4, 1, 1] are four classes."""
    rng = np.random.default_rng(5)
    weights = {"w": rng.normal(size=(4, 3, 6, 5)).astype(np.float32)}

    def made(batch: Any) -> Any:
        node = helper.make_node("Conv", ["x", "w"], ["raw"])
        last = helper.make_node("Tanh", ["raw"], ["scores"])
        return model([node, last], {"x": (FLOAT, [batch, 3, *SIZE])}, {"scores": (FLOAT, [batch, 4, 1, 1])}, weights)

    canvas = Pixels(SIZE, board=(9, 8))
    query = asked(canvas, LogProbability(label=np.array([1, 2])), views_of(canvas, count=3, side=(0.5, 1.0)))
    query = replace(query, state=query.state.astype(np.float32))
    free, fixed = xplain.load(made("N")), xplain.load(made(2))
    fixed.outline = replace(fixed.outline, rows=2)
    one, other = free.answer(query), fixed.answer(query)
    np.testing.assert_allclose(one.value, other.value, rtol=1e-6)
    np.testing.assert_allclose(one.gradient, other.gradient, atol=1e-6)


def test_whole_numbers_that_become_real_at_once_are_passed_and_others_are_refused() -> None:
    weights = {"w": np.ones((90, 2), np.float32), "c": np.array(3, np.uint8)}
    flat = helper.make_node("Flatten", ["real"], ["flat"])
    head = helper.make_node("MatMul", ["flat", "w"], ["scores"])
    cast = helper.make_node("Cast", ["x"], ["real"], to=FLOAT)
    inputs, outputs = {"x": (TensorProto.UINT8, ["N", 3, *SIZE])}, {"scores": (FLOAT, ["N", 2])}
    query = Slope(np.full((1, 3, *SIZE), 0.4, np.float32), Pixels(SIZE), Objective((Aimed(target=label(0)),)))
    found = xplain.load(model([cast, flat, head], inputs, outputs, weights)).answer(query)
    np.testing.assert_allclose(found.value, 0.4 * 90, rtol=1e-5)
    np.testing.assert_allclose(found.gradient, 1.0)
    div = helper.make_node("Div", ["x", "c"], ["less"])
    cast = helper.make_node("Cast", ["less"], ["real"], to=FLOAT)
    with pytest.raises(UsageError, match="computes with them as such .Div.*judge"):
        xplain.load(model([div, cast, flat, head], inputs, outputs, weights)).answer(query)


def test_an_objective_that_no_colour_changes_is_refused(net: Any) -> None:
    nodes = [helper.make_node("ArgMax", ["x"], ["best"], axis=1, keepdims=0)]
    nodes += [helper.make_node("Cast", ["best"], ["real"], to=FLOAT), helper.make_node("Flatten", ["real"], ["scores"])]
    blind = model(nodes, {"x": (FLOAT, ["N", 3, *SIZE])}, {"scores": (FLOAT, ["N", 30])}, {})
    query = Slope(np.full((1, 3, *SIZE), 0.4, np.float32), Pixels(SIZE), Objective((Aimed(target=label(0)),)))
    with pytest.raises(NoPath, match="colours"):
        xplain.load(blind).answer(query)


def test_a_reference_of_another_size_is_told_both(net: Any) -> None:
    with pytest.raises(UsageError, match=r"\[5, 4, 3\].*\[5, 2, 3\]"):
        net.answer(asked(Pixels(SIZE), Distance(tensor="hidden", reference=np.ones((ITEMS, 5, 2, 3)))))


def test_arrays_are_fed_as_they_are_now_though_a_terms_own_stay_where_they_were_put(net: Any) -> None:
    """Of terms with other references, of one asked twice, and of a state that is moved in place."""
    references = [RNG.normal(size=(ITEMS, 5, 4, 3)) for _ in range(2)]
    queries = [asked(Pixels(SIZE), Distance(tensor="hidden", reference=one)) for one in references]
    first, second, again = (net.answer(one).value for one in (*queries, queries[0]))
    assert np.array_equal(first, again)
    assert not np.allclose(first, second)
    taken = net.answer(queries[0].take(np.array([1]))).value
    np.testing.assert_allclose(taken, first[1:], rtol=1e-12)
    queries[0].state[:] *= 0.5
    fresh = replace(queries[0], state=queries[0].state.copy())
    assert np.array_equal(net.answer(queries[0]).value, net.answer(fresh).value)
    assert not np.allclose(net.answer(fresh).value, first)


def test_numbers_that_are_none_are_seen_and_large_ones_are_none_of_them() -> None:
    gradient = np.zeros((4, 3, 2), np.float32)
    gradient[1, 0, 1], gradient[2, 2, 0] = np.nan, np.inf
    gradient[3] = 3e38  # whose sum overflows
    found = Sloped(np.array([1.0, 1.0, 1.0, 1.0]), gradient)
    assert found.finite.tolist() == [True, False, False, True]
    assert not Sloped(np.array([np.nan]), gradient[:1]).finite.any()


def test_weights_that_lie_beside_the_file_are_read_there(tmp_path: Path) -> None:
    weights = {"w": np.random.default_rng(0).normal(size=(90, 40)).astype(np.float32)}
    flat = helper.make_node("Flatten", ["x"], ["flat"])
    head = helper.make_node("MatMul", ["flat", "w"], ["scores"])
    proto = model([flat, head], {"x": (FLOAT, ["N", 3, *SIZE])}, {"scores": (FLOAT, ["N", 40])}, weights)
    onnx.save(proto, tmp_path / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    query = Slope(np.full((1, 3, *SIZE), 0.4, np.float32), Pixels(SIZE), Objective((Aimed(target=label(5)),)))
    found = xplain.load(tmp_path / "net.onnx").answer(query)
    np.testing.assert_allclose(found.gradient.ravel(), weights["w"][:, 5], rtol=1e-6)


def test_no_canvas_depends_on_those_beside_it_and_all_are_counted() -> None:
    """The engine asks in calls of one shape: the same bits for three canvases together, alone, and in any order."""
    model_ = xplain.load(cnn())
    canvas = Cosines(tuple(model_.outline.explained.shape[2:]))
    rng = np.random.default_rng(0)
    state = rng.normal(0, 0.5, (3, *canvas.state)).astype(np.float32)
    views = Transforms(2, (0.5, 1.0)).draw([np.random.default_rng(k) for k in range(3)], canvas.extent, canvas.size)
    query = Slope(state, canvas, Objective((Aimed(target=label([0, 1, 1])),)), views)

    def asking(one: Slope) -> Any:
        return Told((yield one))

    (whole,), cost = drive([asking(query)], model_)
    assert (cost.sweeps, cost.queries) == (6, 0)
    for items in ([2], [1, 0]):
        (some,), _ = drive([asking(query.take(np.array(items)))], model_)
        assert np.array_equal(some.answer.gradient, whole.answer.gradient[items])
        assert np.array_equal(some.answer.value, whole.answer.value[items])
    with pytest.raises(BudgetError, match="6 model evaluations"):
        drive([asking(query)], model_, Settings(budget=Budget(5)))
    assert plan([asking(query)], model_).sweeps == 6


@dataclass(frozen=True)
class Told:
    """What a flow of one question returns."""

    answer: Any
    warnings: tuple[Any, ...] = ()
