"""``xplain.audit.plan``: items are listed and hashed, lanes settled on trial items, and everything written down."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.asked import Asked, methods_of, targets_of
from xplain.audit.budgeting import Allowed, refuse_too_many
from xplain.audit.building import building_in, keep
from xplain.audit.estimate import Estimate, LaneCost, counts, measured, shard_rows
from xplain.audit.far import is_far
from xplain.audit.guarding import planned_audit, versions_now
from xplain.audit.home import planned_in
from xplain.audit.items import Listed, write_items
from xplain.audit.labels import column_of, joined
from xplain.audit.models import Given, facts_of, models_of
from xplain.audit.plans import ANALYSES, Grading, ItemFacts, ModelFacts, Plan
from xplain.audit.reading import Data
from xplain.audit.remarks import remarks
from xplain.audit.sampling import Precision, judges, sampled
from xplain.audit.schema import read_parquet
from xplain.audit.sources import Source, source_of
from xplain.audit.trial import Trial, trial_items
from xplain.audit.where import Where
from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError, XplainError, unknown
from xplain.core.items import Items
from xplain.core.keeping.files import there
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane
from xplain.core.query import Model
from xplain.session import called
from xplain.session.lane import Budget
from xplain.session.lane import planned as settle

__all__ = ["Planned", "Wanted", "plan"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that a person may set of an audit, but its models, items and place; see ``plan``."""

    methods: Any = "grad-cam"
    target: Any = None
    labels: Any = None
    metadata: Any = None
    card: Any = None
    metrics: Any = "standard"
    analyses: Any = "standard"
    sample: int | None = 2000
    seed: int = 0
    shard_seconds: float = 45.0
    shard_rows: int | None = None
    planted: int = 0
    threads: int = 1
    item_column: str | None = None
    root: str | None = None
    max_queries: int | None = None

    def __post_init__(self) -> None:
        _whole("seed", self.seed, 0)
        _whole("planted", self.planted, 0)
        _whole("threads", self.threads, 1)
        if self.shard_rows is not None:
            _whole("shard_rows", self.shard_rows, 1)
        if self.sample is not None:
            _whole("sample", self.sample, 0)
        if self.max_queries is not None:
            _whole("max_queries", self.max_queries, 1)
        if not isinstance(self.shard_seconds, (int, float)) or not 0 < self.shard_seconds <= 86400:
            raise UsageError(option="shard_seconds", got=self.shard_seconds, accepted="seconds above 0, up to a day")


@dataclass(frozen=True)
class Planned:
    """A plan, and what is known of it on this machine. ``str`` is what a person reads before running it.

    Args:
        plan: The plan.
        folder: Where it was written, a folder or a URL; None for a rehearsal.
        estimate: What it will take.
        power: How precise the sample is: for all items, then for each class, the least precise first.
        told: Sentences that must be known before it is run.
    """

    plan: Plan
    folder: Path | str | None
    estimate: Estimate
    power: tuple[Precision, ...] = ()
    told: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        plan, shards = self.plan, self.plan.shards
        numbers = [counted(plan.items.count, "item"), counted(len(plan.lanes), "lane")]
        numbers += [f"{counted(len(shards), 'shard')} of {plan.shard_rows:,}"]
        where = "nothing was written" if self.folder is None else f"in {self.folder}"
        lines = [
            f"audit {plan.identity[:16]} {where}",
            ", ".join(numbers),
            str(self.estimate),
        ]
        lines += [_precise(self.power, plan)] if self.power else []
        return "\n".join([*lines, *(f"warning: {one}" for one in self.told)])


