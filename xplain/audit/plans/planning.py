"""``xplain.audit.plan``: items are listed and hashed, lanes settled on trial items, and everything written down."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xplain.audit.plans.asked import Asked, methods_of, targets_of
from xplain.audit.plans.budgeting import ANSWERS, Allowed, Purse, refuse_too_many
from xplain.audit.plans.building import building_in, keep
from xplain.audit.plans.comparing import asked_of_truth, truth_facts
from xplain.audit.plans.costing import analyses_cost, graded_seconds, grades_of
from xplain.audit.plans.doors import asked_door
from xplain.audit.plans.entering import entered_items, entered_series, through
from xplain.audit.plans.estimate import Estimate, GradeCost, LaneCost, counts, measured, shard_rows
from xplain.audit.plans.failing import refuse_broken
from xplain.audit.plans.items import Listed, write_items
from xplain.audit.plans.labels import column_of, joined
from xplain.audit.plans.models import Given, billed, facts_of, models_of
from xplain.audit.plans.plan import ANALYSES, Grading, ItemFacts, ModelFacts, Plan
from xplain.audit.plans.planned import Planned, Wanted
from xplain.audit.plans.remarks import remarks
from xplain.audit.plans.sampling import judges, sampled, without_sets
from xplain.audit.plans.trial import Trial, trial_items
from xplain.audit.plans.truths import TRUTH, write_truths
from xplain.audit.shards.guarding import planned_audit, versions_now
from xplain.audit.shards.reading import Data
from xplain.audit.sources import Source, source_of
from xplain.audit.stores.far import is_far, local
from xplain.audit.stores.home import planned_in
from xplain.audit.stores.schema import read_parquet
from xplain.audit.stores.where import Where
from xplain.core.abilities import abilities_of
from xplain.core.declaring.wording import option
from xplain.core.errors import UsageError, XplainError, unknown
from xplain.core.keeping.files import there
from xplain.core.lane import Lane
from xplain.core.query import Model
from xplain.session import called
from xplain.session.lanes.lane import Budget
from xplain.session.lanes.lane import planned as settle
from xplain.session.truths.meant import unknown_labels

__all__ = ["Planned", "Wanted", "plan"]


def plan(
    models: Any,
    items: Any,
    *,
    out: str | os.PathLike[str] | None = None,
    methods: Any = None,
    target: Any = None,
    labels: Any = None,
    metadata: Any = None,
    card: Any = None,
    metrics: Any = "cheap",
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
    rows: Any = None,
    texts: Any = None,
    series: Any = None,
    batch_size: int | None = None,
    truth: Any = None,
    most_errors: float = 0.5,
    dry_run: bool = False,
) -> Planned:
    """Write down what an audit will do, so that whoever runs it, and how often, gets the same bits.

    Every item is read and hashed once; lanes (model x method x target) are settled on a few trial items, and measured.
    Planning the same again into the same folder changes nothing; planning something else there is refused.

    Args:
        models: What ``xplain.load`` takes; several in a list; or by name, ``{"fp32": "a.onnx", "int8": "b.onnx"}``.
        items: A folder, a pattern, a table (``.csv``, ``.parquet``), WebDataset archives (``.tar``),
            ``datasets:NAME:SPLIT`` of Hugging Face, one ``.npy`` file whose rows are items, or arrays or pictures in a
            list or iterator, which are kept in the audit's folder. With ``rows``, ``texts`` or ``series`` also a
            ``DataFrame``, columns by name, or a list of texts.
        out: The audit's folder, or a URL such as ``s3://bucket/audit``; None for a dry run.
        methods: ``"grad-cam"``, ``"rise:samples=500"``, several, or name to options. None: grad-cam, of rows and texts
            kernel-shap.
        target: None for the predicted class, ``"label"``, ``"runner-up"``, ``"top3"`` (a lane for each), a class, a
            target in words; or several.
        labels: ``"folders"`` (``"top-folder"`` or ``"parent-folder"`` where they lie deeper), ``"column:NAME"`` of the
            items' table, a ``.csv`` of names and labels, name to label, or labels in order. None for those that the
            items bring: the column ``label`` of a table, ``.cls`` of an archive. Labels that a model does not know
            are kept, and told.
        metadata: A ``.csv`` of names and further columns, which may have gaps.
        card: How pictures become tensors, for models that do not say.
        metrics: ``"cheap"`` (what reads a map alone, and deletion and insertion in 8 steps), ``"standard"`` (in 32
            steps, and ROAD), names, or name to options; empty for none. The plan says what each costs.
        analyses: What ``xplain.audit.analyse`` asks where nothing else is said: ``"standard"`` for all, or names.
        sample: Items that metrics are asked for, drawn by class; None for all.
        seed: Root of all draws.
        shard_seconds: How long a shard should take here: what a kill loses at most.
        shard_rows: Items of a shard; None to choose by the trial. State it to plan the same audit on another machine.
        planted: Pictures of which copies are marked as a control while shortcuts are looked for, to measure what can
            be found.
        threads: Threads of one model.
        item_column: Which column of a table names or holds the items.
        root: What names in a table are relative to; None for its folder.
        max_queries: Evaluations that this audit may ask for in all, from the first trial item on: planning stops, also
            in a rehearsal, where settling its lanes would ask for more, and is refused where the estimate lies above
            it; a run begins no shard that could. None for no limit.
        rows: True where each row of the table is an item; or with ``columns`` (those that the models take, in their
            order), ``background`` (typical rows, a table or its file; else 100 rows of the items that the seed draws),
            ``hidden`` (what a hidden column becomes, by column) and ``scores`` (of an estimator).
        texts: The column whose texts are items; or with ``column``, ``tokenizer``, ``split``, ``mask`` and ``longest``
            (features of a text at most, 512), as ``xplain.text`` takes them.
        series: Columns of the table of which each row is one series, a column per moment: ``"t*"``, or names; one such
            text for each channel, in a list or with ``;`` between.
        batch_size: Rows of a model call, at most; None chooses, by the cores that are here. It stands in the plan.
        truth: What is known to be in the items, in pixels of their files: a ``.csv`` of boxes, COCO's ``.json``, a
            folder of masks or of Pascal VOC's ``.xml`` named as the items, ``column:NAME`` of the items' table, or
            boxes and masks in order or by name. Where given, metrics of ``"localisation"`` compare maps with it.
        most_errors: Share of rows that may fail. Planning is refused where more of the items tried, at most 64 spread
            over all, cannot be used; a run to which nothing else is said stops where more of its rows failed.
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
        threads, item_column, root, max_queries, rows, texts, series, batch_size, truth, most_errors,
    )  # fmt: skip
    asked_of_truth(wanted.metrics, wanted.truth is not None)  # what is wrong with them is said before anything is read
    budget = Budget(max_queries)
    given = models_of(models, wanted.card)
    door = asked_door(wanted.rows, wanted.texts, [one.source for one in given])
    usual = "grad-cam" if door is None else "kernel-shap"
    asked, rules = methods_of(usual if wanted.methods is None else wanted.methods), targets_of(wanted.target)
    with planned_in("." if out is None else out, dry_run) as folder, building_in(folder, dry_run) as building:
        column = column_of(wanted.labels)
        how = {"item_column": wanted.item_column, "label_column": column}
        if wanted.series is not None:
            source = entered_series(items, wanted.series, door, building, given[0], **how)
        elif door is None:
            source = source_of(items, building, root=wanted.root, rank=given[0].rank, **how)
        else:
            source, door = entered_items(items, door, building, given, **how)
        beside = joined(wanted.labels, wanted.metadata)
        listed = write_items(source, beside, building / "items.parquet", building / "places.parquet")
        data = Data(building, source)
        given = given if door is None else through(given, door, data, wanted.seed)
        purse = Purse(budget, None if dry_run else folder / ANSWERS)
        settled = [_settled(one, asked, rules, data, wanted, listed, purse) for one in given]
        made = _plan(settled, listed, source, data, wanted, beside.says)
        made, known = _with_truth(made, wanted, data, source, settled, building / TRUTH)
        estimate = _estimate(settled, made, listed)
        refuse_too_many(max_queries, budget.spent, estimate.asked)
        made = replace(made, shard_rows=_shard_rows(made, wanted, estimate, folder))
        numbers = made.grading.sample
        power = sampled(_labels(data), numbers)[1] if made.grading.names and numbers is not None else ()
        told = (*remarks(listed, made, settled), *listed.told, *known)
        if not dry_run:
            where = Where(source.recipe(), {one.given.name: one.given.where for one in settled})
            keep(building, folder, made, where, [one.files for one in settled], estimate, os.fspath(out or ""))
            Allowed(max_queries, budget.spent, most_errors).write(folder)
    place = None if dry_run or out is None else out if isinstance(out, str) and is_far(out) else local(out)
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
    model: Model
    grades: tuple[GradeCost, ...] = ()
    grading: float | None = None
    left: Mapping[str, str] = field(default_factory=dict)
    doubtful: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    currency: str = ""


