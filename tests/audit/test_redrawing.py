"""Weights drawn anew, agreement of methods and mass inside masks: what an audit says is what slow formulas give."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import xplain
from xplain.analyses.inside import inside_own
from xplain.audit.plans.costing import REDRAWN_STAGES, redrawn_items
from xplain.audit.reports.redrawn import agreement_table, redrawn_trials
from xplain.core.errors import UsageError

sys.path.insert(0, str(Path(__file__).parent))
import planted
from sealed import seal

METHODS = {"saliency": {}, "occlusion": {"patch": 4, "stride": 4}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An audit of eleven pictures of noise by a small net, saliency beside occlusion."""
    root = tmp_path_factory.mktemp("redrawn")
    data = planted.pictures(root / "data")
    planted.audit(root / "out", data, METHODS)
    seal(root / "out", (0, 1))
    return root / "out", data


def test_weights_drawn_anew_give_what_the_measure_gives_alone(made):
    folder, data = made
    found = xplain.audit.analyse(folder, "randomisation")
    assert [one.evidence["lane"] for one in found] == ["net/saliency", "net/occlusion:patch=4:stride=4"]
    model = xplain.load(str(folder.parent / "net.onnx"), card=planted.CARD, threads=1)
    paths = [str(one) for one in sorted(data.rglob("*.png"))]
    for one, (method, options) in zip(found, METHODS.items(), strict=True):
        alone = xplain.measure.randomisation(model, paths, method, stages=REDRAWN_STAGES, **options)
        assert one.effect == pytest.approx(alone.mean.mean, abs=1e-6)
        assert one.count == 11
        assert one.evidence["layers drawn anew"].tolist() == list(alone.stages)
        assert one.evidence["likeness at each"] == pytest.approx(alone.alike.mean(axis=0), abs=1e-6)
        assert one.evidence["maps of different items"] == pytest.approx(alone.null.mean(), abs=1e-6)
        assert one.evidence["changes"] == {True: "yes", False: "no"}[alone.forgets]
        assert one.standing == "measured"
        assert one.interval[0] < one.effect < one.interval[1]


def test_what_weights_drawn_anew_would_ask_is_held_within_the_budget(made):
    (found,) = xplain.audit.analyse(made[0], "randomisation", max_queries=20)
    assert found.statement.startswith("The analysis randomisation was not made: It would ask for 55 evaluations")
    assert redrawn_items(1, 1000) == 48
    assert redrawn_items(500, 1000) == 10  # dear methods are tested on fewer items, and never on next to none
    assert redrawn_items(500, 4) == 4


def test_agreement_is_that_of_every_two_maps_one_by_one(made):
    folder, _ = made
    (found,) = xplain.audit.analyse(folder, "agreement")
    with xplain.audit.open(folder) as audit:
        names = [lane.name for lane in audit.lanes]
        first, second = (audit.maps(name) for name in names)
        predicted = audit.records(["predicted_name"], names[0])["predicted_name"].to_pylist()
    assert first.shape == (11, 16, 16)
    assert second.shape == (11, 4, 4)
    rows = []
    for a, b in zip(first, second, strict=True):
        cells = a.reshape(4, 4, 4, 4).mean(axis=(1, 3))
        rank = spearmanr(cells.ravel(), b.ravel()).statistic
        best = [set(np.argsort(-one.ravel(), kind="stable")[:2]) for one in (cells, b)]
        most = [np.argsort(-np.abs(one.ravel()), kind="stable")[:2] for one in (cells, b)]
        both = [k for k in most[0] if k in most[1] and np.sign(cells.ravel()[k]) == np.sign(b.ravel()[k])]
        rows.append((rank, len(best[0] & best[1]) / 2, len(both) / 2))
    wanted = np.mean(rows, axis=0)
    for name, value in zip(("rank-agreement", "top-k-agreement", "sign-agreement"), wanted, strict=True):
        assert found.evidence[name][0] == pytest.approx(value, abs=1e-3)
    assert found.evidence["rank-agreement, worst tenth"] == pytest.approx(min(row[0] for row in rows), abs=1e-3)
    assert found.members[0] == int(np.argmin([row[0] for row in rows]))
    assert found.evidence.get("rank-agreement, worst class", predicted[0]) in predicted


def test_a_test_and_a_table_are_made_of_what_was_found(made):
    findings = xplain.audit.analyse(made[0], "randomisation,agreement")
    first, second = redrawn_trials(findings)
    assert (first.lane, first.metric) == ("net/saliency", "mprt")
    for one, each in zip(findings, (first, second), strict=False):
        assert each.passed == (one.evidence["changes"] == "yes")
    assert first.baselines[0][0] == "different items"
    assert first.interval[0] <= first.value <= first.interval[1]
    assert second.count == 11
    table = agreement_table(findings)
    assert [row[1] for row in table.rows] == ["rank-agreement", "top-k-agreement", "sign-agreement"]
    assert agreement_table(None) is None
    assert redrawn_trials(None) == []


