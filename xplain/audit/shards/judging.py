"""Metrics of the items of a shard that were sampled: a row for each item and metric, beside what blind maps score.

One explanation serves records and metrics: what the lane has just said of an item is what is judged. And what does not
depend on the map that is judged, such as the scores of the centre's and the edges' maps, is asked once for all lanes of
a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xplain.audit.plans.plan import ModelFacts
from xplain.audit.shards.truth_table import TruthTable
from xplain.core.edits import Array
from xplain.core.errors import BudgetError, XplainError
from xplain.core.lane import LaneAnswer, LaneRows
from xplain.results.attribution import Attribution
from xplain.session import Memo, Part
from xplain.session.lanes.lane import Driven
from xplain.session.measures.grading import Grades

__all__ = ["SHARE", "Compared", "Judging", "Memos"]

SHARE = "truth-share"
"""What the share of the positions that lie in what is known is called among metrics: 0 where the model sees nothing of
it; without a value where nothing is known of the class that is explained."""


class Memos:
    """What is known of the questions about sampled items, until every lane of a model has judged them.

    Args:
        lanes: Model to the number of its lanes.
    """

    def __init__(self, lanes: Mapping[str, int]) -> None:
        self._lanes = dict(lanes)
        self._known: dict[tuple[str, int], tuple[Memo, int]] = {}

    def of(self, model: str, item: int) -> Memo:
        """The memo of an item, which a lane is about to judge."""
        memo, before = self._known.pop((model, item), (Memo(), 0))
        if before + 1 < self._lanes.get(model, 1):
            self._known[model, item] = memo, before + 1
        return memo


@dataclass(frozen=True, slots=True)
class Compared:
    """What maps of a lane are compared with.

    Args:
        table: What is known of the items.
        model: The lane's model.
        sample: Numbers of the items that are compared.
        names: The metrics that compare, with their options.
    """

    table: TruthTable
    model: ModelFacts
    sample: frozenset[int]
    names: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Judging:
    """Judges a lane's explanations.

    Args:
        engine: The lane, driven: metrics ask the model about edited items, which a compiled file does not answer.
        sample: Numbers of the items that are judged by the metrics of ``names``.
        names: Metrics, with their options.
        memos: What is known of the items from other lanes.
        compiled: Whether a compiled file answers the lane, so that its map is what is judged.
        compared: What maps are compared with besides, and in which items; None where nothing is known.
        rows: What was found, in the columns of ``xplain.audit.stores.schema.METRICS``.
    """

    engine: Driven
    sample: frozenset[int]
    names: Mapping[str, Mapping[str, Any]]
    memos: Memos
    compiled: bool = False
    compared: Compared | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def judges(self, item: int) -> bool:
        """Whether an item is judged or compared."""
        return item in self.sample or (self.compared is not None and item in self.compared.sample)

    def judge(self, batch: LaneRows, answer: LaneAnswer, row: int, item: int) -> None:
        """One row of a batch, by itself, so that its grades depend on no other; nothing for one not sampled.

        A metric that cannot be asked of it leaves a row without a value.

        Raises:
            BudgetError: it would ask for more than may be: it was not looked, and another run would have an answer.
        """
        if not self.judges(item):
            return
        lane = self.engine.lane
        names = self.names if item in self.sample else {}
        found: dict[str, Grades] = {}
        memo = self.memos.of(lane.model, item)
        with _but_of_budget():
            part, one = self.engine.explained(batch, row, answer if self.compiled else None, memo)
            for name, options in names.items():
                with _but_of_budget():
                    found |= self.engine.grade(part, one, {name: options})
            found |= self._compared(part, one, item, int(answer.targets[row]))
        asked = [] if self.compared is None or item not in self.compared.sample else [SHARE, *self.compared.names]
        for name in (*names, *asked):
            told: dict[str, Any] = dict.fromkeys(_KINDS)
            if name in found:
                told = {kind: _number(getattr(found[name], kind)) for kind in _KINDS}
            told["value"] = told.pop("values")
            self.rows.append({"item": item, "lane": lane.name, "metric": name, **told})

    def _compared(self, part: Part, one: Attribution, item: int, target: int) -> dict[str, Grades]:
        """What metrics say that compare a map with what is known of the item."""
        known = self.compared
        if known is None or item not in known.sample:
            return {}
        mask = known.table.mask(item, known.model, target)
        if mask is None:
            return {}
        found = {SHARE: Grades(np.array([mask.mean()]))}
        for name, options in known.names.items():
            with _but_of_budget():
                found |= self.engine.grade(part, one, {name: options}, truth=mask[None])
        return found


@contextmanager
def _but_of_budget() -> Iterator[None]:
    """What cannot be asked is left out; a budget that is spent ends it."""
    try:
        yield
    except BudgetError:
        raise
    except XplainError:
        return


_KINDS = ("values", "random", "centre", "edge", "gradient")


def _number(values: Array | None) -> float | None:
    """The one number of an item; None where there is none."""
    value = float("nan") if values is None else float(values[0])
    return value if value == value and abs(value) != float("inf") else None
