"""Modules of other precisions, in TorchScript, of token ids, and with a path that is cut."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

import xplain
from xplain import measure
from xplain.core.errors import ModelError, NoPath, UsageError

torch = pytest.importorskip("torch")
nn = torch.nn


@pytest.fixture
def net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, 3)).eval()


@pytest.fixture
def x():
    return np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", ["lrp", "deeplift", "excitation-backprop"])
def test_rule_tables_of_other_precisions_run_on_a_copy(net, x, kind, method):
    pytest.importorskip("onnxscript")
    expected = xplain.explain(net, x, method, target=1).values
    model = xplain.load(net.to(kind))
    found = xplain.explain(model, x, method, target=1)
    assert np.corrcoef(found.values.ravel(), expected.ravel())[0, 1] > 0.999
    assert {p.dtype for p in net.parameters()} == {kind}
    assert any("a copy in float32" in quirk for quirk in model.outline.quirks)


def test_the_callers_autocast_does_not_reach_the_exported_graph(net, x):
    pytest.importorskip("onnxscript")
    expected = xplain.explain(net, x, "lrp", target=1).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = xplain.explain(net, x, "lrp", target=1).values
        assert torch.is_autocast_enabled("cpu")
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, torch.zeros(2, 3, 8, 8))])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_torch_script_is_explained_as_far_as_it_can_be_seen(net, x, make):
    scripted = make(net)
    model = xplain.load(scripted)
    for method in ("saliency", "guided-backprop", "integrated-gradients", "occlusion"):
        found, expected = (xplain.explain(one, x, method, target=1).values for one in (model, net))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
    assert "neither its layers nor a softmax" in model.outline.quirks[0]
    with pytest.raises(UsageError, match="has no layer with positions"):
        xplain.explain(model, x, "grad-cam")


def test_relevance_stops_at_the_embedding_of_token_ids():
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(20, 3, bias=False)).eval()
    ids = np.array([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    model = xplain.load(net)
    found = xplain.explain(model, ids, "lrp", rule="epsilon", layer="0", target=1, channels=True).values
    words, weights = net[0].weight.detach().numpy()[ids], net[2].weight.detach().numpy()[1].reshape(5, 4)
    np.testing.assert_allclose(found, words * weights, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("method", ["lrp", "deeplift", "saliency"])
def test_the_layer_that_is_advised_for_token_ids_is_one_of_the_module(method):
    pytest.importorskip("onnxscript")
    net = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(20, 3)).eval()
    ids = np.array([[1, 2, 3, 4, 5]])
    with pytest.raises(UsageError, match="with layer='0'"):
        xplain.explain(net, ids, method, target=1)
    assert xplain.explain(net, ids, "saliency", target=1, layer="0").values.shape == (1, 5)


class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc((x.mean((2, 3)) > 0.5).float())


def test_what_cuts_the_path_is_named(x, net):
    with pytest.raises(
        ModelError, match=r"no path from 'input' to target '1' with a derivative: it ends at gt, without a derivative"
    ):
        xplain.explain(Steps().eval(), x, "saliency", target=1)
    with pytest.raises(ModelError, match=r"from '5' to target '0\[2\]' .*: nothing that is computed from it leads"):
        xplain.explain(net, x, "saliency", layer="5", target="0[2]")


def test_the_exported_module_takes_any_number_of_items_at_once(net, x):
    """``len`` of a batch, anywhere on the way, would write its two example items into the graph."""
    pytest.importorskip("onnxscript")
    model = xplain.load(net)
    xplain.explain(model, np.repeat(x, 3, axis=0)[:5], "lrp", target=1)
    compiled = xplain.compile(model, "saliency")
    assert compiled.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    exported = {id(one): one for one, _ in model._graph.made.values()}
    assert [one.outline.batch for one in exported.values()] == ["free", "free"]


@pytest.mark.parametrize(("method", "options"), [("occlusion", {"patch": 8, "stride": 8}), ("saliency", {})])
def test_a_program_that_was_exported_for_one_item_is_asked_about_one_at_a_time(net, x, method, options):
    alone = torch.export.export(net, (torch.from_numpy(x[:1]),))
    for source in (alone, alone.module()):
        model = xplain.load(source)
        assert (model.outline.batch, model.outline.rows) == ("fixed", 1)
        np.testing.assert_allclose(
            xplain.explain(model, x, method, target=1, **options).values,
            xplain.explain(net, x, method, target=1, **options).values,
            atol=1e-6,
        )


def test_an_export_that_fails_says_so_in_its_error_alone(capfd):
    pytest.importorskip("onnxscript")

    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 2)

        def forward(self, x):
            return self.fc(x.relu() if x.sum() > 0 else x.tanh())

    with pytest.raises(ModelError, match="could not be exported"):
        xplain.explain(Branching().eval(), np.ones((1, 5), np.float32), "lrp")
    assert capfd.readouterr() == ("", "")


def test_conservation_is_reported_on_the_exported_module(net, x):
    pytest.importorskip("onnxscript")
    (report,) = measure.conservation(net, x[:1], "lrp", target=1, rule="epsilon")
    score = xplain.predict(net, x[:1])[0, 1]
    np.testing.assert_allclose(report.received[0], score, rtol=1e-4)
    assert (
        abs(report.kept.sum() + xplain.explain(net, x[:1], "lrp", rule="epsilon", target=1).values.sum() - score) < 1e-4
    )


def quantised(seed: int) -> nn.Module:
    """The head of a net in whole numbers, behind a convolution in floats."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 8), nn.ReLU(), nn.Linear(8, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own future
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(*layers).eval(), {nn.Linear}, dtype=torch.qint8)


