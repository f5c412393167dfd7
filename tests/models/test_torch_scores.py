"""Which of a module's outputs is its scores, and the logits behind probabilities, however these were written."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import xplain
from xplain.core.errors import ModelError, UnknownName

X = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)


class Answer(NamedTuple):
    hidden: torch.Tensor
    scores: torch.Tensor


class Net(nn.Module):
    """Two linear heads on the means of a convolution, and what is made of them."""

    def __init__(self, head):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5), nn.Linear(8, 5)
        self.head = head

    def logits(self, x):
        means = self.conv(x).relu().mean((2, 3))
        return 8 * self.a(means), 8 * self.b(means)

    def forward(self, x):
        return self.head(*self.logits(x))


def first(a, b):
    return a


def over_sum(e):
    return e / e.sum(1, keepdim=True)


HEADS = {
    "softmax": (lambda a, b: a.softmax(1), first, "softmax"),
    "squeezed": (lambda a, b: nn.functional.softmax(a[:, :, None, None], 1).squeeze(), first, "softmax"),
    "viewed": (lambda a, b: torch.softmax(a, 1).view(-1, 5, 1).double(), first, "softmax"),
    "a tuple": (lambda a, b: (a.softmax(1), b), first, "softmax"),
    "a dictionary": (lambda a, b: {"aux": b, "probs": a.softmax(1)}, first, "softmax"),
    "features first": (lambda a, b: (torch.cat([a, b], 1)[:, :, None].repeat(1, 1, 4), a.softmax(1)), first, "softmax"),
    "an auxiliary head of that name": (lambda a, b: {"aux_logits": b, "logits": a}, first, "none"),
    "an auxiliary head before one without a name": (lambda a, b: {"aux": b, "out": a}, first, "none"),
    "an auxiliary head that ends in a softmax": (lambda a, b: {"auxiliary": b.softmax(1), "y": a}, first, "none"),
    "a named tuple": (lambda a, b: Answer(b, a.softmax(1)), first, "softmax"),
    "a second softmax": (lambda a, b: (a.softmax(1), b.softmax(1))[0], first, "softmax"),
    "expit": (lambda a, b: torch.special.expit(a), first, "sigmoid"),
    "a module": (lambda a, b: nn.Softmax(1)(a), first, "softmax"),
    "by hand": (lambda a, b: over_sum(a.exp()), first, "softmax"),
    "shifted": (lambda a, b: over_sum((a - a.amax(1, keepdim=True)).exp()), first, "softmax"),
    "exp of log": (lambda a, b: a.log_softmax(1).exp(), first, "softmax"),
    "log of softmax": (lambda a, b: a.softmax(1).log(), first, "softmax"),
    "minus logsumexp": (lambda a, b: a - a.logsumexp(1, keepdim=True), first, "softmax"),
    "clamped": (lambda a, b: a.softmax(1).clamp(1e-7, 1), first, "softmax"),
    "per cent": (lambda a, b: 100 * a.softmax(1), first, "softmax"),
    "in place": (lambda a, b: a.clone().sigmoid_(), first, "sigmoid"),
    "by quotient": (lambda a, b: 1 / (1 + (-a).exp()), first, "sigmoid"),
    "by tanh": (lambda a, b: a.tanh() / 2 + 0.5, lambda a, b: 2 * a, "sigmoid"),
    "joined": (lambda a, b: torch.cat([a.sigmoid(), b.sigmoid()], 1), lambda a, b: torch.cat([a, b], 1), "sigmoid"),
    "both classes": (
        lambda a, b: torch.stack([1 - a[:, 0].sigmoid(), a[:, 0].sigmoid()], 1),
        lambda a, b: torch.stack([-a[:, 0], a[:, 0]], 1),
        "sigmoid",
    ),
    "picked": (lambda a, b: a.softmax(1)[:, [3, 1, 0]], lambda a, b: a[:, [3, 1, 0]], "none"),
    "best three": (lambda a, b: a.softmax(1).topk(3, 1)[0], first, "softmax"),
    "softmin": (lambda a, b: nn.functional.softmin(a, 1), lambda a, b: -a, "softmax"),
    "one score, squeezed": (lambda a, b: a[:, :1].sigmoid().squeeze(), lambda a, b: a[:, :1], "sigmoid"),
}


@pytest.mark.parametrize("name", HEADS)
def test_logits_are_read_and_explained(name):
    head, logits, link = HEADS[name]
    net = Net(head).eval()
    model = xplain.load(net)
    x = torch.from_numpy(X).requires_grad_()
    true = logits(*net.logits(x))
    np.testing.assert_allclose(xplain.predict(model, X), true.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert (model.outline.scores.kind, model.outline.scores.link) == ("logits", link)
    one = xplain.explain(model, X[:1], "input-x-gradient", target=0, channels=True)  # a batch of one, too
    assert one.unit == "delta logit, first order"
    (gradient,) = torch.autograd.grad(true[0, 0], x)
    np.testing.assert_allclose(one.values, (gradient * x)[:1].detach().numpy(), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        lambda a, b: (a.softmax(1) + b.softmax(1)) / 2,
        lambda a, b: torch.stack([a.softmax(1), b.softmax(1)]).mean(0),
        lambda a, b: nn.functional.hardsigmoid(a),
    ],
)
def test_probabilities_that_cannot_be_undone_are_called_so(head):
    net = Net(head).eval()
    a = xplain.explain(net, X, "occlusion", patch=4, stride=4)
    assert a.unit == "delta probability when hidden"


@pytest.mark.parametrize("wanted", ["aux", 0])
def test_another_output_can_be_asked_for(wanted):
    net = Net(lambda a, b: {"aux": b.softmax(1), "probs": a.softmax(1)}).eval()
    (said,) = xplain.explain(net, X, "saliency").warnings
    assert said.text == "Of several outputs 'probs' is read as scores; the others: 'aux' (output=)."
    model = xplain.load(net, output=wanted)
    with torch.no_grad():
        np.testing.assert_allclose(xplain.predict(model, X), net.logits(torch.from_numpy(X))[1], rtol=1e-5)
    assert not xplain.explain(model, X, "saliency").warnings


OUTPUTS = {
    "features first": lambda e, z: (e, z),
    "features last": lambda e, z: (z, e),
    "a confidence": lambda e, z: (z.softmax(1).amax(1, keepdim=True), z),
    "an entropy": lambda e, z: ((z * z).sum(1), z),
    "in a list": lambda e, z: [e[:, :, None] * e[:, None], e, z],
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_of_outputs_without_a_name_what_weights_make_of_the_others_is_read(name):
    class Embedding(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(6, 4)

        def forward(self, x):
            features = self.conv(x).relu().mean((2, 3))
            return OUTPUTS[name](features, self.head(features))

    net = Embedding().eval()
    a = xplain.explain(net, X, "saliency", target=2)
    x = torch.from_numpy(X).requires_grad_()
    net.head(net.conv(x).relu().mean((2, 3)))[:, 2].sum().backward()
    np.testing.assert_allclose(a.values, x.grad.abs().amax(1), rtol=1e-4)
    (said,) = a.warnings
    assert said.kind == "output"


def test_a_place_in_an_output_without_a_name_can_be_explained():
    net = Net(lambda a, b: (a[:, :, None, None] * torch.ones(2, 2), b[:, :, None] * torch.ones(3))).eval()
    x = torch.from_numpy(X).requires_grad_()
    net.logits(x)[0][:, 3].sum().backward()
    a = xplain.explain(net, X, "input-x-gradient", target="output:0[3, 1, 1]", channels=True)
    np.testing.assert_allclose(a.values, (x.grad * x).detach(), rtol=1e-4, atol=1e-7)


def test_an_output_that_is_not_there():
    net = Net(lambda a, b: {"aux": b, "probs": a}).eval()
    with pytest.raises(UnknownName, match="aux"):
        xplain.predict(xplain.load(net, output="auxx"), X)


def test_rules_that_need_the_graph_read_the_same_output():
    net = Net(lambda a, b: (torch.cat([a, b], 1)[:, :, None].repeat(1, 1, 4), a.softmax(1).squeeze())).eval()
    a = xplain.explain(net, X, "lrp", target=1, rule="epsilon")
    with torch.no_grad():
        np.testing.assert_allclose(a.scores, net.logits(torch.from_numpy(X))[0][:, 1], rtol=1e-4)
    assert a.unit == "share of the logit"


@pytest.mark.parametrize("target", [None, 0])
def test_a_module_that_gives_no_score_is_refused(target):
    class Empty(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :0]

    with pytest.raises(ModelError, match=r"\[1, 0\]: no score to a row"):
        xplain.explain(Empty().eval(), np.zeros((2, 3, 8, 8), np.float32), target=target)
