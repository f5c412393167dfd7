"""Two audits in one database: items matched by content, lanes by name, and what changed from one to the other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np

from xplain.audit.canonical import needed
from xplain.audit.plans.classes import same_class
from xplain.audit.plans.plan import Plan
from xplain.audit.reports.readers import literal, rows_of, wilson
from xplain.audit.stores.home import home_of
from xplain.core.errors import UsageError
from xplain.core.keeping.plain import counted
from xplain.core.lane import Lane
from xplain.report.audit.told import Column, Table

__all__ = ["Beside", "Pairs", "changed_classes", "changed_lanes", "changed_metrics", "matched"]

_SIDES = ("before", "after")

Pairs: TypeAlias = "Mapping[int, int] | None"
"""Which class of one model is which of another; None where they have the same numbers."""


class Beside:
    """Records and metrics of two audits as the schemas ``before`` and ``after`` of one database.

    ``pairs`` holds rows of one item in lanes that stand for each other, with columns ``a_...`` and ``b_...``, and
    ``same``: whether both answer with the same class, which two models need not number alike. It is joined once, into a
    file, and what a query needs beyond half a GiB goes to the disk too: memory does not follow from the number of
    items. Used in a ``with`` block, at whose end the file is gone.

    Args:
        folders: Both audits.
        lanes: Pairs of lanes.
        classes: Of each pair, which class of the one model is which of the other; see ``pairs_of``.
    """

    def __init__(
        self, folders: Sequence[str | os.PathLike[str]], lanes: Sequence[tuple[Lane, Lane]], classes: Sequence[Pairs]
    ) -> None:
        duckdb = needed("duckdb")
        self._place = tempfile.TemporaryDirectory(prefix="xplain-diff-")
        # one thread: sums of several differ in their last bits, and a report is to be the same twice
        how = {"threads": 1, "memory_limit": _MEMORY, "temp_directory": self._place.name}
        self._db = duckdb.connect(str(Path(self._place.name) / "both.db"), config=how)
        try:
            self._read(folders)
            self.key, self.shared = self._key()
            self._join(lanes, classes)
        except BaseException:
            self.__exit__()
            raise

    def _read(self, folders: Sequence[str | os.PathLike[str]]) -> None:
        """Records, metrics and items of both sides, as views of their files."""
        for side, folder in zip(_SIDES, folders, strict=True):
            home = home_of(folder)
            seals = home.store.seals()
            self._db.execute(f"create schema {side}")
            for kind in ("records", "metrics"):
                files = [str(home.store.path(seal.parts[kind])) for seal in seals.values() if kind in seal.parts]
                if not files:
                    raise UsageError(f"{home.called} has no sealed shard. Run 'xplain audit run' first.")
                listed = ", ".join(map(literal, files))
                self._db.execute(f"create view {side}.{kind} as select * from read_parquet([{listed}])")
            items = literal(str(home.folder / "items.parquet"))
            self._db.execute(f"create view {side}.items as select * from read_parquet({items})")

    def _join(self, lanes: Sequence[tuple[Lane, Lane]], classes: Sequence[Pairs]) -> None:
        """The table ``pairs``; of items that stand several times in a side, the first."""
        pairs = ", ".join(f"({literal(a.name)}, {literal(b.name)})" for a, b in lanes) or "(null, null)"
        self._db.execute(f"create table lanes as select * from (values {pairs}) as t(a, b)")
        columns = (*_KEPT, "item", "predicted", "correct")
        for side in _SIDES:
            own = f"status = 'ok' and {self.key} <> ''"
            first = f"select lane, {self.key} as key, min(item) as item from {side}.records where {own} group by all"
            self._db.execute(f"create table {side}.first as {first}")
        named = ", ".join(f"x.{c} as a_{c}, y.{c} as b_{c}" for c in columns)
        each = "".join(
            f" when {literal(a.name)} then {same_class(some, 'x.predicted', 'y.predicted')}"
            for (a, _), some in zip(lanes, classes, strict=True)
        )
        same = f"case l.a{each} end" if each else "null::boolean"
        self._db.execute(
            f"""create table pairs as select l.a as lane, {named}, {same} as same from lanes l
