"""The torch door: native answers against plain torch, and nothing left behind in the module."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import xplain
from xplain.core.edits import Untouched, Windows
from xplain.core.errors import ModelError, NonFinite, UnknownName, UsageError
from xplain.core.query import Peek, Score, Sweep
from xplain.core.rules import Rules, Where
from xplain.core.target import channel, every_score, inner, label, neuron
from xplain.rules.guided import DECONVNET, GUIDED

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """Functional, in-place and reused ReLUs, dropout, and a softmax at the end."""

    def __init__(self, head: str = "softmax"):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.act, self.norm, self.drop = nn.ReLU(inplace=True), nn.BatchNorm2d(8), nn.Dropout(0.5)
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.fc, self.head = nn.Linear(8, 5), head

    def forward(self, x):
        x = self.act(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.act(self.norm(x) - 0.2)
        x = self.drop(self.body(x))
        x = self.fc(x.mean((2, 3)))
        return F.softmax(x, dim=1) if self.head == "softmax" else x


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture
def logits(net):
    """The same net without its softmax."""
    other = Net("none").eval()
    other.load_state_dict(net.state_dict())
    return other


@pytest.fixture
def x():
    return np.random.default_rng(0).random((4, 3, 12, 12)).astype(np.float32)


def state(module):
    """Everything that a question may disturb."""
    return [
        (name, one.training, len(one._forward_hooks), len(one._forward_pre_hooks), len(one._backward_hooks))
        for name, one in module.named_modules()
    ] + [(name, p.requires_grad, p.grad is None) for name, p in module.named_parameters()]


def plain_gradient(module, x, pick):
    batch = torch.from_numpy(x).requires_grad_()
    pick(module(batch)).sum().backward()
    module.zero_grad()
    return batch.grad.numpy()


def test_scores_are_the_logits_before_the_softmax(net, logits, x):
    model = xplain.load(net)
    got = model.answer(Score(x, Untouched(), every_score))
    assert np.allclose(got, logits(torch.from_numpy(x)).detach().numpy(), atol=1e-6)
    assert model.outline.scores.link == "softmax"
    assert "what goes into the softmax" in model.outline.scores.found


def test_layers_have_shapes_and_order_from_the_first_item_on(net, x):
    model = xplain.load(net)
    assert [layer.name for layer in model.outline.layers][:2] == ["conv1", "conv2"]
    model.answer(Score(x, Untouched(), every_score))
    layers = {layer.name: layer for layer in model.outline.layers}
    assert layers["conv1"].shape == (None, 8, 12, 12)
    assert layers["conv1"].op == "Conv2d"
    assert list(layers) == ["conv1", "act:0", "conv2", "norm", "act:1", "act", "body.0", "body.1", "body", "drop", "fc"]


def test_edited_items_and_targets_inside(net, x):
    model = xplain.load(net)
    boxes = np.array([[0, 0, 4, 4], [4, 4, 12, 12]], np.int32)
    edits = Windows(boxes, np.zeros((1, 1, 1, 1), np.float32))
    got = model.answer(Score(x, edits, channel("body", 2), part=(1, 5)))
    rows = np.repeat(x, 2, axis=0)
    for r in range(8):
        y0, x0, y1, x1 = boxes[r % 2]
        rows[r, :, y0:y1, x0:x1] = 0
    values = model.answer(Peek(rows, ("body",)))["body"]
    assert np.allclose(got[:, 0], values[1:5, 2].mean((1, 2)), atol=1e-6)


def test_peek_sees_what_a_layer_returned_before_it_was_overwritten(net, x):
    values = xplain.load(net).answer(Peek(x, ("conv1", "act:0", "input")))
    expected = net.conv1(torch.from_numpy(x)).detach().numpy()
    assert np.allclose(values["conv1"], expected, atol=1e-6)
    assert values["conv1"].min() < 0
    assert np.allclose(values["act:0"], np.maximum(expected, 0), atol=1e-6)
    assert np.array_equal(values["input"], x)


def test_sweep_is_the_gradient_of_the_logit(net, logits, x):
    classes = [1, 4, 0, 2]
    answer = xplain.load(net).answer(Sweep(x[:, None], label(classes), Rules(), ("input", "conv2")))
    expected = plain_gradient(logits, x, lambda y: y[torch.arange(4), classes])
    assert np.allclose(answer["input"][1], expected, atol=1e-7)
    assert answer["conv2"][1].shape == (4, 8, 12, 12)


@pytest.mark.parametrize(
    "target",
    [
        channel("body", 3),
        neuron("conv2", 1, 5, 5),
        inner("norm", np.ones((8, 12, 12), np.float32)),
        label(1) - 2.0 * label(3),
    ],
    ids=lambda t: t.name,
)
def test_sweep_of_any_target_is_its_finite_difference(net, target, x):
    model = xplain.load(net.double())
    gradient = model.answer(Sweep(x[:, None], target, Rules()))["input"][1]
    step = np.random.default_rng(1).standard_normal(x.shape).astype(np.float32)
    h = 1e-4  # small beside the distance to the next kink, large beside the rounding of float32 items
    up, down = (model.answer(Score(x + s * h * step, Untouched(), target))[:, 0] for s in (1, -1))
    assert np.allclose((gradient * step).sum((1, 2, 3)), (up - down) / (2 * h), rtol=0.02, atol=1e-3)


@pytest.mark.parametrize(("rules", "everywhere"), [(GUIDED, False), (DECONVNET, True)])
def test_guided_and_deconvnet_reach_every_relu(net, logits, x, rules, everywhere):
    """Against a net whose ReLUs, all four calls, are written out with the rule."""

    class Rectified(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            context.save_for_backward(value > 0)
            return value.clamp(min=0)

        @staticmethod
        def backward(context, g):
            return g.clamp(min=0) if everywhere else g.clamp(min=0) * context.saved_tensors[0]

    relu = Rectified.apply

    def written_out(x):
        y = relu(logits.conv1(x))
        y = relu(logits.conv2(y))
        y = relu(logits.norm(y) - 0.2)
        return logits.fc(relu(logits.body[0](y)).mean((2, 3)))

    batch = torch.from_numpy(x).requires_grad_()
    written_out(batch)[:, 2].sum().backward()
    expected = batch.grad.numpy()
    got = xplain.load(net).answer(Sweep(x[:, None], label(2), rules))["input"][1]
    largest = np.abs(expected).max()
    assert np.allclose(got, expected, rtol=0, atol=1e-5 * largest)
    assert np.abs(got - plain_gradient(logits, x, lambda y: y[:, 2])).max() > 0.1 * largest


def test_the_tail_runs_from_a_layer(net, x):
    model = xplain.load(net)
    whole = model.answer(Score(x, Untouched(), every_score))
    inside = model.answer(Peek(x, ("norm",)))["norm"]
    assert np.allclose(model.answer(Score(inside, Untouched(), every_score, at="norm")), whole, atol=1e-6)


def test_a_layer_that_does_not_carry_everything_is_refused_as_a_start():
    class Skip(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.fc(x)

    model = xplain.load(Skip().eval())
    x = np.ones((2, 4), np.float32)
    model.answer(Score(x, Untouched(), every_score))
    with pytest.raises(UsageError, match="depend on the input also past layer 'fc'"):
        model.answer(Score(x, Untouched(), every_score, at="fc"))


def test_other_rule_tables_run_on_the_exported_module(net, logits, x):
    pytest.importorskip("onnxscript")
    renamed = Rules("gradient by another name").on(Where(), Own())
    answer = xplain.load(net).answer(Sweep(x[:, None], label(1), renamed, ("input", "body")))
    assert np.allclose(answer["input"][1], plain_gradient(logits, x, lambda y: y[:, 1]), atol=1e-6)
    native = xplain.load(net).answer(Sweep(x[:, None], label(1), Rules(), ("body",)))
    for got, expected in zip(answer["body"], native["body"], strict=True):
        assert np.allclose(got, expected, atol=1e-6)


@dataclass(frozen=True)
class Own:
    """The operator's own VJP, as a rule that autograd knows nothing of."""

    def __call__(self, call, g):
        return call.vjp(*g)


