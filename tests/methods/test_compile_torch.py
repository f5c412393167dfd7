"""Compiling from the torch door: exported once, with the module's layer names, then as for any ONNX file."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import xplain
from xplain.core.errors import ModelError, UnknownName, UsageError

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript", reason="torch's exporter needs it")
nn, F = torch.nn, torch.nn.functional


class Net(nn.Module):
    """A reused in-place ReLU, a functional one, and two outputs of which the first is a softmax."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.act, self.norm, self.fc = nn.ReLU(inplace=True), nn.BatchNorm2d(8), nn.Linear(8, 5)

    def forward(self, x):
        x = self.act(self.conv1(x))
        x = F.relu(self.conv2(x))
        x = self.act(self.norm(x) - 0.2)
        return {"classes": F.softmax(self.fc(x.mean((2, 3))), dim=1), "features": x.mean((2, 3))}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).random((3, 3, 12, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def model(net, x):
    loaded = xplain.load(net)
    xplain.predict(loaded, x)
    return loaded


def run(compiled, x, **more):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(compiled.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x, **more}), strict=True))


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("saliency", {}),
        ("guided-backprop", {}),
        ("integrated-gradients", {"steps": 4, "baseline": 0.5}),
        ("grad-cam", {"signed": True}),
        ("saliency", {"layer": "act:0", "channels": True}),
    ],
)
def test_the_file_says_what_the_module_says(model, net, x, method, options):
    found = run(xplain.compile(model, method, **options), x)
    fixed = {"tolerance": None} if method == "integrated-gradients" else {}
    expected = xplain.explain(model, x, method, **options, **fixed).values
    assert np.abs(found["attribution"] - expected).max() <= 1e-5 * np.abs(expected).max()
    own = net(torch.from_numpy(x))
    np.testing.assert_allclose(found["output"], own["classes"].detach(), atol=1e-6)
    np.testing.assert_allclose(found["output_1"], own["features"].detach(), atol=1e-6)


def test_targets_and_layers_keep_the_modules_names(model, x):
    compiled = xplain.compile(model, "saliency", target="conv2[3]")
    assert {entry.key: entry.value for entry in compiled.metadata_props}["xplain.target"] == "conv2[3]"
    expected = xplain.explain(model, x, "saliency", target="conv2[3]").values
    assert np.abs(run(compiled, x)["attribution"] - expected).max() <= 1e-5 * expected.max()
    chosen = run(xplain.compile(model, "saliency"), x, target=np.array([4, 0, 2]))["attribution"]
    expected = xplain.explain(model, x, "saliency", target=[4, 0, 2]).values
    assert np.abs(chosen - expected).max() <= 1e-5 * expected.max()


def test_the_module_is_left_as_it_was(net, model):
    assert not any(one.training or one._forward_hooks for one in net.modules())
    onnx.checker.check_model(xplain.compile(model, "saliency"), full_check=True)


def test_what_cannot_be_compiled(net, model, x):
    with pytest.raises(UsageError, match="Its size is not known, which compiling needs. State one number"):
        xplain.compile(net, "saliency")
    with pytest.raises(UsageError, match="Its size is not known"):
        xplain.compile(net, "saliency", target=3)
    with pytest.raises(UnknownName, match=r"Unknown layer 'conv3'. Did you mean"):
        xplain.compile(model, "saliency", layer="conv3")
    with pytest.raises(ModelError, match="no path .*from tensor 'layer/act' to"):
        xplain.compile(model, "saliency", target="conv2[3]", layer="act")
    half = xplain.load(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double().eval())
    xplain.predict(half, np.ones((1, 3, 2, 2), np.float32))
    with pytest.raises(UsageError, match=r"holds torch.float64; only float32 modules are exported"):
        xplain.compile(half, "saliency")
