"""What metrics say of explanations, beside what maps score that know nothing of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import unknown
from xplain.core.intervals import Interval, mean_of, worst_tenth
from xplain.core.keeping.plain import counted
from xplain.results.archive import Fault
from xplain.results.checks import Check, list_of, text
from xplain.results.fitting import fit
from xplain.results.result import ARRAY_PER_ITEM, PER_ITEM, Result

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["BLIND", "Judgement", "Summary"]

BLIND = ("random", "centre", "edge", "gradient")
"""The maps that know nothing, in the order in which they are kept: see ``xplain.metrics.baselines``."""

_LISTS = ("metrics", "better", "units")


@dataclass(frozen=True, slots=True)
class Summary:
    """One metric over all items.

    Args:
        metric: Its name.
        better: Whether a ``small`` or a ``large`` value is good.
        unit: What one of it means.
        own: The mean of the explanations, with its 95 % interval.
        blind: The same of each map that knows nothing, by name; those that there are.
        ahead: How much better than chance the explanation is, item by item, above 0 is better; with its interval.
        wins: Items on which the explanation is better than chance; equal ones count half.
        worst: The mean of the worst tenth of the items; NaN where there are fewer than 10.
        worst_items: The numbers of those items, the worst first.
        classes: Each class's mean, the worst first; empty where there is one class.
    """

    metric: str
    better: str
    unit: str
    own: Interval
    blind: Mapping[str, Interval]
    ahead: Interval | None
    wins: float
    worst: float
    worst_items: tuple[int, ...]
    classes: Mapping[str, Interval]

    @property
    def verdict(self) -> str:
        """Whether that is better than chance: ``better``, ``worse``, ``not told apart``, or ``not compared``."""
        if self.ahead is None or not self.ahead.count:
            return "not compared"
        if np.isnan(self.ahead.low):
            return "not told apart"
        return "better" if self.ahead.low > 0 else "worse" if self.ahead.high < 0 else "not told apart"


@dataclass(frozen=True, kw_only=True, eq=False)
class Judgement(Result):
    """What M metrics say of the explanations of N items.

    Args:
        values: float64 ``[N, M]``; NaN where a metric says nothing of an item.
        blind: float64 ``[N, M, 4]``: what a random map, a spot in the middle, a frame and the item's own gradient score
            on the same item; NaN where there is no such map, or a metric cannot be held against maps alone.
        metrics: The metrics' names.
        better: For each, whether a ``small`` or a ``large`` value is good.
        units: What one of each means.
        classes: The class of each item, by which it is grouped; empty for none.
    """

    what: ClassVar[str] = "judgement"
    checks: ClassVar[Mapping[str, Check]] = dict.fromkeys((*_LISTS, "classes"), ("a list of texts", list_of(text)))

    values: Array = field(metadata=ARRAY_PER_ITEM)
    blind: Array = field(metadata=ARRAY_PER_ITEM)
    metrics: tuple[str, ...] = ()
    better: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    classes: tuple[str, ...] = field(default=(), metadata=PER_ITEM)

    def column(self, metric: str) -> Array:
        """One metric of each item, float64 ``[N]``."""
        return np.asarray(self.values[:, self._place(metric)])

    def summary(self, metric: str) -> Summary:
        """One metric over all items, beside chance, per class and at its worst.

        Raises:
            UnknownName: it was not asked for.
        """
        k = self._place(metric)
        own, small = self.values[:, k], self.better[k] == "small"
        each = {name: mean_of(self.blind[:, k, b]) for b, name in enumerate(BLIND)}
        blind = {name: found for name, found in each.items() if found.count}
        gain = (self.blind[:, k, 0] - own) * (1 if small else -1)
        known = gain[np.isfinite(gain)]
        worst, items = worst_tenth(own, small)
        return Summary(
            metric=self.metrics[k],
            better=self.better[k],
            unit=self.units[k],
            own=mean_of(own),
            blind=blind,
            ahead=mean_of(gain) if len(known) else None,
            wins=float((known > 0).sum() + (known == 0).sum() / 2),
            worst=worst,
            worst_items=tuple(int(n) for n in items),
            classes=self._by_class(own, small),
        )

    def sentence(self, metric: str | None = None) -> str:
        """What one metric says, in words for a person; the first one by default."""
        one = self.summary(metric or self.metrics[0])
        what = f"{one.metric} of {self.facts.get('explanation', self.method)}"
        if not one.own.count:
            return f"{what}: nothing could be said of {counted(len(self), 'item')}."
        over = f"on average over {counted(one.own.count, 'item')}, in {one.unit}; {one.better} is good"
        told = f"{what} is {one.own} {over}"
        if one.ahead is None or not one.ahead.count:
            return f"{told}. It is not held against chance."
        wins = f"better than a random map on {one.wins:g} of {one.ahead.count}"
        said = {
            "better": f"It is {wins}, and on average.",
            "worse": f"It is {wins}, and on average worse.",
            "not told apart": f"It is {wins}: too little to tell it from chance.",
        }[one.verdict]
        others = ", ".join(f"{name} {found.mean:.3g}" for name, found in one.blind.items())
        sign = 1 if one.better == "large" else -1
        level = [name for name, found in one.blind.items() if sign * (found.mean - one.own.mean) >= 0]
        warned = f" No better than: {', '.join(level)}." if level else ""
        return f"{told}. {said} Maps that know nothing score: {others}.{warned}"

    def bars(self, **drawing: Any) -> Image:
        """Each metric as bars beside what maps score that know nothing; see ``xplain.render.judged``."""
        drawn: Image = self.render("judgement", **drawing)
        return drawn

    def _place(self, metric: str) -> int:
        name = metric.replace("_", "-").lower()
        if name not in self.metrics:
            raise unknown("metric of this judgement:", metric, self.metrics)
        return self.metrics.index(name)

    def _by_class(self, own: Array, small: bool) -> dict[str, Interval]:
        names = sorted(set(self.classes))
        if len(names) < 2:
            return {}
        each = {name: mean_of(own[[k for k, c in enumerate(self.classes) if c == name]]) for name in names}
        known = {name: one for name, one in each.items() if one.count}
        return dict(sorted(known.items(), key=lambda one: -one[1].mean if small else one[1].mean))

    def __repr__(self) -> str:
        of = self.facts.get("explanation", self.method)
        return f"<Judgement of {of}: {counted(len(self), 'item')}, {', '.join(self.metrics)}>"

    def __str__(self) -> str:
        lines = [self.sentence(name) for name in self.metrics]
        return "\n".join([*lines, *(f"warning: {one}" for one in self.said)])

    @classmethod
    def holds(cls, meta: Mapping[str, Any], arrays: Mapping[str, Array]) -> int:
        """The number of items; holds the arrays against one another.

        Raises:
            Fault: one is missing, or of another type or shape than it must have.
        """
        needs = {"values": ("f", ("N", "M")), "blind": ("f", ("N", "M", len(BLIND)))}
        found = fit(arrays, needs, gaps=("values", "blind"))
        for name in _LISTS:
            if len(meta.get(name, ())) != found["M"]:
                raise Fault(f"its field {name!r} does not name {found['M']} metrics")
        return found["N"]

    @classmethod
    def made(cls, given: dict[str, Any]) -> Self:
        """A judgement with these fields; tuples are still lists."""
        return cls(**{**given, **{name: tuple(given.get(name, ())) for name in (*_LISTS, "classes")}})
