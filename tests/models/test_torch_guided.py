"""Guided backpropagation and the deconvnet at the torch door, for every way to write an activation that clips."""

from __future__ import annotations

import numpy as np
import pytest

import xplain

torch = pytest.importorskip("torch")
nn = torch.nn

from xplain.models.torch.operators import facts_at, facts_of, known  # noqa: E402 - behind the check for torch


@pytest.fixture
def x():
    return np.random.default_rng(0).random((4, 3, 12, 12)).astype(np.float32)


@pytest.mark.parametrize(("method", "everywhere"), [("guided-backprop", False), ("deconvnet", True)])
@pytest.mark.parametrize(
    "activation",
    [
        nn.PReLU(init=0.1).requires_grad_(False),
        nn.PReLU(8),
        nn.CELU(0.5),
        nn.CELU(inplace=True),
        nn.SELU(),
        nn.RReLU().eval(),
        nn.RReLU(inplace=True).eval(),
        nn.Hardtanh(-0.2, 0.3),
        lambda x: x.clamp(min=0),
        lambda x: x.clamp_min(-0.1),
        lambda x: x.clamp_(0, 0.3),
        lambda x: torch.clip(x, 0, 0.3),
    ],
)
def test_guided_and_deconvnet_reach_every_activation_that_clips(x, activation, method, everywhere):
    """Against the same activation as a function whose own derivative is used on what the rule lets through."""

    class Ruled(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            context.save_for_backward(value.clone())
            return activation(value.clone())

        @staticmethod
        def backward(context, g):
            value, g = context.saved_tensors[0].detach().requires_grad_(), g.clamp(min=0)
            if everywhere:
                return g
            with torch.enable_grad():
                return torch.autograd.grad(activation(value.clone()), value, g)[0]

    torch.manual_seed(0)
    first, second, fc = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Linear(8, 3)

    class Clipping(nn.Module):
        def __init__(self, act):
            super().__init__()
            self.first, self.second, self.fc, self.act = first, second, fc, act

        def forward(self, x):
            return self.fc(self.act(self.second(self.act(self.first(x)))).mean((2, 3)))

    batch = torch.from_numpy(x).requires_grad_()
    Clipping(Ruled.apply)(batch)[:, 1].sum().backward()
    found = xplain.explain(Clipping(activation).eval(), x, method, target=1, channels=True)
    expected = batch.grad.numpy()
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert not found.warnings


class AtMostOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(432, 3)

    def forward(self, x):
        return self.fc(x.flatten(1)).clamp(max=1.0)


def test_a_bound_from_above_is_no_rectifier(x):
    module = AtMostOne().eval()
    found = xplain.explain(module, x, "guided-backprop", target=1)
    assert "change nothing" in found.warnings[0].text
    np.testing.assert_array_equal(found.values, xplain.explain(module, x, "saliency", target=1, signed=True).values)


def test_the_table_names_operators_that_torch_has():
    """A fact under a name that is none would never be found, and a rule would pass by in silence."""
    onnx = pytest.importorskip("onnx")
    for name in known():
        what = facts_of(name)
        if what.activation or what.clips_back or what.misreads:
            assert facts_at(getattr(torch.ops.aten, name).default) == what
        if what.activation:
            assert onnx.defs.has(what.activation)
    assert facts_at(torch.ops.aten.relu_.default).activation == "Relu"  # in place
    assert not facts_at(torch.ops.aten.clamp.Tensor).clamps  # its bounds are tensors, and its step another
    assert not facts_at(torch.ops.quantized.relu6.default).bounded  # another room's operator of the same name
