"""``xplain.measure.randomisation``: does a map change when what the model has learnt is drawn anew?

A method that only shows the picture's edges passes every look of a person, and fails here: its map stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from xplain.core.abilities import Redraws, abilities_of
from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.intervals import Interval, mean_of
from xplain.core.keeping.plain import counted, plain
from xplain.core.query import Model
from xplain.metrics.maps import flat, mean_ranks, pearson
from xplain.metrics.randomisation import efficient_mprt, likeness
from xplain.session.measures.grading import positions
from xplain.session.part import Part
from xplain.session.request import Request
from xplain.session.run import Session, load

__all__ = ["Order", "Randomisation", "Relearned", "randomisation", "randomised", "redrawable", "relearned"]

Order: TypeAlias = Literal["cascading", "bottom-up", "independent"]
"""Which layers are drawn anew: from the head down, from the input up, or each by itself."""

_CELLS = 14


@dataclass(frozen=True, slots=True, eq=False)
class Randomisation:
    """How alike maps stay while weights are drawn anew.

    Args:
        method: The method that is tested.
        order: Which layers were drawn.
        layers: Layers with weights, in order of evaluation.
        stages: How many of them were drawn anew at each stage, from one end; where each is drawn by itself, its place.
        alike: float64 ``[N, K]``: Spearman's correlation of the sizes of the maps, in cells, with those of the model
            itself; NaN where a map is constant.
        null: float64 ``[N]``: the same between the model's own maps of different items of the call: what two maps have
            in common that have nothing to do with each other. NaN for one item.
        entropy: float64 ``[N]``: how much the entropy of the map's values rises when all are drawn (efficient MPRT);
            NaN where each was drawn by itself.
        zeros: Share of the maps of the last stage that are constant.
        warnings: What must be known.
    """

    method: str
    order: Order
    layers: tuple[str, ...]
    stages: tuple[int, ...]
    alike: Array
    null: Array
    entropy: Array
    zeros: float = 0.0
    warnings: tuple[Caveat, ...] = ()

    @property
    def mean(self) -> Interval:
        """The mean over items and stages, with its interval over items: the metric ``mprt``."""
        known = np.isfinite(self.alike)
        sums, counts = np.where(known, self.alike, 0.0).sum(axis=1), known.sum(axis=1)
        return mean_of(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))

    @property
    def last(self) -> Interval:
        """The same of the last stage alone: all layers drawn anew, unless each was by itself."""
        return mean_of(self.alike[:, -1])

    @property
    def forgets(self) -> bool | None:
        """Whether maps change as the model forgets; None where nothing can be said.

        They do not where they keep a rank correlation above one half on average over the stages, and more than maps of
        different items have in common.
        """
        mean, null = self.mean, mean_of(self.null)
        if not mean.count:
            return None
        return not (mean.mean > 0.5 and (not null.count or mean.mean > null.mean))

    def sentence(self) -> str:
        """What it means, in words for a person."""
        each = [mean_of(self.alike[:, k]) for k in (0, -1)]
        first = "one layer" if self.stages[0] == 1 else counted(self.stages[0], "layer")
        if self.order == "independent":
            told = f"{self.mean} when one layer at a time is drawn anew"
        else:
            told = (
                f"{each[0]} when {first} is drawn anew, and {each[1]} when {self.stages[-1]} of {len(self.layers)} are"
            )
        null = mean_of(self.null)
        beside = f"; maps of different items have {null}" if null.count else ""
        if self.zeros:
            beside += f"; {self.zeros:.0%} of the last maps are constant and not counted"
        verdict = {
            None: "Nothing can be said: the maps are constant",
            True: "They change as the model forgets",
            False: "They hardly change as the model forgets, so they show the picture rather than what was learnt",
        }[self.forgets]
        return f"{self.method}: maps keep a rank correlation of {told}{beside}. {verdict}."

    def __str__(self) -> str:
        lines = [self.sentence()]
        for k, stage in enumerate(self.stages):
            what = f"layer {stage}" if self.order == "independent" else counted(stage, "layer")
            lines.append(f"  {what}: {mean_of(self.alike[:, k])}")
        return plain("\n".join(lines))


def randomisation(
    model: Any,
    x: Any,
    method: str,
    order: Order = "cascading",
    *,
    stages: int = 8,
    draw: Literal["shuffle", "normal"] = "shuffle",
    smooth: int = 0,
    seed: int = 0,
    target: Any = None,
    card: Any = None,
    progress: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Randomisation:
    """Draw the weights of more and more layers anew, in the model's own graph, and see whether maps change.

        print(xplain.measure.randomisation("model.onnx", pictures, "guided-backprop", card="imagenet"))

    Targets are those of the model itself. Maps are compared by the order of their sizes, channels added up, in cells:
    single pixels of a gradient are noise.

    Args:
        model: What ``xplain.load`` takes, or a loaded model: an ONNX file.
        x: Items; with two or more, their maps among each other say what likeness means nothing.
        method: The method that is tested.
        order: ``cascading``: from the scores down to the input; ``bottom-up``: from the input up; ``independent``: one
            layer at a time.
        stages: At how many numbers of layers maps are made, evenly spaced in the logarithm; all of them where there are
            no more.
        draw: ``shuffle``: a layer's own numbers in another order; ``normal``: normal numbers of its mean and spread.
        smooth: Explanations over which each map is averaged, with noise on the item (smooth MPRT); 0 for none.
        seed: Root of what is drawn. A layer is drawn alike at every stage.
        target: As in ``explain``.
        card: How pictures become tensors, if the model has no card of its own.
        progress: Called with (stages done, stages).
        options: The method's own.

    Cost:
        An explanation of every item per stage and one more, ``smooth`` times as many; a model is opened per stage.

    Raises:
        CapabilityError: the model has no graph in which weights can be drawn.
        UsageError: an order that there is not, or a target that stands for several.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018; Hedström et al., Sanity Checks Revisited, 2024.
    """
    if order not in get_args(Order):
        raise UsageError(option="order", got=order, accepted=", ".join(map(repr, get_args(Order))))
    if draw not in ("shuffle", "normal"):
        raise UsageError(option="draw", got=draw, accepted="'shuffle' or 'normal'")
    if isinstance(smooth, bool) or not isinstance(smooth, int) or smooth < 0:
        raise UsageError(option="smooth", got=smooth, accepted="a whole number of at least 0")
    session = Session(model, Request({method: options}, target=target, card=card, seed=seed))
    part = session.read(x)
    redraws, layers = redrawable(part.model)
    with session:
        aims = session.aim(part)
    if len(aims) != 1:
        raise UsageError(f"Target {target!r} stands for {len(aims)} targets; the test is of one.")
    asked = Request({method: options}, target=aims[0].target, seed=seed)
    numbers = _numbers(len(layers), stages)
    models = (redraws.redrawn(_chosen(layers, order, count), seed, draw) for count in numbers)
    return _compared(_Maker(asked, part, smooth), models, layers, numbers, order, progress)


def redrawable(model: Model) -> tuple[Redraws, tuple[str, ...]]:
    """What draws a model's weights anew, and its layers with weights.

    Raises:
        CapabilityError: the model has no graph in which weights can be drawn, or no layer with any.
    """
    redraws = abilities_of(model).redraws
    if redraws is None:
        raise CapabilityError(
            f"{model.outline.source} has no ONNX graph whose weights could be drawn anew. Export it to ONNX."
        )
    layers = tuple(redraws.weighted())
    if not layers:
        raise CapabilityError(f"{model.outline.source} holds no layer with weights of its own.")
    return redraws, layers


def randomised(
    part: Part, method: str, options: Mapping[str, Any], target: Any, *, stages: int, seed: int
) -> Randomisation:
    """The cascading test of items that were read, for a target that stands: what ``randomisation`` does behind them.

    Args:
        part: The items, two or more.
        method: The method that is tested.
        options: Its options.
        target: A target as data.
        stages: See ``randomisation``.
        seed: Root of what is drawn.

    Raises:
        CapabilityError: the model has no graph in which weights can be drawn.
    """
    redraws, layers = redrawable(part.model)
    numbers = _numbers(len(layers), stages)
    models = (redraws.redrawn(_chosen(layers, "cascading", count), seed, "shuffle") for count in numbers)
    asked = Request({method: dict(options)}, target=target, seed=seed)
    return _compared(_Maker(asked, part, 0), models, layers, numbers, "cascading", None)


def _compared(
    maker: _Maker,
    models: Iterator[Model],
    layers: tuple[str, ...],
    numbers: tuple[int, ...],
    order: Order,
    progress: Callable[[int, int], None] | None,
) -> Randomisation:
    """Maps of a model beside those of models of which more and more was drawn anew."""
    part = maker.part
    maps = [maker.maps(part.model)]
    for k, model in enumerate(models):
        maps.append(maker.maps(model))
        if progress is not None:
            progress(k + 1, len(numbers))
    kept = np.stack(maps)
    constant = np.ptp(flat(kept[-1]), axis=1) == 0
    whole = order != "independent" and numbers[-1] == len(layers)
    return Randomisation(
        method=next(iter(Session(part.model, maker.asked).methods)),
        order=order,
        layers=layers,
        stages=numbers,
        alike=likeness(kept),
        null=_null(kept[0]),
        entropy=efficient_mprt(kept) if whole else np.full(len(part), np.nan),
        zeros=float(constant.mean()),
        warnings=part.model.outline.warnings,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Relearned:
    """How alike the maps of two models are that learnt different things of the same items.

    Args:
        method: The method that is tested.
        alike: float64 ``[N]``: Spearman's correlation of the sizes of both models' maps, in cells.
        null: float64 ``[N]``: of one model's maps of different items; NaN for one item.
    """

    method: str
    alike: Array
    null: Array

    @property
    def tells_apart(self) -> bool | None:
        """Whether maps differ as the models do: they are no more alike than one half, or than maps of other items."""
        alike, null = mean_of(self.alike), mean_of(self.null)
        if not alike.count:
            return None
        return not (alike.mean > 0.5 and (not null.count or alike.mean > null.mean))

    def __str__(self) -> str:
        null = mean_of(self.null)
        beside = f"; one model's maps of different items have {null}" if null.count else ""
        verdict = {
            None: "Nothing can be said: the maps are constant",
            True: "They differ as the models do",
            False: "They hardly differ, so they show the picture rather than what was learnt",
        }[self.tells_apart]
        return plain(
            f"{self.method}: the models' maps have a rank correlation of {mean_of(self.alike)}{beside}. {verdict}."
        )


def relearned(
    model: Any, other: Any, x: Any, method: str, *, target: Any = None, card: Any = None, seed: int = 0, **options: Any
) -> Relearned:
    """Do maps differ between a model and one of the same classes that learnt something else, such as drawn labels?

    The test of labels drawn anew: train a second model on the same items with their labels put in another order, until
    it knows them by heart, and explain both for the same classes.

    Args:
        model: What ``xplain.load`` takes, or a loaded model.
        other: The one that learnt something else.
        x: Items.
        method: The method that is tested.
        target: As in ``explain``, as the first model says it.
        card: How pictures become tensors, if the models have no card of their own.
        seed: Root of what is drawn.
        options: The method's own.

    Cost:
        Two explanations of every item.

    Raises:
        UsageError: a target that stands for several.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018, section 4.
    """
    session = Session(model, Request({method: options}, target=target, card=card, seed=seed))
    part = session.read(x)
    with session:
        aims = session.aim(part)
    if len(aims) != 1:
        raise UsageError(f"Target {target!r} stands for {len(aims)} targets; the test is of one.")
    maker = _Maker(Request({method: options}, target=aims[0].target, seed=seed), part, 0)
    first, second = maker.maps(part.model), maker.maps(load(other))
    return Relearned(next(iter(session.methods)), likeness(np.stack([first, second]))[:, 0], _null(first))


@dataclass(frozen=True, slots=True)
class _Maker:
    """Maps of the same items by one model after another, ``[N, *cells]``."""

    asked: Request
    part: Part
    smooth: int

    def maps(self, model: Model) -> Array:
        session = Session(model, self.asked)
        name = next(iter(session.methods))
        if not self.smooth:
            return self._one(session, name, self.part.items.x)
        rng = np.random.Generator(np.random.Philox(key=self.asked.seed))
        x = np.asarray(self.part.items.x)
        reach = 0.1 * (x.max() - x.min())
        noisy = (x + rng.normal(0, reach, x.shape).astype(x.dtype) for _ in range(self.smooth))
        return np.asarray(sum(self._one(session, name, one) for one in noisy) / self.smooth)

    def _one(self, session: Session, name: str, x: Array) -> Array:
        part = session.part(session.model, replace(self.part.items, x=x))
        found = session.explain(part, name)[0]
        return _in_cells(positions(found.values, part))


def _numbers(layers: int, stages: int) -> tuple[int, ...]:
    """Numbers of layers from 1 to all, evenly spaced in the logarithm, without doubles."""
    if isinstance(stages, bool) or not isinstance(stages, int) or stages < 1:
        raise UsageError(option="stages", got=stages, accepted="a whole number of at least 1")
    if stages >= layers:
        return tuple(range(1, layers + 1))
    found = np.unique(np.rint(np.geomspace(1, layers, max(2, stages))).astype(int))
    return tuple(int(n) for n in found) if stages > 1 else (layers,)


def _chosen(layers: Sequence[str], order: Order, count: int) -> Sequence[str]:
    if order == "independent":
        return layers[count - 1 : count]
    return layers[:count] if order == "bottom-up" else layers[len(layers) - count :]


def _in_cells(values: Array) -> Array:
    """The sum of the sizes in at most 14 cells along each axis."""
    sizes = np.abs(np.asarray(values, np.float64))
    for axis in range(1, sizes.ndim):
        extent = sizes.shape[axis]
        cells = min(_CELLS, extent)
        sizes = np.add.reduceat(sizes, np.arange(cells) * extent // cells, axis=axis)
    return sizes


def _null(maps: Array) -> Array:
    """For each item the mean likeness of its map with those of the others."""
    ranks, count = mean_ranks(flat(maps)), len(maps)
    if count < 2:
        return np.full(count, np.nan)
    pairs = np.stack([pearson(ranks, np.roll(ranks, k, axis=0)) for k in range(1, count)], axis=1)
    known = np.isfinite(pairs)
    return np.where(known.any(axis=1), np.where(known, pairs, 0).sum(axis=1) / np.maximum(1, known.sum(axis=1)), np.nan)