def _settled(
    given: Given,
    asked: Sequence[Asked],
    rules: Sequence[Any],
    data: Data,
    wanted: Wanted,
    listed: Listed,
    purse: Purse,
) -> _Settled:
    """A model's lanes, each settled on trial items, counted, and measured where that costs neither money nor budget."""
    model = given.open(wanted.threads)
    start = time.perf_counter()
    trial = trial_items(data, model, given.door.get("kind", ""))
    reading = (time.perf_counter() - start) / trial.looked
    refuse_broken(trial, listed.count, given.name, wanted.most_errors)
    lanes, files, costs = [], {}, []
    price = abilities_of(model).price
    free = price is None and wanted.max_queries is None
    for one in asked:
        for rule in rules:
            try:
                lane, content = _lane(given, model, trial, one, rule, wanted, purse)
            except XplainError as error:
                error.add_note(f"while planning method {one.method!r} on model {given.name!r}")
                raise
            evaluations, sweeps, money = counts(model, trial, lane)
            took = measured(lane, model, content, trial) if free or lane.engine == "graph" else None
            costs.append(LaneCost(lane.name, evaluations, sweeps, money, took, lane.engine, lane.why))
            lanes.append(lane)
            if content is not None:
                files[lane.file] = content
    facts = facts_of(given, model, trial.items, listed.labels, lanes[0])
    metrics = _metrics(wanted)
    grades, whys = grades_of(model, trial, lanes, metrics)
    metrics = {name: told for name, told in metrics.items() if name not in whys}
    timed = [graded_seconds(model, trial, lane, metrics) if free else None for lane in lanes]
    seconds = sum(one for one in timed if one is not None) if metrics and None not in timed else None
    doubtful = {label: tuple(found) for label in facts.unknown if len(found := model.outline.label_indices(label)) > 1}
    currency = "" if price is None else price.currency
    return _Settled(
        given, facts, tuple(lanes), files, tuple(costs), reading, trial, model, tuple(grades), seconds, whys, doubtful,
        currency,
    )  # fmt: skip


