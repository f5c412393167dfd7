"""Which explanations are judged: a sample drawn by class, how precise it is, and the metrics that are meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.registry import METRICS
from xplain.metrics.sampling import Precision, plan_sample, power_table

__all__ = ["STANDARD", "Precision", "judges", "sampled"]

STANDARD = ("deletion", "insertion", "road", "sparseness", "complexity")
"""What ``metrics="standard"`` stands for: the two areas, ROAD, and two that ask nothing."""


def sampled(
    labels: Any, size: int | tuple[int, ...] | None, seed: int = 0
) -> tuple[tuple[int, ...], tuple[Precision, ...]]:
    """Items drawn by class, ascending, and how precise they are.

    Args:
        labels: The label of each item, or their number.
        size: Items wanted; or the sample itself, whose precision is asked.
        seed: Root of the draw.
    """
    chosen: Array = np.asarray(size) if isinstance(size, tuple) else plan_sample(labels, int(size or 0), seed)
    return tuple(int(n) for n in chosen), tuple(power_table(labels, chosen))


def judges(metrics: Any) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """The metrics that a person names, and their options.

    Raises:
        UnknownName: one is not known; the message names the nearest.
        UsageError: they are no names.
    """
    list(METRICS)  # fills the registry
    if isinstance(metrics, Mapping):
        named = {str(name): dict(options) for name, options in metrics.items()}
    elif isinstance(metrics, str):
        named = {name.strip(): {} for name in metrics.split(",") if name.strip()}
    elif metrics is None or isinstance(metrics, (list, tuple)):
        named = {str(name): {} for name in metrics or ()}
    else:
        raise UsageError(option="metrics", got=metrics, accepted="standard, names of metrics, or name to options")
    options: dict[str, dict[str, Any]] = {name: {} for name in STANDARD} if "standard" in named else {}
    options |= {METRICS.find(name).name: told for name, told in named.items() if name != "standard"}
    return tuple(options), {name: told for name, told in options.items() if told}
