"""Which explanations are judged: a sample drawn by class, how precise it is, and the metrics that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xplain.core.declaring.registry import METRICS
from xplain.core.declaring.with_options import parsed, several
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.metrics.sampling import Precision, plan_sample, power_table
from xplain.session.measures.grading import CHEAP, LOCALISATION, STANDARD

__all__ = ["SETS", "Precision", "judges", "sampled", "without_sets"]

SETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "cheap": CHEAP,
    "standard": {name: {} for name in STANDARD},
    "localisation": {name: {} for name in LOCALISATION},
}
"""Words that stand for several metrics."""


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

    Args:
        metrics: ``"standard"``, ``"cheap"``, ``"deletion:steps=8,sparseness"``, a list of such names,
            name to options, or None.

    Raises:
        UnknownName: one is not known; the message names the nearest.
        UsageError: they are no names.
    """
    list(METRICS)  # fills the registry
    if isinstance(metrics, Mapping):
        named = {str(name): dict(options) for name, options in metrics.items()}
    elif isinstance(metrics, str):
        named = _named(several(metrics))
    elif metrics is None or isinstance(metrics, (list, tuple)):
        named = _named(metrics or ())
    else:
        raise UsageError(
            option="metrics",
            got=metrics,
            accepted="cheap, standard, localisation, names of metrics, or name to options",
        )
    options: dict[str, dict[str, Any]] = {}
    for name, told in SETS.items():
        options |= {one: dict(given) for one, given in told.items()} if name in named else {}
    options |= {METRICS.find(name).name: told for name, told in named.items() if name not in SETS}
    return tuple(options), {name: told for name, told in options.items() if told}


def without_sets(metrics: Any) -> Any:
    """What a person named beside the words that stand for several metrics."""
    if isinstance(metrics, str):
        return [one for one in several(metrics) if one.strip() not in SETS]
    if isinstance(metrics, (list, tuple)):
        return [one for one in metrics if one not in SETS]
    return metrics


def _named(texts: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Names of metrics, each with the options behind its colon."""
    return dict(parsed(str(one).strip()) for one in texts if str(one).strip())
