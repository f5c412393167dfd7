"""A budget of evaluations holds from the first trial item on: counted by a server, which knows what it was asked."""

from __future__ import annotations

import numpy as np
import pytest
from servers import Server, server_of

from xplain import audit
from xplain.audit.plans.budgeting import Allowed
from xplain.audit.shards.running import run
from xplain.core.errors import BudgetError, UsageError

ROWS = (np.random.default_rng(0).integers(-16, 17, (6, 3)) / 8 + 1 / 16).astype(
    np.float32
)  # none of them is hidden already
EACH = 4  # an item itself, and each of its three columns hidden


@pytest.fixture
def server():
    handler = server_of()
    running = Server(handler)
    yield running, handler
    running.stop()


def planned(server, out, **more):
    how = {"methods": "occlusion:patch=1,stride=1", "metrics": "", "shard_rows": 2, **more}
    model = {"source": f"{server[0].url}/v2/models/m", "price": 0.5, "allow_http": True}
    return audit.plan({"net": model}, ROWS, out=out, **how)


def test_settling_asks_no_more_than_the_budget_also_in_a_rehearsal(server, tmp_path):
    with pytest.raises(BudgetError, match="max_queries=3"):
        planned(server, None, dry_run=True, max_queries=3)
    assert len(server[1].rows) <= 3
    assert planned(server, None, dry_run=True, max_queries=100).folder is None
    settled = len(server[1].rows)
    assert 0 < settled <= 100
    assert not list(tmp_path.iterdir())


def test_a_plan_whose_estimate_lies_above_the_budget_is_refused(server, tmp_path):
    with pytest.raises(
        BudgetError, match=rf"would ask for {6 * EACH} evaluations, and settling .* does not pay for both"
    ):
        planned(server, tmp_path / "audit", max_queries=6 * EACH)
    assert [one.name for one in (tmp_path / "audit").iterdir()] == ["answers"]  # which were paid for
    settled = len(server[1].rows)
    planned(server, tmp_path / "audit", max_queries=9 * EACH)
    assert len(server[1].rows) == settled


def test_a_run_asks_no_more_than_was_stated_when_it_was_planned(server, tmp_path):
    out = tmp_path / "audit"
    made = planned(server, out, max_queries=60)
    settled = len(server[1].rows)
    assert Allowed.read(out) == Allowed(60, settled)
    assert made.estimate.asked == 6 * EACH
    assert settled == 2 * EACH  # of the first two items, which are not paid for again
    found = run(out, workers=0, max_queries=settled + 2 * EACH)
    assert (found.sealed, found.done) == (2, False)
    assert "evaluations are left, and the next shard may ask for 8; --max-queries allows more" in found.why
    assert len(server[1].rows) == settled + 2 * EACH
    assert run(out, workers=1, max_queries=60).done
    assert len(server[1].rows) == 6 * EACH <= 60
    assert Allowed.read(out).taken == len(server[1].rows)


def test_metrics_draw_on_it_too_and_a_shard_that_asks_too_much_is_not_sealed(server, tmp_path):
    """What a metric would ask is not known before; it is not asked beyond the budget, and no row says that it was."""
    out = tmp_path / "audit"
    planned(server, out, metrics="deletion:steps=3")
    settled = len(server[1].rows)
    limit = 2 * EACH + 2
    with pytest.raises(BudgetError, match="are left"):
        run(out, workers=0, max_queries=limit, shards=[1])  # whose items planning did not ask about
    assert len(server[1].rows) - settled <= limit
    assert audit.left(out) == [0, 1, 2]
    assert run(out, workers=0, max_queries=10_000).done
    values = audit.open(out).metrics()["value"]
    assert values.null_count == 0


def test_a_damaged_budget_is_told(tmp_path):
    (tmp_path / "budget.json").write_text('{"max_queries": -1, "taken": 0}')
    with pytest.raises(UsageError, match="is damaged: its numbers are none"):
        Allowed.read(tmp_path)
