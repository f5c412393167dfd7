"""Where an audit's models and data lie on this machine: ``where.json``, which no hash covers.

The plan knows items by name and content and models by digest, so an audit can be moved: whoever has the same files
elsewhere says so, and everything is held against its digest when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from xplain.core.errors import UsageError
from xplain.core.keeping.files import read_text, whole_file
from xplain.core.keeping.strict import strict

__all__ = ["Where"]


@dataclass(frozen=True, slots=True)
class Where:
    """Where things lie.

    Args:
        source: The recipe of the items' source.
        models: Name of a model to how it is loaded: ``{"source": path or URL, "options": {...}}``; ``{}`` for one that
            was given as an object and can only be given again.
    """

    source: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write it into an audit's folder."""
        with whole_file(folder / "where.json") as file:
            file.write(json.dumps({"source": self.source, "models": self.models}, indent=1, sort_keys=True).encode())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read it.

        Raises:
            UsageError: it is missing or damaged.
        """
        text = read_text(folder / "where.json", UsageError, f"{folder / 'where.json'}, which says where the items lie,")
        try:
            raw = strict(text.encode())
            return cls(dict(raw["source"]), {str(k): dict(v) for k, v in raw["models"].items()})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"{folder / 'where.json'} is damaged: {str(error)[:100]}. Plan again into it.") from None
