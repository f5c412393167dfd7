"""``xplain explain --conservation``: which nodes kept relevance, or invented it, on the way from target to input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from xplain.cli.backgrounds import read_baselines
from xplain.cli.run import Order
from xplain.core.query import Model

__all__ = ["add_conservation", "conservation_lines"]

_MOST = 10
"""Nodes that are told, those first that kept most."""
_LONGEST = 80
"""Characters of a node's name on a line of text; the record has all."""


def add_conservation(model: Model, order: Order, pictures: Sequence[dict[str, Any]]) -> None:
    """Put a report into each explanation of what was told of pictures; of several sweeps that of the first.

    Raises:
        CapabilityError: the model has no graph.
    """
    from xplain import measure

    methods = read_baselines(order.methods, model)
    for picture in pictures:
        for one in picture["explanations"]:
            target = order.target if one["class"] is None else one["class"]
            reports = measure.conservation(
                model, picture["picture"], one["method"], target=target, **methods[one["method"]]
            )
            report = reports[0]
            worst = np.argsort(-np.abs(report.kept), kind="stable")[:_MOST]
            one["conservation"] = {
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
