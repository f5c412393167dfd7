"""Every metric of a model whose right answer is known by formula, and how few questions all of them ask together."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from made import attribution

import xplain
from xplain.core.errors import UsageError
from xplain.session import Memo
from xplain.session.measures.grading import CHEAP, STANDARD, grade
from xplain.session.measures.grading_cost import grading_costs
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.testing import Formula

SHAPE = (1, 4, 4)
RNG = np.random.default_rng(0)
WEIGHTS = RNG.permutation(np.arange(1.0, 17)).reshape(SHAPE)
X = RNG.uniform(0.5, 1.5, (2, *SHAPE)).astype(np.float32)
TRUE = (WEIGHTS * X).sum(axis=1)


def model() -> Formula:
    return Formula(lambda rows: (rows * WEIGHTS).sum(axis=(1, 2, 3)), "NCHW", SHAPE)


def judged(names, values=TRUE, asked=None, x=X, **given):
    asked = asked or model()
    with Session(asked, Request()) as session:
        made = attribution(values, target="0", labels=(0,) * len(values), method="occlusion")
        return grade(session, session.read(x), made, names, **given)


def descending(rows):
    """Scores while the largest are taken away, one after another, ``[N, P + 1]``."""
    order = -np.sort(-rows.reshape(len(rows), -1), axis=1)
    return rows.sum(axis=(1, 2))[:, None] - np.concatenate([np.zeros((len(rows), 1)), np.cumsum(order, axis=1)], axis=1)


def area(curve):
    return np.mean([(curve[:, k] + curve[:, j]) / 2 for k, j in pairwise(range(curve.shape[1]))], axis=0)


def test_curves_of_the_right_explanation() -> None:
    found = judged(
        {
            "deletion": {"steps": 16},
            "insertion": {"steps": 16},
            "monotonicity": {"steps": 16},
            "selectivity": {"cells": 4, "steps": 16},
            "region-perturbation": {"cells": 4, "steps": 16},
        }
    )
    curve = descending(TRUE)
    np.testing.assert_allclose(found["deletion"].values, area(curve), rtol=1e-5)
    np.testing.assert_allclose(found["insertion"].values, TRUE.sum(axis=(1, 2)) - area(curve), rtol=1e-5)
    np.testing.assert_allclose(found["monotonicity"].values, 1)
    np.testing.assert_allclose(found["selectivity"].values, area(curve), rtol=1e-5)
    np.testing.assert_allclose(found["region-perturbation"].values, (curve[:, :1] - curve).mean(axis=1), rtol=1e-5)
    for name, better in (("deletion", -1), ("insertion", 1), ("selectivity", -1), ("region-perturbation", 1)):
        for other in (found[name].random, found[name].centre, found[name].edge, found[name].gradient):
            assert (better * found[name].values > better * other).all(), "nothing blind beats the truth"


def test_superpixels_of_a_series_are_even_parts_and_irof_is_the_area_above_its_curve() -> None:
    weights = np.random.default_rng(3).permutation(np.arange(1.0, 17))
    line = Formula(lambda rows: rows[:, 0] @ weights + 5, "NCT", (1, 16))
    x = np.ones((2, 1, 16), np.float32)
    curve = descending(np.tile(weights, (2, 1))[:, None])
    for whole, base in (("range", 0.0), ("score", 5.0)):
        options = {"irof": {"segments": 16, "steps": 16, "whole": whole}}
        found = judged(options, np.tile(weights, (2, 1)), line, x)["irof"].values
        np.testing.assert_allclose(found, 1 - area((curve + base) / (curve[:, :1] + base)), rtol=1e-5)


def test_values_that_are_true_are_found_true() -> None:
    found = judged(
        {
            "faithfulness-correlation": {"runs": 20},
            "infidelity": {"runs": 20, "scaled": False},
            "faithfulness-estimate": {},
            "non-sensitivity": {},
            "completeness-gap": {},
        }
    )
    np.testing.assert_allclose(found["faithfulness-correlation"].values, 1, rtol=1e-6)
    np.testing.assert_allclose(found["faithfulness-estimate"].values, 1, rtol=1e-6)
    np.testing.assert_allclose(found["infidelity"].values, 0, atol=1e-9)
    np.testing.assert_allclose(found["non-sensitivity"].values, 0)
    np.testing.assert_allclose(found["completeness-gap"].values, 0, atol=1e-6)
    for name in ("faithfulness-correlation", "faithfulness-estimate"):
        assert (found[name].random < 0.9).all()
    assert (found["infidelity"].random > 1).all()


def test_values_that_are_wrong_are_found_wrong_by_how_much() -> None:
    doubled = judged({"infidelity": {"runs": 20, "scaled": False}, "completeness-gap": {}}, 2 * TRUE)
    np.testing.assert_allclose(doubled["completeness-gap"].values, 1, rtol=1e-6)
    assert (doubled["infidelity"].values > 1).all()
    np.testing.assert_allclose(judged("infidelity:runs=20", 2 * TRUE)["infidelity"].values, 0, atol=1e-9)
    slopes = np.broadcast_to(WEIGHTS[0], TRUE.shape)
    right = judged({"infidelity": {"runs": 20, "scaled": False, "slopes": True}}, slopes)
    np.testing.assert_allclose(right["infidelity"].values, 0, atol=1e-9)
    blind = TRUE.copy()
    blind[:, 0] = 0  # a quarter of the cells matter to the model alone
    np.testing.assert_allclose(judged("non-sensitivity", blind)["non-sensitivity"].values, 0.25)
    backwards = judged(["faithfulness-estimate", "monotonicity:steps=16"], -TRUE)
    np.testing.assert_allclose(backwards["faithfulness-estimate"].values, -1, rtol=1e-6)
    np.testing.assert_allclose(backwards["monotonicity"].values, 1, err_msg="every position adds to this model")


def test_monotonicity_counts_the_steps_in_which_a_position_adds() -> None:
    mixed = Formula(lambda rows: (rows * WEIGHTS * np.where(WEIGHTS > 8, -1, 1)).sum(axis=(1, 2, 3)), "NCHW", SHAPE)
    np.testing.assert_allclose(judged("monotonicity:steps=16", asked=mixed)["monotonicity"].values, 0.5)


def test_constant_maps_and_gaps_say_nothing_and_harm_nobody() -> None:
    values = TRUE.copy()
    values[0] = 3.0
    found = judged(["faithfulness-estimate", "deletion:steps=4", "sparseness"], values)
    assert np.isnan(found["faithfulness-estimate"].values[0])
    assert found["sparseness"].values[0] == 0
    alone = judged("deletion:steps=4")["deletion"].values
    np.testing.assert_allclose(found["deletion"].values[1], alone[1])
    values[0, 2, 2] = np.nan
    gap = judged(["faithfulness-estimate", "deletion:steps=4", "sparseness"], values)
    for name, one in gap.items():
        assert np.isnan(one.values[0])
        assert np.isnan(one.random[0])
        np.testing.assert_allclose(one.values[1], found[name].values[1])


def test_questions_are_shared() -> None:
    """Clean and blank once; sets and cells once for five maps; two metrics of patches ask as one, two of curves too."""
    asked, maps, items = model(), 5, 2
    named = ["deletion:steps=8", "monotonicity:steps=8", "insertion:steps=8", "selectivity:cells=4,steps=4"]
    named += ["region-perturbation:cells=4,steps=4", "faithfulness-correlation:cells=4,runs=10"]
    named += ["infidelity:cells=4,runs=10", "faithfulness-estimate:cells=4", "non-sensitivity:cells=4"]
    judged([*named, "completeness-gap", "sparseness", "complexity"], asked=asked)
    once = 2 + 10 + 16  # untouched, hidden; random sets; single cells
    each = 7 + 7 + 3  # inner points of deletion, insertion and patches
    assert asked.rows == items * (once + maps * each)


def test_what_cannot_be_asked_is_said() -> None:
    cases = {
        "mask-iou": "boxes or masks against the truth",
        "pointing-game": "what is known to be there",
        "deletion;deletion:steps=3": "each once",
        "sparsenes": "sparseness",
        "deletion:step=3": "steps",
    }
    for names, message in cases.items():
        with pytest.raises(UsageError, match=message):
            judged(names)
    with pytest.raises(UsageError, match=r"The explanation is \[2, 3, 4\] for 2 items"):
        judged("sparseness", TRUE[:, 1:])
    with pytest.raises(UsageError, match="one list for each picture"):
        judged("pointing-game", truth=[[(0, 0, 1, 1)]])


def test_the_truth_is_masks_or_boxes() -> None:
    top = np.unravel_index(TRUE[0].argmax(), (4, 4))
    box = (int(top[0]), int(top[1]), int(top[0]) + 1, int(top[1]) + 1)
    mask = np.zeros((2, 4, 4), bool)
    mask[0, top[0], top[1]] = True
    for truth in (mask, [[box], []]):
        found = judged("pointing-game", truth=truth)["pointing-game"].values
        np.testing.assert_array_equal(found, [1, np.nan])


def test_a_truth_that_is_none_is_refused() -> None:
    for truth, message in ((5, "masks as an array"), ([[("a",)], []], "four numbers"), ("ab", "masks as an array")):
        with pytest.raises(UsageError, match=message):
            judged("pointing-game", truth=truth)


def test_a_target_may_be_given_and_what_is_not_finite_says_nothing() -> None:
    both = xplain.load(lambda rows: np.stack([rows.sum(1), -2 * rows.sum(1)], axis=1))
    x = np.ones((2, 3), np.float32)
    made = attribution(np.array([[1.0, 1, 1], [1, np.inf, 1]]))
    wanted = ["completeness-gap", "sparseness", "complexity"]
    found = xplain.measure.judge(both, x, made, wanted, target=0, layout="NS")
    np.testing.assert_allclose(found.column("completeness-gap"), [0, np.nan], atol=1e-6)
    other = xplain.measure.judge(both, x, made, wanted, target=1, layout="NS")
    np.testing.assert_allclose(other.column("completeness-gap"), [1.5, np.nan])
    assert other.targets == ("1", "1")
    with pytest.raises(UsageError, match="give target= an xplain target"):
        xplain.measure.judge(both, x, made, wanted, layout="NS")
    with pytest.raises(UsageError, match="stands for 2 targets"):
        xplain.measure.judge(both, x, made, wanted, target="top2", layout="NS")


def test_rows_of_a_table_are_judged_without_what_needs_places() -> None:
    weights = np.array([3.0, 1.0, 2.0])
    rows = Formula(lambda one: one @ weights, "NS", (3,))
    x = np.ones((2, 3), np.float32)
    found = judged("standard", np.tile(weights, (2, 1)), rows, x)
    assert list(found) == ["sparseness", "complexity", "effective-complexity", "deletion", "insertion"]
    assert found["deletion"].centre is None
    assert found["deletion"].random is not None
    np.testing.assert_allclose(found["deletion"].values, (4.5 + 2 + 0.5) / 3)
    with pytest.raises(UsageError, match="Use deletion instead"):
        judged("road", np.tile(weights, (2, 1)), rows, x)


def test_an_item_has_the_same_grades_alone() -> None:
    names = ["road:steps=2", "faithfulness-correlation:runs=10", "deletion:steps=4"]
    both, alone = judged(names), judged(names, TRUE[1:], x=X[1:])
    for name in both:
        np.testing.assert_allclose(both[name].values[1:], alone[name].values, rtol=1e-12)
        np.testing.assert_allclose(both[name].random[1:], alone[name].random, rtol=1e-12)


def test_many_items_are_judged_in_groups_alike() -> None:
    """Items, targets, masks and baselines of each group are its own."""
    rng = np.random.default_rng(8)
    x = rng.uniform(0.5, 1.5, (37, *SHAPE)).astype(np.float32)
    x[20] = x[3]  # equal items draw apart, wherever they stand
    values, masks = (WEIGHTS * x).sum(axis=1), rng.random((37, 4, 4)) < 0.5
    fill = rng.random((37, *SHAPE)).astype(np.float32)
    names = ["deletion:steps=4", "faithfulness-correlation:runs=6", "relevance-mass", "completeness-gap"]
    whole = judged(names, values, x=x, truth=masks, baseline=fill)
    assert whole["deletion"].values.shape == (37,)
    some = [0, 17, 36]
    apart = judged(names, values[some], x=x[some], truth=masks[some], baseline=fill[some])
    for name, one in whole.items():
        np.testing.assert_allclose(one.values[some], apart[name].values, rtol=1e-9)
        np.testing.assert_allclose(one.random[some], apart[name].random, rtol=1e-9)
    right = ((WEIGHTS * x).sum(axis=(1, 2, 3)) - (WEIGHTS * fill).sum(axis=(1, 2, 3)))[:, None]
    gap = np.abs(values.sum(axis=(1, 2))[:, None] - right) / np.abs(right)
    np.testing.assert_allclose(whole["completeness-gap"].values, gap[:, 0], rtol=1e-4)
    assert whole["deletion"].random[20] != whole["deletion"].random[3]


def test_the_metrics_are_listed() -> None:
    assert {"deletion", "road", "pointing-game", "sparseness"} <= {one.name for one in xplain.measure.metrics()}


@pytest.mark.parametrize("metrics", [3, [4], {"deletion": 5}])
def test_metrics_of_another_kind_are_refused_with_what_is_accepted(metrics) -> None:
    with pytest.raises(
        UsageError, match="accepted: standard, cheap, localisation, names, or name to options"
    ) as caught:
        judged(metrics)
    assert caught.value.option == "metrics"


def test_an_explanation_of_other_pictures_is_neither_judged_nor_compared() -> None:
    rng = np.random.default_rng(1)
    asked, card = Formula(lambda rows: rows.mean(axis=(1, 2, 3)), "NCHW", (3, 4, 4)), xplain.Card(scale=1 / 255)
    first, second = rng.integers(0, 256, (2, 4, 4, 3), np.uint8)
    of_first, of_both = (
        xplain.explain(asked, x, method="ablation", card=card, target=0) for x in ([first], [first, second])
    )
    swapped = xplain.explain(asked, [second, first], method="ablation", card=card, target=0)
    assert xplain.measure.judge(asked, [first], of_first, "sparseness", card=card, target=0).values.shape == (1, 1)
    with pytest.raises(UsageError, match="The explanation is of other items: item 0"):
        xplain.measure.judge(asked, [second], of_first, "sparseness", card=card, target=0)
    assert len(xplain.measure.agreement([of_both, of_both])) == 1
    with pytest.raises(UsageError, match="The explanations are of different items: item 0"):
        xplain.measure.agreement([of_both, swapped])


def test_arrays_and_rows_are_told_apart_by_their_digests(tmp_path) -> None:
    asked = model()
    made = xplain.explain(asked, X, "occlusion", patch=1, stride=1, target=0)
    assert [len(one) for one in made.digests] == [32, 32]
    assert xplain.measure.judge(asked, X.astype(np.float64), made, "sparseness").digests == made.digests
    assert xplain.measure.judge(asked, X[1:], made[1], "sparseness").digests == made.digests[1:]
    made.save(tmp_path / "made.npz")
    with pytest.raises(UsageError, match="The explanation is of other items: item 0"):
        xplain.measure.judge(asked, X[::-1], xplain.Attribution.load(tmp_path / "made.npz"), "sparseness")
    alike = xplain.explain(asked, np.stack([X[0], X[0]]), "occlusion", patch=1, stride=1, target=0)
    assert len(set(alike.digests)) == 1
    with pytest.raises(UsageError, match="The explanations are of different items: item 1, '1', is not"):
        xplain.measure.agreement([made, alike])
    rows = {"age": [52.0, 31.0], "job": ["nurse", "clerk"]}
    reader = xplain.table(
        lambda t: [[a * (j == "nurse")] for a, j in zip(t["age"], t["job"], strict=True)], columns=rows
    )
    of_rows = xplain.explain(reader, rows, "exact-shapley")
    assert xplain.measure.judge(reader, rows, of_rows, "sparseness").digests == of_rows.digests
    with pytest.raises(UsageError, match="The explanation is of other items: item 1"):
        xplain.measure.judge(reader, rows | {"job": ["nurse", "nurse"]}, of_rows, "sparseness")


@pytest.mark.parametrize("given", [None, [], "map.npz"])
def test_what_is_no_explanation_is_refused_by_name(given) -> None:
    with pytest.raises(UsageError, match="attribution is .*; accepted: what xplain.explain returns"):
        xplain.measure.judge(model(), X, given, layout="NCHW")
    with pytest.raises(UsageError, match="accepted: two or more in a list"):
        xplain.measure.agreement([given, given])


@pytest.mark.parametrize(("metrics", "cost"), [(CHEAP, 72), ({name: {} for name in STANDARD}, 337)])
def test_what_judging_costs_is_counted_without_a_question_and_is_what_it_asks(metrics, cost) -> None:
    asked = []

    def scores(rows):
        asked.append(len(rows))
        return np.stack([rows.sum((1, 2, 3)), (rows * rows).sum((1, 2, 3))], axis=1)

    x = RNG.random((1, 3, 32, 32), np.float32)
    options = {"patch": 8, "stride": 8}
    with Session(xplain.load(scores, layout="NCHW"), Request({"occlusion": options})) as session:
        part = session.read(x)
        (made,) = session.explain(part, "occlusion")
        asked.clear()
        counted = grading_costs(part, "occlusion", options, metrics, (4, 4))
        assert not asked
        assert sum(one.evaluations for one in counted) == cost
        part.memo = Memo()
        grade(session, part, made, metrics)
        assert sum(asked) == cost
