"""Metrics of the items of a shard that were sampled: a row for each item and metric, beside what blind maps score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xplain.core.edits import Array
from xplain.core.errors import BudgetError, XplainError
from xplain.core.lane import LaneRows
from xplain.session.lane import Driven

__all__ = ["Judging"]


@dataclass(frozen=True, slots=True)
class Judging:
    """Judges a lane's explanations.

    Args:
        engine: The lane, driven: metrics ask the model about edited items, which a compiled file does not answer.
        sample: Numbers of the items that are judged.
        names: Metrics, with their options.
        rows: What was found, in the columns of ``xplain.audit.schema.METRICS``.
    """

    engine: Driven
    sample: frozenset[int]
    names: Mapping[str, Mapping[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)

    def judge(self, batch: LaneRows, row: int, item: int) -> None:
        """One row of a batch, by itself, so that its grades depend on no other; nothing for one not sampled.

        A metric that cannot be asked of it leaves a row without a value.

        Raises:
            BudgetError: it would ask for more than may be.
        """
        if item not in self.sample:
            return
        try:
            found = self.engine.grade(batch, row, self.names)
        except BudgetError:  # it was not looked, which is no answer; and another run would have one
            raise
        except XplainError:
            found = {}
        lane = self.engine.lane.name
        for name in self.names:
            told: dict[str, Any] = dict.fromkeys(_KINDS)
            if name in found:
                told = {kind: _number(getattr(found[name], kind)) for kind in _KINDS}
            told["value"] = told.pop("values")
            self.rows.append({"item": item, "lane": lane, "metric": name, **told})


_KINDS = ("values", "random", "centre", "edge", "gradient")


def _number(values: Array | None) -> float | None:
    """The one number of an item; None where there is none."""
    value = float("nan") if values is None else float(values[0])
    return value if value == value and abs(value) != float("inf") else None
