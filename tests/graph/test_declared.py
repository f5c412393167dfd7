"""What a file declares of a tensor and what its nodes make of it: where they differ, the nodes are right."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, helper, numpy_helper

import xplain
from xplain.graph.intake.load import read

W = np.array([[1, 2, 3], [-1, 0, 4]], np.float32)
X = np.array([[1, 2]], np.float32)


def net(said: list[int | str], split: bool = False) -> ModelProto:
    """Three scores of two columns; of the output the file declares what it likes."""
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    if split:
        nodes = [
            helper.make_node("MatMul", ["x", "w"], ["all"]),
            helper.make_node("Concat", ["all", "all"], ["twice"], axis=1),
            helper.make_node("Split", ["twice"], ["y", "rest"], axis=1, num_outputs=2),
        ]
    graph = helper.make_graph(
        nodes, "g", [info("x", 1, ["n", 2])], [info("y", 1, said)], [numpy_helper.from_array(W, "w")]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("said", [["n", 2**31 - 1], ["n", 5], ["n", 3, 1], ["n", 0]])
def test_scores_and_slopes_follow_the_nodes_whatever_is_declared(said: list[int | str], split: bool) -> None:
    """A sweep made a cotangent of 17 GB for 2147483647 declared classes; for another rank its advice did not help."""
    content = net(said, split).SerializeToString()
    model = xplain.load(content)
    np.testing.assert_allclose(xplain.predict(model, X), X @ W)
    found = xplain.explain(model, X, "saliency", target=2)
    np.testing.assert_allclose(np.abs(found.values), np.abs(W[:, 2:].T))
    assert any("the nodes make another shape" in check.found for check in read(content).verdict.notable)


@pytest.mark.parametrize("said", [["n", 3], [1, 3], ["batch", "classes"]])
def test_a_declaration_that_is_right_or_leaves_it_open_is_no_matter(said: list[int | str]) -> None:
    assert all(check.what != "declared shapes" for check in read(net(said).SerializeToString()).verdict.checks)
