"""Sentences of a report that follow from the plan: what was asked, what it was made of, what it cannot say."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from xplain.audit.plans.plan import ModelFacts, Plan, TruthFacts
from xplain.core.keeping.plain import brief_layer, counted
from xplain.core.lane import PREDICTED, Lane
from xplain.report.audit.told import Fact, Table, Trial

__all__ = ["asked", "cannot", "provenance"]


def asked(plan: Plan) -> tuple[Fact, ...]:
    """What was asked, in words."""
    items = plan.items
    methods = ", ".join(dict.fromkeys(f"{lane.method}{_options(lane.options)}" for lane in plan.lanes))
    sample = plan.grading.sample
    share = "all items" if sample is None else f"a sample of {counted(len(sample), 'item')}, drawn by the plan's seed"
    metrics = f"{', '.join(plan.grading.names)}, on {share}" if plan.grading.names else "none"
    facts = [
        Fact("Question", "On what do these models base their answers, and are the explanations true to the models?"),
        Fact("Items", f"{items.count:,}, {_article(items.kind)}"),
        Fact("Labels", {"": "none", "its own": "those that the data states"}.get(items.labels, items.labels)),
        Fact("Models", "; ".join(f"{one.name} ({one.kind})" for one in plan.models)),
        Fact("Methods", methods),
        Fact("What is explained", ", ".join(dict.fromkeys(_explained_class(lane.target) for lane in plan.lanes))),
        Fact("Metrics", metrics),
        *([] if plan.truth is None else [Fact("Compared with", _compared(plan.truth))]),
        Fact("Analyses", "all" if "standard" in plan.analyses else ", ".join(plan.analyses) or "none"),
    ]
    if plan.planted:
        facts.append(
            Fact(
                "Planted control",
                f"copies of {counted(plan.planted, 'item')} are to carry a mark of the audit's own while shortcuts "
                "are looked for; the findings of kind control say how many did, and whether they were found",
            )
        )
    unknown = {label: count for model in plan.models for label, count in model.unknown.items()}
    if unknown:
        some = ", ".join(f"{label} ({count:,})" for label, count in list(unknown.items())[:8])
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        facts.append(Fact("Unknown labels", f"{some}{more}", "Items with them count neither as right nor as wrong."))
    return tuple(facts)


def _compared(truth: TruthFacts) -> str:
    """What maps are compared with, in words."""
    known = f"{truth.says}, known of {counted(truth.states.get('known', 0), 'item')}"
    return f"{known}; {', '.join(truth.names)}, on {len(truth.sample):,} of them" if truth.names else known


def _explained_class(target: Any) -> str:
    """A lane's target for a person who did not write it."""
    said = {PREDICTED: "of each item the class that the model answers", "label": "of each item the class of its label"}
    return said.get(str(target), "of each item the second class" if target == "runner-up" else str(target))


def _article(kind: str) -> str:
    own = {
        "rows": "rows of a table, kept in the audit's folder",
        "texts": "texts, kept in the audit's folder",
        "series": "series that were columns of a table, kept in the audit's folder",
        "npy": "rows of one array",
    }
    other = {"arrays": "from arrays", "datasets": "from a data set of Hugging Face's library"}
    return {**own, **other}.get(kind, f"from a {kind}")


def _options(options: Mapping[str, Any]) -> str:
    brief = {name: brief_layer(value) if isinstance(value, str) else value for name, value in options.items()}
    told = ", ".join(f"{name}={value}" for name, value in brief.items())
    return f" ({told})" if told else ""


def provenance(plan: Plan, root: str, sealed: int, of: int) -> tuple[Fact, ...]:
    """Digests and versions."""
    facts = [
        Fact("Root hash", root, "plan, items and seals in order"),
        Fact("Plan, sha256", plan.identity, "every choice that decides the results"),
        Fact("Items, sha256", plan.items.sha256, "names, digests, labels and metadata of all items"),
        Fact("Seals", f"{sealed:,} of {of:,} shards of {plan.shard_rows:,} items"),
    ]
    for model in plan.models:
        unknown = "" if model.sha256 else "a function or an endpoint: nothing holds it to its content"
        facts.append(Fact(f"Model {model.name}, sha256", model.sha256 or "not known", unknown))
        if model.card is not None:
            facts.append(Fact(f"Preprocessing of {model.name}", json.dumps(dict(model.card), sort_keys=True)))
        if model.provider:
            facts.append(Fact(f"{model.name} is run by", model.provider))
        facts.append(Fact(f"Scores of {model.name}", ", ".join(f"{k} {v}" for k, v in model.scores.items())))
    for lane in plan.lanes:
        how = f"compiled file {lane.file}" if lane.file else "asked through the engine"
        facts.append(Fact(f"Lane {lane.name}", f"{how}; batches of {lane.rows}{_options(lane.options)}"))
    versions = ", ".join(f"{name} {version}" for name, version in sorted(plan.versions.items()))
    return (
        *facts,
        Fact("Seed", str(plan.seed), "every item draws from a seed of its own, which follows from it and the item"),
        Fact("Threads", f"{plan.threads} per model"),
        Fact("Versions", versions or "not recorded"),
    )


