"""Answers of a CUDA device against the CPU's: occlusion, RISE and LIME through ONNX Runtime and through torch.

Skipped where there is no device. Written without one at hand; what runs everywhere is in ``test_device_path.py`` and
``test_torch_device.py``.
"""

from __future__ import annotations

import copy

import nets
import numpy as np
import pytest

import xplain
from xplain import models, native
from xplain.core.edits import SoftGrid, Untouched
from xplain.core.errors import UsageError
from xplain.core.partial_answers import pieces
from xplain.core.query import Score
from xplain.core.target import every_score, label
from xplain.models.onnx import session
from xplain.models.onnx.providers import CPU, CUDA, devices

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(devices() == 0, reason="no CUDA device")]

METHODS = [
    ("occlusion", {"patch": 5, "stride": 3}),
    ("rise", {"samples": 300, "cells": 4}),
    ("lime", {"samples": 200, "features": "grid:4"}),
]
BUILT = native.status()["cuda"]


def close(got, expected, share=2e-4):
    """Whether two maps agree to a share of the larger one's range."""
    return np.abs(got - expected).max() <= share * max(np.ptp(expected), 1e-6)


@pytest.fixture
def x():
    return np.random.default_rng(0).random((3, 3, 16, 16)).astype(np.float32)


# ------------------------------------------------------------------ ONNX Runtime


@pytest.fixture
def on_cuda():
    """Loads a model on the CUDA provider, and sees that it is really there."""
    if CUDA not in session.providers():
        pytest.skip("the installed ONNX Runtime has no CUDA provider; pip install 'xplain[gpu]'")

    def load(source, **options):
        model = xplain.load(source, providers="cuda", **options)
        assert model.outline.facts["providers"].split(", ")[0] == CUDA
        assert (model._lanes is not None) == BUILT
        return model

    return load


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda p: p if isinstance(p, str) else "")
@pytest.mark.parametrize("form", ["cnn", "half", "channels_last"])
def test_onnx_maps_are_the_cpus(on_cuda, x, form, method, options):
    source = getattr(nets, form)()
    items = x if form != "channels_last" else np.ascontiguousarray(np.moveaxis(x, 1, -1))
    model, plain = on_cuda(source), xplain.load(source, providers="cpu", engine="plain")
    for batch_size in (None, 7):
        got = xplain.explain(model, items, method, target=1, batch_size=batch_size, **options)
        expected = xplain.explain(plain, items, method, target=1, **options)
        assert close(got.values, expected.values, 2e-2 if form == "half" else 2e-4)
        assert got.cost.queries == expected.cost.queries
        assert not got.warnings, got.warnings


def test_onnx_chunks_are_the_same_rows(on_cuda, x):
    model, plain = on_cuda(nets.cnn()), xplain.load(nets.cnn(), providers="cpu")
    query = Score(x, SoftGrid(5, 40, (3, 3), 0.5, np.zeros((1, 1, 1, 1), np.float32)), every_score, part=(3, 111))
    expected, watched = plain.answer(query), Score(x[1:2], Untouched(), label(2))
    alone = plain.answer(watched)
    for rows in (None, 1, 16, 50):
        got = []
        for _, piece in pieces(model, query, 8, rows):
            got.append(piece)
            assert close(model.answer(watched), alone, 1e-3)  # between two pieces
        assert close(np.concatenate(got), expected)
    assert not model.outline.warnings, model.outline.warnings


def test_onnx_fixed_inputs_lie_on_the_device(on_cuda):
    node = nets.helper.make_node
    source = nets.model(
        [node("Add", ["x", "extra"], ["sum"]), node("Mul", ["sum", "scale"], ["y"])],
        {"x": (nets.FLOAT, ["N", 2]), "extra": (nets.FLOAT, ["N", 2]), "scale": (nets.FLOAT, [])},
        {"y": (nets.FLOAT, ["N", 2])},
        {},
    )
    fixed = {"extra": np.array([1.5, -2], np.float32), "scale": np.array(3, np.float32)}
    model, x = on_cuda(source, fixed=fixed, input="x"), np.random.default_rng(0).random((9, 2)).astype(np.float32)
    for rows in (None, 2, 4):
        got = np.concatenate([piece for _, piece in pieces(model, Score(x, Untouched(), every_score), 1, rows)])
        assert np.allclose(got, (x + np.array([1.5, -2])) * 3, rtol=1e-6)
    assert not model.outline.warnings, model.outline.warnings


def test_onnx_sweeps_run_in_the_same_stream(on_cuda, x):
    model, plain = on_cuda(nets.cnn()), xplain.load(nets.cnn(), providers="cpu")
    for method in ("saliency", "grad-cam"):
        got, expected = (xplain.explain(one, x, method, target=1).values for one in (model, plain))
        assert close(got, expected, 1e-3), method


