"""The way up: slopes are asked, states are moved, and what goes wrong on the way costs no picture.

Where a gradient is zero at the start, the state is shaken; where a number is none, a picture stays as it was when all
was well; where the budget ends, the way ends there; and each question carries what is needed to go on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, UsageError
from xplain.core.query import Answer, Query
from xplain.core.synthesis.canvas import Canvas
from xplain.core.synthesis.commission import Commission, Painted
from xplain.core.synthesis.objective import Objective
from xplain.core.synthesis.slope import Slope, Sloped
from xplain.core.synthesis.views import Transforms
from xplain.explainers.synthesis.optimisers import Lbfgs, Optimiser

__all__ = ["Climb", "Climbed", "How", "climbed", "gone", "painted", "side_by_side"]

How = Literal["adam", "lbfgs"]
"""How a deterministic objective may be followed."""

_SPENT = "The way up ended after {} of {} steps, and the picture is as it was then: {}"

_SHAKES = 4  # times that a state without a gradient is shaken, each time twice as hard


@dataclass(frozen=True, slots=True, eq=False)
class Climb:
    """A way up.

    Args:
        canvas: What is moved.
        objective: What is made large.
        optimiser: How.
        steps: How often.
        transforms: How views are drawn, from the share of the way that is done (0..1).
        settle: States after a step, such as clipped ones: called with states, their gradients, and the step.
        rate: Factor on the optimiser's step at a share of the way; see ``late``.
        shake: Standard deviation of what is added to a state that has no gradient at the start.
        stage: Names the way among several of one recipe.
    """

    canvas: Canvas
    objective: Objective
    optimiser: Callable[[float], Optimiser]
    steps: int
    transforms: Callable[[float], Transforms] = lambda _: Transforms()
    settle: Callable[[Array, Array, int], Array] = lambda state, _gradient, _step: state
    rate: Callable[[float], float] = lambda done: 1.0 if done < 0.7 else 0.3
    shake: float = 0.1
    stage: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Climbed:
    """Where a way ended.

    Args:
        state: The states.
        trace: The objective at each step, ``[T, N]``.
        last: The last answer; None where nothing was asked.
        caveats: What went wrong.
        ended: Whether the budget ended it.
    """

    state: Array
    trace: Array
    last: Sloped | None = None
    caveats: tuple[Caveat, ...] = ()
    ended: bool = False


@dataclass(slots=True, eq=False)
class _Way:
    """What is known while climbing."""

    good: Array
    alive: Array
    trace: list[Array] = field(default_factory=list)
    caveats: list[Caveat] = field(default_factory=list)
    last: Sloped | None = None

    def among(self, moving: Array, resting: Array) -> Array:
        """Of the states that are alive the first, of the others the second; the first itself where all are."""
        return moving if self.alive.all() else np.where(_wide(self.alive, moving), moving, resting)

    def say(self, text: str, item: int | None = None) -> None:
        caveat = Caveat(text, "other", item)
        if caveat not in self.caveats:
            self.caveats.append(caveat)

    def ended(self, state: Array, early: bool = False) -> Climbed:
        count = len(state)
        trace = np.stack(self.trace) if self.trace else np.zeros((0, count))
        return Climbed(state, trace, self.last, tuple(self.caveats), early)


def climbed(commission: Commission, way: Climb, state: Array) -> Generator[Query, Answer, Climbed]:
    """Go up from states ``[N, *state]``.

    Asks ``steps`` slopes; one more for each time that a state has to be shaken at the start. The first step follows the
    model alone: a prior's gradient would hide that the model gives none.
    """
    start, memory, state, known = _begun(commission, way, np.array(state, np.float32))
    told = known
    for k in range(start, way.steps):
        done = k / way.steps
        rngs = commission.rngs(f"views/{way.stage}/{k}")
        views = way.transforms(done).draw(rngs, way.canvas.extent, way.canvas.size, way.canvas.channels)
        kept = {"stage": way.stage, "step": k, "state": state, "trace": list(told.trace), **_named(memory)}
        goal = way.objective if k else way.objective.bare
        query = Slope(state, way.canvas, goal, views, commission.ink, kept=kept)
        try:
            found: Sloped = yield query
            if k == 0 and not start:
                state, found = yield from _shaken(commission, way, query, found, told)
        except BudgetError as spent:
            told.say(_SPENT.format(k, way.steps, spent))
            return told.ended(told.good, early=True)
        told.trace.append(found.value if k else way.objective.total(found.terms))
        told.last = found
        _mourn(found, told, k)
        told.good = told.among(state, told.good)
        uphill = told.among(found.gradient, np.zeros((), found.gradient.dtype))
        moved, memory = way.optimiser(way.rate(done)).step(state, uphill, memory, k)
        moved = way.settle(moved, found.gradient, k)
        state = told.among(moved, told.good).astype(np.float32, copy=False)
    return told.ended(state)


def gone(how: How, commission: Commission, way: Climb, state: Array) -> Generator[Query, Answer, Climbed]:
    """``climbed``, or with ``lbfgs`` the same way by scipy's L-BFGS, which needs an objective that stays as it is.

    Views are therefore drawn once, for all steps; a step is one evaluation, and what the way ends with is the best
    state that was met. The curvature is not put aside: a resumed way learns it anew from the best state so far.
    """
    if how == "adam":
        return (yield from climbed(commission, way, state))
    start, _, state, told = _begun(commission, way, np.array(state, np.float32))
    if start:
        told.say(f"L-BFGS went on from the best state of {start} steps and learnt the curvature anew.")
    rngs = commission.rngs(f"views/{way.stage}/0")
    views = way.transforms(0.0).draw(rngs, way.canvas.extent, way.canvas.size, way.canvas.channels)
    best = np.full(len(state), -np.inf)
    ways: list[Lbfgs] = []
    try:
        for k in range(start, way.steps):
            kept = {"stage": way.stage, "step": k, "state": told.good, "trace": list(told.trace)}
            query = Slope(state, way.canvas, way.objective, views, commission.ink, kept=kept)
            found: Sloped = yield query
            if not ways:
                if not start:
                    state, found = yield from _shaken(commission, way, query, found, told)
                ways = [Lbfgs(one.ravel()) for one in state]
                told.good = state
            told.last = found
            _mourn(found, told, k)
            better = told.alive & (found.value > best)
            best = np.where(better, found.value, best)
            told.trace.append(best)
            told.good = np.where(_wide(better, state), state, told.good)
            for n, one in enumerate(ways):
                if one.place is not None and told.alive[n]:
                    one.tell(-found.value[n], -found.gradient[n].ravel())
            way.settle(told.good, found.gradient, k)
            if all(one.place is None or not told.alive[n] for n, one in enumerate(ways)):
                break
            places = [
                told.good[n] if one.place is None or not told.alive[n] else one.place.reshape(state.shape[1:])
                for n, one in enumerate(ways)
            ]
            state = np.stack(places).astype(np.float32)
    except BudgetError as spent:
        told.say(_SPENT.format(len(told.trace), way.steps, spent))
        return told.ended(told.good, early=True)
    finally:
        for one in ways:
            one.stop()
    return told.ended(told.good)


def painted(canvas: Canvas, found: Climbed, **more: Any) -> Painted:
    """What a way up ended with, drawn whole; ``more`` as ``Painted`` takes it."""
    picture = np.clip(canvas.drawn(found.state), 0, 1)
    return Painted(picture, found.state, found.trace, warnings=found.caveats, **more)


def side_by_side(found: Sequence[Climbed]) -> Climbed:
    """Ways that were gone one after another as one; steps that one did not make are NaN."""
    steps = max(len(one.trace) for one in found)
    starts = np.cumsum([0, *(len(one.state) for one in found)])
    traces = [np.full((steps, len(one.state)), np.nan) for one in found]
    for trace, one in zip(traces, found, strict=True):
        trace[: len(one.trace)] = one.trace
    return Climbed(
        np.concatenate([one.state for one in found]),
        np.concatenate(traces, axis=1),
        caveats=tuple(
            replace(caveat, item=None if caveat.item is None else int(first) + caveat.item)
            for first, one in zip(starts, found, strict=False)
            for caveat in one.caveats
        ),
        ended=any(one.ended for one in found),
    )


def _wide(flags: Array, like: Array) -> Array:
    return flags.reshape(-1, *(1,) * (like.ndim - 1))


def _named(memory: Any) -> dict[str, Array]:
    return {f"memory/{name}": array for name, array in memory.items()}


def _begun(commission: Commission, way: Climb, state: Array) -> tuple[int, Any, Array, _Way]:
    """Where to begin: at the first step, or where an earlier run of this way was interrupted."""
    kept = commission.kept
    if kept.get("stage") != way.stage or "step" not in kept:
        return 0, way.optimiser(1.0).start(state), state, _Way(state, np.ones(len(state), bool))
    if kept["state"].shape != state.shape:
        raise UsageError(
            f"What was kept has states {list(kept['state'].shape)}; these are {list(state.shape)}. Go on with the same "
            "recipe, targets and options, or begin anew."
        )
    memory = {name.removeprefix("memory/"): array for name, array in kept.items() if name.startswith("memory/")}
    told = _Way(kept["state"], np.ones(len(state), bool), [np.asarray(row) for row in kept["trace"]])
    return int(kept["step"]), memory, kept["state"], told


def _shaken(
    commission: Commission, way: Climb, query: Slope, found: Sloped, told: _Way
) -> Generator[Query, Answer, tuple[Array, Sloped]]:
    """The states, shaken as long as any has no gradient at all, and the answer about them."""
    state, size = query.state, way.shake
    flat = ~np.any(found.gradient, axis=tuple(range(1, state.ndim)))
    for turn in range(_SHAKES):
        if not flat.any():
            return state, found
        noise = np.stack([rng.normal(0, size, state.shape[1:]) for rng in commission.rngs(f"shake/{way.stage}/{turn}")])
        state = np.where(_wide(flat, state), state + noise, state).astype(np.float32)
        state = way.settle(state, np.zeros_like(state), 0)
        found = yield Slope(state, query.canvas, query.objective, query.views, query.ink)
        flat &= ~np.any(found.gradient, axis=tuple(range(1, state.ndim)))
        size *= 2
    for item in np.flatnonzero(flat):
        told.say(
            "Nothing that the picture's colours change moves the objective, however it is shaken, so it stays as it "
            "began. The unit may be dead, or lie behind a rectifier that is shut: aim at the layer before it.",
            int(item),
        )
    told.alive &= ~flat
    return state, found


def _mourn(found: Sloped, told: _Way, k: int) -> None:
    """Pictures whose numbers are none any more stop here."""
    fine = found.finite
    for item in np.flatnonzero(told.alive & ~fine):
        told.say(
            f"At step {k} the objective was no number any more; the picture is the last one where it was.", int(item)
        )
    told.alive &= fine
