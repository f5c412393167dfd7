"""Chains of element-wise nodes put together: the bits that nodes have one by one, and no harm where it fails."""

from __future__ import annotations

import ctypes
import math
import threading

import numpy as np
import onnxruntime as ort
import pytest
from chained_nets import convolved, copied, f32, left_by_the_optimiser, model_of, opened
from onnx import TensorProto, helper

import xplain
from xplain import native
from xplain.graph.build.blocked import in_blocks
from xplain.graph.build.chains import CHAINED, DOMAIN, OPERATOR, in_chains, trial
from xplain.models.onnx import chained
from xplain.models.onnx.chained import same_bits, usable
from xplain.models.onnx.session import Session

CPU = [("CPUExecutionProvider", {})]
VALUES = chained._SPECIAL


@pytest.fixture(autouse=True)
def built():
    """The compiled module must hold the operator; one that was built before its source does not."""
    if not hasattr(ctypes.CDLL(native.library()), "RegisterCustomOps"):
        pytest.skip("the compiled module is older than csrc/runtime: build it again")


TRUTHS = {
    "Add": lambda a, b, c: a + b, "Sub": lambda a, b, c: a - b, "Mul": lambda a, b, c: a * b,
    "Div": lambda a, b, c: a / b, "Min": lambda a, b, c: np.minimum(a, b), "Max": lambda a, b, c: np.maximum(a, b),
    "Greater": lambda a, b, c: a > b, "GreaterOrEqual": lambda a, b, c: a >= b, "Less": lambda a, b, c: a < b,
    "LessOrEqual": lambda a, b, c: a <= b, "Equal": lambda a, b, c: a == b,
    "And": lambda a, b, c: (a > b) & (a < c), "Or": lambda a, b, c: (a > b) | (a < c), "Not": lambda a, b, c: ~(a > b),
    "Where": lambda a, b, c: np.where(a > b, b, c), "Neg": lambda a, b, c: -a, "Abs": lambda a, b, c: np.abs(a),
    "Sign": lambda a, b, c: np.sign(a), "Relu": lambda a, b, c: np.where(a < 0, f32(0), a),
    "Cast": lambda a, b, c: a > b, "LeakyRelu": lambda a, b, c: np.where(a >= 0, a, f32(0.01) * a),
    "Clip": lambda a, b, c: np.where(np.isnan(a), a, np.clip(a, f32(-1), f32(2))),
    "HardSigmoid": lambda a, b, c: np.clip(f32(0.2) * a + f32(0.5), f32(0), f32(1)),
}  # fmt: skip


def test_every_operator_has_a_definition_here():
    assert TRUTHS.keys() == CHAINED.keys()


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("op", CHAINED)
def test_a_step_is_its_operator_on_all_pairs_of_awkward_numbers(op):
    """Zeros of both signs, subnormal numbers, infinities, NaN, against numpy; last bits aside none may differ."""
    session = opened(trial(VALUES))
    (found,) = session.run([f"chain/{op}/0"], {})
    a, b = np.repeat(f32(VALUES), len(VALUES)), np.tile(f32(VALUES), len(VALUES))
    expected = f32(TRUTHS[op](a, b, b[::-1]))
    at = ~np.isnan(a) if op == "HardSigmoid" else slice(None)  # of NaN it makes a number, as the runtime does
    np.testing.assert_array_equal(found[at], expected[at])


def test_operators_that_this_runtime_computes_as_we_do_are_found():
    assert usable(ort) <= CHAINED.keys()
    assert {"Add", "Sub", "Mul", "Div"} <= usable(ort)  # one rounding each, everywhere


def chain(rng, ops, count):
    """Random element-wise nodes on four inputs of shapes that broadcast; each reads the last, so they end in one."""
    nodes, last = [], "x0"
    for k in range(count):
        op = ops[int(rng.integers(len(ops)))]
        other, third = (f"x{int(rng.integers(4))}" for _ in range(2))
        out = f"t{k}"
        reads = [last, other] if rng.random() < 0.5 else [other, last]
        if op in ("Neg", "Abs", "Sign", "Relu", "LeakyRelu", "HardSigmoid"):
            nodes.append(helper.make_node(op, [last], [out], **({"alpha": 0.3} if op != op.title() else {})))
        elif op == "Clip":
            nodes.append(helper.make_node(op, [last, "low", "high"], [out]))
        elif op in ("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Equal", "Where", "Cast"):
            test = op if op not in ("Where", "Cast") else "Greater"
            nodes.append(helper.make_node(test, reads, [f"b{k}"]))
            if op == "Where":
                nodes.append(helper.make_node("Where", [f"b{k}", last, third], [out]))
            else:
                nodes.append(helper.make_node("Cast", [f"b{k}"], [out], to=TensorProto.FLOAT))
        elif op in ("And", "Or", "Not"):
            nodes.append(helper.make_node("Greater", reads, [f"b{k}"]))
            nodes.append(helper.make_node("Less", [last, third], [f"c{k}"]))
            both = [f"b{k}", f"c{k}"] if op != "Not" else [f"b{k}"]
            nodes.append(helper.make_node(op, both, [f"d{k}"]))
            nodes.append(helper.make_node("Cast", [f"d{k}"], [out], to=TensorProto.FLOAT))
        else:
            nodes.append(helper.make_node(op, reads, [out]))
        last = out
    return nodes, last


