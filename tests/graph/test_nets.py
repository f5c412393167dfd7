"""The gradient of whole nets, through both torch exporters, against torch in float64."""

from __future__ import annotations

import numpy as np
import pytest
from finite import session

from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build

torch = pytest.importorskip("torch")
nets = pytest.importorskip("torch_nets")

SIZE = 32


def _reference(made, x: np.ndarray, classes: np.ndarray) -> np.ndarray:
    made = made.double()
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    made(at)[torch.arange(len(x)), torch.tensor(classes)].sum().backward()
    return at.grad.numpy()


def assert_close(got: np.ndarray, wanted: np.ndarray) -> None:
    """Almost everywhere equal: a few elements may lie on the other side of a kink of a ReLU."""
    assert got.shape == wanted.shape
    assert np.corrcoef(got.ravel(), wanted.ravel())[0, 1] > 0.9999
    away = np.abs(got - wanted) / np.abs(wanted).max()
    assert np.quantile(away, 0.98) < 1e-4


@pytest.mark.parametrize("dynamo", [False, True], ids=["script", "dynamo"])
@pytest.mark.parametrize("name", list(nets.NETS))
def test_the_gradient_is_torchs(name: str, dynamo: bool) -> None:
    if dynamo:
        pytest.importorskip("onnxscript")
    rng = np.random.default_rng(3)
    x, classes = rng.normal(size=(3, 3, SIZE, SIZE)).astype(np.float32), np.array([1, 7, 4])
    made = nets.net(name)
    model = nets.export(made, torch.tensor(x[:2]), dynamo)
    built = build(model, ["input"], [Seed(model.graph.output[0].name)])
    runner = session(built.model)
    value, cotangent = runner.run(list(built.taps["input"]), {model.graph.input[0].name: x, "target": classes})
    assert_close(cotangent, _reference(made, x, classes))
    np.testing.assert_array_equal(value, x)
