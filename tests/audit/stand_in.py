"""A reader of synthetic audits whose pictures are drawn instead of read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
import numpy as np

from xplain.audit.plans import Plan
from xplain.audit.store import Store


class Reader:
    """What ``xplain.audit.readers.Reads`` asks for."""

    def __init__(self, out: Path) -> None:
        plan, items = (out / "plan.json").read_bytes(), (out / "items.parquet").read_bytes()
        self.plan, self.store = Plan.from_json(plan), Store(out)
        self.seals, self.root = self.store.seals(), self.store.root(plan, items)
        self._db = duckdb.connect(config={"threads": 1})  # sums of several threads differ in their last bits
        for view in ("records", "metrics"):
            files = [str(self.store.path(seal.parts[view])) for seal in self.seals.values()]
            self._db.execute(f"create view {view} as select * from read_parquet({files!r})")
        self._db.execute(f"create view items as select * from '{out}/items.parquet'")

    def sql(self, query: str):
        return self._db.sql(query).to_arrow_table()

    def batches(self, lane: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for seal in self.seals.values():
            maps = np.load(self.store.path(seal.parts[f"maps/{lane}"]))
            yield np.arange(seal.first, seal.first + seal.rows), maps.astype(np.float32)

    def maps(self, lane: str, items: Iterable[int] | None = None) -> np.ndarray:
        every = np.concatenate([maps for _, maps in self.batches(lane)])
        return every if items is None else every[list(items)]

    def picture(self, item: int) -> np.ndarray:
        return np.full((20, 30, 3), item % 256, np.uint8)
