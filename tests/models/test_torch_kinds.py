"""Modules of other precisions, in TorchScript, of token ids, and with a path that is cut."""

from __future__ import annotations

import numpy as np
import pytest

import xplain
from xplain import measure
from xplain.core.errors import ModelError, UsageError

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
    exported = {id(one): one for one, _ in model._exported.values()}
    assert [one.outline.batch for one in exported.values()] == ["free", "free"]


def test_conservation_is_reported_on_the_exported_module(net, x):
    pytest.importorskip("onnxscript")
    (report,) = measure.conservation(net, x[:1], "lrp", target=1, rule="epsilon")
    score = xplain.predict(net, x[:1])[0, 1]
    np.testing.assert_allclose(report.received[0], score, rtol=1e-4)
    assert (
        abs(report.kept.sum() + xplain.explain(net, x[:1], "lrp", rule="epsilon", target=1).values.sum() - score) < 1e-4
    )
