"""``xplain measure``: how far explanations can be trusted, each metric beside maps that know nothing of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from xplain.cli.asking.backgrounds import read_baselines
from xplain.cli.asking.flags import Force, OutFolder, Seed, find_method, named_methods, options_for
from xplain.cli.asking.loading import Asking, Loading, ModelFile
from xplain.cli.keeping.output import Folder
from xplain.cli.keeping.shown import keep_result
from xplain.cli.telling.console import INTERRUPTED, OK, PARTIAL, USAGE, Outcome, Progress, note
from xplain.cli.telling.notes import hint_at_labels
from xplain.core.declaring.with_options import several
from xplain.core.edits import Array
from xplain.core.errors import UsageError, XplainError
from xplain.core.intervals import mean_of
from xplain.core.keeping.plain import counted
from xplain.results.attribution import Attribution
from xplain.results.join import joined
from xplain.results.judgement import Judgement
from xplain.session import Request, Session
from xplain.session.measures.grading import read_names
from xplain.session.measures.judgements import agreement, judged
from xplain.session.truths.known import Known
from xplain.session.truths.meant import Held
from xplain.session.truths.placing import placed
from xplain.session.truths.reading import truths_of

__all__ = ["measure"]


def measure(
    shell: typer.Context,
    model: ModelFile,
    loading: Loading,
    asking: Asking,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE", help="Files, folders, globs, skimage:NAME.", show_default=False),
    ],
    method: Annotated[
        list[str] | None, typer.Option("--method", "-m", help="Method that is judged, or several: lime,rise.")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            "--metrics",
            help="Metric, or one with options: deletion:steps=16; several with commas, or given several times. "
            "Default: standard, which reads the maps alone and asks deletion, insertion and road.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Class number, label or 'a - b'. Default: each picture's predicted class.")
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="What is known to be there, for pointing-game ...: a CSV of boxes (file, y0, x0, y1, x1, in pixels of "
            "the files), COCO's JSON, or a folder of masks or of Pascal VOC's XML."
        ),
    ] = None,
    hide_with: Annotated[
        str | None, typer.Option(help="What a hidden position becomes: a number, mean, blur:SIGMA ... Default: 0.")
    ] = None,
    out: OutFolder = Path("xplain-measured"),
    seed: Seed = 0,
    force: Force = False,
    **options: Any,
) -> Outcome:
    """Judge the explanations of PICTURES by metrics, beside chance, the centre, a frame and the picture's own gradient.

    Writes per method the numbers of every picture (.npz), a drawing (.png) with 95 % intervals, and says in a sentence
    per metric whether the explanation beats chance; of several methods also how far they agree. Questions are shared
    between metrics. A picture that fails is told at the end, and the others go on; Ctrl-C keeps what was judged.

    Raises:
        XplainError: what concerns the method, a metric, the model or all pictures.
    """
    from xplain.render import pictures as reading

    entries = [find_method(name) for name in named_methods(method or []) or ["grad-cam"]]
    given = options_for(entries, options)
    named = [one for given_as in metric or ["standard"] for one in several(given_as)]
    wanted: str | list[str] = "standard" if named == ["standard"] else named
    read_names(wanted)  # what is wrong with them is said before anything is opened
    found = reading.collect(pictures)
    loaded = loading.open(model)
    hint_at_labels(loaded.outline)
    bar: list[Progress] = []
    request = Request(
        read_baselines(given, loaded),
        target=target,
        seed=seed,
        batch_size=asking.batch_size,
        max_queries=asking.max_queries,
        cache=asking.cache,
        progress=lambda done, _asked: bar[0].to(done),
    )
    held = None if truth is None else Held(truths_of(truth, found, files=True), found, loaded.outline)
    work = _Work(wanted, hide_with, held)
    with Folder(out, force) as folder, Progress(None) as progress, Session(loaded, request) as session:
        bar.append(progress)
        try:
            for name in found:
                work.picture(session, name, shell.obj.words)
        except KeyboardInterrupt:
            work.interrupted = True
        results = {name: joined(parts) for name, parts in work.judged.items() if parts}
        files = {name: keep_result(folder, name, one, shell.obj.line) for name, one in results.items()}
        document = {
            "command": shell.obj.line,
            "model": {"source": loaded.outline.source, "sha256": loaded.outline.digest},
            "out": str(folder.path),
            "methods": {name: {**_document(one), "files": files[name]} for name, one in results.items()},
            "agreement": work.agreement(),
            "truth": [] if held is None else held.told(),
            "failures": work.failures,
            "interrupted": work.interrupted,
            "cost": {"queries": session.spent.queries, "sweeps": session.spent.sweeps},
        }
        if results:  # else there is nothing to keep, and no folder is left behind
            folder.record({"state": "interrupted" if work.interrupted else "finished", "run": document})
    for said in document["truth"]:
        note(f"xplain: --truth: {said}")
    for failure in work.failures:
        note(f"xplain: {failure['picture']}: {failure['error']['message']}")
    return Outcome(document, _text(results, files, folder, document), work.code(bool(results)))


@dataclass(slots=True)
class _Work:
    """Judges picture after picture, and keeps what was found and what failed."""

    wanted: str | list[str]
    hide_with: str | None
    held: Held | None
    judged: dict[str, list[Judgement]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    agreed: dict[tuple[str, str], dict[str, list[float]]] = field(default_factory=dict)
    interrupted: bool = False

    def picture(self, session: Session, name: str, words: Any) -> None:
        """Explain and judge one picture by every method.

        Raises:
            XplainError: the first picture's, where nothing was judged before it and the fault is not its own.
        """
        try:
            part = session.read([name])
            known = self._known(part, name)
            done, maps = {}, []
            for method in session.methods:
                explained = session.explain(part, method)
                if len(explained) != 1:
                    raise UsageError("A judgement is of one target per picture; leave out 'top3'.")
                truth = self._truth(part, known, explained[0])
                done[method] = judged(session, part, explained[0], self.wanted, truth=truth, baseline=self.hide_with)
                maps += explained
            for pair in agreement(maps) if len(maps) > 1 else []:
                kept = self.agreed.setdefault((pair.first, pair.second), {})
                for metric, values in pair.values.items():
                    kept.setdefault(metric, []).append(float(values[0]))
        except XplainError as error:
            self.failures.append({"picture": name, "error": error.fields(words)})
            return
        for method, one in done.items():
            self.judged.setdefault(method, []).append(one.in_words(words))

    def _known(self, part: Any, name: str) -> Known | None:
        """What is known of a picture, of whichever class.

        Raises:
            UsageError: it cannot be of this picture.
        """
        if self.held is None:
            return None
        if part.items.card is None or not part.items.sizes:
            raise UsageError("True boxes are in pixels of the files, so the pictures must be read through a card.")
        return self.held.of(name, part.items.sizes[0])

    def _truth(self, part: Any, known: Known | None, explained: Attribution) -> Array | None:
        """The same of the class that is explained, as positions of the map."""
        if self.held is None:
            return None
        shape, label = part.items.layout.map_shape, int(explained.labels[0]) if explained.labels else -1
        meant = self.held.of_class(known, label, part.items.names[0])
        if meant is None:
            return np.zeros((1, *shape), bool)
        return placed(meant, shape, part.items.card, part.items.sizes[0])[None]

    def agreement(self) -> list[dict[str, Any]]:
        """How far every two methods say the same, on average over pictures."""
        return [
            {"first": first, "second": second, **{name: _known(mean_of(np.array(v)).mean) for name, v in found.items()}}
            for (first, second), found in self.agreed.items()
        ]

    def code(self, any_judged: bool) -> int:
        """The exit code."""
        if self.interrupted:
            return INTERRUPTED
        return (PARTIAL if any_judged else USAGE) if self.failures else OK


def _document(one: Judgement) -> dict[str, Any]:
    """A judgement as plain values: each metric over all pictures, and each picture's values."""
    told = {}
    for name in one.metrics:
        found = one.summary(name)
        told[name] = {
            "mean": _known(found.own.mean),
            "interval": [_known(found.own.low), _known(found.own.high)],
            "items": found.own.count,
            "better": found.better,
            "unit": found.unit,
            "blind": {other: interval.mean for other, interval in found.blind.items()},
            "beats chance on": found.wins,
            "verdict": found.verdict,
            "worst tenth": _known(found.worst),
            "worst": [one.name_of(n) for n in found.worst_items],
            "classes": {label: interval.mean for label, interval in found.classes.items()},
            "sentence": one.sentence(name),
        }
    each = [
        {"picture": one.name_of(n), "target": one.target_of(n), **dict(zip(one.metrics, map(_known, row), strict=True))}
        for n, row in enumerate(one.values)
    ]
    return {"metrics": told, "pictures": each, "warnings": one.said}


def _known(number: float) -> float | None:
    """A number as JSON knows it: null where nothing can be said."""
    return float(number) if isfinite(number) else None


def _text(
    results: Mapping[str, Judgement], files: Mapping[str, dict[str, str]], folder: Folder, document: Mapping[str, Any]
) -> str:
    lines: list[str] = []
    for name, one in results.items():
        lines += [str(one), *(f"{what}: {folder.path / file}" for what, file in files[name].items())]
    for pair in document["agreement"]:
        told = [f"{name} {value:.2f}" for name, value in pair.items() if isinstance(value, float)]
        lines.append(f"{pair['first']} and {pair['second']}: {', '.join(told)}")
    count = max((len(one) for one in results.values()), default=0)
    failed = f", {len(document['failures'])} failed" if document["failures"] else ""
    cost = counted(document["cost"]["queries"], "evaluation")
    return "\n".join([*lines, f"{counted(count, 'picture')}{failed}; {cost}."])
