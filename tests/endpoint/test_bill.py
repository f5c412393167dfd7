"""The bill that is announced is the bill that comes: the plan cuts questions into requests as the caller does."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from nets import planted
from servers import V2Server, session_model

import xplain
from xplain.core.errors import BudgetError
from xplain.models.endpoint import open_endpoint

X = np.random.default_rng(1).normal(size=(3, 3, 16, 16)).astype(np.float32)
BYTES = 3 * 16 * 16 * 4
PRICE = {"per_call": 0.002, "per_row": 0.0001, "currency": "EUR"}


def handler_of(rows=-1):
    return V2Server(
        session_model(planted(size=16, cell=(1, 0)), "scores"),
        {"picture": ("FP32", [rows, 3, 16, 16])},
        {"scores": ("FP32", [rows, 2])},
    )


@pytest.mark.parametrize(
    "limit", [{"max_batch": 7}, {"max_bytes": 5 * BYTES}, {"max_batch": 64, "max_bytes": 11 * BYTES}]
)
@pytest.mark.parametrize(
    ("method", "options"),
    [("occlusion", {"patch": 4, "stride": 4}), ("rise", {"cells": 4, "samples": 300}), ("ablation", {})],
)
@pytest.mark.parametrize("target", [None, 1])
@pytest.mark.parametrize("cached", [False, True])
def test_as_many_calls_leave_as_were_announced(serve, tmp_path, limit, method, options, target, cached):
    """13 were announced and 18 sent: a limit of bytes cuts finer than the limit of items."""
    handler = handler_of()
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", price=PRICE, **limit)
    cache = {"cache": tmp_path} if cached else {}
    plan = xplain.plan(model, X, method, target=target, **cache, **options)
    assert model.ledger.calls == 2, "only descriptions are asked for"
    found = xplain.explain(model, X, method, target=target, **cache, **options)
    assert found.cost.calls == len(handler.batches) == plan.calls
    assert found.cost.queries == len(handler.rows) == plan.queries
    assert Decimal(str(round(found.cost.money, 9))) == plan.money
    assert f"{plan.calls} calls" in str(plan)
    again = xplain.explain(model, X, method, target=target, **cache, **options)
    assert again.cost.calls == (0 if cached else plan.calls)


def test_requests_that_are_filled_up_are_billed_whole(serve):
    model = open_endpoint(f"{serve(handler_of(rows=4)).url}/v2/models/m", price=PRICE)
    plan = xplain.plan(model, X, "occlusion", patch=4, stride=4)
    found = xplain.explain(model, X, "occlusion", patch=4, stride=4)
    assert plan.calls == found.cost.calls
    assert plan.money == Decimal(str(round(found.cost.money, 9)))


def test_a_budget_counts_the_requests_that_will_leave(serve):
    """58 rows in requests of 5: 12 calls, not the 4 of sixteen rows each."""
    handler = handler_of()
    url = f"{serve(handler).url}/v2/models/m"
    model = open_endpoint(url, max_bytes=5 * BYTES, price={"per_call": 1})
    plan = xplain.plan(model, X[:1], "rise", cells=4, samples=58, target=1)
    with pytest.raises(BudgetError):
        xplain.explain(model, X[:1], "rise", cells=4, samples=58, target=1, max_cost=int(plan.money) - 1)
    assert sum(handler.batches) <= 1, "nothing that cannot be paid is begun"
    found = xplain.explain(model, X[:1], "rise", cells=4, samples=58, target=1, max_cost=int(plan.money))
    assert found.cost.money == plan.money


def test_a_table_behind_an_endpoint(serve):
    handler = V2Server(
        lambda feeds: {"y": feeds["x"] @ np.eye(3, 2, dtype=np.float32)},
        {"x": ("FP32", [-1, 3])},
        {"y": ("FP32", [-1, 2])},
    )
    model = open_endpoint(f"{serve(handler).url}/v2/models/m", max_batch=4, price=PRICE)
    reader = xplain.table(model, columns=["a", "b", "c"])
    rows = {"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]}
    plan = xplain.plan(reader, rows, "exact-shapley", baseline=0.0, target=1)
    found = xplain.explain(reader, rows, "exact-shapley", baseline=0.0, target=1)
    assert (found.cost.calls, found.cost.queries) == (len(handler.batches), plan.queries)
    assert plan.calls == found.cost.calls
