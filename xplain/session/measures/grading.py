"""Judge the explanations of a part by names of metrics: what each scores, and what maps score that know nothing.

    grades = grade(session, part, attribution, ["sparseness", "deletion"], seed=0)
    grades["deletion"].values - grades["deletion"].random          # [N], below 0 is better than chance

All questions go through the session's memo, one metric after another, so that what one has asked is known to the next:
the untouched item is asked once, whatever the number of metrics and maps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from xplain.core.abilities import abilities_of
from xplain.core.declaring.options import Reference
from xplain.core.declaring.registry import METHODS, METRICS, Metric
from xplain.core.declaring.with_options import parsed
from xplain.core.declaring.wording import option
from xplain.core.edits import Array
from xplain.core.errors import CapabilityError, UsageError
from xplain.core.keeping.content import fingerprint
from xplain.core.positions.layout import Layout
from xplain.core.query import Answer, Flow, Query, Score, View
from xplain.core.target import Target, label
from xplain.explainers.design.baseline import fill_of
from xplain.metrics.baselines import baselines_of
from xplain.results.attribution import Attribution
from xplain.session.hidden import as_codes
from xplain.session.items import item_keys
from xplain.session.part import Part
from xplain.session.run import Session

__all__ = [
    "CHEAP",
    "FREE",
    "LOCALISATION",
    "STANDARD",
    "Again",
    "Grades",
    "grade",
    "hidden_value",
    "positions",
    "read_names",
    "target_of",
]

FREE = ("sparseness", "complexity", "effective-complexity")
"""Metrics that read a map alone."""

STANDARD = (*FREE, "deletion", "insertion", "road")
"""What ``"standard"`` stands for; rows of a table and texts, where nothing can be blended of neighbours, go without
``road``."""

CHEAP: Mapping[str, Mapping[str, Any]] = {
    **{name: {} for name in FREE}, "deletion": {"steps": 8}, "insertion": {"steps": 8},
}  # fmt: skip
"""What ``"cheap"`` stands for: a fifth of what ``standard`` asks of a picture, and no sparse systems are solved."""

LOCALISATION = ("pointing-game", "relevance-mass", "relevance-rank", "top-k-intersection", "roc-auc")
"""What ``"localisation"`` stands for: metrics that compare with boxes or masks, and ask nothing."""

_TOGETHER = 16
"""Items that are asked about together: some metrics make tens of copies of them."""

Again = Callable[[View], Generator[Query, Answer, Array]]
"""Explains other items, or other targets, as the explanation that is judged was made: maps ``[N, *map]``."""


@dataclass(frozen=True, slots=True, eq=False)
class Grades:
    """What one metric says of N items.

    Args:
        values: Of the explanation, float64 ``[N]``; NaN where it says nothing of an item.
        random: Of a random map of the same resolution; None where a metric cannot be held against maps alone.
        centre: Of a spot in the middle; None also where items have none, as rows of a table.
        edge: Of a frame.
        gradient: Of the item's own gradient.
    """

    values: Array
    random: Array | None = None
    centre: Array | None = None
    edge: Array | None = None
    gradient: Array | None = None


def grade(
    session: Session,
    part: Part,
    attribution: Attribution,
    names: str | Sequence[str] | Mapping[str, Mapping[str, Any]],
    *,
    truth: Any = None,
    seed: int = 0,
    baseline: Any = None,
) -> dict[str, Grades]:
    """What metrics say of the explanation of a part's items, and of maps that know nothing.

    Args:
        session: Who asks; its limits hold.
        part: The items.
        attribution: Their explanation, of one target; values with channels are summed over them.
        names: ``"standard"``, names such as ``"deletion:steps=16"``, or each with its options.
        truth: For metrics that compare with it: masks ``[N, *map]``, or for each item a list of boxes (y0, x0, y1, x1)
            in positions of what the model sees.
        seed: Root of what is drawn.
        baseline: What a hidden position becomes; None: 0, or in a table the typical row.

    Returns:
        Name to grades, in the order of the names. An item whose map holds NaN has NaN in all.

    Raises:
        UsageError: a metric that there is not, that needs a truth, or that judges something else than one map each.
        CapabilityError: the model cannot answer what a metric asks.
    """
    wanted = read_names(names, part)
    values = positions(attribution.values, part)
    shape = part.items.layout.map_shape if isinstance(part.items.layout, Layout) else values.shape[1:]
    if len(values) != len(part) or values.shape[1:] != shape:
        raise UsageError(
            f"The explanation is {list(values.shape)} for {len(part)} items of {list(shape)} positions; accepted: one "
            "value per position of each item that is judged."
        )
    masks = _masks(truth, values.shape) if any(one.needs == "truth" for one, _ in wanted) else None
    keys, target = item_keys(part.items), target_of(attribution)
    found: list[dict[str, Grades]] = []
    first = 0
    for some in part.in_groups(_TOGETHER):
        where = slice(first, first := first + len(some))
        places = np.arange(len(part))[where]
        view = View(
            *(some.items.x, target.take(places), some.model.outline, seed),
            read=some.items.layout,
            keys=keys[where],
        )
        truths, fill = None if masks is None else masks[where], _of_group(baseline, part, where)
        judge = _Judge(session, some, view, attribution, truths, fill)
        found.append(judge.graded(wanted, values[where]))
    return {name: _joined([one[name] for one in found]) for name in found[0]}


def _of_group(baseline: Any, part: Part, where: slice) -> Any:
    """A baseline for some of the items, where there is one for each."""
    each = isinstance(baseline, np.ndarray) and baseline.ndim == part.items.x.ndim and len(baseline) == len(part) > 1
    return baseline[where] if each else baseline


def _joined(parts: Sequence[Grades]) -> Grades:
    columns: dict[str, Any] = {}
    for field in fields(Grades):
        each = [getattr(one, field.name) for one in parts]
        columns[field.name] = None if each[0] is None else np.concatenate(each)
    return Grades(**columns)


def read_names(
    names: str | Sequence[str] | Mapping[str, Mapping[str, Any]], part: Part | None = None
) -> list[tuple[Metric, dict[str, Any]]]:
    """The metrics that are meant, each with all its options.

    Raises:
        UsageError: one is given twice, or judges something else than one map for each item.
    """
    if isinstance(names, str):
        names = [one.strip() for one in names.split(";")]
    if not isinstance(names, (Mapping, Sequence)) or not all(isinstance(one, str) for one in names):
        raise UsageError(option="metrics", got=names, accepted=_METRICS)
    given = names if isinstance(names, Mapping) else _given(names, part)
    found = []
    for name, options in given.items():
        entry = METRICS.find(name)
        if not isinstance(options, Mapping):
            raise UsageError(option="metrics", got=names, accepted=_METRICS)
        if entry.needs in ("pair", "models", "regions"):
            raise UsageError(f"Metric {entry.name!r} judges {_OTHERS[entry.needs]}", advice=_ADVICE[entry.needs])
        if "" in options:
            options = {**{k: v for k, v in options.items() if k}, next(iter(entry.options), ""): options[""]}
        found.append((entry, entry.read_options(options)))
    if len({entry.name for entry, _ in found}) < len(found):
        raise UsageError(f"The metrics are {list(given)}; accepted: each once, with its options.")
    return found


def _given(names: Sequence[str], part: Part | None) -> dict[str, dict[str, str]]:
    """Names with their options; what is given by itself takes the place of what ``standard`` stands for."""
    sets: dict[str, Mapping[str, Any]] = {"standard": {name: {} for name in _standard(part)}, "cheap": CHEAP}
    sets["localisation"] = {name: {} for name in LOCALISATION}
    own = [parsed(one) for one in names if one not in sets]
    said = {name for name, _ in own}
    meant = [sets[one] for one in names if one in sets]
    rest = [(name, dict(given)) for several in meant for name, given in several.items() if name not in said]
    if (not own and not rest) or len(said) < len(own):
        raise UsageError(f"The metrics are {list(names)}; accepted: one or more, each once, with its options.")
    return dict([*rest, *own])


_METRICS = "standard, cheap, localisation, names, or name to options: {'deletion': {'steps': 16}}"
_OTHERS = {
    "pair": "two explanations of the same items against each other, not one map each.",
    "models": "explanations of models whose weights were drawn anew, not one map each.",
    "regions": "boxes or masks against the truth, not maps.",
}
_ADVICE = {
    "pair": "Ask xplain.measure.agreement([first, second]).",
    "models": "Ask xplain.measure.randomisation(model, x, method).",
    "regions": "Call its function in xplain.metrics.localisation.",
}


def _standard(part: Part | None) -> Sequence[str]:
    layout = None if part is None else part.items.layout
    neighbours = not (isinstance(layout, Layout) and (layout.axes == "NT" or set(layout.axes) & {"S", "X"}))
    return STANDARD if neighbours else [one for one in STANDARD if one != "road"]


@dataclass(frozen=True, slots=True)
class _Judge:
    """Asks one metric after another about one part."""

    session: Session
    part: Part
    view: View
    attribution: Attribution
    masks: Array | None
    baseline: Any
    seen: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", {})

    def graded(self, wanted: Sequence[tuple[Metric, Mapping[str, Any]]], values: Array) -> dict[str, Grades]:
        """What metrics say of maps, and of those that know nothing; NaN of a map that holds gaps."""
        good = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        values = np.where(good.reshape(-1, *(1,) * (values.ndim - 1)), values, 0)
        blind = baselines_of(self.view, values, self.attribution.resolution)
        found = {}
        for entry, options in wanted:
            columns: dict[str, Any] = {"values": self.asked(entry, options, values)}
            for name, one in blind.items() if entry.needs != "maps" else ():
                columns[name] = None if one is None else self.asked(entry, options, one)
            gaps: dict[str, Any] = {
                name: None if one is None else np.where(good, one, np.nan) for name, one in columns.items()
            }
            found[entry.name] = Grades(**gaps)
        return found

    def asked(self, entry: Metric, options: Mapping[str, Any], values: Array) -> Array:
        """What a metric says of maps, float64 ``[N]``."""
        source = self.part.model.outline.source
        if entry.needs in ("map", "truth"):
            truth = () if entry.needs == "map" else (self.masks,)
            return np.asarray(entry.function(values, *truth, **options), np.float64)
        if entry.needs != "maps" and Score not in self.part.model.answers:
            raise CapabilityError(f"Metric {entry.name!r} asks for scores of edited items, which {source} cannot give.")
        given: Any = self._again() if entry.needs == "maps" else self._fill()
        settings = self.session.settings(self.part)
        (reading,), _ = self.session.ask([entry.start(self.view, values, given, options)], self.part.model, settings)
        return np.asarray(reading.values, np.float64)

    def _fill(self) -> Array:
        return fill_of(self.view, Reference().read(hidden_value(self.part, self.baseline)))

    def _again(self) -> Again:
        """Explains as the explanation was made, each question once for all metrics."""
        method, name = METHODS.find(self.attribution.method), self.attribution.method
        if name in self.session.methods:
            options = self.session.options(self.part, name)[1]
        else:
            options = method.read_options(self.attribution.options)

        def again(view: View) -> Generator[Query, Answer, Array]:
            key = fingerprint(view.x, view.target)
            if key not in self.seen:
                flow: Flow = method.start(view, options)
                reading = yield from flow
                self.seen[key] = positions(reading.values, self.part)
            found: Array = self.seen[key]
            return found

        return again


def positions(values: Any, part: Part) -> Array:
    """Values with one number per position of each item: those of channels are added up."""
    found, layout = np.asarray(values), part.items.layout
    if isinstance(layout, Layout) and found.ndim == part.items.x.ndim and layout.channel_axis is not None:
        found = found.sum(axis=layout.channel_axis)
    return found


def target_of(attribution: Attribution) -> Target:
    """What an attribution explains, as data.

    Raises:
        UsageError: it does not say.
    """
    wanted = attribution.explained or (label(attribution.labels) if attribution.labels else None)
    if wanted is None:
        raise UsageError(
            f"The explanation's target {attribution.target!r} is no class; give ",
            option("target"),
            " an xplain target.",
        )
    return wanted


def hidden_value(part: Part, baseline: Any) -> Any:
    """What a hidden position becomes, as an option: what is stated, else 0, or in a table the typical row."""
    if baseline is None:
        codes = abilities_of(part.model).codes
        baseline = 0.0 if codes is None else codes.typical((part.basis or part.items).x)[0]
    return as_codes({"baseline": baseline}, part.model)["baseline"]


def _masks(truth: Any, shape: tuple[int, ...]) -> Array:
    """The truth as masks ``[N, *map]``.

    Raises:
        UsageError: there is none, or it does not fit.
    """
    if truth is None:
        raise UsageError(
            "These metrics compare with what is known to be there. Give ",
            option("truth", python="masks", shell="boxes.csv"),
            ": masks of the maps' shape, or a list of boxes for each item.",
        )
    if isinstance(truth, np.ndarray):
        return truth
    if not isinstance(truth, Sequence) or isinstance(truth, str):
        raise UsageError(option="truth", got=truth, accepted="masks as an array, or a list of boxes for each item")
    if len(truth) != shape[0] or len(shape) != 3:
        raise UsageError(
            f"The truth is {len(truth)} lists of boxes for {shape[0]} maps {list(shape[1:])}; accepted: one list for "
            "each picture, which may be empty."
        )
    masks = np.zeros(shape, bool)
    for mask, boxes in zip(masks, truth, strict=True):
        for box in boxes or ():
            try:
                top, left, bottom, right = (max(0, int(edge)) for edge in box)
            except (TypeError, ValueError, OverflowError):
                raise UsageError(option="truth", got=box, accepted="a box is four numbers (y0, x0, y1, x1)") from None
            mask[top:bottom, left:right] = True
    return masks
