"""Model files that mean harm, or are something else: each is refused with a message, and before it costs anything."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from xplain.core.errors import ModelError, Unsafe, UsageError
from xplain.graph.intake.load import read
from xplain.graph.safety import Limits

FLOAT = TensorProto.FLOAT
MEASURE = """
import sys
from xplain.graph.intake.load import read
from xplain.core.errors import Unsafe

def peak():
    # of this program alone; getrusage would also count the process that started it
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))

before = peak()
try:
    read(sys.argv[1])
except Unsafe as error:
    print(peak() - before, error)
"""


def save(model, path):
    path.write_bytes(model.SerializeToString())
    return path


def with_nodes(*nodes, weights=(), outputs=("scores",)):
    """A model with these nodes between x [N, 2] and the output."""
    return nets.model(nodes, {"x": (FLOAT, ["N", 2])}, dict.fromkeys(outputs, (FLOAT, ["N", 2])), dict(weights))


# ------------------------------------------------------------------ bombs


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (nets.doubling_bomb, r"constants unfold to more than .* node 't2\d' \(Concat\) passes the limit"),
        (nets.constant_bomb, r"Tensor 'huge' would take 12.0 GiB for a single item"),
    ],
)
def test_bombs_are_refused_before_they_take_memory(bomb, message, tmp_path):
    path = save(bomb(), tmp_path / "bomb.onnx")
    assert path.stat().st_size < 1500
    done = subprocess.run([sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True)
    kibibytes, _, said = done.stdout.partition(" ")
    assert int(kibibytes) < 30 * 1024
    with pytest.raises(Unsafe, match=message):
        read(path)
    assert said.strip()


def test_a_bomb_out_of_order_or_inside_a_branch_is_seen():
    bomb = nets.doubling_bomb()
    nodes = list(bomb.graph.node)[::-1]
    del bomb.graph.node[:]
    bomb.graph.node.extend(nodes)
    with pytest.raises(Unsafe, match="constants unfold"):
        read(bomb)
    inner = nets.doubling_bomb()
    del inner.graph.node[-1]
    branch = helper.make_graph(inner.graph.node, "branch", [], [helper.make_tensor_value_info("total", FLOAT, [1])])
    branch.initializer.extend(inner.graph.initializer)
    outer = with_nodes(
        helper.make_node("If", ["yes"], ["more"], then_branch=branch, else_branch=branch),
        helper.make_node("Add", ["x", "more"], ["scores"]),
        weights={"yes": np.array(True)},
    )
    with pytest.raises(Unsafe, match="constants unfold"):
        read(outer)


def test_growth_that_depends_on_the_input_is_bounded_too():
    nodes = [helper.make_node("Concat", [f"t{k}", f"t{k}"], [f"t{k + 1}"], axis=1) for k in range(40)]
    nodes[0].input[:] = ["x", "x"]
    nodes.append(helper.make_node("ReduceMax", ["t40"], ["scores"]))
    with pytest.raises(Unsafe, match=r"Tensor 't\d+' would take 4.0 GiB for a single item \[1, \d+\]"):
        read(with_nodes(*nodes))


def test_growth_behind_a_size_that_is_not_known_is_still_counted():
    nodes = [helper.make_node("NonZero", ["x"], ["t0"])]
    nodes += [helper.make_node("Concat", [f"t{k}", f"t{k}"], [f"t{k + 1}"], axis=1) for k in range(40)]
    nodes += [helper.make_node("Cast", ["t40"], ["c"], to=FLOAT), helper.make_node("ReduceMax", ["c"], ["scores"])]
    with pytest.raises(Unsafe, match="would take"):
        read(with_nodes(*nodes))


def test_functions_that_call_each_other_twice_are_counted_not_written_out():
    model = with_nodes(helper.make_node("f0", ["x"], ["scores"], domain="own"))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for k in range(60):
        body = [
            helper.make_node(f"f{k + 1}" if k < 59 else "Neg", [a], [b], domain="own" if k < 59 else "")
            for a, b in (("a", "b"), ("b", "c"))
        ]
        model.functions.append(helper.make_function("own", f"f{k}", ["a"], ["c"], body, imports))
    model.opset_import.append(imports[1])
    with pytest.raises(Unsafe, match="more than 100000 nodes once its functions are written out"):
        read(model)
    model.functions[59].node[0].domain, model.functions[59].node[0].op_type = "own", "f0"
    with pytest.raises(Unsafe, match=r"function 'f\d+' calls itself"):
        read(model)


def test_own_functions_are_welcome():
    model = with_nodes(helper.make_node("twice", ["x"], ["scores"], domain="own"))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    model.functions.append(helper.make_function("own", "twice", ["a"], ["b"], body, imports))
    model.opset_import.append(imports[1])
    assert [node.op_type for node in read(model).model.graph.node] == ["Add"]


# ------------------------------------------------------------------ limits and what the file says of itself


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(file_bytes=1000), r"accepted: 1000 bytes \(limits.file_bytes\)"),
        (Limits(nodes=5), "more than 5 nodes"),
        (Limits(tensor_bytes=4000), r"Tensor 'conv1' would take 8.0 KiB for a single item \[1, 8, 16, 16\]"),
    ],
)
def test_limits(limits, message, tmp_path):
    read(nets.cnn())
    with pytest.raises(Unsafe, match=message):
        read(save(nets.cnn(), tmp_path / "net.onnx"), limits=limits)


def test_tensors_that_are_declared_but_not_there():
    model = nets.planted()
    model.graph.initializer[0].dims[0] = 3 * 2**30
    with pytest.raises(Unsafe, match=r"'w' declares \[3221225472, 2\], 24.0 GiB, but the file holds 6144 of its"):
        read(model)
    model.graph.initializer[0].dims[0] = -1
    with pytest.raises(Unsafe, match="negative extent -1"):
        read(model)


@pytest.mark.parametrize("domain", ["com.example", "com.microsoft.nchwc", "org.pytorch.aten"])
def test_foreign_operators(domain):
    with pytest.raises(Unsafe, match=rf"outside the standard: {domain}:Thing \(node 'scores'\).*Accepted domains"):
        read(with_nodes(helper.make_node("Thing", ["x"], ["scores"], domain=domain)))


def test_a_layout_of_one_machine_is_refused_with_the_way_out():
    node = helper.make_node("Conv", ["x"], ["scores"], domain="com.microsoft.nchwc")
    with pytest.raises(Unsafe, match=r"memory layout of one machine.*save the optimised one at level ORT_ENABLE_EX"):
        read(with_nodes(node))


@pytest.mark.parametrize("op", ["EPContext", "PythonOp"])
def test_operators_that_run_foreign_code(op):
    with pytest.raises(Unsafe, match=f"com.microsoft:{op}"):
        read(with_nodes(helper.make_node(op, ["x"], ["scores"], domain="com.microsoft")))


def test_deep_nesting_is_refused():
    node = helper.make_node("Identity", ["x"], ["y"])
    for _ in range(5):
        graph = helper.make_graph([node], "g", [], [])
        node = helper.make_node("If", ["yes"], ["y"], then_branch=graph, else_branch=graph)
    with pytest.raises(Unsafe, match=r"nests graphs 4 deep; accepted: 3 \(limits.depth\)"):
        read(with_nodes(node, weights={"yes": np.array(True)}), limits=Limits(depth=3))


def test_nodes_in_a_circle_and_twice_made():
    with pytest.raises(ModelError, match="wait for each other in a circle"):
        read(with_nodes(helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "x"], ["b"])))
    with pytest.raises(ModelError, match="Two nodes make the tensor 'a'"):
        read(with_nodes(helper.make_node("Neg", ["x"], ["a"]), helper.make_node("Abs", ["x"], ["a"])))


def test_the_verdict_says_what_was_checked():
    checks = {check.what: check.found for check in read(nets.cnn()).verdict.checks}
    assert checks["operators"] == "9 nodes (limit 100000), standard domains only, nested 0 deep"
    assert checks["external data"] == "none"
    assert checks["largest tensor"] == "8.0 KiB for one item, 'conv1' (limit 2.0 GiB)"
    assert set(checks) == {
        "format", "operators", "stored tensors", "external data", "largest tensor", "constants that unfold",
    }  # fmt: skip


# ------------------------------------------------------------------ files that are something else


EXPLOSIVE = b"\x80\x02cos\nsystem\nX\x0e\x00\x00\x00touch exploded\x85R."
"""A pickle that runs a command when it is loaded."""


def write_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"\x80\x02.")


OTHERS = {
    "pickle": (lambda p: p.write_bytes(EXPLOSIVE), Unsafe, "is a Python pickle; opening one can run"),
    "zip": (write_zip, Unsafe, r"zip archive, as torch checkpoints \(.pt, .pth\)"),
    "hdf5": (lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(99)), ModelError, "HDF5.*Convert it with tf2onnx"),
    "tflite": (lambda p: p.write_bytes(b"\x1c\0\0\0TFL3" + bytes(99)), ModelError, "TensorFlow Lite.*tf2onnx --tflite"),
    "ort": (lambda p: p.write_bytes(b"\x1c\0\0\0ORTM" + bytes(99)), ModelError, "flatbuffer.*Give the .onnx file"),
    "text": (lambda p: p.write_text("hello world\n" * 9), ModelError, "text file that begins 'hello world"),
    "json": (lambda p: p.write_text('{"a": 1}'), ModelError, r"text file \(XML or JSON\)"),
    "web page": (lambda p: p.write_text("<!DOCTYPE html><p>404"), ModelError, "a web page: the download went wrong"),
    "LFS pointer": (
        lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
        ModelError,
        "Git LFS pointer.*git lfs pull",
    ),
    "empty": (lambda p: p.write_bytes(b""), ModelError, "is empty"),
    "noise": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(4096)), ModelError, "not a whole ONNX model"),
    "truncated": (
        lambda p: p.write_bytes(nets.cnn().SerializeToString()[:-500]),
        ModelError,
        "truncated .compare its size or checksum",
    ),
    "no graph": (lambda p: p.write_bytes(b"\x08\x08"), ModelError, "holds no graph"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_files_that_are_no_onnx(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, error, message = OTHERS[kind]
    write(tmp_path / "model.onnx")
    with pytest.raises(error, match=message):
        read(tmp_path / "model.onnx")
    assert not Path("exploded").exists()


def test_paths_that_are_no_files(tmp_path):
    save(nets.cnn(), tmp_path / "here.onnx")
    with pytest.raises(UsageError, match=r"is a folder; a model is a file. It holds here.onnx"):
        read(tmp_path)
    with pytest.raises(UsageError, match=r"There is no file .*gone.onnx. In that folder: here.onnx"):
        read(tmp_path / "gone.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UsageError, match="is not a plain file"):
        read(tmp_path / "pipe.onnx")


# ------------------------------------------------------------------ external data


@pytest.fixture
def outside(tmp_path):
    """A model in a folder of its own, with its weights in another file beside it."""
    folder = tmp_path / "model"
    folder.mkdir()
    model = nets.planted(size=192)
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="other.data", size_threshold=0)
    return folder / "net.onnx"


def point_to(path, location, **entries):
    """Let the first weight of a model refer to another place."""
    model = onnx.load(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    kept = {entry.key: entry.value for entry in tensor.external_data} | {"location": location} | entries
    del tensor.external_data[:]
    for key, value in kept.items():
        tensor.external_data.add(key=key, value=str(value))
    save(model, path)


def test_other_files_are_refused_by_default_and_read_when_allowed(outside):
    with pytest.raises(
        Unsafe,
        match=r"keeps weights in other files \('other.data'\), .*such as 'net.onnx.data'.*allow_external_data=True",
    ):
        read(outside)
    loaded = read(outside, allow_external_data=True)
    expected = numpy_helper.to_array(nets.planted(size=192).graph.initializer[0])
    assert np.array_equal(loaded.outside["w"], expected)
    assert not loaded.outside["w"].flags.owndata
    assert loaded.digest != read(nets.planted(size=192)).digest
    with pytest.raises(Unsafe, match="model without a folder"):
        read(outside.read_bytes(), allow_external_data=True)


def escape_by_parent(path):
    (path.parent.parent / "secret.data").write_bytes(bytes(10**6))
    point_to(path, "../secret.data")


def escape_by_absolute(path):
    (path.parent.parent / "secret.data").write_bytes(bytes(10**6))
    point_to(path, str(path.parent.parent / "secret.data"))


def escape_by_link(path):
    (path.parent.parent / "secret.data").write_bytes(bytes(10**6))
    (path.parent / "link.data").symlink_to(path.parent.parent / "secret.data")
    point_to(path, "link.data")


def escape_by_linked_folder(path):
    (path.parent.parent / "secret.data").write_bytes(bytes(10**6))
    (path.parent / "sub").symlink_to(path.parent.parent)
    point_to(path, "sub/secret.data")


def escape_by_hard_link(path):
    (path.parent.parent / "secret.data").write_bytes(bytes(10**6))
    os.link(path.parent.parent / "secret.data", path.parent / "hard.data")
    point_to(path, "hard.data")


def read_a_neighbour(path):
    (path.parent / ".env").write_bytes(bytes(10**6))
    point_to(path, ".env")


def read_a_pipe(path):
    os.mkfifo(path.parent / "pipe.data")
    point_to(path, "pipe.data")


ESCAPES = [
    (escape_by_parent, "accepted: a relative path inside the model's folder"),
    (escape_by_absolute, "accepted: a relative path inside the model's folder"),
    (escape_by_link, "cannot be opened without following a link"),
    (escape_by_linked_folder, "cannot be opened without following a link"),
    (escape_by_hard_link, r"has 2 names \(hard links\)"),
    (read_a_neighbour, "accepted are files that end in .data, .bin"),
    (read_a_pipe, "is not a plain file"),
    (lambda path: point_to(path, "gone.data"), "cannot be opened"),
    (lambda path: point_to(path, "other.data", offset=64), r"but refers to \d+ bytes at 64 of a file of"),
    (lambda path: point_to(path, "other.data", length=8), "but refers to 8 bytes at 0"),
    (lambda path: point_to(path, "other.data", offset="x"), "offset or length that is no number"),
]


@pytest.mark.parametrize(("arrange", "message"), ESCAPES)
def test_external_data_that_are_not_plainly_the_models_own(outside, arrange, message):
    arrange(outside)
    with pytest.raises(Unsafe, match=message):
        read(outside, allow_external_data=True)


def test_external_data_inside_attributes_are_never_read(tmp_path):
    tensor = TensorProto(name="t", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="t.data")
    node = helper.make_node("Constant", [], ["c"], value=tensor)
    model = with_nodes(node, helper.make_node("Add", ["x", "c"], ["scores"]))
    with pytest.raises(Unsafe, match=r"Tensor 't' in graph.node.attribute.t of .* refers to an external file"):
        read(save(model, tmp_path / "a.onnx"), allow_external_data=True)