def cannot(
    plan: Plan,
    lanes: Table,
    tests: Sequence[Trial],
    partial: str,
    analysed: bool,
    left: Sequence[str],
    mapped: Mapping[str, int],
) -> tuple[str, ...]:
    """What this report cannot say, as far as it follows from how the audit was made."""
    said = []
    if partial:
        said.append("The audit is not whole: classes, groups and rare cases may be missing altogether.")
    if not analysed:
        said.append("Whether there are shortcuts, drift, leaks or wrong labels: no analysis was run.")
    if all(row[7] is None for row in lanes.rows):
        said.append("How often the models are right: no item has a label that a model knows.")
    for model in plan.models:
        if model.items == "rows":
            said.append(
                f"What columns of {model.name} do together: a value is a column's own share. Hidden columns "
                "became what is typical of the reference rows; of others values differ, and hidden columns need not "
                "go together with those that stay."
            )
        elif model.items == "texts":
            said.append(
                f"What a text means to {model.name} without its words: a text with words taken away may be none that "
                "anybody would write, and the model need not have met such."
            )
    said += [_resolution(plan, lane.name) for lane in plan.lanes if _resolution(plan, lane.name)]
    if not tests:
        said.append("Whether the explanations are true to the models: no metric was computed.")
    elif plan.grading.sample is not None:
        count = len(plan.grading.sample)
        said.append(
            f"Metrics are of a sample of {counted(count, 'item')}: of a class with few of them they say little, and "
            "means are over the sample, not weighted to all items."
        )
    if plan.truth is not None and plan.truth.names:
        said += _of_truth(plan.truth, plan.items.count)
    failed = [one for one in tests if one.passed is False]
    if failed:
        which = ", ".join(dict.fromkeys(f"{one.metric} of {one.lane}" for one in failed))
        said.append(f"Explanations that did not pass a test ({which}) should not be relied on for what that test asks.")
    if not plan.planted:
        said.append("How small a shortcut these analyses would have found: no control was planted.")
    if any(not model.sha256 for model in plan.models):
        said.append("That a model given as a function or an endpoint stayed the same: it has no digest.")
    said += [f"Groups by {reason}" for reason in left]
    said += [
        f"Mean maps of {name} are of the first {count:,} items alone, in the order of names."
        for name, count in mapped.items()
        if 0 < count < _explained(lanes, name)
    ]
    return tuple(dict.fromkeys(said))


def _of_truth(truth: TruthFacts, count: int) -> list[str]:
    """What a comparison with boxes or masks cannot say."""
    what = "Whether a model is right to look where a box or mask is: these say where an object lies, not why it should "
    said = [f"{what}be decided. A model that is right for another reason scores low, and so does a map that shows it."]
    rest = count - truth.states.get("known", 0)
    if rest:
        said.append(
            f"Whether maps lie where they should in {counted(rest, 'item')}: nothing that can be compared is known."
        )
    return said


def _explained(lanes: Table, name: str) -> int:
    return next((int(row[5]) - int(row[6]) for row in lanes.rows if row[0] == name), 0)


def _resolution(plan: Plan, name: str) -> str:
    lane = plan.lane(name)
    model = plan.model(lane.model)
    place = [k for k, axis in enumerate(model.layout.removeprefix("N")) if axis in "HW"]
    if lane.is_series and not model.door:
        return _of_time(lane, model)
    if len(lane.native_shape) != 2 or len(place) != 2 or max(place) >= len(model.item_shape):
        return ""
    sizes = [model.item_shape[k] / cells for k, cells in zip(place, lane.native_shape, strict=True)]
    if max(sizes) < 2:
        return ""
    cells = " x ".join(map(str, lane.native_shape))
    return f"{lane.method} sees {cells} cells: nothing smaller than {max(sizes):.0f} pixels of the input can be placed."


def _of_time(lane: Lane, model: ModelFacts) -> str:
    """The same of a series: how short what can be placed may be."""
    moments = model.item_shape[lane.layout.index("T") - 1]
    each = moments / lane.native_shape[lane.map_axes.index("T")]
    if each < 2:
        return ""
    step = model.axes.step
    long = f"{each:.0f} moments" if step is None else f"{each * step:.3g} s"
    cells = counted(lane.native_shape[lane.map_axes.index("T")], "stretch", "stretches")
    return f"{lane.method} sees {cells} of time: nothing shorter than {long} can be placed."
