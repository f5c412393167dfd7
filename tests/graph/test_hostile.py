"""Small files that mean harm to the checks themselves: each is refused, or loaded, after little work."""

from __future__ import annotations

import time

import nets
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import ModelError, Unsafe, UsageError, XplainError
from xplain.graph.analysis.small import compute
from xplain.graph.intake.load import read
from xplain.graph.safety import Limits, has_loops

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
N = helper.make_node
X = np.ones((1, 4), np.float32)


def model(*nodes, opset=17, ir=8, functions=(), outputs=None, **weights):
    """z = x W [N, 3], then the nodes, to y."""
    made = nets.model(
        [N("MatMul", ["x", "W"], ["z"]), *nodes],
        {"x": (FLOAT, ["N", 4])},
        outputs or {"y": (FLOAT, ["N", 3])},
        {"W": np.ones((4, 3), np.float32), **weights},
        opset,
        ir,
        com_microsoft=1,
        own=1,
    )
    made.functions.extend(functions)
    return made


def alone(node, shape, opset=17, **weights):
    """One node that reads x and makes y, first of all its outputs or last."""
    return nets.model([node], {"x": (FLOAT, shape)}, {"y": (FLOAT, None)}, weights, opset)


def info(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def endless():
    body = [N("Identity", ["c"], ["c2"]), N("Identity", ["v"], ["v2"])]
    return helper.make_graph(
        body,
        "body",
        [info("i", INT64, []), info("c", BOOL, []), info("v", FLOAT, ["n", 3])],
        [info("c2", BOOL, []), info("v2", FLOAT, ["n", 3])],
    )


def loop_in_if(depth=1):
    inner = N("Loop", ["M", "C", "z"], ["t0"], body=endless())
    for k in range(depth):
        yes = helper.make_graph([inner], f"yes{k}", [], [info(f"t{k}", FLOAT, ["n", 3])])
        no = helper.make_graph([N("Identity", ["z"], [f"e{k}"])], f"no{k}", [], [info(f"e{k}", FLOAT, ["n", 3])])
        out = "y" if k == depth - 1 else f"t{k + 1}"
        inner = N("If", ["q"], [out], then_branch=yes, else_branch=no)
    nodes = [N("ReduceMax", ["x"], ["r"], keepdims=0), N("Greater", ["r", "lo"], ["q"]), inner]
    return model(*nodes, M=np.int64(2**62), C=np.bool_(True), lo=np.float32(-9e9))


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_loop_is_under_the_clock_at_any_depth(depth):
    loaded = xplain.load(loop_in_if(depth), limits=Limits(seconds=0.3))
    for use in (lambda: xplain.predict(loaded, X), lambda: xplain.explain(loaded, X, "ablation")):
        with pytest.raises(ModelError, match=r"ran for more than 0.3 s and was stopped: it has loops"):
            use()


def test_a_loop_in_a_function_is_under_the_clock():
    body = [N("Constant", [], ["M"], value_int=2**62), N("Constant", [], ["c"], value_int=1)]
    body += [N("Cast", ["c"], ["C"], to=BOOL), N("Loop", ["M", "C", "a"], ["b"], body=endless())]
    own = helper.make_function("own", "f", ["a"], ["b"], body, [helper.make_opsetid("", 17)])
    loaded = xplain.load(model(N("f", ["z"], ["y"], domain="own"), functions=[own]), limits=Limits(seconds=0.3))
    with pytest.raises(ModelError, match="was stopped"):
        xplain.predict(loaded, X)


@pytest.mark.parametrize("through", ["itself", "a circle", "a branch"])
def test_nodes_that_wait_for_themselves(through):
    if through == "itself":
        bad = model(N("Identity", ["y"], ["y"]))
    elif through == "a circle":
        bad = model(N("Identity", ["b"], ["a"]), N("Add", ["a", "z"], ["b"]), N("Identity", ["b"], ["y"]))
    else:
        branch = helper.make_graph([N("Add", ["y", "z"], ["t"])], "yes", [], [info("t", FLOAT, ["n", 3])])
        bad = model(N("If", ["is"], ["y"], then_branch=branch, else_branch=branch), **{"is": np.bool_(True)})
    with pytest.raises(ModelError, match="reads what it makes itself|in a circle"):
        read(bad)


def test_a_branch_may_call_its_output_as_its_if_is_called():
    branch = helper.make_graph([N("Add", ["z", "z"], ["y"])], "yes", [], [info("y", FLOAT, ["n", 3])])
    good = model(N("If", ["is"], ["y"], then_branch=branch, else_branch=branch), **{"is": np.bool_(True)})
    assert [node.op_type for node in read(good).model.graph.node] == ["MatMul", "If"]


WORK = {
    "regex": model(
        N("RegexFullMatch", ["s"], ["m"], pattern="(a+)+$"),
        N("Cast", ["m"], ["f"], to=FLOAT),
        N("Add", ["z", "f"], ["y"]),
        opset=20,
        s=np.array(["a" * 40 + "!"], object),
    ),
    "strings": model(
        *[N("StringConcat", [f"s{k}"] * 2, [f"s{k + 1}"]) for k in range(26)],
        N("RegexFullMatch", ["s26"], ["m"], pattern="b"),
        N("Cast", ["m"], ["f"], to=FLOAT),
        N("Add", ["z", "f"], ["y"]),
        opset=20,
        s0=np.array(["a" * 1024], object),
    ),
    "regions": model(
        N("RoiAlign", ["a", "ro", "bi"], ["p"], sampling_ratio=10**6),
        N("ReduceSum", ["p"], ["f"], keepdims=0),
        N("Add", ["z", "f"], ["y"]),
        a=np.ones((1, 1, 2, 2), np.float32),
        ro=np.array([[0, 0, 1, 1]], np.float32),
        bi=np.array([0]),
    ),
}


@pytest.mark.parametrize("work", WORK)
def test_constants_are_not_computed_at_any_cost(work):
    started = time.process_time()
    read(WORK[work])
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("node", "feeds"),
    [
        (N("Range", ["a", "b", "c"], ["y"]), {"a": 0, "b": 2**40, "c": 1}),
        (N("Range", ["a", "b", "c"], ["y"]), {"a": 0, "b": 1, "c": 0}),
        (N("ConstantOfShape", ["a"], ["y"]), {"a": [2**20, 2**20]}),
        (N("Expand", ["a", "b"], ["y"]), {"a": [1], "b": [2**40]}),
        (N("Tile", ["a", "b"], ["y"]), {"a": [1], "b": [2**40]}),
        (N("Pad", ["a", "b"], ["y"]), {"a": [1], "b": [0, 2**40]}),
        (N("MatMul", ["a", "b"], ["y"]), {"a": np.ones((60000, 1)), "b": np.ones((1, 60000))}),
        (N("Add", ["a", "b"], ["y"]), {"a": np.ones((60000, 1)), "b": np.ones((1, 60000))}),
        (N("Gather", ["a", "b"], ["y"]), {"a": np.ones((1, 60000)), "b": np.zeros(60000, np.int64)}),
        (N("StringConcat", ["a", "a"], ["y"]), {"a": np.array(["x"], object)}),
        (N("Identity", ["a"], ["y"]), {"a": np.array(["x"], object)}),
    ],
)
def test_what_would_be_large_is_not_made(node, feeds):
    arrays = {name: np.asarray(value) for name, value in feeds.items()}
    started = time.process_time()
    assert compute(node, arrays, [helper.make_opsetid("", 20)], 2**16) == {}
    assert time.process_time() - started < 2


