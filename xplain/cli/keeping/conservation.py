"""``xplain explain --conservation``: which nodes kept relevance, or invented it, on the way from target to input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from xplain.cli.asking.backgrounds import read_baselines
from xplain.cli.run import Keeper, Order
from xplain.core.query import Model
from xplain.session import Explained

__all__ = ["Conserved", "conservation_lines"]

_MOST = 10
"""Nodes that are told, those first that kept most."""
_LONGEST = 80
"""Characters of a node's name on a line of text; the record has all."""


class Conserved:
    """Adds a report to what is told of each explanation; of several sweeps that of the first.

    Args:
        model: A model with a graph.
        order: What is asked.
        inner: Writes the explanations.

    Raises:
        CapabilityError: the model has no graph.
    """

    def __init__(self, model: Model, order: Order, inner: Keeper) -> None:
        self._model, self._target, self._inner = model, order.target, inner
        self._methods = read_baselines(order.methods, model)

    def keep(self, item: str, explained: Explained) -> list[dict[str, Any]]:
        """Write the explanations of one item by one method; what is told of each, with a report."""
        told = self._inner.keep(item, explained)
        return [{**each, "conservation": self._report(explained, each["class"])} for each in told]

    def _report(self, one: Explained, label: int | None) -> dict[str, Any]:
        from xplain import measure

        target = self._target if label is None else label
        reports = measure.conservation(self._model, one.x, one.method, target=target, **self._methods[one.method])
        report = reports[0]
        worst = np.argsort(-np.abs(report.kept), kind="stable")[:_MOST]
        return {
            "rules": report.rules,
            "sweeps": len(reports),
            "came in": float(report.received[0]),
            "arrived": float(report.received[0] - report.kept.sum()),
            "nodes": [
                {"node": report.nodes[k], "received": float(report.received[k]), "kept": float(report.kept[k])}
                for k in worst
            ],
        }


def conservation_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The report of an explanation, where there is one, as lines of text."""
    if (found := told.get("conservation")) is None:
        return
    sweeps = f", the first of {found['sweeps']} sweeps" if found["sweeps"] > 1 else ""
    came, arrived = found["came in"], found["arrived"]
    yield f"    {found['rules']}{sweeps}: {came:.6g} came in, {arrived:.6g} arrived. Kept on the way:"
    for node in found["nodes"]:
        name = node["node"]
        short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 20]}…{name[-19:]}"
        yield f"      {node['kept']:+.4g} of {node['received']:.4g}  {short}"
