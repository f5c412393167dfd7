"""The public face: load a model, explain items, get attributions.

model = xplain.load("model.onnx")
a = xplain.explain(model, "cat.jpg", method="occlusion", patch=16, stride=8)
a.overlay(0).save("cat.png")
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from xplain.core import registry
from xplain.core.abilities import abilities_of, is_model
from xplain.core.caveat import Caveat, caveats_in
from xplain.core.cost import Cost
from xplain.core.edits import Array, Untouched
from xplain.core.errors import (
    CapabilityError,
    ModelError,
    NonFinite,
    NoPath,
    NotExported,
    UnsupportedOperator,
    UsageError,
)
from xplain.core.items import Items
from xplain.core.layout import Layout
from xplain.core.query import Flow, Model, Reading, Score, Sweep, View
from xplain.core.registry import Method
from xplain.core.target import EveryScore, Target, every_score
from xplain.core.target_parser import Aim, aim, needs_scores
from xplain.core.units import noun, spelled, unlinked
from xplain.core.versions import versions
from xplain.engine import Plan, Progress, Sentinel, Settings, Store, drive
from xplain.engine import plan as plan_flows
from xplain.engine import probe as repeat
from xplain.engine.budget import Budget
from xplain.engine.losses import with_nodes
from xplain.engine.sentinel import Spread
from xplain.hidden import as_codes, said_or_typical, without_rows
from xplain.items import entered, item_keys, items_of
from xplain.results.attribution import Attribution

__all__ = ["Items", "explain", "explain_many", "items_of", "load", "methods", "plan", "predict", "probe"]

Cache: TypeAlias = str | os.PathLike[str] | Store
"""A folder of answers, or one that is open already."""


def load(source: Any, **options: Any) -> Model:
    """A model that answers questions.

    Args:
        source: A path to an ONNX file, its bytes, a ``ModelProto``, a ``torch.nn.Module``, or a Python function
            ``f(batch) -> scores``. A model that was loaded already is returned as it is.
        options: ``card`` (how pictures become tensors), ``providers``, ``input`` (which input to explain), ``fixed``
            (values of the other inputs), ``threads``; see ``xplain.models.load``.

    Raises:
        Unsafe: refused by default; the message says why, and how to allow it.
        ModelError: the model cannot be loaded.
    """
    if is_model(source):
        return source  # type: ignore[no-any-return]
    from xplain import models

    return models.load(source, **options)


def methods() -> list[Method]:
    """All methods, by family and name: our own, and those of installed plugins."""
    return list(registry.methods())


def predict(
    model: Any,
    x: Any,
    *,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    cache: Cache | None = None,
) -> Array:
    """The scores of the untouched items, float64 ``[N, K]``: logits where the loader found them.

    A Python function is asked about many items at once, so its last bits may depend on the items beside one.
    """
    loaded, items = entered(load(model), x, card, layout)
    with _opened(cache) as store:
        return scores_of(loaded, items, Settings(batch_size=batch_size, store=store, together=True))[0]


def probe(model: Any, x: Any, *, card: Any = None, layout: str | None = None, times: int = 3) -> Spread:
    """Ask the same items several times, past any cache, and report how much the answers differ.

    A vendor's model may answer with noise; the sentinel's tolerance must be above it. Costs ``times`` evaluations per
    item. ``str`` of the result is a sentence.

    Raises:
        UsageError: fewer than 2 times.
    """
    loaded, items = entered(load(model), x, card, layout)
    return repeat(loaded, items.x, times)


def plan(
    model: Any,
    x: Any,
    method: str = "occlusion",
    *,
    target: Any = None,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    cache: Cache | None = None,
    **options: Any,
) -> Plan:
    """What ``explain`` would cost, in evaluations, sweeps, calls and money, without asking the model anything.

    Answers that lie in ``cache`` cost nothing. ``str(plan)`` is the bill.
    """
    loaded, entry = load(model), method_called(method)
    require(entry, entry.read_options(without_rows(options)), loaded)
    loaded, items = entered(loaded, x, card, layout)
    options = as_codes(options, loaded)
    values, _ = said_or_typical(entry, options, entry.read_options(options), loaded, items)
    looks = needs_scores(target, loaded.outline)
    blank = np.zeros((len(items.x), loaded.outline.scores.classes or 1)) if looks else None
    aims = aim(target, blank, loaded.outline)
    first = [_ask(_clean(items))] if looks else []
    flows = [*first, *_flows(entry, items, aims, loaded, 0, values)]
    with _opened(cache) as store:
        return plan_flows(flows, loaded, store, batch_size)


def plan_look(model: Model, x: Any, batch_size: int | None = None) -> Plan:
    """What ``predict`` would cost."""
    loaded, items = entered(model, x, None)
    return plan_flows([_ask(_clean(items))], loaded, None, batch_size)


def explain(
    model: Any,
    x: Any,
    method: str = "occlusion",
    *,
    target: Any = None,
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    max_cost: Any = None,
    cache: Cache | None = None,
    sentinel: int | Sentinel | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Attribution:
    """Explain why the model scores each item as it does.

    Args:
        model: What ``load`` takes, or a loaded model.
        x: Pictures (paths, PIL, uint8 arrays) or tensors; see ``items_of``.
        method: Name of a method; ``xplain methods`` lists them.
        target: None for each item's predicted class, a class number, a label's name, ``"a - b"``, a list with one per
            item, a place in a map or a layer such as ``"mask[2, 16, 16]"``, or a ``Target`` such as
            ``label(3) - label(7)``. ``"top3"`` needs ``explain_many``.
        seed: Root of all randomness. Each item draws from a seed of its own, made of this one and of its content, so
            it has the same draws alone, among others, and in any order.
        card: How pictures become tensors, if the model has no card of its own.
        layout: How the axes of the items are named, such as ``"NHWC"`` or ``"NTC"``, where the model, its card and
            the items' sizes do not say, or say it wrongly; see ``xplain.load``.
        batch_size: Rows per model call, at most; None chooses. Rows are cut into calls by one item alone, so neither
            the other items, their order nor a cache can change a bit of an item's result. Another ``batch_size`` may
            change last bits, since runtimes round by the shape of a batch; ``notes["rows per call"]`` records it.
        max_queries: Model evaluations that may be spent; asked for more, a method stops before it starts.
        max_cost: Money that may be spent on a model that has a price.
        cache: A folder where answers are kept, row by row; what lies there is not asked, nor paid, again, also after a
            crash. Needs a model with a digest or a version.
        sentinel: Ask the first item again every so many evaluations, and stop if the model's answer has changed.
        progress: Called with (evaluations done, evaluations asked so far).
        options: The method's own options; an unknown one is an error that names the nearest.

    Returns:
        Raw signed values with unit, target, scores, cost and everything needed to repeat them.

    Raises:
        XplainError: every error on purpose is one of its kinds; see ``xplain.core.errors``.
    """
    found = explain_many(
        model,
        x,
        method,
        target=target,
        seed=seed,
        card=card,
        layout=layout,
        batch_size=batch_size,
        max_queries=max_queries,
        max_cost=max_cost,
        cache=cache,
        sentinel=sentinel,
        progress=progress,
        **options,
    )
    if len(found) != 1:
        raise UsageError(f"Target {target!r} stands for {len(found)} targets; use explain_many, which returns a list.")
    return found[0]


def explain_many(
    model: Any,
    x: Any,
    method: str = "occlusion",
    *,
    target: Any = "top3",
    seed: int = 0,
    card: Any = None,
    layout: str | None = None,
    batch_size: int | None = None,
    max_queries: int | None = None,
    max_cost: Any = None,
    cache: Cache | None = None,
    sentinel: int | Sentinel | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> list[Attribution]:
    """``explain`` for a target that stands for several, such as ``"top3"``; all are read from the same evaluations."""
    entry = method_called(method)
    values = entry.read_options(without_rows(options))
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"seed is {seed!r}; accepted: a whole number of at least 0.")
    loaded = load(model)
    require(entry, values, loaded)
    loaded, items = entered(loaded, x, card, layout)
    options = as_codes(options, loaded)
    values, told = said_or_typical(entry, options, entry.read_options(options), loaded, items)
    watch = Sentinel(sentinel) if isinstance(sentinel, int) else sentinel
    with _opened(cache) as store:
        settings = Settings(batch_size, Budget(max_queries, max_cost), progress=progress, store=store)
        scores, cost = scores_of(loaded, items, settings) if needs_scores(target, loaded.outline) else (None, Cost())
        aims = aim(target, scores, loaded.outline)
        base: list[Array] = []
        if scores is None:  # the first look at the model, which says what it has inside
            base, cost = _target_scores(loaded, items, aims, settings)
        affordable = settings.budget.affordable(abilities_of(loaded).price)
        flows = _flows(entry, items, aims, loaded, seed, values, affordable)
        windows = abilities_of(loaded).windows or (lambda: None)
        before = windows()
        try:
            readings, spent = drive(flows, loaded, replace(settings, sentinel=watch))
            if max_queries is None and max_cost is None:  # it is more than what the method costs
                anew = partial(_flows, entry, items, aims, loaded, seed, values)
                readings = with_nodes(readings, anew, loaded, len(items.x))
        except Exception as error:
            if isinstance(error, (UnsupportedOperator, NoPath, NotExported)):
                error.args = (with_others(error, loaded),)
            error.add_note(f"while explaining with method {entry.name!r} on {loaded.outline.source}")
            raise
        cost += spent
        base = base or _target_scores(loaded, items, aims, settings)[0]
    after = windows()
    way: dict[str, Any] = {} if after is before or after is None else {"windows answered": str(after)}
    if settings.calls:
        way["rows per call"] = {kind: rows if len(rows) > 1 else rows[0] for kind, rows in settings.calls.items()}
    told = (*told, *unlinked(loaded.outline, scores))
    units = [noun(loaded.outline, one.target, scores) for one in aims]
    return [
        _attribution(
            entry,
            values,
            loaded,
            items,
            one,
            target_scores,
            reading,
            way,
            told,
            cost=cost,
            seed=seed,
            unit=spelled(reading.unit or entry.unit, units[k]),
        )
        for k, (one, target_scores, reading) in enumerate(zip(aims, base, readings, strict=True))
    ]


def _attribution(
    entry: Method,
    options: Mapping[str, Any],
    model: Model,
    items: Items,
    one: Aim,
    scores: Array,
    reading: Reading,
    way: dict[str, Any],
    told: tuple[Caveat, ...],
    **run: Any,
) -> Attribution:
    values = np.asarray(reading.values, dtype=np.float32)
    notes, warnings = caveats_in({**reading.notes, **reading.each}, len(values))
    if not np.isfinite(values).all():
        raise NonFinite(f"Method {entry.name!r} produced values that are not finite on {model.outline.source}.")
    return Attribution(
        values=values,
        error=None if reading.error is None else np.asarray(reading.error, dtype=np.float32),
        base=None if reading.base is None else np.asarray(reading.base, dtype=np.float64).reshape(len(values)),
        method=entry.name,
        options=dict(options),
        target=one.target.name,
        labels=one.labels,
        targets=tuple(map(model.outline.label_name, one.labels)) if len(set(one.labels)) > 1 else (),
        names=items.names,
        scores=scores,
        signed=entry.signed if reading.signed is None else reading.signed,
        model=model.outline.digest,
        card="" if items.card is None else replace(items.card, labels=()).to_toml(),
        resolution=reading.resolution,
        warnings=(*model.outline.warnings, *_of_scores(model), *items.warnings, *told, *reading.warnings, *warnings),
        notes=notes | way,
        versions=versions(),
        pictures=items.pictures,
        rows=items.x.astype(np.float64) if _are_rows(items, values) else None,
        columns=items.columns,
        texts=items.texts,
        layout=str(items.layout) if isinstance(items.layout, Layout) else "",
        **run,
    )


def _are_rows(items: Items, values: Array) -> bool:
    """Whether each item is a row of numbers, one for each value; the codes of words are none."""
    return items.x.ndim == 2 and items.x.shape == values.shape and items.x.dtype.kind in "fiub" and not items.texts


def _of_scores(model: Model) -> tuple[Caveat, ...]:
    if model.outline.scores.kind != "decisions":
        return ()
    return (
        Caveat("The model only decides: values say how often hiding changes its decision, not by how much.", "units"),
    )


def _opened(cache: Cache | None) -> AbstractContextManager[Store | None]:
    if cache is None:
        return nullcontext()
    return nullcontext(cache) if isinstance(cache, Store) else Store(cache)


def method_called(name: str) -> Method:
    return registry.find(name)


def require(entry: Method, options: Mapping[str, Any], model: Model) -> None:
    missing = entry.needs_with(options) - model.answers
    if missing:
        fits = [m.name for m in registry.methods() if m.needs <= model.answers]
        wanted = " and ".join(sorted(kind.__name__ for kind in missing))
        raise CapabilityError(
            f"{entry.name} needs {wanted}, but {model.outline.source} answers "
            f"only {', '.join(sorted(k.__name__ for k in model.answers))}. Methods that fit: {', '.join(fits)}."
        )


def with_others(error: ModelError, model: Model) -> str:
    """The message of a sweep that cannot be made, and the methods that do without it."""
    layers = bool(model.outline.layers)  # a TorchScript module shows none, so no map of one can be made
    able = [entry for entry in registry.methods() if entry.needs <= model.answers and (layers or entry.family != "cam")]
    if isinstance(error, NotExported):  # torch has the gradient's own rules, and those of the guided ones
        fits = [entry.name for entry in able if Sweep not in entry.needs or entry.family != "relevance"]
        return f"{error} Methods that need no graph still work: {', '.join(fits)}."
    fits = [entry.name for entry in able if Sweep not in entry.needs]
    return (
        f"{error} Methods that still work: {', '.join(fits)}; and those that sweep no further than a layer behind the "
        "operator, such as grad-cam with layer=."
    )


def _flows(
    entry: Method,
    items: Items,
    aims: Sequence[Aim],
    model: Model,
    seed: int,
    options: Mapping[str, Any],
    budget: int | None = None,
) -> list[Flow]:
    keys = item_keys(items)
    views = [View(items.x, one.target, model.outline, seed, budget, read=items.layout, keys=keys) for one in aims]
    return [entry.start(view, options) for view in views]


def _ask(score: Score) -> Flow:
    return Reading((yield score))


def _clean(items: Items, target: Target | EveryScore = every_score) -> Score:
    return Score(items.x, Untouched(), target, layout=items.layout if isinstance(items.layout, Layout) else None)


def scores_of(model: Model, items: Items, settings: Settings) -> tuple[Array, Cost]:
    readings, cost = drive([_ask(_clean(items))], model, settings)
    return np.asarray(readings[0].values)[:, 0], cost


def _target_scores(model: Model, items: Items, aims: Sequence[Aim], settings: Settings) -> tuple[list[Array], Cost]:
    """The value of each target for each untouched item."""
    readings, cost = drive([_ask(_clean(items, one.target)) for one in aims], model, settings)
    return [np.asarray(reading.values)[:, 0] for reading in readings], cost
