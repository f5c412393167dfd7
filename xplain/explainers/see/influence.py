"""Influence: which training items a score rests on, by the last layer alone, and whose labels are to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from xplain.analyses.influence import (
    Head,
    Refit,
    Step,
    discovered,
    flipped,
    refit,
    removal,
    representer,
    representer_self,
    tracin,
    tracin_self,
)
from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Natural, PositiveReal, Share, Side
from xplain.core.declaring.registry import Paper, lens
from xplain.core.declaring.wording import Sentence, option
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.lenses.influences import Influences
from xplain.core.lenses.scene import Scene, Seeing
from xplain.core.query import Peek, Score
from xplain.explainers.see.positions import Positions
from xplain.explainers.see.training_items import (
    Others,
    Training,
    foretold,
    kept_training,
    others,
    pictures_of,
    read_others,
    training,
)

__all__ = ["influence"]

_ROWS = 4096
_POINTS = 200
"""Points of the curve of discovery, at most."""
_UNITS = {
    "representer": "part of the refitted score",
    "removal": "fall of the refitted score without the item",
    "tracin": "product of gradients of the loss",
}
_GAP = 1e-3
"""How far a refitted layer may be from the sum over its items before it is said."""
_STRAIGHT = 1e-3
"""How far scores may be from a linear function of the layer before it is said."""


@dataclass(frozen=True)
class _LabelsKind:
    """The label of each item, in the order of the items."""

    accepts: str = "a list of class names or numbers, one per item; none for the folder that each lies in"
    invalid: tuple[Any, ...] = (3, (3.5,), "")

    def read(self, value: Any) -> tuple[str, ...]:
        """The labels as texts. Raises ValueError when refused."""
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",")]
        value = value.tolist() if isinstance(value, np.ndarray) else value
        fit = isinstance(value, Sequence) and bool(value)
        if not fit or not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in value):
            raise ValueError
        if value == [""]:
            raise ValueError
        return tuple(map(str, value))


@dataclass(frozen=True)
class _AskedKind:
    """Items that are asked about: files, or in Python whatever an item is."""

    accepts: str = "files with commas between, or in Python a list of items"
    invalid: tuple[Any, ...] = (3, "", ())

    def read(self, value: Any) -> tuple[Any, ...]:
        """The items. Raises ValueError when refused."""
        if isinstance(value, str):
            value = [word.strip() for word in value.split(",")]
        if not isinstance(value, (Sequence, np.ndarray)) or not len(value) or isinstance(value, bytes):
            raise ValueError
        if any(isinstance(one, str) and not one for one in value):
            raise ValueError
        return tuple(value)


@dataclass(frozen=True)
class _StepsKind:
    """Earlier checkpoints with their learning rates."""

    accepts: str = "files with their learning rates, such as early.onnx=0.1,late.onnx=0.01; in Python pairs of these"
    invalid: tuple[Any, ...] = (3, "", "early.onnx", "early.onnx=-1", ())

    def read(self, value: Any) -> tuple[tuple[Any, float], ...]:
        """Models and rates. Raises ValueError when refused."""
        if isinstance(value, str):
            value = [word.rpartition("=")[::2] for word in value.split(",")]
        if not isinstance(value, Sequence) or not value:
            raise ValueError
        pairs = [(model, float(rate)) for model, rate in value]
        if any(not rate > 0 or not np.isfinite(rate) or model == "" for model, rate in pairs):
            raise ValueError
        return tuple(pairs)


Labels: TypeAlias = Annotated[Any, _LabelsKind()]
Asked: TypeAlias = Annotated[Any, _AskedKind()]
Steps: TypeAlias = Annotated[Any, _StepsKind()]


@lens(
    "influence",
    needs=(Peek, Score),
    paper=Paper("Yeh 2018; Koh 2017; Pruthi 2020", "arXiv:1811.09720; arXiv:1703.04730; arXiv:2002.08484"),
    aliases=("representer", "tracin"),
    kept="one",
    trial={"labels": (0, 1, 2) * 3, "k": 2},
)
def influence(
    scene: Scene,
    *,
    labels: Labels | None = None,
    asked: Asked | None = None,
    by: Literal["representer", "removal", "tracin"] = "representer",
    label: str = "",
    layer: str = "auto",
    positions: Positions = None,
    l2: PositiveReal = 0.001,
    checkpoints: Steps | None = None,
    rate: PositiveReal = 1.0,
    plant: Share = 0.05,
    k: Natural = 6,
    thumbnail: Side = 64,
) -> Seeing[Influences]:
    """Which training items speak for a score and which against it, and whose labels are to be looked at first.

    The last layer alone is looked at, ``z = W h``, where all is in closed form with p the probabilities and y the
    label. ``representer``: the layer is fitted anew to the labels that are given, with a penalty, so that a score is a
    sum over the training items, ``z_c(x) = sum_i alpha_ic <h_i, h>``, ``alpha_i = (y_i - p_i) / (2 lambda n)``.
    ``removal``: how much the score would fall if that layer were fitted without the item, by one step of Newton's.
    ``tracin``: how much a step along an item's loss brings another's down, ``(p - y) . (p' - y') <h, h'>``, summed over
    checkpoints with their learning rates. An item's influence on itself is large where it had to be learnt by itself:
    wrong labels are among these.

    Args:
        labels: The class of each item; none for the folder that each lies in.
        asked: Items that are asked about, such as a picture that was taken for something else.
        by: Representer points, what removing an item would do (whose ``worth`` is that of representer points), or
            TracIn of the last layer.
        label: The class that is asked about of these, by name or number; empty for the one that each is taken for.
        layer: What enters the last layer of weights; ``auto`` finds it.
        positions: What becomes of that layer's positions, as in ``embed``, where it has some.
        l2: Penalty of ``representer`` as a share of the mean squared length of the layer's vectors.
        checkpoints: Earlier checkpoints for ``tracin``, each with the learning rate there.
        rate: The learning rate of the model itself, for ``tracin``.
        plant: Share of labels that are exchanged in a second pass, to see how many the order would find; 0 for none.
        k: Items that are shown for and against each that is asked about; of doubtful ones four times as many.
        thumbnail: Side of the pictures that are drawn.

    Returns:
        ``Influence``: ``worth [N]``, each item's influence on itself, and ``influence [N, A]`` on those asked about: in
        the score's unit for ``removal`` and for ``representer``, where a column sums to the refitted score; a product
        of gradients for ``tracin``. ``facts`` tell how far the refitted layer is from the model's own, how exact its
        sum is, and what share of planted wrong labels is found among as many items as were planted, and twice as many.

    Cost:
        1 evaluation per item and checkpoint, 1 of what lies behind the layer for each of its numbers, then 2 N D K
        products per step of a fit. Memory: N (D + K) numbers, or N K where vectors that ``embed`` has kept are given
        in place of items.

    Differs from the paper:
        Representer points are of the labels that are given, not of what the model predicts. TracIn is that of the last
        layer's weights. A planted label of ``tracin`` was not trained on, so that it is found more easily.

    Raises:
        UsageError: an item without a label or with one that is no class, a model without one last linear layer, or
            options that do not go together.

    Source:
        Yeh et al., Representer Point Selection for Explaining Deep Neural Networks, NeurIPS 2018; Koh and Liang,
        Understanding Black-box Predictions via Influence Functions, ICML 2017; Pruthi et al.,
        Estimating Training Data Influence by Tracing Gradient Descent, NeurIPS 2020.
    """
    if checkpoints is not None and (by != "tracin" or scene.kept):
        raise UsageError(
            "Checkpoints are those of one training, read together: give them with ",
            option("by", "tracin"),
            ", of the items themselves.",
        )
    earlier = checkpoints or ()
    foretold(scene, labels, label)
    views = yield from read_others([model for model, _ in earlier], asked or ())
    if scene.kept:
        found = yield from kept_training(scene, layer, positions)
    else:
        found = yield from training([model for model, _ in earlier], layer, positions, thumbnail)
    classes = found.labels(labels)
    rates = (rate, *(one for _, one in earlier))
    judge = _Judge(
        by, [Step(*one) for one in zip(found.features, (t.head for t in found.lasts), rates, strict=True)], l2
    )
    fitted = judge.fit(classes)
    about = yield from others(found, views, thumbnail)
    head = judge.steps[0].head if fitted is None else fitted.head
    target = _target(found, label, head, about)
    worth = judge.worth(fitted, classes)
    made = judge.of(fitted, classes, about.features, target)
    shown = _shown(worth, made, k)
    pictures = yield from pictures_of(found, shown, thumbnail)
    curve, told = judge.discovery(classes, plant, scene.rng("influence"))
    predicted = _said(head, found.features[0])
    name = found.outline.label_name
    return Influences(
        names=tuple(found.names),
        given=tuple(name(int(c)) for c in classes),
        predicted=tuple(name(int(c)) for c in predicted),
        worth=worth,
        influence=made,
        asked=about.names,
        classes=tuple(name(int(c)) for c in target),
        inspected=curve[0],
        discovered=curve[1],
        shown=shown,
        thumbnails=pictures,
        asked_thumbnails=about.thumbnails,
        unit=_UNITS[by],
        facts={**_facts(found, judge, fitted, (classes, predicted)), **told},
        warnings=(*found.warnings, *_warnings(found, fitted)),
    )


# ---------------------------------------------------------------------- the two ways to judge


@dataclass(frozen=True, eq=False)
class _Judge:
    """Representer points, removal, or TracIn.

    Args:
        by: Which.
        steps: The model, and earlier checkpoints.
        l2: Penalty of a refitted layer.
    """

    by: str
    steps: list[Step]
    l2: float

    def fit(self, classes: Array) -> Refit | None:
        """The last layer as these labels make it; None where it is taken as it is."""
        if self.by == "tracin":
            return None
        own = self.steps[0]
        return refit(own.features, classes, len(own.head.bias), link=own.head.link, l2=self.l2)

    def worth(self, fitted: Refit | None, classes: Array) -> Array:
        """The influence of each item on itself, ``[N]``."""
        if fitted is None:
            return tracin_self(self.steps, classes)
        return representer_self(fitted, self.steps[0].features, classes)

    def of(self, fitted: Refit | None, classes: Array, asked: Sequence[Array], target: Array) -> Array:
        """The influence of each item on others, ``[N, A]``."""
        if fitted is None:
            return tracin(self.steps, classes, asked, target)
        how = removal if self.by == "removal" else representer
        return how(fitted, self.steps[0].features, classes, asked[0], target)

    def discovery(
        self, classes: Array, share: float, rng: np.random.Generator
    ) -> tuple[tuple[Array, Array], dict[str, Any]]:
        """How many planted wrong labels the order finds: shares inspected and found, and what is said of them."""
        if not share or len(np.unique(classes)) < 2:
            return (np.zeros(0), np.zeros(0)), {}
        planted, wrong = flipped(classes, share, rng)
        whole = discovered(self.worth(self.fit(planted), planted), wrong)
        count = len(classes)
        places = np.unique(np.linspace(0, count, min(count, _POINTS) + 1).round().astype(int))
        found = {
            "planted wrong labels": len(wrong),
            "share of them found among as many items": float(whole[len(wrong)]),
            "share of them found among twice as many": float(whole[min(2 * len(wrong), count)]),
        }
        return (places / count, whole[places]), found


def _target(found: Training, label: str, head: Head, about: Others) -> Array:
    """The class that is asked about of each item: the one that is named, or the one that it is taken for."""
    if not label:
        return _said(head, about.features[0])
    index = found.outline.label_index(label, found.outline.scores.classes or 0)
    return np.full(len(about.names), index, np.int64)


def _said(head: Head, features: Array) -> Array:
    """The class of the largest score of each item, int64 ``[N]``."""
    parts = [head.scores(features[n : n + _ROWS]).argmax(axis=1) for n in range(0, len(features), _ROWS)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _shown(worth: Array, made: Array, k: int) -> Array:
    """The items whose pictures are kept: those that speak most, and those that are most doubtful; int64 ``[S]``."""
    ends = [np.argsort(-side, kind="stable")[:k] for column in made.T for side in (column, -column)]
    return np.unique(np.concatenate([np.argsort(-worth, kind="stable")[: 4 * k], *ends])).astype(np.int64)


def _facts(found: Training, judge: _Judge, fitted: Refit | None, two: tuple[Array, Array]) -> dict[str, Any]:
    classes, predicted = two
    last, own = found.lasts[0], judge.steps[0]
    told: dict[str, Any] = {
        "layer": last.read.layer,
        "width": own.features.shape[1],
        "share of labels that the layer says too": float((classes == predicted).mean()),
        "scores beside a linear function, of their range": last.apart,
    }
    told |= {"positions": last.read.how} if last.read.how else {}
    if fitted is None:
        return told | {"learning rates": [step.rate for step in judge.steps]}
    away = _centred(fitted.head.weights) - _centred(own.head.weights)
    length = float(np.linalg.norm(_centred(own.head.weights)))
    return told | {
        "lambda": fitted.penalty,
        "refitted weights beside the model's own, relative": float(np.linalg.norm(away)) / length if length else None,
        "items that both say the same of": float((_said(own.head, own.features) == predicted).mean()),
        "sum over items beside the weights, relative": fitted.gap,
    }


def _centred(weights: Array) -> Array:
    """Weights without what a softmax does not see."""
    return np.asarray(weights - weights.mean(axis=0))


def _warnings(found: Training, fitted: Refit | None) -> list[Caveat]:
    told = []
    apart = max(last.apart for last in found.lasts)
    if apart > _STRAIGHT:
        text = f"Scores are up to {apart:.1%} of their range away from a linear function of the layer."
        told.append(Caveat(text, "model"))
    if fitted is not None and fitted.gap > _GAP:
        text = f"The refitted layer has not settled: the sum over items misses it by {fitted.gap:.1%}. "
        told.append(Caveat(Sentence(text, "A larger penalty settles sooner: ", option("l2"), "."), "incomplete"))
    return told
