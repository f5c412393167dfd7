"""A generator's code in front of a model: the chain rule, what it can paint, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper

import xplain
from tests.nets import FLOAT, model
from tests.synthesis.test_making import SIZE, Stop, plain
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.synthesis.canvas_within import Code
from xplain.core.synthesis.objective import Aimed, Objective
from xplain.core.synthesis.slope import Slope
from xplain.core.synthesis.views import Views
from xplain.core.target import label
from xplain.models.through import Through

CODE = 5


def generator(last: str = "Sigmoid", code: Any = CODE) -> Any:
    """A code's first element lights the upper half of the picture, its second the lower half, others nothing."""
    paints = np.zeros((CODE, 3, *SIZE), np.float32)
    paints[0, :, :4] = paints[1, :, 4:] = 1
    nodes = [
        helper.make_node("MatMul", ["code", "paints"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["planes"]),
        helper.make_node(last, ["planes"], ["made"]),
    ]
    weights = {"paints": paints.reshape(CODE, -1), "shape": np.array([-1, 3, *SIZE])}
    return model(nodes, {"code": (FLOAT, ["N", code])}, {"made": (FLOAT, ["N", 3, *SIZE])}, weights)


def test_a_generated_picture_moves_what_its_class_reads_and_the_rest_of_the_code_fades():
    found = xplain.make(plain(), "generator", target=["cat", "dog"], generator=generator(), steps=60, rate=0.3)
    assert found.picture.shape == (2, 3, *SIZE)
    for n, part in enumerate((slice(0, 4), slice(4, 8))):
        assert found.picture[n, :, part].min() > 0.9  # sigmoid(3)
        assert found.state[n, n] == pytest.approx(3.0, abs=0.05)  # the reach, in spreads
        assert np.abs(found.state[n, 2:]).max() < 1.0  # nothing pulls there, and decay lets it fade
    sigmoid = 1 / (1 + np.exp(-found.state[:, :2]))
    np.testing.assert_allclose(found.picture[:, 0, [0, 7], 0], sigmoid, atol=1e-5)
    assert found.frames is not None  # the film is of pictures, not of codes
    assert found.frames.shape[2:] == (*SIZE, 3)


def test_a_codes_gradient_is_that_of_finite_differences_through_views_and_both_models():
    pair = Through(xplain.load(generator("Tanh")), plain())
    canvas = Code(SIZE, 3, (CODE,), SIZE, 0.5, 0.5)
    codes = np.random.default_rng(0).normal(0, 0.5, (2, CODE)).astype(np.float32)
    views = Views(np.array([[[0.5, -1.0, 0.8], [0, 0, 1]], [[0, 1, 1.0], [1, 0, 0.5]]], np.float32))
    query = Slope(codes, canvas, Objective((Aimed(target=label([0, 1])),)), views)
    found = pair.answer(query)
    for k in range(CODE):
        step = np.eye(CODE, dtype=np.float32)[k] * 1e-2
        ends = [
            pair.answer(Slope(codes + s, canvas, query.objective, views, gradient=False)).value for s in (step, -step)
        ]
        np.testing.assert_allclose(found.gradient[:, k], (ends[0] - ends[1]) / 2e-2, atol=2e-4)


def test_a_torch_module_may_be_the_generator_and_the_model(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    makes = torch.nn.Sequential(torch.nn.Linear(CODE, 3 * 8 * 6), torch.nn.Unflatten(1, (3, 8, 6)), torch.nn.Sigmoid())
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 8 * 6, 2))
    looks = xplain.load(net.eval(), card={"mode": "RGB", "crop": list(SIZE)})
    with pytest.raises(UsageError, match="length"):
        xplain.make(looks, "generator", target=1, generator=makes.eval(), steps=2)
    found = xplain.make(looks, "generator", target=1, generator=makes.eval(), length=CODE, steps=40, decay=0.0)
    score = net[1].weight.detach().numpy() @ np.eye(3 * 8 * 6)
    assert found.trace[0, -1] > found.trace[0, 0] + 0.1
    drawn = makes(torch.tensor(found.state)).detach().numpy()
    np.testing.assert_allclose(found.picture, drawn, atol=1e-5)
    value = (drawn.reshape(1, -1) @ score.T + net[1].bias.detach().numpy())[0, 1]
    assert found.value[0] == pytest.approx(value, abs=0.02)  # of the picture as it is saved


def test_colours_of_another_range_are_refused_until_it_is_said():
    wide = generator("Neg")
    with pytest.raises(UsageError, match="another range"):
        xplain.make(plain(), "generator", target="cat", generator=wide, steps=5, spread=30.0)
    signed = xplain.make(
        plain(), "generator", target="cat", generator=generator("Tanh"), makes="-1..1", steps=60, rate=0.3
    )
    assert signed.picture[0, :, :4].min() > 0.95


def test_what_cannot_make_pictures_is_no_generator():
    with pytest.raises(UsageError, match="pictures"):
        xplain.make(plain(), "generator", target="cat", generator=plain(), steps=2)
    bare = xplain.load(lambda x: x @ np.ones((CODE, 2)))
    with pytest.raises(CapabilityError, match="no gradients"):
        xplain.make(plain(), "generator", target="cat", generator=bare, steps=2)
    free = generator(code="D")
    with pytest.raises(UsageError, match="free size"):
        xplain.make(plain(), "generator", target="cat", generator=free, steps=2)


def test_an_interrupted_code_is_shown_as_its_picture_and_goes_on_to_the_same_bits(tmp_path):
    kept = tmp_path / "way.npz"
    given: dict[str, Any] = {"target": ["cat", "dog"], "generator": generator(), "steps": 10, "frames": 0}
    whole = xplain.make(plain(), "generator", **given)
    first = xplain.make(plain(), "generator", **given, preview=Stop(6), resume=kept)
    assert first.picture.shape == whole.picture.shape
    assert any("interrupted" in said for said in first.said)
    assert np.array_equal(xplain.make(plain(), "generator", **given, resume=kept).picture, whole.picture)
