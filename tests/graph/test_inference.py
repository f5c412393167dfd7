"""Element types and shapes are found in one place, once for what is alike; sweeps share the forms of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from nets import FLOAT
from nets import model as net
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.rules import Rules
from xplain.graph.analysis import inference
from xplain.graph.analysis.inference import infer_node, kind_of
from xplain.graph.analysis.plain_kinds import PLAIN, plain_kind
from xplain.graph.intake.load import read
from xplain.graph.passes import Analysed, prepare
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules.lrp_tables import epsilon_plus_flat

PACKAGE = Path(xplain.__file__).parent
BLOCKS = 17


def mobile():
    """A net of 102 nodes like MobileNetV2's: 17 inverted residuals of six nodes."""
    rng = np.random.default_rng(0)
    nodes, stored, here = [], {}, "x"

    def conv(source, out, maps, of, kernel, group=1):
        stored[f"{out}.w"] = rng.normal(0, 0.2, (maps, of, kernel, kernel)).astype(np.float32)
        pads = [kernel // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [source, f"{out}.w"], [out], out, kernel_shape=[kernel] * 2, pads=pads, group=group
            )
        )

    for k in range(BLOCKS):
        conv(here, f"wide{k}", 24, 8, 1)
        nodes.append(helper.make_node("Relu", [f"wide{k}"], [f"act{k}"], f"act{k}"))
        conv(f"act{k}", f"deep{k}", 24, 1, 3, group=24)
        nodes.append(helper.make_node("Relu", [f"deep{k}"], [f"dact{k}"], f"dact{k}"))
        conv(f"dact{k}", f"thin{k}", 8, 24, 1)
        nodes.append(helper.make_node("Add", [f"thin{k}", here], [f"sum{k}"], f"sum{k}"))
        here = f"sum{k}"
    shape = (FLOAT, ("N", 8, 16, 16))
    return net(nodes, {"x": shape}, {here: shape}, stored), here


@pytest.fixture
def asked(monkeypatch):
    """How many nodes ONNX's inference is asked about, by whichever door."""
    count = [0]
    whole, one = onnx.shape_inference.infer_shapes, onnx.shape_inference.infer_node_outputs

    def all_of(model, *args, **options):
        count[0] += len(model.graph.node)
        return whole(model, *args, **options)

    def single(*args, **options):
        count[0] += 1
        return one(*args, **options)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", all_of)
    monkeypatch.setattr(onnx.shape_inference, "infer_node_outputs", single)
    inference._inferred.cache_clear()

    def since():
        found, count[0] = count[0], 0
        return found

    return since


def test_what_is_alike_is_inferred_once(asked):
    model, out = mobile()
    assert len(model.graph.node) == 102
    loaded = read(model)
    assert asked() <= 6, "convolutions of three forms, for two sets of extents"
    analysed = loaded.analysed(loaded.model)
    build(analysed, ["input"], (Seed(out, "inner", "c"),))
    first = asked()
    assert 204 <= first <= 204 + 10, "the whole model before and after it is raised; each kind of node in the sweep"
    build(analysed, ["input"], (Seed(out, "inner", "c"),), epsilon_plus_flat())
    assert asked() <= 20, "hundreds of nodes of an LRP sweep, by what differs among them"
    build(analysed, ["sum3"], (Seed(out, "inner", "c"),))
    assert asked() == 0


@pytest.mark.parametrize(
    ("node", "inputs", "content"),
    [
        (helper.make_node("Concat", ["a", "a"], ["y"], axis=0), {"a": ("N", 3)}, {}),
        (helper.make_node("Reshape", ["a", "s"], ["y"]), {"a": ("N", 12), "s": (3,)}, {"s": np.array([0, 3, -1])}),
        (
            helper.make_node("Resize", ["a", "", "s"], ["y"]),
            {"a": (1, 3, 4, 4), "s": (4,)},
            {"s": np.float32([1, 1, 2, 2])},
        ),
        (helper.make_node("Split", ["a"], ["y", "z"], axis=1, num_outputs=2), {"a": (None, 5)}, {}),
        (helper.make_node("MaxPool", ["a"], ["y", ""], kernel_shape=[2, 2]), {"a": ("N", 3, 8, 8)}, {}),
    ],
)
def test_it_is_what_onnx_says_of_the_node(node, inputs, content):
    imports = [helper.make_opsetid("", 18)]
    dtype = {name: int(helper.np_dtype_to_tensor_dtype(array.dtype)) for name, array in content.items()}
    kinds = {name: (dtype.get(name, TensorProto.FLOAT), shape) for name, shape in inputs.items()}
    types = {name: helper.make_tensor_type_proto(*kind) for name, kind in kinds.items()}
    data = {name: numpy_helper.from_array(array, name) for name, array in content.items()}
    schema = onnx.defs.get_schema(node.op_type, 18, "")
    said = onnx.shape_inference.infer_node_outputs(schema, node, types, data, opset_imports=imports)
    for _ in range(2):  # as found, and as remembered
        assert infer_node(node, kinds, content, imports) == {name: kind_of(said[name]) for name in said if name}


