"""Metrics give the numbers that another implementation gives on the same maps, but where a reason is written down.

Quantus' numbers were written by ``oracle/bin/python benchmarks/audit/parity_oracle.py`` (Quantus 0.6.0).
"""

from __future__ import annotations

import pytest

from metrics.parity import Pair, pairs

PAIRS = list(pairs())


@pytest.mark.parametrize("pair", PAIRS, ids=lambda one: one.name)
def test_a_metric_is_what_another_implementation_makes_it_or_it_is_said_why_not(pair: Pair) -> None:
    if pair.equal:
        assert pair.apart < pair.near, (pair.ours, pair.theirs)
    else:
        assert pair.apart > 1e-3, "no difference is left to explain"
        assert pair.how
