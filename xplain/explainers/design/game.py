"""An explanation as a cooperative game: features are players, a coalition's worth is the score with only it shown.

``set_up`` cuts the items into features and into games, groups of items that can be asked together; a method finds what
each player of each game is worth; ``read_off`` paints that back onto the items.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import numpy as np

from xplain.core.caveat import Caveat
from xplain.core.declaring.options import Reference
from xplain.core.edits import Array, Coalitions, Untouched
from xplain.core.errors import UsageError
from xplain.core.query import Reading, Score, View
from xplain.explainers.design.baseline import fill_of
from xplain.explainers.design.inpaint import inpainted
from xplain.explainers.estimation.sampling import Design, Outcome, affordable_draws, sample, sampling_notes, shortfalls
from xplain.explainers.features.partition import Partition
from xplain.explainers.features.spec import partition

__all__ = ["Background", "Game", "Hidden", "Setup", "Worth", "play", "read_off", "set_up"]


_KEEP_BYTES = 64 * 2**20  # of the coalitions that one question describes


@dataclass(frozen=True)
class _Hidden:
    """What a hidden feature becomes: as for positions, or painted over from its surroundings."""

    accepts: str = f"'inpaint', {Reference.accepts}"
    invalid: tuple[Any, ...] = Reference.invalid

    def read(self, value: Any) -> Any:
        return value if isinstance(value, str) and value == "inpaint" else Reference().read(value)


@dataclass(frozen=True)
class _Background:
    """A set of reference items."""

    accepts: str = "an array of reference items [B, *item], or the path of a .npy file that holds one"
    names_files: bool = True

    @property
    def invalid(self) -> tuple[Any, ...]:
        return (3, "no-such-file.npy", np.array(["a"]), np.array(1.0), np.array([np.nan]))

    def read(self, value: Any) -> Array:
        if isinstance(value, (str, Path)):
            try:
                value = np.load(value, allow_pickle=False)
            except OSError as error:
                raise ValueError from error
        if not isinstance(value, np.ndarray) or value.ndim < 1 or value.dtype.kind not in "fiu":
            raise ValueError
        if not len(value) or not np.isfinite(value).all():
            raise ValueError
        return value


Hidden: TypeAlias = Annotated[Any, _Hidden()]
Background: TypeAlias = Annotated[Any, _Background()]


@dataclass(frozen=True, slots=True, eq=False)
class Game:
    """Items whose features have the same numbers, asked together.

    Args:
        view: These items alone.
        members: Their places in the whole batch.
        players: S, the number of features.
        labels: Which feature each position belongs to; see ``Partition``.
        whole: Whether labels go by element.
        fills: What hidden positions become, float32: one fill ``[1, ...]`` or ``[n, ...]``, or a background
            ``[B, *item]``.
        backgrounds: B, over which a coalition's worth is averaged; 1 for a fill.
        order: A permutation of each item's features, ``[n, S]``: the column of the coalitions that stands for each;
            None for their own order. A design draws coalitions once for all items; with its features shuffled each
            item gets a sample of its own, with as many coalitions of each size as any other.
    """

    view: View
    members: Array
    players: int
    labels: Array
    whole: bool
    fills: Array
    backgrounds: int = 1
    order: Array | None = None

    def __len__(self) -> int:
        return len(self.members)

    def shuffled(self) -> Game:
        """The same game with each item's features in a random order, drawn under its key."""
        order = [rng.permutation(self.players) for rng in self.view.rngs("seats")]
        return replace(self, order=np.array(order, np.int64).reshape(len(self), self.players))

    def back(self, item: int, values: Array) -> Array:
        """Values of the coalitions' columns as values of the item's features."""
        return values if self.order is None else values[self.order[item]]

    def worth(self, keep: Array, items: Array | None = None) -> Generator[Score, Array, Array]:
        """The worth of coalitions, float64 ``[n, M]``; costs M times the number of backgrounds per item.

        Args:
            keep: uint8 ``[M, S]``, or ``[n, M, S]`` for coalitions of each item's own.
            items: Which items, all by default.
        """
        items = np.arange(len(self)) if items is None else items
        if self.order is not None and keep.ndim == 2 and (keep.min(axis=1) != keep.max(axis=1)).any():
            few = max(1, _KEEP_BYTES // max(1, keep.size * self.backgrounds))
            parts = []
            for left in range(0, len(items), few):
                some = items[left : left + few]
                own = keep[:, self.order[some]].swapaxes(0, 1)
                parts.append((yield from self._worth(own, some)))
            return np.concatenate(parts)
        return (yield from self._worth(keep, items))

    def _worth(self, keep: Array, items: Array) -> Generator[Score, Array, Array]:
        x, target, times = self.view.x[items], self.view.target.take(items), self.backgrounds
        if times > 1:
            x, target = np.repeat(x, times, axis=0), self.view.target.take(np.repeat(items, times))
            fill = np.tile(self.fills, (len(items), *[1] * (self.fills.ndim - 1)))
            keep = np.repeat(keep, times, axis=0) if keep.ndim == 3 else keep
        else:
            fill = self.fills if len(self.fills) == 1 else self.fills[items]
        keep = np.ascontiguousarray(keep, dtype=np.uint8)
        scores = yield Score(x, Coalitions(self.labels, keep, fill, self.whole), target)
        means: Array = np.asarray(scores).reshape(len(items), times, -1).mean(axis=1)
        return means

    def one_by_one(self, *, alone: bool) -> Generator[Score, Array, Array]:
        """The worth of each feature ``alone``, or of all but it, float64 ``[n, S]``; asked in parts of bounded size."""
        few, parts = max(1, _KEEP_BYTES // self.players), []
        for start in range(0, self.players, few):
            keep = np.full((min(few, self.players - start), self.players), not alone, np.uint8)
            np.fill_diagonal(keep[:, start:], alone)
            parts.append((yield from self.worth(keep)))
        return np.concatenate(parts, axis=1)

    def ends(self) -> Generator[Score, Array, tuple[Array, Array]]:
        """The worth of nobody and of everybody, ``[n]`` each; costs one evaluation per background, and the prediction.

        Everybody's worth is asked as the item itself, whose answer the engine already has.
        """
        everybody = yield Score(self.view.x, Untouched(), self.view.target)
        nobody = yield from self.worth(np.zeros((1, self.players)))
        return nobody[:, 0], np.asarray(everybody)[:, 0]


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What one item's players are worth: values and standard errors ``[S]``, the base, and notes."""

    values: Array
    error: Array | None = None
    base: float | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """All games of a batch, and how its items were cut."""

    view: View
    parts: Partition
    games: tuple[Game, ...]


def set_up(view: View, features: Any, baseline: Any, background: Array | None = None) -> Setup:
    """Cut the items into features, and group those that can be asked together.

    Raises:
        UsageError: features, baseline or background do not fit the items.
    """
    parts = partition(view, features)
    if background is not None:
        fills = np.asarray(background, dtype=np.float32)
        fills = fills[None] if fills.ndim == view.x.ndim - 1 else fills
        if fills.shape[1:] != view.x.shape[1:]:
            raise UsageError(
                f"The background is {list(background.shape)}; accepted: [B, *item] with items {list(view.x.shape[1:])}."
            )
    else:
        fills = (
            inpainted(view, parts) if isinstance(baseline, str) and baseline == "inpaint" else fill_of(view, baseline)
        )
    games = []
    for members, players in parts.cohorts(len(view.x)):
        own = view.of(members)
        labels = parts.of(int(members[0]))
        shared = background is not None or len(fills) == 1
        count = len(fills) if background is not None else 1
        games.append(Game(own, members, players, labels, parts.whole, fills if shared else fills[members], count))
    return Setup(view, parts, tuple(games))


def play(
    setup: Setup,
    design: Callable[[Game], Design],
    samples: int,
    precision: float | None,
    method: str,
    *,
    shuffled: bool = True,
) -> Generator[Score, Array, list[Worth]]:
    """Play every game by sampling; one worth per item, in the batch's order.

    Args:
        setup: The games.
        design: How a game is sampled.
        samples: How many samples per item, at most.
        precision: Where an item may stop early; see ``sample``.
        method: What messages call it.
        shuffled: Give each item's features a random order, so that a design whose draws are the same for all items, and
            that asks ``Game.worth``, still draws for each; one that draws for each item itself needs none.

    Raises:
        UsageError: fewer samples than the features need.
        BudgetError: the budget is below the method's minimum.
    """
    games = [game.shuffled() if shuffled else game for game in setup.games]
    designs = [design(game) for game in games]
    for game, one in zip(games, designs, strict=True):
        if one.draws(samples) < one.least:
            least = (max(0, one.fixed - game.backgrounds) + one.least * one.cost) // game.backgrounds
            raise UsageError(
                f"method {method!r}: {game.players} features need at least {least} samples to be told apart, with an "
                "error. Ask for more samples, or use fewer features."
            )
    limits = affordable_draws(designs, setup.view.budget, method)
    worths: list[Worth | None] = [None] * len(setup.view.x)
    for game, one, most in zip(games, designs, limits, strict=True):
        outcomes = yield from sample(one, one.draws(samples), precision, most)
        for item, (member, outcome) in enumerate(zip(game.members, outcomes, strict=True)):
            estimate = outcome.estimate
            values, error = game.back(item, estimate.values), game.back(item, estimate.error)
            worths[int(member)] = Worth(values, error, estimate.notes.get("base"), outcome)
    return [worth for worth in worths if worth is not None]


def read_off(
    setup: Setup,
    worths: Sequence[Worth],
    stream: str = "",
    unit: str | None = None,
    warnings: Sequence[Caveat] = (),
    notes: Mapping[str, Any] | None = None,
    **own: Any,
) -> Reading:
    """The reading: values painted onto positions, with the values per feature, their names and labels beside them.

    ``notes`` are further facts of the run, ``own`` facts of each item.
    """
    view, parts = setup.view, setup.parts
    outcomes = [worth.outcome for worth in worths if worth.outcome is not None]
    trust = sampling_notes(outcomes, lambda: view.rng(f"{stream} stability")) if outcomes else {}
    bases = trust.pop("base", None) or [worth.base for worth in worths]
    errors = [worth.error for worth in worths if worth.error is not None]
    facts: dict[str, Any] = {} if parts.per_item else {"labels": parts.labels}
    details: dict[str, Any] = {"labels": parts.labels} if parts.per_item else {}
    details["feature_values"] = _rows([worth.values for worth in worths])
    if errors:
        details["feature_errors"] = _rows(errors)
    if parts.names:
        facts["features"] = parts.names
    return Reading(
        parts.paint([worth.values for worth in worths]),
        error=parts.paint(errors) if errors else None,
        base=None if bases[0] is None else np.array(bases, dtype=np.float64),
        notes={**facts, **(notes or {})},
        each={**details, **trust, **own},
        unit=unit,
        warnings=(*shortfalls(outcomes), *warnings),
    )


def _rows(values: Sequence[Array]) -> list[list[float]]:
    return [[float(v) for v in row] for row in values]
