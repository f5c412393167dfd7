"""What is known to be in the items of an audit, as its models see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from xplain.audit.plans.items import ItemTable
from xplain.audit.plans.plan import ModelFacts, Plan
from xplain.audit.plans.truths import TRUTH, map_shape
from xplain.core.edits import Array
from xplain.session.truths.known import Known
from xplain.session.truths.meant import of_class
from xplain.session.truths.placing import placed

__all__ = ["TruthTable"]


class TruthTable:
    """``truth.parquet`` of an audit, for the models of its plan.

    Args:
        folder: The audit's folder.
        plan: Its plan, with a truth.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        assert plan.truth is not None
        self.facts = plan.truth
        self._table = ItemTable(folder / TRUTH)

    def labels(self, numbers: Sequence[int]) -> list[tuple[str, ...]]:
        """The labels of each item's boxes."""
        return [tuple(one or ()) for one in self._table.rows(numbers, ("labels",))["labels"]]

    def mask(self, item: int, model: ModelFacts, target: int = -1) -> Array | None:
        """Which positions of a model's map lie in what is known of an item, bool ``[*map]``.

        Of boxes that say what is in them, those of the class that is explained count, if the model knows any of the
        labels; what has no label always counts.

        Args:
            item: Its number.
            model: The model.
            target: The class that is explained; -1 for none, then all counts.

        Returns:
            All False where it lies outside what the model sees; None where nothing is known of the item, or nothing of
            this class.
        """
        row = {name: values[0] for name, values in self._table.rows([item], None).items()}
        if row["status"] != "known":
            return None
        runs = None if row["runs"] is None else np.asarray(row["runs"], np.int64)
        boxes = np.asarray(row["boxes"] or (), np.float64).reshape(-1, 4)
        stated = Known(boxes, tuple(row["labels"] or ()), tuple(row["shape"] or ()), runs)
        known = of_class(stated, self.facts.classes.get(model.name, {}), target)
        if known is None:
            return None
        size = None if row["height"] is None else (row["height"], row["width"])
        return placed(known, map_shape(model), model.preprocessing, size)
