"""Which of several outputs holds the scores: what follows from how they are made, and what is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import xplain
from xplain.core.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")

X = np.random.default_rng(0).random((3, 2, 6, 6), np.float32)
ROWS = np.random.default_rng(1).random((3, 6), np.float32)


class Net(nn.Module):
    """A trunk, a linear head, and what is returned of both."""

    def __init__(self, returned, item):
        super().__init__()
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(item)), 12), nn.ReLU())
        self.head, self.other, self.back = nn.Linear(12, 5), nn.Linear(12, 7), nn.Linear(5, int(np.prod(item)))
        self.returned, self.item = returned, item

    def forward(self, x):
        h = self.trunk(x)
        return self.returned(self, x, h, self.head(h))


def again(net, z):
    return net.back(z).reshape(-1, *net.item)


FOUND = {
    "normalised features first": lambda net, x, h, z: (nn.functional.normalize(h), z),
    "features, pooled and scaled": lambda net, x, h, z: (3 * h.reshape(-1, 6, 2).mean(2), z),
    "what of the item goes around the net": lambda net, x, h, z: (x.flatten(1).mean(1, keepdim=True) + 1, z),
    "features behind": lambda net, x, h, z: (z, nn.functional.normalize(h)),
    "two heads, the first": lambda net, x, h, z: (z, net.other(h)),
    "a picture made anew": lambda net, x, h, z: (z, again(net, z)),
    "a picture made anew, first": lambda net, x, h, z: (again(net, z), z),
}


def doors(net, x, tmp_path):
    """The module itself, and the file that torch exports of it."""
    torch.onnx.export(net, (torch.from_numpy(x),), tmp_path / "net.onnx", dynamo=False, opset_version=17)
    return xplain.load(net), xplain.load(tmp_path / "net.onnx")


@pytest.mark.parametrize("name", FOUND)
def test_the_scores_are_what_weights_make_of_the_rest(name, tmp_path):
    net = Net(FOUND[name], X.shape[1:]).eval()
    with torch.no_grad():
        true = net.head(net.trunk(torch.from_numpy(X))).numpy()
    for model in doors(net, X, tmp_path):
        np.testing.assert_allclose(xplain.predict(model, X), true, rtol=1e-4, atol=1e-6)


def test_a_row_made_anew_or_a_feature_of_as_many_classes_is_asked(tmp_path):
    """Six columns and an output of six numbers that is made of another: an autoencoder, or a head over a bottleneck."""
    net = Net(lambda net, x, h, z: (z, again(net, z)), ROWS.shape[1:]).eval()
    with torch.no_grad():
        code, row = (one.numpy() for one in net(torch.from_numpy(ROWS)))
    with pytest.raises(UsageError, match=r"is of the item's own shape and is made of .*output='?"):
        xplain.predict(xplain.load(net), ROWS)
    for place, true in ((0, code), (1, row)):
        np.testing.assert_allclose(xplain.predict(xplain.load(net, output=place), ROWS), true, rtol=1e-4, atol=1e-6)
    names = ("code", "row")
    given = {"dynamo": False, "opset_version": 17}
    torch.onnx.export(net, (torch.from_numpy(ROWS),), tmp_path / "net.onnx", output_names=names, **given)
    with pytest.raises(UsageError, match=r"'row' is of the item's own shape and is made of 'code'"):
        xplain.load(tmp_path / "net.onnx")
    for name, true in zip(names, (code, row), strict=True):
        model = xplain.load(tmp_path / "net.onnx", output=name)
        np.testing.assert_allclose(xplain.predict(model, ROWS), true, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("names", [("logits", "row"), ("code", "reconstruction"), ("code", "decoded_row")])
def test_names_answer_it(names, tmp_path):
    net = Net(lambda net, x, h, z: dict(zip(names, (z, again(net, z)), strict=True)), ROWS.shape[1:]).eval()
    with torch.no_grad():
        true = net(torch.from_numpy(ROWS))[names[0]].numpy()
    np.testing.assert_allclose(xplain.predict(xplain.load(net), ROWS), true, rtol=1e-4, atol=1e-6)
    plain = Net(lambda net, x, h, z: (z, again(net, z)), ROWS.shape[1:]).eval()
    given = {"dynamo": False, "opset_version": 17, "output_names": names}
    torch.onnx.export(plain, (torch.from_numpy(ROWS),), tmp_path / "net.onnx", **given)
    np.testing.assert_allclose(xplain.predict(xplain.load(tmp_path / "net.onnx"), ROWS), true, rtol=1e-4, atol=1e-6)


def test_a_row_that_ends_in_a_softmax_is_scores():
    net = Net(lambda net, x, h, z: (z, again(net, z).softmax(1)), ROWS.shape[1:]).eval()
    assert xplain.predict(xplain.load(net), ROWS).shape == (3, 6)