def test_a_model_without_a_graph_says_that_nothing_can_be_drawn(tmp_path):
    def scores(x):
        return np.stack([x.mean((1, 2, 3)), -x.mean((1, 2, 3))], axis=1)

    net = xplain.load(scores, layout="NCHW")
    items = list(np.random.default_rng(0).random((6, 1, 8, 8), np.float32))
    made = xplain.audit.plan(
        {"net": net}, items, out=tmp_path / "audit", methods="occlusion:patch=4,stride=4", metrics=""
    )
    assert not any(one.name == "randomisation" for one in made.estimate.analyses)
    xplain.audit.run(tmp_path / "audit", models={"net": net})
    (found,) = xplain.audit.analyse(tmp_path / "audit", "randomisation", models={"net": net})
    assert found.standing == "too few"
    assert "no ONNX graph whose weights could be drawn anew" in found.statement


def test_the_plan_says_what_drawing_anew_asks(tmp_path):
    from cli.tiny import write_model, write_picture

    write_model(tmp_path / "tiny.onnx")
    (tmp_path / "photos").mkdir()
    for k in range(6):
        write_picture(tmp_path / "photos" / f"{k}.png", bool(k % 2))
    made = xplain.audit.plan(
        tmp_path / "tiny.onnx", tmp_path / "photos", methods="occlusion:patch=4,stride=4", metrics="", dry_run=True,
        analyses="randomisation",
    )  # fmt: skip
    (cost,) = made.estimate.analyses
    assert cost.evaluations == 17 * 6 * (1 + REDRAWN_STAGES)
    assert "the analysis randomisation, when it is made: at most 510 evaluations" in str(made)


def test_mass_that_follows_each_item_is_told_from_a_habit():
    rng = np.random.default_rng(0)
    masks = np.zeros((60, 8, 8))
    for k in range(60):
        y, x = rng.integers(0, 6, 2)
        masks[k, y : y + 3, x : x + 3] = 1
    following = masks + 0.05 * rng.random(masks.shape)
    habit = np.zeros(masks.shape)
    habit[:, 3:5, 3:5] = 1
    habit += 0.01 * rng.random(masks.shape)
    groups = ["a"] * 30 + ["b"] * 30
    (whole,) = inside_own(following, masks, groups, draws=199)
    held = (following * masks).sum((1, 2)) / following.sum((1, 2))
    assert whole.evidence["inside its own"] == pytest.approx(held.mean())
    assert whole.p == 1 / 200
    assert "more than chance gives" in whole.statement
    mixed = np.concatenate([following[:30], habit[30:]])
    found = inside_own(mixed, masks, groups, draws=199, items=np.arange(100, 160))
    assert [(one.group, one.standing) for one in found] == [("", "measured"), ("b", "candidate")]
    assert found[1].p > 0.05
    assert set(found[1].members.tolist()) <= set(range(130, 160))
    (few,) = inside_own(following[:5], masks[:5], groups[:5])
    assert few.standing == "too few"
    with pytest.raises(UsageError, match="of one shape"):
        inside_own(following, masks[:, :4], groups)


def test_false_alarms_of_mass_inside_stay_rare():
    """Maps and masks that have nothing to do with one another: p is below 0.05 about as often as it says."""
    small = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        maps, masks = rng.random((20, 4, 4)), (rng.random((20, 4, 4)) < 0.3).astype(float)
        small += inside_own(maps, masks, ["a"] * 20, draws=99, seed=seed)[0].p <= 0.05
    assert small <= 8


def test_json_holds_what_the_page_says(tmp_path):
    from test_truth import planned, stated

    planned(tmp_path, stated("csv", tmp_path), analyses="mass,randomisation,agreement", methods=[*_TINY])
    xplain.audit.run(tmp_path / "audit", workers=0)
    xplain.audit.analyse(tmp_path / "audit")
    paths = xplain.audit.report(tmp_path / "audit", tmp_path / "report")
    twin = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert "mprt" in {one["metric"] for one in twin["tests"]}
    assert {"truth", "metrics", "metrics-1", "metrics-2", "agreement"} <= set(twin["tables"])
    page = paths[0].read_text()
    for words in ("Agreement between methods", "mprt", "worst class", "What is known to be there"):
        assert words in page
    heads = (tmp_path / "report" / "metrics.csv").read_text().splitlines()[0]
    assert heads.startswith("metric,lane,items,mean,mean low,mean high,better than chance by")


_TINY = ("occlusion:patch=4,stride=4", "saliency")