join before.first f on f.lane = l.a join after.first g on g.lane = l.b and g.key = f.key
join before.records x on x.lane = f.lane and x.item = f.item
join after.records y on y.lane = g.lane and y.item = g.item"""
        )
        for side in _SIDES:
            self._db.execute(f"drop table {side}.first")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._place.cleanup()

    def _key(self) -> tuple[str, int]:
        """What makes items the same, and how many both have: their content; where they share none, their names."""
        for key in ("sha256", "name"):
            sides = " intersect ".join(f"select {key} from {side}.items where {key} <> ''" for side in _SIDES)
            shared = int(self.rows(f"select count(*) as n from ({sides})")[0]["n"])
            if shared:
                return key, shared
        return "sha256", 0

    def sql(self, query: str) -> Any:
        """A query, as a ``pyarrow.Table``."""
        return self._db.sql(query).to_arrow_table()

    def rows(self, query: str) -> list[dict[str, Any]]:
        """The rows of a small answer."""
        return rows_of(self.sql(query))


_MEMORY = "512MB"
_KEPT = ("value", "score", "margin", "gini", "border", "positive", "peak_y", "peak_x")
_MOVED = ("value", "margin", "gini", "border")


def matched(before: Plan, after: Plan) -> list[tuple[Lane, Lane]]:
    """Lanes that stand for each other: of one name, else of one method and target where each side has one left."""
    names = {lane.name: lane for lane in after.lanes}
    pairs = [(lane, names[lane.name]) for lane in before.lanes if lane.name in names]
    taken = {lane.name for pair in pairs for lane in pair}
    rest = [[lane for lane in plan.lanes if lane.name not in taken] for plan in (before, after)]
    for lane in rest[0]:
        like = [[one for one in side if _kind(one) == _kind(lane)] for side in rest]
        if [len(side) for side in like] == [1, 1]:
            pairs.append((lane, like[1][0]))
    return pairs


def _kind(lane: Lane) -> tuple[str, str]:
    return lane.method, str(lane.target)


_COUNTED = """count(*) as n, avg(same::int) as same,
  count(*) filter (a_correct is not null and b_correct is not null) as labelled,
  count(*) filter (a_correct and b_correct is not null) as a_right,
  count(*) filter (b_correct and a_correct is not null) as b_right,
  count(*) filter (a_correct and not b_correct) as lost, count(*) filter (b_correct and not a_correct) as won"""
_DIFFERENCES = ", ".join(
    f"avg(b_{c} - a_{c}) filter (isfinite(b_{c} - a_{c})) as {c},"
    f" stddev_samp(b_{c} - a_{c}) filter (isfinite(b_{c} - a_{c})) as {c}_sd" for c in _MOVED
)  # fmt: skip


def changed_lanes(beside: Beside, pairs: Sequence[tuple[Lane, Lane]]) -> Table:
    """A row per pair of lanes, of the items that both explained."""
    peak = "avg((abs(a_peak_y - b_peak_y) >= 0.1 or abs(a_peak_x - b_peak_x) >= 0.1)::int) as peak"
    found = {one["lane"]: one for one in beside.rows(
        f"select lane, {_COUNTED}, {peak}, {_DIFFERENCES} from pairs group by lane")}  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    for a, b in pairs:
        one = found.get(a.name)
        name = a.name if a.name == b.name else f"{a.name} to {b.name}"
        if one is None:
            rows.append((name, 0, *([None] * (len(_LANE_HEADS) - 2))))
            continue
        rights = [wilson(one[f"{side}_right"], one["labelled"]) for side in ("a", "b")]
        turned: tuple[Any, ...] = (
            (one["lost"], one["won"], _chance(one["lost"], one["won"])) if one["labelled"] else (None,) * 3
        )
        rows.append((name, one["n"], one["same"], *rights, *turned, one["peak"], *(_reach(one, c) for c in _MOVED)))
    caption = "Changes are of the same items, after less before; bounds are of 95 %."
    return Table("lanes", "Lanes", caption, _LANE_HEADS, tuple(rows))


_LANE_HEADS = (
    *(Column("lane", "text"), Column("items", "count", "items that both audits explained")),
    Column("same answer", "share"),
    *(Column("right before", "interval"), Column("right after", "interval")),
    *(Column("newly wrong", "count"), Column("newly right", "count")),
    Column(
        "p", "number", "chance of newly wrong and newly right as unlike as this, were both as likely (McNemar, exact)"
    ),
    Column("peak moved", "share", "share of items whose maps peak a tenth of the picture or more elsewhere"),
    *(Column(f"change of {name}", "text") for name in _MOVED),
)


def _reach(one: dict[str, Any], name: str) -> str | None:
    """A mean change with its 95 % bounds."""
    mean, spread, n = one[name], one[f"{name}_sd"], one["n"]
    if mean is None:
        return None
    reach = 1.959964 * (spread or 0.0) / max(1, n) ** 0.5
    return f"{mean:+.3g} ({mean - reach:+.3g} to {mean + reach:+.3g})"


def _chance(lost: int, won: int) -> float | None:
    """McNemar's exact test: the two-sided binomial chance of ``lost`` among both."""
    from scipy.stats import binomtest

    if not lost + won:
        return None
    return float(binomtest(lost, lost + won).pvalue)


