"""A plan with what runs it: the runtime before and behind the steps, the kernels in between."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from xplain.core.edits import Array
from xplain.incremental import Plan, Runner
from xplain.native import delta

__all__ = ["Engine", "Item", "Opened"]

_SPAN = 1024  # masks whose windows are followed through the graph at a time


@dataclass(eq=False)
class Item:
    """What is known of one picture."""

    boxes: Array
    fill: Array
    bases: Mapping[str, Array]
    squares: frozenset[str]
    _span: tuple[int, Mapping[str, Array]] | None = None

    def spread(self, plan: Plan, begin: int, end: int) -> dict[str, Array]:
        """Where masks begin..end spread; followed for many batches at a time, since a call costs more than a mask."""
        first = self._span[0] if self._span is not None else end
        if self._span is None or begin < first or end > first + len(self._span[1][plan.entry]):
            first = begin
            self._span = first, plan.spread(self.boxes[begin : max(end, begin + _SPAN)])
        return {name: at[begin - first : end - first] for name, at in self._span[1].items()}


class Opened(Protocol):
    """A session of the runtime."""

    @property
    def outputs(self) -> Sequence[str]:
        """Names of what it computes."""

    def fed(self, array: Array) -> Any:
        """An array as the runtime takes it."""

    def run(self, feeds: Mapping[str, Any]) -> dict[str, Array]:
        """Output name to value."""


class Engine:
    """A plan, its runner, and the session behind it, opened when first needed.

    Its kernels share buffers: who asks holds ``lock``.
    """

    def __init__(
        self, plan: Plan, open_session: Callable[..., Opened], threads: int, halves: bool, single: bool = False
    ) -> None:
        self.plan, self.single, self.lock = plan, single, threading.Lock()
        self.runner = Runner(plan, halves=halves, threads=threads)
        self._open = open_session
        self._tail: Opened | None = None
        named = set(plan.frontier) - set(plan.products)
        self._read = sorted(named | {product.source for product in plan.products.values()})

    def look(self, x: Array, masked: Iterable[Array]) -> tuple[dict[str, Array] | None, list[dict[str, Array]]]:
        """What the runtime alone says of one item.

        Returns:
            The unmasked values that the steps read, None where one is not finite, and the outputs of masked pictures.
        """
        values = {self.plan.entry: delta.channels_last(x.transpose(2, 0, 1) if self.plan.channels_last else x)}
        head = self._open(self.plan.head, lean=True)  # not kept: it runs once per picture, and would hold its buffers
        found = self._asked(head, np.ascontiguousarray(x[None]))
        for name in self.plan.bases:
            value = found[name]
            values[name] = value.reshape(-1) if name in self.plan.means else delta.channels_last(value[0])
        ends = [{name: found[name] for name in self._read}]
        del found
        if not all(bool(np.isfinite(v).all()) for v in values.values()):
            return None, []
        for picture in masked:
            found = self._asked(head, picture)
            ends.append({name: found[name] for name in self._read})
        for name, product in self.plan.products.items():
            whole = product.whole(np.concatenate([end[product.source] for end in ends]))
            values[name] = whole[0]
            for k, end in enumerate(ends):
                end[name] = whole[k : k + 1]
            if not np.isfinite(whole[0]).all():
                return None, []
        seen = []
        for end in ends[1:]:
            frontier = {name: np.ascontiguousarray(end[name]) for name in self.plan.frontier}
            seen.append({name: value[0] for name, value in self._finished(frontier).items()})
        return values, seen

    def _asked(self, head: Opened, picture: Array) -> dict[str, Array]:
        """What the head computes of one picture, with the picture itself where it is read."""
        found = head.run({self.plan.source: head.fed(picture)})
        if self.plan.entry in self._read:
            found[self.plan.entry] = picture.transpose(0, 3, 1, 2) if self.plan.channels_last else picture
        return found

    def values(self, item: Item, spreads: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
        """The outputs under masks that go through the steps batch by batch and through the tail together."""
        return self._finished(self.runner.run(spreads, item.fill, item.bases, item.squares))

    def _finished(self, frontier: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs from the values at which the steps end."""
        out = {name: frontier[name] for name in self.plan.outputs if name in frontier}
        if self.plan.tail is None:
            return out
        if self._tail is None:
            self._tail = self._open(self.plan.tail)
        masks = len(next(iter(frontier.values())))
        count = 1 if self.single else masks
        parts = []
        for first in range(0, masks, count):
            feeds = {name: self._tail.fed(value[first : first + count]) for name, value in frontier.items()}
            parts.append(self._tail.run(feeds))
        return out | {name: np.concatenate([part[name] for part in parts]) for name in self._tail.outputs}
