"""A file of an old opset is raised to one that computes the same, under the same names, and so are its gradients."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from finite import session
from onnx import TensorProto, helper, numpy_helper

import xplain
from xplain.core.errors import ModelError
from xplain.graph.passes.opset import TARGET, raise_opset

X = np.random.default_rng(0).normal(size=(2, 4, 6, 5)).astype(np.float32)
STORED = {
    "double": np.array([1, 1, 2, 2], np.float32), "more": np.array([1, 1, 1.5, 3], np.float32),
    "less": np.array([1, 1, 0.5, 0.6], np.float32),
    "mixed": np.array([1, 1, 0.5, 2], np.float32), "roi": np.zeros(0, np.float32), "place": np.array([[[[1]]]]),
    "value": np.full((1, 1, 1, 1), 9, np.float32), "three": np.array([3]), "slope": np.ones((4, 1, 1), np.float32),
    "yes": np.array(True), "low": np.float32(-0.5), "pads": np.array([0, 0, 1, 2, 0, 0, 2, 1]),
}  # fmt: skip
CASES = {
    **{
        f"Upsample {mode} at {opset}": (opset, "Upsample", ["x"], {"scales": [1.0, 1.0, 2.0, 1.5], "mode": mode})
        for mode in ("nearest", "linear")
        for opset in (7, 8)
    },
    **{
        f"{op} {mode} by {by}": (opset, op, ["x", by], {"mode": mode})
        for op, opset, scales in (("Upsample", 9, ("double", "more")), ("Resize", 10, ("double", "more", "less")))
        for mode in ("nearest", "linear")
        for by in scales
    },
    "Resize nearest at 11": (11, "Resize", ["x", "roi", "double"], {"mode": "nearest"}),
    "Resize at 11": (11, "Resize", ["x", "roi", "more"], {"mode": "linear"}),
    **{f"Hardmax {axis}": (11, "Hardmax", ["x"], {"axis": axis}) for axis in (1, 2, 3)},
    **{f"Softmax {axis}": (11, "Softmax", ["x"], {"axis": axis}) for axis in (1, 2, 3)},
    **{
        f"Pad {mode}": (9, "Pad", ["x"], {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": mode, "value": 0.5})
        for mode in ("constant", "reflect", "edge")
    },
    "Scatter": (9, "Scatter", ["x", "place", "value"], {"axis": 1}),
    "Clip": (7, "Clip", ["x"], {"min": -0.5}),
    "ReduceSum": (11, "ReduceSum", ["x"], {"axes": [-1, 1], "keepdims": 1}),
    "Squeeze": (11, "Unsqueeze", ["x"], {"axes": [1, 4]}),
    "PRelu": (8, "PRelu", ["x", "slope"], {}),
    "Dropout": (9, "Dropout", ["x"], {"ratio": 0.5}),
}


def file(opset: int, op: str, inputs: list[str], attributes: dict, branch: bool = False) -> onnx.ModelProto:
    """One operator between the input and the scores, or the same in a branch."""
    node = helper.make_node(op, inputs, ["made"], **attributes)
    if branch:
        graphs = [
            helper.make_graph([one], name, [], [helper.make_tensor_value_info(out, TensorProto.FLOAT, None)])
            for name, one, out in (
                ("then", node, "made"),
                ("else", helper.make_node(op, inputs, ["same"], **attributes), "same"),
            )
        ]
        node = helper.make_node("If", ["yes"], ["chosen"], then_branch=graphs[0], else_branch=graphs[1])
    nodes = [
        node,
        helper.make_node("GlobalAveragePool", [node.output[0]], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    nodes.insert(1, helper.make_node("Sigmoid", [node.output[0]], ["bent"]))
    nodes[2].input[0] = "bent"
    if op in ("Unsqueeze", "ReduceSum"):
        nodes[2:] = [helper.make_node("Flatten", ["bent"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "old",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(STORED[n], n)
            for n in dict.fromkeys([*inputs, *(["yes"] if branch else [])])
            if n != "x"
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


@pytest.mark.parametrize("name", CASES)
def test_values_and_names_are_those_of_the_file(name):
    model, notes = file(*CASES[name]), list[str]()
    raised = raise_opset(model, notes)
    assert (raised.opset_import[0].version, notes) == (TARGET, [])
    np.testing.assert_allclose(
        session(raised).run(["y"], {"x": X})[0], session(model).run(["y"], {"x": X})[0], rtol=1e-5, atol=1e-6
    )
    assert {out for node in model.graph.node for out in node.output} <= {o for n in raised.graph.node for o in n.output}


@pytest.mark.parametrize("name", ["Upsample linear at 7", "Resize linear by more"])
def test_gradients_are_the_differences_of_the_file(name):
    model = xplain.load(file(*CASES[name]))
    found = xplain.explain(model, X[:1], "saliency", target=2, channels=True).values[0]
    step, moved = 1e-2, []
    for at in ((2, 1, 3), (2, 5, 4), (2, 0, 0)):
        sides = np.repeat(X[:1], 2, axis=0)
        sides[0][at] += step
        sides[1][at] -= step
        up, down = session(file(*CASES[name])).run(["y"], {"x": sides})[0][:, 2]
        moved.append((up - down) / (2 * step) - found[at])
    np.testing.assert_allclose(moved, 0, atol=1e-4)


@pytest.mark.parametrize(
    "name",
    ["Upsample nearest at 7", "Upsample nearest by double", "Resize nearest by double", "Resize nearest at 11"],
)
def test_hidden_windows_and_maps_pass_an_old_resampling(name):
    asked = {"patch": 2, "stride": 1, "target": 1}
    plain, quick = (xplain.load(file(*CASES[name]), engine=engine) for engine in ("plain", "auto"))
    slow = xplain.explain(plain, X, "occlusion", **asked).values
    np.testing.assert_allclose(xplain.explain(quick, X, "occlusion", **asked).values, slow, atol=1e-5)
    at = xplain.explain(quick, X, "grad-cam", layer="made", target=1)
    assert at.resolution == (12, 7 if name.endswith("7") else 10)


def test_a_resampling_in_a_branch_is_raised_too():
    model = file(*CASES["Upsample linear at 7"], branch=True)
    raised = raise_opset(model, [])
    np.testing.assert_allclose(
        session(raised).run(["y"], {"x": X})[0], session(model).run(["y"], {"x": X})[0], rtol=1e-5, atol=1e-6
    )


def test_what_no_later_opset_has_is_asked_for_scores_and_refused_to_gradients():
    model, notes = file(10, "Resize", ["x", "mixed"], {"mode": "nearest"}), list[str]()
    assert raise_opset(model, notes) is model
    assert "enlarges one axis" in notes[0]
    hidden = xplain.explain(model, X, "occlusion", patch=2, stride=2, target=1).values
    plain = xplain.explain(xplain.load(model, engine="plain"), X, "occlusion", patch=2, stride=2, target=1).values
    np.testing.assert_allclose(hidden, plain, atol=1e-5)
    with pytest.raises(ModelError, match="could not be raised"):
        xplain.explain(model, X, "saliency", target=1)
