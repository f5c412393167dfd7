"""Weights of few bits and integer attention: opened, they compute what the runtime's kernels do."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from finite import session
from fused_nodes import RNG, Form, check, form, r
from nets import FLOAT, model
from onnx import TensorProto, helper

from xplain.core.errors import UnsupportedOperator
from xplain.core.rules import Rules
from xplain.graph.intake.bounds import measure
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import Returns, build
from xplain.graph.safety import Limits
from xplain.rules.deeplift import RESCALE
from xplain.rules.lrp_tables import epsilon, epsilon_plus_flat


def _few_bits(k: int, n: int, block: int, bits: int, zeros: str = "", groups: bool = False, bias: bool = False) -> Any:
    """Random codes; zero points packed, as real numbers, or left to their default."""
    blocks, each = -(-k // block), block * bits // 8
    packed = RNG.integers(0, 256, (n, blocks, each)).astype(np.uint8)
    scales = (RNG.random((n, blocks)) * 0.1 + 0.01).astype(np.float32)
    zero: Any = None
    if zeros == "packed":
        zero = RNG.integers(0, 256, (n, -(-blocks * bits // 8))).astype(np.uint8)
    elif zeros == "real":
        zero = (RNG.random((n, blocks)) * 2**bits).astype(np.float32)
    index = (RNG.permutation(k) // block).astype(np.int32) if groups else None
    inputs = [r(2, 3, k), packed, scales, zero, index, r(n) if bias else None]
    label = f"{zeros or 'middle'}{'-groups' if groups else ''}{'-bias' if bias else ''}"
    return form("MatMulNBits", inputs, label=label, K=k, N=n, block_size=block, bits=bits)


FEW_BITS = [
    _few_bits(64, 6, 16, 4),
    _few_bits(64, 6, 16, 4, "packed", bias=True),
    _few_bits(48, 5, 32, 4, "packed"),
    _few_bits(80, 5, 16, 4, "packed"),
    _few_bits(64, 6, 32, 4, "real"),
    _few_bits(64, 6, 16, 4, groups=True),
    _few_bits(64, 6, 16, 4, "real", groups=True),
    _few_bits(64, 6, 32, 8),
    _few_bits(70, 6, 32, 8, "packed", bias=True),
    _few_bits(64, 6, 16, 2),
    _few_bits(48, 6, 16, 2, "packed"),
]


@pytest.mark.parametrize("case", FEW_BITS)
def test_weights_of_few_bits(case: Form) -> None:
    check(case)


def _floats(k: int, n: int, block: int, kind: int) -> Any:
    packed = RNG.integers(0, 256, -(-n * k // 2)).astype(np.uint8)
    largest = (RNG.random(-(-n * k // block)) + 0.5).astype(np.float32)
    return form("MatMulBnb4", [r(2, 3, k), packed, largest], K=k, N=n, block_size=block, quant_type=kind)


FLOATS = [_floats(32, 6, 16, 0), _floats(32, 6, 16, 1), _floats(30, 5, 64, 1), _floats(48, 7, 32, 0)]


@pytest.mark.parametrize("case", FLOATS)
def test_weights_of_four_bit_floats(case: Form) -> None:
    check(case)


BYTES = RNG.integers(0, 255, (2, 5, 8)).astype(np.uint8)
WHOLE, UNSIGNED = RNG.integers(-90, 90, (8, 24)).astype(np.int8), RNG.integers(0, 180, (8, 24)).astype(np.uint8)
MASK = np.array([3, 4], np.int32)
PER_COLUMN = (RNG.random(24) * 0.01 + 0.005).astype(np.float32)
ONE, POINT = np.float32(0.02), np.uint8(120)
PAST = r(2, 2, 2, 3, 4)
INTEGERS = [
    form("QAttention", [BYTES, WHOLE, r(24), ONE, ONE, MASK, POINT, np.int8(3)], label="ends", num_heads=2),
    form("QAttention", [BYTES, WHOLE, r(24), ONE, PER_COLUMN, None, POINT], label="columns", num_heads=2),
    form(
        "QAttention", [BYTES, UNSIGNED, r(24), ONE, ONE, None, POINT, np.uint8(90)], label="unsigned", num_heads=4,
        unidirectional=1,
    ),
    form(
        "QAttention", [BYTES, WHOLE, r(24), ONE, ONE, None, POINT, np.int8(3), PAST], (0, 1), "past", num_heads=2,
        unidirectional=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", INTEGERS)
def test_attention_on_integers(case: Form) -> None:
    check(case)


def _twins() -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Two dense layers with weights of four bits, and the same with the numbers that these stand for."""
    few: list[onnx.NodeProto] = []
    real: list[onnx.NodeProto] = []
    packed: dict[str, np.ndarray] = {}
    dense: dict[str, np.ndarray] = {}
    for k, (wide, tall, source, out) in enumerate([(32, 48, "x", "h"), (48, 5, "r", "y")]):
        codes = RNG.integers(0, 16, (tall, wide))
        scales = (RNG.random((tall, wide // 16)) * 0.05 + 0.02).astype(np.float32)
        packed[f"b{k}"] = (codes[:, ::2] + 16 * codes[:, 1::2]).astype(np.uint8).reshape(tall, -1, 8)
        packed[f"s{k}"] = scales
        dense[f"w{k}"] = ((codes - 8) * scales.repeat(16, axis=1)).T.astype(np.float32)
        few.append(
            helper.make_node(
                "MatMulNBits", [source, f"b{k}", f"s{k}"], [out], f"few{k}", domain="com.microsoft", K=wide, N=tall,
                block_size=16, bits=4,
            )
        )  # fmt: skip
        real.append(helper.make_node("MatMul", [source, f"w{k}"], [out]))
    relu = helper.make_node("Relu", ["h"], ["r"])
    for nodes in (few, real):
        nodes.insert(1, relu)
    ends = ({"x": (FLOAT, ["N", 32])}, {"y": (FLOAT, ["N", 5])})
    return model(few, *ends, packed, opset=18, com_microsoft=1), model(real, *ends, dense, opset=18)


@pytest.mark.parametrize("rules", [Rules(), epsilon(), epsilon_plus_flat(), RESCALE], ids=lambda rules: rules.name)
def test_every_table_sees_the_numbers_that_the_bits_stand_for(rules: Rules) -> None:
    x, found = r(3, 32), []
    for made in _twins():
        built = build(made, ["x"], [Seed("y")], rules)
        feeds = {"x": x, "target": np.array([0, 2, 4]), **({"baseline": 0 * x} if rules.reference else {})}
        found.append(session(built.model).run([built.taps["x"][1]], feeds)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-5 * np.abs(found[1]).max())


def test_the_emitted_file_keeps_the_packed_weights_alone() -> None:
    few, _ = _twins()
    built = build(few, ["x"], [Seed("y")])
    kinds = {t.name: t.data_type for t in built.model.graph.initializer if np.prod(t.dims) >= 512 and t.name[0] in "bw"}
    assert kinds == {"b0": onnx.TensorProto.UINT8}


def test_the_bound_on_constants_does_not_count_weights_that_are_never_unpacked() -> None:
    few, _ = _twins()
    known = measure(few, Limits(constant_bytes=100))
    assert known.shapes["h"] == (1, 48)
    assert known.folded < 1000


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("MatMulNBits", ["x", "b", "s", "z", "g"], {"K": 32, "N": 4, "block_size": 16, "bits": 4}),
        ("MatMulBnb4", ["x", "flat", "s"], {"K": 32, "N": 4, "block_size": 16, "quant_type": 1, "transB": 0}),
    ],
)
def test_a_form_that_is_not_known_is_declined_by_name(op: str, inputs: list[str], attributes: dict[str, Any]) -> None:
    node = helper.make_node(op, inputs, ["y"], "few", domain="com.microsoft", **attributes)
    stored = {
        "b": np.zeros((4, 2, 8), np.uint8), "s": np.ones((4, 2), np.float32), "z": np.zeros((4, 1), np.uint8),
        "g": np.zeros(32, np.int32), "flat": np.zeros(64, np.uint8),
    }  # fmt: skip
    made = model([node], {"x": (FLOAT, ["N", 32])}, {"y": (FLOAT, ["N", 4])}, stored, opset=18, com_microsoft=1)
    with pytest.raises(UnsupportedOperator, match=rf"com.microsoft::{op} \(node 'few'\).*before it was optimised"):
        build(made, ["x"], [Seed("y")])


@pytest.mark.parametrize(("bits", "zeros"), [(4, False), (4, True), (8, False), (8, True), (2, False), (2, True)])
def test_rows_of_packed_embeddings_are_read_in_front_of_what_is_explained(bits: int, zeros: bool) -> None:
    packed = {"bits": bits, "block_size": 16, "gather_axis": 0, "quantize_axis": 1}
    inputs = ["table", "ids", "s", *(["z"] if zeros else [])]
    nodes = [
        helper.make_node("GatherBlockQuantized", inputs, ["rows"], "pick", domain="com.microsoft", **packed),
        helper.make_node("QuickGelu", ["rows"], ["h"], domain="com.microsoft"),
        helper.make_node("ReduceMean", ["h", "axes"], ["y"], keepdims=0),
    ]
    stored = {
        "table": RNG.integers(0, 256, (11, 48 * bits // 8)).astype(np.uint8),
        "s": RNG.random((11, 3)).astype(np.float32),
        "z": RNG.integers(0, 256, (11, -(-3 * bits // 8))).astype(np.uint8),
        "axes": np.array([1]),
    }
    ids = np.array([[1, 4, 10], [0, 3, 3]])
    ends = ({"ids": (TensorProto.INT64, ["N", 3])}, {"y": (FLOAT, None), "rows": (FLOAT, None)})
    made = model(nodes, *ends, stored, opset=18, com_microsoft=1)
    assert measure(made, Limits()).shapes["h"] == (1, 3, 48)
    built = build(made, ["rows"], [Seed("y", "inner", "cot")], returns=Returns(own=True))
    assert {node.domain for node in built.model.graph.node} <= {"", "ai.onnx"}
    cot = r(2, 48)
    rows, found = session(built.model).run(["rows", built.taps["rows"][1]], {"ids": ids, "cot": cot})
    np.testing.assert_allclose(rows, session(made).run(["rows"], {"ids": ids})[0], rtol=1e-5, atol=1e-6)
    gate = 1 / (1 + np.exp(-1.702 * rows.astype(np.float64)))
    slope = gate + 1.702 * rows * gate * (1 - gate)
    np.testing.assert_allclose(found, slope * cot[:, None] / 3, rtol=1e-4, atol=1e-6)