def plan(
    models: Any,
    items: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    methods: Any = "grad-cam",
    target: Any = None,
    labels: Any = None,
    metadata: Any = None,
    card: Any = None,
    metrics: Any = "standard",
    analyses: Any = "standard",
    sample: int | None = 2000,
    seed: int = 0,
    shard_seconds: float = 45.0,
    shard_rows: int | None = None,
    planted: int = 0,
    threads: int = 1,
    item_column: str | None = None,
    root: str | None = None,
    max_queries: int | None = None,
    dry_run: bool = False,
) -> Planned:
    """Write down what an audit will do, so that whoever runs it, and how often, gets the same bits.

    Every item is read and hashed once; lanes (model x method x target) are settled on a few trial items, and measured.
    Planning the same again into the same folder changes nothing; planning something else there is refused.

    Args:
        models: What ``xplain.load`` takes; several in a list; or by name, ``{"fp32": "a.onnx", "int8": "b.onnx"}``.
        items: A folder, a pattern, a table (``.csv``, ``.parquet``), WebDataset archives (``.tar``),
            ``datasets:NAME:SPLIT`` of Hugging Face, or arrays or pictures in a list or iterator, which are kept in
            the audit's folder.
        out: The audit's folder, or a URL such as ``s3://bucket/audit``; None for a dry run.
        methods: ``"grad-cam"``, ``"rise:samples=500"``, several, or name to options.
        target: None for the predicted class, ``"label"``, ``"runner-up"``, ``"top3"`` (a lane for each), a class, a
            target in words; or several.
        labels: ``"folders"`` (``"top-folder"`` or ``"parent-folder"`` where they lie deeper), ``"column:NAME"`` of the
            items' table, a ``.csv`` of names and labels, name to label, or labels in order. None for those that the
            items bring: the column ``label`` of a table, ``.cls`` of an archive. Labels that a model does not know
            are kept, and told.
        metadata: A ``.csv`` of names and further columns, which may have gaps.
        card: How pictures become tensors, for models that do not say.
        metrics: ``"standard"``, names, or name to options; empty for none.
        analyses: What ``xplain.audit.analyse`` asks where nothing else is said: ``"standard"`` for all, or names.
        sample: Items that metrics are asked for, drawn by class; None for all.
        seed: Root of all draws.
        shard_seconds: How long a shard should take here: what a kill loses at most.
        shard_rows: Items of a shard; None to choose by the trial. State it to plan the same audit on another machine.
        planted: Items that are marked as a control, to measure what the analyses can find.
        threads: Threads of one model.
        item_column: Which column of a table names or holds the items.
        root: What names in a table are relative to; None for its folder.
        max_queries: Evaluations that this audit may ask for in all, from the first trial item on: planning stops, also
            in a rehearsal, where settling its lanes would ask for more, and is refused where the estimate lies above
            it; a run begins no shard that could. None for no limit.
        dry_run: Write nothing.

    Returns:
        The plan with its cost, its precision, and what must be known of it.

    Raises:
        UsageError: something cannot be planned, or the folder holds another audit; the message says what differs.
        BudgetError: more would be asked than ``max_queries``.
        OutputError: the folder cannot be written.
    """
    if out is None and not dry_run:
        where_to, dry = option("out", python="'AUDIT'", shell="FOLDER"), option("dry_run", True)
        raise UsageError("It is not said where the audit is kept. Give ", where_to, ", or ", dry, ".")
    wanted = Wanted(
        methods, target, labels, metadata, card, metrics, analyses, sample, seed, shard_seconds, shard_rows, planted,
        threads, item_column, root, max_queries,
    )  # fmt: skip
    budget = Budget(max_queries)
    given = models_of(models, wanted.card)
    asked, rules = methods_of(wanted.methods), targets_of(wanted.target)
    with planned_in("." if out is None else out, dry_run) as folder, building_in(folder, dry_run) as building:
        column = column_of(wanted.labels)
        source = source_of(items, building, item_column=wanted.item_column, label_column=column, root=wanted.root)
        beside = joined(wanted.labels, wanted.metadata)
        listed = write_items(source, beside, building / "items.parquet", building / "places.parquet")
        data = Data(building, source)
        settled = [_settled(one, asked, rules, data, wanted, listed, budget) for one in given]
        estimate = Estimate(
            listed.count,
            tuple(cost for one in settled for cost in one.costs),
            sum(one.reading for one in settled),
            next((one.currency for one in settled if one.currency), ""),
        )
        refuse_too_many(max_queries, budget.spent, estimate.asked)
        made = _plan(settled, listed, source, data, wanted, beside.says)
        made = replace(made, shard_rows=_shard_rows(made, wanted, estimate, folder))
        numbers = made.grading.sample
        power = sampled(_labels(data), numbers)[1] if made.grading.names and numbers is not None else ()
        told = (*remarks(listed, made, settled), *listed.told)
        if not dry_run:
            where = Where(source.recipe(), {one.given.name: one.given.where for one in settled})
            keep(building, folder, made, where, [one.files for one in settled], estimate, os.fspath(out or ""))
            Allowed(max_queries, budget.spent).write(folder)
    place = None if dry_run or out is None else out if isinstance(out, str) and is_far(out) else Path(out)
    return Planned(made, place, estimate, power, told)


@dataclass(frozen=True)
class _Settled:
    """A model with its lanes, and what was found of them."""

    given: Given
    facts: ModelFacts
    lanes: tuple[Lane, ...]
    files: Mapping[str, bytes]
    costs: tuple[LaneCost, ...]
    reading: float
    trial: Trial
    currency: str = ""


