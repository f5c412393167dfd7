"""An audit in the tools that a team has: TensorBoard, MLflow and FiftyOne, each by its own library.

A library is imported when it is asked for; without it the error says what to install. Numbers go out as they are, and
every export holds the root hash: the audit's folder stays the truth. DuckDB, pandas and Polars need no export, for
records are Parquet.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from xplain.audit.reports.readers import Reads, literal, quoted
from xplain.core.errors import MissingDependency, OutputError
from xplain.core.keeping.files import whole_file
from xplain.core.keeping.plain import counted
from xplain.render.canvas import image
from xplain.report.audit.told import Histogram, Table, Told

__all__ = ["EXPORTS", "export", "scalars"]

_PICTURES = 200
_ROWS = 1000
"""Items that are held at a time."""
_LONGEST = 240


def export(audit: Reads, told: Told, kind: str, to: Path, pictures: Callable[[int], Path | None]) -> str:
    """Write an audit for a tool; a sentence that says what is there and how to look at it.

    Args:
        audit: The audit.
        told: What its report says.
        kind: A name of ``EXPORTS``.
        to: The folder that is written into.
        pictures: Where the picture of an item lies as a file; None where it does not.

    Raises:
        MissingDependency: the tool's library is not installed.
        OutputError: the folder cannot be written.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        return EXPORTS[kind](audit, told, to, pictures)
    except OSError as error:
        if isinstance(error, OutputError):
            raise
        raise OutputError(f"Cannot write {str(to)[:300]}: {error.strerror or error}.") from None


def scalars(told: Told) -> dict[str, float]:
    """The numbers of a report by path: lanes' means, tests with their baselines, counts of findings."""
    found: dict[str, float] = {}
    for row in told.lanes.rows:
        found |= _row(told.lanes, row, f"lanes/{row[0]}")
    for one in told.tests:
        at = f"tests/{one.lane}/{one.metric}"
        found |= {f"{at}/explanation": one.value, **{f"{at}/{name}": mean for name, mean, *_ in one.baselines}}
    for standing in sorted({one.finding.standing for one in told.findings}):
        found[f"findings/{standing}"] = float(sum(one.finding.standing == standing for one in told.findings))
    return {name: value for name, value in found.items() if np.isfinite(value)}


def _row(table: Table, row: tuple[Any, ...], at: str) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for column, value in zip(table.columns, row, strict=True):
        if value is not None and column.form not in ("text", "digest", "map"):
            numbers[f"{at}/{column.name}"] = float(value[0] if column.form == "interval" else value)
    return numbers


def _library(module: str, what: str) -> Any:
    """A tool's library, or an error that says how to get it."""
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise MissingDependency(f"An export to {what} needs {package}: pip install {package}.") from None


# ------------------------------------------------------------------ TensorBoard


def _tensorboard(audit: Reads, told: Told, to: Path, _: Callable[[int], Path | None]) -> str:
    """Scalars, histograms and the worst items as one event file."""
    protos = _library("tensorboard.compat.proto.summary_pb2", "TensorBoard")
    events = import_module("tensorboard.compat.proto.event_pb2")
    writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter(str(to))
    value = protos.Summary.Value
    values = [value(tag=name, simple_value=number) for name, number in scalars(told).items()]
    values += [value(tag=f"{one.lane}/{one.name}", histo=_histogram(protos, one)) for one in told.histograms]
    shown = [(title, one) for title, some in told.worst for one in some if one.picture is not None]
    for title, one in shown[:_PICTURES]:
        assert one.picture is not None
        buffer = io.BytesIO()
        image(one.picture).save(buffer, "PNG")
        height, width = one.picture.shape[:2]
        picture = protos.Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=buffer.getvalue())
        values.append(value(tag=f"{title[:60]}/{one.name[-80:]}", image=picture))
    writer.add_event(events.Event(step=0, summary=protos.Summary(value=values)))
    writer.close()
    return f"{len(values)} values of root {audit.root[:16]}; look with: tensorboard --logdir {to}"


def _histogram(protos: Any, one: Histogram) -> Any:
    edges = np.linspace(one.low, one.high, len(one.counts) + 1)
    middles, counts = (edges[1:] + edges[:-1]) / 2, np.asarray(one.counts, np.float64)
    return protos.HistogramProto(
        min=one.low,
        max=one.high,
        num=counts.sum(),
        sum=(middles * counts).sum(),
        sum_squares=(middles**2 * counts).sum(),
        bucket_limit=edges[1:].tolist(),
        bucket=counts.tolist(),
    )