def changed_classes(
    beside: Beside, pair: tuple[Lane, Lane], number: int, names: dict[int, str], maps: Sequence[dict[int, Any]]
) -> Table:
    """A row per class that was answered before, those that lost most first.

    Args:
        beside: Both audits.
        pair: The lanes.
        number: Which pair, from 1.
        names: Names of the classes, as the model before numbers them.
        maps: Mean maps of the same classes, before and after.
    """
    own = f"lane = {literal(pair[0].name)}"
    found = beside.rows(f"select a_predicted as class, {_COUNTED}, {_DIFFERENCES} from pairs where {own} group by 1")
    rows = []
    for one in sorted(found, key=lambda row: (row["won"] - row["lost"], row["same"] or 0.0, row["class"])):
        was, now = (side.get(one["class"]) for side in maps)
        moved = None if was is None or now is None or was.shape != now.shape else float(np.abs(was - now).sum() / 2)
        rights = [wilson(one[f"{side}_right"], one["labelled"]) for side in ("a", "b")]
        name = names.get(one["class"], str(one["class"]))
        rows.append((name, was, now, moved, one["n"], one["same"], *rights, *(one[c] for c in _MOVED)))
    heads = (
        *(Column("class", "text"), Column("map before", "map"), Column("map after", "map")),
        Column("map moved", "share", "share of the mean map that lies elsewhere: half the sum of differences, 0 to 1"),
        Column("items", "count", "items answered with this class before, explained by both"),
        Column("same answer", "share"),
        *(Column("right before", "interval"), Column("right after", "interval")),
        *(Column(f"change of {name}", "signed") for name in _MOVED),
    )
    title = f"{pair[0].name}: {counted(len(rows), 'class', 'classes')}"
    caption = "A row per class answered before; those that lost most right answers first."
    return Table(f"classes-{number}", title, caption, heads, tuple(rows), sortable=True)


def changed_metrics(beside: Beside) -> Table | None:
    """A row per lane and metric that both have: of the same items where both sampled them, else of each side's own."""
    found = beside.rows("""
with a as (select l.a as lane, m.metric, m.item, m.value from before.metrics m join lanes l on m.lane = l.a
           where isfinite(m.value)),
     b as (select l.a as lane, m.metric, m.item, m.value from after.metrics m join lanes l on m.lane = l.b
           where isfinite(m.value)),
     same as (select a.lane, a.metric, count(*) as n, avg(b.value - a.value) as mean,
              stddev_samp(b.value - a.value) as sd from a join pairs x on x.lane = a.lane and x.a_item = a.item
              join b on b.lane = a.lane and b.metric = a.metric and b.item = x.b_item group by 1, 2)
select p.lane, p.metric, p.n as a_n, p.mean as a_mean, p.sd as a_sd, q.n as b_n, q.mean as b_mean, q.sd as b_sd,
  same.n, same.mean, same.sd
from (select lane, metric, count(*) as n, avg(value) as mean, stddev_samp(value) as sd from a group by 1, 2) p
join (select lane, metric, count(*) as n, avg(value) as mean, stddev_samp(value) as sd from b group by 1, 2) q
  on p.lane = q.lane and p.metric = q.metric left join same on same.lane = p.lane and same.metric = p.metric
order by 1, 2""")
    rows = []
    for one in found:
        if (one["n"] or 0) > 1:
            mean, reach, how = one["mean"], 1.959964 * one["sd"] / one["n"] ** 0.5, f"{one['n']:,} of both"
        else:
            spread = sum((one[f"{side}_sd"] or 0.0) ** 2 / one[f"{side}_n"] for side in ("a", "b"))
            mean, reach = one["b_mean"] - one["a_mean"], 1.959964 * spread**0.5
            how = f"{one['a_n']:,} and {one['b_n']:,}, other ones"
        change = f"{mean:+.3g} ({mean - reach:+.3g} to {mean + reach:+.3g})"
        rows.append((one["metric"], one["lane"], one["a_mean"], one["b_mean"], change, how))
    heads = (
        *(Column("metric", "text"), Column("lane", "text"), Column("mean before"), Column("mean after")),
        Column("change", "text", "after less before, with 95 % bounds"),
        Column("items", "text"),
    )
    return Table("metrics", "Metrics", "A row per metric and lane.", heads, tuple(rows)) if rows else None
