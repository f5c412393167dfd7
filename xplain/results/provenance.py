"""Where a result comes from: what is needed to repeat it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xplain.core.cost import Cost

__all__ = ["Provenance"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Provenance:
    """Where a result comes from: what is needed to repeat it, and what it cost.

    Args:
        method: Name of the method.
        options: Its options, all of them, with the values used.
        model: Digest (sha256) of the model, empty where it cannot be known.
        source: What the model is called: a file's name, a class, a URL.
        card: The preprocessing card as TOML, empty where tensors were given.
        layout: How the axes of the items were read, and why, such as ``"NHWC (stated by layout=)"``; empty where none
            was needed.
        seed: Root of all randomness.
        cost: What it cost.
        rows_per_call: Rows of the model calls, by kind of question: runtimes round by the shape of a batch.
        versions: Versions of what computed it.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    source: str = ""
    card: str = ""
    layout: str = ""
    seed: int = 0
    cost: Cost = field(default_factory=Cost)
    rows_per_call: Mapping[str, Sequence[int]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
