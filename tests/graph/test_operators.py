"""Every backward rule against float64 finite differences."""

from __future__ import annotations

import pytest
from cases import all_cases
from finite import Case, check

from xplain.graph.ops import operators

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
