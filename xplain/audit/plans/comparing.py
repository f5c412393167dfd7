"""Metrics that compare maps with what is known to be there: which are meant, and of which items they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.audit.plans.plan import TruthFacts
from xplain.audit.plans.sampling import judges, sampled
from xplain.audit.plans.truths import Written
from xplain.core.declaring.registry import METRICS
from xplain.core.declaring.wording import way
from xplain.core.errors import UsageError
from xplain.core.known_classes import known_classes
from xplain.core.lane import Lane
from xplain.core.query import Model
from xplain.session.measures.grading import LOCALISATION

__all__ = ["asked_of_truth", "truth_facts"]


def asked_of_truth(metrics: Any, known: bool) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, dict[str, Any]]]:
    """The metrics that judge by themselves, those that compare with a truth, and options.

    Where a truth is given and metrics are asked, but none that compares, those of ``localisation`` are meant too.

    Args:
        metrics: As a person names them.
        known: Whether a truth is given.

    Raises:
        UsageError: one compares, and no truth is given.
    """
    names, options = judges(metrics)
    compare = tuple(name for name in names if METRICS.find(name).needs == "truth")
    if compare and not known:
        raise UsageError(
            f"Metric {compare[0]!r} compares with boxes or masks of what is known to be there, and this audit is given "
            "none. Give them: ",
            way("truth", python="truth='boxes.csv'", shell="--truth boxes.csv"),
            ", or COCO's JSON, or a folder of masks or of Pascal VOC's files.",
            option="metrics",
        )
    own = tuple(name for name in names if name not in compare)
    return own, (compare or (LOCALISATION if known and names else ())), options


def truth_facts(
    written: Written,
    names: Sequence[str],
    labels: Sequence[Any] | int,
    sample: int | None,
    seed: int,
    models: Sequence[tuple[str, Model, Lane]],
) -> TruthFacts:
    """What a plan says of a truth.

    Args:
        written: What was written.
        names: The metrics that compare.
        labels: The label of each item, or their number.
        sample: Items that these are asked for, at most; drawn by class among those of which something is known.
        seed: Root of the draw.
        models: Each model's name, itself, and one of its lanes.
    """
    known = np.array(written.known)
    if sample == 0:
        chosen = known[:0]
    elif sample is None or sample >= len(known):
        chosen = known
    else:
        own = len(known) if isinstance(labels, int) else [labels[int(n)] for n in known]
        chosen = known[list(sampled(own, sample, seed)[0])]
    classes = {}
    for name, model, lane in models:
        found = known_classes(model.outline, written.labels, lane.classes)[0]
        if found:
            classes[name] = dict(sorted(found.items()))
    numbers = tuple(int(n) for n in chosen)
    return TruthFacts(
        written.sha256, written.says, dict(written.states), tuple(names) if numbers else (), numbers, classes
    )
