"""Gradients through batch norms of one item: torch's own formula reads some gradients at other places."""

from __future__ import annotations

import numpy as np
import pytest

import xplain

torch = pytest.importorskip("torch", reason="the module is one of torch's")


class Tokens(torch.nn.Module):
    """A norm of a picture whose positions become tokens, each weighed by itself: the gradient comes back transposed."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(2, 4, 1), torch.nn.BatchNorm2d(4)
        self.weights = torch.nn.Parameter(torch.randn(9, 4))

    def forward(self, x):
        tokens = self.norm(self.conv(x)).flatten(2).transpose(1, 2)
        return (tokens * self.weights).sum(1)[:, :3]


@pytest.mark.parametrize("items", [1, 2])
def test_a_gradient_that_tokens_send_back_arrives_where_it_belongs(items):
    torch.manual_seed(0)
    net = Tokens().eval()
    with torch.no_grad():
        net.norm.running_mean.normal_()
        net.norm.running_var.uniform_(0.5, 1.5)
        net.norm.weight.uniform_(0.5, 1.5)
    x = np.random.default_rng(0).normal(size=(items, 2, 3, 3)).astype(np.float32)
    scale = net.norm.weight / torch.sqrt(net.norm.running_var + net.norm.eps)
    # by hand: the score of class 1 is linear in the picture
    by_hand = torch.einsum("p,c->cp", net.weights[:, 1], (scale[1] * net.conv.weight[1, :, 0, 0])).reshape(2, 3, 3)
    found = xplain.explain(net, x, "saliency", channels=True, target=1, layout="NCHW")
    np.testing.assert_allclose(found.values, np.repeat(by_hand.detach().numpy()[None], items, axis=0), rtol=1e-5)