def test_the_device_is_chosen_by_number(on_cuda, x):
    on_cuda(nets.cnn())
    model = xplain.load(nets.cnn(), providers=[("cuda", {"device_id": devices() - 1}), "cpu"])
    assert model.outline.facts["providers"] == f"{CUDA}, {CPU}"
    assert close(model.answer(Score(x, Untouched(), every_score)), xplain.predict(nets.cnn(), x), 1e-3)
    with pytest.raises(UsageError, match=f"accepted: 0 to {devices() - 1}"):
        xplain.load(nets.cnn(), providers=f"cuda:{devices()}")


def test_the_providers_of_this_machine_start():
    assert models.provider_findings() == []


# ------------------------------------------------------------------ torch


@pytest.fixture
def pair():
    """A module on the CPU and its copy on the device; the device's fast float32 is off, which would differ in 1e-3."""
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("the installed torch has no CUDA")
    from models.test_torch import Net

    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    net = Net("none").eval()
    yield net, copy.deepcopy(net).cuda()
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


WAYS = {
    "plain": ({}, 5e-4),
    "channels-last": ({"memory_format": "channels-last"}, 5e-4),
    "graphs": ({"graphs": True}, 5e-4),
    "graphs, channels-last": ({"graphs": True, "memory_format": "channels-last"}, 5e-4),
    "half": ({"precision": "float16"}, 5e-2),
    "half, graphs": ({"precision": "bfloat16", "graphs": True}, 1e-1),
}


@pytest.mark.parametrize(("method", "options"), METHODS, ids=lambda p: p if isinstance(p, str) else "")
@pytest.mark.parametrize("way", WAYS)
def test_torch_maps_are_the_cpus(pair, x, way, method, options):
    there, share = WAYS[way]
    model, plain = xplain.load(pair[1], **there), xplain.load(pair[0])
    for batch_size in (None, 7):
        got = xplain.explain(model, x, method, target=1, batch_size=batch_size, **options)
        expected = xplain.explain(plain, x, method, target=1, **options)
        assert close(got.values, expected.values, share)
        assert bool(got.warnings) == ("half" in way)
    assert not any("could not be captured" in quirk for quirk in model.outline.quirks), model.outline.quirks


def test_torch_chunks_are_captured_and_replayed(pair, x, monkeypatch):
    from xplain.models.torch import device as torch_device
    from xplain.models.torch import module as torch_module

    made = []

    def place(*arguments):
        made.append(torch_device.TorchPlace(*arguments))
        return made[-1]

    monkeypatch.setattr(torch_module, "TorchPlace", place)
    model, plain = xplain.load(pair[1], graphs=True), xplain.load(pair[0])
    query = Score(x, SoftGrid(5, 40, (3, 3), 0.5, np.zeros((1, 1, 1, 1), np.float32)), every_score, part=(1, 108))
    got = np.concatenate([piece for _, piece in pieces(model, query, 8, 10)])
    assert close(got, plain.answer(query), 5e-4)
    assert [(one.captured, one.not_captured) for one in made] == [(2, "")]


def test_torch_modules_that_cannot_be_captured_run_eagerly(pair, x):
    import torch

    class Asks(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x) + (1.0 if x.sum().item() > -1e30 else 0.0)  # waits for the device

    model, plain = xplain.load(Asks(pair[1]), graphs=True), xplain.load(Asks(pair[0]))
    query = Score(x, SoftGrid(5, 40, (3, 3), 0.5, np.zeros((1, 1, 1, 1), np.float32)), every_score)
    got = np.concatenate([piece for _, piece in pieces(model, query, 8, 10)])
    assert close(got, plain.answer(query), 5e-4)
    assert any("could not be captured as a CUDA graph" in quirk for quirk in model.outline.quirks)
    again = np.concatenate([piece for _, piece in pieces(model, query, 8, 10)])  # the device is still sound
    assert close(again, got, 1e-5)


def test_torch_works_in_a_stream_of_the_callers(pair, x):
    import torch

    model, plain = xplain.load(pair[1]), xplain.load(pair[0])
    query = Score(x, SoftGrid(5, 40, (3, 3), 0.5, np.zeros((1, 1, 1, 1), np.float32)), every_score)
    expected, stream = plain.answer(query), torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.autocast("cuda", dtype=torch.float16):
        got = np.concatenate([piece for _, piece in pieces(model, query, 8, 10)])
    assert close(got, expected, 5e-4)  # in the module's own precision
