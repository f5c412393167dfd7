"""Vectors are what torch's hooks hold; positions are stated, never guessed; a folder goes on after a kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import xplain
from xplain.core.errors import OutputError, UsageError
from xplain.core.lenses.vector_folder import VectorFolder, content_key, read_vectors
from xplain.results import Embedding, load

from .embedded import CARD, exported, folder, module

ITEMS = np.random.default_rng(1).normal(size=(7, 3, 16, 16)).astype(np.float32)


def hooked(net, layer: str, x: np.ndarray) -> np.ndarray:
    """What torch itself has at a layer."""
    import torch

    found = []
    handle = dict(net.named_modules())[layer].register_forward_hook(lambda *told: found.append(told[2]))
    with torch.no_grad():
        net(torch.from_numpy(x))
    handle.remove()
    return found[0].numpy()


@pytest.mark.parametrize("door", ["torch", "file"])
def test_the_penultimate_layer_is_what_enters_the_last_dense_one(door):
    net = module()
    found = xplain.see(net if door == "torch" else exported(net), "embed", ITEMS)
    assert isinstance(found, Embedding)
    np.testing.assert_allclose(found.vectors, hooked(net, "3", ITEMS), rtol=1e-5, atol=1e-6)
    assert found.cost.queries == len(ITEMS)
    import torch

    scores = net(torch.from_numpy(ITEMS)).detach().numpy()
    assert found.predicted == tuple(str(k) for k in scores.argmax(axis=1))
    np.testing.assert_allclose(found.confidence, scores.max(axis=1), rtol=1e-5)


def test_a_folder_is_asked_in_full_batches_and_no_bit_follows_from_an_items_company():
    import onnx

    proto = onnx.load_from_string(exported(module()))
    for axis in (2, 3):  # so large that a row is worth a call of its own
        proto.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 96
    model = xplain.load(proto.SerializeToString())
    items = np.random.default_rng(3).normal(size=(9, 3, 96, 96)).astype(np.float32)
    whole = xplain.see(model, "embed", items)
    (rows,) = whole.provenance.rows_per_call["values"]
    assert rows > 1
    for some in (slice(4, 5), slice(8, 1, -1)):
        again = xplain.see(model, "embed", np.ascontiguousarray(items[some]))
        np.testing.assert_array_equal(again.vectors, whole.vectors[some])
        assert list(again.provenance.rows_per_call["values"]) == [rows]
        assert again.cost.queries == len(items[some])


def test_what_is_read_ahead_keeps_its_order_and_its_errors(tmp_path):
    files = folder(tmp_path / "pictures", each=50)
    for n in (3, 40, 77, 149):
        Path(files[n]).write_bytes(b"no picture")
    told = []
    found = xplain.see(
        exported(module()), "embed", files, card=CARD, failed=lambda place, one, _: told.append((place, one))
    )
    assert told == [(n, files[n]) for n in (3, 40, 77, 149)]
    good = [one for n, one in enumerate(files) if n not in (3, 40, 77, 149)]
    assert found.names == tuple("/".join(Path(one).parts[-2:]) for one in good)
    np.testing.assert_array_equal(found.vectors, xplain.see(exported(module()), "embed", good, card=CARD).vectors)
    assert not [one for one in threading.enumerate() if one.name.startswith("read")]


@pytest.mark.parametrize("positions", ["mean", "max", "all"])
@pytest.mark.parametrize("door", ["torch", "file"])
def test_a_layer_with_positions_becomes_what_is_asked(door, positions):
    net = module()
    model = xplain.load(net if door == "torch" else exported(net))
    if door == "torch":
        xplain.predict(model, ITEMS)  # a module shows its layers once it has run
    layer = "1" if door == "torch" else next(one.name for one in model.outline.layers if one.op == "Relu")
    found = xplain.see(model, "embed", ITEMS, layer=layer, positions=positions)
    values = hooked(net, "1", ITEMS)
    expected = {"mean": values.mean(axis=(2, 3)), "max": values.max(axis=(2, 3)), "all": values.reshape(7, -1)}
    np.testing.assert_allclose(found.vectors, expected[positions], rtol=1e-4, atol=1e-5)
    assert "16" in found.facts["positions"]


def test_a_layer_with_positions_is_refused_until_it_is_said_what_becomes_of_them():
    model = xplain.load(exported(module()))
    layer = next(one.name for one in model.outline.layers if one.op == "Relu")
    with pytest.raises(UsageError, match="16 x 16 positions.*positions='mean', positions='max', or positions='all'"):
        xplain.see(model, "embed", ITEMS, layer=layer)
    with pytest.raises(UsageError, match="no axis of tokens"):
        xplain.see(model, "embed", ITEMS, layer=layer, positions="token:0")


def test_a_token_is_taken_by_its_number():
    torch = pytest.importorskip("torch")

    class Tokens(torch.nn.Module):
        """Patches as tokens with a class token in front; the class token is scored."""

        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.patches = torch.nn.Conv2d(3, 8, 4, 4)
            self.first = torch.nn.Parameter(torch.randn(1, 1, 8))
            self.mix = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
            self.head = torch.nn.Linear(8, 4)

        def forward(self, x):
            tokens = self.patches(x).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], dim=1)
            return self.head(self.mix(tokens)[:, 0])

    net = Tokens().eval()
    model = xplain.load(net)
    xplain.predict(model, ITEMS)
    with torch.no_grad():
        tokens = torch.cat([net.first.expand(7, -1, -1), net.patches(torch.from_numpy(ITEMS)).flatten(2).mT], dim=1)
        mixed = net.mix(tokens).numpy()
    expected = {"token:0": mixed[:, 0], "token:5": mixed[:, 5], "mean": mixed[:, 1:].mean(axis=1)}
    for positions, rows in expected.items():
        found = xplain.see(model, "embed", ITEMS, layer="mix", positions=positions)
        np.testing.assert_allclose(found.vectors, rows, rtol=1e-4, atol=1e-5, err_msg=positions)
    with pytest.raises(UsageError, match="17 tokens, 0 to 16"):
        xplain.see(model, "embed", ITEMS, layer="mix", positions="token:17")


def test_a_net_without_a_dense_layer_before_its_scores_has_no_penultimate_one():
    torch = pytest.importorskip("torch")
    only = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, 4)).eval()
    found = xplain.see(only, "embed", ITEMS)  # the flattened input enters it
    np.testing.assert_array_equal(found.vectors, ITEMS.reshape(7, -1))
    with pytest.raises(UsageError, match="no one penultimate layer.*layer="):
        xplain.see(torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval(), "embed", ITEMS)


# ---------------------------------------------------------------------- folders of vectors


def seen(files, path, **more):
    net = more.pop("net", None) or exported(module())
    return xplain.see(net, "embed", files, card=CARD, vectors=str(path), labelled=True, **more)


def test_vectors_are_kept_as_they_come_and_read_back(tmp_path):
    files = folder(tmp_path / "pictures")
    found = seen(files, tmp_path / "kept")
    plain = xplain.see(exported(module()), "embed", files, card=CARD, labelled=True)
    np.testing.assert_array_equal(found.vectors, plain.vectors)
    assert (found.predicted, found.truth) == (plain.predicted, plain.truth)
    assert found.truth == ("red",) * 8 + ("green",) * 8 + ("blue",) * 8
    assert found.kept
    assert not plain.kept
    again = Embedding.of_folder(tmp_path / "kept")
    np.testing.assert_array_equal(again.vectors, plain.vectors)
    np.testing.assert_array_equal(again.confidence, plain.confidence)
    assert (again.predicted, again.truth, again.names) == (found.predicted, found.truth, found.names)
    assert (again.model, again.card, again.kept) == (found.model, found.card, True)
    about, lines, vectors = read_vectors(tmp_path / "kept")
    assert about["layer"] == found.facts["layer"]
    assert [one["name"] for one in lines] == files == list(found.names)
    np.testing.assert_array_equal(np.load(tmp_path / "kept" / "vectors.npy", mmap_mode="r"), vectors)


def test_what_is_done_is_not_asked_again_also_under_another_name(tmp_path):
    files = folder(tmp_path / "pictures", each=30)
    seen(files[:50], tmp_path / "kept")
    shutil.copy(files[3], tmp_path / "copy.png")
    again = seen([*files, str(tmp_path / "copy.png")], tmp_path / "kept")
    assert len(again) == 91
    assert again.cost.queries <= 32 + 40  # the first part is read before the folder is opened
    own = dict(zip(again.names, again.vectors, strict=True))
    np.testing.assert_array_equal(own[str(tmp_path / "copy.png")], own[files[3]])
    whole = xplain.see(exported(module()), "embed", files, card=CARD)
    np.testing.assert_array_equal([own[name] for name in files], whole.vectors)


def test_a_broken_picture_is_a_row_of_its_error_and_the_rest_goes_on(tmp_path):
    files = folder(tmp_path / "pictures")
    Path(files[5]).write_bytes(b"no picture")
    found = seen(files, tmp_path / "kept")
    assert len(found) == 23
    (line,) = [one for one in read_vectors(tmp_path / "kept")[1] if one["row"] is None]
    assert line["name"] == files[5]
    assert "no picture that can be read" in line["error"]
    assert found.facts["without a vector"] == [{"item": files[5], "error": line["error"]}]
    assert seen(files, tmp_path / "kept").facts["without a vector"] == found.facts["without a vector"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"net": "other"}, ["model was"]),
        ({"positions": "mean", "layer": "relu"}, ["layer was", "positions was"]),
        ({"card": {**CARD, "scale": 1.0}}, ["card was"]),
    ],
)
def test_vectors_of_something_else_are_refused_with_what_differs(tmp_path, change, names):
    files = folder(tmp_path / "pictures", each=2)
    seen(files, tmp_path / "kept")
    net = exported(module(1) if change.pop("net", "") else module())
    model = xplain.load(net)
    if change.get("layer"):
        change["layer"] = next(one.name for one in model.outline.layers if one.op == "Relu")
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    with pytest.raises(UsageError, match="holds vectors of something else") as told:
        xplain.see(model, "embed", files, **{"card": CARD, "vectors": str(tmp_path / "kept"), **change})
    for name in names:
        assert name in str(told.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before


def test_what_a_killed_run_left_is_cut_off(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    about = {"model": "m"}
    with VectorFolder(tmp_path / "kept", about, 3) as kept:
        kept.append(["a", "b"], ["1", "2"], rows[:2], [{}, {}])
    for name, rest in (("rows.jsonl", b'{"name": "c", "key"'), ("vectors.npy", rows[2].tobytes()[:7])):
        with (tmp_path / "kept" / name).open("ab") as file:
            file.write(rest)
    np.testing.assert_array_equal(np.load(tmp_path / "kept" / "vectors.npy"), rows[:2])
    with VectorFolder(tmp_path / "kept", about, 3) as kept:
        assert kept.count == 2
        kept.append(["c"], ["3"], rows[2:3], [{}])
    _, lines, vectors = read_vectors(tmp_path / "kept")
    np.testing.assert_array_equal(vectors, rows[:3])
    assert [one["row"] for one in lines] == [0, 1, 2]
    # a line whose vector is another's is no whole one
    damaged = bytearray((tmp_path / "kept" / "vectors.npy").read_bytes())
    damaged[-1] ^= 255
    (tmp_path / "kept" / "vectors.npy").write_bytes(damaged)
    with VectorFolder(tmp_path / "kept", about, 3) as kept:
        assert kept.count == 2


def test_damage_before_good_rows_is_refused_and_nothing_is_cut_off(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    with VectorFolder(tmp_path / "kept", {}, 3) as kept:
        kept.append(["a", "b", "c", "d"], ["1", "2", "3", "4"], rows, [{}] * 4)
    lines = (tmp_path / "kept" / "rows.jsonl").read_bytes()
    (tmp_path / "kept" / "rows.jsonl").write_bytes(b"#" + lines[1:])
    before = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    with pytest.raises(UsageError, match=r"damaged behind its 0 good rows.*nothing was changed"):
        VectorFolder(tmp_path / "kept", {}, 3)
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before
    (tmp_path / "kept" / "rows.jsonl").write_bytes(lines)
    with VectorFolder(tmp_path / "kept", {}, 3) as kept:
        assert kept.count == 4


def test_a_run_that_is_killed_goes_on(tmp_path):
    folder(tmp_path / "pictures", each=60)
    (tmp_path / "net.onnx").write_bytes(exported(module()))
    told = [sys.executable, "-c", SLOWLY, str(tmp_path), json.dumps(CARD)]
    with subprocess.Popen(told, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}) as run:
        assert run.stdout is not None
        run.stdout.readline()  # two parts are written
        run.send_signal(signal.SIGKILL)
    done = len(np.load(tmp_path / "kept" / "vectors.npy", mmap_mode="r"))
    assert 64 <= done < 180
    again = seen(str(tmp_path / "pictures"), tmp_path / "kept", net=str(tmp_path / "net.onnx"))
    assert again.cost.queries <= 180 - done + 32
    whole = xplain.see(str(tmp_path / "net.onnx"), "embed", str(tmp_path / "pictures"), card=CARD)
    np.testing.assert_array_equal(again.vectors, whole.vectors)


def _left(path, name):
    (path / name).unlink()
    return path / name


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda kept: np.save(kept / "vectors.npy", np.ones((2, 3))), "float64"),
        (lambda kept: np.save(kept / "vectors.npy", np.ones((2, 5), np.float32)), r"width\s+3"),
        (lambda kept: np.save(kept / "vectors.npy", np.ones(6, np.float32)), r"\[6\]"),
        (lambda kept: (kept / "vectors.npy").write_bytes(b""), "cannot be read"),
        (lambda kept: os.mkfifo(_left(kept, "vectors.npy")), "no folder of vectors"),
        (lambda kept: (kept / "manifest.json").write_text('{"format": 99, "width": 3}'), "format 99"),
        (lambda kept: (kept / "rows.jsonl").write_text('{"name": "a", "key": "k", "row": true}\n'), "without vectors"),
        (lambda kept: (kept / "rows.jsonl").write_text('{"name": "a", "key": "k", "row": 7}\n'), "without vectors"),
    ],
)
def test_a_folder_that_others_wrote_is_refused_by_name(tmp_path, harm, said):
    with VectorFolder(tmp_path / "kept", {}, 3) as kept:
        kept.append(["a", "b"], ["x", "y"], np.ones((2, 3), np.float32), [{}, {}])
    harm(tmp_path / "kept")
    with pytest.raises(UsageError, match=said):
        read_vectors(tmp_path / "kept")


def test_no_pipe_in_a_folder_of_vectors_is_waited_for(tmp_path):
    with VectorFolder(tmp_path / "kept", {}, 3) as kept:
        kept.append(["a"], ["x"], np.ones((1, 3), np.float32), [{}])
    os.mkfifo(_left(tmp_path / "kept", "rows.jsonl"))
    assert read_vectors(tmp_path / "kept")[1] == []
    with pytest.raises(OutputError, match="it is no file"):
        VectorFolder(tmp_path / "kept", {}, 3)


SLOWLY = """
import json, sys, time
import xplain
from xplain.core.lenses import vector_folder
append, done = vector_folder.VectorFolder.append, []
def slow(self, *given):
    append(self, *given)
    done.append(1)
    if len(done) == 2:
        print("two", flush=True)
        time.sleep(60)
