"""The lanes of an audit, opened once per process, and the models behind them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from xplain.audit.plans.budgeting import ANSWERS
from xplain.audit.plans.models import billed, opened_models
from xplain.audit.plans.plan import Plan
from xplain.audit.stores.where import Where
from xplain.core.abilities import abilities_of
from xplain.core.cost import Cost
from xplain.core.query import Model
from xplain.session.lanes.lane import Opened, opened

__all__ = ["Benches"]


class Benches:
    """The lanes of an audit, opened in this process; used in a ``with`` block.

    Args:
        folder: The audit's folder.
        plan: Its plan.
        models: Models by name, where they are none that can be loaded again, or are loaded already.

    Raises:
        UsageError: a model is another than was planned, or can only be given.
        XplainError: a model cannot be loaded.
    """

    def __init__(self, folder: Path, plan: Plan, models: Mapping[str, Any] | None = None) -> None:
        self.folder, self.plan, self._given = folder, plan, dict(models or {})
        self.models: dict[str, Model] = {}
        self.opened: list[Opened] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.models = opened_models(self.plan, Where.read(self.folder), self._given)
        for lane in self.plan.lanes:
            model = self.models[lane.model]
            content = (self.folder / "lanes" / f"{lane.file}.onnx").read_bytes() if lane.file else None
            cache = self.folder / ANSWERS if billed(model) else None
            self.opened.append(self._stack.enter_context(opened(lane, model, content, cache)))
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()
        for model in self.models.values():
            if (close := abilities_of(model).close) is not None:
                close()

    @property
    def billed(self) -> bool:
        """Whether answers of one of the models are paid for."""
        return any(billed(self.models[lane.model]) for lane in self.plan.lanes)

    @property
    def spent(self) -> Cost:
        """What the lanes have asked so far, in this process, and what was billed for it."""
        return sum((lane.spent for lane in self.opened), Cost())

    @property
    def price(self) -> Cost:
        """What one item costs in all lanes, at most."""
        return sum((lane.price() for lane in self.opened), Cost())
