"""Tables of subgroups: a metadata column by its values; by quarters where it is a number, by month where a date."""

from __future__ import annotations

from typing import Any

from xplain.audit.reports.readers import MEANS, Reads, literal, mean_sql, quoted, rows_of, wilson
from xplain.core.lane import Lane
from xplain.report.audit.told import Column, Table

__all__ = ["subgroup_tables"]

_MOST_VALUES = 40
_MOST_COLUMNS = 24
_OWN = {"number", "name", "bytes", "sha256", "label"}
_NUMBERS = ("int", "uint", "float", "double", "decimal", "half")
_DATES = ("date", "timestamp")


def subgroup_tables(audit: Reads, lane: Lane) -> tuple[tuple[Table, ...], tuple[Table, ...], list[str]]:
    """Tables of groups, tables over time, and the columns that were left out, each with the reason.

    Args:
        audit: The audit.
        lane: The lane that is told, for the groups of all would be the same items again.
    """
    schema = audit.sql("select * from items limit 0").schema
    groups: list[Table] = []
    times: list[Table] = []
    left: list[str] = []
    columns = [(f.name, str(f.type)) for f in schema if f.name not in _OWN]
    for number, (name, kind) in enumerate(columns[:_MOST_COLUMNS], 1):
        column = quoted(name)
        (facts,) = rows_of(
            audit.sql(f"""select count({column}) as there, approx_count_distinct({column}) as values,
  count(try_cast({column}::varchar as date)) as dates from items""")
        )
        if not facts["there"]:
            if name != "split":  # a column of the items' own
                left.append(f"{name}: the column is empty.")
            continue
        dated = kind.startswith(_DATES) or (kind.endswith("string") and facts["dates"] == facts["there"])
        if dated:
            value, order = f"strftime(try_cast({column}::varchar as timestamp), '%Y-%m')", "asc"
        elif kind.startswith(_NUMBERS) and facts["values"] > _MOST_VALUES / 4:
            value, order = "quarter", "asc"
        elif facts["values"] <= _MOST_VALUES:
            value, order = f"{column}::varchar", "by badness"
        else:
            left.append(f"{name}: about {facts['values']:,} values, too many for a table.")
            continue
        table = _table(audit, lane, name, value, f"{'time' if dated else 'groups'}-{number}", order)
        (times if dated else groups).append(table)
    left += [f"{name}: the tables are of the first {_MOST_COLUMNS} columns." for name, _ in columns[_MOST_COLUMNS:]]
    return tuple(groups), tuple(times), left


def _table(audit: Reads, lane: Lane, name: str, value: str, key: str, order: str) -> Table:
    column = quoted(name)
    quarters = value == "quarter"
    if quarters:
        value = f"""case when {column} is null then null
  else 'quarter ' || ntile(4) over (partition by {column} is null order by {column}) end"""
    bounds = ", min(i.given) as low, max(i.given) as high" if quarters else ""
    # The data names its columns as it likes, also as records do ("target", "score"): so only one passes, renamed.
    found = rows_of(
        audit.sql(f"""select i.told as value, count(*) as n, count(*) filter (r.status <> 'ok') as failed,
  count(r.correct) as labelled, count(*) filter (r.correct) as "right"{bounds},
  {mean_sql([f"r.{m}" for m in MEANS]).replace(" as r.", " as ")}
from (select number, {column} as given, {value} as told from items) i
join records r on r.item = i.number where r.lane = {literal(lane.name)}
group by 1 order by 1 nulls last""")
    )
    if order == "by badness":
        found.sort(key=_badness)
    rows = tuple(
        (
            _named(one),
            *(one["n"], one["failed"], wilson(one["right"], one["labelled"])),
            *(one[m] for m in MEANS),
        )
        for one in found[:_MOST_VALUES]
    )
    heads = (
        *(
            Column(name, "text"),
            Column("items", "count"),
            Column("not explained", "count"),
            Column("right", "interval"),
        ),
        *(Column(m, "share" if m in ("border", "positive") else "number") for m in MEANS),
    )
    how = {"asc": "in their order", "by badness": "those with the fewest right answers first"}[order]
    caption = f"Items by {name}, {how}; intervals are of 95 %. Lane {lane.name}."
    return Table(key, f"By {name}", caption, heads, rows, left_out=max(0, len(found) - _MOST_VALUES))


def _named(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return "missing"
    return f"{one['value']} ({one['low']:g} to {one['high']:g})" if "low" in one else str(one["value"])


def _badness(one: dict[str, Any]) -> tuple[float, str]:
    right = wilson(one["right"], one["labelled"])
    return (2.0 if right is None else right[2]), str(one["value"])
