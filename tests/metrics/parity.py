"""Each metric's numbers on the case of ``parity_case``, beside those of another implementation, and why some differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import made
import numpy as np

from metrics import parity_case as case
from xplain.core.positions.layout import Layout
from xplain.core.query import View
from xplain.core.target import label
from xplain.engine import drive
from xplain.metrics import stability
from xplain.metrics.agreement import rank_agreement
from xplain.metrics.asking import summed_by
from xplain.metrics.maps import pearson
from xplain.metrics.randomisation import likeness
from xplain.metrics.road import imputed
from xplain.session.measures.grading import grade
from xplain.session.request import Request
from xplain.session.run import Session
from xplain.testing import Formula


@dataclass(frozen=True)
class Pair:
    """One metric on both sides.

    Args:
        name: The metric.
        ours: Its numbers.
        theirs: Quantus' numbers, brought to the same quantity.
        how: What was done to bring them there, or why they differ.
        equal: Whether they must be equal; within ``near``, relative to the largest number.
        near: The largest difference.
    """

    name: str
    ours: Any
    theirs: Any
    how: str = ""
    equal: bool = True
    near: float = 1e-5

    @property
    def apart(self) -> float:
        """The largest difference, relative to the largest of our numbers."""
        ours, theirs = np.asarray(self.ours, float), np.asarray(self.theirs, float)
        return float(np.abs(ours - theirs).max() / max(1e-12, np.abs(ours).max()))


def model() -> Formula:
    return Formula(case.scores, "NCHW", (1, case.SIDE, case.SIDE), classes=case.CLASSES)


def pairs() -> Iterator[Pair]:
    """Every metric that both sides have."""
    told = case.golden()
    free = ["sparseness", "complexity", "effective-complexity:least=0.3"]
    truth = ["pointing-game", "relevance-mass", "relevance-rank", "top-k-intersection:k=20", "roc-auc"]
    asked = ["faithfulness-estimate:cells=99", "non-sensitivity:cells=99", "monotonicity:steps=12", "completeness-gap"]
    maps = made.attribution(case.MAPS, target="class", labels=tuple(int(one) for one in case.LABELS))
    with Session(model(), Request()) as session:
        found = grade(session, session.read(case.X), maps, [*free, *truth, *asked], truth=case.MASKS)
    ours = {name: one.values for name, one in found.items()}
    for name in ("sparseness", "complexity"):
        yield Pair(name, ours[name], told[name], "they add 1e-7 here and there", near=1e-5)
    share = np.array(told["effective-complexity"]) / case.SIZE
    yield Pair(
        "effective-complexity",
        ours["effective-complexity"],
        share,
        "theirs counts, and scales by the largest value of a whole batch; given maps that were scaled one by one",
    )
    for name in ("pointing-game", "relevance-mass", "relevance-rank", "top-k-intersection", "roc-auc"):
        yield Pair(name, ours[name], told[name])
    yield from _curves(told)
    yield Pair("faithfulness-estimate", ours["faithfulness-estimate"], told["faithfulness-estimate"])
    yield from _subsets(told)
    yield Pair(
        *("monotonicity", ours["monotonicity"], told["monotonicity"]),
        "theirs holds for random maps too, see below; ours is a share of steps",
        equal=False,
    )
    yield Pair(
        *("non-sensitivity", ours["non-sensitivity"], np.array(told["non-sensitivity"]) / case.SIZE),
        "theirs has one absolute threshold for map and model, which differ in unit; ours goes by shares of the largest",
        equal=False,
    )
    yield Pair(
        *("completeness-gap", ours["completeness-gap"], told["completeness-gap"]),
        "theirs is yes or no by ==, which is no for any sum of floats; ours is the gap as a share",
        equal=False,
    )
    yield from _stability(told)
    other = case.explained(case.X, np.array(told["random-logit classes"]))
    yield Pair("random-logit", rank_agreement(case.MAPS, other), told["random-logit"], "with the class that they drew")
    stages = np.array(told["mprt maps"])
    theirs = [told["mprt"][name] for name in told["mprt"] if name != "original"]
    kept = [np.array(one) for one in theirs]
    yield Pair("mprt", likeness(stages[:3]), np.stack(kept, axis=1), "with the maps of the weights that they drew")
    gone = np.zeros(case.SIZE, bool)
    gone[np.argsort(-case.MAPS[0].ravel())[:43]] = True
    blend = imputed(case.X[0], gone.reshape(case.SIDE, case.SIDE), Layout("NCHW", case.X.shape[1:]))
    how = "the blend alone: their score is that of the first batch of a data set only"
    yield Pair("road", blend, told["road"], how, near=1e-12)


def _curves(told: dict[str, Any]) -> Iterator[Pair]:
    view = View(case.X, label([int(one) for one in case.LABELS]), model().outline)
    fill = np.zeros((1, 1, 1, 1), np.float32)
    from xplain.metrics.curves import deletion
    from xplain.metrics.regions import region_perturbation, selectivity

    (falls,), _ = drive([deletion(view, case.MAPS, fill, steps=12)], model())
    how = "the curve; theirs leaves out the untouched point"
    yield Pair("deletion", falls.each["scores"][:, 1:], told["deletion"], how)
    flows = [one(view, case.MAPS, fill, cells=4, steps=16) for one in (region_perturbation, selectivity)]
    (regions, chosen), _ = drive(flows, model())
    curve = regions.each["scores"]
    how = "the falls of the score, patch by patch; ours is their mean with the untouched item"
    yield Pair("region-perturbation", curve[:, :1] - curve[:, 1:], told["region-perturbation"], how)
    how = "the scores, patch by patch; ours is the area under them"
    yield Pair("selectivity", chosen.each["scores"][:, 1:], told["selectivity"], how)


def _subsets(told: dict[str, Any]) -> Iterator[Pair]:
    """The formulas on the sets that the other side drew, or cut."""
    base = case.scores(case.X)[np.arange(case.N), case.LABELS]
    said, fell = [], []
    for some in case.subsets():
        rows = case.X.reshape(case.N, -1).copy()
        rows[np.arange(case.N)[:, None], some] = 0
        fell.append(base - case.scores(rows)[np.arange(case.N), case.LABELS])
        said.append(case.MAPS.reshape(case.N, -1)[np.arange(case.N)[:, None], some].sum(axis=1))
    found = pearson(np.array(said).T, np.array(fell).T)
    yield Pair("faithfulness-correlation", found, told["faithfulness-correlation"], "with the sets that they drew")
    cells = (np.arange(case.SIDE) // 4)[:, None] * 3 + np.arange(case.SIDE)[None] // 4
    weighted = summed_by(case.MAPS * case.X[:, 0], cells, 9)  # they multiply by the change, which is the item itself
    for cumulative, name in ((True, "infidelity (as theirs)"), (False, "infidelity")):
        squares = []
        for k in range(9):
            hidden = cells <= k if cumulative else cells == k
            rows = np.where(hidden, 0, case.X)
            fall = base - case.scores(rows)[np.arange(case.N), case.LABELS]
            change = weighted[:, : k + 1].sum(axis=1) if cumulative else weighted[:, k]
            squares.append((change - fall) ** 2)
        how = "each patch is hidden beside all those before it" if cumulative else "theirs never puts a patch back"
        yield Pair(name, np.mean(squares, axis=0), told["infidelity"], how, equal=cumulative)


def _stability(told: dict[str, Any]) -> Iterator[Pair]:
    moved = [(case.X + noise).astype(np.float32) for noise in case.neighbours()]
    near = [(case.explained(one, case.LABELS), one) for one in moved]

    def given(*_: Any) -> Any:
        return near
        yield

    view = View(case.X, label([int(one) for one in case.LABELS]), model().outline)
    wanted = {
        "sensitivity-max": stability.sensitivity_max,
        "local-lipschitz": stability.local_lipschitz,
        "relative-input-stability": stability.relative_input_stability,
        "relative-output-stability": stability.relative_output_stability,
    }
    for name, metric in wanted.items():
        with mock.patch.object(stability, "_neighbours", given):
            (reading,), _ = drive([metric(view, case.MAPS, None)], model())
        yield Pair(name, reading.values, told[name], "with the same changed items", near=1e-4)
