"""What the page of an audit tells: plain numbers, tables and a few small pictures; nothing grows with the items.

``xplain.audit.reports.telling`` computes it from a store, the page, its JSON twin and the CSV files print it. A table
holds raw values, so that all three say the same number; how a column is printed stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xplain.core.edits import Array
from xplain.core.finding import Finding

__all__ = ["Column", "Example", "Fact", "Form", "Found", "Histogram", "Lead", "Table", "Told", "Trial"]

Form = Literal["text", "count", "share", "number", "signed", "interval", "estimate", "map", "digest"]
"""How a column's cells are printed. ``interval`` is a triple (value, lower bound, upper bound) of shares, ``estimate``
one of numbers, whose bounds are NaN where they are not known; ``map`` an array ``[h, w]`` that is drawn, and that JSON
and CSV leave out; every cell may be None, which is printed as a dash."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Args:
        name: Its heading.
        form: How cells are printed.
        about: What the number is, in a sentence; printed under the table.
    """

    name: str
    form: Form = "number"
    about: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A table whose rows are few: classes, groups, reasons, lanes, never items.

    Args:
        key: Its name in JSON, in CSV files and as an anchor.
        title: Its heading.
        caption: What a row is, how rows are ordered, and what was left out.
        columns: One per cell of a row.
        rows: Raw values.
        left_out: Rows that were not taken, so that a page of a million groups stays small.
        sortable: Whether a reader may filter and sort it.
        shown: Rows that the page prints; CSV and JSON hold all.
    """

    key: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    left_out: int = 0
    sortable: bool = False
    shown: int = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One item that is shown.

    Args:
        item: Its number.
        name: Its name in the data.
        captions: Lines below it.
        picture: uint8 ``[h, w, 3]``, small; None where the item is no picture or could not be read again.
        values: Its map ``[h, w]`` at native resolution; None where there is none.
        drawn: Item and map drawn in axes of their own, uint8 ``[h, w, 3]``, as series and spectra are; None for others.
        bars: Of a row of a table: columns by name, what the row holds there, and its value as a share of the row's
            largest, -1..1; the largest first.
        words: Of a text: pieces of it in order, each with its value as a share of the text's largest, -1..1; None for
            what lies between features.
    """

    item: int
    name: str
    captions: tuple[str, ...] = ()
    picture: Array | None = None
    values: Array | None = None
    bars: tuple[tuple[str, str, float], ...] = ()
    words: tuple[tuple[str, float | None], ...] = ()
    drawn: Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A finding with the items that show it best."""

    finding: Finding
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and what is said of it; ``about`` explains it in a sentence."""

    name: str
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Lead:
    """One large number of the overview."""

    value: str
    text: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a number is spread over the items of one lane.

    Args:
        lane: Whose.
        name: The number.
        about: What it is, and what an even map or chance would have.
        low: Where the first bin begins.
        high: Where the last ends.
        counts: Items per bin.
        median: The middle item's value.
        count: Items that have the number.
    """

    lane: str
    name: str
    about: str
    low: float
    high: float
    counts: tuple[int, ...]
    median: float
    count: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A test of the explanations themselves.

    Args:
        lane: Whose explanations.
        metric: The metric.
        question: What it asks, in a sentence.
        condition: What must hold for it to be passed, as it was fixed before.
        value: The mean over the items.
        interval: 95 % bounds of that mean.
        baselines: Name of a baseline to its mean on the same items, and the 95 % bounds of the paired difference in
            the direction in which more is better.
        count: Items.
        passed: Whether the condition holds; None where nothing can be said.
        why: Why not, or why nothing can be said; empty where it is passed.
    """

    lane: str
    metric: str
    question: str
    condition: str
    value: float
    interval: tuple[float, float]
    baselines: tuple[tuple[str, float, float, float], ...]
    count: int
    passed: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """All that a report says.

    Args:
        title: Its heading.
        root: The audit's root hash: plan, items and seals; what the report is about.
        partial: What is missing from the audit, in a sentence; empty for a whole one.
        asked: What was asked.
        leads: The overview's numbers.
        findings: What the analyses found.
        analysed: Whether the analyses were run on this root; else the page says that they were not.
        cannot: Sentences: what the report cannot say.
        tests: Tests of the explanations.
        lanes: A row per lane.
        histograms: Distributions.
        deciles: Items in tenths, one table per lane.
        worst: Heading to the examples of the worst items.
        classes: A row per class, one table per lane.
        twins: Lanes beside each other; None for one lane.
        subgroups: One table per metadata column.
        over_time: One table per column that orders items in time; these are columns whose values are dates.
        failures: Reasons; None where all items were explained.
        provenance: Digests and versions.
        reviewer: Who reviews it; empty leaves the lines blank.
        sql: Queries that give the tables from the records.
        features: Of rows of a table a row per column, of texts a row per word, one table per lane; none of pictures.
        legend: How examples that are drawn in axes of their own are read; empty for others.
        truth: What maps are compared with, a row per lane; None where nothing is known.
        agreement: Methods beside each other, a row per two lanes and way of comparing them; None for one method.
        grades: What metrics say: a row per lane and metric, then a table per lane with a row per metric and class.
    """

    title: str
    root: str
    partial: str
    asked: tuple[Fact, ...]
    leads: tuple[Lead, ...]
    findings: tuple[Found, ...]
    analysed: bool
    cannot: tuple[str, ...]
    tests: tuple[Trial, ...]
    lanes: Table
    histograms: tuple[Histogram, ...]
    deciles: tuple[Table, ...]
    worst: tuple[tuple[str, tuple[Example, ...]], ...]
    classes: tuple[Table, ...]
    twins: Table | None
    subgroups: tuple[Table, ...]
    over_time: tuple[Table, ...]
    failures: Table | None
    provenance: tuple[Fact, ...]
    reviewer: str = ""
    sql: tuple[tuple[str, str], ...] = field(default=())
    features: tuple[Table, ...] = ()
    legend: str = ""
    truth: Table | None = None
    grades: tuple[Table, ...] = ()
    agreement: Table | None = None

    @property
    def tables(self) -> Sequence[Table]:
        """Every table, in the order of the page."""
        single = [one for one in (self.agreement, self.twins, self.failures) if one is not None]
        known = [] if self.truth is None else [self.truth]
        return [
            self.lanes,
            *known,
            *self.grades,
            *self.features,
            *self.deciles,
            *self.classes,
            *self.subgroups,
            *self.over_time,
            *single,
        ]
