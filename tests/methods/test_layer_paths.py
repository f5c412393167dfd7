"""Paths that run between a layer's values: as captum's Layer methods, complete, on ONNX, torch and compiled files."""

from __future__ import annotations

import captum.attr
import nets
import numpy as np
import onnxruntime
import pytest
import torch
from graph.torch_nets import exported
from integer_nets import correlation, integers, items, trunk
from torch import nn

import xplain
from xplain.core.errors import UnknownName, UsageError

pytestmark = pytest.mark.filterwarnings("ignore")


class Picture(nn.Module):
    """Convolutions with an activation that is no line; everything passes ``conv2``, not ``skip``."""

    def __init__(self):
        super().__init__()
        self.conv1, self.skip = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.conv2, self.head = nn.Conv2d(6, 5, 3, stride=2, padding=1), nn.Linear(5, 4)

    def forward(self, x):
        x = torch.tanh(self.conv1(x))
        x = x + self.skip(x).sigmoid()
        return self.head(torch.tanh(self.conv2(x)).mean((2, 3)))


class Tokens(nn.Module):
    """Token ids, positions and one attention; the mask, where there is one, is chosen by the ids themselves."""

    def __init__(self, masked=False):
        super().__init__()
        self.embed, self.place = nn.Embedding(30, 16), nn.Embedding(64, 16)
        self.mixed, self.norm, self.head, self.masked = nn.Linear(16, 48), nn.LayerNorm(16), nn.Linear(16, 3), masked

    def forward(self, ids):
        x = self.embed(ids) + self.place(torch.arange(ids.shape[1])[None])
        q, k, v = self.mixed(x).chunk(3, -1)
        shares = q @ k.transpose(1, 2) / 4
        if self.masked:
            shares = shares.masked_fill((ids == 0)[:, None], -1e9)
        return self.head(self.norm(x + shares.softmax(-1) @ v).mean(1))


@pytest.fixture(scope="module")
def picture():
    torch.manual_seed(0)
    return Picture().eval()


@pytest.fixture(scope="module")
def tokens():
    torch.manual_seed(1)
    return Tokens().eval()


X = np.random.default_rng(0).normal(size=(3, 3, 8, 8)).astype(np.float32)
IDS = np.random.default_rng(1).integers(1, 30, size=(2, 9))
STEPS = {"steps": 24, "tolerance": None}


def integrated(module, layer, x, target, baseline, steps=24):
    """captum's, with midpoints as ours has them."""
    method = captum.attr.LayerIntegratedGradients(module, layer)
    found = method.attribute(
        torch.from_numpy(x), torch.from_numpy(baseline), target=target, n_steps=steps, method="riemann_middle"
    )
    return found.detach().numpy()


def graph_of(module, x):
    """The module as a file; of tokens, for any number of them."""
    free = {"x": {0: "n", 1: "s"} if x.dtype == np.int64 else {0: "n"}}
    return exported(module, torch.from_numpy(x), dynamic_axes=free)


def in_file(model, word):
    """The layer of a file that a module became: the last of those that bear its name."""
    return [layer.name for layer in model.outline.layers if word in layer.name][-1]


@pytest.mark.parametrize("door", ["torch", "onnx"])
def test_a_layer_of_a_convolutional_net_is_captums(picture, door):
    model, layer = (picture, "conv2") if door == "torch" else (graph_of(picture, X[:1]), None)
    layer = layer or in_file(model, "conv2")
    found = xplain.explain(model, X, "integrated-gradients", layer=layer, target=2, channels=True, **STEPS)
    expected = integrated(picture, picture.conv2, X, 2, np.zeros_like(X))
    np.testing.assert_allclose(found.values, expected, atol=2e-6)
    summed = xplain.explain(model, X, "integrated-gradients", layer=layer, target=2, **STEPS)
    assert summed.values.shape == (3, 4, 4)
    np.testing.assert_allclose(summed.values, expected.sum(1), atol=5e-6)


@pytest.mark.parametrize("door", ["torch", "onnx"])
def test_tokens_are_explained_at_their_embeddings_as_captum_does(tokens, door):
    model, layer = (tokens, "embed") if door == "torch" else (graph_of(tokens, IDS[:1]), None)
    layer = layer or next(one.name for one in model.outline.layers if one.op == "Gather" and "embed" in one.name)
    found = xplain.explain(model, IDS, "integrated-gradients", layer=layer, target=1, **STEPS)
    expected = integrated(tokens, tokens.embed, IDS, 1, np.zeros_like(IDS)).sum(-1)
    assert found.values.shape == IDS.shape
    np.testing.assert_allclose(found.values, expected, atol=2e-6)
    other = np.full((1, 9), 7)
    moved = xplain.explain(model, IDS, "integrated-gradients", layer=layer, target=1, baseline=other, **STEPS)
    expected = integrated(tokens, tokens.embed, IDS, 1, np.repeat(other, 2, 0)).sum(-1)
    np.testing.assert_allclose(moved.values, expected, atol=2e-6)


@pytest.mark.parametrize("door", ["torch", "onnx"])
def test_values_add_up_to_the_difference_of_the_scores(tokens, door):
    model, layer = (tokens, "embed") if door == "torch" else (graph_of(tokens, IDS[:1]), None)
    layer = layer or next(one.name for one in model.outline.layers if one.op == "Gather" and "embed" in one.name)
    found = xplain.explain(model, IDS, "integrated-gradients", layer=layer, tolerance=1e-3)
    with torch.no_grad():
        now, before = tokens(torch.from_numpy(IDS)), tokens(torch.zeros_like(torch.from_numpy(IDS)))
    best = now.argmax(1)
    goal = (now - before)[torch.arange(2), best].numpy()
    np.testing.assert_allclose(found.values.sum(1), goal, rtol=2e-3)
    np.testing.assert_allclose(found.base, before[torch.arange(2), best].numpy(), rtol=1e-5)


