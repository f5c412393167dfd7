"""The same at the torch door: functional activations are seen, and operators that make NaN are named."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain.core.errors import NonFinite, UsageError

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """One convolution and a function behind it."""

    def __init__(self, function):
        super().__init__()
        self.conv, self.fc, self.function = nn.Conv2d(3, 4, 3), nn.Linear(4, 3), function

    def forward(self, x):
        return self.fc(self.function(self.conv(x)).mean((2, 3)))


@pytest.fixture
def x():
    return np.random.default_rng(0).random((2, 3, 6, 6)).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "warns"),
    [
        (F.relu, False),
        (torch.relu_, False),
        (F.relu6, False),
        (F.leaky_relu, False),
        (F.elu, False),
        (lambda x: F.threshold(x, 0.1, 0.0), False),
        (F.gelu, True),
        (F.silu, True),
        (torch.tanh, True),
    ],
)
@pytest.mark.parametrize("method", ["guided-backprop", "deconvnet"])
def test_a_warning_where_the_rules_change_nothing(x, function, warns, method):
    torch.manual_seed(0)
    model = xplain.load(Net(function).eval())
    found = xplain.explain(model, x, method)
    same = np.allclose(found.values, xplain.explain(model, x, "saliency", signed=True).values, atol=1e-7)
    assert (bool(found.warnings), same) == (warns, warns)


def test_the_operator_that_makes_nan_is_named(x):
    torch.manual_seed(0)
    model = xplain.load(Net(lambda y: (y - y).sqrt() + y).eval())
    with pytest.raises(
        NonFinite, match=r"arrives at 'input' for item 0 is not finite\. aten\.div.* makes such numbers"
    ):
        xplain.explain(model, x, "saliency")


def test_token_ids_name_the_embedding():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.fc = nn.Embedding(10, 6), nn.Linear(6, 3)

        def forward(self, ids):
            return self.fc(self.words(ids).mean(1))

    with pytest.raises(UsageError, match=r"integers, which have no gradient.*saliency with layer='words'"):
        xplain.explain(Words().eval(), np.array([[1, 2, 3]]), "saliency")


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "guided-backprop"])
def test_an_embedding_is_explained_word_by_word(method):
    """Not dimension by dimension: the sum is over what is known of each word."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(20, 3)).eval()
    ids = np.array([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    options = {"signed": True} if method == "saliency" else {}
    found = xplain.explain(net, ids, method, layer="0", target=1, **options).values
    slopes = np.broadcast_to(net[2].weight[1].detach().numpy().reshape(5, 4), (2, 5, 4))
    words = net[0].weight.detach().numpy()[ids] if method == "input-x-gradient" else 1.0
    np.testing.assert_allclose(found, (slopes * words).sum(2), rtol=1e-5, atol=1e-6)
