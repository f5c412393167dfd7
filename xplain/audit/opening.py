"""``xplain.audit.open``: what an audit has found so far, as tables, queries and maps, a part at a time in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from xplain.audit.canonical import file_sha256, needed
from xplain.audit.plans.doors import given_of
from xplain.audit.plans.items import whole
from xplain.audit.shards.guarding import planned_audit
from xplain.audit.shards.reading import Data, Planned
from xplain.audit.shards.seen import seen
from xplain.audit.shards.truth_table import TruthTable
from xplain.audit.sources import moved
from xplain.audit.stores.home import home_of
from xplain.audit.stores.schema import METRICS, RECORDS, Column, empty, read_parquet
from xplain.audit.stores.store import DamagedPart, Seal
from xplain.audit.stores.where import Where
from xplain.core.edits import Array
from xplain.core.errors import ItemError, UsageError, XplainError
from xplain.core.items import Passage
from xplain.core.lane import Lane
from xplain.session.readers import splitter

__all__ = ["Audit", "open_audit"]

_AT_ONCE = 2**26
"""Bytes of maps that are held at a time."""


def open_audit(out: str | os.PathLike[str], items: Any = None) -> Audit:
    """An audit as it stands: what is sealed now is seen, also while a run goes on.

    Args:
        out: The audit's folder, or its URL.
        items: Another place of the same items, where they were moved; their digests are compared when they are read.

    Raises:
        UsageError: the folder holds no audit, or one of a newer version.
    """
    return Audit(out, items)


class Audit:
    """An audit's results. May be used in a ``with`` block, which closes its database.

    Args:
        out: The audit's folder, or its URL.
        items: Another place of the same items.
    """

    def __init__(self, out: str | os.PathLike[str], items: Any = None) -> None:
        home = home_of(out)
        self.folder = folder = home.folder
        self.plan, self.store = planned_audit(folder), home.store
        self.seals: dict[int, Seal] = self.store.seals()
        stray = [shard for shard, seal in self.seals.items() if seal.audit != self.plan.identity]
        if stray:
            raise DamagedPart(f"The seal of shard {stray[0]} is of another audit. 'xplain audit verify' lists such.")
        self.root = self.store.root(
            (folder / "plan.json").read_bytes(), file_sha256(folder / "items.parquet"), seals=self.seals
        )
        self._moved = items
        self._data: Data | None = None
        self._database: Any = None
        self._splits: dict[str, Callable[[str], Passage]] = {}
        self._numbers: dict[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The plan's lanes."""
        return self.plan.lanes

    @cached_property
    def truth(self) -> TruthTable | None:
        """What is known to be in the items, as each model sees it; None where nothing is stated."""
        return None if self.plan.truth is None else TruthTable(self.folder, self.plan)

    # ------------------------------------------------------------------ tables

    @property
    def items(self) -> Any:
        """All items that were planned: number, name, bytes, sha256, label, split, metadata; a ``pyarrow.Table``."""
        return read_parquet(self.folder / "items.parquet")

    def records(self, columns: Sequence[str] | None = None, lane: str | None = None) -> Any:
        """Records of the shards that are sealed, in their order; a ``pyarrow.Table``.

        Args:
            columns: Those that are wanted; None for all.
            lane: A lane's name; None for all.
        """
        return self._table("records", RECORDS, columns, lane)

    def metrics(self, lane: str | None = None) -> Any:
        """What metrics say of the sampled items; a ``pyarrow.Table``."""
        return self._table("metrics", METRICS, None, lane)

    def sql(self, query: str) -> Any:
        """A query over the views ``records``, ``metrics`` and ``items``; a ``pyarrow.Table``.

        Numbers are the same each time: one thread sums them in one order.

        Raises:
            UsageError: the query cannot be answered; the message is the database's.
        """
        duckdb = needed("duckdb")
        try:
            found = self._views().sql(query)
            if found is None:
                raise UsageError("A query that asks for nothing has no answer. Begin it with select.")
            return found.to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(f"The query cannot be answered: {str(error)[:500]}", option="query") from None

    def _table(self, kind: str, columns: Sequence[Column], wanted: Sequence[str] | None, lane: str | None) -> Any:
        pa, pc = needed("pyarrow"), needed("pyarrow.compute")
        known = [one.name for one in columns]
        names = known if wanted is None else list(wanted)
        for name in names:
            if name not in known:
                raise UsageError(option="columns", got=name, accepted=", ".join(known))
        if lane is not None:
            self.plan.lane(lane)
        read = names if lane is None or "lane" in names else [*names, "lane"]
        tables = []
        for seal in self.seals.values():
            table = read_parquet(self.store.get(seal.parts[kind]), read)
            tables.append(table if lane is None else table.filter(pc.equal(table["lane"], lane)))
        tables = tables or [empty(columns).select(read)]
        return pa.concat_tables(tables).select(names)

    def _views(self) -> Any:
        if self._database is None:
            database = needed("duckdb").connect(config={"threads": 1, "autoinstall_known_extensions": False})
            for kind, columns in (("records", RECORDS), ("metrics", METRICS)):
                paths = [self._path(seal.parts[kind]) for seal in self.seals.values()]
                if paths:
                    database.read_parquet([str(path) for path in paths]).create_view(kind)
                else:
                    database.register(kind, empty(columns))
            database.read_parquet(str(self.folder / "items.parquet")).create_view("items")
            self._database = database
        return self._database

    # ------------------------------------------------------------------ maps

    def maps(self, lane: str, items: Iterable[int] | None = None) -> Array:
        """Maps of items at their native resolution, in the unit of the lane: float32 ``[N, *shape]``; NaN for errors.

        Args:
            lane: The lane's name.
            items: Numbers of items, in the order that is wanted; None for all that are sealed.

        Raises:
            UsageError: an item is not sealed.
        """
        shape, scales = self.plan.lane(lane).native_shape, self._scales(lane)
        return self._gathered("maps", lane, shape, items, scales)

    def relevance(self, lane: str, items: Iterable[int] | None = None) -> Array:
        """Position-free relevance of items, each divided by its largest magnitude: float32 ``[N, R]``."""
        return self._gathered("relevance", lane, (self.plan.lane(lane).relevance,), items, None)

    def batches(self, lane: str) -> Iterator[tuple[Array, Array]]:
        """Numbers of items, int64 ``[N]``, and their maps, float32 ``[N, *shape]``, up to 64 MiB at a time."""
        shape = self.plan.lane(lane).native_shape
        step = max(1, _AT_ONCE // (4 * max(1, int(np.prod(shape)))))
        for seal in self.seals.values():
            stored, scales = self._stored(seal, f"maps/{lane}", shape), self._scale_of(seal, lane)
            for start in range(0, seal.rows, step):
                rows = np.asarray(stored[start : start + step], np.float32)
                yield seal.first + np.arange(start, start + len(rows)), _scaled(rows, scales[start : start + step])

    def sealed_items(self) -> Array:
        """Numbers of the items whose shards are sealed, int64, ascending."""
        ranges = [np.arange(seal.first, seal.first + seal.rows) for seal in self.seals.values()]
        return np.concatenate([np.zeros(0, np.int64), *ranges])

    def _gathered(
        self, kind: str, lane: str, shape: tuple[int, ...], items: Iterable[int] | None, scales: Any
    ) -> Array:
        numbers = self.sealed_items() if items is None else whole(items)
        made = np.empty((len(numbers), *shape), np.float32)
        shards = numbers // self.plan.shard_rows
        for shard in np.unique(shards):
            places = np.flatnonzero(shards == shard)
            seal = self.seals.get(int(shard))
            rows = numbers[places] - (0 if seal is None else seal.first)
            if seal is None or rows.min() < 0 or rows.max() >= seal.rows:
                missing = int(numbers[places[0]])
                if not 0 <= missing < self.plan.items.count:
                    raise UsageError(option="items", got=missing, accepted=f"0 to {self.plan.items.count - 1}")
                raise UsageError(
                    f"Item {missing} is not sealed: {len(self.seals)} of {len(self.plan.shards)} shards are. Run the "
                    "audit to its end, or ask for items of sealed shards."
                )
            made[places] = self._stored(seal, f"{kind}/{lane}", shape)[rows]
            if scales is not None:
                made[places] = _scaled(made[places], scales(seal)[rows])
        return made

    def _scales(self, lane: str) -> Any:
        return lambda seal: self._scale_of(seal, lane)

    def _scale_of(self, seal: Seal, lane: str) -> Array:
        """What the maps of a shard were divided by, float32 ``[rows]``; NaN where there is none."""
        pc = needed("pyarrow.compute")
        table = read_parquet(self.store.get(seal.parts["records"]), ("item", "lane", "scale"))
        table = table.filter(pc.equal(table["lane"], lane))
        found = np.full(seal.rows, np.nan, np.float32)
        found[table["item"].to_numpy() - seal.first] = table["scale"].to_numpy()
        return found

    def _stored(self, seal: Seal, kind: str, shape: tuple[int, ...]) -> Array:
        """An array of a shard, mapped: what is not looked at is not read."""
        name = seal.parts.get(kind)
        if name is None:
            raise DamagedPart(f"Shard {seal.shard} has no {kind}. 'xplain audit verify' says more.")
        try:
            found: Array = np.load(self._path(name), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            raise DamagedPart(f"Part {name} of shard {seal.shard} cannot be read. {_REPAIR}") from None
        if found.dtype != np.float16 or found.shape != (seal.rows, *shape):
            raise DamagedPart(f"Part {name} of shard {seal.shard} holds {found.dtype} {list(found.shape)}. {_REPAIR}")
        return found

    def _path(self, name: str) -> Path:
        path = self.store.path(name)
        if not path.is_file():
            raise DamagedPart(f"Part {name[:80]} is missing. {_REPAIR}")
        return path

    # ------------------------------------------------------------------ items

    def x(self, items: Iterable[int], model: str | None = None) -> Array:
        """What a model sees of items, read from their source again: ``[N, *item]``.

        Args:
            items: Numbers of items.
            model: The model's name; None for the first.

        Raises:
            ItemError: one cannot be read, or is no longer the one that was planned.
        """
        facts = self.plan.models[0] if model is None else self.plan.model(model)
        found = [self._seen(item, facts.name)[0] for item in self._source().planned(list(items))]
        return np.stack(found) if found else np.zeros((0, *facts.item_shape), facts.dtype)

    def given(self, items: Iterable[int], model: str | None = None) -> list[Any]:
        """Items as a person gives them to a model of rows or of texts: mappings, or texts, read again.

        Args:
            items: Numbers of items.
            model: The model's name; None for the first.

        Raises:
            ItemError: one cannot be read, is no longer the one that was planned, or is a picture or a tensor.
        """
        facts = self.plan.models[0] if model is None else self.plan.model(model)
        found = []
        for item in self._source().planned(list(items)):
            content = self._source().content(item)
            try:
                if isinstance(content, str):
                    raise ItemError(content)
                if not facts.door:
                    raise ItemError("It is a picture or a tensor: x(items) gives what the model sees of it.")
                found.append(given_of(content, facts.items))
            except XplainError as error:
                raise ItemError(f"Item {item.number}, {item.name!r:.200}: {error}") from None
        return found

    def passage(self, item: int, model: str | None = None) -> Passage:
        """A text and where its features lie, one for each number of its map.

        Raises:
            ItemError: it is no text, or cannot be read any more; nor can its tokenizer, where one cuts it.
        """
        facts = self.plan.models[0] if model is None else self.plan.model(model)
        (text,) = self.given([item], facts.name)
        if facts.items != "texts":
            raise ItemError(f"Item {item} is a row of a table, no text.")
        if facts.name not in self._splits:
            told = Where.read(self.folder).models.get(facts.name, {}).get("options", {})
            self._splits[facts.name] = splitter(facts.door["split"], told.get("tokenizer"))
        return self._splits[facts.name](text)

    def picture(self, item: int, model: str | None = None) -> Array:
        """What a person would see of what the model saw: uint8 ``[H, W, 3]``, read from the source again.

        Raises:
            ItemError: it cannot be read, is no longer the one that was planned, or is no picture.
        """
        (planned,) = self._source().planned([item])
        pixels = self._seen(planned, model or self.plan.models[0].name)[1]
        if pixels is None:
            raise ItemError(f"Item {item}, {planned.name!r:.200}, is no picture.")
        return pixels

    def _seen(self, item: Planned, model: str) -> tuple[Array, Array | None]:
        content = self._source().content(item)
        try:
            if isinstance(content, str):
                raise ItemError(content)
            return seen(content, self.plan.model(model))
        except XplainError as error:
            raise ItemError(f"Item {item.number}, {item.name!r:.200}: {error}") from None

    def _source(self) -> Data:
        if self._data is None:
            self._data = Data(self.folder, None if self._moved is None else moved(self._moved, self.folder))
        return self._data


_REPAIR = "'xplain audit verify --repair' takes the seal away, and a run makes the shard again."


def _scaled(maps: Array, scales: Array) -> Array:
    """Maps times what they were divided by; those of errors stay NaN."""
    by = np.where(scales > 0, scales, np.float32(1)).astype(np.float32)
    return np.asarray(maps * by.reshape(-1, *[1] * (maps.ndim - 1)), np.float32)
