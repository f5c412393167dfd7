"""Explaining a table or texts: all items in one go, told as aligned columns or coloured words."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from xplain import api
from xplain.cli.bill import Bill, Planned
from xplain.cli.book import Book, whole
from xplain.cli.console import Outcome, Progress
from xplain.cli.notes import notes_of, told_warnings
from xplain.cli.output import RECORD, Folder, file_stem
from xplain.cli.pages import PAGE, ranks_of
from xplain.cli.predictions import best, in_words
from xplain.cli.reading import Given
from xplain.cli.run import Order
from xplain.core.errors import BudgetError
from xplain.results.attribution import Attribution

__all__ = ["estimate_rows", "explain_rows"]


def estimate_rows(reader: Any, given: Given, order: Order) -> Planned:
    """What explaining all items takes."""
    size = order.asking.batch_size
    plan = partial(api.plan, reader, given.items, target=order.target, cache=order.asking.cache, batch_size=size)
    plans = [plan(name, **options) for name, options in order.methods.items()]
    # one more evaluation per item says what is predicted
    return Planned.of([(1, one) for one in (api.plan_look(reader, given.items, size), *plans)])


def explain_rows(reader: Any, given: Given, order: Order, folder: Folder, command: str) -> Outcome:
    """Explain the rows of a table, or texts, and write one ``.npz`` per explanation and a page with all.

    Raises:
        XplainError: whatever is wrong; a table or a text that cannot be used stops all, for they are asked together.
    """
    started = time.perf_counter()
    asking, count = order.asking, len(given.names)
    title = f"{reader.outline.called}: {count} {'item' if count == 1 else 'items'}"
    kept = _Kept(given, folder, title, command)
    bill, scores = Bill(reader), None  # type: tuple[Bill, Any]
    queries, sweeps = count, 0

    def told() -> dict[str, Any]:
        return {
            "command": command,
            "model": {"source": reader.outline.source, "sha256": reader.outline.digest, "scores": _kind(reader)},
            "out": str(folder.path),
            "items": [
                {
                    "item": called,
                    "predictions": predictions,
                    "explanations": [
                        _told(one[k], reader, name) for one, name in zip(kept.found, kept.names, strict=True)
                    ],
                }
                for k, (called, predictions) in enumerate(zip(given.names, best(scores, reader.outline), strict=True))
            ],
            "cost": {
                "queries": queries,
                "sweeps": sweeps,
                "seconds": round(time.perf_counter() - started, 3),
                **bill.document(),
            },
        }

    def done() -> str:
        return f"{kept.methods} of {len(order.methods)} methods are written to {folder.path}; no file is half-written."

    book = Book(folder, told, kept.page)
    with book.kept_whatever_happens(done), Progress(estimate_rows(reader, given, order).steps) as progress:
        scores = api.predict(reader, given.items, batch_size=asking.batch_size, cache=asking.cache)
        for name, options in order.methods.items():
            left = None if asking.max_queries is None else asking.max_queries - queries
            if left is not None and left < 1:
                raise BudgetError(
                    f"{queries} of --max-queries {asking.max_queries} are spent before {name}. Raise it, or explain "
                    "fewer items."
                )
            answers = api.explain_many(
                reader,
                given.items,
                name,
                target=order.target,
                seed=order.seed,
                batch_size=asking.batch_size,
                max_queries=left,
                cache=asking.cache,
                sentinel=order.sentinel,
                progress=partial(_forward, progress, queries + sweeps),
                **options,
            )
            queries += answers[0].cost.queries
            sweeps += answers[0].cost.sweeps
            with whole():
                kept.keep([replace(one, names=given.names) for one in answers])
            book.kept()
        progress.to(queries + sweeps)
        kept.page()
    document = told()
    folder.record({"state": "finished", "run": document})
    return Outcome(document, _text(document, kept.found, folder))


def _forward(progress: Progress, before: int, done: int, _asked: int) -> None:
    progress.to(before + done)


def _kind(reader: Any) -> str:
    return str(reader.outline.scores.kind)


class _Kept:
    """The explanations so far: one ``.npz`` each, and a page with all."""

    def __init__(self, given: Given, folder: Folder, title: str, command: str) -> None:
        self._folder, self._title, self._command = folder, title, command
        self._stem = file_stem(given.stem, set())
        self.found: list[Attribution] = []
        self.names: list[str] = []
        self.methods = 0

    def keep(self, answers: Sequence[Attribution]) -> None:
        """Write the explanations by one method."""
        several = len(answers) > 1
        names = [
            f"{self._stem}.{one.method}" + (f".top{rank}" if several else "") + ".npz"
            for one, rank in zip(answers, ranks_of([one.method for one in answers]), strict=True)
        ]
        self._folder.announce([*names, PAGE])
        for one, name in zip(answers, names, strict=True):
            one.save(self._folder.path / name)
        self.found += answers
        self.names += names
        self.methods += 1

    def page(self) -> None:
        """Write the page of what is there."""
        from xplain import report

        report.write(self.found, self._folder.path / PAGE, title=self._title, command=self._command)


def _told(one: Attribution, reader: Any, file: str) -> dict[str, Any]:
    """The explanation of one item: what each of its words or columns is worth."""
    values = one.values[0]
    errors = None if one.error is None else one.error[0]
    if one.texts:
        parts: list[dict[str, Any]] = [
            {"feature": one.texts[0].text[start:stop], "start": start, "end": stop}
            for start, stop in one.texts[0].spans
        ]
    else:
        assert one.columns is not None
        parts = [
            {"feature": name, "value": value}
            for name, value in zip(one.columns.names, one.columns.values[0], strict=True)
        ]
    for k, part in enumerate(parts):
        part["attribution"] = float(values[k])
        part["error"] = None if errors is None else float(errors[k])
    return {
        "method": one.method,
        "options": one.meta()["options"],
        "target": one.target_of(0),
        "class": one.labels[0] if one.labels else None,
        "score": float(one.scores[0]),
        "base": None if one.base is None else float(one.base[0]),
        "unit": one.unit,
        "features": parts,
        "warnings": told_warnings(one),
        "notes": notes_of(one),
        "files": {"npz": file},
    }


def _text(document: dict[str, Any], found: Sequence[Attribution], folder: Folder) -> str:
    said = [f"{one['item']}: {in_words(one['predictions'])}" for one in document["items"]]
    cost = document["cost"]
    spent = f"{cost['queries']} evaluations" + (f", {cost['sweeps']} sweeps" if cost["sweeps"] else "")
    spent += f", {cost['calls']} calls" if "calls" in cost else ""
    spent += f" for {cost['money']} {cost['currency']}".rstrip() if "money" in cost else ""
    return "\n".join(
        [
            *said,
            "",
            *[part for one in found for part in (str(one), "")],
            f"{len(said)} {'item' if len(said) == 1 else 'items'}; {spent}, {cost['seconds']:.1f} s.",
            f"Open {folder.path / PAGE}; {RECORD} tells how it was made.",
        ]
    )