def test_shape_arithmetic_is_followed():
    imports = [helper.make_opsetid("", 17)]
    made = compute(
        N("Range", ["a", "b", "c"], ["y"]), {k: np.array(v) for k, v in zip("abc", (2, 9, 3), strict=True)}, imports, 10
    )
    assert made["y"].tolist() == [2, 5, 8]
    made = compute(N("Gather", ["a", "b"], ["y"]), {"a": np.arange(4) * 2, "b": np.array([3, 1])}, imports, 10)
    assert made["y"].tolist() == [6, 2]


RANGED = [
    (N("DepthToSpace", ["x"], ["y"], blocksize=2**62), [1, 4, 8, 8], "blocksize"),
    (N("SpaceToDepth", ["x"], ["y"], blocksize=0), [1, 4, 8, 8], "blocksize"),
    (N("Split", ["x"], ["a", "b", "y"], num_outputs=1), [6], "num_outputs"),
    (N("LayerNormalization", ["x", "w"], ["y"], axis=2**63 - 1), [2, 3], "axis"),
    (N("Softmax", ["x"], ["y"], axis=-(2**63)), [2, 3], "axis"),
    (N("Flatten", ["x"], ["y"], axis=2**62), [2, 3], "axis"),
    (N("Transpose", ["x"], ["y"], perm=[0, 2**62]), [2, 3], "perm"),
    (N("Attention", ["x", "w", "w"], ["y"], kv_num_heads=-(2**63), q_num_heads=3), [2, 4, 24], "kv_num_heads"),
    (N("Conv", ["x", "w"], ["y"], group=0), [1, 4, 8, 8], "group"),
    (N("Conv", ["x", "w"], ["y"], strides=[2**40, 1]), [1, 4, 8, 8], "strides"),
    (N("MaxPool", ["x"], ["y"], kernel_shape=[10**9, 1]), [1, 4, 8, 8], "kernel_shape"),
    (N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], dilations=[0, 0]), [1, 4, 8, 8], "dilations"),
    (N("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], pads=[2**40] * 4), [1, 4, 8, 8], "pads"),
    (N("Cast", ["x"], ["y"], to=2**40), [2, 3], "to"),
    (N("Cast", ["x"], ["y"], to=-1), [2, 3], "to"),
    (N("LSTM", ["x", "w", "w"], ["y"], hidden_size=-1), [2, 3, 4], "hidden_size"),
    (N("Anything", ["x"], ["y"], domain="com.microsoft", number=2**50), [2, 3], "number"),
]


@pytest.mark.parametrize(("node", "shape", "name"), RANGED)
@pytest.mark.parametrize("depth", [0, 1])
def test_whole_numbers_are_ranged_before_anybody_computes_with_them(node, shape, name, depth):
    bad = alone(node, shape, 20, w=np.ones((2, 3), np.float32))
    if depth:
        branch = helper.make_graph([node], "yes", [], [info("y", FLOAT, None)])
        outer = N("If", ["is"], ["y"], then_branch=branch, else_branch=branch)
        bad = alone(outer, shape, 20, w=np.ones((2, 3), np.float32), **{"is": np.bool_(True)})
    with pytest.raises(ModelError, match=rf"has {name} = -?\d+; accepted"):
        read(bad)


@pytest.mark.parametrize(
    "node",
    [
        N("Constant", [], ["y"], value_int=2**62),
        N("Slice", ["x"], ["y"], starts=[0], ends=[2**63 - 1]),
        N("Split", ["x"], ["y", "b"], axis=-1),
        N("Shape", ["x"], ["y"], start=-1),
    ],
)
def test_sensible_numbers_pass(node):
    made = alone(node, [2, 4], 9 if node.op_type == "Slice" else 17)
    made.graph.output[0].type.Clear()
    read(made)


def test_overloads_of_a_function_are_several_functions():
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]

    def f(overload, *nodes):
        return helper.make_function("own", "f", ["a"], ["b"], list(nodes), imports, overload=overload)

    two = f("two", N("Relu", ["a"], ["b"]))
    one = f("one", N("f", ["a"], ["b"], domain="own", overload="two"))
    good = model(N("f", ["z"], ["y"], domain="own", overload="one"), ir=10, functions=[two, one])
    assert xplain.predict(xplain.load(good), X).tolist() == [[4, 4, 4]]
    doubling = [
        f(f"o{k}", *(N("f", [a], [b], domain="own", overload=f"o{k + 1}") for a, b in (("a", "q"), ("q", "b"))))
        for k in range(39)
    ]
    bad = model(N("f", ["z"], ["y"], domain="own", overload="o0"), ir=10, functions=[*doubling, f("o39", two.node[0])])
    with pytest.raises(Unsafe, match="more than 100000 nodes"):
        read(bad)
    with pytest.raises(ModelError, match="Two functions of the model have one name"):
        read(model(N("f", ["z"], ["y"], domain="own", overload="two"), ir=10, functions=[two, two]))