def _settled(
    given: Given,
    asked: Sequence[Asked],
    rules: Sequence[Any],
    data: Data,
    wanted: Wanted,
    listed: Listed,
    budget: Budget,
) -> _Settled:
    """A model's lanes, each settled on trial items, counted, and measured where that costs neither money nor budget."""
    model = given.open(wanted.threads)
    start = time.perf_counter()
    trial = trial_items(data, model)
    reading = (time.perf_counter() - start) / trial.looked
    lanes, files, costs = [], {}, []
    price = abilities_of(model).price
    for one in asked:
        for rule in rules:
            try:
                lane, content = _lane(given, model, trial.items, one, rule, wanted, budget)
            except XplainError as error:
                error.add_note(f"while planning method {one.method!r} on model {given.name!r}")
                raise
            evaluations, sweeps, money = counts(model, trial.items, lane)
            free = price is None and wanted.max_queries is None
            took = measured(lane, model, content, trial.items) if free or lane.engine == "graph" else None
            costs.append(LaneCost(lane.name, evaluations, sweeps, money, took, lane.engine, lane.why))
            lanes.append(lane)
            if content is not None:
                files[lane.file] = content
    facts = facts_of(given, model, trial.items, listed.labels, lanes[0].classes)
    return _Settled(
        given, facts, tuple(lanes), files, tuple(costs), reading, trial, "" if price is None else price.currency
    )


def _lane(
    given: Given, model: Model, items: Items, one: Asked, rule: Any, wanted: Wanted, budget: Budget
) -> tuple[Lane, bytes | None]:
    """A lane with every choice made, and the compiled file where there is one."""
    how: dict[str, Any] = {"seed": wanted.seed, "threads": wanted.threads, "budget": budget}
    options = _read(one)
    lane, content = settle(model, items, one.method, options, called=given.name, target=rule, **how)
    if items.card is not None:  # the names of a thousand classes stand once in the plan, with the model
        lane = replace(lane, card=items.card.to_toml(labels=False))
    return lane, content


def _read(one: Asked) -> dict[str, Any]:
    """Options in their own types, so that ``samples=40`` and ``--method rise:samples=40`` are one plan."""
    values = called(one.method).read_options(dict(one.options))
    plain = (bool, int, float, str, type(None))
    return {name: values[name] if isinstance(values.get(name), plain) else told for name, told in one.options.items()}


def _plan(settled: Sequence[_Settled], listed: Listed, source: Source, data: Data, wanted: Wanted, says: str) -> Plan:
    lanes = tuple(lane for one in settled for lane in one.lanes)
    names = [lane.name for lane in lanes]
    if len(set(names)) < len(names):
        raise UsageError(f"Lanes are known by their names, and some stand twice: {', '.join(names)[:300]}.")
    chosen, options = judges(wanted.metrics)
    sample: tuple[int, ...] | None = ()
    if chosen and wanted.sample != 0:
        every = wanted.sample is None or wanted.sample >= listed.count
        sample = None if every else sampled(_labels(data), wanted.sample, wanted.seed)[0]
    made = Plan(
        ItemFacts(listed.sha256, listed.count, source.kind, says or ("its own" if listed.labels else "")),
        tuple(one.facts for one in settled),
        lanes,
        Grading(chosen if sample != () else (), sample, options),
        _analyses(wanted.analyses),
        wanted.planted,
        wanted.seed,
        1,
        wanted.threads,
        versions_now(one.facts.kind for one in settled),
    )
    try:
        made.to_json()
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"An option has a value that cannot be written down ({error}); accepted in an audit: texts, numbers, truth "
            "values and lists of them."
        ) from None
    return made


def _shard_rows(made: Plan, wanted: Wanted, estimate: Estimate, folder: Path) -> int:
    """Items of a shard: as stated, as an earlier plan in the folder has it, or by the trial."""
    if wanted.shard_rows is not None:
        return wanted.shard_rows
    if there(folder / "plan.json") == "file":  # a trial never takes equally long twice
        with contextlib.suppress(UsageError):
            return planned_audit(folder).shard_rows
    return shard_rows(estimate, made.lanes, wanted.shard_seconds)


def _labels(data: Data) -> Any:
    """Labels of all items; their number where none has one."""
    labels = read_parquet(data.table.path, ["label"])["label"]
    return len(labels) if labels.null_count == len(labels) else labels.to_pylist()


def _whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise UsageError(option=name, got=value, accepted=f"a whole number of at least {least}")


def _analyses(given: Any) -> tuple[str, ...]:
    """The analyses that are meant, by name; ``standard`` alone stands for all."""
    several = given.split(",") if isinstance(given, str) else () if given is None else given
    if not isinstance(several, Sequence) or not all(isinstance(one, str) for one in several):
        raise UsageError(option="analyses", got=given, accepted=f"standard, {', '.join(ANALYSES)}")
    names = tuple(one.strip() for one in several if one.strip())
    for name in names:
        if name not in (*ANALYSES, "standard"):
            raise unknown("analysis", name, ["standard", *ANALYSES])
    return ("standard",) if "standard" in names else names


def _precise(power: Sequence[Precision], plan: Plan) -> str:
    whole, worst = power[0], power[-1] if len(power) < 2 else power[1]
    told = (
        f"  metrics ({', '.join(plan.grading.names)}) of {whole.items:,} items: a share of all is known to "
        f"{100 * whole.share:.2g} points"
    )
    return (
        told if worst is whole else f"{told}, of class {worst.group!r} ({worst.items} items) to {100 * worst.share:.2g}"
    )
