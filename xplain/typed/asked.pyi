"""Made from the registry by tests/docs/methods_table.py; do not edit."""

from typing import Any, TypedDict

from xplain.engine import Progress, Sentinel
from xplain.session.request import Cache

class Asked(TypedDict, total=False):
    target: Any
    seed: int
    card: Any
    layout: str | None
    batch_size: int | None
    max_queries: int | None
    max_cost: Any
    cache: Cache | None
    sentinel: int | Sentinel | None
    progress: Progress | None
