"""``xplain audit plan``: what an audit will do and cost, written down once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from xplain import audit
from xplain.audit.plans.asked import read_toml
from xplain.audit.plans.planning import Planned
from xplain.cli.asking.loading import Opening
from xplain.cli.asking.reading import pair
from xplain.cli.asking.tables import labels_of
from xplain.cli.telling.console import Outcome
from xplain.core.errors import UsageError
from xplain.core.keeping.files import there

__all__ = ["plan"]

_MODELS, _ITEMS, _ASKED = "Models", "Items", "What is asked"


def _flag(*names: str, text: str, panel: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, show_default=False)


Several = list[str] | None


def plan(
    shell: typer.Context,
    opening: Opening,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... ITEMS",
            help="Models (FILE or NAME=FILE), then a folder, pattern, table, archive or datasets:NAME:SPLIT; or an "
            "audit.toml alone.",
            show_default=False,
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", help="The audit's folder, made if it is absent; or a URL.", show_default=False),
    ] = None,
    method: Annotated[
        Several,
        _flag(
            "--method",
            "-m",
            text="A method; repeat for several. Default: grad-cam; of rows and texts kernel-shap.",
            panel=_ASKED,
            metavar="NAME:OPTION=VALUE,...",
        ),
    ] = None,
    target: Annotated[
        Several,
        _flag(
            "--target",
            "-t",
            panel=_ASKED,
            text="predicted (default), label, runner-up, top3, a class, or words; repeat for several.",
        ),
    ] = None,
    metrics: Annotated[
        Several,
        _flag(
            "--metrics",
            "--metric",
            text="cheap (default), standard, localisation, names such as deletion:steps=8 with commas, or none; repeat "
            "for several.",
            panel=_ASKED,
        ),
    ] = None,
    analyses: Annotated[
        str | None, _flag("--analyses", text="standard (default), or names with commas.", panel=_ASKED)
    ] = None,
    sample: Annotated[
        str | None,
        _flag("--sample", text="Items that metrics are asked for, drawn by class; all. Default: 2000.", panel=_ASKED),
    ] = None,
    planted: Annotated[
        int | None,
        _flag("--planted", text="Copies marked as a control, to measure what can be found.", panel=_ASKED),
    ] = None,
    seed: Annotated[int | None, _flag("--seed", text="Root of all randomness.", panel=_ASKED)] = None,
    labels: Annotated[
        str | None,
        _flag(
            "--labels",
            panel=_ITEMS,
            text="folders, top-folder, parent-folder, column:NAME, or a CSV of names and labels.",
        ),
    ] = None,
    truth: Annotated[
        str | None,
        _flag(
            "--truth",
            text="What is known to be there: a CSV of boxes, COCO's JSON, a folder of masks or of Pascal VOC's XML, or "
            "column:NAME.",
            panel=_ITEMS,
        ),
    ] = None,
    metadata: Annotated[
        str | None, _flag("--metadata", text="A CSV of names and further columns.", panel=_ITEMS, metavar="FILE")
    ] = None,
    rows: Annotated[
        bool, _flag("--rows", text="Each row of the table is an item, for a model of rows.", panel=_ITEMS)
    ] = False,
    columns: Annotated[
        str | None,
        _flag(
            "--columns", text="Of rows: those that the models take, in their order.", panel=_ITEMS, metavar="A,B,..."
        ),
    ] = None,
    background: Annotated[
        str | None,
        _flag(
            "--background",
            text="Of rows: typical ones, a table. Default: 100 of the items.",
            panel=_ITEMS,
            metavar="FILE",
        ),
    ] = None,
    texts: Annotated[
        str | None,
        _flag(
            "--texts",
            text="Column whose texts are items; with a folder of .txt files any word.",
            panel=_ITEMS,
            metavar="COLUMN",
        ),
    ] = None,
    tokenizer: Annotated[
        str | None, _flag("--tokenizer", text="Of texts: a tokenizer.json.", panel=_ITEMS, metavar="FILE")
    ] = None,
    mask: Annotated[
        str | None,
        _flag(
            "--mask",
            text="Of texts: what takes a hidden word's place, such as '\\[MASK]'; else it is deleted.",
            panel=_ITEMS,
        ),
    ] = None,
    longest: Annotated[
        int | None,
        _flag(
            "--longest",
            text="Of texts: features of one, at most; a longer one is an error row. Default: 512.",
            panel=_ITEMS,
        ),
    ] = None,
    hidden: Annotated[
        Several,
        _flag(
            "--hidden",
            text="Of rows: what a hidden column becomes; repeat for several.",
            panel=_ITEMS,
            metavar="COLUMN=VALUE",
        ),
    ] = None,
    split: Annotated[
        str | None,
        _flag("--split", text="Of texts: words (default), marks, sentences, characters, tokens, ids.", panel=_ITEMS),
    ] = None,
    series: Annotated[
        str | None,
        _flag(
            "--series",
            text="Each row of the table is a series: its columns, a pattern or names; channels with ; between.",
            panel=_ITEMS,
            metavar="'t*'",
        ),
    ] = None,
    item_column: Annotated[
        str | None, _flag("--item-column", text="Which column of a table names or holds the items.", panel=_ITEMS)
    ] = None,
    root: Annotated[
        str | None, _flag("--root", text="What names in a table are relative to. Default: its folder.", panel=_ITEMS)
    ] = None,
    card: Annotated[
        str | None, _flag("--card", text="How pictures become tensors: a preset or a file.", panel=_MODELS)
    ] = None,
    classes: Annotated[
        str | None, _flag("--classes", text="Class names, a,b,c or a file, where models have none.", panel=_MODELS)
    ] = None,
    threads: Annotated[int | None, _flag("--threads", text="Threads of one model. Default: 1.", panel=_MODELS)] = None,
    shard_seconds: Annotated[
        float | None, typer.Option(help="How long a shard should take: what a kill loses. Default: 45.")
    ] = None,
    shard_rows: Annotated[
        int | None, typer.Option(help="Items of a shard; state it to plan the same audit on another machine.")
    ] = None,
    batch_size: Annotated[
        int | None, _flag("--batch-size", text="Rows per model call, at most; stands in the plan.", panel=_ASKED)
    ] = None,
    max_queries: Annotated[
        int | None,
        typer.Option(help="Evaluations that this audit may ask for in all, planning it included.", show_default=False),
    ] = None,
    most_errors: Annotated[
        float | None,
        typer.Option(
            help="Share of rows that may fail: of the items tried now, and in a run. Default: 0.5.", show_default=False
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would be and cost; write nothing.")] = False,
) -> Outcome:
    """Write down what an audit of ITEMS by MODELs will do, and say what it will cost.

    Every item is read and hashed once; each lane (model, method, target) is settled and timed on a few of them.
    Planning the same again changes nothing; something else in the same folder is refused, with what differs.

    Raises:
        XplainError: something cannot be planned.
    """
    given: dict[str, Any] = {
        "out": out, "methods": method, "target": target, "metrics": metrics, "analyses": analyses, "planted": planted,
        "seed": seed, "labels": labels, "metadata": metadata, "item_column": item_column, "root": root, "card": card,
        "threads": threads, "shard_seconds": shard_seconds, "shard_rows": shard_rows, "max_queries": max_queries,
        "batch_size": batch_size, "series": series, "truth": truth, "most_errors": most_errors,
    }  # fmt: skip
    asked = {name: value for name, value in given.items() if value is not None and value != []}
    if sample is not None:
        asked["sample"] = None if sample == "all" else _number(sample)
    if "metrics" in asked:
        asked["metrics"] = ",".join(asked["metrics"])
    for name in ("metrics", "analyses"):
        if asked.get(name) == "none":
            asked[name] = ""
    if len(sources) == 1 and sources[0].lower().endswith(".toml"):
        asked = read_toml(Path(sources[0]), _WORDS) | asked
    elif len(sources) < 2:
        raise UsageError(f"Models and items are needed, and {sources[0]!r:.200} alone is given. Give MODEL ITEMS.")
    else:
        asked |= {"models": _models(sources[:-1], classes, opening), "items": sources[-1]}
    told = {"columns": columns, "background": background, "hidden": dict(pair(one) for one in hidden or ()) or None}
    read = {"column": texts, "tokenizer": tokenizer, "split": split, "mask": mask, "longest": longest}
    doors = _doors(rows, told, texts is not None, read)
    if doors and not (asked.get("rows") or asked.get("texts")):
        asked |= doors
    lacking = [name for name in ("models", "items") if name not in asked]
    if lacking:
        raise UsageError(f"{sources[0]} does not say: {' and '.join(lacking)}.")
    made = audit.plan(asked.pop("models"), asked.pop("items"), out=asked.pop("out", None), dry_run=dry_run, **asked)
    return Outcome({"command": shell.obj.line, **_document(made)}, str(made))


_WORDS = (
    "models", "items", "out", "methods", "target", "labels", "metadata", "card", "metrics", "analyses", "sample",
    "seed", "shard_seconds", "shard_rows", "planted", "threads", "item_column", "root", "rows", "texts",
    "max_queries", "series", "batch_size", "truth", "most_errors",
)  # fmt: skip


def _doors(rows: bool, of_rows: dict[str, Any], texts: bool, of_texts: dict[str, Any]) -> dict[str, Any]:
    """What is said of rows or texts, as ``xplain.audit.plan`` takes it."""
    found: dict[str, Any] = {}
    for name, said, meant in (("rows", rows, of_rows), ("texts", texts, of_texts)):
        given = {word: value for word, value in meant.items() if value is not None}
        if given and not said:
            flag = next(iter(given))
            raise UsageError(f"--{flag} is of {name}: give --{name}{' COLUMN' if name == 'texts' else ''} too.")
        if said:
            found[name] = given or True
    return found


def _models(words: list[str], classes: str | None, opening: Opening) -> dict[str, Any] | list[Any]:
    """Models as they are named: all with a name, or all called by their files; each is opened alike."""
    options: dict[str, Any] = {} if classes is None else {"classes": labels_of(classes)}

    def one(source: str) -> dict[str, Any]:
        return {"source": source, **opening.options("://" in source), **options}

    pairs = [word.partition("=") for word in words]
    if all(equals and name.isidentifier() and not there(f"{name}={rest}") for name, equals, rest in pairs):
        if len({name for name, _, _ in pairs}) < len(pairs):
            raise UsageError(f"Two models have one name: {' '.join(words)}. Give each its own.")
        return {name: one(source) for name, _, source in pairs}
    return [one(word) for word in words]


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(option="sample", got=text, accepted="a whole number of at least 0, or all") from None


def _document(made: Planned) -> dict[str, Any]:
    plan = made.plan
    lanes = [
        {"name": lane.name, "engine": lane.engine, "target": lane.target, "method": lane.method,
         "options": dict(lane.options), "map": list(lane.native_shape), "rows": lane.rows}
        for lane in plan.lanes
    ]  # fmt: skip
    power = [
        {"class": one.group, "items": one.items, "of": one.of, "share": _finite(one.share), "mean": _finite(one.mean)}
        for one in made.power
    ]
    return {
        "audit": plan.identity,
        "folder": None if made.folder is None else str(made.folder),
        "items": plan.items.count,
        "shards": len(plan.shards),
        "shard_rows": plan.shard_rows,
        "lanes": lanes,
        "metrics": list(plan.grading.names),
        "sample": None if plan.grading.sample is None else len(plan.grading.sample),
        "truth": None
        if plan.truth is None
        else {
            "says": plan.truth.says,
            "states": dict(plan.truth.states),
            "metrics": list(plan.truth.names),
            "sample": len(plan.truth.sample),
        },
        "power": power,
        "estimate": made.estimate.to_dict(),
        "warnings": list(made.told),
    }


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None
