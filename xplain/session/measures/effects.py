"""What a model does over a whole table: ``xplain.measure.effect`` and ``xplain.measure.importance``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import UsageError, unknown
from xplain.core.query import View
from xplain.core.target import label
from xplain.explainers.tables.effects import bins_of, dependence, local_effects, permutation_importance, sage
from xplain.results.effect import Effect
from xplain.results.importance import Importance
from xplain.session.part import Part
from xplain.session.request import Cache, Request
from xplain.session.results import provenance, words_of
from xplain.session.run import Session

__all__ = ["Effect", "Importance", "effect", "importance"]

_BACKGROUND = 32


def effect(
    model: Any,
    x: Any,
    column: str | int,
    kind: Literal["pdp", "ale"] = "ale",
    *,
    target: Any = None,
    points: int = 20,
    max_queries: int | None = None,
    cache: Cache | None = None,
) -> Effect:
    """How the score depends on one column, over all rows.

    ``pdp``, partial dependence: the mean score of all rows with the column set to each of some values; ``curves`` are
    those of each row (ICE). Where columns go together it asks about rows that cannot be. ``ale``, accumulated local
    effects: ``sum over bins up to z of mean over the rows in the bin of f(upper edge, rest) - f(lower edge, rest)``,
    less its mean over the rows: every row stays near itself.

    Args:
        model: A model of rows: what ``xplain.load`` takes, or ``xplain.table``.
        x: The rows.
        column: Name or number of the column.
        kind: ``ale`` or ``pdp``.
        target: The class, or any target that is the same for all rows; None: the second of two classes, or the only
            score.
        points: Bins, or values: quantiles of the column, fewer where values repeat.
        max_queries: Model evaluations that may be spent: N times ``points`` for ``pdp``, 2 N for ``ale``.
        cache: A folder of answers.

    Raises:
        UsageError: the items are no rows, or it is not known which class is meant.
        UnknownName: no such column.
    """
    if kind not in ("pdp", "ale") or points < 2:
        got, accepted = (kind, "ale or pdp") if kind not in ("pdp", "ale") else (points, "at least 2")
        raise UsageError(option="points" if kind in ("pdp", "ale") else "kind", got=got, accepted=accepted)
    with Session(model, Request(target=target, max_queries=max_queries, cache=cache)) as session:
        part, view = _rows(session, x, target)
        names = _names(part)
        place = _place(names, column)
        values = view.x[:, place]
        edges, bins = bins_of(values, points)
        edges = edges.astype(np.float32)
        if kind == "ale" and (len(edges) < 2 or names[place] in part.model.outline.facts.get("categories", ())):
            raise UsageError(
                f"Column {names[place]!r} has no order of different values to go along. Ask for its dependence: ",
                option("kind", "pdp"),
                ".",
            )
        flow = local_effects(view, place, edges, bins) if kind == "ale" else dependence(view, place, edges)
        (reading,), cost = session.ask([flow], part.model, session.settings(part, calls=part.calls))
        found = np.asarray(reading.values)
        mean, error = _accumulated(found, bins, len(edges)) if kind == "ale" else _mean(found)
        return Effect(
            kind=kind,
            column=names[place],
            grid=edges.astype(np.float64),
            mean=mean,
            error=error,
            curves=found.reshape(len(found), -1),
            **_told(part, view, f"effect {kind}", {"column": names[place], "points": points}, cost),
        )


def importance(
    model: Any,
    x: Any,
    truth: Any,
    kind: Literal["permutation", "sage"] = "permutation",
    *,
    repeats: int | None = None,
    seed: int = 0,
    max_queries: int | None = None,
    cache: Cache | None = None,
) -> Importance:
    """What each column is worth to the model: how much larger its loss is without it, with standard errors.

    ``permutation``: the column's values are shuffled between the rows. ``sage``: the Shapley value of the fall of the
    loss as columns become known, so that columns which stand for each other share what they are worth; it adds up to
    the loss of knowing nothing less that of knowing all.

    Args:
        model: A model of rows: what ``xplain.load`` takes, or ``xplain.table``.
        x: The rows.
        truth: What is true of each: the number of its class, or a real number; the loss is the log loss, or the
            squared error.
        kind: ``permutation`` or ``sage``.
        repeats: Shuffles per column (5), or orders (512), each with one row.
        seed: Root of all randomness.
        max_queries: Model evaluations that may be spent: N (1 + S repeats), or N + 32 (S + 1) repeats.
        cache: A folder of answers.

    Raises:
        UsageError: the items are no rows, or the truth does not fit them.
    """
    if kind not in ("permutation", "sage"):
        raise UsageError(option="kind", got=kind, accepted="permutation or sage")
    times = repeats or (5 if kind == "permutation" else 512)
    if times < 2:
        raise UsageError(f"{times} repeats show no error; accepted: at least 2.")
    with Session(model, Request(target=0, seed=seed, max_queries=max_queries, cache=cache)) as session:
        part, view = _rows(session, x, 0)
        measure, loss = _loss(np.asarray(truth), session.look(part), part)
        if kind == "sage":
            chosen = view.rng("sage background").permutation(len(view.x))[:_BACKGROUND]
            flow = sage(view, loss, times, view.x[np.sort(chosen)])
        else:
            flow = permutation_importance(view, loss, times)
        (reading,), cost = session.ask([flow], part.model, session.settings(part, calls=part.calls))
        mean, error = _mean(np.asarray(reading.values))
        return Importance(
            kind=kind,
            measure=measure,
            columns=_names(part),
            values=mean,
            error=error,
            loss=np.asarray(reading.each["loss"], np.float64),
            **_told(part, view, f"importance {kind}", {"repeats": times}, cost, seed),
        )


def _rows(session: Session, x: Any, target: Any) -> tuple[Part, View]:
    """The rows, and a view of them with one target for all.

    Raises:
        UsageError: the items are no rows, or it is not known which class is meant.
    """
    part = session.read(x)
    if part.items.x.ndim != 2:
        raise UsageError(f"The items are {list(part.items.x.shape)}; accepted: the rows of a table, [N, S].")
    if target is None:
        classes = session.look(part).shape[1]
        if classes > 2:
            raise UsageError(f"The model has {classes} classes; say whose score: ", option("target", 1), ".")
        one = label(classes - 1, part.model.outline.label_name(classes - 1))
    else:
        aims = session.aim(part)
        if len(aims) != 1:
            raise UsageError(f"Target {target!r} stands for {len(aims)} targets; give one.")
        one = aims[0].target
    items = part.items
    return part, View(items.x.astype(np.float32), one, part.model.outline, session.request.seed, read=items.layout)


def _names(part: Part) -> tuple[str, ...]:
    if part.items.columns is not None:
        return tuple(part.items.columns.names)
    return tuple(f"column {k}" for k in range(part.items.x.shape[1]))


def _place(names: tuple[str, ...], column: str | int) -> int:
    if isinstance(column, str) and column in names:
        return names.index(column)
    if isinstance(column, int) and not isinstance(column, bool) and 0 <= column < len(names):
        return column
    raise unknown("column", str(column), names)


def _mean(values: Array) -> tuple[Array, Array]:
    """Mean and standard error over the first axis."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(values.shape[1])
    return values.mean(axis=0), error


