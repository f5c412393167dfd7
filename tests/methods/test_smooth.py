"""SmoothGrad and VarGrad run any method, with that method's options, on whatever answers what it asks."""

from __future__ import annotations

import nets
import numpy as np
import pytest

import xplain
from xplain.core.errors import CapabilityError, UsageError

FEW = {"samples": 2, "sigma": 1e-6, "target": 1}


@pytest.fixture(scope="module")
def model():
    return xplain.load(nets.cnn())


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((2, 3, 16, 16)).astype(np.float32)


@pytest.mark.parametrize(
    ("of", "method", "options"),
    [
        ("saliency:signed=true", "saliency", {"signed": True}),
        ("saliency:channels=true", "saliency", {"channels": True}),
        ("lrp:rule=gamma,gamma=0.5,bias=false", "lrp", {"rule": "gamma", "gamma": 0.5, "bias": False}),
        ("grad-cam:signed=true,layer=LAYER", "grad-cam", {"signed": True}),
        ("ig:steps=3,tolerance=none", "ig", {"steps": 3, "tolerance": None}),
    ],
)
def test_the_inner_methods_options_are_used(model, x, of, method, options):
    """Noise of nearly nothing leaves the method's own answer."""
    layer = next(one.name for one in model.outline.layers if len(one.shape) == 4 and 1 not in one.shape)
    if "LAYER" in of:
        of, options = of.replace("LAYER", layer), {**options, "layer": layer}
    found = xplain.explain(model, x, "smoothgrad", of=of, **FEW)
    alone = xplain.explain(model, x, method, target=1, **options)
    np.testing.assert_allclose(found.values, alone.values, atol=1e-3 * np.abs(alone.values).max())
    assert (found.signed, found.unit, found.options["of"]) == (alone.signed, alone.unit, of)
    assert found.notes.get("layer") == alone.notes.get("layer")


def test_a_black_box_is_enough_for_a_method_that_asks_for_scores(x):
    model = xplain.load(lambda batch: batch[:, :, 4:8, 4:8].sum(axis=(1, 2, 3))[:, None])
    found = xplain.explain(model, x, "smoothgrad", of="occlusion:patch=4,stride=4", **(FEW | {"target": 0}))
    assert np.abs(found.values[:, 4:8, 4:8]).min() > 1e3 * np.abs(found.values[:, :4]).max()
    assert xplain.plan(model, x, "smoothgrad", of="occlusion:patch=4,stride=4", samples=2, target=0).queries > 2 * 16
    with pytest.raises(CapabilityError, match="smoothgrad needs Sweep, but function .* answers only Score"):
        xplain.explain(model, x, "smoothgrad")


@pytest.mark.parametrize(
    ("of", "message"),
    [
        ("soup", "Unknown method 'soup'"),
        ("vargrad", "accepted: a method that does not average over noise itself"),
        ("lrp:rule=soup", "option 'rule' is 'soup'; accepted: one of alpha-beta, "),
        ("lrp:layers=3", "Unknown option of method 'lrp': 'layers'. Did you mean 'layer'"),
        ("lrp:soup", "option 'rule' is 'soup'; accepted: "),
    ],
)
def test_an_inner_method_that_cannot_be_used_is_refused_beforehand(model, x, of, message):
    with pytest.raises(UsageError, match=message):
        xplain.explain(model, x, "smoothgrad", of=of)


def test_a_warning_of_the_inner_method_is_kept(x):
    found = xplain.explain(nets.planted(size=16, cell=(1, 1)), x, "vargrad", of="guided-backprop", samples=2)
    assert "change nothing" in found.warnings[0].text


@pytest.mark.parametrize("method", ["smoothgrad", "vargrad"])
@pytest.mark.parametrize(("of", "more"), [("grad-cam", ""), ("saliency", ""), ("lrp:rule=gamma", ",")])
def test_a_layer_is_an_option_of_its_own(model, x, method, of, more):
    layer = next(one.name for one in model.outline.layers if len(one.shape) == 4 and 1 not in one.shape)
    shared = {"samples": 3, "target": 1, "seed": 4}
    behind = xplain.explain(model, x, method, of=f"{of}{more or ':'}layer={layer}", **shared)
    beside = xplain.explain(model, x, method, of=of, layer=layer, **shared)
    assert np.array_equal(behind.values, beside.values)
    assert np.array_equal(behind.error, beside.error)
    assert xplain.explain(model, x, method, of=f"{of}{more or ':'}layer={layer}", layer=layer, **shared).values.any()


def test_a_layer_that_the_method_does_not_take_is_refused(model, x):
    with pytest.raises(UsageError, match="Method 'occlusion' reads no layer, so it takes no layer=; methods that do: "):
        xplain.explain(model, x, "smoothgrad", of="occlusion", layer="conv2", **FEW)
    with pytest.raises(
        UsageError, match="of='grad-cam:layer=conv2' names the layer 'conv2', and layer='relu1' another"
    ):
        xplain.explain(model, x, "smoothgrad", of="grad-cam:layer=conv2", layer="relu1", **FEW)
