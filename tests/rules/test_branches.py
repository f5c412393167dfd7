"""A branch that is decided at run time changes nothing: every rule gives what it gives where the branch is in line."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import UnsupportedOperator
from xplain.core.rules import Rules
from xplain.graph.reverse.seeds import Seed
from xplain.graph.reverse.sweep import build
from xplain.rules import lrp_tables as lrp
from xplain.rules.excitation import CONTRASTIVE, EXCITATION
from xplain.rules.guided import DECONVNET, GUIDED
from xplain.rules.rollout import ROLLOUT

RNG = np.random.default_rng(5)
STORED = {
    "w1": RNG.normal(size=(4, 2, 3, 3)) / 3, "b1": RNG.normal(size=4) * 0.1,
    "w2": RNG.normal(size=(4, 4, 3, 3)) / 4, "w3": RNG.normal(size=(4, 4, 3, 3)) / 4, "b3": RNG.normal(size=4) * 0.1,
    "s": RNG.random(4) + 0.5, "o": RNG.normal(size=4) * 0.1, "m": RNG.normal(size=4) * 0.1, "v": RNG.random(4) + 0.5,
    "d1": RNG.normal(size=(4, 5)), "d2": RNG.normal(size=(5, 3)), "zero": np.zeros(()),
}  # fmt: skip
CONV = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def taken(at: str, out: str) -> list[onnx.NodeProto]:
    """The branch that is taken: convolution with a norm, rectifier, residual sum, another convolution."""
    return [
        helper.make_node("Conv", [at, "w2"], ["t1"], **CONV),
        helper.make_node("BatchNormalization", ["t1", "s", "o", "m", "v"], ["t2"]),
        helper.make_node("Relu", ["t2"], ["t3"]),
        helper.make_node("Add", ["t3", at], ["t4"]),
        helper.make_node("Conv", ["t4", "w3", "b3"], [out], **CONV),
    ]


def net(branch: bool, around: bool, deep: bool = False) -> onnx.ModelProto:
    """With layers in front of the branch and behind it, or with the branch alone before the mean."""
    nodes = []
    at = "x"
    if around:
        nodes += [helper.make_node("Conv", ["x", "w1", "b1"], ["h"], **CONV), helper.make_node("Relu", ["h"], ["a"])]
        at = "a"
    if branch:
        result = [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", 4, 6, 6])]
        yes = helper.make_graph(taken(at, "z"), "yes", [], result)
        other = [helper.make_node("Neg", [at], ["n"]), helper.make_node("Identity", ["n"], ["z"])]
        no = helper.make_graph(other, "no", [], result)
        nodes += [helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0)]
        nodes += [helper.make_node("Greater", ["top", "zero"], ["c"])]
        if deep:
            inner = helper.make_node("If", ["c"], ["z"], then_branch=yes, else_branch=no)
            yes = helper.make_graph([inner], "outer", [], result)
        nodes += [helper.make_node("If", ["c"], ["f"], then_branch=yes, else_branch=no)]
    else:
        nodes += taken(at, "f")
    nodes += [helper.make_node("GlobalAveragePool", ["f"], ["p"]), helper.make_node("Flatten", ["p"], ["q"])]
    if around:
        nodes += [
            helper.make_node("MatMul", ["q", "d1"], ["e"]),
            helper.make_node("Relu", ["e"], ["r"]),
            helper.make_node("MatMul", ["r", "d2"], ["y"]),
        ]
    else:
        nodes += [helper.make_node("Identity", ["q"], ["y"])]
    used = {name for node in [*nodes, *taken(at, "f")] for name in node.input}
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2 if around else 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3 if around else 4])],
        [numpy_helper.from_array(np.float32(v), k) for k, v in STORED.items() if k in used],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


TABLES = [
    Rules(), GUIDED, DECONVNET, EXCITATION, CONTRASTIVE, ROLLOUT, lrp.epsilon(epsilon=0.1), lrp.epsilon(bias=False),
    lrp.z_plus(), lrp.alpha_beta(), lrp.gamma(), lrp.epsilon_plus_flat(), lrp.epsilon_alpha2_beta1_flat(),
    lrp.epsilon_gamma_box(low=-1.0, high=1.0), lrp.z_box(low=-1.0, high=1.0), lrp.flat(),
]  # fmt: skip


@pytest.mark.parametrize("around", [True, False], ids=["layers around", "alone"])
@pytest.mark.parametrize("rules", TABLES, ids=lambda table: table.name)
def test_a_branch_is_followed_by_the_same_table(rules: Rules, around: bool) -> None:
    x, classes = RNG.normal(size=(2, 2 if around else 4, 6, 6)).astype(np.float32), np.array([2, 1])
    found = []
    for branch, deep in ((False, False), (True, False), (True, True)):
        built = build(net(branch, around, deep), ["input"], [Seed("y")], rules)
        found.append(session(built.model).run(["cotangent/input"], {"x": x, "target": classes})[0])
    assert found[1].shape == x.shape
    assert np.abs(found[0]).max() > 0
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-4, atol=1e-5 * np.abs(found[0]).max())


def test_rules_that_compare_say_what_works_instead() -> None:
    model = xplain.load(net(True, True), threads=1)
    x = RNG.normal(size=(1, 2, 6, 6)).astype(np.float32)
    with pytest.raises(UnsupportedOperator, match="cannot look into a branch") as told:
        xplain.explain(model, x, "deeplift", target=0)
    assert "integrated-gradients" in str(told.value)
    assert xplain.explain(model, x, "integrated-gradients", target=0, steps=4, tolerance=None).values.shape == (1, 6, 6)
