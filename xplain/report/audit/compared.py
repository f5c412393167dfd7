"""Two audits beside each other as one page and its JSON twin, made like the report of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from xplain.report.audit.page import framed, pictured, printed
from xplain.report.audit.told import Example, Fact, Found, Lead, Table
from xplain.report.audit.twin import findings_csv, json_bytes, tables_csv, told_example, told_finding, told_table

__all__ = ["Compared", "compared_csv", "compared_json", "compared_page"]

FORMAT = "xplain audit comparison 1"


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """All that is said of two audits.

    Args:
        title: Heading.
        roots: Root hashes, the earlier one first.
        facts: What is compared, and how items and lanes were matched.
        leads: The large numbers.
        findings: Whether scores and explanations moved.
        cannot: What it cannot say.
        plan: What differs between the plans; None where nothing does.
        lanes: A row per lane that both have.
        metrics: A row per lane and metric that both have; None for none.
        classes: A row per class, a table per lane.
        examples: Heading to items, each before and after.
    """

    title: str
    roots: tuple[str, str]
    facts: tuple[Fact, ...]
    leads: tuple[Lead, ...]
    findings: tuple[Found, ...]
    cannot: tuple[str, ...]
    plan: Table | None
    lanes: Table
    metrics: Table | None
    classes: tuple[Table, ...]
    examples: tuple[tuple[str, tuple[Example, ...]], ...]

    @property
    def tables(self) -> Sequence[Table]:
        """Every table, in the order of the page."""
        return [one for one in (self.plan, self.lanes, self.metrics, *self.classes) if one is not None]


def compared_page(told: Compared, files: Sequence[str] = ()) -> str:
    """The page as text; ``files`` lie beside it."""
    return framed(
        "difference.html",
        told,
        files,
        plan=None if told.plan is None else printed(told.plan),
        lanes=printed(told.lanes),
        metrics=None if told.metrics is None else printed(told.metrics),
        classes=[printed(one) for one in told.classes],
        examples=[(title, [pictured(one) for one in some]) for title, some in told.examples],
    )


def compared_json(told: Compared) -> bytes:
    """All that the page says, as ``json_of`` writes it."""
    return json_bytes(
        {
            "format": FORMAT,
            "title": told.title,
            "roots": list(told.roots),
            "facts": {one.name: one.text for one in told.facts},
            "numbers": [{"value": one.value, "text": one.text} for one in told.leads],
            "findings": [told_finding(one) for one in told.findings],
            "cannot": list(told.cannot),
            "tables": {one.key: told_table(one) for one in told.tables},
            "examples": [{"title": title, "items": [told_example(e) for e in some]} for title, some in told.examples],
        }
    )


def compared_csv(told: Compared) -> dict[str, bytes]:
    """File name to content: a file per table, and one of the findings."""
    return tables_csv(told.tables) | findings_csv(told.findings)