vector_folder.VectorFolder.append = slow
path = sys.argv[1]
how = {"card": json.loads(sys.argv[2]), "vectors": f"{path}/kept", "labelled": True}
xplain.see(f"{path}/net.onnx", "embed", f"{path}/pictures", **how)
"""


def test_two_runs_do_not_write_into_one_folder_nor_among_other_files(tmp_path):
    with VectorFolder(tmp_path / "kept", {}, 3), pytest.raises(OutputError, match="Another run is writing vectors"):
        VectorFolder(tmp_path / "kept", {}, 3)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letters.txt").write_text("dear")
    with pytest.raises(OutputError, match="holds other files .letters.txt."):
        VectorFolder(tmp_path / "full", {}, 3)
    with pytest.raises(UsageError, match="is no folder of vectors"):
        read_vectors(tmp_path / "full")


def test_a_key_follows_content(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").write_bytes(b"one")
    assert content_key(tmp_path / "a") == content_key(tmp_path / "b")
    (tmp_path / "b").write_bytes(b"two")
    assert content_key(tmp_path / "a") != content_key(tmp_path / "b")
    assert content_key("skimage:coffee") == "name:skimage:coffee"


def test_an_embedding_is_written_as_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    files = folder(tmp_path / "pictures", each=3)
    found = xplain.see(exported(module()), "embed", files, card=CARD, labelled=True)
    table = parquet.read_table(found.to_parquet(tmp_path / "vectors.parquet"))
    np.testing.assert_array_equal(np.stack(table["vector"].to_pylist()).astype(np.float32), found.vectors)
    assert table["truth"].to_pylist() == list(found.truth)
    assert table["name"].to_pylist() == list(found.names)
    told = json.loads(table.schema.metadata[b"xplain"])
    assert told["model"] == found.model
    assert told["layer"] == found.facts["layer"]


def test_a_damaged_embedding_is_refused(tmp_path):
    found = xplain.see(module(), "embed", ITEMS)
    same = load(found.save(tmp_path / "found.npz"))
    np.testing.assert_array_equal(same.vectors, found.vectors)
    with np.load(tmp_path / "found.npz") as archive:
        arrays = dict(archive)
    arrays["confidence"] = arrays["confidence"][:3]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UsageError, match=r"its confidence are float64 \[3\]; \[7\] is needed"):
        load(tmp_path / "bad.npz")