def test_functions_that_nest_graphs_are_counted_with_their_calls_written_out():
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for k in range(30):
        inside = N(f"f{k + 1}", ["a"], ["t"], domain="own") if k < 29 else N("Relu", ["a"], ["t"])
        branch = helper.make_graph([inside], "yes", [], [info("t", FLOAT, None)])
        body = [N("Constant", [], ["i"], value_int=1), N("Cast", ["i"], ["c"], to=BOOL)]
        body.append(N("If", ["c"], ["b"], then_branch=branch, else_branch=branch))
        functions.append(helper.make_function("own", f"f{k}", ["a"], ["b"], body, imports))
    with pytest.raises(Unsafe, match=r"nodes once its functions|nests graphs"):
        read(model(N("f0", ["z"], ["y"], domain="own"), functions=functions))


def test_wide_nodes():
    for node in (
        N("Sum", ["z"] * 10**5, ["y"]),
        N("ConcatX", ["z"] * 20000, [f"o{k}" for k in range(20000)], domain="com.microsoft"),
    ):
        with pytest.raises(Unsafe, match=r"has [\d,]+ inputs and [\d,]+ outputs?; accepted: 10000 \(limits.ends\)"):
            read(model(node))


def test_many_external_tensors_take_no_longer_than_they_are_many():
    tensors = []
    for k in range(20000):
        tensor = TensorProto(name=f"e{k}", data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="w.data")
        tensors.append(tensor)
    bad = model(N("Relu", ["z"], ["y"]))
    bad.graph.initializer.extend(tensors)
    started = time.process_time()
    with pytest.raises(Unsafe):
        read(bad)
    assert time.process_time() - started < 10