# ------------------------------------------------------------------ MLflow


def _mlflow(audit: Reads, told: Told, to: Path, _: Callable[[int], Path | None]) -> str:
    """A run with what was asked as parameters, numbers as metrics, and the JSON twin as artefact."""
    library = _library("mlflow", "MLflow")
    from xplain.report.audit import json_of

    uri = f"sqlite:///{to.absolute() / 'mlflow.db'}"
    client = library.MlflowClient(tracking_uri=uri)
    known = client.get_experiment_by_name("xplain-audit")
    place = (to.absolute() / "artifacts").as_uri()
    number = client.create_experiment("xplain-audit", place) if known is None else known.experiment_id
    run = client.create_run(number, run_name=told.title[:_LONGEST]).info.run_id
    for one in told.asked:
        client.log_param(run, _named(one.name), one.text[:_LONGEST])
    client.log_param(run, "root", audit.root)
    for name, value in scalars(told).items():
        client.log_metric(run, _named(name), value)
    client.log_text(run, json_of(told).decode(), "audit.json")
    client.set_terminated(run)
    return f"run {run} of root {audit.root[:16]}; look with: mlflow ui --backend-store-uri {uri}"


def _named(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in name)[:_LONGEST]


# ------------------------------------------------------------------ FiftyOne


def _fiftyone(audit: Reads, _: Told, to: Path, pictures: Callable[[int], Path | None]) -> str:
    """A folder that FiftyOne imports: a sample per item that is a file, with an answer per lane.

    Samples are made and put in words by the library; no database is needed to write them (``LegacyFiftyOneDataset``).
    """
    library = _library("fiftyone", "FiftyOne")
    name = f"xplain-{audit.root[:16]}"
    info = {"root": audit.root, "lanes": [lane.name for lane in audit.plan.lanes]}
    with whole_file(to / "metadata.json") as file:
        file.write(json.dumps({"name": name, "info": info}).encode())
    count, skipped = 0, 0
    with whole_file(to / "samples.json") as file:
        file.write(b'{"samples": [')
        for rows in _items(audit):
            for row in rows:
                path = pictures(row["number"])
                if path is None:
                    skipped += 1
                    continue
                sample = _sample(library, row, path, len(audit.plan.lanes))
                file.write((",\n" if count else "").encode() + json.dumps(sample.to_dict(), allow_nan=False).encode())
                count += 1
        file.write(b"]}\n")
    left = f"; {skipped:,} items that are no files of their own are left out" if skipped else ""
    how = f"fiftyone.Dataset.from_dir({str(to)!r}, fiftyone.types.LegacyFiftyOneDataset)"
    return f"{counted(count, 'sample')}{left}; open with: {how}"


def _sample(library: Any, row: Mapping[str, Any], path: Path, lanes: int) -> Any:
    label = row["label"]
    fields: dict[str, Any] = {} if label is None else {"label": library.Classification(label=label)}
    for k in range(lanes):
        if row[f"name{k}"] is not None:
            fields[f"lane{k}"] = library.Classification(label=row[f"name{k}"])
        numbers = {f"lane{k}_{one}": row[f"{one}{k}"] for one in (*_NUMBERS, "error")}
        fields |= {name: value for name, value in numbers.items() if value is not None and value == value}
    return library.Sample(filepath=str(path), xplain_item=row["number"], **fields)


_NUMBERS = ("score", "margin", "entropy", "gini", "border", "correct")


def _items(audit: Reads) -> Iterator[list[dict[str, Any]]]:
    """Items with what every lane says of them, some at a time."""
    lanes = audit.plan.lanes
    columns, joins = ["i.number", "i.label"], []
    for k, lane in enumerate(lanes):
        columns += [f"r{k}.predicted_name as name{k}", f"r{k}.error as error{k}"]
        columns += [f"r{k}.{quoted(one)} as {one}{k}" for one in _NUMBERS]
        own = f"(select * from records where lane = {literal(lane.name)})"
        joins.append(f"left join {own} r{k} on r{k}.item = i.number")
    for first in range(0, audit.plan.items.count, _ROWS):
        where = f"where i.number >= {first} and i.number < {first + _ROWS} order by i.number"
        yield audit.sql(f"select {', '.join(columns)} from items i {' '.join(joins)} {where}").to_pylist()


EXPORTS: Mapping[str, Callable[[Reads, Told, Path, Callable[[int], Path | None]], str]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
    "fiftyone": _fiftyone,
}
"""What can be exported to."""