SHAPES = (
    ((3, 5), (3, 5), (3, 5), (3, 5)), ((2, 7, 300), (7, 300), (1,), (2, 1, 1)), ((513,), (513,), (1,), ()),
    ((4, 0, 3), (4, 0, 3), (3,), (1, 1)), ((1, 16, 9, 9), (1, 16, 1, 1), (16, 9, 9), (9,)), ((), (), (1,), (1, 1)),
    ((2, 3, 50, 70), (2, 3, 50, 70), (2, 3, 50, 70), (70,)), ((1, 1, 3), (5, 1, 1), (1, 4, 1), (5, 4, 3)),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("seed", range(12))
def test_random_chains_have_the_bits_of_their_nodes(seed, threads):
    rng = np.random.default_rng(seed)
    shapes = SHAPES[seed % len(SHAPES)]
    nodes, last = chain(rng, sorted(usable(ort)), 2 + seed)
    inputs = {f"x{k}": shape for k, shape in enumerate(shapes)}
    model = model_of(nodes, inputs, {last: None}, [("low", -0.5), ("high", 1.5)])
    for name in ("low", "high"):
        next(t for t in model.graph.initializer if t.name == name).dims[:] = []
    once = copied(model)  # types of what lies between follow from the operators
    assert in_chains(once, usable(ort)) > 0
    assert [node.op_type for node in once.graph.node].count(OPERATOR) >= 1
    feeds = {}
    for name, shape in inputs.items():
        x = rng.standard_normal(shape).astype(np.float32)
        odd = rng.random(shape) < 0.2
        feeds[name] = np.where(odd, rng.choice(f32(VALUES), shape), x).astype(np.float32)
    plain, fused = opened(model, threads).run(None, feeds), opened(once, threads).run(None, feeds)
    assert same_bits(plain, fused)


def test_a_value_that_others_read_too_is_computed_again_where_its_inputs_are_read():
    nodes = [
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Sub", ["x", "g"], ["d"]),
        helper.make_node("Mul", ["d", "y"], ["out"]),
    ]
    model = model_of(nodes, {"x": [2, 600], "g": [2, 600]}, {"out": [2, 600], "y": [2, 600]})
    once = copied(model)
    once.graph.value_info.append(helper.make_tensor_value_info("d", TensorProto.FLOAT, [2, 600]))
    assert in_chains(once) == 1
    made = next(node for node in once.graph.node if node.domain == DOMAIN)
    assert sorted(made.input) == ["g", "x"]  # and not y
    feeds = {name: np.random.default_rng(0).standard_normal((2, 600)).astype(np.float32) for name in "xg"}
    assert same_bits(opened(model).run(None, feeds), opened(once).run(None, feeds))


@pytest.mark.parametrize(
    ("steps", "constants"),
    [
        ([], []),
        ([0, 0, 0], []),
        ([99, 0, 0, 0], []),
        ([-1, 0, 0, 0], []),
        ([0, 0, 2, 0], []),  # reads what comes later
        ([0, 0, -1, 0], []),
        ([0, 0, 1 << 40, 0], []),
        ([22, 0, 0, 1], [1.0]),  # a slope that is an input
        ([22, 0, 1, 2], [1.0]),  # a slope that is a step
        ([0, 0, 0, 0] * 300, []),
        ([0, 0, 1, 0], [1.0] * 100),
    ],
)
def test_a_damaged_program_is_refused_when_it_is_opened(steps, constants):
    node = helper.make_node(OPERATOR, ["x"], ["y"], domain=DOMAIN)
    for name, values, kind in (("steps", steps, "ints"), ("constants", constants, "floats")):
        one = node.attribute.add(name=name, type=7 if kind == "ints" else 6)
        getattr(one, kind).extend(values)
    model = model_of([node], {"x": [4]}, {"y": [4]})
    model.opset_import.add(domain=DOMAIN, version=1)
    with pytest.raises(Exception, match=r"A chain of element-wise steps|steps"):
        opened(model)


def test_shapes_that_do_not_fit_are_an_error_of_the_run():
    nodes = [helper.make_node("Add", ["x", "y"], ["s"]), helper.make_node("Mul", ["s", "y"], ["out"])]
    model = model_of(nodes, {"x": None, "y": None}, {"out": None})
    assert in_chains(model) == 1
    with pytest.raises(Exception, match="shapes do not fit"):
        opened(model).run(None, {"x": np.ones(3, np.float32), "y": np.ones(4, np.float32)})


@pytest.mark.parametrize(("channels", "moves"), [(32, True), (24, False)])
def test_whole_blocks_stay_in_the_layout_of_the_convolutions(tmp_path, channels, moves):
    """With 24 channels a block has unused places: 0 / 0 would be NaN there, which the next convolution would add up."""
    model = convolved(channels)
    left = left_by_the_optimiser(model, tmp_path / "left.onnx")
    kinds = [node.op_type for node in left.graph.node]
    if "ReorderOutput" not in kinds:
        pytest.skip("this processor's convolutions have no blocked layout")
    saved = in_blocks(left)
    assert (saved > 0) is moves
    assert [node.op_type for node in left.graph.node].count("ReorderInput") == (kinds.count("ReorderInput") - moves)
    in_chains(left, usable(ort))
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 32, 12, 12)).astype(np.float32)}
    plain = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, feeds)
    assert same_bits(plain, opened(left).run(None, feeds))