# ------------------------------------------------------------------ forms that mean the same


def test_the_standard_domain_may_be_written_out():
    plain = model(N("Relu", ["z"], ["y"]))
    written = model(N("Relu", ["z"], ["y"], domain="ai.onnx"))
    for method in ("lrp", "saliency", "grad-cam", "occlusion", "deeplift"):
        options = {"layer": "z"} if method == "grad-cam" else {}
        try:
            expected = xplain.explain(xplain.load(plain), X, method, target=0, **options).values
        except XplainError:
            continue
        found = xplain.explain(xplain.load(written), X, method, target=0, **options).values
        assert np.array_equal(found, expected)
    both = model(N("Relu", ["z"], ["y"], domain="ai.onnx"))
    both.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    assert len([e for e in read(both).model.opset_import if e.domain == ""]) == 1
    both.opset_import[-1].version = 13
    with pytest.raises(ModelError, match="two versions of the operators of 'ai.onnx'"):
        read(both)


def test_an_input_left_out_at_the_end_of_a_list_is_none():
    weight = np.ones(3, np.float32)
    made = model(N("LayerNormalization", ["z", "g", ""], ["y"]), g=weight)
    assert np.abs(xplain.predict(xplain.load(made), X)).max() < 1e-6
    assert list(read(made).model.graph.node[1].input) == ["z", "g"]


