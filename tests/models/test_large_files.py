"""Models that one protobuf cannot hold: weights stay in their file, and compiled files have a file for theirs.

The limits are constants of a module, so a small file goes the same way where they are lowered; a real file above 2 GB
takes XPLAIN_LARGE=1.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.errors import ModelError, OutputError
from xplain.graph.intake import store
from xplain.models.onnx import session_cache as shelf

FLOAT = TensorProto.FLOAT
SCRIPT = Path(xplain.__file__).parents[1] / "benchmarks" / "methods" / "large_file.py"
METHODS = {
    "saliency": {},
    "grad-cam": {"layer": "r"},
    "ig": {"steps": 4, "tolerance": None},
    "lrp": {},
    "deeplift": {},
    "occlusion": {"patch": 4, "stride": 4},
}


@pytest.fixture
def path(tmp_path):
    """Conv, ReLU, two dense layers; all weights (of the dense ones 1.2 MB and 360 kB) in another file."""
    draws = np.random.default_rng(0)
    weights = {"c": (4, 3, 3, 3), "a": (300, 1024), "b": (300, 300)}
    nodes = [
        helper.make_node("Conv", ["x", "c"], ["f"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["f"], ["r"]),
        helper.make_node("Flatten", ["r"], ["flat"]),
        helper.make_node("Gemm", ["flat", "a"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["k"]),
        helper.make_node("Gemm", ["k", "b"], ["scores"], transB=1),
    ]
    arrays = {k: draws.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype(np.float32) for k, s in weights.items()}
    model = nets.model(nodes, {"x": (FLOAT, ["N", 3, 16, 16])}, {"scores": (FLOAT, ["N", 300])}, arrays)
    onnx.save(model, tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)
    return tmp_path / "net.onnx"


@pytest.fixture
def x():
    return np.random.default_rng(1).normal(size=(2, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def low(monkeypatch):
    monkeypatch.setattr(store, "_ONE_FILE", 2**20)
    monkeypatch.setattr(shelf, "_HUGE", 0)


def load(path):
    return xplain.load(path, allow_external_data=True)


def alone(path, x, **feeds):
    """The compiled file, passed by onnx.checker and run by ONNX Runtime, by its path."""
    onnx.checker.check_model(str(path), full_check=True)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(["attribution"], {"x": x, **feeds})[0]


@pytest.mark.parametrize("method", METHODS)
def test_weights_that_every_session_borrows_explain_the_same(method, path, x, monkeypatch):
    options = METHODS[method]
    expected = xplain.explain(load(path), x, method, target=7, **options)
    monkeypatch.setattr(shelf, "_HUGE", 0)
    opened = []
    kept = shelf.Session.__init__

    def watched(self, *args, outside, **rest):
        opened.append(set(outside))
        kept(self, *args, outside=outside, **rest)

    monkeypatch.setattr(shelf.Session, "__init__", watched)
    model = load(path)
    found = xplain.explain(model, x, method, target=7, **options)
    assert opened
    assert not any({"a", "b"} & names for names in opened)  # what a session is given, it copies
    assert model._loaded.outside.keys() == {"a", "b"}
    scale = np.abs(expected.values).max()
    assert np.abs(found.values - expected.values).max() <= 1e-4 * scale
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-4)


def test_a_sessions_graph_may_be_opened_again(path, low):
    """What is lent becomes an input of a copy."""
    model = load(path)
    part = shelf.deepcopy(model._model)
    for _ in range(2):
        session = model._open(part)
        assert set(session._lent) == {"a/lent", "b/lent"}
        assert all(np.shares_memory(v, model._loaded.outside[k[0]]) for k, v in session._lent.items())


@pytest.mark.parametrize("method", ["saliency", "grad-cam", "lrp", "deeplift"])
def test_a_compiled_file_has_its_weights_beside_it(method, path, x, low, tmp_path):
    options = {k: v for k, v in METHODS[method].items() if k == "layer"}
    expected = xplain.explain(load(path), x, method, target=7, **options).values
    there = tmp_path / "elsewhere"
    there.mkdir()
    out = there / "net.onnx"  # the model's own name, in another folder
    made = xplain.compile(load(path), method, out=out, **options)
    assert made.ByteSize() < 100_000  # the convolution's weights are in it
    tensors = [t for t in made.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    said = [{e.key: e.value for e in t.external_data} for t in tensors]
    assert {t.name for t in tensors} == {"a", "b"}
    assert {one["location"] for one in said} == {"net.onnx.data"}
    assert all(int(one["offset"]) % 4096 == 0 for one in said)  # so that runtimes map it
    path.rename(path.with_name("away.onnx"))
    path.with_name("net.data").unlink()  # the result stands alone
    found = alone(out, x, target=np.array([7]))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    assert xplain.explain(load(out), x, "occlusion", patch=8, stride=8, target=7).values.any()


def test_a_small_result_is_one_file(path, x, tmp_path):
    out = tmp_path / "small.onnx"
    made = xplain.compile(load(path), "saliency", out=out)
    assert out.read_bytes() == made.SerializeToString(deterministic=True)
    assert not (tmp_path / "small.onnx.data").exists()
    assert alone(out, x).shape == (2, 16, 16)


def test_a_large_result_needs_a_file(path, low):
    with pytest.raises(ModelError, match=r"larger than 2 GiB, .*Give the file .* out='explained.onnx'; its weights"):
        xplain.compile(load(path), "saliency")


@pytest.mark.parametrize("name", ["other.onnx", "net.onnx"])
def test_the_models_own_files_are_not_written_over(name, path, low, tmp_path):
    """``other.onnx`` would have its weights in ``other.onnx.data``, where those of the model lie."""
    model = onnx.load(path)
    own = tmp_path / "own.onnx"
    onnx.save(model, own, save_as_external_data=True, location="other.onnx.data", size_threshold=0)
    source = own if name == "other.onnx" else path
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(OutputError, match="belongs to the model itself, which stays as it is"):
        xplain.compile(load(source), "saliency", out=tmp_path / name)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("method", ["lrp", "deeplift"])
def test_a_large_torch_module_is_exported_by_way_of_a_file(method, x, low, monkeypatch, tmp_path):
    torch = pytest.importorskip("torch", reason="the module is torch's")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(1024, 300)]
    net = torch.nn.Sequential(*layers).eval()
    expected = xplain.explain(net, x, method, target=7).values
    monkeypatch.setattr("xplain.models.torch.export._ONE_FILE", 2**20)
    model = xplain.load(net)
    found = xplain.explain(model, x, method, target=7).values
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    out = tmp_path / "explained.onnx"
    xplain.compile(model, method, out=out)
    assert (tmp_path / "explained.onnx.data").stat().st_size >= 4 * 300 * 1024
    assert not list(tmp_path.glob("xplain-*"))  # the file on the way is gone
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(out), options, providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_outputs()] == ["output", "attribution"]
    alone = session.run(["attribution"], {"input": x, "target": np.array([7])})[0]
    assert np.abs(alone - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.large
@pytest.mark.skipif("XPLAIN_LARGE" not in os.environ, reason="writes 7 GB to the disk; set XPLAIN_LARGE=1")
def test_a_real_file_above_two_gigabytes(tmp_path):
    """What a session would copy would be 2,400 MiB of the process's own."""
    spec = importlib.util.spec_from_file_location("xplain_benchmarks_large", SCRIPT)
    large = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(large)
    model = large.make(tmp_path, 2.1)
    assert model.with_name("large.data").stat().st_size > 2**31
    for kind, row in (("row", "onnxruntime"), ("row", "saliency"), ("row", "compile saliency")):
        found = large.fresh(kind, row, model)
        if row != "onnxruntime":
            assert found["own MiB"] < 300, found
    assert large.fresh("mapped", "saliency", model)["own MiB"] < 300