def every_question(x):
    return [
        Score(x, Untouched(), every_score),
        Peek(x, ("conv1", "act")),
        Sweep(x[:, None], label(1), Rules(), ("input", "body")),
        Sweep(x[:, None], label(1), GUIDED),
    ]


@pytest.mark.parametrize("training", [False, True])
def test_nothing_is_left_behind(net, x, training):
    net.train(training)
    net.norm.eval()
    before, mean = state(net), net.norm.running_mean.clone()
    model = xplain.load(net)
    for query in every_question(x):
        model.answer(query)
    assert state(net) == before
    assert torch.equal(net.norm.running_mean, mean)
    assert torch.is_grad_enabled()


def test_training_mode_is_said_and_not_used(net, x):
    expected = xplain.load(net).answer(Score(x, Untouched(), every_score))
    net.train()
    model = xplain.load(net)
    assert "training mode" in model.outline.quirks[0]
    assert np.array_equal(model.answer(Score(x, Untouched(), every_score)), expected)


@pytest.mark.parametrize("which", range(4))
def test_nothing_is_left_behind_after_an_exception(net, x, which):
    model = xplain.load(net.train())
    model.answer(Score(x, Untouched(), every_score))
    before = state(net)

    def explode(*_):
        raise RuntimeError("boom")

    net.fc.forward = explode
    with pytest.raises(RuntimeError, match="boom") as caught:
        model.answer(every_question(x)[which])
    assert "raised by torch Net when xplain called it with float32 [4, 3, 12, 12]" in caught.value.__notes__
    assert state(net) == before


