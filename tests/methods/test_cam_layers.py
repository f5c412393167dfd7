"""Which layer a class activation map takes by itself: of convolutions, of token grids, on ONNX and torch alike."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.errors import UsageError

torch = pytest.importorskip("torch", reason="the nets are written in torch")
sys.path.insert(0, str(Path(__file__).parents[1] / "graph"))
torch_nets = pytest.importorskip("torch_nets")

LAYERS = {
    "resnet": ("/4/Relu_output_0", "4"),
    "vit": ("/blocks/blocks.1/n1/LayerNormalization_output_0", "blocks.1.n1"),
    "swin": ("/norm/LayerNormalization_output_0", "norm"),
}
NECKS = LAYERS | {"vit": ("/blocks/blocks.0/Add_1_output_0", "blocks.0")}
"""Where something is set to zero, everything must pass."""
GRIDS = {"resnet": (2, 2), "vit": (4, 4), "swin": (4, 4)}


@pytest.fixture(scope="module", params=LAYERS)
def doors(request):
    net = torch_nets.net(request.param)
    exported = torch_nets.export(net, torch.zeros(1, 3, 32, 32), opset_version=17)
    return request.param, (xplain.load(exported), xplain.load(net))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "ablation-cam"])
def test_auto_takes_the_last_layer_with_positions_that_the_answer_depends_on(doors, x, method):
    name, models = doors
    found = [xplain.explain(model, x, method, target=1, signed=True) for model in models]
    expected = NECKS if method == "ablation-cam" else LAYERS
    assert tuple(one.notes["layer"] for one in found) == expected[name]
    assert found[0].resolution == GRIDS[name]
    assert np.abs(found[0].values).max() > 0
    assert np.abs(found[0].values - found[1].values).max() <= 2e-5 * np.abs(found[0].values).max()


def test_a_patch_that_alone_matters_is_the_one_that_lights_up():
    """The token grid keeps the picture's order: rows first, the class token left out."""
    torch.manual_seed(0)

    class Tokens(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.patch, self.norm, self.head = torch.nn.Conv2d(1, 4, 8, 8), torch.nn.Identity(), torch.nn.Linear(4, 2)
            self.token = torch.nn.Parameter(torch.zeros(1, 1, 4))

        def forward(self, x):
            tokens = self.patch(x).flatten(2).transpose(1, 2)
            tokens = self.norm(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))
            return self.head(tokens[:, 1 + 1 * 4 + 2])  # row 1, column 2

    x = np.random.default_rng(1).random((1, 1, 32, 32)).astype(np.float32)
    found = xplain.explain(Tokens().eval(), x, "hires-cam", target=0, signed=True, layer="norm")
    row, column = np.unravel_index(np.abs(found.values[0]).argmax(), (32, 32))
    assert (row // 8, column // 8) == (1, 2)
    assert not found.values[0, 20:].any()


def test_fused_attention_is_seen_too(x):
    """``scaled_dot_product_attention`` and ``nn.MultiheadAttention`` hide their softmax."""

    class Fused(torch.nn.Module):
        def __init__(self, own):
            super().__init__()
            self.patch, self.own = torch.nn.Conv2d(3, 8, 8, 8), own
            self.n1, self.attend = torch.nn.LayerNorm(8), torch.nn.MultiheadAttention(8, 2, batch_first=True)
            self.norm, self.head = torch.nn.LayerNorm(8), torch.nn.Linear(8, 3)
            self.token = torch.nn.Parameter(torch.randn(1, 1, 8))

        def forward(self, x):
            x = self.patch(x).flatten(2).transpose(1, 2)
            x = torch.cat([self.token.expand(len(x), -1, -1), x], 1)
            y = self.n1(x)
            y = torch.nn.functional.scaled_dot_product_attention(y, y, y) if self.own else self.attend(y, y, y)[0]
            return self.head(self.norm(x + y)[:, 0])

    torch.manual_seed(0)
    for own in (True, False):
        found = xplain.explain(Fused(own).eval(), x, "hires-cam", target=1, signed=True)
        assert found.notes["layer"] == "n1"
        assert np.abs(found.values).max() > 0


def test_which_pixels_drive_one_unit_of_a_layer(x):
    """Exactly its receptive field, on both doors, and the derivative of that unit alone."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 16, 3), torch.nn.Flatten())
    net.append(torch.nn.LazyLinear(5))
    net(torch.zeros(1, 3, 32, 32))
    net.eval()
    tensor = torch.tensor(x, requires_grad=True)
    (expected,) = torch.autograd.grad(net[:3](tensor)[:, 12, 6, 6].sum(), tensor)
    loaded = xplain.load(torch_nets.export(net, torch.zeros(1, 3, 32, 32)))
    conv = next(layer.name for layer in loaded.outline.layers if layer.shape[1:] == (16, 28, 28))
    for model, layer in ((loaded, conv), (net, "2")):
        found = xplain.explain(
            model, x, "saliency", target=xplain.neuron(layer, 12, 6, 6), signed=True, channels=True
        ).values
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-6)
        rows, columns = np.nonzero(np.abs(found).sum((0, 1)))
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 10, 6, 10)


def test_auto_looks_before_a_target_inside_the_model(x):
    """The last layer of all does not lead to an earlier one."""
    torch.manual_seed(0)
    parts = (torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 6, 3), torch.nn.ReLU())
    net = torch.nn.Sequential(*parts, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(6, 2)).eval()
    model = xplain.load(net)
    assert xplain.explain(model, x, "grad-cam", target=1).notes["layer"] == "3"
    found = xplain.explain(model, x, "grad-cam", target="2[4, 6, 6]", signed=True)
    assert found.notes["layer"] == "1"
    named = xplain.explain(model, x, "grad-cam", target="2[4, 6, 6]", signed=True, layer="1")
    np.testing.assert_array_equal(found.values, named.values)
    with pytest.raises(
        UsageError, match=r"no layer with positions .* before target '0\[1, 2, 2\]', so there is no class"
    ):
        xplain.explain(model, x, "grad-cam", target="0[1, 2, 2]")


@pytest.mark.parametrize("index", ["[2]", "[9, 1, 1]", "[2, 1, 30]", "[2, 1]"])
def test_a_neuron_that_is_not_there_says_which_are(x, index):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Flatten(), torch.nn.Linear(3600, 2)).eval()
    model = xplain.load(net)
    if index == "[2]":
        assert np.isfinite(xplain.explain(model, x, "saliency", target=f"0{index}").values).all()
        with pytest.raises(UsageError, match="it has no channel 4, 0 to 3 are there"):
            xplain.explain(model, x, "saliency", target="0[4]")
        return
    with pytest.raises(UsageError, match=r"is \[.*, 4, 30, 30\]: it has no element .* up to \[3, 29, 29\]"):
        xplain.explain(model, x, "saliency", target=f"0{index}")