def _accumulated(found: Array, bins: Array, edges: int) -> tuple[Array, Array]:
    """Local effects added up along the bins, less their mean over the rows (Apley and Zhu 2020, equation 17)."""
    counts = np.bincount(bins, minlength=edges - 1)
    filled = np.maximum(counts, 1)
    mean = np.bincount(bins, found, edges - 1) / filled
    square = np.bincount(bins, found**2, edges - 1) / filled
    variance = np.maximum(square - mean**2, 0) / np.maximum(counts - 1, 1)
    along = np.concatenate([[0.0], np.cumsum(mean)])
    middle = ((along[:-1] + along[1:]) / 2 * counts).sum() / counts.sum()
    return along - middle, np.sqrt(np.concatenate([[0.0], np.cumsum(variance)]))


def _loss(truth: Array, scores: Array, part: Part) -> tuple[str, Callable[[Array, Array], Array]]:
    """The loss of scores ``[R, K]`` of the rows of these numbers."""
    outline = part.model.outline
    if truth.shape != (len(scores),) or truth.dtype.kind not in "iufb":
        raise UsageError(
            f"The truth is {truth.dtype} {list(truth.shape)}; accepted: the number of its class, or a real number, for "
            f"each of {len(scores)} rows."
        )
    if scores.shape[1] == 1:
        return "squared error", lambda given, rows: np.asarray((given[:, 0] - truth[rows]) ** 2)
    classes = truth.astype(int)
    if (classes != truth).any() or classes.min() < 0 or classes.max() >= scores.shape[1]:
        raise UsageError(f"The truth holds other numbers than those of the {scores.shape[1]} classes, from 0 on.")

    def log_loss(given: Array, rows: Array) -> Array:
        if outline.scores.kind == "probabilities":
            chances = given
        else:
            away = np.exp(given - given.max(axis=1, keepdims=True))
            chances = away / away.sum(axis=1, keepdims=True)
        if outline.scores.link == "sigmoid" and outline.scores.kind == "logits" and given.shape[1] == 2:
            chances = 1 / (1 + np.exp(-given))  # both sides of one number
            chances = chances / chances.sum(axis=1, keepdims=True)
        return np.asarray(-np.log(np.clip(chances[np.arange(len(given)), classes[rows]], 1e-12, 1)))

    return "log loss", log_loss


def _told(part: Part, view: View, name: str, options: dict[str, Any], cost: Any, seed: int = 0) -> dict[str, Any]:
    """What every result has."""
    run = {"seed": seed, "rows_per_call": part.calls}
    return {
        "names": part.items.names,
        "targets": words_of(view.target, len(part)),
        "explained": view.target,
        "warnings": (*part.model.outline.warnings, *part.items.warnings),
        "provenance": provenance(part, name, options, cost=part.take_bill() + cost, **run),
    }