QUANTISED = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")


@QUANTISED
@pytest.mark.parametrize("traced", [False, True])
def test_a_quantised_module_is_explained_by_hiding(x, traced):
    net = quantised(0)
    model = torch.jit.trace(net, torch.zeros(2, 3, 8, 8)) if traced else net

    def logit(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.stack([net(torch.from_numpy(row[None])).numpy()[0, 1] for row in rows])

    found = xplain.explain(model, x, "occlusion", patch=2, stride=2, target=1).values
    for i, j in np.ndindex(4, 4):
        hidden = x.copy()
        hidden[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = 0
        np.testing.assert_allclose(found[:, 2 * i, 2 * j], logit(x) - logit(hidden), atol=1e-6)


@QUANTISED
@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("method", ["saliency", "integrated-gradients", "lrp", "deeplift"])
def test_a_quantised_module_has_no_derivative_and_says_what_works(x, traced, method):
    pytest.importorskip("onnxscript")
    net = quantised(0)
    net = torch.jit.trace(net, torch.zeros(2, 3, 8, 8)) if traced else net
    with pytest.raises(NoPath, match=r"quantized\.linear_dynamic of quantised layers.*before it was") as caught:
        xplain.explain(net, x, method, target=1)
    assert "occlusion" in str(caught.value)
    assert "saliency" not in str(caught.value)


def test_weights_of_quantised_layers_are_part_of_what_a_module_is():
    """Answers are kept under a module's digest, so it must tell two modules apart that differ in such weights alone."""
    one, other = quantised(0), quantised(1)
    one[0].load_state_dict(other[0].state_dict())
    assert xplain.load(one).outline.digest != xplain.load(other).outline.digest
    assert xplain.load(quantised(1)).outline.digest == xplain.load(other).outline.digest


def test_what_a_function_returns_as_it_is_was_made_before(x):
    """A cast to the type that a tensor has returns that tensor; what made it is not forgotten."""

    class Casts(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(192, 3)

        def forward(self, x):
            p = torch.softmax(self.fc(x.flatten(1)).float(), 1).contiguous().to(torch.float32).float()
            return p.type_as(x)

    net = Casts().eval()
    model = xplain.load(net)
    scores = xplain.predict(model, x)
    np.testing.assert_allclose(scores, net.fc(torch.from_numpy(x).flatten(1)).detach().numpy(), rtol=1e-5)
    assert model.outline.scores.link == "softmax"

    class Alone(nn.Module):
        def forward(self, x):
            return (x.mean((2, 3)).to(torch.float32) / 2.0).float() / x.sum((1, 2, 3))[:, None].float()

    assert xplain.load(Alone().eval()).outline.scores.kind == "logits"
    xplain.explain(Alone().eval(), x, "saliency", target=0)


def test_a_dataclass_with_slots_is_read_like_one_without(x):
    @dataclasses.dataclass(slots=True)
    class Found:
        hidden: torch.Tensor
        logits: torch.Tensor

    class Returns(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(192, 3)

        def forward(self, x):
            return Found(x.flatten(1), self.fc(x.flatten(1)))

    net = Returns().eval()
    found = xplain.explain(net, x, "input-x-gradient", target=1, channels=True).values
    expected = x * net.fc.weight.detach().numpy()[1].reshape(3, 8, 8)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@QUANTISED
def test_a_way_past_a_quantised_layer_is_not_taken_for_the_gradient(x):
    """Torch passes nothing back through an operator that it has no derivative of, and goes on with a warning."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.front, self.past, self.whole = nn.Conv2d(3, 4, 1), nn.Linear(256, 3), quantised(0)

        def forward(self, x):
            return self.past(self.front(x).flatten(1)) + self.whole(x)

    net = Two().eval()
    with pytest.raises(NoPath, match=r"quantized\.linear_dynamic"):
        xplain.explain(net, x, "saliency", target=1)
    found = xplain.explain(net, x, "grad-cam", layer="front", target=1).values  # what is beside the way does not matter
    weights = net.past.weight.detach().numpy()[1].reshape(4, 64).mean(1)
    front = net.front(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(found, np.maximum(np.einsum("c,nchw->nhw", weights, front), 0), rtol=1e-4, atol=1e-6)