def test_callers_under_no_grad_inference_mode_and_autocast(net, logits, x):
    model = xplain.load(net)
    sweep = Sweep(x[:, None], label(1), GUIDED)
    expected = model.answer(sweep)["input"][1]
    with torch.no_grad():
        assert np.array_equal(model.answer(sweep)["input"][1], expected)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        assert np.array_equal(model.answer(sweep)["input"][1], expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = model.answer(sweep)["input"][1]
    assert got.dtype == np.float32
    assert np.corrcoef(got.ravel(), expected.ravel())[0, 1] > 0.98


def test_embeddings_are_explained_in_place_of_token_ids():
    torch.manual_seed(0)

    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.fc = nn.Embedding(10, 6), nn.Linear(6, 3)

        def forward(self, ids):
            return self.fc(self.embedding(ids).mean(1))

    module = Words().eval().requires_grad_(False)
    model = xplain.load(module)
    ids = np.array([[1, 2, 3], [4, 5, 6]])
    value, cotangent = model.answer(Sweep(ids[:, None], label(2), Rules(), ("embedding",)))["embedding"]
    assert np.allclose(value, module.embedding.weight.numpy()[ids])
    assert np.allclose(cotangent, np.broadcast_to(module.fc.weight.numpy()[2] / 3, (2, 3, 6)))
    with pytest.raises(UsageError, match="integers, which have no gradient"):
        model.answer(Sweep(ids[:, None], label(2), Rules()))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda x: x.mean(), r"returned float32 \[\] for a batch of 1"),
        (lambda x: "cat", r"returned str for a batch of 1; accepted: one row of scores per item"),
        (lambda x: x, r"Scores 'output' of torch Given are \[1, 3, 12, 12\]"),
    ],
)
def test_outputs_that_are_no_scores(x, forward, message):
    class Given(nn.Module):
        def forward(self, x):
            return forward(x)

    with pytest.raises(ModelError, match=message):
        xplain.load(Given()).answer(Score(x, Untouched(), every_score))


@pytest.mark.parametrize(
    "wrap", [lambda y: (y, None), lambda y: {"loss": 0, "logits": y}, lambda y: y[:, :, None, None]]
)
def test_scores_in_tuples_mappings_and_four_axes(x, wrap):
    class Given(nn.Module):
        def forward(self, x):
            return wrap(x.mean((2, 3)))

    got = xplain.load(Given()).answer(Score(x, Untouched(), every_score))
    assert np.allclose(got, x.mean((2, 3)), atol=1e-6)


def test_nan_scores_and_unknown_layers(net, x):
    model = xplain.load(net)
    with pytest.raises(UnknownName, match=r"Unknown layer 'conv9'. Did you mean 'conv"):
        model.answer(Peek(x, ("conv9",)))
    with torch.no_grad():
        net.fc.bias[3] = float("nan")
    with pytest.raises(NonFinite, match="score of class 3 for item 0 under edit 0 is NaN"):
        model.answer(Score(x, Untouched(), every_score))


def test_options_of_onnx_models_are_refused(net):
    with pytest.raises(UsageError, match="providers: only for ONNX models"):
        xplain.load(net, providers="cpu")
