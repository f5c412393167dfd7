"""Label errors: items whose label the model contradicts more surely than its mistakes explain (confident learning)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xplain.analyses.enough import percent, too_few
from xplain.core.edits import Array
from xplain.core.errors import UsageError
from xplain.core.finding import Finding

__all__ = ["LEAST", "confident_joint", "doubtful", "label_errors"]

LEAST = 10
"""Items of a class below which its mean probability is no threshold."""


def confident_joint(probabilities: Any, labels: Any) -> tuple[Array, Array]:
    """How many items of each label are surely of each class: int ``[K, K]``, and each item's sure class, -1 for none.

    The threshold of class j is its mean probability over the items labelled j. An item is surely j where its
    probability reaches that threshold; of several such classes, the likeliest.

    Args:
        probabilities: ``[N, K]``.
        labels: Class of each label, int ``[N]``; -1 where there is none.

    Source:
        Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70, 2021,
        equations 1 and 2.
    """
    p, own = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if p.ndim != 2 or own.shape != (len(p),) or own.max(initial=-1) >= p.shape[1]:
        raise UsageError(
            f"Probabilities are {list(p.shape)}, labels {list(own.shape)}; accepted: [N, K] and [N] below K."
        )
    there = own >= 0
    sums = np.zeros(p.shape[1])
    np.add.at(sums, own[there], p[np.flatnonzero(there), own[there]])
    counts = np.bincount(own[there], minlength=p.shape[1])
    threshold = np.divide(sums, counts, out=np.full(p.shape[1], np.inf), where=counts > 0)
    passed = p >= threshold - 1e-12
    sure = np.where(passed.any(axis=1), np.where(passed, p, -1).argmax(axis=1), -1)
    joint = np.zeros((p.shape[1], p.shape[1]), np.int64)
    some = there & (sure >= 0)
    np.add.at(joint, (own[some], sure[some]), 1)
    return joint, sure


def doubtful(probabilities: Any, labels: Any) -> Array:
    """Rows that are surely of another class than their label, int64, the most doubtful first.

    By the normalised margin: the label's probability less the largest of the others.
    """
    p, own = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    _, sure = confident_joint(p, own)
    rows = np.flatnonzero((own >= 0) & (sure >= 0) & (sure != own))
    label = p[rows, own[rows]]
    others = p[rows].copy()
    others[np.arange(len(rows)), own[rows]] = -np.inf
    return rows[np.argsort(label - others.max(axis=1, initial=-np.inf), kind="stable")]


def label_errors(
    probabilities: Any, labels: Any, *, names: Sequence[str] = (), items: Any = None, trained_on: bool | None = None
) -> list[Finding]:
    """Candidates for wrong labels: one finding of all, and the pairs of classes that are mixed up most.

    Args:
        probabilities: ``[N, K]``, of a model that has not seen these labels (out of fold).
        labels: Class of each label, int ``[N]``; -1 for none.
        names: Names of the classes; empty for their numbers.
        items: The items' numbers; None for 0, 1, ...
        trained_on: Whether the model was trained on these labels; None where that is not known.
    """
    own = np.asarray(labels, np.int64)
    numbers = np.arange(len(own)) if items is None else np.asarray(items, np.int64)
    counts = np.bincount(own[own >= 0], minlength=1)
    enough = counts >= LEAST
    if enough.sum() < 2:
        return [too_few("labels", "", int(enough.sum()), 2, f"classes of at least {LEAST} labelled items")]
    joint, sure = confident_joint(probabilities, np.where(enough[np.maximum(own, 0)], own, -1))
    rows = doubtful(probabilities, np.where(enough[np.maximum(own, 0)], own, -1))
    total = int(counts[enough].sum())
    limits = [
        "A candidate is where model and label disagree surely: the model may be the one that is wrong.",
        "It finds labels that are wrong here and there; what is always labelled wrongly, the model learnt so.",
    ]
    if trained_on is not False:
        limits.append(
            "Scores are taken as they are. A model that was trained on these labels knows their errors by heart "
            "and hides them: give scores of a model that did not see them."
        )
    share = len(rows) / total
    text = f"{len(rows):,} of {total:,} labels ({percent(share)}) are doubtful: the model is sure of another class."
    found = [
        Finding(
            *(
                "labels",
                "",
                text,
                "candidate" if len(rows) else "measured",
                len(rows) / max(1, total),
                "share of labels",
            ),
            count=total,
            members=numbers[rows[:24]],
            evidence={"doubtful": numbers[rows[:1000]].tolist(), "trained on": trained_on},
            limits=tuple(limits),
        )
    ]
    off = joint.copy()
    np.fill_diagonal(off, 0)
    for place in np.argsort(-off, axis=None, kind="stable")[:10]:
        i, j = divmod(int(place), off.shape[1])
        if off[i, j] < 5:
            break
        a, b = (names[k] if len(names) else str(k) for k in (i, j))
        some = [n for n in rows if own[n] == i and sure[n] == j]
        found.append(
            Finding(
                *("labels", a, f"{off[i, j]} items labelled {a} are surely {b} to the model.", "candidate"),
                *(off[i, j] / counts[i], f"share of the items labelled {a}"),
                count=int(counts[i]),
                members=numbers[some[:24]],
                evidence={"label": a, "model": b, "other way round": int(off[j, i])},
                limits=tuple(limits[:1]),
            )
        )
    return found
