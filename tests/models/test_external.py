"""Weights beside the model file: a model's own are taken without asking, and nobody changes them under it."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import xplain
from xplain.core.errors import ModelError, Unsafe
from xplain.graph.intake import external
from xplain.models.onnx.feeds import OnnxFeeds

OWN = ["net.data", "net.onnx.data", "net.onnx_data", "net.onnx_data_1", "net.bin", "net.onnx.bin", "net.weights"]
OTHERS = ["other.data", "data", "net2.data", "nets.onnx.data", "net.data.bin", "net.txt", "net.onnx", "sub/net.data"]


def save(folder, location, name="net.onnx", size=192):
    (folder / location).parent.mkdir(exist_ok=True)
    model = nets.planted(size=size)
    onnx.save(model, folder / "in.onnx", save_as_external_data=True, location=location, size_threshold=0)
    (folder / "in.onnx").rename(folder / name)
    return folder / name


@pytest.mark.parametrize("location", OWN)
@pytest.mark.parametrize("door", [xplain.load, OnnxFeeds])
def test_a_file_that_has_the_models_name_is_taken(location, door, tmp_path):
    path = save(tmp_path, location)
    model = door(path)
    assert model.outline.digest != xplain.load(nets.planted(size=192)).outline.digest
    if door is xplain.load:
        x = np.random.default_rng(0).random((2, 3, 192, 192)).astype(np.float32)
        assert np.array_equal(xplain.predict(model, x), xplain.predict(nets.planted(size=192), x))
        assert "1 plain files" in model.outline.facts["checked: external data"]


@pytest.mark.parametrize("location", OTHERS)
def test_any_other_file_must_be_allowed(location, tmp_path):
    if location == "net.onnx":
        path = save(tmp_path, "net.data")
        model = onnx.load(path, load_external_data=False)
        model.graph.initializer[0].external_data[0].value = location
        path.write_bytes(model.SerializeToString())
    else:
        path = save(tmp_path, location)
    with pytest.raises(Unsafe, match=r"could be any file on this machine.*allow_external_data=True"):
        xplain.load(path)
    if location.endswith((".data", ".bin")):
        xplain.load(path, allow_external_data=True)


@pytest.mark.parametrize("trick", ["link", "hard link", "folder link", "pipe", "folder", "empty", "model link"])
def test_a_name_is_not_enough(trick, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    path = save(folder, "net.data")
    secret = tmp_path / "secret"
    secret.write_bytes((folder / "net.data").read_bytes())
    (folder / "net.data").unlink()
    if trick == "link":
        (folder / "net.data").symlink_to(secret)
    elif trick == "hard link":
        os.link(secret, folder / "net.data")
    elif trick == "folder link":
        (folder / "net.data").symlink_to(tmp_path)
    elif trick == "pipe":
        os.mkfifo(folder / "net.data")
    elif trick == "folder":
        (folder / "net.data").mkdir()
    elif trick == "empty":
        (folder / "net.data").touch()
    else:
        (folder / "net.data").symlink_to(path)
    for allowed in (False, True):
        with pytest.raises(Unsafe):
            xplain.load(path, allow_external_data=allowed)


@pytest.mark.parametrize(("before", "after"), [("net.onnx.data", "new.onnx.data"), ("net.bin", "new.bin")])
def test_a_model_and_its_weights_may_be_renamed_together(before, after, tmp_path):
    path = save(tmp_path, before).rename(tmp_path / "new.onnx")
    with pytest.raises(Unsafe, match="could be any file"):
        xplain.load(path)  # renamed alone, the old file is one of another name
    (tmp_path / before).rename(tmp_path / after)
    model = xplain.load(path)
    assert f"'{before}' as '{after}', which has the model's name" in model.outline.facts["checked: external data"]
    x = np.ones((1, 3, 192, 192), np.float32)
    assert np.array_equal(xplain.predict(model, x), xplain.predict(nets.planted(size=192), x))
    (tmp_path / before).write_bytes(bytes(10))
    with pytest.raises(Unsafe, match="could be any file"):
        xplain.load(path)  # both are there: which one is meant is the user's to say


def test_the_same_bytes_are_not_unfolded_again_and_again(tmp_path):
    path = save(tmp_path, "net.data")
    model = onnx.load(path, load_external_data=False)
    for k in range(20):
        again = model.graph.initializer.add()
        again.CopyFrom(model.graph.initializer[0])
        again.name = f"again{k}"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(Unsafe, match="the same bytes again and again"):
        xplain.load(path)


@pytest.mark.parametrize("renamed", [False, True])
def test_what_torch_exports_by_its_defaults_is_loaded(renamed, tmp_path):
    torch = pytest.importorskip("torch", reason="exports the model")
    pytest.importorskip("onnxscript", reason="torch's exporter needs it")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 64), torch.nn.ReLU())
    net.append(torch.nn.Linear(64, 5)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        torch.onnx.export(net, (torch.zeros(1, 3, 32, 32),), str(tmp_path / "m.onnx"), verbose=False)
        logging.disable(logging.NOTSET)
    path = tmp_path / "m.onnx"
    assert (tmp_path / "m.onnx.data").stat().st_size > 700_000
    if renamed:
        (tmp_path / "m.onnx.data").rename(tmp_path / "other.onnx.data")
        path = path.rename(tmp_path / "other.onnx")
    model = xplain.load(path)
    x = np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.tensor(x)).numpy()
    np.testing.assert_allclose(xplain.predict(model, x), expected, atol=1e-5)
    leaf = torch.tensor(x, requires_grad=True)
    net(leaf)[0, 2].backward()
    found = xplain.explain(model, x, "saliency", target=2, channels=True).values
    np.testing.assert_allclose(found[0], leaf.grad[0].numpy(), atol=1e-6)


# ------------------------------------------------------------------ files that change under a model


@pytest.fixture
def linear(tmp_path):
    """y = x W V with W [400, 400] in another file: input times gradient of a class sums to its score."""
    weights = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    (tmp_path / "m.data").write_bytes(weights.tobytes())
    tensor = TensorProto(name="W", data_type=1, dims=[400, 400], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="m.data")
    nodes = [helper.make_node("MatMul", ["x", "W"], ["z"]), helper.make_node("MatMul", ["z", "V"], ["y"])]
    model = nets.model(nodes, {"x": (1, ["N", 400])}, {"y": (1, ["N", 3])}, {"V": np.full((400, 3), 0.01, np.float32)})
    model.graph.initializer.append(tensor)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "m.onnx"


def overwrite(path):
    with path.open("r+b") as file:
        file.write(np.full(160000, 7, np.float32).tobytes())


CHANGES = {
    "written over": overwrite,
    "cut": lambda path: os.truncate(path, 0),
    "replaced": lambda path: [path.unlink(), path.write_bytes(np.full(160000, 7, np.float32).tobytes())],
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_were_read_stay_what_they_were(change, linear):
    model, x = xplain.load(linear), np.ones((1, 400), np.float32)
    before = xplain.predict(model, x)
    CHANGES[change](linear.with_name("m.data"))
    assert np.array_equal(xplain.predict(model, x), before)
    found = xplain.explain(model, x, "input-x-gradient", target=0)
    np.testing.assert_allclose(found.values.sum(), before[0, 0], rtol=1e-3)
    assert xplain.explain(model, x, "saliency", target=0).values.any()


@pytest.mark.parametrize("change", CHANGES)
def test_weights_that_are_mapped_are_looked_at_before_each_use(change, linear, monkeypatch):
    monkeypatch.setattr(external, "_MAPPED", 0)
    model, x = xplain.load(linear), np.ones((1, 400), np.float32)
    before = xplain.predict(model, x)
    CHANGES[change](linear.with_name("m.data"))
    if change in ("replaced", "gone"):  # the old file lives on under the mapping
        assert np.array_equal(xplain.predict(model, x), before)
        return
    uses = (
        lambda: xplain.predict(model, x),
        lambda: xplain.explain(model, x, "saliency"),
        lambda: xplain.compile(model, "saliency"),
    )
    for use in uses:
        with pytest.raises(ModelError, match=r"m.data has changed since the model was loaded.*Load the model again"):
            use()


def test_a_mapped_file_that_is_cut_kills_nobody(linear):
    code = f"""
import os, numpy as np, xplain
from xplain.graph.intake import external
external._MAPPED = 0
model = xplain.load({str(linear)!r})
os.truncate({str(linear.with_name("m.data"))!r}, 0)
try:
    xplain.explain(model, np.ones((1, 400), np.float32), "saliency")
except xplain.core.errors.ModelError:
    print("said so")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "said so", (done.returncode, done.stderr)


def test_handles_are_given_back(linear, monkeypatch):
    monkeypatch.setattr(external, "_MAPPED", 0)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        model = xplain.load(linear)
        del model
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
