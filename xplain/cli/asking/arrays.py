"""Items from a command line that are arrays: series, spectrograms, volumes, bands as ``.npy``, sound as ``.wav``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xplain.core.errors import ItemError
from xplain.core.outline import Outline
from xplain.core.query import Model
from xplain.session.array_files import ARRAYS, only_arrays, open_array, rank_of, rows_of

__all__ = ["Arrays", "arrays_in"]


@dataclass(frozen=True, slots=True)
class Arrays:
    """Arrays in files, of which one is held at a time.

    Args:
        places: File and row of each item; None where the file is one item.
        names: What each is called.
        outline: Of the model, which says how sound is laid out.
        failed: Files that cannot be read, and why.
    """

    places: Sequence[tuple[Path, int | None]]
    names: Sequence[str]
    outline: Outline
    failed: Sequence[tuple[str, ItemError]] = field(default=())

    def __iter__(self) -> Iterator[Any]:
        """The items, in order, each without a batch axis."""
        for path, row in self.places:
            found = open_array(path, self.outline)
            yield np.array(found if row is None else found[row])


def arrays_in(files: Sequence[str], model: Model) -> Arrays:
    """The items in files: one per file, or, where an array has the model's batch axis in front, one per row.

    Only headers are read; objects, which could run code, are refused.

    Raises:
        UsageError: arrays mixed with pictures.
    """
    only_arrays(files)
    rank = rank_of(model)
    places: list[tuple[Path, int | None]] = []
    names, failed = [], []
    for name in files:
        path = Path(name)
        try:
            count = rows_of(path, model.outline, rank)
        except ItemError as error:
            failed.append((name, error))
            continue
        if count is None:
            places.append((path, None))
            names.append(name)
            continue
        places += [(path, row) for row in range(count)]
        names += [name] if count == 1 else [f"{path.with_suffix('')}-{row}{ARRAYS}" for row in range(count)]
    return Arrays(places, names, model.outline, failed)
