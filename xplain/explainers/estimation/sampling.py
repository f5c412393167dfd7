"""Ask in rounds, know the error, stop when enough is known or the budget is spent.

A sampled method describes its *design*: how draw k is asked, and how scores become an estimate with a standard error.
``sample`` does the rest, for all of them alike: one round where nothing is said, growing rounds where a ``precision``
is wanted, and a last, smaller round where the budget ends. Draw k of an item depends on the seed, on the item's content
and on k alone, and each item stops for itself, so an item's result depends neither on its batch nor on how its draws
were cut into rounds. No two items share draws: their errors are independent, and cancel in a mean over items.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from xplain.core.caveat import Caveat, each
from xplain.core.declaring.wording import Sentence, named
from xplain.core.edits import Array
from xplain.core.errors import BudgetError
from xplain.core.keeping.plain import counted
from xplain.core.positions.layout import Layout
from xplain.core.query import Score, View

__all__ = ["Design", "Estimate", "Outcome", "affordable_draws", "cells_of", "map_notes", "sample", "sampling_notes"]
__all__ += ["shortfalls"]
__all__ += ["stability", "uniforms"]

HALF_WIDTH = 1.959964
"""Standard errors in half a 95 % interval."""

_FIRST_ROUND = 64
_GROWTH = 1.5
_TOP = 5
_CELLS = 7


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """What one item's scores say.

    Args:
        values: Estimated attribution, any shape.
        error: Standard error of each value, same shape.
        effective: Number of independent draws of equal weight that the estimate is worth.
        multipliers: How many independent multipliers one bootstrap resample takes: one per deviation that the error is
            a sum of.
        resample: The multiplier bootstrap: multipliers ``[R, multipliers]`` of mean 0 and variance 1 to R resampled
            errors ``[R, S]`` of the entries at ``entries``.
        entries: Flat indices into ``values`` of the entries that are resampled; None for all of them.
        notes: Further results of the fit.
        resamples: How many bootstrap resamples the stability is judged by; fewer where one is dear.
    """

    values: Array
    error: Array
    effective: float
    multipliers: int
    resample: Callable[[Array], Array]
    entries: Array | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    resamples: int = 200

    @classmethod
    def of(cls, values: Array, deviations: Array, freedom: float, effective: float, **notes: Any) -> Estimate:
        """An estimate whose error is a sum of one independent deviation ``[draws, S]`` per draw.

        The error is widened by what Student's t asks for at few degrees of ``freedom``, so that 1.96 errors to each
        side are the 95 % interval at any number of draws.
        """
        wide = deviations * (_student(freedom) / HALF_WIDTH)
        error = np.sqrt((wide**2).sum(axis=0))
        return cls(values, error, effective, len(wide), lambda signs: np.asarray(signs @ wide), None, notes)

    @classmethod
    def mean(cls, draws: Array, **notes: Any) -> Estimate:
        """The mean of independent draws ``[n, S]`` and its standard error."""
        count, centre = len(draws), draws.mean(axis=0)
        return cls.of(centre, (draws - centre) / math.sqrt(count * (count - 1)), count - 1, float(count), **notes)

    @property
    def precision(self) -> float:
        """Half-width of the widest 95 % interval as a share of the largest attribution; 0 when nothing is uncertain."""
        widest, largest = HALF_WIDTH * float(np.max(self.error)), float(np.max(np.abs(self.values)))
        return 0.0 if widest == 0 else math.inf if largest == 0 else widest / largest


def _student(freedom: float) -> float:
    """Half-width of a 95 % interval in standard errors at so many degrees of freedom, at least 1."""
    from scipy import special

    return float(special.stdtrit(max(1.0, freedom), 0.975))


class Design(Protocol):
    """How a sampled method asks for the items of one view, and how it reads the answers."""

    @property
    def view(self) -> View:
        """The items."""

    @property
    def fixed(self) -> int:
        """Model evaluations per item that are asked before the first draw."""

    @property
    def cost(self) -> int:
        """Model evaluations per draw and item, at most."""

    @property
    def least(self) -> int:
        """Draws below which there is no estimate, or no standard error."""

    def draws(self, samples: int) -> int:
        """Draws that so many samples, the unit that a person counts in, pay for."""

    def afford(self, evaluations: int) -> int:
        """Draws that so many evaluations per item pay for, beside the fixed ones."""

    def prepare(self) -> Generator[Score, Array, None]:
        """Ask what does not depend on draws."""

    def ask(self, items: Array, first: int, draws: int) -> Generator[Score, Array, Array]:
        """Ask draws ``first .. first + draws`` for the items; returns ``[len(items), draws, *one draw's answer]``."""

    def estimate(self, item: int, scores: Array) -> Estimate:
        """The estimate for one item from all of its scores so far, ``[draws, *one draw's answer]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """One item's estimate, the number of draws behind it, and why it stopped: samples, precision or budget.

    ``wanted`` are the draws that were asked for, ``goal`` is the precision.
    """

    estimate: Estimate
    draws: int
    stopped: str
    wanted: int = 0
    goal: float | None = None

    @property
    def shortfall(self) -> str:
        """A sentence on what was asked for and not reached, or nothing."""
        reached = f"the widest 95 % interval is {self.estimate.precision:.0%} of the largest value"
        if self.stopped == "budget":
            return Sentence(
                f"The sample was cut short: {self.draws} of {self.wanted} samples fit into ",
                named("max_queries"),
                f", and {reached}. Allow more, or look at the errors first.",
            )
        if self.stopped == "samples" and self.goal is not None:
            return Sentence(
                f"The precision of {self.goal:.1%} was not reached: after all {self.draws} samples {reached}. "
                "Allow more ",
                named("samples"),
                ".",
            )
        return ""


def uniforms(view: View, stream: str, first: int, count: int, width: int, item: str = "") -> Array:
    """Draws ``first .. first + count`` of a stream of uniform rows ``[count, width]``, however the stream is cut.

    ``item`` is the key of the item that they are drawn for; without it they are for all.
    """
    return view.rng(stream, item).random((first + count, width))[first:]


def affordable_draws(designs: Sequence[Design], budget: int | None, method: str) -> list[int | None]:
    """Draws that each design's share of the budget pays for: every item gets the same number of evaluations.

    Raises:
        BudgetError: a share is below the least that the method needs; says how much that is. Nothing was asked yet.
    """
    if budget is None:
        return [None] * len(designs)
    items = sum(len(design.view.x) for design in designs)
    share = budget // items
    least = max(design.fixed + design.least * design.cost for design in designs)
    if share < least:
        raise BudgetError(
            f"method {method!r} needs at least {least * items} more model evaluations for {counted(items, 'item')} "
            f"({least} each), but {budget} of ",
            named("max_queries"),
            " are left. Allow more, explain fewer items, or use fewer features.",
            left=budget,
        )
    return [design.afford(share - design.fixed) for design in designs]


def sample(
    design: Design, draws: int, precision: float | None, affordable: int | None = None
) -> Generator[Score, Array, list[Outcome]]:
    """Ask until ``draws`` are made, each item's ``precision`` is reached, or what is ``affordable`` is spent."""
    yield from design.prepare()
    items = len(design.view.x)
    most, last = (draws, "samples") if affordable is None or draws <= affordable else (affordable, "budget")
    active, made = np.arange(items), 0
    found: dict[int, Outcome] = {}
    scores: list[Array] = []
    while len(active):
        goal = most if precision is None else min(most, max(design.least, _FIRST_ROUND, math.ceil(_GROWTH * made)))
        stopped = last if goal == most else ""
        answer: Array | None = None
        try:
            answer = yield from design.ask(active, made, goal - made)
        except BudgetError:
            # several targets that stop apart share one budget; whoever comes last keeps what was answered
            if made < design.least:
                raise
            goal, stopped = made, "budget"
        made = goal
        if answer is not None:
            scores = [np.concatenate(both) for both in zip(scores, answer, strict=True)] if scores else [*answer]
        for item, own in zip(active, scores, strict=True):
            estimate = design.estimate(int(item), own)
            enough = precision is not None and estimate.precision <= precision
            if enough or stopped:
                found[int(item)] = Outcome(estimate, made, "precision" if enough else stopped, draws, precision)
        going = [k for k, item in enumerate(active) if int(item) not in found]
        active, scores = active[going], [scores[k] for k in going]
    return [found[item] for item in range(items)]


def stability(estimate: Estimate, signs: Array) -> tuple[int, float]:
    """(k, probability that the k largest attributions in size are really the k largest), by a multiplier bootstrap.

    Each resample recombines the draws' own deviations at random, which keeps the correlations between features; the
    probability is the share of resamples with the same k on top.

    Args:
        estimate: One item's.
        signs: Multipliers +1 and -1, ``[resamples, multipliers]`` (Rademacher).
    """
    flat = estimate.values.reshape(-1)
    centre = flat if estimate.entries is None else flat[estimate.entries]
    k = min(_TOP, max(1, len(centre) // 2))
    redrawn = centre + estimate.resample(signs)
    best, others = (_largest(np.abs(values), k) for values in (centre[None], redrawn))
    return k, float((best == others).all(axis=1).mean())


def _largest(values: Array, k: int) -> Array:
    return np.sort(np.argsort(-values, axis=1, kind="stable")[:, :k], axis=1)


def sampling_notes(outcomes: Sequence[Outcome], rng: Callable[[], np.random.Generator]) -> dict[str, Any]:
    """What a person should know of how far each item's estimate can be trusted; one entry per item.

    ``samples``: draws made; ``effective``: independent draws they are worth; ``precision``: half-width of the widest
    95 % interval as a share of the largest attribution; ``stopped``: samples, precision or budget; ``stability``:
    probability that the ``top`` largest attributions are really the largest. ``rng`` gives the same generator anew.
    """
    shapes = {(one.estimate.resamples, one.estimate.multipliers) for one in outcomes}
    signs = {shape: 1.0 - 2.0 * rng().integers(0, 2, shape, dtype=np.int8) for shape in shapes}
    stable = [stability(one.estimate, signs[one.estimate.resamples, one.estimate.multipliers]) for one in outcomes]
    notes: dict[str, Any] = {
        "samples": [one.draws for one in outcomes],
        "effective": [one.estimate.effective for one in outcomes],
        "precision": [one.estimate.precision for one in outcomes],
        "stopped": [one.stopped for one in outcomes],
        "top": [k for k, _ in stable],
        "stability": [probability for _, probability in stable],
    }
    for name in outcomes[0].estimate.notes:
        notes[name] = [one.estimate.notes[name] for one in outcomes]
    return notes


def shortfalls(outcomes: Sequence[Outcome]) -> tuple[Caveat, ...]:
    """What was asked for and not reached, item by item."""
    return each((one.shortfall for one in outcomes), "budget")


def cells_of(view: View, maps: Array) -> Array:
    """Sums ``[R, cells]`` of maps ``[R, *map]`` over 7 x 7 cells, or 49 stretches of a row; channels are added up.

    A map's single pixels are too many and too alike to be ranked; its cells are what a person sees.
    """
    layout = view.found if isinstance(view.found, Layout) else Layout.flat(view.x.shape[1:])  # no map is drawn of these
    if maps.shape[1:] == layout.item and layout.channel_axis is not None:
        maps = maps.sum(axis=layout.channel_axis)
    plane = layout.plane if maps.shape[1:] == layout.map_shape else (1, int(np.prod(maps.shape[1:])))
    rows = min(_CELLS, plane[0])
    across = min(_CELLS if plane[0] > 1 else _CELLS**2, plane[1])
    summed = maps.reshape(len(maps), *plane)
    for axis, (extent, number) in enumerate(zip(plane, (rows, across), strict=True), 1):
        starts = np.searchsorted(np.arange(extent) * number // extent, np.arange(number))
        summed = np.add.reduceat(summed, starts, axis=axis)
    return summed.reshape(len(maps), -1)


def map_notes(estimates: Sequence[Estimate], rng: Callable[[], np.random.Generator]) -> dict[str, Any]:
    """``effective``, ``top`` and ``stability`` (see ``sampling_notes``) of maps, from estimates of their cells."""
    notes = sampling_notes([Outcome(one, 0, "samples") for one in estimates], rng)
    return {name: notes[name] for name in ("effective", "top", "stability")}
