"""What takes part in chains and blocks gives an element the same bits wherever it lies; the rest stays as it is."""

from __future__ import annotations

import ctypes

import numpy as np
import onnxruntime as ort
import pytest
from chained_nets import convolved, copied, f32, left_by_the_optimiser, model_of, opened
from onnx import helper

from xplain import native
from xplain.graph.build.blocked import in_blocks
from xplain.graph.build.chains import in_chains
from xplain.models.onnx.chained import same_bits, usable


@pytest.fixture(autouse=True)
def built():
    """The compiled module must hold the operator; one that was built before its source does not."""
    if not hasattr(ctypes.CDLL(native.library()), "RegisterCustomOps"):
        pytest.skip("the compiled module is older than csrc/runtime: build it again")


def tied(op, first, second):
    """``Neg(op(a, b))`` of zeros of both signs, in shapes whose ends fill no vector; a list is a weight."""
    nodes = [helper.make_node(op, ["a", "b"], ["t"]), helper.make_node("Neg", ["t"], ["out"])]
    inputs, weights = {}, []
    for name, given in (("a", first), ("b", second)):
        if isinstance(given, tuple):
            inputs[name] = list(given)
        else:
            weights.append((name, given))
    return model_of(nodes, inputs, {"out": None}, weights)


@pytest.mark.parametrize("op", ["Min", "Max"])
@pytest.mark.parametrize(
    ("first", "second", "joins"),
    [
        ((37,), (37,), False),
        ((1,), (61,), False),
        ((2, 3, 7), (3, 1), False),
        ((61,), [0.0], False),
        ((61,), [-0.0], False),
        ([1e-7], (61,), True),
        ((2, 61), [1e-7], True),
    ],
)
def test_zeros_of_both_signs_are_left_to_the_runtime_to_choose_from(op, first, second, joins):
    """Which of 0 and -0 it takes hangs on the place in a vector, and on which operand is one number."""
    model = tied(op, first, second)
    once = copied(model)
    assert (in_chains(once, usable(ort) | {op}) > 0) is joins
    rng = np.random.default_rng(0)
    feeds = {
        e.name: rng.choice(f32([0.0, -0.0]), [d.dim_value for d in e.type.tensor_type.shape.dim])
        for e in model.graph.input
    }
    assert same_bits(opened(model).run(None, feeds), opened(once).run(None, feeds))


@pytest.mark.parametrize("op", ["Elu", "Selu", "Softplus"])
def test_operators_whose_bits_hang_on_the_place_stay_where_they_are(op, tmp_path):
    """With two threads the runtime's exponential rounds the ends of each share in another way than what lies before."""
    left = left_by_the_optimiser(convolved(32, op), tmp_path / "left.onnx")
    if "ReorderOutput" not in [node.op_type for node in left.graph.node]:
        pytest.skip("this processor's convolutions have no blocked layout")
    made = {name for node in left.graph.node if node.op_type == op for name in node.output}
    in_blocks(left)
    assert made == {name for node in left.graph.node if node.op_type == op for name in node.output} == {"h"}
