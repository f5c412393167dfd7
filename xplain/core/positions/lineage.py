"""Which tensors of a model are computed from which, and where a layer's positions lie on the item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from xplain.core.positions.axes import Axes, unfolded
from xplain.core.positions.grid import Grid, grid_of
from xplain.core.positions.layout import Layout

__all__ = ["Lineage", "Pick"]

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Pick:
    """A place where a token axis ends: one token alone is read on, such as the class token, or the mean of all.

    Args:
        tensor: What is made so.
        tokens: How many there are.
        index: Which one is read; None for all.
    """

    tensor: str
    tokens: int
    index: int | None


@dataclass(frozen=True, eq=False)
class Lineage:
    """The tensors that are computed from the explained input: their parents, and their axes for the item at hand.

    Args:
        entry: The explained input.
        parents: Tensor to those it is computed of, as far as they descend from the input, in order of evaluation.
        axes: Tensor to its axes, as far as they are known.
        picks: Where tokens are read, in order.
        names: Layer to its tensor, where these differ.
        mixing: Tensors that share out something over tokens: a softmax whose last axis are tokens.
    """

    entry: str
    parents: Mapping[str, tuple[str, ...]]
    axes: Mapping[str, Axes]
    picks: tuple[Pick, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    mixing: frozenset[str] = frozenset()
    _grids: dict[tuple[str, Layout], Grid | str] = field(default_factory=dict, init=False, repr=False)
    _found: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def known(self, key: Any) -> Any:
        """What was kept under ``key``; None where nothing was."""
        return self._found.get(key)

    def keep(self, key: Any, found: Found) -> Found:
        """Keep what follows from this lineage and ``key`` alone, so that nobody finds it out again."""
        self._found[key] = found
        return found

    def tensor(self, layer: str) -> str:
        """The tensor that a layer's name stands for."""
        return self.names.get(layer, layer)

    def descends(self, layer: str) -> bool:
        """Whether a layer is computed of the explained input."""
        return self.tensor(layer) in self.parents

    def axes_of(self, layer: str) -> Axes | None:
        """A layer's axes as models answer it; None where it does not descend from the input, or has no known shape.

        What is folded into the batch is an axis of its own there: ``[N * windows, ...]`` is ``[N, windows, ...]``.
        """
        axes = self.axes.get(self.tensor(layer))
        return None if axes is None else unfolded(axes)

    def grid(self, layer: str, layout: Layout) -> Grid | str:
        """A layer's grid over the item's positions, or a clause that says why it has none; found out once."""
        axes = self.axes_of(layer)
        if axes is None:
            return "its axes could not be followed from the input"
        found = self._grids.get((layer, layout))
        if found is None:
            found = self._grids[layer, layout] = grid_of(axes, layout)
        return found

    def folded(self, layer: str) -> bool:
        """Whether an item has several rows of a layer, one behind the other."""
        axes = self.axes.get(self.tensor(layer))
        return axes is not None and unfolded(axes) != axes

    def ancestors(self, layer: str) -> frozenset[str]:
        """All tensors between the input and a layer, both with them."""
        waiting, found = [self.tensor(layer)], set()
        while waiting:
            name = waiting.pop()
            if name not in found and name in self.parents:
                found.add(name)
                waiting += self.parents[name]
        return frozenset(found)

    def behind(self, layer: str) -> frozenset[str]:
        """All tensors that are computed of a layer, it with them."""
        found = {self.tensor(layer)}
        for name, parents in self.parents.items():
            if not found.isdisjoint(parents):
                found.add(name)
        return frozenset(found)

    def passed_by(self, layer: str, targets: Iterable[str]) -> bool:
        """Whether one of these is computed of the input also past a layer."""
        waiting, seen = [self.tensor(name) for name in targets], {self.tensor(layer)}
        while waiting:
            name = waiting.pop()
            if name == self.entry:
                return True
            if name not in seen:
                seen.add(name)
                waiting += self.parents.get(name, ())
        return False

    def between(self, targets: Iterable[str]) -> frozenset[str]:
        """All tensors that lie between the input and every one of these."""
        each = [self.ancestors(name) for name in targets]
        return frozenset.intersection(*each) if each else frozenset(self.parents)