def _with_truth(
    made: Plan, wanted: Wanted, data: Data, source: Source, settled: Sequence[_Settled], path: Path
) -> tuple[Plan, list[str]]:
    """The plan with what is known of the items, written to ``path``, and what must be known of it."""
    if wanted.truth is None:
        return made, []
    written = write_truths(wanted.truth, data, source.recipe(), made.models[0], path)
    names, labels = asked_of_truth(wanted.metrics, True)[1], _labels(data)
    models = [(one.given.name, one.model, one.lanes[0]) for one in settled]
    facts = truth_facts(written, names, labels, wanted.sample, wanted.seed, models)
    told = [
        said
        for one in made.models
        for said in unknown_labels(facts.classes.get(one.name, {}), written.labels, one.name)
    ]
    return replace(made, truth=facts), [*written.told, *told]


def _metrics(wanted: Wanted) -> dict[str, Mapping[str, Any]]:
    """Metrics with their options, without those that compare with a truth; none where no item is sampled."""
    names, _, options = asked_of_truth(wanted.metrics, wanted.truth is not None)
    return {} if wanted.sample == 0 else {name: options.get(name, {}) for name in names}


def _estimate(settled: Sequence[_Settled], made: Plan, listed: Listed) -> Estimate:
    """What all of it takes."""
    costs = tuple(cost for one in settled for cost in one.costs)
    meant = ANALYSES if "standard" in made.analyses else made.analyses
    models = [(one.facts, one.lanes, one.model) for one in settled]
    sample = made.grading.sample
    sampled = 0 if not made.grading.names else listed.count if sample is None else len(sample)
    took = [one.grading for one in settled]
    return Estimate(
        listed.count,
        costs,
        sum(one.reading for one in settled),
        next((one.currency for one in settled if one.currency), ""),
        sampled,
        tuple(g for one in settled for g in one.grades if g.metric in made.grading.names) if sampled else (),
        sum(one for one in took if one is not None) if sampled and None not in took else None,
        analyses_cost(meant, models, listed.labels, listed.count, costs, made.planted),
    )


def _lane(
    given: Given, model: Model, trial: Trial, one: Asked, rule: Any, wanted: Wanted, purse: Purse
) -> tuple[Lane, bytes | None]:
    """A lane with every choice made, and the compiled file where there is one."""
    items = trial.items
    how: dict[str, Any] = {"seed": wanted.seed, "threads": wanted.threads, "budget": purse.budget}
    how["cache"] = purse.answers if billed(model) else None  # a run finds what was paid for here
    how |= {"batch_size": wanted.batch_size}
    how |= {"given": trial.given, "longest": given.door.get("features")} if given.door else {}
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
    chosen, options = _chosen(wanted, settled)
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


def _chosen(wanted: Wanted, settled: Sequence[_Settled]) -> tuple[tuple[str, ...], dict[str, dict[str, Any]]]:
    """The metrics, without those of a set that cannot be asked of such items.

    Raises:
        UsageError: one that was named cannot be asked.
    """
    names, compare, options = asked_of_truth(wanted.metrics, wanted.truth is not None)
    left = {name: why for one in settled for name, why in one.left.items()}
    named = wanted.metrics if isinstance(wanted.metrics, Mapping) else [*judges(without_sets(wanted.metrics))[0]]
    for name, why in left.items():
        if name in named:
            raise UsageError(f"Metric {name!r} cannot be asked of these items: {why}", option="metrics")
    kept = tuple(name for name in names if name not in left)
    return kept, {name: told for name, told in options.items() if name in (*kept, *compare)}


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