def test_content_is_part_of_what_is_remembered():
    node = helper.make_node("Reshape", ["a", "s"], ["y"])
    kinds = {"a": (TensorProto.FLOAT, (2, 6)), "s": (TensorProto.INT64, (2,))}
    shapes = [
        infer_node(node, kinds, {"s": np.array(s)}, [helper.make_opsetid("", 18)])["y"][1] for s in ([3, 4], [4, 3])
    ]
    assert shapes == [(3, 4), (4, 3)]


def test_a_node_that_onnx_does_not_know_has_no_types():
    imports = [helper.make_opsetid("", 18)]
    assert infer_node(helper.make_node("Nothing", ["a"], ["y"]), {"a": (1, (2,))}, {}, imports) is None
    assert infer_node(helper.make_node("MatMul", ["a", "a"], ["y"]), {"a": (1, (2, 3))}, {}, imports) is None


def test_onnx_is_asked_in_one_file():
    holding = [p.name for p in sorted(PACKAGE.rglob("*.py")) if "shape_inference" in p.read_text(encoding="utf-8")]
    assert holding == ["inference.py"]


@pytest.mark.parametrize("rules", [Rules(), epsilon_plus_flat()], ids=["gradient", "lrp"])
def test_a_form_is_shared_and_never_changed(rules):
    model, _ = mobile()
    analysed = Analysed(model)
    before = prepare(analysed, rules).model.SerializeToString(deterministic=True)
    again = prepare(analysed, rules).model
    del again.graph.node[3:]
    assert prepare(analysed, rules).model.SerializeToString(deterministic=True) == before
    assert prepare(model, rules).model.SerializeToString(deterministic=True) == before


SHAPES = [(), (1,), (3,), ("N", 3), ("N", None, 4), (2, 3, 4), (1, 3, 1), ("N", 1, "W"), ("M", 5, "W"), (0, 3)]
REAL, HALF, LONG, BYTE, SIGNED = (getattr(TensorProto, name) for name in ("FLOAT", "FLOAT16", "INT64", "UINT8", "INT8"))
TYPES = [REAL, HALF, LONG, BYTE, TensorProto.BOOL, TensorProto.BFLOAT16, TensorProto.STRING]


def forms(op):
    """Attributes of an operator and the types of its inputs, some of them none that it takes."""
    if op == "Transpose":
        return [({"perm": [0, 2, 1]}, (REAL,)), ({"perm": [1, 0]}, (BYTE,)), ({}, (REAL,))]
    if op == "Cast":
        return [({"to": to}, (one,)) for to in TYPES for one in TYPES]
    if op == "QuantizeLinear":
        types = [(x, scale, zero) for x in (REAL, HALF) for scale in (REAL, HALF) for zero in TYPES]
        return [({}, one) for one in types] + [({"axis": 0}, types[0])]
    if op == "DequantizeLinear":
        return [({}, (x, scale, x)[:n]) for x in TYPES for scale in (REAL, HALF) for n in (2, 3)]
    if onnx.defs.get_schema(op).min_input == 2:
        return [({}, (one, one)) for one in TYPES] + [({}, (REAL, LONG))]
    return [({}, (one,)) for one in TYPES]


def by_onnx(node, kinds, version):
    """What ONNX says of the one output; None where it finds the node damaged."""
    told = {name: helper.make_tensor_type_proto(*kind) for name, kind in kinds.items()}
    schema, imports = onnx.defs.get_schema(node.op_type, version, ""), [helper.make_opsetid("", version)]
    try:
        return kind_of(onnx.shape_inference.infer_node_outputs(schema, node, told, {}, opset_imports=imports)["y"])
    except Exception:
        return None


@pytest.mark.parametrize("op", PLAIN)
def test_what_is_said_at_a_glance_is_what_onnx_says(op):
    said = 0
    for version in (11, 13, 18, 23):
        if not onnx.defs.has(op, version, ""):
            continue
        for attributes, types in forms(op):
            node = helper.make_node(op, [f"x{k}" for k in range(len(types))], ["y"], **attributes)
            pairs = [(a, b) for a in SHAPES for b in SHAPES] if types == (REAL, REAL) else [(a, ()) for a in SHAPES[:6]]
            for a, b in pairs:
                kinds = {f"x{k}": (int(t), s) for k, (t, s) in enumerate(zip(types, (a, b, ()), strict=False))}
                glance = plain_kind(node, kinds, version)
                assert glance is None or glance == by_onnx(node, kinds, version), (version, kinds)
                said += glance is not None
    assert said > 5


def test_what_is_not_certain_at_a_glance_is_asked():
    mixed = {"x0": (TensorProto.FLOAT, ("N", 3)), "x1": (TensorProto.FLOAT, ("M", 3))}
    assert plain_kind(helper.make_node("Mul", ["x0", "x1"], ["y"]), mixed, 18) is None, "extents of two names"
    assert plain_kind(helper.make_node("Relu", ["x0"], ["y"]), {"x0": (TensorProto.FLOAT, None)}, 18) is None
    assert plain_kind(helper.make_node("Relu", ["x0"], ["y"]), mixed, 6) is None, "older than it was compared with"
    assert plain_kind(helper.make_node("Conv", ["x0", "x1"], ["y"]), mixed, 18) is None