def test_gradient_times_activation_is_captums(picture):
    found = xplain.explain(picture, X, "input-x-gradient", layer="conv2", target=1, channels=True)
    expected = captum.attr.LayerGradientXActivation(picture, picture.conv2).attribute(torch.from_numpy(X), target=1)
    np.testing.assert_allclose(found.values, expected.detach().numpy(), atol=1e-6)


def test_a_mask_chosen_by_the_ids_is_held_and_said():
    torch.manual_seed(2)
    net = Tokens(masked=True).eval()
    ids = np.where(np.arange(9) < 6, IDS, 0)
    found = xplain.explain(net, ids, "integrated-gradients", layer="embed", target=0, **STEPS)
    expected = integrated(net, net.embed, ids, 0, np.full_like(ids, 5))
    given = xplain.explain(net, ids, "integrated-gradients", layer="embed", target=0, baseline=5.0, **STEPS)
    np.testing.assert_allclose(given.values, expected.sum(-1), atol=2e-6)
    assert any("past layer 'embed'" in str(one) for one in found.warnings)
    assert np.abs(found.notes["completeness gap"]).max() < 1e-2 * np.abs(found.notes["f(x) - f(baseline)"]).max()


def test_other_methods_take_a_layer(picture):
    sampled = xplain.explain(picture, X, "expected-gradients", layer="conv2", target=2, samples=64, channels=True)
    exact = integrated(picture, picture.conv2, X, 2, np.zeros_like(X))
    assert np.corrcoef(sampled.values.ravel(), exact.ravel())[0, 1] > 0.999
    chords = xplain.explain(picture, X, "deeplift", layer="conv2", target=2, channels=True)
    assert chords.values.shape == exact.shape
    np.testing.assert_allclose(chords.values.sum((1, 2, 3)), exact.sum((1, 2, 3)), rtol=1e-3)


def test_deep_shap_of_embeddings_adds_up_over_a_background(tokens):
    model = graph_of(tokens, IDS[:1])
    layer = next(one.name for one in model.outline.layers if one.op == "Gather" and "embed" in one.name)
    background = np.random.default_rng(5).integers(1, 30, size=(4, 9))
    found = xplain.explain(model, IDS, "deep-shap", layer=layer, baseline=background, target=1)
    each = [xplain.explain(model, IDS, "deeplift", layer=layer, baseline=one, target=1).values for one in background]
    np.testing.assert_allclose(found.values, np.mean(each, 0), atol=1e-6)
    with torch.no_grad():
        goal = tokens(torch.from_numpy(IDS))[:, 1] - tokens(torch.from_numpy(background))[:, 1].mean()
    np.testing.assert_allclose(found.values.sum(1), goal, atol=1e-5)


def test_a_compiled_file_holds_the_path_at_a_layer(picture):
    model = graph_of(picture, X[:1])
    layer = in_file(model, "conv2")
    compiled = xplain.compile(model, "integrated-gradients", layer=layer, target=2, steps=24)
    session = onnxruntime.InferenceSession(compiled.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(["attribution"], {session.get_inputs()[0].name: X})
    expected = xplain.explain(model, X, "integrated-gradients", layer=layer, target=2, **STEPS)
    np.testing.assert_allclose(found, expected.values, atol=1e-5)


@pytest.mark.parametrize("door", ["torch", "onnx"])
def test_a_layer_that_not_everything_passes_is_refused_with_those_that_do(picture, door):
    model, layer = (picture, "skip") if door == "torch" else (graph_of(picture, X[:1]), None)
    layer = layer or in_file(model, "skip")
    with pytest.raises(UsageError, match="also past layer .* Name a layer that everything passes: ") as error:
        xplain.explain(model, X, "integrated-gradients", layer=layer)
    named = str(error.value).split("everything passes: ")[1].rstrip(".").split(", ")
    for name in named:
        assert np.isfinite(xplain.explain(model, X, "integrated-gradients", layer=name).values).all()
    with pytest.raises(UnknownName, match="Unknown layer"):
        xplain.explain(model, X, "integrated-gradients", layer="no such layer")


def test_half_precision_starts_inside():
    model = xplain.load(nets.half())
    x = np.random.default_rng(0).random((2, *model.outline.inputs[0].shape[1:])).astype(np.float32)
    found = xplain.explain(model, x, "integrated-gradients", layer="conv2", tolerance=0.05)
    goal = found.notes["f(x) - f(baseline)"]
    np.testing.assert_allclose(found.values.reshape(2, -1).sum(1), goal, rtol=0.06)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_layers_of_integers_are_given_the_real_numbers_they_stand_for(form, tmp_path):
    """Scores move in steps there, so the path is compared with that of the net before it was quantised."""
    whole = trunk("residual")
    model = xplain.load(integers(whole, form, tmp_path, items(16)))
    layer = next(one.name for one in model.outline.layers if one.name.startswith(("c3", "r3")))
    asked = {"target": 0, "channels": True, **STEPS}
    found = xplain.explain(model, items(), "integrated-gradients", layer=layer, **asked)
    expected = xplain.explain(xplain.load(whole), items(), "integrated-gradients", layer="r3", **asked)
    assert correlation(found.values, expected.values) > 0.98


def test_fractions_of_tokens_are_no_baseline(tokens):
    with pytest.raises(UsageError, match="so must be their baseline"):
        xplain.explain(tokens, IDS, "integrated-gradients", layer="embed", baseline=0.5)