def gradient_like():
    return convolved(32).SerializeToString()


def asked(session, count=3):
    x = np.random.default_rng(1).standard_normal((1, 32, 12, 12)).astype(np.float32)
    return [session.run({"x": x}) for _ in range(count)]


@pytest.fixture
def at_once(monkeypatch):
    """Sessions are opened again after their first run; what was found of operators is found anew."""
    monkeypatch.setattr(chained, "_PATIENCE", 0)
    usable.cache_clear()
    yield monkeypatch
    usable.cache_clear()


def test_a_session_that_has_run_is_opened_again_and_answers_the_same(at_once):
    session = Session(gradient_like(), "a net", CPU, 1, use="often")
    assert not session.chained
    first, second, third = asked(session)
    assert session.chained
    assert same_bits(list(first.values()), list(second.values()))
    assert same_bits(list(first.values()), list(third.values()))


def test_who_asks_little_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(chained, "_PATIENCE", 1e6)
    session = Session(gradient_like(), "a net", CPU, 1, use="often")
    asked(session)
    assert not session.chained


def test_plain_sessions_and_those_with_a_time_limit_are_left_alone(at_once):
    for options in ({}, {"use": "often", "seconds": 60.0}, {"use": "lean"}):
        session = Session(gradient_like(), "a net", CPU, 1, **options)
        asked(session)
        assert not session.chained


def fail(*_):
    raise OSError("nothing there")


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (native, "library", lambda: "/nowhere/at/all.so"),
        (native, "library", lambda: math.__file__ if hasattr(math, "__file__") else ctypes.__file__),
        (chained, "in_chains", fail),
        (chained, "same_bits", lambda *_: False),
        (chained, "trial", lambda *_: fail()),
        (chained.os, "memfd_create", fail),
    ],
    ids=["no library", "another library", "no pass", "other answers", "no trial", "no memory file"],
)
def test_where_it_cannot_be_done_answers_are_as_before(at_once, where, name, value):
    expected = asked(Session(gradient_like(), "a net", CPU, 1))
    at_once.setattr(where, name, value)
    session = Session(gradient_like(), "a net", CPU, 1, use="often")
    found = asked(session)
    assert not session.chained
    for one, other in zip(found, expected, strict=True):
        assert same_bits(list(one.values()), list(other.values()))


def test_large_models_are_left_alone(at_once):
    at_once.setattr(chained, "_MOST", 1000)
    session = Session(gradient_like(), "a net", CPU, 1, use="often")
    asked(session)
    assert not session.chained


def test_threads_that_ask_while_it_is_exchanged_get_the_same(at_once):
    session = Session(gradient_like(), "a net", CPU, 2, use="often")
    found = []
    threads = [threading.Thread(target=lambda: found.extend(asked(session, 5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.chained
    assert len(found) == 20
    assert all(same_bits(list(found[0].values()), list(one.values())) for one in found)


@pytest.mark.parametrize("method", ["saliency", "guided-backprop", "lrp", "deeplift", "smoothgrad"])
def test_maps_are_the_same_with_chains_and_without(method, at_once, tmp_path):
    """A net with convolutions, ReLU6, a sum and a pool; the second model's sessions are never opened again."""
    rng = np.random.default_rng(5)
    weights = [("w0", rng.standard_normal((16, 3, 3, 3)) / 3), ("w1", rng.standard_normal((16, 16, 3, 3)) / 9)]
    weights += [("w2", rng.standard_normal((16, 4))), ("b", rng.standard_normal(16))]
    nodes = [
        helper.make_node("Conv", ["x", "w0", "b"], ["c0"], pads=[1] * 4),
        helper.make_node("Clip", ["c0", "zero", "six"], ["r0"]),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Add", ["r1", "r0"], ["s"]),
        helper.make_node("GlobalAveragePool", ["s"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w2"], ["scores"]),
    ]
    model = model_of(nodes, {"x": ["n", 3, 24, 24]}, {"scores": ["n", 4]}, [*weights, ("zero", 0), ("six", 6)])
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    x = rng.standard_normal((2, 3, 24, 24)).astype(np.float32)
    options = {"samples": 3} if method == "smoothgrad" else {}
    exchanged = []
    again = Session._reopen
    at_once.setattr(Session, "_reopen", lambda self, *given: again(self, *given) or exchanged.append(self.chained))
    with_chains = xplain.load(path)
    for _ in range(2):
        found = xplain.explain(with_chains, x, method, **options)
    assert any(exchanged)
    at_once.setattr(chained, "_MOST", 0)
    plain = xplain.explain(xplain.load(path), x, method, **options)
    assert same_bits([found.values], [plain.values])
