"""Every backward rule against float64 finite differences."""

from __future__ import annotations

import pytest
from cases import all_cases
from finite import Case, check
from onnx import helper

from xplain.core.errors import UsageError
from xplain.graph.operators import backward, find_operator
from xplain.graph.ops import operators
from xplain.graph.ops.elementwise import slope

CASES = all_cases()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_gradient_agrees_with_differences(case: Case) -> None:
    check(case)


def test_every_operator_with_a_rule_has_a_case() -> None:
    elsewhere = {
        "Upsample",
        "Scatter",
        "CastLike",
        "MaxUnpool",
        "Scan",
    }  # old names, and what other tests run end to end
    standard = {name for name in operators() if "::" not in name}
    integer = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "If"}
    assert standard - {case.op for case in CASES} - elsewhere - integer - {"SimplifiedLayerNormalization"} == set()


@pytest.mark.parametrize(
    "declare", [lambda: slope("Tanh", lambda c: c.y), lambda: backward("Tanh", kind="slope")(lambda call, g: [g])]
)
def test_a_second_rule_of_an_operator_is_refused_with_both_places(declare, monkeypatch) -> None:
    """It replaced the first in silence, and every gradient through the operator with it."""
    before = find_operator(helper.make_node("Tanh", ["x"], ["y"]))
    with pytest.raises(
        UsageError, match=r"Operator 'Tanh' has two backward rules: one at ops/elementwise.py, line \d+"
    ):
        declare()
    assert find_operator(helper.make_node("Tanh", ["x"], ["y"])) is before
