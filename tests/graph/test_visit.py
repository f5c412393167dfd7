"""Every place where a tensor can stand in a model file, made from the format's own descriptors: none may be missed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import ModelError, Unsafe
from xplain.graph.intake.foreign import set_aside
from xplain.graph.intake.load import read
from xplain.graph.safety import Limits, check_structure, foreign_in, tensors_of
from xplain.graph.visit import every
from xplain.models.onnx.feeds import OnnxFeeds
from xplain.models.options import FeedsOptions

FLOAT = TensorProto.FLOAT
SECRET = b"-----BEGIN PRIVATE KEY hunter2--"


def ways(wanted: str, twice: int = 1) -> list[tuple[str, ...]]:
    """Paths of field names from a model to each place of a message type, with each field at most ``twice`` in it."""
    found: list[tuple[str, ...]] = []

    def follow(kind, path):
        if kind.name == wanted and path:
            found.append(path)
        for field in kind.fields:
            if field.message_type is not None and path.count(field.name) < twice and len(path) < 9:
                follow(field.message_type, (*path, field.name))

    follow(ModelProto.DESCRIPTOR, ())
    return found


def put(model: ModelProto, path: tuple[str, ...], name: str = "stolen") -> TensorProto:
    """A new message at the end of a path of fields; attributes say their type as the format wants."""
    message = model
    for name in path:
        field = message.DESCRIPTOR.fields_by_name[name]
        holder = message
        value = getattr(message, name)
        message = value.add() if hasattr(value, "add") else value
        if holder.DESCRIPTOR.name == "AttributeProto":
            kinds = {
                "t": "TENSOR", "g": "GRAPH", "tp": "TYPE_PROTO", "sparse_tensor": "SPARSE_TENSOR", "tensors": "TENSORS",
                "graphs": "GRAPHS", "sparse_tensors": "SPARSE_TENSORS", "type_protos": "TYPE_PROTOS",
            }  # fmt: skip
            holder.type = getattr(onnx.AttributeProto, kinds.get(field.name, "UNDEFINED"))
        message.SetInParent()
    return message


TENSORS = ways("TensorProto")


def test_the_known_places_are_among_those_that_are_made():
    assert len(TENSORS) > 50
    for path in (
        ("graph", "initializer"),
        ("graph", "sparse_initializer", "values"),
        ("graph", "sparse_initializer", "indices"),
        ("graph", "node", "attribute", "t"),
        ("graph", "node", "attribute", "tensors"),
        ("graph", "node", "attribute", "sparse_tensor", "values"),
        ("graph", "node", "attribute", "g", "initializer"),
        ("functions", "attribute_proto", "t"),
        ("functions", "node", "attribute", "t"),
        ("functions", "node", "attribute", "g", "sparse_initializer", "indices"),
        ("training_info", "algorithm", "initializer"),
    ):
        assert path in TENSORS


@pytest.mark.parametrize("path", [p for p in TENSORS if p != ("graph", "initializer")], ids=".".join)
@pytest.mark.parametrize("allowed", [False, True])
def test_a_reference_to_another_file_is_seen_wherever_it_stands(path, allowed, tmp_path):
    model = nets.planted()
    tensor = put(model, path)
    tensor.CopyFrom(TensorProto(name="stolen", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL))
    tensor.external_data.add(key="location", value="w.data")
    (tmp_path / "w.data").write_bytes(bytes(8))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    for source in (tmp_path / "m.onnx", model.SerializeToString(), model):
        with pytest.raises(Unsafe, match=r"'stolen' in .* refers to an external file"):
            read(source, allow_external_data=allowed)


@pytest.mark.parametrize("path", TENSORS, ids=".".join)
def test_a_tensor_that_is_not_there_is_seen_wherever_it_stands(path):
    model = nets.planted()
    put(model, path).CopyFrom(TensorProto(name="air", data_type=FLOAT, dims=[2**20, 2**20]))
    with pytest.raises(Unsafe, match="declares"):
        check_structure(model, Limits())


@pytest.mark.parametrize("path", TENSORS, ids=".".join)
def test_the_visitor_is_the_one_list_of_tensors(path):
    model = nets.planted()
    put(model, path).name = "here"
    assert sum(tensor.name == "here" for tensor in tensors_of(model)) == 1
    assert [p.path for p in every(model, "TensorProto") if p.message.name == "here"] == [path]


@pytest.mark.parametrize("path", [p for p in ways("NodeProto") if p[-1] == "node"], ids=".".join)
def test_a_foreign_operator_is_seen_wherever_it_stands(path):
    model = nets.planted()
    node = put(model, path)
    node.op_type, node.domain, node.name = "Evil", "com.example", "here"
    assert foreign_in(model, ()) == ["com.example:Evil (node 'here')"]
    try:
        set_aside(model)  # beside the scores, or in a function that nothing calls
    except Unsafe as error:
        assert "outside the standard: com.example:Evil" in str(error)  # noqa: PT017 - both ends are right
    else:
        assert foreign_in(model, ()) == []


@pytest.mark.parametrize("path", ways("TypeProto"), ids=".".join)
def test_types_may_stand_anywhere(path):
    model = nets.planted()
    put(model, path)
    assert sum(True for _ in every(model, "TypeProto")) >= 1


def _doubled() -> Iterator[ModelProto]:
    """A reference two branches deep, in a function that a loop calls."""
    model = nets.planted()
    deep = ("functions", "node", "attribute", "g", "node", "attribute", "g", "node", "attribute", "t")
    tensor = put(model, deep)
    tensor.CopyFrom(TensorProto(name="stolen", data_type=FLOAT, dims=[2], data_location=TensorProto.EXTERNAL))
    yield model


def test_depth_hides_nothing():
    for model in _doubled():
        with pytest.raises(Unsafe, match=r"functions\.node\.attribute\.g\.node\.attribute\.g\.node\.attribute\.t"):
            read(model)


# ------------------------------------------------------------------ the leak itself, at the doors


def _outside(name):
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[32], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", ".ssh/id_rsa"), ("offset", "0"), ("length", "32")):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _model(nodes, functions=(), **weights):
    made = nets.model(
        [helper.make_node("MatMul", ["x", "w"], ["z"]), *nodes],
        {"x": (FLOAT, ["N", 4])},
        {"y": (FLOAT, ["N", 32])},
        {"w": np.zeros((4, 32), np.float32), **weights},
    )
    if functions:
        made.opset_import.append(helper.make_opsetid("own", 1))
        made.functions.extend(functions)
    return made


_READ = [helper.make_node("Cast", ["s"], ["f"], to=FLOAT), helper.make_node("Add", ["z", "f"], ["y"])]
_IMPORTS = [helper.make_opsetid("", 17)]


def _in_branch():
    known = helper.make_tensor_value_info("t", FLOAT, [32])
    cast = helper.make_node("Cast", ["s"], ["t"], to=FLOAT)
    yes = helper.make_graph([cast], "yes", [], [known], [_outside("s")])
    no = helper.make_graph([helper.make_node("Identity", ["zero"], ["t"])], "no", [], [known])
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Greater", ["most", "low"], ["is"]),
        helper.make_node("If", ["is"], ["q"], then_branch=yes, else_branch=no),
        helper.make_node("Add", ["z", "q"], ["y"]),
    ]
    return _model(nodes, low=np.float32(-9e9), zero=np.zeros(32, np.float32))


def _in_function():
    body = [helper.make_node("Constant", [], ["s"], value=_outside("v")), _READ[0]]
    body.append(helper.make_node("Add", ["a", "f"], ["b"]))
    own = helper.make_function("own", "leak", ["a"], ["b"], body, _IMPORTS)
    return _model([helper.make_node("leak", ["z"], ["y"], domain="own")], [own])


def _as_default_of_a_function():
    constant = helper.make_node("Constant", [], ["s"])
    constant.attribute.add(name="value", ref_attr_name="kept", type=onnx.AttributeProto.TENSOR)
    body = [constant, _READ[0], helper.make_node("Add", ["a", "f"], ["b"])]
    default = helper.make_attribute("kept", _outside("v"))
    own = helper.make_function("own", "leak", ["a"], ["b"], body, _IMPORTS, attribute_protos=[default])
    return _model([helper.make_node("leak", ["z"], ["y"], domain="own")], [own])


def _sparse(where):
    sparse = onnx.SparseTensorProto(dims=[32])
    sparse.values.CopyFrom(_outside("s"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(32), "i"))
    if where == "initializer":
        made = _model(_READ)
        made.graph.sparse_initializer.append(sparse)
        return made
    return _model([helper.make_node("Constant", [], ["s"], sparse_value=sparse), *_READ])


LEAKS = {
    "branch": _in_branch,
    "function": _in_function,
    "default of a function": _as_default_of_a_function,
    "sparse initializer": lambda: _sparse("initializer"),
    "sparse constant": lambda: _sparse("constant"),
}


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("door", ["path", "bytes", "proto", "feeds"])
def test_no_door_gives_the_bytes_of_another_file_away(leak, door, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_rsa").write_bytes(SECRET)
    model = LEAKS[leak]()
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    source = {"path": tmp_path / "m.onnx", "proto": model}.get(door, model.SerializeToString())
    for allowed in (False, True):
        fed, given = FeedsOptions(allow_external_data=allowed), {"allow_external_data": allowed}
        enter = partial(OnnxFeeds, source, fed) if door == "feeds" else partial(xplain.load, source, **given)
        with pytest.raises(Unsafe, match="refers to an external file"):
            enter()


@pytest.mark.parametrize("leak", LEAKS)
def test_a_session_has_a_second_lock(leak, tmp_path, monkeypatch):
    """Were a check to miss a place: the runtime itself is not shown a folder that holds anything."""
    from xplain.graph.runtime import evaluate
    from xplain.models.onnx.session import Session, choose_providers

    monkeypatch.chdir(tmp_path)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_rsa").write_bytes(SECRET)
    model = LEAKS[leak]()
    x = np.zeros((1, 4), np.float32)
    with pytest.raises(ModelError):
        Session(model.SerializeToString(), "leak", choose_providers("cpu").used).run(
            {"x": ort.OrtValue.ortvalue_from_numpy(x)}
        )
    with pytest.raises(ModelError):
        evaluate(model, {"x": x})


def test_what_the_format_does_not_know_is_dropped():
    """A field of a later version could hold a tensor that no check sees, and that a newer runtime reads."""
    model = nets.planted()
    content = model.SerializeToString() + b"\xc2\x3e\x03abc"  # field 1000, three bytes
    assert ModelProto.FromString(content).SerializeToString() == content
    assert b"abc" not in read(content).model.SerializeToString()


def test_stale_references_are_no_reason_to_refuse():
    model = nets.planted()
    model.graph.initializer[0].external_data.add(key="location", value="gone.data")
    read(model)


def test_notes_that_are_no_text_are_dropped_and_names_refused():
    content = nets.planted().SerializeToString()
    model = ModelProto.FromString(content + b"\x32\x02\xff\xfe")  # doc_string
    assert read(model).model.doc_string == ""
    broken = content.replace(b"picture", b"pict\xff\xfee")
    with pytest.raises(ModelError, match=r"that is no text"):
        read(broken)