@pytest.mark.parametrize("method", ["occlusion", "saliency", "lrp", "grad-cam"])
def test_a_negative_extent_is_a_free_one(method):
    draws = np.random.default_rng(0)
    nodes = [
        N("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        N("Relu", ["c"], ["r"]),
        N("GlobalAveragePool", ["r"], ["p"]),
        N("Reshape", ["p", "s"], ["y"]),
    ]
    weights = {"w": draws.normal(size=(4, 3, 3, 3)).astype(np.float32), "s": np.array([0, -1])}
    made = [
        nets.model(nodes, {"x": (FLOAT, [n, 3, h, w])}, {"y": (FLOAT, [n, 4])}, weights)
        for n, h, w in ((-1, -1, -1), ("N", "h", "w"))
    ]
    x = draws.random((1, 3, 16, 16)).astype(np.float32)
    first, second = (xplain.explain(xplain.load(m), x, method, target=0).values for m in made)
    assert np.array_equal(first, second)
    assert xplain.load(made[0]).outline.inputs[0].shape == (None, 3, None, None)


def test_a_shape_of_rank_three_is_refused():
    bad = nets.model([N("Reshape", ["x", "s"], ["y"])], {"x": (FLOAT, [2, 4])}, {"y": (FLOAT, [2, 4])}, {})
    bad.graph.initializer.append(numpy_helper.from_array(np.full((2, 2, 2), 2), "s"))
    with pytest.raises(ModelError):
        xplain.load(bad)


def test_a_domain_that_is_no_text():
    raw = model(N("Relu", ["z"], ["y"])).SerializeToString().replace(b"com.microsoft", b"\xff\xfem.microsoft")
    with pytest.raises(ModelError, match=r"OperatorSetIdProto.domain that is no text"):
        read(raw)


@pytest.mark.parametrize("blocks", [1, 5, 8])
def test_shapes_of_tensors_whose_size_is_not_known_do_not_add_up(blocks):
    """Each block reads the four extents of a tensor of unknown size and gives it that shape again."""
    weights = {f"i{k}": np.array([k]) for k in range(4)} | {"first": np.array([0])}
    nodes = [N("NonZero", ["x"], ["a"]), N("Unsqueeze", ["a", "first"], ["b"]), N("Unsqueeze", ["b", "first"], ["c"])]
    nodes.append(N("Cast", ["c"], ["y0"], to=FLOAT))
    for b in range(blocks):
        nodes.append(N("Shape", [f"y{b}"], [f"s{b}"]))
        nodes += [N("Gather", [f"s{b}", f"i{k}"], [f"g{b}{k}"]) for k in range(4)]
        nodes.append(N("Concat", [f"g{b}{k}" for k in range(4)], [f"t{b}"], axis=0))
        nodes.append(N("Reshape", [f"y{b}", f"t{b}"], [f"y{b + 1}"]))
    nodes.append(N("ReduceMean", [f"y{blocks}"], ["o"], axes=[1, 3], keepdims=0))
    made = nets.model(nodes, {"x": (FLOAT, ["N", 3, "H", "W"])}, {"o": (FLOAT, ["N", 4])}, weights, 13)
    assert read(made).known.largest[0] < 2**22


def test_a_reference_to_a_functions_attribute_outside_of_a_function():
    made = model(N("Relu", ["z"], ["y"]))
    made.graph.node[1].attribute.add(name="alpha", ref_attr_name="given", type=1)
    with pytest.raises(ModelError, match="takes its value from a function's call, and is in no function"):
        read(made)


def test_parts_are_counted_before_they_are_looked_at():
    made = model(N("Relu", ["z"], ["y"]))
    for _ in range(3000):
        made.graph.value_info.add().type.tensor_type.shape.dim.add()
    read(made)
    with pytest.raises(Unsafe, match="holds more than 1000 nodes, attributes, tensors and extents"):
        read(made, limits=Limits(nodes=100))


@pytest.mark.parametrize("op", ["BeamSearch", "GreedySearch", "SequenceMap", "LoopOfTomorrow"])
def test_whatever_runs_a_graph_many_times_is_a_loop(op):
    made = model(N(op, ["z"], ["y"], body=endless(), domain="com.microsoft"))
    assert has_loops(made)
    assert not has_loops(model(N("Relu", ["z"], ["y"])))


@pytest.mark.parametrize("name", ["x" * 5000 + ".onnx", "a\0b.onnx", "no/such/place.onnx"])
def test_paths_that_cannot_be(name):
    with pytest.raises(UsageError):
        xplain.load(name)
